"""Machines: folders ``templates/machines/<name>/`` that describe where jobs run."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask.config

from psweep_dask._yaml import read_yaml
from psweep_dask.hpc.machine_schema import (
    CLUSTER_NAMES,
    MachineError,
    check_info,
    did_you_mean,
    without_none,
)

MACHINES_DIR = "templates/machines"  # of all machines, in the working directory


@dataclass(frozen=True)
class Machine:
    """A machine, as its folder describes it. `read_machine` reads one.

    Parameters
    ----------
    name : str
    folder : Path
        Its absolute path.
    subcmd : str or None
        For offline use: the command that submits a job script.
    host : str
        The host that push and pull connect to.
    cluster : str or None
        For live use: the batch system, a key of `CLUSTERS`.
    jobqueue : dict, optional
        For live use: keyword arguments for the class of dask_jobqueue.
    jobs : int, optional
        For live use: largest number of jobs at a time.
    """

    name: str
    folder: Path
    subcmd: str | None
    host: str
    cluster: str | None
    jobqueue: dict[str, Any] = field(default_factory=dict)
    jobs: int = 1

    @property
    def info_path(self) -> Path:
        """The file with all settings."""
        return self.folder / "info.yaml"

    @property
    def jobscript_path(self) -> Path:
        """The template of the job script, for offline use."""
        return self.folder / "jobscript"

    @property
    def batch_system(self) -> str:
        """The batch system of live runs; `MachineError` if the machine is for offline use only."""
        if self.cluster is None:
            raise MachineError(
                f"the machine {self.name!r} is for offline use only; to run live there, say which "
                f"batch system it has in {self.info_path}, such as 'cluster: slurm' "
                f"(allowed are {CLUSTER_NAMES})"
            )
        return self.cluster

    def setting(self, name: str) -> Any:
        """Return a keyword argument for dask_jobqueue, from ``info.yaml`` or dask's configuration.

        None if neither has it. The defaults of dask_jobqueue are in dask's configuration only
        after its import.
        """
        if name in self.jobqueue:
            return self.jobqueue[name]
        if self.cluster is None:
            return None
        section = self.jobqueue.get("config_name", self.cluster)
        # dask_jobqueue has another name for this argument in its configuration.
        key = "name" if name == "job_name" else name.replace("_", "-")
        return dask.config.get(f"jobqueue.{section}.{key}", None)


def machine_names(machines_dir: str | os.PathLike[str] = MACHINES_DIR) -> list[str]:
    """Return the names of the machines in a folder: those of folders that have an ``info.yaml``."""
    paths = Path(machines_dir).glob("*/info.yaml")
    return sorted(path.parent.name for path in paths if path.is_file())


def read_machine(name: str, machines_dir: str | os.PathLike[str] = MACHINES_DIR) -> Machine:
    """Read the ``info.yaml`` of a machine and check it.

    Every key is optional. A key without a value counts as missing.

    Raises
    ------
    MachineError
        If there is no such machine, or its ``info.yaml`` cannot be read, has an unknown key, or
        has a value of the wrong kind.
    """
    folder = _find(name, Path(machines_dir))
    info_path = folder / "info.yaml"
    info = _load(info_path)
    check_info(info, f"{info_path}: ")
    info = without_none(info)
    return Machine(
        name=name,
        folder=folder,
        subcmd=info.get("subcmd"),
        host=info.get("host", name),
        cluster=info.get("cluster"),
        jobqueue=without_none(info.get("jobqueue", {})),
        jobs=info.get("jobs", 1),
    )


def _find(name: str, machines_dir: Path) -> Path:
    if name in ("", ".", "..") or "/" in name:
        raise MachineError(f"{name!r} cannot be a machine: allowed is the name of one folder")
    folder = machines_dir.absolute() / name
    if folder.is_dir():
        return folder
    if not machines_dir.is_dir():
        raise MachineError(
            f"no machine {name!r}: there is no folder {str(machines_dir)!r} in "
            f"{str(Path.cwd())!r}; change to the folder that has it, or create "
            f"{folder / 'info.yaml'}"
        )
    names = machine_names(machines_dir)
    known = f"there are {', '.join(names)}" if names else "there are no machines"
    raise MachineError(
        f"no machine {name!r} in {str(machines_dir.absolute())!r}: {known}"
        f"{did_you_mean(name, names)}; choose another or create {folder / 'info.yaml'}"
    )


def _load(info_path: Path) -> dict[Any, Any]:
    try:
        info = read_yaml(info_path.read_bytes())
    except FileNotFoundError:
        raise MachineError(
            f"{info_path} is missing; create it, with 'cluster: slurm' for live runs "
            "or 'subcmd: sbatch' for offline use"
        ) from None
    except OSError as err:
        raise MachineError(f"cannot read {info_path}: {err.strerror}") from err
    except ValueError as err:
        raise MachineError(f"{info_path}: {err}") from err
    if info is None:  # an empty file, or comments only
        return {}
    if not isinstance(info, dict):
        raise MachineError(f"{info_path}: {info!r}; allowed are lines such as 'cluster: slurm'")
    return info
