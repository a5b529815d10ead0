"""Reading and checking ``templates/machines/<name>/``, the folder that describes a machine.

What may stand below ``jobqueue:`` is dask-jobqueue's affair, and importing that has side effects.
So the keys in common use are checked here, by their kind; the others are handed on as they are.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask.config
import yaml
from dask.utils import parse_bytes, parse_timedelta

from psweep_dask.errors import PsweepError

MACHINES_DIR = "templates/machines"
"""Where the machines are, seen from the working directory."""

CLUSTERS: Mapping[str, str] = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "lsf": "LSFCluster",
    "sge": "SGECluster",
    "oar": "OARCluster",
    "htcondor": "HTCondorCluster",
    "moab": "MoabCluster",
}
"""What ``cluster:`` may say, and the class of dask_jobqueue that each stands for."""

_CLUSTER_NAMES = ", ".join(CLUSTERS)
_UNLIMITED = ("UNLIMITED", "INFINITE")
_SLURM_TIME = re.compile(r"(?:([0-9]{1,9})-)?([0-9]{1,9})(?::([0-9]{1,9}))?(?::([0-9]{1,9}))?")


class MachineError(PsweepError):
    """A machine that is not there or not right: the message names file, key, value and remedy."""


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
                f"(allowed are {_CLUSTER_NAMES})"
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


@dataclass(frozen=True)
class _Kind:
    """Which values are allowed: in words for the user, and as a test."""

    allowed: str
    fits: Callable[[Any], bool]


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
    _check_info(info, f"{info_path}: ")
    info = _given(info)
    return Machine(
        name=name,
        folder=folder,
        subcmd=info.get("subcmd"),
        host=info.get("host", name),
        cluster=info.get("cluster"),
        jobqueue=_given(info.get("jobqueue", {})),
        jobs=info.get("jobs", 1),
    )


def walltime_seconds(text: str) -> float | None:
    """Translate a time as SLURM writes it, in a job script or in what squeue prints.

    Parameters
    ----------
    text : str
        ``minutes``, ``minutes:seconds``, ``hours:minutes:seconds``, ``days-hours``,
        ``days-hours:minutes`` or ``days-hours:minutes:seconds``.

    Returns
    -------
    float or None
        Seconds; None for no limit (``UNLIMITED``) and for what is no time (``NOT_SET``). Zero is
        0.0, although SLURM takes it for no limit where somebody asks for it as a limit.

    Examples
    --------
    >>> walltime_seconds("02:00:00"), walltime_seconds("90"), walltime_seconds("1-12")
    (7200.0, 5400.0, 129600.0)
    >>> walltime_seconds("UNLIMITED") is None
    True
    """
    match = _SLURM_TIME.fullmatch(text.strip())
    if match is None:
        return None
    days, *rest = match.groups()
    parts = [int(part) for part in rest if part is not None]
    # What is left out is at the end after days, and hours are the first to be left out without.
    if days is None and len(parts) < 3:
        parts.insert(0, 0)
    hours, minutes, seconds = (*parts, 0, 0)[:3]
    return float(((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds)


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
        f"{_did_you_mean(name, names)}; choose another or create {folder / 'info.yaml'}"
    )


def _load(info_path: Path) -> dict[Any, Any]:
    try:
        info = yaml.safe_load(info_path.read_bytes())
    except FileNotFoundError:
        raise MachineError(
            f"{info_path} is missing; create it, with 'cluster: slurm' for live runs "
            "or 'subcmd: sbatch' for offline ones"
        ) from None
    except OSError as err:
        raise MachineError(f"cannot read {info_path}: {err.strerror}") from err
    except yaml.MarkedYAMLError as err:
        line = err.problem_mark.line + 1 if err.problem_mark else "unknown"
        raise MachineError(f"{info_path}, line {line}: not YAML, {err.problem}") from err
    except (yaml.YAMLError, ValueError) as err:  # not text; a date that no calendar has
        raise MachineError(f"{info_path}: not YAML, {err}") from err
    if info is None:  # an empty file, or comments only
        return {}
    if not isinstance(info, dict):
        raise MachineError(f"{info_path}: {info!r}; allowed are lines such as 'cluster: slurm'")
    return info


def _given(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Leave out the keys without a value.

    None means the same to most arguments of dask-jobqueue, but no nanny or an error to some.
    """
    return {key: value for key, value in values.items() if value is not None}


def _check_info(info: Mapping[Any, Any], where: str) -> None:
    for key in info:
        if key not in _INFO_KINDS:
            raise MachineError(
                f"{where}unknown key {key!r}; allowed are {', '.join(_INFO_KINDS)}"
                f"{_advice_on(str(key))}"
            )
    _check_kinds(info, _INFO_KINDS, where)
    jobqueue = info.get("jobqueue") or {}
    _check_jobqueue_keys(jobqueue, where)
    _check_kinds(jobqueue, _jobqueue_kinds(info.get("cluster")), f"{where}jobqueue: ")
    _check_processes(jobqueue, f"{where}jobqueue: ")


def _check_jobqueue_keys(jobqueue: Mapping[Any, Any], where: str) -> None:
    for key in jobqueue:
        if not isinstance(key, str) or not key.isidentifier():
            raise MachineError(
                f"{where}jobqueue: the key {key!r} is no keyword argument of dask-jobqueue; "
                "allowed are names with underscores, such as job_extra_directives"
            )
    options = jobqueue.get("scheduler_options")
    below = options if isinstance(options, dict) else {}  # its kind is checked later
    _check_ours(jobqueue, f"{where}jobqueue: ", _OURS)
    _check_ours(below, f"{where}jobqueue: scheduler_options: ", ("security", "protocol"))


