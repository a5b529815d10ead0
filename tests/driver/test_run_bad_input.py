"""Bad input is named before anything starts."""

from __future__ import annotations

import functools
import threading

import pytest
from helpers.funcs import double

import psweep_dask as ps


@pytest.mark.parametrize(
    ("func", "params", "options", "message"),
    [
        (5, [{"a": 1}], {}, "func must be callable with one pset, not 5"),
        (lambda *, pset: {}, [{"a": 1}], {}, "one argument, the pset: too many positional"),
        (lambda pset, x: {}, [{"a": 1}], {}, "'x'.*functools.partial"),
        (functools.partial(lambda lock, pset: {}, threading.Lock()), [{"a": 1}], {},
         "cannot be pickled.*inside func"),
        (double, {"a": 1}, {}, "list of dicts"),
        (double, [{"a": 1}, 5], {}, r"params\[1\]"),
        (double, [{1: 2}], {}, "keys must be str"),
        (double, [{"_run_id": 2}], {}, "reserved"),
        (double, [{"a": object()}], {}, "key 'a'.*no reproducible hash"),
        (double, [{"a_": threading.Lock()}], {}, r"params\[0\].*'a_'.*cannot be pickled"),
        (double, [{"a": 1}], {"on_error": "stop"}, "on_error='stop'; allowed are"),
        (double, [{"a": 1}], {"capture_logs": "x"}, "capture_logs='x'; allowed are"),
        (double, [{"a": 1}], {"cluster": "moon"}, "unknown cluster 'moon'; there are 'local'"),
        (double, [{"a": 1}], {"cluster": 7}, "cluster=7; allowed are"),
        (double, [{"a": 1}], {"git": True}, "git init"),
        (double, [{"a": 1}], {"calc_dir": "file/calc"}, "cannot write to .*calc_dir="),
    ],
)  # fmt: skip
def test_bad_input_is_named_before_anything_starts(func, params, options, message, study_folder):
    (study_folder / "file").touch()
    with pytest.raises(ps.PsweepError, match=message):
        ps.run(func, params, **options)
    left = [path for path in (study_folder / "calc").rglob("*") if path.is_file()]
    assert [path.name for path in left if path.name != ".database.pk.lock"] == []


@pytest.mark.parametrize("poolsize", [0, -1, 1.5, "two", True])
def test_poolsize_must_be_a_number_of_workers(poolsize):
    with pytest.raises(ps.PsweepError, match=f"poolsize={poolsize!r}; allowed are"):
        ps.run_local(double, [{"a": 1}], poolsize=poolsize)


def test_damaged_database_is_moved_aside_before_anything_runs(study_folder):
    ps.run(double, [{"a": 1}], cluster="sync")
    path = study_folder / "calc" / "database.pk"
    path.write_bytes(path.read_bytes()[:-200])

    def never(pset):
        (study_folder / "called").touch()
        return {}

    with pytest.raises(ps.PsweepError, match=r"damaged.*moved to"):
        ps.run(never, [{"a": 2}], cluster="sync")
    assert not (study_folder / "called").exists()
    assert len(list((study_folder / "calc").glob("database.pk.damaged-*"))) == 1
    with pytest.raises(ps.PsweepError, match=r"is gone, but there are 1 run .*psweep-dask rebuild"):
        ps.run(never, [{"a": 2}], cluster="sync")
    assert not (study_folder / "called").exists()
    assert ps.rebuild("calc").a.tolist() == [1]
    assert ps.run(double, [{"a": 2}], cluster="sync").a.tolist() == [1, 2]
