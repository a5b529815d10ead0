"""Reading ``templates/machines/<name>/``, the folder that describes a machine."""

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
    given,
)

MACHINES_DIR = "templates/machines"
"""Where the machines are, seen from the working directory."""


@dataclass(frozen=True)
class Machine:
    """One machine, as its folder describes it; `read_machine` makes these.

    Parameters
    ----------
    name : str
        Name of the folder.
    folder : Path
        The folder itself, absolute.
    subcmd : str or None
        Offline: the command that submits the job script.
    host : str
        Where push and pull go.
    cluster : str or None
        Live: a key of `CLUSTERS`; None for a machine that is for offline use only.
    jobqueue : dict, optional
        Live: keyword arguments for the class of dask_jobqueue.
    jobs : int, optional
        Live: how many jobs at most.

    Examples
    --------
    >>> machine = Machine("big", Path("/study/templates/machines/big"), "sbatch", "big", "slurm")
    >>> machine.info_path.as_posix()
    '/study/templates/machines/big/info.yaml'
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
        """The file that says all this."""
        return self.folder / "info.yaml"

    @property
    def jobscript_path(self) -> Path:
        """The template of the job script, for offline use."""
        return self.folder / "jobscript"

    @property
    def live(self) -> str:
        """The kind of cluster that live runs use, a key of `CLUSTERS`.

        Raises
        ------
        MachineError
            If the machine is for offline use only.
        """
        if self.cluster is None:
            raise MachineError(
                f"the machine {self.name!r} is for offline use only; to run live there, say which "
                f"batch system it has in {self.info_path}, such as 'cluster: slurm' "
                f"(allowed are {CLUSTER_NAMES})"
            )
        return self.cluster

    def setting(self, name: str) -> Any:
        """Tell what holds for a keyword argument of the class: ours, or else dask's configuration.

        The defaults of dask-jobqueue are in dask's configuration only after its import.

        Parameters
        ----------
        name : str
            The keyword argument, as one writes it below ``jobqueue:``.

        Returns
        -------
        object
            Its value; None where neither says anything.

        Examples
        --------
        >>> machine = Machine("big", Path("big"), None, "big", "slurm", {"cores": 4})
        >>> with dask.config.set({"jobqueue.slurm.death-timeout": 90}):
        ...     machine.setting("cores"), machine.setting("death_timeout")
        (4, 90)
        """
        if name in self.jobqueue:
            return self.jobqueue[name]
        if self.cluster is None:
            return None
        section = self.jobqueue.get("config_name", self.cluster)
        # The one argument that dask-jobqueue calls otherwise in its configuration.
        key = "name" if name == "job_name" else name.replace("_", "-")
        return dask.config.get(f"jobqueue.{section}.{key}", None)


def machine_names(machines_dir: str | os.PathLike[str] = MACHINES_DIR) -> list[str]:
    """List the machines: the folders that have an ``info.yaml``.

    Parameters
    ----------
    machines_dir : str or PathLike, optional
        Where to look.

    Returns
    -------
    list of str
        Their names, sorted; none where `machines_dir` does not exist.

    Examples
    --------
    >>> machine_names()
    []
    """
    folder = Path(machines_dir)
    if not folder.is_dir():
        return []
    return sorted(one.name for one in folder.iterdir() if (one / "info.yaml").is_file())


def read_machine(name: str, machines_dir: str | os.PathLike[str] = MACHINES_DIR) -> Machine:
    r"""Read the folder of a machine, and check all of it that can be checked here.

    Every key of ``info.yaml`` is optional, and one without a value counts as missing.

    Parameters
    ----------
    name : str
        Name of the machine, which is that of its folder.
    machines_dir : str or PathLike, optional
        The folder with all machines.

    Returns
    -------
    Machine
        The machine. Without ``host:`` its host is called as its folder, without ``jobs:`` it
        gets one job.

    Raises
    ------
    MachineError
        If there is no such machine, or its ``info.yaml`` cannot be read, has a key that is not
        known or a value of the wrong kind.

    Examples
    --------
    >>> folder = Path(MACHINES_DIR, "mycluster")
    >>> folder.mkdir(parents=True)
    >>> text = "cluster: slurm\njobqueue: {cores: 4, memory: 8GiB}"
    >>> size = (folder / "info.yaml").write_text(text)
    >>> machine = read_machine("mycluster")
    >>> machine.cluster, machine.jobqueue, machine.jobs
    ('slurm', {'cores': 4, 'memory': '8GiB'}, 1)
    """
    folder = _find(name, Path(machines_dir))
    info_path = folder / "info.yaml"
    info = _load(info_path)
    check_info(info, f"{info_path}: ")
    info = given(info)
    return Machine(
        name=name,
        folder=folder,
        subcmd=info.get("subcmd"),
        host=info.get("host", name),
        cluster=info.get("cluster"),
        jobqueue=given(info.get("jobqueue", {})),
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
            f"no machine {name!r}: there is no folder {str(machines_dir)!r} seen from "
            f"{str(Path.cwd())!r}; start where it is, or create {folder / 'info.yaml'}"
        )
    names = machine_names(machines_dir)
    known = f"there are {', '.join(names)}" if names else "there is none at all"
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
            "or 'subcmd: sbatch' for offline ones"
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
