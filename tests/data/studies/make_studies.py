"""Makes the studies in ``0.1.0.dev0``: files as the first version of the package wrote them.

It was run once, with version 0.1.0.dev0 of 2026-11, before the modules moved into folders. It is
kept to show where the data come from: newer versions would write something else. Python was 3.11,
NumPy 2, and pandas 2.2, whose files pandas 3 reads, too; ``done_pandas3`` is of pandas 3. A study
is made in a folder of its name in the working directory, by a process of its own:

    python make_studies.py done dead tmpsave prepared array stopped retry
    python make_studies.py done_pandas3

In PATH, ``python`` must be the same Python. In what is left, func returns at once.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil

import psweep_dask as ps
from psweep_dask import PsweepError, rng

FACTOR = 3
HELD_UP = (16, 27)
SLOW = "MAKE_STUDIES_SLOW"
"""The psets above take long where the environment has this variable."""


class Mode(enum.Enum):
    PLAIN = "plain"
    SQUARED = "squared"


@dataclasses.dataclass
class Point:
    x: float
    y: float


def scaled(a):
    return FACTOR * a


# -- what is run -------------------------------------------------------------------------------


def various(pset):
    """Give a value of each kind."""
    print(f"this is {pset['name']}")
    if pset["a"] == 2:
        raise ValueError("two is one too many")
    return {
        "y": scaled(pset["a"]),
        "mean": pset["weights"].mean() / 3,
        "label": f"{pset['name']}: {pset['mode'].value}",
        "trace": pset["weights"] * pset["a"],
        "nothing": None,
        "later": pset["when"] + dt.timedelta(days=pset["a"]),
        "table": {"a": pset["a"], "all": [1, (2, 3), {"four"}]},
        "result_mode": Mode.SQUARED,
        "moved": Point(pset["at"].x + 1, pset["at"].y),
        "x": rng(pset).random(),
    }


def held_up(pset):
    if SLOW in os.environ:
        if pset["a"] in HELD_UP:
            Path(f"held_up_{pset['a']}").touch()
            time.sleep(600)
        time.sleep(0.01)
    if pset["a"] % 3 == 2:
        raise PsweepError(f"{pset['a']} does not go")
    y = scaled(pset["a"])
    y = y**2 if pset["mode"].name == "SQUARED" else y
    return {"y": y, "x": rng(pset).random(), "parts": [pset["a"], y], "was": pset["mode"]}


def as_job(pset):
    if pset["a"] == 2:
        raise ValueError("two is one too many")
    if pset["a"] == 3:
        os._exit(7)
    own = Path(pset["_calc_dir"], pset["_pset_id"])
    return {"y": scaled(pset["a"]), "x": rng(pset).random(), "own": own.is_dir(), "l": [pset["a"]]}


def steady(pset):
    if SLOW in os.environ:
        time.sleep(0.3)
    return {"y": scaled(pset["a"]), "x": ps.rng(pset).random()}


def failing(pset):
    """Fail, but for the psets that were mended."""
    if pset["a"] % 2 and not Path(f"mended_{pset['a']}").exists():
        raise KeyError(pset["a"])
    return {"y": scaled(pset["a"]), "x": ps.rng(pset).random()}


# -- the studies -------------------------------------------------------------------------------


def done():
    params = [
        {
            "a": a,
            "name": f"number {a}",
            "weights": np.linspace(0, 1, a + 2),
            "mode": list(Mode)[a % 2],
            "at": Point(a, 0.5),
            "when": dt.datetime(2026, 11, 1, 12),
            "options": {"deep": [a, None]},
            "nothing_yet": None,
        }
        for a in range(4)
    ]
    ps.run(various, params, cluster="sync", capture_logs="db+file")


def dead():
    """Leave a run whose workers were busy with long psets when its driver was killed."""
    ps.run(held_up, with_modes(range(100, 103)), cluster="sync")
    with started("dead", "driver") as driver:
        wait_until(lambda: len(list(Path().glob("held_up_*"))) == len(HELD_UP))
        time.sleep(3)  # longer than slices may take before what they have is kept
        workers = psutil.Process(driver.pid).children(recursive=True)
        driver.kill()
        psutil.wait_procs(workers, timeout=60)
    (journal,) = Path("calc/runs").glob("*/journal")
    early = list(journal.parent.glob("early/*.slice"))
    assert journal.read_bytes().count(b"PSW1") >= 3, "a few frames"
    assert early
    assert any(b"Failure" in path.read_bytes() for path in early), "somewhere a pset has failed"
    forget_marks()


def dead_driver():
    ps.run_local(held_up, with_modes(range(30)), poolsize=2)


def tmpsave():
    """Leave a run that was killed with its workers, before they could keep what they had."""
    with started("tmpsave", "driver") as driver:
        wait_until(lambda: list(Path().glob("held_up_*")))
        os.killpg(driver.pid, signal.SIGKILL)
    assert len(list(Path().glob("calc/tmpsave/*/*.pk"))) > len(with_journal_only())
    forget_marks()


def tmpsave_driver():
    ps.run_local(held_up, with_modes(range(30)), poolsize=2, tmpsave=True)


def prepared():
    """Leave jobs with func and jobs of templates, of which some have run. None is collected."""
    write("templates/with_func/local/info.yaml", "subcmd: sh\n")
    write("templates/with_func/local/jobscript", "#!/bin/sh\npython -m psweep_dask.task\n")
    with_func = {"func": as_job, "machine_templ_dir": "templates/with_func"}
    ps.prep_batch(ps.plist("a", [1, 2, 3]), **with_func)
    subprocess.run(["sh", "calc/run_local.sh"], check=True)
    ps.prep_batch(ps.plist("a", [4]), **with_func)
    write("templates/calc/run.sh", '#!/bin/sh\necho \'{"c": [$b, "$b"]}\' >result.json\n')
    Path("templates/calc/run.sh").chmod(0o755)
    write("templates/machines/shell/info.yaml", "subcmd: sh\n")
    write("templates/machines/shell/jobscript", "#!/bin/sh\n./run.sh\n")
    df = ps.prep_batch(ps.plist("b", [10, 20]))
    pset_id = df._pset_id[df.b == 10].iloc[0]
    subprocess.run(["sh", "jobscript_shell"], cwd=f"calc/{pset_id}", check=True)


def array():
    """Leave a job array that was submitted, of which the first element has run."""
    write("templates/calc/run.sh", "echo '{\"c\": $b}' >result.json\n")
    write("templates/machines/cluster/info.yaml", "subcmd: sbatch\n")
    script = "#!/bin/sh\n#SBATCH --time=10\n#SBATCH --output=out.txt\nsh run.sh\n"
    write("templates/machines/cluster/jobscript", script)
    ps.prep_batch(ps.plist("b", [10, 20]), array=True)
    slurm = {
        "scontrol": "echo 'ClusterName = old'",
        "sbatch": 'shift; export SLURM_JOB_ID=7 SLURM_ARRAY_TASK_ID=0; sh ./"$@"; '
        "echo 'Submitted batch job 7'",
    }
    for name, text in slurm.items():
        write(f"bin/{name}", f"#!/bin/sh\n{text}\n")
        Path("bin", name).chmod(0o755)
    path = f"{Path('bin').absolute()}:{os.environ['PATH']}"
    subprocess.run(["sh", "calc/run_cluster.sh"], env={**os.environ, "PATH": path}, check=True)
    for path in Path("bin").iterdir():
        path.unlink()
    Path("bin").rmdir()


def stopped():
    """Leave a run that its own process has stopped, and one that another process has stopped."""
    os.environ[SLOW] = "1"
    sweep = ps.submit(steady, ps.plist("a", range(8)), cluster="sync")
    wait_until(lambda: sweep.progress["ok"] >= 3)
    sweep.stop()
    sweep.result()
    with started("stopped", "driver") as driver:
        wait_until(lambda: len(ps.load("calc")) >= 6)
        psweep_dask = Path(sys.executable).with_name("psweep-dask")
        subprocess.run([psweep_dask, "stop", "calc"], check=True)
        driver.wait()


def stopped_driver():
    ps.run(steady, ps.plist("a", range(8, 16)), cluster="sync")


def retry():
    """Leave two failed psets: retried once, when a third one was mended."""
    ps.run(failing, ps.plist("a", range(6)), cluster="sync")
    Path("mended_1").touch()
    ps.retry("calc", cluster="sync")
    Path("mended_1").unlink()


# -- and how -----------------------------------------------------------------------------------


def with_modes(numbers):
    return [{"a": a, "mode": list(Mode)[a % 2]} for a in numbers]


def with_journal_only():
    """Return the rows of a journal, without those in the folder beside it."""
    folder = Path("calc/tmpsave").rename("aside")
    df = ps.load("calc")
    folder.rename("calc/tmpsave")
    return df


def started(*part):
    command = [sys.executable, __file__, *part]
    return subprocess.Popen(command, env={**os.environ, SLOW: "1"}, start_new_session=True)


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.02)


def forget_marks():
    for path in Path().glob("held_up_*"):
        path.unlink()


def write(name, text):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)


STUDIES = {
    "done": done,
    "done_pandas3": done,
    "dead": dead,
    "tmpsave": tmpsave,
    "prepared": prepared,
    "array": array,
    "stopped": stopped,
    "retry": retry,
}
DRIVERS = {"dead": dead_driver, "tmpsave": tmpsave_driver, "stopped": stopped_driver}


def main(names):
    if names[1:] == ["driver"]:
        DRIVERS[names[0]]()
    elif names[1:] == ["study"]:
        STUDIES[names[0]]()
    else:
        for name in names:
            Path(name).mkdir()
            command = [sys.executable, Path(__file__).absolute(), name, "study"]
            subprocess.run(command, cwd=name, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
