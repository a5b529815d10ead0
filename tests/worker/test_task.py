"""A slice of psets is run, and its result comes back."""

from __future__ import annotations

import os
import pickle
import time

import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from helpers.run_slice import RUN_ID, only_record, payload_of, records, run

import psweep_dask as ps
from psweep_dask.storage.pickling import dumps
from psweep_dask.worker import task
from psweep_dask.worker.task import run_slice
from psweep_dask.worker.work import Work


def raising(error):
    def func(pset):
        raise error

    return func


def test_slice_result_has_a_few_examples_of_each_kind_of_failure():
    def func(pset):
        raise (ValueError if pset["a"] == 9 else KeyError)(pset["a"])

    result = run(func, [{"a": number} for number in range(10)])
    assert result.failed == {"KeyError": 9, "ValueError": 1}
    assert [(failure.kind, failure.pset_seq) for failure in result.examples] == [
        *(("KeyError", seq) for seq in range(10, 15)),
        ("ValueError", 19),
    ]
    assert repr(pickle.loads(result.examples[0].exception)) == "KeyError(0)"


def test_budget_ends_a_slice():
    result = run(lambda pset: time.sleep(0.02) or {}, [{"a": n} for n in range(50)], budget=0.05)
    assert 1 <= result.done < 10
    assert len(records(result)) == result.done
    assert result.seconds >= 0.05
    assert run(lambda pset: {}, [{"a": 1}, {"a": 2}], budget=0.0).done == 1


def test_slice_ends_when_its_results_are_large():
    size = task.MAX_SLICE_BYTES // 8 // 2
    result = run(lambda pset: {"y": np.zeros(size)}, [{"a": n} for n in range(50)])
    assert result.done == 3
    assert run(lambda pset: {"y": "x" * 2**20}, [{"a": n} for n in range(50)]).done == 5
    assert run(lambda pset: {"y": [bytes(2**20)]}, [{"a": n} for n in range(50)]).done == 4


def test_stop_after_so_many_failures_ends_a_slice():
    result = run(raising(ValueError()), [{"a": n} for n in range(9)], stop_after=2)
    assert result.done == 2


def test_tmpsave_writes_each_row_at_once(study_folder):
    record = only_record(lambda pset: {"y": [1, 2]}, tmpsave=True)
    path = study_folder / "calc" / "tmpsave" / RUN_ID / f"{record['_pset_id']}.pk"
    row = pd.read_pickle(path)
    assert row.iloc[0]["y"] == [1, 2]
    assert row.iloc[0]["_time_utc"] == row.index[0]
    assert list(row) == list(record)


def test_func_is_loaded_once_for_all_slices_of_a_run(study_folder):
    class Counting:
        def __setstate__(self, state):
            with (study_folder / "loads").open("a") as log:
                log.write("x")

        def __getstate__(self):
            return {"a": 1}

        def __call__(self, pset):
            return {}

    work = Work(RUN_ID, 0, "calc", dumps(Counting())).pack()
    packed = payload_of([{"a": 1}]).pack()
    for _ in range(3):
        run_slice(work, "the same", packed, 1.0)
    assert (study_folder / "loads").read_text() == "x"


def test_retries_come_back_without_a_record():
    result = run(raising(ValueError()), [{"a": n} for n in range(3)], attempts={2: 4}, spare=[0, 1])
    assert (result.done, result.again, result.rows) == (3, [0, 1], 1)
    (record,) = records(result)
    assert (record["a"], record["_attempt"]) == (2, 4)
    assert result.failed == {"ValueError": 1}


def test_tmpsave_that_cannot_write_ends_the_slice_and_keeps_the_record(study_folder):
    (study_folder / "calc").touch()
    result = run(lambda pset: {}, [{"a": n} for n in range(3)], tmpsave=True)
    assert "tmpsave=True cannot write its file" in result.trouble
    assert (result.done, len(records(result))) == (1, 1)


def test_slice_ends_between_psets_when_it_is_stopped():
    answers = iter([False, True])
    result = run(lambda pset: {}, [{"a": 1}] * 5, stopped=lambda: next(answers))
    assert result.done == len(records(result)) == 2


def _waiting_func(how):
    def by_compute(pset):
        import dask

        return dask.compute(dask.delayed(time.sleep)(0.3), dask.delayed(os.getpid)())[1]

    def by_secede(pset):
        from distributed import get_client, rejoin, secede

        future = get_client().submit(time.sleep, 0.3, pure=False)
        secede()
        result = future.result()
        rejoin()
        return result

    def by_worker_client(pset):
        from distributed import worker_client

        with worker_client() as client:
            return client.submit(time.sleep, 0.3, pure=False).result()

    def by_joblib(pset):
        import joblib

        with joblib.parallel_config("dask"):
            return sum(joblib.Parallel()(joblib.delayed(abs)(n) for n in range(3)))

    waits = {"compute": by_compute, "secede": by_secede, "joblib": by_joblib}
    wait = waits.get(how, by_worker_client)

    def func(pset):
        name = f"pset_{pset['a']}"
        os.makedirs(name, exist_ok=True)
        os.chdir(name)
        os.environ["LAB_PSET"] = name
        print("begin", name)
        began = time.time()
        inside = wait(pset)
        print("end", name)
        return {
            "cwd": os.path.basename(os.getcwd()),
            "env": os.environ["LAB_PSET"],
            "inside": inside,
            "pid": os.getpid(),
            "began": began,
            "ended": time.time(),
        }

    return func


def _ran_alone(df):
    assert (df._status == "ok").all(), df._exc_txt.dropna().tolist()
    names = [f"pset_{a}" for a in df.a]
    assert df.cwd.tolist() == names
    assert df.env.tolist() == names
    assert df._logs.tolist() == [f"begin {name}\nend {name}\n" for name in names]
    for _, rows in df.sort_values("began").groupby("pid"):
        assert (rows.began.iloc[1:].to_numpy() >= rows.ended.iloc[:-1].to_numpy()).all()
    return True


@pytest.mark.parametrize("how", ["compute", "secede", "worker_client", "joblib"])
def test_process_runs_one_pset_at_a_time_also_while_func_waits_for_dask(study_folder, how):
    psets = ps.plist("a", range(6))
    df = ps.run(_waiting_func(how), psets, save=False, capture_logs="db")
    assert _ran_alone(df)
    if how == "compute":
        assert df.inside.tolist() == df.pid.tolist()  # in the process of the pset


@pytest.mark.parametrize("how", ["compute", "worker_client"])
def test_workers_of_the_user_run_one_pset_for_each_thread(study_folder, how):
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        df = ps.run(
            _waiting_func(how), ps.plist("a", range(6)), save=False, capture_logs="db",
            cluster=client,
        )  # fmt: skip
    assert _ran_alone(df)
