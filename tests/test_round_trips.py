"""What goes in comes out: through the journal, the database, and files for others."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import enum
import json
import math
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import psweep_dask as ps
from psweep_dask.analysis import export


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    label: str = "p"


ints = st.integers(-(2**62), 2**62)
floats = st.floats(allow_nan=True, allow_infinity=True)
text = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=6)
times = st.datetimes(dt.datetime(1800, 1, 1), dt.datetime(2200, 1, 1))
SCALARS = {
    "int": ints,
    "large int": st.integers(2**70, 2**80),
    "float": floats,
    "bool": st.booleans(),
    "str": text,
    "None": st.none(),
    "complex": st.complex_numbers(allow_nan=False),
    "datetime": times,
    "timedelta": st.timedeltas(dt.timedelta(-1000), dt.timedelta(1000)),
    "date": st.dates(),
    "int8": st.integers(-128, 127).map(np.int8),
    "float32": st.floats(width=32, allow_nan=False).map(np.float32),
    "str or None": st.none() | text,
    "enum": st.sampled_from(Colour),
    "path": text.map(lambda name: PurePosixPath("a", name.replace("/", ""))),
}
CONTAINERS = {
    "list": st.lists(ints | text, max_size=3),
    "dict": st.dictionaries(text, ints, max_size=3),
    "tuple": st.tuples(ints, text),
    "set": st.sets(ints, max_size=3),
    "dataclass": st.builds(Point, st.floats(allow_nan=False)),
    "float array": st.lists(floats, max_size=3)
    .map(np.array)
    .map(lambda array: array.astype(float)),
    "int array": st.lists(st.integers(0, 9), max_size=3).map(
        lambda numbers: np.array(numbers, np.int16)
    ),
}
KINDS = SCALARS | CONTAINERS


def same(was, now):
    """Equal, and of the same type, but for what pandas calls a time."""
    if isinstance(was, np.ndarray):
        return now.dtype == was.dtype and np.array_equal(was, now, equal_nan=was.dtype.kind == "f")
    if isinstance(was, float | np.floating) and math.isnan(was):
        return math.isnan(now)
    if isinstance(was, dt.datetime | dt.timedelta | np.generic):  # the column tells its type
        return was == now
    return was == now and type(was) is type(now)


def values(kind):
    return st.lists(KINDS[kind], min_size=1, max_size=5)


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_through_journal_and_database(kind, study_folder):
    @settings(max_examples=12, deadline=None)
    @given(values(kind))
    def check(given_values):
        run = len(list(Path().glob("calc*")))
        params = ps.plist("a", given_values)
        df = ps.run(
            lambda pset: {"y": pset["a"]},
            params,
            cluster="sync",
            calc_dir=f"calc{run}",
            progress=False,
        )
        loaded = ps.load(f"calc{run}")
        for column in (df.a, df.y, loaded.a, loaded.y):
            assert not isinstance(given_values[0], np.generic) or column.dtype == kind
            assert all(map(same, given_values, column)), (given_values, list(column))
        assert [ps.pset_sha1(pset) for pset in params] == loaded._pset_sha1.tolist()

    check()


@pytest.mark.parametrize(
    "kind",
    [
        "int",
        "float",
        "bool",
        "str",
        "datetime",
        "date",
        "int8",
        "float32",
        "str or None",
        "float array",
    ],
)
def test_round_trip_through_parquet(kind, tmp_path):
    @settings(max_examples=15, deadline=None)
    @given(values(kind))
    def check(given_values):
        ps.export(frame(given_values), tmp_path / "x.parquet")
        back = pd.read_parquet(tmp_path / "x.parquet")["a"].tolist()
        for was, now in zip(given_values, back, strict=True):
            assert pd.isna(now) if was is None else same(was, now), (was, now)

    check()


@pytest.mark.parametrize(
    "kind", ["int", "large int", "float", "bool", "str", "None", "list", "dict"]
)
def test_round_trip_through_json(kind, tmp_path):
    @settings(max_examples=15, deadline=None)
    @given(values(kind))
    def check(given_values):
        ps.export(frame(given_values), tmp_path / "x.json")
        back = [row["a"] for row in json.loads((tmp_path / "x.json").read_text())]
        for was, now in zip(given_values, back, strict=True):
            finite = not isinstance(was, float) or math.isfinite(was)
            assert same(was, now) if finite else now is None

    check()


@pytest.mark.parametrize("kind", ["int", "float", "bool"])
def test_round_trip_through_csv(kind, tmp_path):
    @settings(max_examples=15, deadline=None)
    @given(values(kind))
    def check(given_values):
        ps.export(frame(given_values), tmp_path / "x.csv")
        cells = [row["a"] for row in csv.DictReader((tmp_path / "x.csv").read_text().splitlines())]
        read = {"int": int, "float": lambda cell: float(cell or "nan"), "bool": "True".__eq__}[kind]
        assert all(same(was, read(cell)) for was, cell in zip(given_values, cells, strict=True))

    check()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", export._FORMATS)
def test_round_trip_no_value_of_the_database_stops_an_export(kind, suffix, tmp_path):
    @settings(max_examples=5, deadline=None)
    @given(values(kind))
    def check(given_values):
        path = tmp_path / f"x{suffix}"
        df = frame(given_values)
        ps.export(df, path)
        names, rows = READ[suffix](path)
        assert rows == len(df)
        for column in df.columns:  # complex numbers take two, whose names begin so
            assert any(name.startswith(column) for name in names)

    check()


def read_csv(path):
    with path.open(newline="") as stream:
        rows = list(csv.reader(stream))
    return rows[0], len(rows) - 1


def read_json(path):
    rows = json.loads(path.read_text())
    return list(rows[0]) if rows else [], len(rows)


def read_parquet(path):
    table = pq.read_table(path)
    return table.column_names, table.num_rows


def read_netcdf(path):
    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        return list(map(str, dataset.variables)), next(iter(dataset.sizes.values()))


READ = {".csv": read_csv, ".json": read_json, ".parquet": read_parquet, ".nc": read_netcdf}
"""Names of columns and number of rows in a file; an export format needs an entry."""


def frame(given_values):
    params = ps.plist("a", given_values)
    return ps.run(lambda pset: {}, params, cluster="sync", save=False, progress=False)
