"""Live runs on a machine of templates/machines, in a real SLURM."""

from __future__ import annotations

import json
import re
import socket
from contextlib import ExitStack, suppress
from itertools import chain
from urllib.parse import urlsplit
from urllib.request import urlopen

import psutil
import pytest
from distributed import Client, Security
from helpers import slurm_lab


def listening(process):
    """The sockets on which a process and all its children listen."""
    sockets = []
    for part in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # squeue, which has answered
            sockets += part.net_connections("inet")
    return [socket.laddr for socket in sockets if socket.status == psutil.CONN_LISTEN]


def workers_of(address):
    """The processes of the jobs that were told to connect to a scheduler."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if address in (process.info["cmdline"] or ())
        and "distributed.cli.dask_worker" in process.info["cmdline"]
    ]


def speaks_http(address):
    """Whether anybody may ask there without encryption."""
    host = "127.0.0.1" if address.ip in ("0.0.0.0", "::") else address.ip
    with socket.create_connection((host, address.port), timeout=5) as connection:
        connection.sendall(b"GET /info/main/workers.html HTTP/1.0\r\n\r\n")
        try:
            return connection.recv(5) == b"HTTP/"
        except OSError:
            return False


@pytest.mark.slow
def test_machine_fills_its_jobs_and_nobody_else_can_connect(study_folder):
    slurm_lab.write_machine(study_folder, **slurm_lab.TWO_BY_TWO)
    body = """
    from distributed import get_worker
    wait_for("go" if seq in (0, 39) else "/")
    time.sleep(0.05)
    worker = get_worker()
    return {
        "node": os.environ["SLURMD_NODENAME"],
        "job": os.environ["SLURM_JOB_ID"],
        "mem": int(os.environ["SLURM_MEM_PER_NODE"]) * 2**20,
        "limit": worker.memory_manager.memory_limit,
        "threads": worker.state.nthreads,
        "worker": worker.address,
    }
"""
    with slurm_lab.driving(study_folder, body=body, count=40) as driver:
        slurm_lab.wait_with(driver, lambda: len(slurm_lab.begun(study_folder)) > 20)
        address, link = re.search(
            r"scheduler: (\S+), dashboard: (\S+)", slurm_lab.said(study_folder)
        ).groups()
        (credentials,) = study_folder.glob("calc/runs/*/.psweep_dask-*")
        assert credentials.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in credentials.iterdir()} == {0o600}
        assert_only_tls(psutil.Process(driver.pid), address, link)
        with urlopen(f"{link}/status.json", timeout=10) as answer:
            cluster = json.load(answer)["cluster"]
        assert (cluster["jobs"], cluster["workers"], cluster["threads"]) == (2, 4, 4)
        (study_folder / "go").touch()
        assert driver.wait(30) == 0
    assert not credentials.exists()
    df = slurm_lab.assert_all_ok(study_folder, 40)
    assert sorted(slurm_lab.begun(study_folder)) == list(range(40))
    assert set(df.node) == {"n1", "n2"}
    assert df.groupby("job").worker.nunique().tolist() == [2, 2]
    assert set(df.threads) == {1}
    assert set(df.mem) == {2 * 2**30}
    assert 2**29 < df.limit.min() == df.limit.max() < 2**30 - 100 * 2**20
    info = json.loads(next(study_folder.glob("calc/runs/*/run.json")).read_text())
    assert info["cluster"] == {"kind": "slurm", "machine": "lab", "slots": 4}
    assert info["ended"] == "done"
    lines = slurm_lab.said(study_folder).splitlines()  # where, what for, how it went
    assert 3 <= len(lines) <= 4
    assert all(line.startswith("psweep_dask: ") for line in lines)


def assert_only_tls(driver, address, link):
    """Whatever listens beyond this machine wants to see a certificate of this very run."""
    scheduler = urlsplit(address)
    dashboard = urlsplit(link)
    assert dashboard.hostname == "127.0.0.1"
    of_driver = [socket for socket in listening(driver) if socket.ip != "127.0.0.1"]
    assert {socket.port for socket in of_driver} == {scheduler.port}
    with socket.create_connection(("127.0.0.1", dashboard.port), timeout=5):
        pass
    workers = workers_of(address)
    assert len(workers) == 2
    sockets = chain.from_iterable(map(listening, workers))
    of_workers = [socket for socket in sockets if socket.ip != "127.0.0.1"]
    assert len({socket.port for socket in of_workers}) == 8  # of four workers and their nannies
    assert not any(map(speaks_http, of_driver + of_workers))
    for url, security in [(f"tcp://{scheduler.netloc}", None), (address, Security.temporary())]:
        with pytest.raises(OSError, match=f"{scheduler.port}|TLS"):
            Client(url, security=security, timeout="2s", set_as_default=False)


@pytest.mark.slow
def test_memory_limit_of_jobs_ends_only_the_pset_that_needs_more(study_folder):
    slurm_lab.write_machine(study_folder, jobs=1)
    body = """
    held = []
    while seq == 2:
        held.append(b"x" * (8 * 2**20) if len(held) < 100 else b"")
        time.sleep(0.005)
    return {"job": os.environ["SLURM_JOB_ID"]}