def _check_ours(values: Mapping[Any, Any], where: str, ours: Iterable[str]) -> None:
    for key in ours:
        if key in values:
            remedy = _OURS[key]
            raise MachineError(f"{where}{key}={values[key]!r}; we set {key} ourselves: {remedy}")


def _check_kinds(values: Mapping[Any, Any], kinds: Mapping[str, _Kind], where: str) -> None:
    for key, value in _given(values).items():
        if key in kinds and not kinds[key].fits(value):
            raise MachineError(f"{where}{key}={value!r}; allowed is {kinds[key].allowed}")


def _check_processes(jobqueue: Mapping[str, Any], where: str) -> None:
    processes, cores = jobqueue.get("processes"), jobqueue.get("cores")
    if processes is not None and cores is not None and processes > cores:
        raise MachineError(
            f"{where}processes={processes} with cores={cores}; allowed are at most as many "
            "processes as cores"
        )


def _advice_on(key: str) -> str:
    if key in _JOBQUEUE_KINDS:
        return f" ({key} belongs below jobqueue:, indented)"
    return _did_you_mean(key, _INFO_KINDS)


def _did_you_mean(word: str, words: Iterable[str]) -> str:
    close = difflib.get_close_matches(word.lower(), list(words), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _jobqueue_kinds(cluster: str | None) -> dict[str, _Kind]:
    return {**_JOBQUEUE_KINDS, **_KINDS_OF_CLUSTER.get(cluster or "", {})}


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1  # not True, which is an int too


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _is_host(value: Any) -> bool:
    # It becomes an argument of rsync, where a dash would make it an option.
    return isinstance(value, str) and re.fullmatch(r"[^-\s]\S*", value) is not None


def _is_memory(value: Any) -> bool:
    if type(value) is not int and not (isinstance(value, str) and re.search("[0-9]", value)):
        return False
    try:
        # Less cannot be meant, no worker starts in it: it is a number that lacks its unit.
        return bool(parse_bytes(value) >= 2**20)
    except (ValueError, OverflowError):
        return False


def _is_duration(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    if isinstance(value, str) and re.search(r"\s", value):
        return False  # dask-jobqueue puts it into the job script without quotes
    try:
        return bool(0 < parse_timedelta(value) < math.inf)
    except (ValueError, LookupError, OverflowError):
        return False


def _is_slurm_time(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    return value.strip().upper() in _UNLIMITED or walltime_seconds(value) is not None


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _are_worker_args(value: Any) -> bool:
    return _are_texts(value) and "--no-nanny" not in " ".join(value).split()


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


_COUNT = _Kind("a whole number from 1", _is_count)
_TEXT = _Kind("text (in quotes if it looks like a number, a date, yes or no)", _is_text)
_TEXTS = _Kind('a list of texts, such as ["one", "two"]', _are_texts)
_MAPPING = _Kind("a mapping, lines of 'key: value' below it", _is_mapping)

_INFO_KINDS: Mapping[str, _Kind] = {
    "subcmd": _TEXT,
    "host": _Kind("the name of a host, as ssh takes it", _is_host),
    "cluster": _Kind(
        f"one of {_CLUSTER_NAMES}", lambda value: isinstance(value, str) and value in CLUSTERS
    ),
    "jobqueue": _MAPPING,
    "jobs": _COUNT,
}

_JOBQUEUE_KINDS: Mapping[str, _Kind] = {
    **dict.fromkeys(("queue", "account", "project", "job_name", "job_mem", "config_name"), _TEXT),
    **dict.fromkeys(("interface", "python", "shebang"), _TEXT),
    **dict.fromkeys(("local_directory", "log_directory", "shared_temp_directory"), _TEXT),
    "cores": _COUNT,
    "processes": _COUNT,
    "memory": _Kind("a size with its unit, such as 8GiB", _is_memory),
    "walltime": _Kind(
        'text in quotes, such as "12:00:00" (without them YAML takes that for a number)', _is_text
    ),
    "job_cpu": _COUNT,
    "death_timeout": _Kind(
        "a positive number of seconds, or a text without blanks such as 5m", _is_duration
    ),
    "worker_extra_args": _Kind(
        f"{_TEXTS.allowed} without --no-nanny (nannies tell a killed pset from a lost worker)",
        _are_worker_args,
    ),
    "job_script_prologue": _TEXTS,
    "job_directives_skip": _TEXTS,
    "job_extra_directives": _Kind(
        f"{_TEXTS.allowed} (with cluster: htcondor a mapping)", _are_texts
    ),
    "scheduler_options": _MAPPING,
    "nanny": _Kind(
        "true (a nanny tells a killed pset from a lost worker); leave the key out",
        lambda value: value is True,
    ),
}

_KINDS_OF_CLUSTER: Mapping[str, Mapping[str, _Kind]] = {
    # The time formats are those of sbatch's manual.
    "slurm": {
        "walltime": _Kind(
            'a time as sbatch takes it, in quotes: "12:00:00", "90" (minutes), "1-12:00:00" '
            "(a day and a half), UNLIMITED (without quotes YAML takes 12:00:00 for a number)",
            _is_slurm_time,
        )
    },
    "htcondor": {"job_extra_directives": _MAPPING},
}

_OURS: Mapping[str, str] = {
    "security": "every cluster gets temporary TLS credentials; leave the key out",
    "protocol": "every cluster speaks TLS; leave the key out",
    "n_workers": "say how many jobs at most with jobs:, beside jobqueue:",
    "name": "each run names its own cluster; the name of the jobs is job_name",
    "asynchronous": "leave the key out",
    "loop": "leave the key out",
}
"""The arguments that are not the user's to set, and what to do instead."""
