"""The paths of all files of a study, and the lock of its database."""

from __future__ import annotations

import errno
import itertools
import os
import tempfile
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from filelock import BaseFileLock, FileLock

from psweep_dask.errors import PsweepError

_DATABASE = "database.pk"

PRIVATE_PREFIX = ".psweep_dask-"
"""How the names of folders begin that only their owner can read, and that a run removes."""


class LayoutError(PsweepError):
    """A folder that cannot be the folder of a study or of its database."""


class _Lock(FileLock):
    """A lock whose file may be a folder, or a link to itself: then the error names it."""

    def _acquire(self) -> None:
        try:
            super()._acquire()
        except OSError as err:
            if err.errno not in (errno.ELOOP, errno.EISDIR):
                raise
            raise LayoutError(
                f"{self.lock_file!r} cannot be the file of a lock ({err.strerror}); remove it"
            ) from err


class Layout:
    """Every path of one study.

    The paths are absolute, so that they stay right when the working directory changes. The column
    ``_calc_dir`` has the folder as it was passed.

    Raises
    ------
    LayoutError
        If one of them is no path, or the database has the path of another part of the study.

    Examples
    --------
    >>> layout = Layout("calc")
    >>> layout.database_path.relative_to(Path.cwd()).as_posix()
    'calc/database.pk'
    >>> layout.simulated().calc_dir
    'calc.simulate'
    """

    def __init__(
        self,
        calc_dir: str | os.PathLike[str],
        database_dir: str | os.PathLike[str] | None = None,
        database_basename: str = _DATABASE,
    ) -> None:
        try:
            self.calc_dir = os.fspath(calc_dir)
        except TypeError as err:
            given = type(calc_dir).__name__
            raise LayoutError(f"calc_dir must be a folder such as 'calc', not a {given}") from err
        self.root = Path(calc_dir).absolute()
        self.runs_dir = self.root / "runs"  # one folder for each run
        self.database_dir = self.root if database_dir is None else Path(database_dir).absolute()
        self.database_basename = database_basename
        self.database_path = self.database_dir / database_basename  # a pickled DataFrame
        self._tmpsave_dir = self.root / "tmpsave"  # one folder for each run with tmpsave=True
        if "\0" in f"{self.root}{self.database_path}":
            raise LayoutError(f"no path can have a null byte, as {str(self.database_path)!r} has")
        if self.database_path in (self.runs_dir, self._tmpsave_dir):
            raise LayoutError(
                f"{str(self.database_path)!r} is a folder; give the database another name"
            )

    def run_folder(self, run_id: str) -> RunFolder:
        """Return the folder with everything that belongs to one run."""
        return RunFolder(self.runs_dir / run_id)

    def pset_folder(self, pset_id: str) -> PsetFolder:
        """Return the folder with what func, a template or a batch job writes for one pset."""
        return PsetFolder(self.root / pset_id)

    def tmpsave_path(self, run_id: str, pset_id: str) -> Path:
        """Return the file with the row of one pset, for tmpsave=True."""
        return self._tmpsave_dir / run_id / f"{pset_id}.pk"

    def relative_database(self) -> str:
        """Return the path from `root` to the database, which stays right if both are moved."""
        return os.path.relpath(self.database_path, self.root)

    def run_script_path(self, machine: str) -> Path:
        """Return the shell script that submits the batch jobs of the study to a machine."""
        return self.root / f"run_{machine}.sh"

    def backup_dir(self, stamp: str, run_id: str) -> Path:
        """Return the folder of the copy that backup=True makes: named by the newest row."""
        return self.root.with_name(f"{self.root.name}.bak_{stamp}_run_id_{run_id}")

    def simulated(self) -> Layout:
        """Return the study that simulate=True writes instead of this one."""
        calc_dir = self.calc_dir.rstrip("/") + ".simulate"
        return Layout(calc_dir, database_basename=self.database_basename)

    def lock(self) -> BaseFileLock:
        """Return the lock to hold while the database is read, merged and replaced.

        On a file system without locks, filelock uses a file that only one process at a time can
        create.
        """
        self.database_dir.mkdir(parents=True, exist_ok=True)
        return _Lock(self.database_dir / f".{self.database_basename}.lock")

    def numbers_lock(self) -> AbstractContextManager[object]:
        """Return the lock to hold while numbers of runs and psets are given.

        All databases of a study share it: it is that of ``database.pk``, whether there is such a
        file or not. It is taken after `lock`, which is the same where this is the database.
        """
        if self.database_path == self.root / _DATABASE:
            return nullcontext()
        self.root.mkdir(parents=True, exist_ok=True)
        return _Lock(self.root / f".{_DATABASE}.lock")

    def make_writable(self) -> None:
        """Create the folders of the study.

        Raises
        ------
        LayoutError
            If they cannot be created or written to.
        """
        for folder in {self.root, self.database_dir}:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):
                    pass
            except OSError as err:
                raise LayoutError(
                    f"cannot write to {str(folder)!r} ({err.strerror}); free it or choose another "
                    "folder with calc_dir=, or keep nothing on disk with save=False"
                ) from err


