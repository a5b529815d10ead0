"""Template files: read from a folder, and filled with the values of a pset."""

from __future__ import annotations

import json
import re
import shlex
import stat
import string
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from psweep_dask._convert import to_json_value
from psweep_dask.errors import PsweepError

if TYPE_CHECKING:
    import jinja2

Fill = Callable[[Mapping[str, Any]], bytes]


class TemplateError(PsweepError):
    """A template that cannot be filled: the message names file, line and placeholder."""


@dataclass(frozen=True)
class FileTemplate:
    """The template of a file in the folder of each pset.

    Parameters
    ----------
    target : str
        The path of the filled file, seen from the folder of the pset.
    mode : int
        Permissions of the filled file.
    fill : callable
        Takes the values of a pset and returns the content of the filled file.
    text : str or None
        The template itself; None if it is not text, and so is copied as it is.
    """

    path: Path
    target: str
    mode: int
    fill: Fill
    text: str | None

    def write(self, folder: Path, values: Mapping[str, Any]) -> None:
        """Write the filled file to the folder of a pset."""
        path = folder / self.target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # an old one may be read-only
        path.write_bytes(self.fill(values))
        path.chmod(self.mode)


def read_templates(folder: Path, template_mode: str) -> list[FileTemplate]:
    """Read all files in a folder and its subfolders as templates."""
    if not folder.is_dir():
        raise TemplateError(
            f"there is no folder {str(folder)!r}, seen from {str(Path.cwd())!r}; create it with "
            "the files that each job shall find in its folder"
        )
    templates = []
    for path in sorted(folder.rglob("*")):
        target = path.relative_to(folder)
        if path.is_symlink() and path.is_dir():
            raise TemplateError(
                f"{str(path)!r} is a link to a folder; put the folder there, or have the job find "
                "it by its path"
            )
        if not path.is_dir() and "__pycache__" not in target.parts:
            templates.append(read_template(path, target.as_posix(), template_mode, folder))
    return templates


def read_template(
    path: Path, target: str, template_mode: str, folder: Path | None = None
) -> FileTemplate:
    """Read one template. Jinja includes others from `folder`, by default that of `path`."""
    try:
        data = path.read_bytes()
    except OSError as err:  # a link to nothing, as some editors make them
        raise TemplateError(f"cannot read {str(path)!r}: {err.strerror}; remove it") from err
    mode = stat.S_IMODE(path.stat().st_mode)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        return FileTemplate(path, target, mode, lambda _: data, None)
    if template_mode == "jinja":
        return FileTemplate(path, target, mode, _jinja(path, text, folder or path.parent), text)
    return FileTemplate(path, target, mode, _dollar(path, text), text)


def jinja_environment(folder: Path) -> jinja2.Environment:
    """Return the environment of jinja for a folder, with the filters ``quote`` and ``repr``.

    What an expression gives is written by `to_plain`. Inside of expressions, arrays are arrays.
    """
    import jinja2  # takes 50 ms, and few commands need it

    environment = jinja2.Environment(  # noqa: S701  (what is filled are programs, not web pages)
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader(folder),
        keep_trailing_newline=True,
        finalize=to_plain,
    )
    environment.filters |= {
        "quote": lambda value: shlex.quote(str(to_plain(value))),
        "repr": lambda value: repr(to_plain(value)),
    }
    environment.policies["json.dumps_function"] = _json_of
    return environment


def to_plain(value: Any) -> Any:
    """Return a value as Python's own numbers and lists, whose text is whole and has all digits.

    Arrays become lists, numbers of NumPy those of Python, masked values None; so do those inside of
    lists, tuples, dicts and sets.

    Examples
    --------
    >>> print(to_plain(np.array([0.1, 1 / 3])), to_plain({"a": (np.float32(0.5), np.int64(2))}))
    [0.1, 0.3333333333333333] {'a': (0.5, 2)}
    """
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "mM":  # tolist makes ints of some dates
            return [to_plain(element) for element in value] if value.ndim else str(value)
        value = value.tolist()
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(map(to_plain, value))
    if type(value) is dict:
        return {to_plain(key): to_plain(element) for key, element in value.items()}
    if isinstance(value, np.datetime64 | np.timedelta64):
        return str(value)
    if isinstance(value, np.longdouble | np.clongdouble):
        return _Digits(value)  # no number of Python has as many
    if isinstance(value, pd.Series | pd.Index):
        return to_plain(value.tolist())
    return value.item() if isinstance(value, np.generic) else value


