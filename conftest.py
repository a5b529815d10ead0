"""Fixtures of all tests. At the top level, since the doctests of the package need them too."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from psweep_dask.clusters.local import close_local

# No deadline: the machines that run this are busy at times. The same examples each time, so that
# a change is judged by what it changed; pytest --hypothesis-profile=explore looks for new ones.
hypothesis.settings.register_profile("default", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("default")

pytest_plugins = ["helpers.fake_commands"]

ON_THE_SECOND = ("/test_allocations.py", "/test_faults.py")
"""Where there are two SLURMs, these tests have one for themselves."""

# A shell starts what goes on in the background deaf to Ctrl-C, which tests send to what they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes the longest, most of it waiting."""
    longest_first = ("integration", "chaos")
    items.sort(key=lambda item: [name not in item.path.parts for name in longest_first])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where tests are spread over processes, keep those of a file together, for their fixtures.

    All that needs one SLURM goes to one process: these tests look at its whole queue.
    """
    from xdist.scheduler import LoadFileScheduling

    class OneForSlurm(LoadFileScheduling):  # type: ignore[misc]  # (pytest-xdist is optional here)
        def _split_scope(self, nodeid: str) -> str:
            scope = str(super()._split_scope(nodeid))
            if "/integration/" not in nodeid:
                return scope
            second = "SLURM_CONF_2" in os.environ and scope.endswith(ON_THE_SECOND)
            return "second slurm" if second else "slurm"

    config.option.loadscopereorder = False  # it would put files with many tests first
    return OneForSlurm(config, log)


@pytest.fixture(autouse=True)
def study_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, a new one for each test: studies land there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session", autouse=True)
def _no_cluster_left() -> Iterator[None]:
    """Let the LocalCluster that runs keep for one another serve the whole session."""
    yield
    close_local()
