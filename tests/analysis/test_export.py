"""What others read of a database in other formats."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import math
import sys
from pathlib import PurePath

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import psweep_dask as ps
from psweep_dask._imports import MissingPackageError
from psweep_dask.analysis.export import ExportError, export


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Point:
    x: int


MIXED = [1, "", 2.5, "a"]


def func(pset):
    number = pset["a"]
    if number == 1:
        raise ValueError("no 1")
    return {
        "n": number,
        "text": f"é{number}\n,\"'",
        "good": number > 1,
        "array": np.arange(3) * 0.5,
        "list": [1, 2],
        "dict": {"k": [number]},
        "set": {2, 1},
        "colour": Colour.RED,
        "point": Point(number),
        "path": PurePath("x/y"),
        "day": dt.date(2026, 1, 2),
        "time": dt.datetime(2026, 1, 2, 3, 4, 5, 678901),
        "big": 2**70,
        "mixed": MIXED[number],
        "none": None,
        "inf": math.inf,
        "third": 1 / 3,
        "z": 1 + 2j,
    }


@pytest.fixture
def df():
    return ps.run(func, ps.plist("a", range(4)), cluster="sync", save=False, progress=False)


def test_export_json_has_all_that_json_can_hold(df, tmp_path):
    export(df, tmp_path / "x.json")
    rows = json.loads((tmp_path / "x.json").read_text())
    assert list(rows[0]) == list(df.columns)
    row = rows[2]
    assert row["third"] == 1 / 3
    assert row["text"] == "é2\n,\"'"
    assert row["array"] == [0.0, 0.5, 1.0]
    assert (row["dict"], row["set"], row["point"]) == ({"k": [2]}, [1, 2], {"x": 2})
    assert (row["colour"], row["path"], row["z"]) == ("RED", "x/y", [1.0, 2.0])
    assert (row["big"], row["mixed"], row["good"]) == (2**70, 2.5, True)
    assert row["none"] is row["inf"] is rows[1]["n"] is rows[1]["text"] is None
    assert row["time"].startswith("2026-01-02T03:04:05.678901")  # and zeros, with pandas 2
    assert "no 1" in rows[1]["_exc_txt"]


def test_export_parquet_keeps_types(df, tmp_path):
    export(df, tmp_path / "x.parquet")
    back = pd.read_parquet(tmp_path / "x.parquet")
    assert back["a"].tolist() == [0, 1, 2, 3]
    assert back["third"].iloc[2] == 1 / 3
    assert back["text"].iloc[2] == df["text"].iloc[2]
    assert back["_time_utc"].tolist() == df["_time_utc"].tolist()
    assert back["time"].iloc[2] == df["time"].iloc[2]
    assert back["day"].iloc[2] == dt.date(2026, 1, 2)
    assert back["array"].iloc[2].tolist() == [0.0, 0.5, 1.0]
    assert back["array"].iloc[1] is None
    assert back["good"].tolist() == [False, None, True, True]
    assert (back["z_real"].iloc[2], back["z_imag"].iloc[2]) == (1.0, 2.0)
    assert json.loads(back["mixed"].iloc[2]) == 2.5
    assert json.loads(back["dict"].iloc[2]) == {"k": [2]}
    assert (back["colour"].iloc[2], back["path"].iloc[2]) == ("RED", "x/y")
    assert int(back["big"].iloc[2]) == 2**70


def test_export_csv_keeps_values_that_a_cell_can_hold(df, tmp_path):
    export(df, tmp_path / "x.csv")
    back = pd.read_csv(tmp_path / "x.csv")
    assert list(back.columns) == list(df.columns)
    assert back["third"].iloc[2] == 1 / 3
    assert back["text"].iloc[2] == df["text"].iloc[2]
    assert json.loads(back["dict"].iloc[2]) == {"k": [2]}
    assert back["colour"].iloc[2] == "RED"
    assert complex(back["z"].iloc[2]) == 1 + 2j
    assert math.isinf(back["inf"].iloc[2])


def test_export_netcdf_with_one_dimension_or_with_parameters_as_dimensions(df, tmp_path):
    export(df, tmp_path / "x.nc")
    with xr.open_dataset(tmp_path / "x.nc", engine="h5netcdf") as back:
        assert back["a"].values.tolist() == [0, 1, 2, 3]
        assert back["text"].values.tolist() == ["é0\n,\"'", "", "é2\n,\"'", "é3\n,\"'"]
        assert back["_time_utc"].values.tolist() == df["_time_utc"].to_numpy().tolist()
        assert json.loads(back["dict"].values[2]) == {"k": [2]}
    export(df, tmp_path / "y.nc", dims=["a"])
    with xr.open_dataset(tmp_path / "y.nc", engine="h5netcdf") as back:
        assert back["third"].dims == ("a",)
        assert back["third"].sel(a=2) == 1 / 3
        assert back["array"].sel(a=0).values.tolist() == [0.0, 0.5, 1.0]
        assert np.isnan(back["third"].sel(a=1))


@pytest.mark.parametrize("suffix", ["json", "csv", "parquet", "nc"])
def test_export_of_an_empty_database_and_of_several_chunks(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr("psweep_dask.analysis.export.JSON_CHUNK_ROWS", 7)
    read = {
        "json": lambda path: pd.DataFrame(json.loads(path.read_text())),
        "csv": pd.read_csv,
        "parquet": pd.read_parquet,
        "nc": lambda path: xr.load_dataset(path, engine="h5netcdf").to_dataframe(),
    }[suffix]
    df = pd.DataFrame({"a": range(20), "y": np.arange(20) / 3})
    export(df, tmp_path / f"x.{suffix}")
    assert read(tmp_path / f"x.{suffix}").a.tolist() == list(range(20))
    export(df[:0], tmp_path / f"x.{suffix}")
    assert len(read(tmp_path / f"x.{suffix}")) == 0


def test_export_errors_leave_the_old_file(df, tmp_path, monkeypatch):
    with pytest.raises(ExportError, match="ends in '.xls', which is no format that is known"):
        export(df, tmp_path / "x.xls")
    with pytest.raises(ExportError, match="dims is for netCDF"):
        export(df, tmp_path / "x.csv", dims=["a"])
    with pytest.raises(ExportError, match="rename the column 'u/v'"):
        export(df.rename(columns={"n": "u/v"}), tmp_path / "x.nc")
    (tmp_path / "x.parquet").write_text("old")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'psweep_dask\[analysis\]'"):
        export(df, tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]