# For arrays and numbers inside of other objects, such as dataclasses, which have their own texts.
_WHOLE: dict[str, Any] = {
    "threshold": sys.maxsize,
    "linewidth": sys.maxsize,
    "floatmode": "unique",
} | ({"legacy": "1.25"} if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else {})


class _Digits(str):
    """A number as text, which is written without quotes inside of lists, too."""

    __slots__ = ()
    __repr__ = str.__str__


def _json_of(value: Any, **options: Any) -> str:
    """Return JSON for the filter ``tojson``, also of values that only `to_json_value` knows."""
    return json.dumps(to_plain(value), default=to_json_value, **options)


class _PlainValues(dict[str, Any]):
    """Values of a pset, of which only those that a template has are written by `to_plain`."""

    def __getitem__(self, name: str) -> Any:
        return to_plain(super().__getitem__(name))


class _Dollar(string.Template):
    """As in the standard library, but the names of parameters may have letters of all languages."""

    idpattern = r"(?u:[^\W\d]\w*)"


_JINJA_NAME = re.compile(r"\{\{\s*(\w+)\s*(?:\|[^}]*)?\}\}")


def _dollar(path: Path, text: str) -> Fill:
    template = _Dollar(text)
    places: dict[str, str] = {}  # of the first placeholder with this name
    for match in template.pattern.finditer(text):
        place = _place(path, match)
        if match["invalid"] is not None:
            shown = text[match.start() : match.start() + 12].splitlines()[0]
            raise TemplateError(
                f"{place}: {shown!r} is no placeholder; those are $name and ${{name}}, and $$ is a "
                "dollar"
            )
        if name := match["named"] or match["braced"]:
            places.setdefault(name, place)
    # In a file with placeholders of both kinds, such braces belong to the file itself.
    jinja_names = [] if places else list(_JINJA_NAME.finditer(text))

    def fill(values: Mapping[str, Any]) -> bytes:
        for match in jinja_names:
            if match[1] in values:
                raise TemplateError(
                    f"{_place(path, match)}: {{{{ {match[1]} }}}} is a placeholder of jinja, which "
                    f'would stay as it is; pass template_mode="jinja", or write ${match[1]}'
                )
        for name, place in places.items():
            if name not in values:
                raise TemplateError(
                    f"{place}: the placeholder ${name} has no value; {_known_names(values)}; and "
                    f"$${name} is a dollar followed by {name}"
                )
        try:
            with np.printoptions(**_WHOLE):
                return template.substitute(_PlainValues(values)).encode()
        except Exception as err:  # __str__ of a value may raise anything
            raise TemplateError(f"{path}: a value cannot be written as text: {err!r}") from err

    return fill


def _jinja(path: Path, text: str, folder: Path) -> Fill:
    import jinja2

    try:
        template = jinja_environment(folder).from_string(text)
    except jinja2.TemplateSyntaxError as err:
        raise TemplateError(f"{path}, line {err.lineno}: {err.message}") from err

    def fill(values: Mapping[str, Any]) -> bytes:
        try:
            with np.printoptions(**_WHOLE):
                return template.render(values).encode()
        except Exception as err:  # an expression in a template may raise anything
            message = repr(err)
            if isinstance(err, jinja2.UndefinedError):
                message = f"{err.message}; {_known_names(values)}"
            trace = traceback.extract_tb(err.__traceback__)
            lines = [frame.lineno for frame in trace if frame.filename == "<template>"]
            line = lines[-1] if lines else "unknown"
            raise TemplateError(f"{path}, line {line}: {message}") from err

    return fill


def _place(path: Path, match: re.Match[str]) -> str:
    return f"{path}, line {match.string.count(chr(10), 0, match.start()) + 1}"


def _known_names(values: Mapping[str, Any]) -> str:
    params = [name for name in values if not name.startswith("_")]
    return f"this pset has {', '.join(params) or 'no parameter'}, and each has _pset_id and others"
