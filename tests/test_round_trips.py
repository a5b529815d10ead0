"""What goes in comes out: through the journal, the database, and files for others."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import json
import math
import numbers
import uuid
from collections.abc import Hashable
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import psweep_dask as ps
from psweep_dask._convert import is_gap, to_json_value
from psweep_dask.analysis import export, plot
from psweep_dask.offline import templates
from psweep_dask.params.pset import is_utf8


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


LARGE = 2**60 + 1  # as a float, it ends in 0
ZONED = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
TABLE = {
    "int": [1, -2],
    "int above 2**53": [LARGE, LARGE + 2],
    "int above 2**63": [2**63 + 1, 2**64 - 1],
    "int of both signs": [2**63 + 1, -1],
    "int without limits": [2**70 + 1, 10**400],
    "int8": [np.int8(1), np.int8(-2)],
    "int64": [np.int64(LARGE), np.int64(-LARGE)],
    "uint64": [np.uint64(2**63 + 1), np.uint64(1)],
    "ints of several types": [np.int8(1), np.uint64(LARGE)],
    "int and float": [LARGE, 0.5],
    "int and NaN": [LARGE, math.nan],
    "bool": [True, False],
    "numpy bool": [np.bool_(True), np.bool_(False)],
    "bool and int": [True, 2],
    "NA": [pd.NA, LARGE],
    "None": [None, LARGE],
    "None and small int": [None, 1],
    "NaN": [math.nan, 1.5],
    "NaN of float32": [np.float32("nan"), np.float32(1.5)],
    "masked": [np.ma.masked, 1.5],
    "masked and int": [np.ma.masked, LARGE],
    "masked ints": [np.ma.array([1, LARGE], mask=[True, False]), np.ma.array([1, 2])],
    "masked floats": [np.ma.array([1.0, 2], mask=[True, False]), np.array([0.5, 1])],
    "float": [0.1, 1e300],
    "inf": [math.inf, -math.inf],
    "float16": [np.float16(0.1), np.float16(2)],
    "float32": [np.float32(0.1), np.float32(2)],
    "longdouble": [np.longdouble("0.1"), np.longdouble(2)],
    "complex": [1j, 2 + 0.5j],
    "complex64": [np.complex64(1j), np.complex64(2)],
    "complex and int": [1j, LARGE],
    "str": ["a", "b"],
    "str and None": ["a", None],
    "no UTF-8": ["\udc80", "b"],
    "bytes": [b"a", b"\xff"],
    "path": [PurePosixPath("a/b"), PurePosixPath("c")],
    "enum": [Colour.RED, Colour.BLUE],
    "Decimal": [decimal.Decimal("0.1"), decimal.Decimal(2)],
    "Fraction": [fractions.Fraction(1, 3), fractions.Fraction(2)],
    "UUID": [uuid.UUID(int=1), uuid.UUID(int=2)],
    "date": [dt.date(2026, 1, 2), dt.date(1, 1, 1)],
    "time": [dt.time(1, 2), dt.time(3)],
    "datetime": [dt.datetime(2026, 1, 2, 3), dt.datetime(2026, 1, 3)],
    "datetime far away": [dt.datetime(1, 1, 1), dt.datetime(9999, 1, 2)],
    "datetime in a zone": [ZONED, ZONED + dt.timedelta(1)],
    "datetimes in zones": [pd.Timestamp(ZONED), pd.Timestamp("2026-01-02", tz="Europe/Berlin")],
    "Timestamp": [pd.Timestamp("2026-01-02 00:00:00.000000001"), pd.Timestamp("2026-01-03")],
    "NaT": [pd.NaT, pd.Timestamp("2026-01-02")],
    "timedelta": [dt.timedelta(1), dt.timedelta(seconds=0.5)],
    "Timedelta": [pd.Timedelta("1s"), pd.Timedelta("1ns")],
    "datetime64": [np.datetime64("2026-01-02"), np.datetime64("2026-01-03T01", "ns")],
    "datetime64 far away": [np.datetime64("99999-01-01"), np.datetime64("2026-01-02")],
    "NaT of numpy": [np.datetime64("NaT"), np.datetime64("2026-01-02")],
    "timedelta64": [np.timedelta64(1, "s"), np.timedelta64(2, "s")],
    "Period": [pd.Period("2026-01"), pd.Period("2026-02")],
    "Interval": [pd.Interval(0, 1), pd.Interval(1, 2)],
    "list": [[1, 2], [3, 4]],
    "list with a large int": [[LARGE, 0.5], [1, 2]],
    "lists of several lengths": [[1], [1, 2]],
    "list of lists": [[1, [2]], []],
    "list with a masked value": [[np.ma.masked, 1.0], [1.0, 2.0]],
    "tuple": [(1, 2), (3, 4)],
    "dict": [{"a": {"b": [1, None]}}, {"c": np.float32(1)}],
    "set": [{1, 2}, {3}],
    "empty list": [[], []],
    "empty dict": [{}, {}],
    "empty set": [set(), set()],
    "empty array": [np.array([]), np.array([])],
    "array": [np.arange(3), np.arange(3) + LARGE],
    "arrays of several types": [np.array([LARGE]), np.array([0.5])],
    "long array": [np.arange(2000) / 3, np.arange(2000.0)],
    "array of two dimensions": [np.eye(2), np.ones((2, 2))],
    "array without dimensions": [np.array(1), np.array(2)],
    "array of objects": [np.array([1, "a"], dtype=object), np.array([None, 2], dtype=object)],
    "array of text": [np.array(["a"]), np.array(["b"])],
    "array of bool": [np.array([True]), np.array([False])],
    "array of dates": [np.array(["2026-01-02"], "M8[s]"), np.array(["2026-01-03"], "M8[s]")],
    "array of complex": [np.array([1j]), np.array([2j])],
    "array of float16": [np.ones(2, np.float16), np.zeros(2, np.float16)],
    "array of longdouble": [np.ones(2, np.longdouble), np.zeros(2, np.longdouble)],
    "array with fields": [np.array([(1, 2.5)], dtype=[("a", int), ("b", float)])] * 2,
    "mixed": [1, "a"],
}
"""Two values of each type that pandas, numpy and Python have."""

NO_PARAMETER = {"masked", "masked and int", "longdouble", "Period", "Interval"} | {
    "list with a masked value",
}
"""Types that have no reproducible hash, or may be missing: no value of a pset."""

COLUMNS = {
    "Int64": lambda: pd.array([LARGE, None], "Int64"),
    "small Int64": lambda: pd.array([1, None], "Int64"),
    "UInt64": lambda: pd.array([2**63 + 1, 2], "UInt64"),
    "boolean": lambda: pd.array([True, None], "boolean"),
    "string": lambda: pd.array(["a", None], "string"),
    "Float64": lambda: pd.array([0.5, None], "Float64"),
    "categories": lambda: pd.Categorical(["a", None]),
    "categories of ints": lambda: pd.Categorical([LARGE, 1]),
    "categories of ints with a gap": lambda: pd.Categorical.from_codes([0, -1], [LARGE]),
    "categories of dates": lambda: pd.Categorical(pd.to_datetime(["2026-01-02", None])),
    "periods": lambda: pd.array([pd.Period("2026-01"), None], "period[M]"),
    "intervals": lambda: pd.arrays.IntervalArray.from_tuples([(0, 1), (1, 2)]),
    "sparse": lambda: pd.arrays.SparseArray([0.0, 1.0]),
    "ints of pyarrow": lambda: pd.array([LARGE, None], "int64[pyarrow]"),
    "times in a zone": lambda: pd.to_datetime(["2026-01-02", None]).tz_localize("Europe/Berlin"),
}
"""Columns of types that only pandas has, which a user may have made."""

SITUATIONS = {
    "complete": [],
    "one lacks it": [{}],
    "a float joins": [{"y": 0.5}],
    "another fails": [None],
}
"""What rows beside those of the table return; None is a failure."""


def run_table(given_values, others=(), **options):
    """Run psets whose results have these values as `y`; and others behind them."""
    results = [{"y": value} for value in given_values] + list(others)

    def func(pset):
        if results[pset["i"]] is None:
            raise ValueError("as told")
        return results[pset["i"]]

    params = ps.plist("i", range(len(results)))
    return ps.run(func, params, cluster="sync", progress=False, **{"save": False} | options)


def unchanged(was, now):
    """Equal, and no digit lost; missing, if it was missing."""
    if is_gap(was):
        return bool(np.all(pd.isna(now)))
    if isinstance(was, np.ma.MaskedArray):
        return was.dtype == now.dtype and was.tolist() == now.tolist()
    if isinstance(was, np.ndarray):
        return was.dtype == now.dtype and np.array_equal(was, now)
    if isinstance(was, list) and was and is_gap(was[0]):
        return is_gap(now[0]) and was[1:] == now[1:]
    if isinstance(was, bool | np.bool_):
        return isinstance(now, bool | np.bool_) and was == now
    if isinstance(was, int | np.integer) and not isinstance(was, np.timedelta64):
        return int(was) == (now.real if isinstance(now, complex) else now)
    return bool(was == now)


@pytest.mark.parametrize("kind", TABLE)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_value_of_each_type_is_unchanged_whatever_is_beside_it(kind, situation, study_folder):
    given_values, others = TABLE[kind], SITUATIONS[situation]
    df = run_table(given_values, others, save=True)
    for table in (df, ps.load(), ps.df_read("calc/database.pk")):
        assert all(map(unchanged, given_values, table.y)), list(table.y)
        assert len(table) == 2 + len(others)
        if others:
            rest = 0.5 if situation == "a float joins" else math.nan
            assert unchanged(rest, table.y.iloc[2]), table.y.iloc[2]


@pytest.mark.parametrize("kind", TABLE)
def test_value_of_each_type_is_unchanged_by_later_runs_and_by_a_merge(kind, study_folder):
    given_values = TABLE[kind]
    for calc_dir, other_first in (("after", False), ("before", True)):
        for is_other in (other_first, not other_first):
            if is_other:
                options = {"save": True, "calc_dir": calc_dir}
                run_table([0.5], [{}], **options)
                run_table([True], [{"z": 1}], **options)
            else:
                run_table(given_values, save=True, calc_dir=calc_dir)
        df = ps.load(calc_dir)
        first = 4 if other_first else 0
        assert all(map(unchanged, given_values, df.y[first:])), list(df.y)
        others = df.y[~df.index.isin(df.index[first : first + 2])]
        assert all(map(unchanged, [0.5, math.nan, True, math.nan], others)), list(df.y)
    merged = ps.merge_studies("merged", "after", "before")
    assert all(map(unchanged, given_values, merged.y[:2])), list(merged.y)
    assert all(map(unchanged, given_values, merged.y[10:])), list(merged.y)


@pytest.mark.parametrize("kind", TABLE)
def test_parameter_of_each_type_comes_back_from_to_params_or_is_refused(kind, study_folder):
    params = [{"a": value} for value in TABLE[kind]]
    if kind in NO_PARAMETER:
        with pytest.raises(
            ps.PsweepError, match=r"params\[0\]: the value of key 'a'.* has no repr"
        ):
            ps.run(lambda pset: {}, params, cluster="sync", progress=False)
        return
    for more in ([{"b": 1}], [{"a": 0.5}], [{"a": True}]):
        df = ps.run(lambda pset: {}, params + more, cluster="sync", progress=False)
    assert [ps.pset_sha1(pset) for pset in ps.to_params(df)] == df._pset_sha1.tolist()
    back = [pset["a"] for pset in ps.to_params(df[:2])]
    assert all(map(unchanged, TABLE[kind], back)), back


def agrees(was, now):
    """Whether a cell of a file, None if it is missing, says what the value was."""
    if is_gap(was):
        return now is None
    if isinstance(was, dt.datetime | np.datetime64):
        texts = {str(was), to_json_value(was)}
        return now in texts or pd.Timestamp(now) == pd.Timestamp(was)
    if isinstance(was, dt.timedelta | np.timedelta64):
        seconds = pd.Timedelta(was).total_seconds()
        return now == seconds or pd.Timedelta(now) == pd.Timedelta(was)
    if isinstance(was, bool | np.bool_):
        return now in (str(bool(was)), str(bool(was)).lower(), bool(was))
    if isinstance(was, int | np.integer):
        return (float(now) if str(now).endswith(".0") else int(now)) == int(was)
    if isinstance(was, float | np.floating):
        return (type(was)(now) if isinstance(now, str) else now) == was
    if isinstance(was, complex | np.complexfloating):
        now = json.loads(now) if isinstance(now, str) and now[0] == "[" else now
        return (complex(*now) if isinstance(now, list) else complex(now)) == was
    expected = to_json_value(was)
    if to_json_value(now) == expected:
        return True
    return isinstance(now, str) and json.loads(now) == expected


def read_csv(path):
    with path.open(newline="", errors="surrogateescape") as stream:
        return [row["y"] or None for row in csv.DictReader(stream)]


def read_json(path):
    text = path.read_bytes().decode(errors="surrogateescape")
    return [row["y"] for row in json.loads(text)]


def read_parquet(path):
    return joined(pq.read_table(path).to_pydict())


def read_netcdf(path):
    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        arrays = {name: dataset[name].to_numpy() for name in dataset.data_vars}
    times = {name: list(array) for name, array in arrays.items() if array.dtype.kind in "mM"}
    cells = {name: array.tolist() for name, array in arrays.items()} | times
    return [None if cell == "" else cell for cell in joined(cells)]


def joined(columns):
    """Return the column ``y``, or that of complex numbers which two columns hold."""
    if "y" in columns:
        return [None if is_gap(cell) else cell for cell in columns["y"]]
    pairs = zip(columns["y_real"], columns["y_imag"], strict=True)
    return [None if is_gap(real) else [real, imag] for real, imag in pairs]


READ = {".csv": read_csv, ".json": read_json, ".parquet": read_parquet, ".nc": read_netcdf}
"""Return the cells of the column ``y`` in a file, None if missing. A new format needs a reader."""


@pytest.mark.parametrize("kind", TABLE)
def test_value_of_each_type_is_in_each_file_as_it_was(kind, tmp_path):
    for others in ([], [{}]):
        df = run_table(TABLE[kind], others)
        for suffix in export._FORMATS:
            path = tmp_path / f"x{suffix}"
            if kind == "no UTF-8" and suffix in (".parquet", ".nc"):
                with pytest.raises(ps.PsweepError, match="cannot hold the text"):
                    ps.export(df, path)
                continue
            ps.export(df, path)
            cells = READ[suffix](path)
            expected = [*TABLE[kind], *[None] * len(others)]
            if kind == "inf" and suffix == ".json":
                expected = [None] * len(expected)  # JSON has no infinity
            assert all(map(agrees, expected, cells)), (suffix, cells)


@pytest.mark.parametrize("kind", TABLE)
def test_value_of_each_type_is_in_the_json_of_pandas_or_a_clear_error(kind):
    df = run_table(TABLE[kind], [{}])[["y"]]
    try:
        cells = [row["y"] for row in json.loads(ps.df_to_json(df))]
    except ps.PsweepError:
        assert kind in ("no UTF-8", "list with a masked value", "array of longdouble")
        return
    for was, now in zip(TABLE[kind], cells, strict=False):
        if is_gap(was) or (isinstance(was, float) and math.isinf(was)):
            assert now is None
        elif isinstance(was, int | np.integer | np.ma.MaskedArray | str):
            assert agrees(was, now)
    assert is_gap(cells[2]) or cells[2]["real"] is None


@pytest.mark.parametrize("kind", COLUMNS)
def test_column_of_each_type_of_pandas_is_in_each_file_as_it_was(kind, tmp_path):
    column = pd.Series(COLUMNS[kind]())
    for suffix in export._FORMATS:
        path = tmp_path / f"x{suffix}"
        ps.export(pd.DataFrame({"y": column, "z": [1, 2]}), path)
        cells = READ[suffix](path)
        assert all(map(agrees, column.tolist(), cells)), (suffix, cells)


@pytest.mark.parametrize("kind", COLUMNS)
def test_column_of_each_type_of_pandas_is_unchanged_by_later_runs(kind, study_folder):
    df = run_table([1, 2], save=True)
    df["y"] = pd.Series(COLUMNS[kind](), index=df.index)
    was = df.y.tolist()
    ps.df_write(df, "calc/database.pk")
    run_table([0.5], [{}], save=True)
    df = run_table([True], save=True)
    expected = [*was, 0.5, math.nan, True]
    assert all(map(unchanged, expected, df.y)), df.y.tolist()


@pytest.mark.parametrize("kind", TABLE)
def test_value_of_each_type_is_in_xarray_as_it_was(kind, tmp_path):
    for others in ([], [{}], [None]):
        df = run_table(TABLE[kind], others)
        array = ps.to_xarray(df, ["i"]).y
        assert array.isnull().values[len(TABLE[kind]) :].all()
        for place, was in enumerate(TABLE[kind]):
            cell = array.values[place, ...]
            if is_gap(was):
                assert pd.isna(cell), cell
            elif cell.dtype != object and isinstance(was, list | np.ndarray):
                if cell.ndim:
                    was = [math.nan if is_gap(number) else number for number in list(was)]
                assert np.array_equal(was, cell, equal_nan=True)
            elif cell.ndim:
                filled = np.ma.asarray(was, dtype=object).filled(np.nan)
                assert np.array_equal(pd.isna(filled), pd.isna(cell))
                assert (filled[~pd.isna(filled)] == cell[~pd.isna(filled)]).all(), cell
            elif cell.dtype.kind in "mM":
                assert cell == pd.Series([was]).to_numpy()[0]
            else:
                assert unchanged(was, cell.item()) or cell.item() == was


@pytest.mark.parametrize("kind", [kind for kind in TABLE if kind not in NO_PARAMETER])
def test_parameter_of_each_type_is_an_axis_of_xarray_or_a_clear_error(kind, tmp_path):
    given_values = TABLE[kind]
    params = [{"a": value, "b": given_values[0]} for value in given_values]
    df = ps.run(lambda pset: {"y": 1}, params, cluster="sync", save=False, progress=False)
    if any(map(is_gap, given_values)) or not isinstance(given_values[0], Hashable):
        with pytest.raises(ps.PsweepError, match="no place along it|cannot be a dimension"):
            ps.to_xarray(df, ["a"])
        return
    dataset = ps.to_xarray(df, ["a"])
    labels = dataset.a.values
    assert len(labels) == len(set(given_values))
    for value in given_values:
        if labels.dtype.kind in "mM":
            assert pd.Series([value]).to_numpy()[0] in labels
        else:
            assert any(unchanged(value, label) for label in labels.tolist()), labels
    if kind != "no UTF-8":
        ps.export(df, tmp_path / "x.nc", dims=["a"])
        with xr.open_dataset(tmp_path / "x.nc", engine="h5netcdf") as back:
            assert back.sizes["a"] == len(labels)


@pytest.mark.parametrize("kind", TABLE)
def test_value_of_each_type_is_in_a_template_as_it_was_and_in_a_plot_or_a_clear_error(
    kind, tmp_path
):
    for mode, text in (("dollar", "$a"), ("jinja", "{{ a }}"), ("jinja", "{{ a|tojson }}")):
        (tmp_path / "file").write_text(text)
        template = templates.read_template(tmp_path / "file", "file", mode)
        for value in TABLE[kind]:
            if isinstance(value, str) and not is_utf8(value) and "json" not in text:
                with pytest.raises(ps.PsweepError):
                    template.fill({"a": value})
                continue
            filled = template.fill({"a": value}).decode()
            assert "..." not in filled
            assert "np." not in filled
    df, path = run_table(TABLE[kind]), tmp_path / "x.html"
    drawn = [value for value in TABLE[kind] if has_place(value)]
    if drawn:
        assert plot.save_plot(df, "i", "y", path) == len(drawn)
    else:
        with pytest.raises(ps.PsweepError, match="no row has numbers or text"):
            plot.save_plot(df, "i", "y", path)


def has_place(value):
    """Whether a value has a place on an axis of a plot."""
    if isinstance(value, str):
        return True
    kinds = numbers.Real | decimal.Decimal | np.bool_
    if not isinstance(value, kinds) or isinstance(value, np.timedelta64) or is_gap(value):
        return False
    return value < 10**308 if isinstance(value, int) else math.isfinite(value)


def frame(given_values):
    params = ps.plist("a", given_values)
    return ps.run(lambda pset: {}, params, cluster="sync", save=False, progress=False)
