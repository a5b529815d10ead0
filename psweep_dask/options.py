"""The options of a run, checked before anything starts."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import pandas as pd

from psweep_dask.errors import PsweepError

CAPTURE_LOGS = (None, "db", "file", "db+file")


class OptionError(PsweepError):
    """An option with a value that it cannot have: the message names both and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `run` and `run_local` share; their docstrings say what each means.

    Raises
    ------
    OptionError
        If a value is not allowed.

    Examples
    --------
    >>> Options(on_error=3).failure_limit
    3
    >>> Options(on_error="stop")
    Traceback (most recent call last):
        ...
    psweep_dask.options.OptionError: on_error='stop'; allowed are 'record', 'raise', an int from 1
    """

    df: pd.DataFrame | None = None
    save: bool = True
    tmpsave: bool = False
    verbose: bool | Sequence[str] = False
    calc_dir: str | os.PathLike[str] = "calc"
    simulate: bool = False
    database_dir: str | os.PathLike[str] | None = None
    database_basename: str = "database.pk"
    backup: bool = False
    git: bool = False
    skip_dups: bool = False
    capture_logs: str | None = None
    on_error: str | int = "record"
    retries: int = 0
    timeout: float | None = None
    resources: Mapping[str, float] | None = None
    progress: bool | None = None

    def __post_init__(self) -> None:
        for name in ("save", "tmpsave", "simulate", "backup", "git", "skip_dups"):
            self._allow(name, isinstance(getattr(self, name), bool), "True, False")
        self._allow("progress", self.progress in (None, True, False), "None, True, False")
        self._allow("df", self.df is None or isinstance(self.df, pd.DataFrame), "None, a DataFrame")
        columns = not isinstance(self.verbose, str) and isinstance(self.verbose, bool | Sequence)
        self._allow("verbose", columns, "True, False, a list of column names")
        capture_logs = ", ".join(map(repr, CAPTURE_LOGS))
        self._allow("capture_logs", self.capture_logs in CAPTURE_LOGS, capture_logs)
        self._allow("on_error", self._on_error_ok(), "'record', 'raise', an int from 1")
        self._allow("calc_dir", isinstance(self.calc_dir, str | os.PathLike), "a path")
        retries = type(self.retries) is int and self.retries >= 0
        self._allow("retries", retries, "an int from 0")
        self._allow("timeout", self._timeout_ok(), "None, a positive number of seconds")
        amounts = "None, a dict of names and positive numbers such as {'GPU': 1}"
        self._allow("resources", self._resources_ok(), amounts)
        self._allow(
            "database_dir",
            self.database_dir is None or isinstance(self.database_dir, str | os.PathLike),
            "None, a path",
        )
        basename = self.database_basename
        plain = isinstance(basename, str) and basename == os.path.basename(basename) != ""  # noqa: PTH119  (text)
        self._allow("database_basename", plain, "a file name without a folder")
        if self.git and not self.save:
            raise OptionError("git=True commits what a run saves, so it needs save=True")

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """Pick the options out of the arguments of a function.

        Examples
        --------
        >>> Options.of({"func": len, "retries": 2}).retries
        2
        """
        names = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in arguments.items() if name in names})

    @property
    def failure_limit(self) -> int | None:
        """After how many failures the run gives up; None means never."""
        if isinstance(self.on_error, int):
            return self.on_error
        return 1 if self.on_error == "raise" else None

    @property
    def needs_folder(self) -> bool:
        """Whether anything is written below `calc_dir`."""
        return self.save or self.tmpsave or "file" in (self.capture_logs or "")

    def _on_error_ok(self) -> bool:
        value: Any = self.on_error
        if isinstance(value, int):
            return not isinstance(value, bool) and value >= 1
        return value in ("record", "raise")

    def _timeout_ok(self) -> bool:
        return self.timeout is None or _is_positive(self.timeout)

    def _resources_ok(self) -> bool:
        value: Any = self.resources
        return value is None or (
            isinstance(value, Mapping)
            and all(isinstance(name, str) and _is_positive(each) for name, each in value.items())
        )

    def _allow(self, name: str, allowed: bool, choices: str) -> None:
        if not allowed:
            value = getattr(self, name)
            shown = type(value).__name__ if name == "df" else repr(value)
            raise OptionError(f"{name}={shown}; allowed are {choices}")


def _is_positive(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value < math.inf