"""
    with slurm_lab.driving(study_folder, body=body, count=6) as driver:
        assert driver.wait(60) == 0
    df = slurm_lab.rows(study_folder)
    assert df._status.tolist() == ["ok", "ok", "killed", "ok", "ok", "ok"]
    assert re.search(r"it held 0.\d\d GiB of memory and its limit is 0.75 GiB", df._exc_txt.iloc[2])
    assert df.job.nunique() == 1  # it has survived that
    assert slurm_lab.begun(study_folder).count(2) == 1
    assert set(slurm_lab.begun(study_folder)) == set(range(6))


@pytest.mark.slow
def test_machine_has_no_more_jobs_than_psets_fill(study_folder):
    """One has two psets for jobs of two; the other's last psets leave jobs without any."""
    small = slurm_lab.folder_for(study_folder, "small", slurm_lab.TWO_BY_TWO)
    large = slurm_lab.folder_for(study_folder, "large", {"jobs": 3})
    with ExitStack() as stack:
        driver = stack.enter_context(slurm_lab.driving(small, body="    wait_for('go')", count=2))
        slurm_lab.wait_with(driver, lambda: len(slurm_lab.begun(small)) == 2)
        assert len(slurm_lab.jobs(slurm_lab.jobs_of(small), "all")) == 1
        driver_of_large = stack.enter_context(
            slurm_lab.driving(large, body="    wait_for('go' if seq == 11 else 'start')", count=12)
        )
        of_large = slurm_lab.jobs_of(large)
        slurm_lab.wait_with(
            driver_of_large,
            lambda: slurm_lab.states(of_large) == ["PENDING", "RUNNING", "RUNNING"],
        )
        (large / "start").touch()
        slurm_lab.wait_with(
            driver_of_large,
            lambda: len(slurm_lab.begun(large)) == 12 and slurm_lab.states(of_large) == ["RUNNING"],
        )
        assert len(slurm_lab.jobs(slurm_lab.jobs_of(small), "all")) == 1
        (large / "go").touch()
        (small / "go").touch()
        assert driver.wait(30) == driver_of_large.wait(30) == 0
    slurm_lab.assert_all_ok(small, 2)
    slurm_lab.assert_all_ok(large, 12)
    assert sorted(slurm_lab.begun(large)) == list(range(12))
    assert len(slurm_lab.jobs(of_large, "all")) == 3


@pytest.mark.slow
def test_machine_inside_an_allocation_and_workers_with_resources(study_folder):
    """Jobs know nothing of an allocation around their driver; resources keep psets apart."""
    inner = slurm_lab.folder_for(study_folder, "inner", {"jobs": 1})
    outer = slurm_lab.folder_for(study_folder, "outer", {"jobs": 1})
    gpu = {"jobs": 1, "cores": 2, "processes": 1}
    args = {"worker_extra_args": ["--resources", "GPU=1"]}
    with_gpu = slurm_lab.folder_for(study_folder, "with_gpu", {**gpu, **args})
    without = slurm_lab.folder_for(study_folder, "without", gpu)
    variables = (
        "    return {name: os.environ[name] for name in os.environ if name.startswith('SLURM')}"
    )
    spans = """
    began = time.monotonic()
    time.sleep(0.1)
    return {"began": began, "ended": time.monotonic()}
"""
    on_gpu = "cluster='lab', resources={'GPU': 1}"
    salloc = ["salloc", "--job-name=around", "-n1", "--mem-per-cpu=300", "--time=3"]
    with ExitStack() as stack:
        drivers = [
            stack.enter_context(driver)
            for driver in (
                slurm_lab.driving(inner, *salloc, body=variables, count=1),
                slurm_lab.driving(outer, body=variables, count=1),
                slurm_lab.driving(with_gpu, body=spans, count=8, options=on_gpu),
                slurm_lab.driving(without, options=on_gpu),
            )
        ]
        assert [driver.wait(90) for driver in drivers] == [0, 0, 0, 1]
    assert_nothing_leaked(slurm_lab.assert_all_ok(inner, 1), slurm_lab.assert_all_ok(outer, 1))
    df = slurm_lab.assert_all_ok(with_gpu, 8).sort_values("began")
    assert (df.began.iloc[1:].to_numpy() >= df.ended.iloc[:-1].to_numpy()).all()
    assert "its workers do not have the resources {'GPU': 1}" in slurm_lab.said(without)
    assert slurm_lab.begun(without) == []


def assert_nothing_leaked(inside, outside):
    assert set(inside) == set(outside)
    inside, outside = inside.iloc[0], outside.iloc[0]
    assert inside.SLURM_JOB_NAME.startswith("psweep-")
    for name in inside.index:
        if name.startswith("SLURM") and inside[name] != outside[name]:
            assert re.search("ID$|NAME|NODE|ADDR|DIR|TASK_PID|STAMP|TIME", name), name
