"""The runs of a study as they are on disk: their stories, and whether their drivers live."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, Timeout

from psweep_dask.errors import PsweepError
from psweep_dask.storage import plan
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.layout import Layout

log = logging.getLogger("psweep_dask")

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LOOKS = 10
"""So often a lock is tried again that somebody who only looks at it may hold for an instant."""


class NoStudyError(PsweepError):
    """There is no study where one was looked for."""


@dataclass(frozen=True)
class StoredRun:
    """A run as it is on disk: of this process, of another one, or of one that is dead.

    Parameters
    ----------
    layout : Layout
    info : dict
        What its ``run.json`` holds.
    """

    layout: Layout
    info: dict[str, Any]

    @property
    def run_id(self) -> str:
        """The UUID of the run."""
        return str(self.info["run_id"])

    @property
    def journal_path(self) -> Path:
        """Its journal; there is none once its rows are in the database."""
        return self.layout.journal_path(self.run_id)

    @property
    def jobs_path(self) -> Path:
        """Names its batch jobs; there is none once these are cancelled."""
        return self.layout.jobs_path(self.run_id)

    @property
    def last_seqs(self) -> tuple[int, int]:
        """The highest ``_run_seq`` and ``_pset_seq`` that it has reserved."""
        return self.info["run_seq"], self.info["first_pset_seq"] + self.info["psets"] - 1

    @property
    def ended_early(self) -> bool:
        """Whether its driver has not run all of its psets, or still is at it."""
        return bool(self.info["ended"] != "done")

    @property
    def ending(self) -> str:
        """How it has ended; "dead" if its driver could not say."""
        ended = self.info["ended"]
        return "dead" if ended in (None, "died") else str(ended)

    @contextmanager
    def taken(self) -> Iterator[BaseFileLock | None]:
        """Hold the lock of its driver; give None if a driver that lives holds it."""
        lock = self.layout.driver_lock(self.run_id)
        for _ in range(_LOOKS):
            try:
                lock.acquire(timeout=0)
            except FileNotFoundError:  # discarded by its driver just now
                break
            except Timeout:
                if self.is_alive():
                    break
                time.sleep(0.01)  # somebody was only looking
            else:
                try:
                    yield lock
                finally:
                    lock.release()
                return
        yield None

    def is_alive(self) -> bool:
        """Tell whether its driver lives: it holds a lock that its death would free.

        Whoever looks shares the lock, and so disturbs nobody else who looks, and needs no
        permission to write.
        """
        path = Path(self.layout.driver_lock(self.run_id).lock_file)
        try:
            lock = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return not path.parent.exists()  # discarded by its driver just now
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False


def with_info(before: StoredRun, changes: Mapping[str, Any]) -> StoredRun:
    """Read the story of a run again, which may have been written meanwhile, and change it."""
    return StoredRun(before.layout, read_info(before.layout, before.run_id) | dict(changes))


def resume_call(layout: Layout, info: Mapping[str, Any]) -> str:
    """Write the call that finishes a run, where it began.

    Examples
    --------
    >>> resume_call(Layout("calc"), {"cluster": {"machine": "big"}})
    "ps.resume('calc', cluster='big')"
    """
    if "offline" in info:
        return f"ps.prep_rest({layout.calc_dir!r})"
    machine = (info.get("cluster") or {}).get("machine")
    where = f", cluster={machine!r}" if machine else ""
    return f"ps.resume({layout.calc_dir!r}{where})"


def check_study(layout: Layout) -> None:
    """Make sure that there is a study.

    Raises
    ------
    NoStudyError
        If there is none.
    """
    if layout.database_path.exists():
        return
    if not layout.runs_dir.exists():
        raise NoStudyError(
            f"there is no study in {layout.calc_dir!r}, seen from {str(Path.cwd())!r}: "
            f"neither {layout.relative_database()} nor runs/"
        )
    others = other_databases(layout)
    if others and not stored_runs(layout):
        raise NoStudyError(
            f"no run in {layout.calc_dir!r} writes to {layout.relative_database()!r}, but to "
            f"{', '.join(map(repr, others))}: say so by database_dir= and database_basename="
        )


def study_in(
    calc_dir: str | os.PathLike[str],
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
) -> Layout:
    """Find a study: with the database that its runs write to, if that is not the one asked for.

    Raises
    ------
    NoStudyError
        If there is none, or it has several other databases.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> _ = ps.run(lambda pset: {}, [{}], cluster="sync", database_basename="other.pk")
    >>> study_in("calc").database_basename
    'other.pk'
    """
    layout = Layout(calc_dir, database_dir, database_basename)
    if layout.runs_dir.exists() and not layout.database_path.exists() and not stored_runs(layout):
        others = other_databases(layout)
        if len(others) == 1:
            path = layout.root / others[0]
            return Layout(calc_dir, path.parent, path.name)
    check_study(layout)
    return layout


def stored_runs(layout: Layout) -> list[StoredRun]:
    """Find the runs of a study that write to its database, the oldest first."""
    database = layout.relative_database()
    return [past for past in all_runs(layout) if past.info["database"] == database]


def other_databases(layout: Layout) -> list[str]:
    """Tell to which other databases runs of a study write, as seen from it."""
    found = {str(one.info["database"]) for one in all_runs(layout)}
    return sorted(found - {layout.relative_database()})


def all_runs(layout: Layout) -> list[StoredRun]:
    """Find all runs of a study, the oldest first."""
    found = []
    for folder in layout.runs_dir.glob("*"):
        if not UUID.fullmatch(folder.name) or not folder.is_dir():
            continue  # of somebody else, such as a file manager
        try:
            found.append(StoredRun(layout, read_info(layout, folder.name)))
        except (OSError, ValueError, TypeError, KeyError) as err:
            info = info_from_plan(layout, folder.name)
            if info is not None:
                log.warning("run.json in %s is damaged (%r), its plan is read instead", folder, err)
                found.append(StoredRun(layout, info))
            elif (folder / layout.journal_path("").name).exists():
                log.warning("run.json and plan.pk in %s cannot be read, its journal waits", folder)
    return sorted(found, key=lambda past: int(past.info["run_seq"]))


def forget(layout: Layout, run_id: str) -> None:
    """Remove the folder of a run in which nothing has run."""
    shutil.rmtree(layout.run_dir(run_id))
    with suppress(OSError):  # other runs have theirs in there
        layout.runs_dir.rmdir()


_NEEDED = {"run_id", "run_seq", "first_pset_seq", "psets", "database", "ended"}


def read_info(layout: Layout, run_id: str) -> dict[str, Any]:
    """Read ``run.json``.

    Raises
    ------
    KeyError, ValueError
        If something in it is missing, or is not what was written.
    """
    info: dict[str, Any] = json.loads(layout.run_info_path(run_id).read_bytes())
    if missing := _NEEDED - set(info):
        raise KeyError(f"run.json lacks {missing}")
    if info.pop("check", None) not in (None, _check_value(info)) or info["run_id"] != run_id:
        raise ValueError("run.json is not as it was written; after edits by hand, remove its check")
    return info


def info_from_plan(layout: Layout, run_id: str) -> dict[str, Any] | None:
    """Tell what is needed of a run whose ``run.json`` cannot be read; None if it has no plan."""
    try:
        with layout.plan_path(run_id).open("rb") as stream:
            planned, _ = plan.load(stream)
    except (OSError, plan.PlanError):
        return None
    return {
        "run_id": run_id,
        "run_seq": planned.run_seq,
        "first_pset_seq": planned.seqs[0],
        "psets": len(planned),
        "database": layout.relative_database(),
        "ended": None,
    }


def source_of(layout: Layout, run_id: str) -> str | None:
    """Tell the source that func had in a run; None if that is not known."""
    with suppress(OSError, ValueError, KeyError):
        return read_info(layout, run_id).get("source")
    return None


def write_info(layout: Layout, info: dict[str, Any]) -> None:
    """Write ``run.json``."""
    text = json.dumps(info | {"check": _check_value(info)}, indent=2)
    path = layout.run_info_path(info["run_id"])
    replace_file(path, lambda stream: stream.write(text.encode()), last=False)


def _check_value(info: Mapping[str, Any]) -> str:
    """Give what tells that no character of a story has changed."""
    return f"{zlib.crc32(json.dumps(info, sort_keys=True).encode()):08x}"
