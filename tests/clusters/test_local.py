"""Our LocalCluster: started, kept and closed, as seen from scripts as users write them."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import dask.config
import psutil
import pytest
from distributed import Client, LocalCluster, Security
from helpers.driver_process import wait_until

import psweep_dask as ps
from psweep_dask.clusters import local as local_module
from psweep_dask.clusters.executor import ExecutorError
from psweep_dask.clusters.local import LocalClusterError, LocalPool, open_local_cluster


def script(study_folder, text, **options):
    path = study_folder / "script.py"
    path.write_text(text)
    return subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, check=False, **options
    )


SCRIPT = """
import psweep_dask as ps
def func(pset):
    return {"y": 1}
df = ps.run(func, [{"a": 1}] * 10, save=False)
print(df.y.sum())
"""


def test_script_ends_by_itself_quietly_with_no_process_left(study_folder):
    done = script(study_folder, SCRIPT)
    assert (done.returncode, done.stdout) == (0, "10\n")
    lines = done.stderr.splitlines()
    assert lines[0].startswith("psweep_dask: ")
    assert "dashboard: http://127.0.0.1:" in lines[0]
    assert lines[1].startswith("psweep_dask: 10 of 10 psets")
    assert len(lines) == 2
    processes = psutil.process_iter(["cwd"])
    here = {process.pid for process in processes if process.info["cwd"] == str(study_folder)}
    assert here <= {os.getpid()}


SCRIPT_WITH_OPEN_PAGE = """
import subprocess, sys, time
import psweep_dask as ps

BROWSER = "import sys; from bokeh.client import pull_session; pull_session(url=sys.argv[1]); " \
    "print('open', flush=True); sys.stdin.read()"

sweep = ps.submit(lambda pset: time.sleep(0.1) or {}, [{"a": 1}] * 20, save=False, cluster="local")
while sweep.dashboard_link is None:
    time.sleep(0.05)
command = [sys.executable, "-c", BROWSER, sweep.dashboard_link]
browser = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
assert browser.stdout.readline() == "open\\n"
print(len(sweep.result()))
"""


def test_script_ends_quietly_while_a_page_of_the_dashboard_is_open(study_folder):
    done = script(study_folder, SCRIPT_WITH_OPEN_PAGE, stdin=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (0, "20\n")
    lines = done.stderr.splitlines()
    assert all(line.startswith("psweep_dask: ") for line in lines), done.stderr
    assert len(lines) == 2


@pytest.mark.parametrize("wait", [0.0, 0.5, 1.0, 2.0, 3.0])
def test_script_that_ends_before_its_sweep_ends_quietly(study_folder, wait):
    done = script(
        study_folder,
        "import time\nimport psweep_dask as ps\n"
        "ps.submit(lambda pset: time.sleep(60) or {}, [{'a': 1}] * 3, cluster='local')\n"
        f"time.sleep({wait})\n",
    )
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert all(line.startswith("psweep_dask: ") for line in lines), done.stderr
    assert "ps.resume('calc') runs the 3 left" in lines[-1] or (
        "Python ends before its workers have started" in lines[-1]
    )


@pytest.mark.parametrize("start", [["script.py"], ["-m", "script"]])
@pytest.mark.parametrize("guard", [True, False])
def test_script_is_never_imported_by_workers(study_folder, start, guard):
    (study_folder / "script.py").write_text(f"""
import os, random
import psweep_dask as ps
with open("top_level", "a") as file:
    file.write("once ")
design = [{{"a": random.random()}} for _ in range(8)]
class Result:
    def __init__(self, y): self.y = y
def double(a):
    return 2 * a
def func(pset):
    if pset["a"] == design[3]["a"]:
        os._exit(3)  # its nanny starts another worker
    return {{"y": double(pset["a"]), "r": Result(pset["a"])}}
if {"__name__ == '__main__'" if guard else "True"}:
    df = ps.run(func, design)
    assert df.a.tolist() == [pset["a"] for pset in design]
    ok = df[df._status == "ok"]
    assert (ok.y == 2 * ok.a).all() and all(isinstance(r, Result) for r in ok.r)
    print(df._status.tolist())
