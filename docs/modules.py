"""Rewrite the list of modules in architecture.md from the first lines of their docstrings.

Run it with: python docs/modules.py
"""

from __future__ import annotations

import ast
import re
from itertools import groupby
from pathlib import Path

import psweep_dask

PAGE = Path(__file__).with_name("architecture.md")
PACKAGE = Path(psweep_dask.__file__).parent
SECTION = re.compile(r"^## Modules\n.*?(?=^## |\Z)", re.M | re.S)
"""From its heading to the next one of the same level, or to the end of the page."""


def first_line(path: Path) -> str:
    """Return the first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


def section() -> str:
    """Return the section as it should be: a table for each folder, the root folder first."""
    lines = ["## Modules", "", "`python docs/modules.py` writes this list.", ""]
    paths = sorted(PACKAGE.rglob("*.py"), key=lambda path: (path.parent, path.stem))
    for folder, modules in groupby(paths, key=lambda path: path.parent):
        heading = f"{PACKAGE.name}/{folder.relative_to(PACKAGE)}".removesuffix("/.")
        lines += [f"### `{heading}`", "", first_line(folder / "__init__.py"), ""]
        lines += ["| module | is about |", "| --- | --- |"]
        for path in modules:
            if path.stem != "__init__":
                name = path.relative_to(PACKAGE).with_suffix("").as_posix()
                lines.append(f"| `{name}` | {first_line(path)} |")
        lines.append("")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Replace the section in the page."""
    text = SECTION.sub(lambda _: section(), PAGE.read_text())
    PAGE.write_text(text.rstrip("\n") + "\n")


if __name__ == "__main__":
    main()
