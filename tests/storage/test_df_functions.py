"""``ps.df_*``: DataFrames are read, written, printed, filtered and made JSON."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest

from psweep_dask._query import NoDataFrameError
from psweep_dask.storage.df_functions import (
    FrameError,
    df_filter_conds,
    df_print,
    df_read,
    df_to_json,
    df_write,
)

DF = pd.DataFrame({"a": [1, 2], "_pset_id": ["p0", "p1"], "_pset_seq": [0, 1], "_run_id": "r0"})


def test_df_read_returns_what_df_write_has_written(study_folder):
    df_write(DF, "sub/database.pk")
    pd.testing.assert_frame_equal(df_read("sub/database.pk"), DF)
    df_write(DF, "database.json", fmt="json")
    pd.testing.assert_frame_equal(df_read("database.json", fmt="json"), DF)


def test_df_write_writes_what_pandas_can_read(study_folder):
    df_write(DF, "database.pk")
    pd.testing.assert_frame_equal(pd.read_pickle("database.pk"), DF)


SCRIPT = """
import pandas as pd, psweep_dask as ps
class Mine:
    def __repr__(self): return "mine"
ps.df_write(pd.DataFrame({"a": [Mine()]}), "database.pk")
"""


def test_df_read_restores_objects_of_another_script(study_folder):
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
    assert repr(df_read("database.pk")["a"][0]) == "mine"


def test_df_write_names_unknown_formats_and_what_is_no_dataframe(study_folder):
    with pytest.raises(FrameError, match="not 'csv'"):
        df_write(DF, "x", fmt="csv")
    with pytest.raises(FrameError, match="not 'csv'"):
        df_read("x", fmt="csv")
    with pytest.raises(FrameError, match="needs a DataFrame, not dict"):
        df_write({}, "database.pk")
    assert list(study_folder.iterdir()) == []


def test_df_functions_take_the_names_and_orders_of_psweep(study_folder):
    df_write(DF, fn="database.pk")
    pd.testing.assert_frame_equal(df_read(fn="database.pk"), DF)
    df_write("other.json", DF, fmt="json")
    pd.testing.assert_frame_equal(df_read(fn="other.json", fmt="json"), DF)
    df_write(fn="third.pk", df=DF)
    pd.testing.assert_frame_equal(df_read("third.pk"), DF)


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"cols": ["a"]}, r"'cols'; choose columns before: ps.df_print\(df\[cols\]\)"),
        ({"skip_cols": ["a"]}, r"'skip_cols'; leave out columns before: ps.df_print\(df.drop"),
        ({"prefix_cols": True}, "'prefix_cols'; all columns are printed"),
        ({"indx": True}, "'indx'; did you mean 'index'"),
    ],
)
def test_df_print_says_what_to_write_in_the_place_of_options_of_psweep(options, remedy):
    with pytest.raises(TypeError, match=remedy):
        df_print(DF, **options)


def test_df_filter_conds_combines_masks():
    df = pd.DataFrame({"a": range(6)})
    conds = [df.a > 1, (df.a < 4).to_numpy(), [True] * 6]
    assert df_filter_conds(df, conds)["a"].tolist() == [2, 3]
    assert df_filter_conds(df, [df.a < 1, df.a > 4], op="or")["a"].tolist() == [0, 5]
    assert df_filter_conds(df, [df.a < 4, df.a > 1], op="xor")["a"].tolist() == [0, 1, 4, 5]
    assert df_filter_conds(df, []) is df


def test_df_filter_conds_names_wrong_arguments():
    df = pd.DataFrame({"a": range(6)})
    with pytest.raises(FrameError, match="not 'nand'"):
        df_filter_conds(df, [df.a > 1], op="nand")
    with pytest.raises(FrameError, match=r"conds\[1\] has shape \(2,\).*6 rows"):
        df_filter_conds(df, [df.a > 1, [True, False]])


def test_df_print_leaves_out_the_index(capsys):
    df = pd.DataFrame({"a": [1]}, index=["name"])
    df_print(df)
    assert "name" not in capsys.readouterr().out
    df_print(df, index=True)
    assert "name" in capsys.readouterr().out


def test_df_to_json_has_full_precision_and_iso_dates():
    df = pd.DataFrame({"x": [0.1 + 0.2], "t": [pd.Timestamp("2026-01-02T03:04:05.678")]})
    assert df_to_json(df) == '[{"x":0.3,"t":"2026-01-02T03:04:05"}]'
    second = pd.to_datetime(["2026-01-02T03:04:05.1", "2026-01-02T03:04:05.2"])
    rows = json.loads(df_to_json(pd.DataFrame({"x": [1, 2]}, index=second), orient="index"))
    assert [row["x"] for row in rows.values()] == [1, 2]
    assert df_to_json(df[["x"]], orient="split", index=False) == '{"columns":["x"],"data":[[0.3]]}'


@pytest.mark.parametrize("function", [df_print, df_to_json, lambda df: df_filter_conds(df, [])])
def test_df_functions_name_what_is_no_dataframe(function):
    with pytest.raises(NoDataFrameError, match="takes a DataFrame, not 'calc'"):
        function("calc")


def test_df_write_passes_options_on(study_folder):
    df_write(DF, "x.json", fmt="json", orient="columns")
    assert json.loads((study_folder / "x.json").read_text())["a"] == {"0": 1, "1": 2}
    df_write(DF, "x.pk", protocol=2)
    assert (study_folder / "x.pk").read_bytes()[:2] == b"\x80\x02"
    with pytest.raises(FileNotFoundError):
        df_read("none.pk")