""")
    done = subprocess.run(
        [sys.executable, *start], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.split("'")[1::2] == ["ok"] * 3 + ["killed"] + ["ok"] * 4, done.stderr
    assert (study_folder / "top_level").read_text() == "once "


def test_script_from_stdin_and_a_class_of_main_work(study_folder):
    text = """
import psweep_dask as ps
class Result:
    def __init__(self, y): self.y = y
df = ps.run(lambda pset: {"y": Result(pset["a"])}, ps.plist("a", [1, 2]))
print(isinstance(df.y.iloc[0], Result), [result.y for result in ps.df_read("calc/database.pk").y])
"""
    done = subprocess.run(
        [sys.executable, "-"], input=text, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True [1, 2]\n"


def test_modules_beside_the_script_are_found_by_workers(study_folder):
    (study_folder / "code").mkdir()
    (study_folder / "code" / "lab_model.py").write_text("def f(pset): return {'y': pset['a']}")
    (study_folder / "code" / "run.py").write_text(
        "import lab_model, psweep_dask as ps\n"
        "print(ps.run(lab_model.f, ps.plist('a', [1, 2]), save=False).y.sum())\n"
    )
    done = subprocess.run(
        [sys.executable, "code/run.py"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "3\n"


def test_multiprocessing_may_be_used_by_func(study_folder):
    text = SCRIPT.replace(
        'return {"y": 1}',
        'import multiprocessing\n    with multiprocessing.get_context("fork").Pool(2) as pool:\n'
        '        return {"y": sum(pool.map(abs, [-1, 0]))}',
    )
    done = script(study_folder, text)
    assert done.stdout == "10\n", done.stderr


def test_workers_end_when_the_driver_is_killed(study_folder):
    path = study_folder / "script.py"
    path.write_text(SCRIPT.replace('return {"y": 1}', "import time; time.sleep(600)"))
    with subprocess.Popen([sys.executable, str(path)], stderr=subprocess.PIPE) as driver:
        driver.stderr.readline()  # the workers are there
        children = psutil.Process(driver.pid).children(recursive=True)
        assert len(children) >= local_module.CPU_COUNT
        driver.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


@pytest.fixture
def local():
    """Our LocalCluster, started if need be."""
    with open_local_cluster(None) as local:
        return local


def test_local_cluster_is_private(local):
    assert local.cluster.scheduler_address.startswith("tls://127.0.0.1:")
    assert local.cluster.dashboard_link.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(local.cluster.dashboard_link) as page:
        assert b"Dask" in page.read()
    stranger = Security.temporary()
    with pytest.raises(OSError, match="TLS certificate does not match"):
        Client(local.cluster.scheduler_address, security=stranger, timeout=2, set_as_default=False)


def test_local_cluster_has_one_single_threaded_process_a_core(local):
    workers = local.client.scheduler_info(n_workers=-1)["workers"].values()
    assert [worker["nthreads"] for worker in workers] == [1] * local_module.CPU_COUNT
    pids = set(local.client.run(os.getpid).values())
    assert len(pids) == local_module.CPU_COUNT
    assert os.getpid() not in pids


def test_local_cluster_is_reused_until_it_is_closed(local):
    with open_local_cluster(None) as again:
        assert again is local
    local_module.close_local()
    local_module.close_local()
    assert local_module._kept is None
    with open_local_cluster(None) as other:
        assert other is not local


def test_local_cluster_whose_scheduler_is_gone_is_replaced(local):
    local.cluster.close()
    with open_local_cluster(None) as other:
        assert other is not local


def test_local_cluster_of_another_size_replaces_one_that_nobody_uses(local):
    with open_local_cluster(1) as small:
        assert small is not local
        assert local.client.status == "closed"
        assert (small.size, len(small.cluster.workers)) == (1, 1)
        with open_local_cluster(2) as other:
            assert small.client.status == "running"  # it is used
            assert other.size == 2
        assert other.client.status == "running"  # it is kept for the next run
    assert small.client.status == "closed"  # the other one has its place


def test_local_cluster_that_cannot_start_is_tried_once_more_and_is_an_error(caplog, monkeypatch):
    def fail(size):
        raise OSError(f"no memory for {size} workers")

    local_module.close_local()
    monkeypatch.setattr(local_module, "_local_cluster", fail)
    with (
        pytest.raises(LocalClusterError, match="of 3 workers cannot start: no memory for 3"),
        open_local_cluster(3),
    ):
        pass
    assert "did not start (no memory for 3 workers), trying once more" in caplog.text


def test_workers_are_renewed_with_all_that_their_func_has_started(local):
    (address, *others) = local.client.nthreads()
    child, worker = local.client.submit(start_sleep, workers=[address], pure=False).result()
    local.renew_workers([address])
    wait_until(lambda: not psutil.pid_exists(child))
    wait_until(lambda: not psutil.pid_exists(worker))
    wait_until(lambda: len(local.client.nthreads()) == local_module.CPU_COUNT)
    assert set(others) < set(local.client.nthreads())
    assert address not in local.client.nthreads()


def start_sleep():
    """Start a program on a worker; return its process id and that of the worker."""
    return subprocess.Popen(["sleep", "600"]).pid, os.getpid()


def test_nannies_are_kept_however_long_their_workers_take_to_restart(local):
    def func(pset):
        if pset["a"] == 3:
            os._exit(1)
        return {}

    with dask.config.set({"distributed.deploy.lost-worker-timeout": "10ms"}):
        df = ps.run(func, ps.plist("a", range(6)), cluster="local")
    assert df._status.tolist() == ["ok"] * 3 + ["killed"] + ["ok"] * 2
    wait_until(lambda: len(local.client.nthreads()) == local_module.CPU_COUNT)
    assert local.cluster.nannies == local_module.CPU_COUNT


def test_close_ends_the_workers_that_are_kept_and_may_be_called_again(local):
    pids = set(local.client.run(os.getpid).values())
    ps.close()
    wait_until(lambda: not any(map(psutil.pid_exists, pids)))
    ps.close()
    df = ps.run(lambda pset: {"pid": os.getpid()}, [{"a": 1}], cluster="local", save=False)
    assert df.pid.iloc[0] not in pids


def test_close_leaves_a_run_its_workers_until_it_has_ended(local):
    sweep = ps.submit(lambda pset: time.sleep(0.2) or {"pid": os.getpid()}, [{"a": 1}] * 12)
    wait_until(lambda: len(sweep.df) > 0)
    ps.close()
    df = sweep.result()
    assert df._status.tolist() == ["ok"] * 12
    wait_until(lambda: not any(map(psutil.pid_exists, set(df.pid))))


def test_run_in_func_on_a_daemonic_worker_is_an_error_with_what_to_do(study_folder):
    def func(pset):
        return {"y": ps.run(lambda inner: {"z": 1}, [{"b": 1}], **pset["where"]).z.tolist()}

    where = [{"cluster": "local", "save": False}, {"cluster": "sync", "save": False}]
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        df = ps.run(func, ps.plist("where", where), cluster=client)
    assert df._status.tolist() == ["error", "ok"]
    assert "LocalClusterError: this is a daemonic process" in df._exc_txt.iloc[0]
    assert "pass cluster='sync' to ps.run" in df._exc_txt.iloc[0]


def test_local_pool_without_a_nanny_is_an_error_when_python_ends(local, monkeypatch):
    pool = LocalPool(local, {})
    monkeypatch.setattr(local_module, "_python_ends", True)
    assert pool.slots(left=1) == local_module.CPU_COUNT
    local.cluster.sync(close_all, list(local.cluster.workers.values()))
    with pytest.raises(ExecutorError, match="Python ends, and so do its workers"):
        pool.slots(left=1)


def test_local_cluster_that_is_closed_leaves_the_loggers_of_dask_as_they_were(local):
    loggers = [logging.getLogger(f"distributed.{name}") for name in ("core", "comm", "scheduler")]
    levels = [logger.level for logger in loggers]
    local_module.close_local()
    assert [logger.level for logger in loggers] == levels


def test_local_cluster_is_shared_by_runs_in_threads_if_its_size_fits(study_folder):
    def func(pset):
        time.sleep(0.02)
        return {"y": 2 * pset["a"]}

    def one_run(number):
        return ps.run_local(func, ps.plist("a", range(30)), poolsize=1 + number % 2)

    with ThreadPoolExecutor(4) as threads:
        for df in threads.map(one_run, range(4)):
            assert (df.y == 2 * df.a).all()
    df = ps.df_read("calc/database.pk")
    assert df._pset_seq.tolist() == list(range(120))
    assert df._run_id.nunique() == 4


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_process_started_by_a_script_may_run_psets_in_the_same_study(study_folder, method):
    text = """
