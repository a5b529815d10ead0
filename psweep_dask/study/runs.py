"""The runs of a study as they are on disk: what ``run.json`` says, and which drivers live."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, Timeout

from psweep_dask.errors import PsweepError
from psweep_dask.storage import journal, plan
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.layout import Layout, RunFolder
from psweep_dask.storage.plan import Plan
from psweep_dask.storage.record import RecordError

log = logging.getLogger("psweep_dask")

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_REQUIRED = {"run_id", "run_seq", "first_pset_seq", "psets", "database", "ended"}


class NoStudyError(PsweepError):
    """There is no study in a folder, or several databases to choose from."""


class RunNotFoundError(PsweepError):
    """No run of a study has the name that was given, or more than one has it."""


@dataclass(frozen=True)
class StoredRun:
    """A run as it is on disk, with what its ``run.json`` says. Its driver may live or be dead."""

    layout: Layout
    info: dict[str, Any]

    @property
    def run_id(self) -> str:
        """The UUID of the run."""
        return str(self.info["run_id"])

    @property
    def folder(self) -> RunFolder:
        """The folder of the run."""
        return self.layout.run_folder(self.run_id)

    @property
    def last_seqs(self) -> tuple[int, int]:
        """The highest ``_run_seq`` and ``_pset_seq`` that the run has reserved."""
        return self.info["run_seq"], self.info["first_pset_seq"] + self.info["psets"] - 1

    @property
    def ended_early(self) -> bool:
        """Whether psets are left: the driver died, was stopped, or is still at work."""
        return bool(self.info["ended"] != "done")

    @property
    def ending(self) -> str:
        """How the run ended, such as "done"; "dead" if its driver could not say."""
        ended = self.info["ended"]
        return "dead" if ended in (None, "died") else str(ended)

    @contextmanager
    def try_lock(self) -> Iterator[BaseFileLock | None]:
        """Hold the lock of the driver; yield None if a living driver holds it."""
        lock = self.folder.driver_lock()
        with suppress(FileNotFoundError, Timeout):  # FileNotFoundError: the run was discarded
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if not self.is_alive():  # it was another process in is_alive()
                    lock.acquire(timeout=0.1, poll_interval=0.01)
        try:
            yield lock if lock.is_locked else None
        finally:
            lock.release()

    def is_alive(self) -> bool:
        """Return whether the driver lives: it holds a lock that the system frees when it dies."""
        path = Path(self.folder.driver_lock().lock_file)
        try:
            lock = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return not path.parent.exists()  # its driver has just discarded the run
        try:
            # Shared: several processes can ask at once, and none needs permission to write.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False


def with_info(run: StoredRun, changes: Mapping[str, Any]) -> StoredRun:
    """Return a run with changes to what its ``run.json`` says now; nothing is written."""
    return StoredRun(run.layout, read_info(run.layout, run.run_id) | dict(changes))


def resume_call(layout: Layout, info: Mapping[str, Any]) -> str:
    """Return the call that finishes a run, on the cluster where it began."""
    if "offline" in info:
        return f"ps.prep_rest({layout.calc_dir!r})"
    machine = (info.get("cluster") or {}).get("machine")
    where = f", cluster={machine!r}" if machine else ""
    return f"ps.resume({layout.calc_dir!r}{where})"


def open_study(
    calc_dir: str | os.PathLike[str],
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
) -> Layout:
    """Return the handle of an existing study, for functions that change it.

    A `NoStudyError` says that there is no study, or that its runs write to other databases only.
    """
    layout = Layout(calc_dir, database_dir, database_basename)
    if layout.database_path.exists():
        return layout
    if not layout.runs_dir.exists():
        raise NoStudyError(
            f"there is no study in {layout.calc_dir!r}, seen from {str(Path.cwd())!r}: "
            f"neither {layout.relative_database()} nor runs/"
        )
    others = _other_databases(layout)
    if others and not stored_runs(layout):
        raise NoStudyError(
            f"no run in {layout.calc_dir!r} writes to {layout.relative_database()!r}, but to "
            f"{', '.join(map(repr, others))}: say so by database_dir= and database_basename="
        )
    return layout


def find_study(
    calc_dir: str | os.PathLike[str],
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
) -> Layout:
    """Return the handle of an existing study, for functions that only read it.

    This is `open_study`, but if the database does not exist and all runs write to one other
    database, that one is taken.
    """
    layout = Layout(calc_dir, database_dir, database_basename)
    if not layout.database_path.exists() and not stored_runs(layout):
        others = _other_databases(layout)
        if len(others) == 1:
            path = layout.root / others[0]
            return Layout(calc_dir, path.parent, path.name)
    return open_study(calc_dir, database_dir, database_basename)


def stored_runs(layout: Layout) -> list[StoredRun]:
    """Return the runs of a study that write to this database, the oldest first."""
    return runs_of_database(layout, all_runs(layout))


def runs_of_database(layout: Layout, runs: Iterable[StoredRun]) -> list[StoredRun]:
    """Return those of the runs of a study that write to this database."""
    database = layout.relative_database()
    return [run for run in runs if run.info["database"] == database]


def _other_databases(layout: Layout) -> list[str]:
    databases = {str(run.info["database"]) for run in all_runs(layout)}
    return sorted(databases - {layout.relative_database()})


def all_runs(layout: Layout) -> list[StoredRun]:
    """Return all runs of a study, the oldest first, whichever database they write to.

    No code of the user is run, whatever is in the files.
    """
    runs = []
    for path in layout.runs_dir.glob("*"):
        if not UUID.fullmatch(path.name) or not path.is_dir():
            continue  # not ours, but of a file manager, for instance
        try:
            info = read_info(layout, path.name)
        except (OSError, ValueError, TypeError, KeyError) as err:
            lost_info = _info_without_run_json(layout, path.name, err)
            if lost_info is None:
                continue
            info = lost_info
        runs.append(StoredRun(layout, info))
    return sorted(runs, key=lambda run: int(run.info["run_seq"]))


def _info_without_run_json(layout: Layout, run_id: str, err: Exception) -> dict[str, Any] | None:
    """Return what the plan says of a run, or else its rows; None if it has neither."""
    folder = layout.run_folder(run_id)
    with suppress(OSError, plan.PlanError):
        with folder.plan_path.open("rb") as stream:
            known = plan.load_numbers(stream)
        log.warning("run.json in %s is damaged (%r), its plan is read instead", folder.path, err)
        return _info(layout, run_id, *known)
    rows = [seqs for path in _files_with_rows(folder) for seqs in _seqs_in(path)]
    if not rows:
        return None
    log.warning(
        "run.json and plan.pk in %s cannot be read: what is known of the run are its rows",
        folder.path,
    )
    run_seqs, pset_seqs = zip(*rows, strict=True)
    first = min(pset_seqs)
    known = (run_seqs[0], first, max(pset_seqs) - first + 1)
    return _info(layout, run_id, *known) | {"lost_records": True}


def _files_with_rows(folder: RunFolder) -> list[Path]:
    return [path for path in (*folder.kept_paths(), folder.journal_path) if path.exists()]


def _seqs_in(path: Path) -> list[tuple[int, int]]:
    """Return the ``_run_seq`` and the ``_pset_seq`` of each row in a journal."""
    found: list[tuple[int, int]] = []
    with suppress(OSError, RecordError):
        for names, columns in journal.replay(path, is_plain=True):
            table = dict(zip(names, columns, strict=True))
            found += zip(table["_run_seq"], table["_pset_seq"], strict=True)
    return found


def find_run(runs: Sequence[StoredRun], name: str) -> StoredRun:
    """Return the run whose ``_run_seq`` is `name`, or else whose ``_run_id`` begins with it.

    A `RunNotFoundError` says that there is no such run, or more than one.
    """
    matches = [run for run in runs if str(run.info["run_seq"]) == name]
    matches = matches or [run for run in runs if run.run_id.startswith(name)]
    if len(matches) != 1:
        known = ", ".join(f"{run.info['run_seq']} ({run.run_id[:8]})" for run in runs) or "no runs"
        verb = "more than one run has" if matches else "no run has"
        raise RunNotFoundError(
            f"{verb} the number {name!r} or an id that begins with it; there are {known}"
        )
    return matches[0]


def remove_run_dir(folder: RunFolder) -> None:
    """Remove the folder of a run in which nothing has run."""
    shutil.rmtree(folder.path)
    with suppress(OSError):  # there are the folders of other runs
        folder.path.parent.rmdir()


def read_info(layout: Layout, run_id: str) -> dict[str, Any]:
    """Return what ``run.json`` says; a ValueError or KeyError means that the file is damaged."""
    info: dict[str, Any] = json.loads(layout.run_folder(run_id).info_path.read_bytes())
    if missing := _REQUIRED - set(info):
        raise KeyError(f"run.json lacks {missing}")
    if info.pop("check", None) not in (None, _checksum(info)) or info["run_id"] != run_id:
        raise ValueError("run.json is not as it was written; after edits by hand, remove its check")
    return info


def info_of_plan(layout: Layout, planned: Plan) -> dict[str, Any]:
    """Return the part of ``run.json`` that is in the plan too, in case the file is damaged."""
    return _info(layout, planned.run_id, planned.run_seq, planned.seqs[0], len(planned))


def _info(
    layout: Layout, run_id: str, run_seq: int, first_pset_seq: int, psets: int
) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "run_seq": run_seq,
        "first_pset_seq": first_pset_seq,
        "psets": psets,
        "database": layout.relative_database(),
        "ended": None,
    }


def source_of(layout: Layout, run_id: str) -> str | None:
    """Return the source code that func had in a run; None if it is not known."""
    with suppress(OSError, ValueError, KeyError):
        return read_info(layout, run_id).get("source")
    return None


def write_info(layout: Layout, info: dict[str, Any]) -> None:
    """Write ``run.json``, with a checksum by which `read_info` sees later changes."""
    text = json.dumps(info | {"check": _checksum(info)}, indent=2)
    path = layout.run_folder(info["run_id"]).info_path
    replace_file(path, lambda stream: stream.write(text.encode()), sync_folder=False)


def _checksum(info: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(info, sort_keys=True).encode()):08x}"
