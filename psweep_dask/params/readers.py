"""Reading psets from CSV, JSON and YAML files and from DataFrames."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from psweep_dask._convert import is_gap, to_python
from psweep_dask._yaml import read_yaml
from psweep_dask.params.grid import ParamsError
from psweep_dask.params.pset import Pset, check_params


def read_params(source: str | os.PathLike[str] | pd.DataFrame) -> list[Pset]:
    r"""Read psets from a table: a CSV, JSON or YAML file, or a DataFrame.

    Parameters
    ----------
    source : str, PathLike or DataFrame
        JSON and YAML hold a list of mappings. In CSV, the first line has the names; a cell is a
        number, ``true`` or ``false``, a list or mapping in JSON, or else text. YAML is read as its
        version 1.2 says: ``12:30`` and ``no`` are text, ``1e-3`` is a number.

    Returns
    -------
    list of dict
        One pset for each row. An empty cell of a CSV file, and a gap (None, NaN) of a DataFrame,
        makes no key. A number of a file is an int if it has no decimal point and no exponent.

    Raises
    ------
    ParamsError
        If the file has another suffix, cannot be read, or does not hold a table.
    PsetError
        If a key is reserved or no str, or a value has no reproducible hash.
    FileNotFoundError
        If there is no such file.

    See Also
    --------
    to_params : Returns the exact psets of the database of a study.

    Examples
    --------
    >>> _ = Path("params.csv").write_text("a,b\n1,x\n2.5,\n")
    >>> read_params("params.csv")
    [{'a': 1, 'b': 'x'}, {'a': 2.5}]
    """
    if isinstance(source, pd.DataFrame):
        _check_is_no_database(source.columns, "this is", "")
        names = [str(name) for name in source.columns]
        rows = zip(*(column for _, column in source.items()), strict=True)
        cells = (zip(names, row, strict=True) for row in rows)
        psets = [{name: to_python(cell) for name, cell in row if not is_gap(cell)} for row in cells]
        return check_params(psets)[0]
    if not isinstance(source, str | os.PathLike):
        raise ParamsError(f"source must be a path or a DataFrame, not {type(source).__name__}")
    path = Path(source)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            params = _read(path, stream)
    except ValueError as err:
        raise ParamsError(f"{str(path)!r} cannot be read: {err}") from err
    if not isinstance(params, list) or not all(isinstance(pset, dict) for pset in params):
        raise ParamsError(
            f"{str(path)!r} must hold a list of mappings, one for each pset, such as "
            '[{"a": 1}, {"a": 2}]'
        )
    for pset in params:
        _check_is_no_database(pset, f"{str(path)!r} is an export of", "(ps.load(...))")
    return check_params(params)[0]


def _check_is_no_database(names: Iterable[Any], what: str, argument: str) -> None:
    if {"_run_id", "_pset_id"} <= set(names):
        raise ParamsError(
            f"{what} the database of a study: ps.to_params{argument} returns its psets, with the "
            "types that they had; or keep only the columns of parameters"
        )


def _read(path: Path, stream: Any) -> Any:
    if path.suffix == ".csv":
        return list(_csv_rows(stream))
    if path.suffix == ".json":
        return json.load(stream, object_pairs_hook=_dict_of)
    if path.suffix in (".yaml", ".yml"):
        return read_yaml(stream.read())
    raise ParamsError(
        f"{str(path)!r} ends in {path.suffix!r}; params are read from .csv, .json, .yaml, .yml"
    )


def _dict_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key, value in pairs:
        if key in mapping:
            raise ValueError(f"the key {key!r} is written twice in one mapping")
        mapping[key] = value
    return mapping


def _csv_rows(stream: Any) -> Iterator[Pset]:
    reader = csv.DictReader(stream, skipinitialspace=True)
    names = reader.fieldnames or []
    if len(names) == 1 and any(separator in names[0] for separator in ";\t"):
        raise ValueError("its columns must be separated by commas, not by semicolons or tabs")
    if len(set(names)) < len(names) or not all(names):
        raise ValueError(f"each column needs a name of its own, not {', '.join(map(repr, names))}")
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
