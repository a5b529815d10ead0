"""A pset is run, and its record is made whatever func does."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

import dask.array
import numpy as np
import pandas as pd
import pytest
from distributed import Client, get_client
from helpers.run_slice import RUN_ID, only_record, records, run

import psweep_dask as ps
from psweep_dask.params.pset import pset_id
from psweep_dask.storage import pickling
from psweep_dask.storage.frame import from_blocks
from psweep_dask.storage.record import HEADER, unpack
from psweep_dask.worker import runner
from psweep_dask.worker.runner import LoadError, Runner
from psweep_dask.worker.work import Work


def test_record_has_the_pset_the_reserved_fields_and_the_result():
    before = time.time_ns()
    record = only_record(lambda pset: {"y": pset["a"] + 0.5})
    assert list(record) == [
        "a",
        "_run_id",
        "_pset_id",
        "_calc_dir",
        "_time_utc",
        "_pset_sha1",
        "_pset_seq",
        "_run_seq",
        "y",
        "_status",
        "_exc_txt",
        "_exec_host",
        "_pset_runtime",
        "_attempt",
    ]
    assert before <= record.pop("_time_utc") <= time.time_ns()
    assert 0 <= record.pop("_pset_runtime") < 60
    assert record.pop("_exec_host")
    assert record == {
        "a": 1,
        "_run_id": RUN_ID,
        "_pset_id": pset_id(RUN_ID, 10),
        "_calc_dir": "calc",
        "_pset_sha1": "e4ad4daad53a2eec0313386ada88211e50d693bd",
        "_pset_seq": 10,
        "_run_seq": 3,
        "y": 1.5,
        "_status": "ok",
        "_exc_txt": None,
        "_attempt": 1,
    }


def test_func_gets_the_fields_that_are_known_by_then():
    seen = only_record(lambda pset: {"seen": dict(pset)})["seen"]
    assert set(seen) == {
        "a", "_run_id", "_pset_id", "_calc_dir", "_time_utc", "_pset_sha1", "_pset_seq", "_run_seq",
        "_exec_host",
    }  # fmt: skip
    assert seen["_exec_host"] == socket.gethostname()
    assert isinstance(seen["_time_utc"], pd.Timestamp)


def test_func_may_return_the_pset_it_got_changed_or_not():
    def func(pset):
        pset.update(a=5, y=6)
        return pset

    record = only_record(func)
    assert (record["a"], record["y"]) == (5, 6)
    assert only_record(lambda pset: {})["a"] == 1


def test_what_func_changes_in_its_pset_is_in_the_row_as_in_psweep():
    def func(pset):
        pset["list"].append(1)
        pset["array"][1] = 7
        pset["new"] = pset["a"] + 1
        pset["a"] = -1
        del pset["text"]
        return {"y": 2}

    pset = {"a": 1, "list": [], "array": np.arange(3), "text": "stays", "same": np.arange(2)}
    record = only_record(func, pset)
    assert {name: record[name] for name in ("a", "new", "y")} == {"a": -1, "new": 2, "y": 2}
    assert (record["list"], record["array"].tolist()) == ([1], [0, 7, 2])
    assert (record["text"], record["same"].tolist()) == ("stays", [0, 1])
    assert record["_pset_sha1"] == ps.pset_sha1(pset)
    assert pset["list"] == []


def test_pset_of_a_func_that_fails_is_in_the_row_as_it_was():
    def func(pset):
        pset["list"].append(1)
        pset["new"] = 1
        raise ValueError

    record = only_record(func, {"list": []})
    assert record["list"] == []
    assert "new" not in record


@pytest.mark.parametrize("name", ["_status", "_pset_id", "_pset_seq", "_attempt", "_calc_dir"])
@pytest.mark.parametrize("in_place", [True, False])
def test_book_keeping_of_func_is_refused_by_the_name_of_its_key(name, in_place):
    def func(pset):
        if in_place:
            pset[name] = "mine"
        return {} if in_place else {name: "mine", "y": 1}

    record = only_record(func)
    assert record["_status"] == "error"
    assert f"the key {name!r} of the result is reserved; rename it" in record["_exc_txt"]
    assert record["_pset_id"] == pset_id(RUN_ID, 10)


@pytest.mark.parametrize("capture_logs", [None, "db"])
def test_texts_that_func_returns_in_reserved_columns_are_kept(capture_logs):
    mine = {"_exc_txt": "Traceback ...", "_logs": "3 steps", "_exec_host": "gpu box"}
    record = only_record(lambda pset: mine, capture_logs=capture_logs)
    assert {name: record[name] for name in mine} == mine
    assert record["_status"] == "ok"
    (failed,) = records(run(lambda pset: pset.update(mine) or 1 / 0, [{"a": 1}]))
    assert failed["_exc_txt"].endswith("ZeroDivisionError: division by zero\n")
    assert failed["_exec_host"] == socket.gethostname()


def raising(error):
    def func(pset):
        raise error

    return func


class Lost(Exception):
    def __init__(self, first, second):
        super().__init__(first)


def lose():
    raise Lost(1, 2)


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("func", "kind", "text"),
    [
        (raising(ValueError("bad")), "ValueError", "ValueError: bad"),
        (raising(SystemExit(3)), "SystemExit", "SystemExit: 3"),
        (raising(KeyboardInterrupt()), "KeyboardInterrupt", "KeyboardInterrupt"),
        (raising(GeneratorExit()), "GeneratorExit", "GeneratorExit"),
        (lambda pset: lose(), "Lost", "Lost: 1"),
        (raising(Unprintable()), "Unprintable", "Unprintable"),
        (lambda pset: 5, "BadResultError", "must return a dict, not int: 5"),
        (lambda pset: None, "BadResultError", "must return a dict, not NoneType"),
        (lambda pset: [("a", 1)], "BadResultError", "must return a dict, not list"),
        (lambda pset: {"y": sys._getframe()}, "BadResultError", "key 'y'"),
        (lambda pset: {"y": (n for n in [])}, "BadResultError", "cannot pickle 'generator'"),
        (lambda pset: {"x": 1, "z": np.array([iter([1]), sys._getframe()], dtype=object)},
         "BadResultError", "key 'z'"),
        (lambda pset: {"y": Lost(1, 2)}, "BadResultError", "missing 1 required positional"),
    ],
)  # fmt: skip
def test_func_that_fails_has_a_row_and_costs_no_other(func, kind, text):
    def sometimes(pset):
        return func(pset) if pset["a"] == 1 else {"y": pset["a"]}

    result = run(sometimes, [{"a": 0}, {"a": 1}, {"a": 2}])
    rows = records(result)
    assert [row["_status"] for row in rows] == ["ok", "error", "ok"]
    assert text in rows[1]["_exc_txt"]
    assert "psweep_dask/worker/runner.py" not in rows[1]["_exc_txt"].split("\n\n")[-1]
    assert "y" not in rows[1]
    assert result.failed == {kind: 1}
    assert result.done == 3
    (example,) = result.examples
    assert (example.kind, example.pset_seq, example.pset) == (kind, 11, "{'a': 1}")


def test_traceback_begins_in_func():
    text = only_record(raising(ValueError("bad")))["_exc_txt"]
    assert text.startswith("Traceback")
    assert text.count("File") == 1
    assert "in func" in text


def test_result_too_large_for_a_frame_is_a_failure(monkeypatch):
    monkeypatch.setattr(runner, "MAX_RESULT_BYTES", 100)
    rows = records(run(lambda pset: {"y": "x" * pset["a"]}, [{"a": 10}, {"a": 1000}]))
    assert [row["_status"] for row in rows] == ["ok", "error"]
    assert "the result has 1000 bytes, more than 100" in rows[1]["_exc_txt"]


def test_simulate_does_not_call_func():
    record = only_record(raising(ValueError()), simulate=True)
    assert (record["_status"], record["_exc_txt"]) == ("simulated", None)


def test_func_runs_in_the_folder_of_the_driver(study_folder, monkeypatch):
    target = study_folder / "there"
    target.mkdir()
    monkeypatch.chdir("/")
    record = only_record(lambda pset: {"cwd": os.getcwd()}, cwd=str(target))
    assert record["cwd"] == str(target)


def test_import_paths_find_modules_beside_the_script(study_folder, monkeypatch):
    (study_folder / "mine").mkdir()
    (study_folder / "mine" / "lab_module.py").write_text("answer = 42")
    monkeypatch.setattr(sys, "path", list(sys.path))

    def func(pset):
        import lab_module

        return {"y": lab_module.answer}

    work = Work(RUN_ID, 3, "calc", pickling.dumps(func), import_paths=(str(study_folder / "mine"),))
    assert Runner(work).run_pset({"a": 1}, 0, "0" * 40).record["y"] == 42


@pytest.mark.parametrize("how", ["db", "file", "db+file"])
def test_capture_logs_go_to_row_or_file(study_folder, how):
    def func(pset):
        print("out", pset["a"], flush=True)
        os.system("echo child")
        if pset["a"] == 2:
            raise ValueError
        return {}

    rows = records(run(func, [{"a": 1}, {"a": 2}], capture_logs=how))
    texts = ["out 1\nchild\n", "out 2\nchild\n"]
    assert [row.get("_logs") for row in rows] == (texts if "db" in how else [None, None])
    files = [study_folder / "calc" / row["_pset_id"] / "logs.txt" for row in rows]
    if "file" in how:
        assert [path.read_text() for path in files] == texts
    else:
        assert not any(path.exists() for path in files)


def test_result_that_func_changes_later_is_kept_as_it_was():
    buffer, seen = np.zeros(2), []

    def func(pset):
        buffer[:] = pset["a"]
        seen.append(pset["a"])
        return {"buffer": buffer, "seen": seen}

    df = from_blocks(unpack(run(func, [{"a": n} for n in range(9)]).frame[HEADER.size :]))
    assert [array.tolist() for array in df.buffer] == [[n, n] for n in range(9)]
    assert df.seen.tolist() == [list(range(n + 1)) for n in range(9)]


def test_result_that_only_the_worker_can_restore_costs_no_other(study_folder, monkeypatch):
    (study_folder / "worker_only.py").write_text("class Result: pass")
    monkeypatch.setattr(sys, "path", [str(study_folder), *sys.path])

    def func(pset):
        import worker_only

        return {"y": worker_only.Result() if pset["a"] else 5}

    result = run(func, [{"a": 0}, {"a": 1}])
    monkeypatch.undo()
    del sys.modules["worker_only"]
    df = from_blocks(unpack(result.frame[HEADER.size :]))
    assert df.y.tolist()[0] == 5
    assert "No module named 'worker_only'" in repr(df.y.tolist()[1])


@pytest.mark.parametrize("key", [(1, 2), None, 1.5, frozenset()])
def test_result_with_a_key_that_is_no_str_is_a_failure(key):
    record = only_record(lambda pset: {key: 1})
    assert record["_status"] == "error"
    assert "keys must be str" in record["_exc_txt"]


def error_with_note():
    error = ValueError("negative mass\n  in step 3")
    error.add_note("see the wiki")
    return error


@pytest.mark.parametrize(
    ("error", "headline"),
    [
        (error_with_note(), "ValueError: negative mass"),
        (ValueError("\n\n  late"), "ValueError: late"),
        (ExceptionGroup("two", [ValueError(1), KeyError(2)]), "ExceptionGroup: two (2 sub-except"),
        (Unprintable(), "Unprintable"),
        (ValueError(), "ValueError"),
        (ValueError("x" * 1_000_000), "ValueError: xxx"),
    ],
)
def test_headline_of_a_failure_has_class_and_message(error, headline):
    (failure,) = run(raising(error), [{"a": 1}]).examples
    assert failure.headline.startswith(headline)
    assert len(failure.headline) <= 200
    assert "\n" not in failure.headline


def test_func_starts_each_pset_in_the_folder_of_the_run(study_folder):
    def func(pset):
        cwd = os.getcwd()
        os.chdir("/")
        return {"cwd": cwd}

    result = run(func, [{"a": 0}, {"a": 1}], cwd=str(study_folder))
    assert [row["cwd"] for row in records(result)] == [str(study_folder)] * 2


def test_result_that_is_an_element_of_a_structured_array_is_kept_as_it_was(study_folder):
    array = np.zeros(1, dtype=[("x", "i8")])

    def func(pset):
        array[0]["x"] = pset["a"]
        return {"v": array[0]}

    df = ps.run(func, ps.plist("a", range(4)), cluster="sync")
    assert [element["x"] for element in df.v] == [0, 1, 2, 3]


def test_func_of_another_python_is_not_called():
    work = Work(RUN_ID, 0, "calc", pickling.dumps(lambda pset: {}), python="3.1")
    with pytest.raises(LoadError, match="func was packed by Python 3.1, and this is 3."):
        Runner(work)


def test_func_that_forks_and_returns_makes_no_second_worker(study_folder):
    def func(pset):
        child = os.fork()
        if child:
            os.waitpid(child, 0)  # without end, if it went on
        return {"child": child}

    df = ps.run(func, ps.plist("a", range(2)), cluster="sync")
    assert (df.child > 0).all()


@pytest.mark.parametrize("hide", [lambda value: value, lambda value: [1, {"x": (value,)}]])
def test_value_that_dask_computes_later_is_the_failure_of_its_pset(hide):
    def func(pset):
        lazy = {"Delayed": dask.delayed(abs)(-1), "Array": dask.array.ones(3)}
        return {"y": hide(lazy[pset["kind"]])}

    params = ps.plist("kind", ["Delayed", "Array"])
    df = ps.run(func, params, cluster="sync", save=False)
    assert df._status.tolist() == ["error"] * 2
    for kind, text in zip(df.kind, df._exc_txt, strict=True):
        assert f"'y' of the result is, or holds, a {kind}, which dask computes later" in text


def test_future_is_the_failure_of_its_pset_and_its_result_is_a_value():
    def func(pset):
        future = get_client().submit(abs, -pset["a"])
        return {"y": future if pset["a"] == 1 else future.result()}

    with Client(n_workers=1, processes=False, dashboard_address=":0") as client:
        df = ps.run(func, ps.plist("a", [1, 2]), cluster=client, save=False)
    assert df._status.tolist() == ["error", "ok"]
    assert "a Future, which dask computes later" in df._exc_txt.iloc[0]
    assert df.y.iloc[1] == 2


def test_values_that_only_mention_dask_are_results():
    values = ["about dask", {"dask": ["distributed"]}, [dask.base.tokenize], Path("dask")]
    df = ps.run(lambda pset: {"y": values[pset["a"]]}, ps.plist("a", range(4)), cluster="sync")
    assert df._status.tolist() == ["ok"] * 4
    assert df.y.tolist() == values
