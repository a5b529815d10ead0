"""Ours and what a user would pick instead, each ready to be called with a func and params.

Not a script. Each contestant is a context manager: what outlives a call, such as a cluster or a
pool, is started before anything is timed and is gone before the next contestant starts, so that
none pays for the idle workers of another. A call gives the number of good results.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
import joblib
import psweep
from common import Pset
from distributed import Client, LocalCluster

import psweep_dask
from psweep_dask.clusters.local import close_local

WORKERS = 2

Func = Callable[[Pset], dict[str, object]]
Call = Callable[[Func, list[Pset]], int]


def check(call: Call, func: Func, params: list[Pset]) -> None:
    """Call a contestant; end the benchmark if results are missing."""
    good = call(func, params)
    if good != len(params):
        raise click.ClickException(f"{good} results for {len(params)} psets")


@contextmanager
def ours() -> Iterator[Call]:
    def call(func: Func, params: list[Pset]) -> int:
        df = psweep_dask.run_local(func, params, poolsize=WORKERS)
        return int((df["_status"] == "ok").sum())

    try:
        yield call
    finally:
        close_local()


@contextmanager
def psweep_serial() -> Iterator[Call]:
    yield lambda func, params: len(psweep.run(func, params))


@contextmanager
def psweep_pool() -> Iterator[Call]:
    """It starts its pool in each call: there is no other way to use it."""
    yield lambda func, params: len(psweep.run(func, params, poolsize=WORKERS))


@contextmanager
def psweep_dask_client() -> Iterator[Call]:
    with (
        LocalCluster(
            n_workers=WORKERS,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield lambda func, params: len(psweep.run(func, params, dask_client=client))


@contextmanager
def joblib_parallel() -> Iterator[Call]:
    with joblib.Parallel(n_jobs=WORKERS) as parallel:
        yield lambda func, params: len(parallel(joblib.delayed(func)(pset) for pset in params))


@contextmanager
def pool_map() -> Iterator[Call]:
    with multiprocessing.Pool(WORKERS) as pool:
        yield lambda func, params: len(pool.map(func, params))


@contextmanager
def pool_imap() -> Iterator[Call]:
    with multiprocessing.Pool(WORKERS) as pool:
        yield lambda func, params: len(list(pool.imap(func, params, chunksize=1)))


@contextmanager
def xyzpy_runner() -> Iterator[Call]:
    """It makes a labelled array instead of a DataFrame."""
    import xyzpy

    def call(func: Func, params: list[Pset]) -> int:
        runner = xyzpy.Runner(lambda a: func({"a": a})["y_"], var_names="y_")
        combos = {"a": [pset["a"] for pset in params]}
        made = runner.run_combos(combos, parallel=True, num_workers=WORKERS, verbosity=0)
        return int(made["y_"].notnull().sum())

    yield call


@contextmanager
def ray_tasks() -> Iterator[Call]:
    import ray

    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)

    def call(func: Func, params: list[Pset]) -> int:
        remote = ray.remote(func)
        return len(ray.get([remote.remote(pset) for pset in params]))

    try:
        yield call
    finally:
        ray.shutdown()


@contextmanager
def executorlib_submit() -> Iterator[Call]:
    from executorlib import SingleNodeExecutor

    with SingleNodeExecutor(max_workers=WORKERS, block_allocation=True) as executor:

        def call(func: Func, params: list[Pset]) -> int:
            futures = [executor.submit(func, pset) for pset in params]
            return len([one.result() for one in futures])

        yield call


@contextmanager
def parsl_apps() -> Iterator[Call]:
    import parsl
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    workers = HighThroughputExecutor(
        address="127.0.0.1",
        max_workers_per_node=WORKERS,
        provider=LocalProvider(init_blocks=1, max_blocks=1),
    )
    parsl.load(Config(executors=[workers], run_dir="parsl", initialize_logging=False))

    def call(func: Func, params: list[Pset]) -> int:
        app = parsl.python_app(func)
        futures = [app(pset) for pset in params]
        return len([one.result() for one in futures])

    try:
        yield call
    finally:
        parsl.dfk().cleanup()
        parsl.clear()
