"""The keys of a machine's ``info.yaml``, and which values each key may have.

The keys below ``jobqueue:`` are arguments of dask_jobqueue. Those in common use are checked here;
others are passed on unchecked, since the import of dask_jobqueue has side effects.
"""

from __future__ import annotations

import difflib
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dask.utils import parse_bytes, parse_timedelta

from psweep_dask.errors import PsweepError
from psweep_dask.hpc.slurm import UNLIMITED, walltime_seconds

log = logging.getLogger("psweep_dask")

CLUSTERS: Mapping[str, str] = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "lsf": "LSFCluster",
    "sge": "SGECluster",
    "oar": "OARCluster",
    "htcondor": "HTCondorCluster",
    "moab": "MoabCluster",
}
"""The values of ``cluster:``, and the class of dask_jobqueue for each."""
CLUSTER_NAMES = ", ".join(CLUSTERS)


class MachineError(PsweepError):
    """A machine that is missing or wrong: the message names the file, the key, the value."""


@dataclass(frozen=True)
class _Kind:
    """Allowed values: in words for the user, and as a test."""

    allowed: str
    fits: Callable[[Any], bool]


def without_none(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the keys that have a value.

    For most arguments of dask_jobqueue None means the default, but not for all: ``nanny=None``
    starts no nannies, and others raise an error.
    """
    return {key: value for key, value in values.items() if value is not None}


def check_info(info: Mapping[Any, Any], where: str) -> None:
    """Check the keys of an ``info.yaml`` and their values. Messages begin with `where`.

    A machine for offline use may have further keys, as in psweep: a warning names each.

    Raises
    ------
    MachineError
        If a value is not allowed, or a key is unknown and the machine is for live runs.
    """
    for key in info:
        if key not in _INFO_KINDS:
            remedy = did_you_mean(str(key), _INFO_KINDS)
            if key in _JOBQUEUE_KINDS:
                remedy = f" ({key} belongs below jobqueue:, indented)"
            allowed = ", ".join(_INFO_KINDS)
            text = f"{where}unknown key {key!r}; allowed are {allowed}{remedy}"
            if not info.get("subcmd") or info.get("cluster"):
                raise MachineError(text)
            log.warning("%s; it has no effect", text)
    _check_kinds(info, _INFO_KINDS, where)
    _check_jobqueue(info.get("jobqueue") or {}, info.get("cluster") or "", f"{where}jobqueue: ")


def _check_jobqueue(jobqueue: Mapping[Any, Any], cluster: str, where: str) -> None:
    for key in jobqueue:
        if not isinstance(key, str) or not key.isidentifier():
            raise MachineError(
                f"{where}the key {key!r} is not an argument of dask_jobqueue; "
                "allowed are names with underscores, such as job_extra_directives"
            )
    _check_set_by_us(jobqueue, where, _SET_BY_US)
    options = jobqueue.get("scheduler_options")
    if isinstance(options, dict):  # else it is refused below
        _check_set_by_us(options, f"{where}scheduler_options: ", ("security", "protocol"))
    _check_kinds(jobqueue, {**_JOBQUEUE_KINDS, **_KINDS_OF_CLUSTER.get(cluster, {})}, where)
    processes, cores = jobqueue.get("processes"), jobqueue.get("cores")
    if processes is not None and cores is not None and processes > cores:
        raise MachineError(
            f"{where}processes={processes} with cores={cores}; allowed are at most as many "
            "processes as cores"
        )


def _check_set_by_us(values: Mapping[Any, Any], where: str, keys: Iterable[str]) -> None:
    for key in keys:
        if key in values:
            remedy = _SET_BY_US[key]
            raise MachineError(f"{where}{key}={values[key]!r}; we set {key} ourselves: {remedy}")


def _check_kinds(values: Mapping[Any, Any], kinds: Mapping[str, _Kind], where: str) -> None:
    for key, value in without_none(values).items():
        if key in kinds and not kinds[key].fits(value):
            raise MachineError(f"{where}{key}={value!r}; allowed is {kinds[key].allowed}")


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return the end of a message that proposes the most similar word; empty if there is none."""
    matches = difflib.get_close_matches(word.lower(), list(words), n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _is_host(value: Any) -> bool:
    # It becomes an argument of rsync, which would take a leading dash for an option.
    return isinstance(value, str) and re.fullmatch(r"[^-\s]\S*", value) is not None


def _is_memory(value: Any) -> bool:
    if type(value) is not int and not (isinstance(value, str) and re.search("[0-9]", value)):
        return False
    try:
        # No worker starts in less than 1 MiB: the unit is missing.
        return bool(parse_bytes(value) >= 2**20)
    except (ValueError, OverflowError):
        return False


def _is_duration(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    if isinstance(value, str) and re.search(r"\s", value):
        return False  # dask_jobqueue writes it into the job script without quotes
    try:
        return bool(0 < parse_timedelta(value) < math.inf)
    except (ValueError, LookupError, OverflowError):
        return False


def _is_slurm_time(value: Any) -> bool:
    return isinstance(value, str) and (
        value.strip().upper() in UNLIMITED or walltime_seconds(value) is not None
    )


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


# type(), since True is an int too.
_COUNT = _Kind("a whole number from 1", lambda value: type(value) is int and value >= 1)
_TEXT = _Kind(
    "text (in quotes if it looks like a number or a date, or is true, false or null)", _is_text
)
_TEXTS = _Kind('a list of texts, such as ["one", "two"]', _are_texts)
_MAPPING = _Kind("a mapping, lines of 'key: value' below it", lambda value: isinstance(value, dict))

_INFO_KINDS: Mapping[str, _Kind] = {
    "subcmd": _TEXT,
    "host": _Kind("the name of a host, as ssh takes it", _is_host),
    "cluster": _Kind(
        f"one of {CLUSTER_NAMES}", lambda value: isinstance(value, str) and value in CLUSTERS
    ),
    "jobqueue": _MAPPING,
    "jobs": _COUNT,
}

_JOBQUEUE_KINDS: Mapping[str, _Kind] = {
    **dict.fromkeys(("queue", "account", "project", "job_mem", "config_name"), _TEXT),
    **dict.fromkeys(("interface", "python", "shebang"), _TEXT),
    **dict.fromkeys(("local_directory", "log_directory", "shared_temp_directory"), _TEXT),
    **dict.fromkeys(("cores", "processes", "job_cpu"), _COUNT),
    **dict.fromkeys(("job_script_prologue", "job_directives_skip"), _TEXTS),
    "memory": _Kind("a size with its unit, such as 8GiB", _is_memory),
    "walltime": _Kind(
        'text, such as "12:00:00" (in quotes if it is a whole number, such as "90")', _is_text
    ),
    "death_timeout": _Kind(
        "a positive number of seconds, or a text without spaces such as 5m", _is_duration
    ),
    "worker_extra_args": _Kind(
        f"{_TEXTS.allowed} without --no-nanny (nannies tell a killed pset from a lost worker)",
        lambda value: _are_texts(value) and "--no-nanny" not in " ".join(value).split(),
    ),
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
    # The formats of times are from the manual of sbatch.
    "slurm": {
        "walltime": _Kind(
            'a time as sbatch takes it: "12:00:00", "1-12:00:00" (a day and a half), UNLIMITED, '
            '"90" (minutes; a whole number must stand in quotes)',
            _is_slurm_time,
        )
    },
    "htcondor": {"job_extra_directives": _MAPPING},
}

_SET_BY_US: Mapping[str, str] = {
    "security": "every cluster gets temporary TLS credentials; leave the key out",
    "protocol": "every cluster speaks TLS; leave the key out",
    "n_workers": "set the largest number of jobs with jobs:, beside jobqueue:",
    "name": "each run names its own cluster; leave the key out",
    "job_name": "jobs are named after their run, so that they are found again; leave the key out",
    "asynchronous": "leave the key out",
    "loop": "leave the key out",
}
"""Arguments of dask_jobqueue that users cannot set, and what to do instead."""
