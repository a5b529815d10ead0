"""Template files: read from a folder, and filled with the values of a pset."""

from __future__ import annotations

import os
import re
import shlex
import stat
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from psweep_dask.errors import PsweepError

if TYPE_CHECKING:
    import jinja2

TEMPLATE_MODES = ("dollar", "jinja")
"""What `template_mode` may be."""

Fill = Callable[[Mapping[str, Any]], bytes]


class TemplateError(PsweepError):
    """A template that cannot be filled: the message names file, line and placeholder."""


@dataclass(frozen=True)
class FileTemplate:
    """The template of a file in the folder of each pset.

    Parameters
    ----------
    path : Path
        The file that holds the template.
    target : str
        The path of the filled file, seen from the folder of the pset.
    mode : int
        Permissions of the filled file.
    fill : callable
        Takes the values of a pset and returns the content of the filled file; raises TemplateError
        if a placeholder has no value.
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
    """Read all files in a folder and its subfolders as templates.

    Parameters
    ----------
    folder : Path
    template_mode : {'dollar', 'jinja'}

    Raises
    ------
    TemplateError
        If there is no such folder, or one of the templates has a mistake.

    Examples
    --------
    >>> Path("templates/calc").mkdir(parents=True)
    >>> Path("templates/calc/input.txt").write_text("a is $a, which costs $$5")
    24
    >>> (template,) = read_templates(Path("templates/calc"), "dollar")
    >>> template.target, template.fill({"a": 3})
    ('input.txt', b'a is 3, which costs $5')
    """
    if not folder.is_dir():
        raise TemplateError(
            f"there is no folder {str(folder)!r}, seen from {str(Path.cwd())!r}; create it with "
            "the files that each job shall find in its folder"
        )
    return [
        read_template(path, path.relative_to(folder).as_posix(), template_mode, folder)
        for path in sorted(_file_paths(folder))
    ]


def read_template(
    path: Path, target: str, template_mode: str, folder: Path | None = None
) -> FileTemplate:
    """Read one template.

    Parameters
    ----------
    path : Path
    target : str
        The path of the filled file, seen from the folder of the pset.
    template_mode : {'dollar', 'jinja'}
    folder : Path, optional
        The folder from which jinja includes other templates; by default that of `path`.

    Raises
    ------
    TemplateError
        If it has a mistake.
    """
    try:
        data = path.read_bytes()
    except OSError as err:  # a link to nothing, as some editors make them
        raise TemplateError(f"cannot read {str(path)!r}: {err.strerror}; remove it") from err
    mode = stat.S_IMODE(path.stat().st_mode)
    text = _decode(data)
    if text is None:
        return FileTemplate(path, target, mode, lambda _: data, None)
    if template_mode == "jinja":
        return FileTemplate(path, target, mode, _jinja(path, text, folder or path.parent), text)
    return FileTemplate(path, target, mode, _dollar(path, text), text)


def find_clash(templates: Iterable[FileTemplate], names: Iterable[str]) -> FileTemplate | None:
    """Return a template whose file or folder would have one of these names; None if none has.

    Parameters
    ----------
    templates : iterable of FileTemplate
    names : iterable of str
        Names of files in the folder of a pset.
    """
    reserved = set(names)
    clashes = (
        template for template in templates if PurePosixPath(template.target).parts[0] in reserved
    )
    return next(clashes, None)


def jinja_environment(folder: Path) -> jinja2.Environment:
    """Return the environment of jinja for a folder, with the filters ``quote`` and ``repr``."""
    import jinja2  # takes 50 ms, and few commands need it

    environment = jinja2.Environment(  # noqa: S701  (what is filled are programs, not web pages)
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader(folder),
        keep_trailing_newline=True,
    )
    environment.filters |= {"quote": lambda value: shlex.quote(str(value)), "repr": repr}
    return environment


def _file_paths(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in folders:
            if Path(here, name).is_symlink():
                raise TemplateError(
                    f"{os.path.join(here, name)!r} is a link to a folder; put the folder there, or "  # noqa: PTH118  (for people)
                    "have the job find it by its path"
                )
        yield from (Path(here, name) for name in names)


def _decode(data: bytes) -> str | None:
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


class _Dollar(string.Template):
    """As in the standard library, but the names of parameters may have letters of all languages."""

    idpattern = r"(?u:[^\W\d]\w*)"


_JINJA_NAME = re.compile(r"\{\{\s*(\w+)\s*(?:\|[^}]*)?\}\}")


def _dollar(path: Path, text: str) -> Fill:
    template = _Dollar(text)
    positions: dict[str, int] = {}  # of the first placeholder with this name
    for match in template.pattern.finditer(text):
        if match.group("invalid") is not None:
            shown = text[match.start() : match.start() + 12].splitlines()[0]
            raise TemplateError(
                f"{_place(path, text, match.start())}: {shown!r} is no placeholder; those are "
                "$name and ${name}, and $$ is a dollar"
            )
        name = match.group("named") or match.group("braced")
        if name is not None:
            positions.setdefault(name, match.start())

    jinja_names = {match.group(1): match.start() for match in _JINJA_NAME.finditer(text)}

    def fill(values: Mapping[str, Any]) -> bytes:
        for name, position in jinja_names.items():
            if name in values and not positions:  # with both, the file itself has such braces
                raise TemplateError(
                    f"{_place(path, text, position)}: {{{{ {name} }}}} is a placeholder of jinja, "
                    f'which would stay as it is; pass template_mode="jinja", or write ${name}'
                )
        for name, position in positions.items():
            if name not in values:
                raise TemplateError(
                    f"{_place(path, text, position)}: the placeholder ${name} has no value; "
                    f"{_known_names(values)}; and $${name} is a dollar followed by {name}"
                )
        try:
            return template.substitute(values).encode()
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
            return template.render(values).encode()
        except jinja2.UndefinedError as err:
            raise TemplateError(
                f"{path}, line {_jinja_line(err)}: {err.message}; {_known_names(values)}"
            ) from err
        except Exception as err:  # an expression in a template may raise anything
            raise TemplateError(f"{path}, line {_jinja_line(err)}: {err!r}") from err

    return fill


def _jinja_line(err: Exception) -> int | str:
    """Return the line of a jinja template in which an exception was raised."""
    trace, line = err.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line or "unknown"


def _place(path: Path, text: str, position: int) -> str:
    return f"{path}, line {text.count(chr(10), 0, position) + 1}"


def _known_names(values: Mapping[str, Any]) -> str:
    params = [name for name in values if not name.startswith("_")]
    return f"this pset has {', '.join(params) or 'no parameter'}, and each has _pset_id and others"