class _Inside:
    """An attribute of a folder: the path of what has this name in it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, folder: RunFolder | PsetFolder, owner: type) -> Path:
        return folder.path / self._name


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, and the files in it.

    Examples
    --------
    >>> RunFolder(Path("calc/runs/6ba7b810")).journal_path.as_posix()
    'calc/runs/6ba7b810/journal'
    """

    path: Path
    info_path = _Inside("run.json")  # who ran it, when, where and how
    plan_path = _Inside("plan.pk")  # the numbered psets, and func
    journal_path = _Inside("journal")  # records that are not in the database yet
    early_dir = _Inside("early")  # rows of workers: see `psweep_dask.worker.early_rows`
    stop_path = _Inside("stop")  # written by another process to stop the run
    jobs_path = _Inside("jobs")  # names of its batch jobs, as long as it has any
    job_logs_dir = _Inside("logs")  # output of its batch jobs
    patch_path = _Inside("uncommitted.patch")  # what git did not have when the run began
    work_path = _Inside("work.pk")  # a packed `Work`, for batch jobs that run func

    def array_path(self, machine: str, number: int) -> Path:
        """Return the job script of one of its job arrays."""
        return self.path / f"array_{machine}_{number}"

    def array_list_path(self, machine: str, number: int) -> Path:
        """Return the file that names the psets of a job array, a line each."""
        return self.path / f"array_{machine}_{number}.psets"

    def arrays_submitted(self) -> list[Path]:
        """Return the files in which the submissions of its job arrays are noted."""
        return sorted(self.path.glob("array_*.submitted"))

    def kept_paths(self) -> list[Path]:
        """Return the files with the rows that the run has had in the database, the oldest first."""
        return sorted(self.path.glob("rows-*.gz"), key=lambda path: (len(path.name), path.name))

    def free_kept_path(self) -> Path:
        """Return the path of the next such file."""
        numbers = itertools.count(len(self.kept_paths()))
        paths = (self.path / f"rows-{number}.gz" for number in numbers)
        return next(path for path in paths if not path.exists())

    def deleted_path(self, kept: int) -> Path:
        """Return the file with the ids of rows that were deleted from the first `kept` of them."""
        return self.path / f"deleted-{kept}.json"

    def driver_lock(self) -> BaseFileLock:
        """Return the lock that the driver holds until it ends."""
        return _Lock(self.path / "driver.lock", thread_local=False)


@dataclass(frozen=True)
class PsetFolder:
    """The folder of one pset, on this machine or where its batch job runs, and the files in it.

    Examples
    --------
    >>> PsetFolder(Path("calc/6ba7b810")).record_path.as_posix()
    'calc/6ba7b810/record.pk'
    """

    path: Path
    pset_path = _Inside("pset.pk")  # for the batch job: a pickled dict with book-keeping
    record_path = _Inside("record.pk")  # from a job that has called func: one frame
    result_path = _Inside("result.json")  # from a script that was made from a template
    ended_path = _Inside("ended")  # how the job script has ended; empty: not yet known
    logs_path = _Inside("logs.txt")  # what the pset has printed, with capture_logs

    def jobscript_path(self, machine: str) -> Path:
        """Return the job script for a machine."""
        return self.path / f"jobscript_{machine}"

    def submitted_path(self, machine: str) -> Path:
        """Return the file in which a submission to a machine is noted; empty if there was none."""
        return self.path / f"submitted_{machine}"
