"""Environment and root logger of the script hold for func on workers."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

import psweep_dask as ps
from psweep_dask.worker import process_settings


def test_environment_of_the_script_reaches_the_next_run_and_func_leaves_nothing_in_it(
    study_folder, monkeypatch
):
    def func(pset):
        seen = {name: os.environ.get(name, "-") for name in ("LAB_A", "LAB_B", "LAB_OF_FUNC")}
        if pset["set"]:
            os.environ.update(LAB_A="func", LAB_OF_FUNC="func")
        return seen

    def seen(**psets):
        df = ps.run_local(func, ps.plist("set", [False]), poolsize=1, save=False)
        return tuple(df[["LAB_A", "LAB_B", "LAB_OF_FUNC"]].iloc[0])

    monkeypatch.delenv("LAB_A", raising=False)
    monkeypatch.setenv("LAB_B", "at start")
    assert seen() == ("-", "at start", "-")
    monkeypatch.setenv("LAB_A", "script")
    assert seen() == ("script", "at start", "-")
    ps.run_local(func, ps.plist("set", [True]), poolsize=1, save=False)
    monkeypatch.delenv("LAB_B")
    assert seen() == ("script", "-", "-")


def test_root_logger_of_the_script_holds_on_workers_and_dask_stays_quiet(study_folder):
    (study_folder / "script.py").write_text("""
import logging
import psweep_dask as ps
logging.basicConfig(level=logging.DEBUG, format="{levelname}|{name}|{message}", style="{")
def func(pset):
    logging.getLogger("sim").info("step %d", pset["a"])
    logging.debug("detail")
    logging.getLogger("distributed.worker").info("dask's own")
    logging.getLogger("distributed.worker").warning("dask warns")
    return {}
for kwargs in ({"poolsize": 1}, {"cluster": "sync"}):
    run = ps.run if "cluster" in kwargs else ps.run_local
    df = run(func, [{"a": 7}], save=False, capture_logs="db", **kwargs)
    print([line for line in df._logs.iloc[0].splitlines() if "|" in line and "|dist" not in line])
    print("dask's own" in df._logs.iloc[0], "dask warns" in df._logs.iloc[0])
logging.getLogger().setLevel(logging.WARNING)
df = ps.run_local(func, [{"a": 7}], save=False, capture_logs="db")
print(df._logs.iloc[0].count("step"))
""")
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, check=True, timeout=300
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "['INFO|sim|step 7', 'DEBUG|root|detail']"
    assert lines[1] == "False True"
    assert lines[-1] == "0"
    assert "INFO|distributed" not in done.stderr
    assert "INFO|psweep_dask|1 of 1 psets" in done.stderr


@pytest.fixture
def root_logger():
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    yield root
    root.setLevel(before[0])
    root.handlers[:] = before[1]


@pytest.mark.parametrize(
    ("formatter", "expected"),
    [
        (None, "%(message)s"),
        (logging.Formatter("%(name)s %(message)s", "%H"), "%(name)s %(message)s"),
        (logging.Formatter("$message", style="$"), "$message"),
    ],
)
def test_log_settings_are_those_of_the_root_logger(root_logger, formatter, expected):
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root_logger.handlers[:] = [handler]
    root_logger.setLevel(17)
    level, form, dates, style = process_settings.log_settings()
    assert (level, form) == (17, expected)
    assert logging.Formatter(form, dates, style).datefmt == (formatter and formatter.datefmt)


def test_root_logger_without_handlers_is_left_to_python(root_logger):
    root_logger.handlers[:] = []
    assert process_settings.log_settings() == (root_logger.level, None, None, "%")
