"""What a run notes about its session, and the commits of git=True."""

from __future__ import annotations

import datetime as dt
import json
import subprocess

import dask
import pytest
from helpers.fake_commands import command

import psweep_dask as ps
from psweep_dask.study import provenance
from psweep_dask.study.provenance import GitError, commit_local_changes, commit_results


def test_session_can_be_written_as_json(study_folder):
    info, patch = provenance.describe_session(study_folder)
    assert json.loads(json.dumps(info)) == info
    assert info["cwd"] == str(study_folder)
    assert info["packages"]["dask"] == dask.__version__
    assert info["git"] is None
    assert patch == ""


def test_now_is_in_utc():
    assert dt.datetime.fromisoformat(provenance.now()).utcoffset() == dt.timedelta(0)


def test_session_of_a_user_without_a_name(study_folder, monkeypatch):
    def nobody():
        raise KeyError("uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert provenance.describe_session(study_folder)[0]["user"] == "unknown"


def git(*arguments):
    return subprocess.run(
        ["git", *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(study_folder, monkeypatch):
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Someone")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "someone@example.org")
    git("init", "--quiet")
    return study_folder


def test_git_commits_local_changes_before_and_results_after(repository):
    (repository / "run.py").write_text("1")
    commit_local_changes(repository)
    (repository / "result").write_text("2")
    commit_results(repository, "some-id")
    name = repository.name
    assert git("log", "--format=%s").splitlines() == [
        f"psweep: {name}: run_id=some-id",
        f"psweep: {name}: local changes",
    ]
    assert git("status", "--porcelain") == ""


def test_git_makes_no_empty_commit(repository):
    (repository / "run.py").write_text("1")
    commit_local_changes(repository)
    commit_local_changes(repository)
    assert len(git("log", "--format=%h").splitlines()) == 1


def test_git_commits_nothing_outside_the_folder(repository):
    (repository / "other").write_text("1")
    (repository / "study").mkdir()
    (repository / "study" / "run.py").write_text("1")
    commit_local_changes(repository / "study")
    assert git("status", "--porcelain") == "?? other"


def test_git_without_a_repository_is_an_error_that_says_what_to_do(study_folder):
    with pytest.raises(GitError, match="git init"):
        commit_local_changes(study_folder)


def test_git_refusing_a_commit_is_an_error_with_its_reason(repository):
    hook = repository / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho not on Sundays >&2\nexit 1\n")
    hook.chmod(0o755)
    (repository / "run.py").write_text("1")
    with pytest.raises(GitError, match="not on Sundays"):
        commit_local_changes(repository)


def test_git_tree_state_has_commit_and_patch(repository):
    assert provenance.read_tree_state(repository) is None
    (repository / "run.py").write_text("1\n")
    commit_local_changes(repository)
    state = provenance.read_tree_state(repository)
    assert state == (git("rev-parse", "HEAD"), "")
    (repository / "run.py").write_text("2\n")
    assert "-1\n+2\n" in provenance.read_tree_state(repository)[1]


def test_git_tree_state_outside_a_repository_is_none(study_folder):
    assert provenance.read_tree_state(study_folder) is None


def test_git_that_is_not_installed_is_an_error(study_folder, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ps.PsweepError, match="git=True, but git cannot be started"):
        ps.run(lambda pset: {}, [{}], cluster="sync", git=True)


def test_git_that_hangs_is_an_error_before_the_run(repository, bin_dir, monkeypatch):
    command(bin_dir, "git", "exec sleep 60")
    monkeypatch.setattr(provenance, "GIT_TIMEOUT_SECONDS", 0.2)
    with pytest.raises(GitError, match=r"'git rev-parse .*' in .* has not ended within 0 s"):
        ps.run(lambda pset: {}, [{"a": 1}], cluster="sync", git=True)
    assert not (repository / "calc").exists()
    assert provenance.read_tree_state(repository) is None
