"""The options of a run: what each means, which values it may have, and which function takes it."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from inspect import Parameter
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, TypeVar, cast

import pandas as pd

from psweep_dask._convert import to_int, to_python
from psweep_dask._format import short_repr
from psweep_dask.errors import PsweepError

if TYPE_CHECKING:  # distributed takes half a second to import
    from distributed import Client
    from distributed.deploy import Cluster


class OptionError(PsweepError):
    """An option with a value that it cannot have: the message names both and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a run, checked when they are made.

    `takes_options` puts these texts into the help of `run`, `run_local`, `submit`, `resume` and
    `retry`.

    Parameters
    ----------
    cluster : None, str, Client or Cluster, optional
        Where to run: "local" (a LocalCluster with one single-threaded worker for each core, kept
        for the next call), "allocation" (the SLURM allocation that this process is in, with one
        worker for each task), "sync" (in this process, for the debugger), the name of a machine
        in ``templates/machines`` (batch jobs there), or a dask Client or Cluster. None means the
        default dask Client if the script made one, else what dask's configuration has as
        ``psweep.cluster``, else the allocation if there is one, else "local".
    df : DataFrame, optional
        Append the rows to this DataFrame instead of to the database on disk. When the run is
        saved, the result replaces that database; if `df` lacks rows of it, a copy is kept.
    poolsize : int, optional
        Number of worker processes. By default there is one, which runs one pset after the other
        in their order, as the loop of psweep does; `run` uses all cores.
    save : bool, optional
        Write the plan and the rows to disk. False leaves nothing there; a database that exists is
        still read, and the rows are appended to it in what is returned.
    tmpsave : bool, optional
        Also write each row to ``<calc_dir>/tmpsave/<run_id>/<pset_id>.pk`` as soon as its pset
        has finished.
    verbose : bool or sequence of str, optional
        Print each finished row, or only these columns of it.
    calc_dir : str or PathLike, optional
        Folder of the study, relative to the working directory.
    simulate : bool, optional
        Do everything except calling `func`, in ``<calc_dir>.simulate`` with a copy of the
        database.
    database_dir : str or PathLike, optional
        Folder of the database; by default `calc_dir`.
    database_basename : str, optional
        File name of the database.
    backup : bool, optional
        First copy the study to ``<calc_dir>.bak_<timestamp>_run_id_<run_id>``.
    git : bool, optional
        Commit everything in the working directory before and after the run.
    skip_dups : bool or 'same func', optional
        Leave out psets for which the database has a row with the same ``_pset_sha1``, unless
        that row is a failure. "same func" leaves out only psets whose row was made by the source
        that `func` has now; comments and blank lines may differ, and what `func` calls is not
        compared.
    capture_logs : {None, 'db', 'file', 'db+file'}, optional
        Redirect what each pset prints, subprocesses included, to the column ``_logs``, to
        ``<calc_dir>/<pset_id>/logs.txt``, or to both. In `retry`, None means as in the run from
        which `func` comes.
    on_error : {'record', 'raise'} or int, optional
        What a failing pset does: "record" makes it a row and the run goes on, "raise" ends the
        run at the first failure, a number ends it after so many failures. What has finished is
        saved in any case.
    retries : int, optional
        Number of further attempts for a pset that raises, takes too long, or ends its worker.
        The failure of the last attempt becomes its row. In `resume`, None means as in the run.
    timeout : float, optional
        Seconds that a pset may take. After that its process and all that it has started are
        ended, also in C code that never returns to Python. In `resume` and `retry`, None means
        as in the run.
    resources : dict, optional
        What a pset needs of a worker, in dask's words, such as ``{"GPU": 1}``: a worker that was
        started with ``--resources GPU=2`` runs two such psets at a time. In `resume` and
        `retry`, None means as in the run.
    progress : bool, optional
        Show a bar on stderr. None means: if stderr is a terminal or a notebook.

    Raises
    ------
    OptionError
        If a value is not allowed.
    """

    cluster: str | Client | Cluster | None = None
    df: pd.DataFrame | None = None
    poolsize: int | None = None
    save: bool = True
    tmpsave: bool = False
    verbose: bool | Sequence[str] = False
    calc_dir: str | os.PathLike[str] = "calc"
    simulate: bool = False
    database_dir: str | os.PathLike[str] | None = None
    database_basename: str = "database.pk"
    backup: bool = False
    git: bool = False
    skip_dups: bool | Literal["same func"] = False
    capture_logs: str | None = None
    on_error: str | int = "record"
    retries: int = 0
    timeout: float | None = None
    resources: Mapping[str, float] | None = None
    progress: bool | None = None

    def __post_init__(self) -> None:
        self._convert_numbers()
        for name in ("save", "tmpsave", "simulate", "backup", "git"):
            self._allow(name, isinstance(getattr(self, name), bool), "True, False")
        skip_dups = self.skip_dups in (True, False, "same func")
        self._allow("skip_dups", skip_dups, "True, False, 'same func'")
        self._allow("progress", self.progress in (None, True, False), "None, True, False")
        self._allow("df", self.df is None or isinstance(self.df, pd.DataFrame), "None, a DataFrame")
        poolsize = self.poolsize is None or _is_from(1, self.poolsize)
        self._allow("poolsize", poolsize, "None, an int from 1")
        columns = not isinstance(self.verbose, str) and isinstance(self.verbose, bool | Sequence)
        self._allow("verbose", columns, "True, False, a list of column names")
        capture_logs = self.capture_logs in (None, "db", "file", "db+file")
        self._allow("capture_logs", capture_logs, "None, 'db', 'file', 'db+file'")
        on_error = self.on_error in ("record", "raise") or _is_from(1, self.on_error)
        self._allow("on_error", on_error, "'record', 'raise', an int from 1")
        self._allow("calc_dir", isinstance(self.calc_dir, str | os.PathLike), "a path")
        self._allow("retries", _is_from(0, self.retries), "an int from 0")
        timeout = self.timeout is None or _is_positive(self.timeout)
        self._allow("timeout", timeout, "None, a positive number of seconds")
        amounts = "None, a dict of names and positive numbers such as {'GPU': 1}"
        self._allow("resources", self._resources_ok(), amounts)
        folder = self.database_dir is None or isinstance(self.database_dir, str | os.PathLike)
        self._allow("database_dir", folder, "None, a path")
        basename = self.database_basename
        plain = isinstance(basename, str) and basename == os.path.basename(basename) != ""  # noqa: PTH119  (text)
        self._allow("database_basename", plain, "a file name without a folder")
        if self.git and not self.save:
            raise OptionError("git=True commits what a run saves, so it needs save=True")

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """Pick the options out of the arguments of a function."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in arguments.items() if name in names})

    @property
    def failure_limit(self) -> int | None:
        """Number of failures after which the run gives up; None means never."""
        if isinstance(self.on_error, int):
            return self.on_error
        return 1 if self.on_error == "raise" else None

    @property
    def needs_folder(self) -> bool:
        """Whether anything is written below `calc_dir`."""
        return self.save or self.tmpsave or "file" in (self.capture_logs or "")

    def _convert_numbers(self) -> None:
        """Put numbers of Python in the place of equal ones of other kinds, such as of NumPy."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "resources" and isinstance(value, Mapping):
                plain: Any = {key: _plain(amount) for key, amount in value.items()}
            else:
                plain = _plain(value)
            if field.name == "verbose":
                plain = _verbose(plain)
            object.__setattr__(self, field.name, plain)

    def _resources_ok(self) -> bool:
        value: Any = self.resources
        return value is None or (
            isinstance(value, Mapping)
            and all(isinstance(key, str) and _is_positive(amount) for key, amount in value.items())
        )

    def _allow(self, name: str, allowed: bool, choices: str) -> None:
        if not allowed:
            value = getattr(self, name)
            shown = type(value).__name__ if name == "df" else short_repr(value)
            raise OptionError(f"{name}={shown}; allowed are {choices}")


def _plain(value: Any) -> Any:
    number = to_int(value)
    return to_python(value) if number is None else number


def _verbose(value: Any) -> Any:
    if isinstance(value, int):
        return bool(value) if value in (0, 1) else value
    is_list = isinstance(value, Iterable) and not isinstance(value, str | Mapping)
    return list(value) if is_list else value


def _is_from(least: int, value: Any) -> bool:
    number = to_int(value)
    return number is not None and number >= least


def _is_positive(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value < math.inf


# For type checkers and editors: the options that a function takes as keywords. A test compares
# them with the fields of `Options`.


class ResumeOptions(TypedDict, total=False):
    """The options of `resume`."""

    cluster: str | Client | Cluster | None
    verbose: bool | Sequence[str]
    database_dir: str | os.PathLike[str] | None
    database_basename: str
    on_error: str | int
    timeout: float | None
    resources: Mapping[str, float] | None
    progress: bool | None


class RetryOptions(ResumeOptions, total=False):
    """The options of `retry`."""

    tmpsave: bool
    backup: bool
    git: bool
    capture_logs: str | None
    retries: int


class RunOptions(RetryOptions, total=False):
    """The options of `run` and `submit`."""

    df: pd.DataFrame | None
    save: bool
    calc_dir: str | os.PathLike[str]
    simulate: bool
    skip_dups: bool | Literal["same func"]


class RunLocalOptions(TypedDict, total=False):
    """The options of `run_local` that psweep does not have: they have no position."""

    git: bool
    skip_dups: bool | Literal["same func"]
    capture_logs: str | None
    on_error: str | int
    retries: int
    timeout: float | None
    resources: Mapping[str, float] | None
    progress: bool | None


F = TypeVar("F", bound=Callable[..., Any])


def takes_options(keywords: type | None = None) -> Callable[[F], F]:
    """Complete the signature and the docstring of a function that takes options of a run.

    Its signature shows the options that `keywords` has in the place of ``**options``. Each
    parameter that its docstring does not describe gets the text that `Options` has for it.
    """
    names: Iterable[str] = getattr(keywords, "__optional_keys__", ())

    def complete(function: F) -> F:
        shown: Any = function
        own = inspect.signature(function)
        parameters = list(own.parameters.values())
        if keywords:
            del parameters[-1]  # **options
        for field in fields(Options):
            if field.name in names:
                option = Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default)
                parameters.append(option.replace(annotation=field.type))
        shown.__signature__ = own.replace(parameters=parameters)
        if function.__doc__ and Options.__doc__:  # python -OO leaves none
            head, title, rest = inspect.cleandoc(function.__doc__).partition(_TITLE)
            section, blank_line, tail = rest.partition("\n\n")
            texts = _texts(Options.__doc__) | _texts(title + section)
            texts_shown = "\n".join(texts[parameter.name] for parameter in parameters)
            shown.__doc__ = f"{head}{title}{texts_shown}{blank_line}{tail}"
        return function

    return complete


_OF_PSWEEP = {
    "poolsize": "only ps.run_local has it, as in ps.run_local(func, params, poolsize=2); ps.run "
    "uses all cores, or what cluster= names",
    "dask_client": "pass the client as cluster=, to ps.run",
    "fill_value": "missing values are always NaN; leave it out",
    "write_pset": "with func=, each folder has a pset.pk; leave it out",
    "cols": "choose columns before: ps.df_print(df[cols])",
    "skip_cols": "leave out columns before: ps.df_print(df.drop(columns=skip_cols))",
    "prefix_cols": "all columns are printed; choose some before: ps.df_print(df[cols])",
    "special_cols": "all columns are printed; choose some before: ps.df_print(df[cols])",
}
"""Arguments of psweep that some functions here do not have, and what to write instead."""


def check_names(function: Callable[..., Any], names: Iterable[str]) -> None:
    """Raise Python's TypeError if a function has no parameter of a name, and say what to write."""
    known = inspect.signature(function).parameters
    for name in names:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            remedy = "".join(f"did you mean {other!r}?" for other in nearest)
            remedy = _OF_PSWEEP.get(name, remedy)
            raise TypeError(
                f"{function.__name__}() got an unexpected keyword argument {name!r}"
                + (remedy and f"; {remedy}")
            )


