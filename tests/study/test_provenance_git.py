from __future__ import annotations

import subprocess

import pytest

import psweep_dask as ps
from psweep_dask.study.provenance import GitError, commit_results, commit_local_changes, tree_state


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


def test_local_changes_are_committed_before_and_results_after(repository):
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


def test_a_clean_tree_gets_no_empty_commit(repository):
    (repository / "run.py").write_text("1")
    commit_local_changes(repository)
    commit_local_changes(repository)
    assert len(git("log", "--format=%h").splitlines()) == 1


def test_what_lies_outside_the_folder_is_left_alone(repository):
    (repository / "other").write_text("1")
    (repository / "study").mkdir()
    (repository / "study" / "run.py").write_text("1")
    commit_local_changes(repository / "study")
    assert git("status", "--porcelain") == "?? other"


def test_no_repository_is_an_error_that_says_what_to_do(study_folder):
    with pytest.raises(GitError, match="git init"):
        commit_local_changes(study_folder)


def test_a_commit_that_git_refuses_is_told_with_its_reason(repository):
    hook = repository / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho not on Sundays >&2\nexit 1\n")
    hook.chmod(0o755)
    (repository / "run.py").write_text("1")
    with pytest.raises(GitError, match="not on Sundays"):
        commit_local_changes(repository)


def test_tree_state_tells_commit_and_patch(repository):
    assert tree_state(repository) is None
    (repository / "run.py").write_text("1\n")
    commit_local_changes(repository)
    state = tree_state(repository)
    assert state == (git("rev-parse", "HEAD"), "")
    (repository / "run.py").write_text("2\n")
    assert "-1\n+2\n" in tree_state(repository).patch


def test_outside_git_there_is_no_state(study_folder):
    assert tree_state(study_folder) is None


def test_without_git_it_says_so(study_folder, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ps.PsweepError, match="git=True, but git cannot be started"):
        ps.run(lambda pset: {}, [{}], cluster="sync", git=True)
