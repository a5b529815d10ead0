"""Psets from files and tables that others have made."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from psweep_dask._convert import is_nan, of_python
from psweep_dask._yaml import read_yaml
from psweep_dask.params.grid import ParamsError
from psweep_dask.params.pset import Pset, check_params

SUFFIXES = (".csv", ".json", ".yaml", ".yml")


def read_params(source: str | os.PathLike[str] | pd.DataFrame) -> list[Pset]:
    r"""Read psets from a table: a CSV, JSON or YAML file, or a DataFrame.

    Parameters
    ----------
    source : str, PathLike or DataFrame
        JSON and YAML hold a list of mappings. In CSV, the first line has the names, and cells are
        numbers, ``true`` and ``false``, JSON lists and mappings, or else text.

    Returns
    -------
    list of dict
        Empty cells of a CSV file, and gaps (None, NaN) of a DataFrame, are no keys. Numbers that
        are written without a point are int.

    Raises
    ------
    ParamsError
        If the file is not of these kinds, or cannot be read as what it says.
    PsetError
        If the psets cannot be run.
    FileNotFoundError
        If there is no such file.

    Notes
    -----
    For the database of a study, `to_params` is the better choice: it gives psets back exactly.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "params.csv")
    ...     _ = path.write_text("a,b\n1,x\n2.5,\n")
    ...     read_params(path)
    [{'a': 1, 'b': 'x'}, {'a': 2.5}]
    """
    if isinstance(source, pd.DataFrame):
        if "_run_id" in source.columns:
            raise ParamsError("this is the database of a study: ps.to_params gives its psets back")
        return check_params(list(_rows(source)))[0]
    if not isinstance(source, str | os.PathLike):
        raise ParamsError(f"source must be a path or a DataFrame, not {type(source).__name__}")
    path = Path(source)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = _read(path, stream)
    except ValueError as err:
        raise ParamsError(f"{os.fspath(path)!r} cannot be read: {err}") from err
    if not isinstance(rows, list) or not all(isinstance(one, dict) for one in rows):
        raise ParamsError(
            f"{os.fspath(path)!r} must hold a list of mappings, one for each pset, such as "
            '[{"a": 1}, {"a": 2}]'
        )
    return check_params(rows)[0]


def _read(path: Path, stream: Any) -> Any:
    if path.suffix == ".csv":
        return list(_csv_rows(stream))
    if path.suffix == ".json":
        return json.load(stream, object_pairs_hook=_once)
    if path.suffix in (".yaml", ".yml"):
        return read_yaml(stream.read())
    raise ParamsError(
        f"{os.fspath(path)!r} ends in {path.suffix!r}; params are read from {', '.join(SUFFIXES)}"
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = next(
            name for name, count in Counter(name for name, _ in pairs).items() if count > 1
        )
        raise ValueError(f"the key {twice!r} is written twice in one mapping")
    return made


def _csv_rows(stream: Any) -> Iterator[Pset]:
    reader = csv.DictReader(stream, skipinitialspace=True)
    names = reader.fieldnames or []
    if len(names) <= 1 and any(mark in (names or [""])[0] for mark in ";\t"):
        raise ValueError("its columns must be separated by commas, not by semicolons or tabs")
    if len(set(names)) < len(names) or not all(names):
        raise ValueError(f"the columns need names of their own, not {', '.join(map(repr, names))}")
    for row in reader:
        if None in row:
            raise ValueError(f"line {reader.line_num} has more cells than there are names")
        yield {name: _cell(text) for name, text in row.items() if text not in ("", None)}


def _cell(text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    try:
        return json.loads(text)
    except ValueError:
        return text


def _rows(df: pd.DataFrame) -> Iterator[Pset]:
    cells = [df.iloc[:, at].tolist() for at in range(df.shape[1])]  # Python's own types
    names = [str(name) for name in df.columns]
    for row in zip(*cells, strict=True):
        yield {name: of_python(one) for name, one in zip(names, row, strict=True) if not _gap(one)}


def _gap(value: Any) -> bool:
    return value is None or value is pd.NaT or value is pd.NA or is_nan(value)
