"""Starting, keeping and closing clusters, seen from scripts as users write them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from distributed import Client, LocalCluster, Security
from helpers.driver_process import wait_until

import psweep_dask as ps
from psweep_dask.clusters import local as local_module
from psweep_dask.clusters import resolve as resolve_module
from psweep_dask.clusters.resolve import ClusterError, Needs, resolve
from psweep_dask.study.stop import Stopper


def script(study_folder, text, **options):
    path = study_folder / "script.py"
    path.write_text(text)
    return subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, check=False, **options
    )


GUARDED = """
import psweep_dask as ps
def func(pset):
    return {"y": 1}
if __name__ == "__main__":
    df = ps.run(func, [{"a": 1}] * 10, save=False)
    print(df.y.sum())
"""


def test_a_script_ends_by_itself_quietly_with_no_process_left(study_folder):
    done = script(study_folder, GUARDED)
    assert (done.returncode, done.stdout) == (0, "10\n")
    lines = done.stderr.splitlines()
    assert lines[0].startswith("psweep_dask: ")
    assert "dashboard: http://127.0.0.1:" in lines[0]
    assert lines[1].startswith("psweep_dask: 10 of 10 psets")
    assert len(lines) == 2
    there = {
        one.pid for one in psutil.process_iter(["cwd"]) if one.info["cwd"] == str(study_folder)
    }
    assert there <= {os.getpid()}


def test_a_script_without_a_main_guard_is_told_what_to_add_once(study_folder):
    text = "\n".join(GUARDED.replace('if __name__ == "__main__":', "if True:").splitlines())
    done = script(study_folder, text)
    assert done.returncode == 1
    assert done.stderr.count('if __name__ == "__main__":') == 1
    assert "script.py starts worker processes" in done.stderr
    assert "multiprocessing" not in done.stderr
    assert "bootstrapping" not in done.stderr
    assert "Nanny" not in done.stderr
    assert done.stderr.count("Traceback") == 1


def test_a_script_from_stdin_and_a_class_of_main_work(study_folder):
    text = """
import psweep_dask as ps
class Result:
    def __init__(self, y): self.y = y
df = ps.run(lambda pset: {"y": Result(pset["a"])}, ps.plist("a", [1, 2]))
print(isinstance(df.y.iloc[0], Result), [one.y for one in ps.df_read("calc/database.pk").y])
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
        "if __name__ == '__main__':\n"
        "    print(ps.run(lab_model.f, ps.plist('a', [1, 2]), save=False).y.sum())\n"
    )
    done = subprocess.run(
        [sys.executable, "code/run.py"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "3\n"


def test_func_may_use_multiprocessing(study_folder):
    text = GUARDED.replace(
        'return {"y": 1}',
        'import multiprocessing\n    with multiprocessing.get_context("fork").Pool(2) as pool:\n'
        '        return {"y": sum(pool.map(abs, [-1, 0]))}',
    )
    done = script(study_folder, text)
    assert done.stdout == "10\n", done.stderr


def test_workers_end_when_the_driver_is_killed(study_folder):
    path = study_folder / "script.py"
    path.write_text(GUARDED.replace('return {"y": 1}', "import time; time.sleep(600)"))
    with subprocess.Popen([sys.executable, str(path)], stderr=subprocess.PIPE) as driver:
        driver.stderr.readline()  # the workers are there
        children = psutil.Process(driver.pid).children(recursive=True)
        assert len(children) >= local_module.CPU_COUNT
        driver.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


@pytest.fixture
def local():
    """The LocalCluster of ours, started if need be."""
    with resolve_module.executor("local", b"work", Needs("func"), Stopper()):
        return local_module._kept


def test_the_local_cluster_is_private(local):
    assert local.cluster.scheduler_address.startswith("tls://127.0.0.1:")
    assert local.cluster.dashboard_link.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(local.cluster.dashboard_link) as page:
        assert b"Dask" in page.read()
    stranger = Security.temporary()
    with pytest.raises(OSError, match="TLS certificate does not match"):
        Client(local.cluster.scheduler_address, security=stranger, timeout=2, set_as_default=False)


def test_the_local_cluster_has_one_single_threaded_process_a_core(local):
    workers = local.client.scheduler_info(n_workers=-1)["workers"].values()
    assert [worker["nthreads"] for worker in workers] == [1] * local_module.CPU_COUNT
    pids = set(local.client.run(os.getpid).values())
    assert len(pids) == local_module.CPU_COUNT
    assert os.getpid() not in pids


def test_the_local_cluster_is_reused_until_it_is_closed(local):
    with resolve_module.executor("local", b"other work", Needs("func"), Stopper()):
        assert local_module._kept is local
    local_module.close_local()
    local_module.close_local()
    assert local_module._kept is None
    with resolve_module.executor("local", b"work", Needs("func"), Stopper()):
        assert local_module._kept is not local


def test_a_local_cluster_whose_scheduler_is_gone_is_replaced(local):
    local.cluster.close()
    with resolve_module.executor("local", b"work", Needs("func"), Stopper()):
        assert local_module._kept is not local


def test_resolve_knows_names_clients_and_clusters(local):
    assert resolve(None) == "local"
    assert resolve("sync") == "sync"
    assert resolve(local.client) is local.client
    assert resolve(local.cluster) is local.cluster


@pytest.mark.parametrize("cluster", ["moon", "", 7, True, ["local"], {"a": 1}])
def test_anything_else_is_refused_with_what_there_is(cluster):
    with pytest.raises(ClusterError, match="local|allowed are"):
        resolve(cluster)


def test_workers_that_lack_the_package_are_told_before_anything_runs(study_folder):
    (study_folder / "psweep_dask").mkdir()
    (study_folder / "psweep_dask" / "__init__.py").write_text("raise ImportError('none here')")
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1"]
    with LocalCluster(n_workers=0, dashboard_address=":0", host="127.0.0.1") as cluster:
        address = cluster.scheduler_address
        with subprocess.Popen(
            [*worker, "--no-dashboard", "--no-nanny", address],
            env={**os.environ, "PYTHONPATH": str(study_folder)},
            stderr=subprocess.DEVNULL,
        ) as process:
            with Client(cluster, set_as_default=False) as client:
                client.wait_for_workers(1, timeout=30)
                with (
                    pytest.raises(ClusterError, match="1 of 1 workers cannot import.*none here"),
                    resolve_module.executor(client, b"work", Needs("func"), Stopper()),
                ):
                    pass
            process.terminate()


def test_runs_in_several_threads_share_one_cluster_or_have_their_own(study_folder):
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
def test_a_run_inside_another_process_shares_the_study(study_folder, method):
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


def test_when_no_nanny_is_left_the_run_ends_in_order_and_the_next_has_a_new_cluster(study_folder):
    sweep = ps.submit(lambda pset: time.sleep(0.1) or {}, ps.plist("a", range(200)))
    wait_until(lambda: sweep.progress.get("ok", 0) > 5)
    with local_module.local_cluster(None) as local:
        local.cluster.sync(close_all, list(local.cluster.workers.values()))
    with pytest.raises(ps.PsweepError, match="all workers of this machine have died"):
        sweep.result()
    assert (ps.load("calc")._status == "ok").all()
    assert len(ps.resume("calc")) == 200


async def close_all(nannies):
    for nanny in nannies:
        await nanny.close(timeout=5)
