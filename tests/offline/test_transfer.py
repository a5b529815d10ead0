"""Push and pull with a fake rsync. What they copy over a real ssh: tests/integration."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from helpers.fake_commands import command
from helpers.offline_study import machine, write

import psweep_dask as ps
from psweep_dask.hpc.ssh import RemoteError
from psweep_dask.offline.transfer import MissingError, TransferError


@pytest.fixture
def rsync(bin_dir, study_folder):
    """A function that makes rsync a command which notes its arguments, prints, and exits."""
    arguments = study_folder / "arguments"

    def fake(stderr="", code=0):
        text = f"printf '%s\\n' \"$@\" >>{arguments}\necho '{stderr}' >&2\nexit {code}"
        command(bin_dir, "rsync", text)
        return lambda: arguments.read_text().splitlines()

    return fake


def test_push_of_no_folder_is_an_error_with_the_working_directory():
    with pytest.raises(TransferError, match=r"no folder 'calc', seen from .*; nothing to push"):
        ps.push("far")


def test_push_of_a_file_is_an_error(tmp_path):
    (tmp_path / "calc").touch()
    with pytest.raises(TransferError, match="nothing to push"):
        ps.push("far", calc_dir=tmp_path / "calc")


@pytest.mark.parametrize("copy", [ps.push, ps.pull])
def test_host_that_would_be_an_option_of_ssh_is_refused(copy, study_folder):
    (study_folder / "calc").mkdir()
    with pytest.raises(RemoteError, match="cannot be a host"):
        copy("-oProxyCommand=touch owned")
    assert not (study_folder / "owned").exists()


@pytest.mark.parametrize("copy", [ps.push, ps.pull])
def test_rsync_that_is_missing_is_an_error(copy, study_folder, monkeypatch):
    (study_folder / "calc").mkdir()
    monkeypatch.setenv("PATH", str(study_folder))
    with pytest.raises(TransferError, match="there is no rsync on this machine"):
        copy("far")


@pytest.mark.parametrize(
    ("stderr", "code", "error", "message"),
    [
        ("ssh: no route", 255, TransferError, "'far' cannot be reached: ssh: no route"),
        ("oops (0 bytes received so far)", 12, TransferError, "'far' cannot be reached: oops"),
        (
            "safe_write failed: Broken pipe",
            12,
            TransferError,
            "'far' cannot be reached: safe_write",
        ),
        ("No such file: calc", 23, MissingError, "No such file: calc on 'far'"),
        ("disk full", 11, TransferError, "rsync ended with code 11; what has arrived stays"),
    ],
)
def test_rsync_that_fails_is_an_error_with_the_cause(rsync, stderr, code, error, message):
    rsync(stderr, code)
    with pytest.raises(error, match=message.replace("(", r"\(")):
        ps.pull("far")


def test_rsync_takes_the_excluded_patterns_and_further_options(rsync):
    arguments = rsync()
    write(
        {"calc/x": "", "rsync.exclude": "# large\n*.tmp\n\n", "excl_push": "/calc/*/big\ncalc/y\n"}
    )
    ps.push("far", ["--bwlimit=1m"])
    excluded = [word for word in arguments() if word.startswith("--exclude=")]
    assert excluded[-3:] == ["--exclude=*.tmp", "--exclude=/*/big", "--exclude=/y"]
    assert "--exclude=*.lock" in excluded
    assert arguments()[-3] == "--bwlimit=1m"


@pytest.fixture
def near(study_folder, bin_dir, monkeypatch):
    """The place of the study on a machine that is this one, with another home folder."""
    if shutil.which("rsync") is None:
        pytest.skip("needs rsync")
    there = study_folder / "far home"
    there.mkdir()
    skip = '[ "$1" = -l ] && shift 2; shift'  # rsync writes "-l me far" for me@far
    command(bin_dir, "near-shell", f'{skip}; cd {shlex.quote(str(there))} && exec sh -c "$*"')
    monkeypatch.setenv("RSYNC_RSH", "near-shell")
    monkeypatch.setenv("HOME", str(study_folder))
    return there


def names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_filter_rules_of_rsync_are_followed(near):
    write({f"calc/{name}": "" for name in ("a.log", "b.log", "keep.log", "x/c.bin", "x/d.txt")})
    write(
        {"rsync.rules": "# logs\n+ keep.log\n- *.log\n", "rsync.filter": "exclude /calc/x/*.bin\n"}
    )
    ps.push("me@far.example.org")
    assert names(near / "calc") == ["d.txt", "keep.log"]
    write({"e.log": "", "x/f.bin": "", "x/g.txt": ""}, near / "calc")
    ps.pull("me@far.example.org")
    assert not {"e.log", "f.bin"} & set(names(Path("calc")))
    assert "g.txt" in names(Path("calc"))


def test_rule_that_clears_the_list_keeps_locks_at_home(near):
    write({"calc/a.log": "", "calc/b.txt": "", "calc/database.pk.lock": ""})
    write({"rsync.exclude": "*.txt\n", "rsync.filter": "!\n- *.log\n"})
    ps.push("far")
    assert names(near / "calc") == ["b.txt"]


def test_host_beside_machines_gets_files_but_no_submission(near):
    write({**machine("cluster"), "calc/a": "", "calc/run_cluster.sh": ""})
    ps.push("me@far")
    assert names(near / "calc") == ["a", "run_cluster.sh"]
    write({"calc/b": ""})
    with pytest.raises(
        TransferError, match=r"there is no 'run_me@far.sh' in 'calc' to start; .* name a"
    ):
        ps.push("me@far", submit=True)
    assert "b" not in names(near / "calc")


@pytest.mark.parametrize("below_home", [True, False])
def test_rsync_copies_to_the_same_place_below_the_home_folder(rsync, below_home, monkeypatch):
    arguments = rsync()
    write(machine("cluster", host="login.example.org"))
    write({"study/calc/x": ""})
    here = Path.cwd()
    monkeypatch.setenv("HOME", str(here if below_home else here / "other"))
    ps.push("cluster", calc_dir="study/calc", dry_run=True)
    place = "./study/calc" if below_home else f"{here}/study/calc"
    assert arguments()[-2:] == [f"{here}/study/calc/", f"login.example.org:{place}/"]
    assert "--dry-run" in arguments()
