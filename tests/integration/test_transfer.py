"""Push and pull by rsync, over a real ssh, to a machine with another home folder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.driver_process import wait_until
from helpers.offline_study import HOSTILE, machine, write, write_study

import psweep_dask as ps

BIN = Path(sys.executable).parent


@pytest.fixture
def there(home, remote_home, monkeypatch):
    """The place on the other machine of the study that is the working directory here."""
    study = home / "work" / HOSTILE
    study.mkdir(parents=True)
    monkeypatch.chdir(study)
    write_study(name="cluster", subcmd="sh", host="labhost")
    return remote_home / "work" / HOSTILE


def command(*arguments, code=0):
    done = subprocess.run(
        [BIN / arguments[0], *arguments[1:]], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def test_push_and_pull_use_the_same_place_below_both_home_folders(there):
    ps.prep_batch([{"a": HOSTILE}])
    command("psweep-push", "cluster")
    assert tree(there / "calc") == tree(Path("calc"))
    (folder,) = Path("calc").glob("*-*")
    assert (there / folder / "run.sh").stat().st_mode & 0o777 == 0o755
    write({"out.txt": "made there", "deep/x": b"\0"}, there / folder)
    command("psweep-pull", "cluster")
    assert (folder / "out.txt").read_text() == "made there"
    assert tree(there / "calc") == tree(Path("calc"))


def test_push_submit_uses_the_remote_shell_of_rsync(there):
    df = ps.prep_batch(ps.plist("a", [1, 2]))
    printed = command("psweep-dask", "push", "cluster", "--submit")
    assert printed == ""
    assert all(Path("calc", pset_id, "submitted_cluster").exists() for pset_id in df._pset_id)
    assert not any(Path("calc", pset_id, "out.txt").exists() for pset_id in df._pset_id)
    command("psweep-dask", "pull", "cluster")
    assert ps.collect()._status.tolist() == ["ok", "ok"]
    assert [Path("calc", pset_id, "out.txt").read_text() for pset_id in df._pset_id] == [
        "1\n",
        "2\n",
    ]


def test_push_submit_that_fails_is_an_error(there):
    write(machine("cluster", "/bin/false", host="labhost"))
    ps.prep_batch(ps.plist("a", range(5)))
    printed = command("psweep-push", "cluster", "--submit", code=1)
    assert printed.count("/bin/false failed in") == 3
    assert "Error: not all jobs were submitted on 'labhost' (exit code 1 of ssh)" in printed


@pytest.mark.parametrize("how", ["-n", "--dry-run"])
def test_dry_run_shows_and_changes_nothing(there, how):
    ps.prep_batch(ps.plist("a", [1]))
    printed = command("psweep-push", "cluster", how)
    assert "run_cluster.sh" in printed
    assert not there.exists()
    command("psweep-push", "cluster", "--submit", how)
    assert not there.exists()
    command("psweep-push", "cluster")
    write({"calc/new": ""}, there)
    assert "new" in command("psweep-pull", "cluster", how)
    assert not Path("calc/new").exists()


def test_exclude_files_name_what_is_left_out(there):
    ps.prep_batch(ps.plist("a", [1]))
    write({"calc/big.bin": "", "calc/x.tmp": "", "calc/y.log": "", "rsync.exclude": "*.tmp\n"})
    write({"excl_push": "# large\n/calc/big.bin\ncalc/*/run.sh\n", "excl_pull": "*.log\n"})
    command("psweep-push", "cluster")
    assert (there / "calc/y.log").exists()
    assert not (there / "calc/big.bin").exists()
    assert not (there / "calc/x.tmp").exists()
    assert not list(there.glob("calc/*/run.sh"))
    write({"z.log": "", "z.tmp": "", "z.bin": ""}, there / "calc")
    command("psweep-pull", "cluster")
    assert sorted(path.name for path in Path("calc").glob("z.*")) == ["z.bin"]


def test_rsync_takes_further_options(there):
    ps.prep_batch(ps.plist("a", [1]))
    printed = command("psweep-push", "cluster", "-v", "--stats", "--exclude", "database.pk")
    assert "Number of files" in printed
    assert not (there / "calc/database.pk").exists()
    assert "name the machine first, then -v" in command("psweep-push", "-v", "cluster", code=2)
    shell = os.environ["RSYNC_RSH"]
    for how in (["-ve", shell], [f"-e{shell}"], [f"--rsh={shell}"]):
        command("psweep-push", "cluster", *how, "--submit")


def test_push_that_was_interrupted_goes_on(there):
    ps.prep_batch(ps.plist("a", [1]))
    large = os.urandom(30_000_000)
    write({"calc/large": large})
    slow = [BIN / "psweep-push", "cluster", "--bwlimit=4m"]
    process = subprocess.Popen(slow, stderr=subprocess.PIPE, start_new_session=True)
    folder = there / "calc"
    wait_until(lambda: any(path.stat().st_size > 2_000_000 for path in folder.glob(".large.*")))
    os.killpg(process.pid, 15)
    process.communicate(timeout=30)
    assert not (there / "calc/large").exists()
    partial = there / "calc/.rsync-partial/large"
    wait_until(partial.exists, seconds=20)
    assert 1_000_000 < partial.stat().st_size < 30_000_000
    printed = command("psweep-push", "cluster", "--stats")
    sent = next(line for line in printed.splitlines() if line.startswith("Total bytes sent"))
    assert int(sent.split()[-1].replace(",", "")) < 25_000_000
    assert (there / "calc/large").read_bytes() == large
    assert not partial.exists()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "127.0.0.1"])
def test_host_that_cannot_be_reached_is_one_line(there, host):
    write(machine("far", host=host))
    ps.prep_batch(ps.plist("a", [1]))
    shell = "ssh -p 9 -o BatchMode=yes -o ConnectTimeout=5"
    for name in ("psweep-push", "psweep-pull"):
        printed = command(name, "far", "-e", shell, code=1)
        assert printed.startswith(f"Error: '{host}' cannot be reached: ssh: ")
        assert len(printed.splitlines()) == 1


def test_study_that_is_missing_is_an_error_on_both_sides(there):
    assert "no folder 'calc', seen from" in command("psweep-push", "cluster", code=1)
    printed = command("psweep-pull", "cluster", code=1)
    assert printed.startswith("Error: rsync: ")
    assert "No such file or directory (2) on 'labhost'" in printed
    assert len(printed.splitlines()) == 1


def test_pull_of_a_study_that_is_only_there(there):
    ps.prep_batch(ps.plist("a", [1]))
    command("psweep-push", "cluster")
    before = tree(Path("calc"))
    subprocess.run(["rm", "-r", "calc"], check=True)
    command("psweep-pull", "cluster")
    assert tree(Path("calc")) == before
    assert ps.load().a.tolist() == [1]


def test_pull_deletes_nothing_and_makes_nothing_older(there):
    ps.prep_batch(ps.plist("a", [1]))
    command("psweep-push", "cluster")
    ps.prep_batch(ps.plist("a", [2]))
    write({"calc/only_here": "x"})
    df = ps.load()
    there_too = there / "calc/database.pk"
    os.utime(there_too, ns=2 * (Path("calc/database.pk").stat().st_mtime_ns - 1,))
    command("psweep-pull", "cluster")
    assert ps.load().equals(df)
    assert Path("calc/only_here").exists()


@pytest.fixture
def both_sides(there, monkeypatch):
    """A study that has gone on over there: pset 1, prepared here, is done, and there is a run."""
    write(
        machine(
            "cluster", host="labhost", jobscript="#!/bin/sh\npython -m psweep_dask.offline.job\n"
        )
    )
    ps.prep_batch(ps.plist("a", [1, 2]), func=lambda pset: {"y": 2 * pset["a"]})
    command("psweep-push", "cluster")
    with monkeypatch.context() as patched:
        patched.chdir(there)
        ps.resume(cluster="sync")
        ps.run(lambda pset: {"y": 70}, [{"a": 7}], cluster="sync")
    return there


def pairs(folder="calc"):
    df = ps.load(folder)
    assert df._pset_id.is_unique
    return sorted(zip(df.a, df.y, strict=True))


def test_pull_keeps_what_was_done_here_meanwhile(both_sides):
    ps.run(lambda pset: {"y": 50}, [{"a": 5}], cluster="sync")
    df = ps.df_read("calc/database.pk")
    df["note"] = "mine"
    ps.df_write(df[df.a != 2], "calc/database.pk")
    printed = command("psweep-pull", "cluster")
    assert "new rows of the remote database were added" in printed
    assert pairs() == [(1, 2), (5, 50), (7, 70)]
    assert ps.load().note.tolist()[:2] == ["mine", "mine"]
    assert command("psweep-pull", "cluster") == ""
    assert pairs() == [(1, 2), (5, 50), (7, 70)]


def test_push_keeps_what_was_done_there_meanwhile(both_sides):
    ps.run(lambda pset: {"y": 50}, [{"a": 5}], cluster="sync")
    command("psweep-push", "cluster")
    assert pairs(both_sides / "calc") == pairs() == [(1, 2), (2, 4), (5, 50), (7, 70)]


def test_pull_keeps_rows_that_come_meanwhile(both_sides):
    write({"calc/large": os.urandom(4_000_000)}, both_sides)
    slow = [BIN / "psweep-pull", "cluster", "--bwlimit=1m"]
    with subprocess.Popen(slow, stderr=subprocess.DEVNULL) as process:
        time.sleep(2)
        ps.run(lambda pset: {"y": 50}, [{"a": 5}], cluster="sync")
        assert process.poll() is None
    assert pairs() == [(1, 2), (2, 4), (5, 50), (7, 70)]


def test_pull_that_is_killed_loses_nothing(both_sides):
    write({"calc/large": os.urandom(30_000_000)}, both_sides)
    ps.run(lambda pset: {"y": 50}, [{"a": 5}], cluster="sync")
    slow = [BIN / "psweep-pull", "cluster", "--bwlimit=1m"]
    for wait in (0.7, 1.2, 2.0):
        with subprocess.Popen(slow, stderr=subprocess.DEVNULL, start_new_session=True) as process:
            time.sleep(wait)
            os.killpg(process.pid, 9)
        assert (5, 50) in pairs()
    command("psweep-pull", "cluster")
    assert pairs() == [(1, 2), (2, 4), (5, 50), (7, 70)]


def test_pull_merges_databases_with_other_names(there, monkeypatch):
    named = {"database_basename": "my.pk"}
    ps.prep_batch(ps.plist("a", [1]), **named)
    command("psweep-push", "cluster")
    ps.run(lambda pset: {}, [{"a": 5}], cluster="sync", **named)
    with monkeypatch.context() as patched:
        patched.chdir(there)
        ps.run(lambda pset: {}, [{"a": 7}], cluster="sync", **named)
    command("psweep-pull", "cluster")
    assert sorted(ps.load(**named).a) == [1, 5, 7]


@pytest.mark.parametrize("side", ["here", "there"])
def test_link_to_the_study_folder_stays_one(there, side):
    scratch = there.parent / "scratch" if side == "there" else Path("scratch").absolute()
    scratch.mkdir(parents=True)
    there.mkdir(parents=True, exist_ok=True)
    link = (there if side == "there" else Path.cwd()) / "calc"
    link.symlink_to(scratch)
    df = ps.prep_batch(ps.plist("a", [1]))
    command("psweep-push", "cluster")
    write({"out.txt": "x"}, there / "calc" / df._pset_id.iloc[0])
    command("psweep-pull", "cluster")
    assert link.is_symlink()
    assert (scratch / df._pset_id.iloc[0] / "out.txt").read_text() == "x"
    assert Path("calc", df._pset_id.iloc[0], "out.txt").read_text() == "x"


def test_study_outside_the_home_folder_has_the_same_path_everywhere(
    there, tmp_path_factory, monkeypatch
):
    outside = tmp_path_factory.mktemp("out side")
    monkeypatch.chdir(outside)
    write_study(name="cluster", host="labhost")
    df = ps.prep_batch(ps.plist("a", [1]))
    printed = command("psweep-push", "cluster", "-v")  # here, both sides have the same files
    assert f"{df._pset_id.iloc[0]}/run.sh" not in printed
    assert not (there.parents[1] / str(outside).lstrip("/")).exists()