import multiprocessing
import psweep_dask as ps
def func(pset):
    return {"y": pset["a"]}
def child(where):
    ps.run(func, ps.plist("a", range(5)), cluster=where)
if __name__ == "__main__":
    for where in ("local", "sync"):
        process = multiprocessing.get_context("METHOD").Process(target=child, args=(where,))
        process.start()
        process.join()
        assert process.exitcode == 0
"""
    script(study_folder, text.replace("METHOD", method))
    assert ps.load("calc")._pset_seq.tolist() == list(range(10))


def test_nannies_all_gone_are_replaced_and_the_run_goes_on(study_folder):
    sweep = ps.submit(lambda pset: time.sleep(0.1) or {}, ps.plist("a", range(100)))
    wait_until(lambda: sweep.progress.get("ok", 0) > 5)
    with open_local_cluster(None) as local:
        local.cluster.sync(close_all, list(local.cluster.workers.values()))
    df = sweep.result()
    assert df._status.tolist() == ["ok"] * 100
    assert (df._attempt == 1).all()
    with open_local_cluster(None) as again:
        assert again is local


async def close_all(nannies):
    for nanny in nannies:
        await nanny.close(timeout=5)


@contextmanager
def killed_in_their_start():
    """Have no nanny and no worker left, and kill each new one; yields the pids of the killed."""
    killed, over = set(), threading.Event()

    def kill():
        while not over.wait(0.01):
            for child in psutil.Process().children():
                with suppress(psutil.NoSuchProcess):
                    if "spawn_main" in " ".join(child.cmdline()):
                        child.kill()
                        killed.add(child.pid)

    with ThreadPoolExecutor(1) as threads:
        threads.submit(kill)
        try:
            with open_local_cluster(None) as local:
                local.cluster.sync(close_all, list(local.cluster.workers.values()))
            yield killed
        finally:
            over.set()


def test_workers_that_are_killed_in_their_start_end_no_run(study_folder):
    def func(pset):
        time.sleep(0.05)
        return {"y": 2 * pset["a"]}

    # One that comes up between two looks of the test is killed in a pset, which may be tried again.
    sweep = ps.submit(func, ps.plist("a", range(100)), cluster="local", retries=100)
    wait_until(lambda: sweep.progress.get("ok", 0) > 5)
    with killed_in_their_start() as killed:
        wait_until(lambda: len(killed) >= 10 * local_module.CPU_COUNT, seconds=300)
    df = sweep.result()
    assert df.y.tolist() == list(range(0, 200, 2))


def test_workers_that_never_come_up_end_the_run_with_the_reason(study_folder, monkeypatch):
    monkeypatch.setattr(local_module, "GIVE_UP_SECONDS", 3.0)
    sweep = ps.submit(lambda pset: time.sleep(0.1) or {}, ps.plist("a", range(1000)), retries=100)
    wait_until(lambda: sweep.progress.get("ok", 0) > 5)
    with (
        killed_in_their_start(),
        pytest.raises(ExecutorError, match="no worker .* exit code -9 while it started; what had"),
    ):
        sweep.result()
    assert (ps.load("calc")._status == "ok").all()
    assert len(ps.resume("calc")) == 1000