def takes_old_names(**names: str) -> Callable[[F], F]:
    """Let a function take arguments by the names that they have in psweep, too.

    For a name that it does not know, the error is that of `check_names`.

    Examples
    --------
    >>> @takes_old_names(fn="path")
    ... def read(path):
    ...     return path
    >>> read(fn="database.pk")
    'database.pk'
    """

    def complete(function: F) -> F:
        parameters = inspect.signature(function).parameters
        positions = list(parameters)
        takes_all = any(
            parameter.kind == Parameter.VAR_KEYWORD for parameter in parameters.values()
        )

        @functools.wraps(function)
        def renamed(*args: Any, **options: Any) -> Any:
            for old, new in names.items():
                if old in options:
                    if new in options or positions.index(new) < len(args):
                        raise TypeError(f"{function.__name__}() got both {new!r} and {old!r}")
                    options[new] = options.pop(old)
            if not takes_all:
                check_names(function, options)
            return function(*args, **options)

        return cast("F", renamed)

    return complete


_TITLE = "Parameters\n----------\n"


def _texts(doc: str) -> dict[str, str]:
    """Return the entries of the section Parameters by the name of the parameter."""
    section = inspect.cleandoc(doc).partition(_TITLE)[2].partition("\n\n")[0]
    entries = re.split(r"\n(?! )", section)
    return {entry.partition(" :")[0].partition("\n")[0]: entry for entry in entries}
