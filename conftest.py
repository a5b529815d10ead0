"""Fixtures of all tests. At the top level, since the doctests of the package need them too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from psweep_dask.local_cluster import close_local

# No deadline: the machines that run this are busy at times. The same examples each time, so that
# a change is judged by what it changed; pytest --hypothesis-profile=explore looks for new ones.
hypothesis.settings.register_profile("default", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("default")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where pytest-xdist spreads tests over processes, keep the tests of a file together.

    All that needs SLURM is one group: there is one SLURM, and the tests look at its whole queue.
    It begins first, since it takes the longest, waiting most of the time.
    """
    for item in items:
        slurm = "integration" in item.path.parts
        item.add_marker(pytest.mark.xdist_group("slurm" if slurm else str(item.path)))
    longest_first = ("integration", "chaos")
    items.sort(key=lambda item: [name not in item.path.parts for name in longest_first])


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
