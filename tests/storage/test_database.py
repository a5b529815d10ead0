"""The file of the database: read, merged, replaced, and never lost."""

from __future__ import annotations

import datetime as dt
import functools
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

import psweep_dask as ps
from psweep_dask.storage.database import (
    DamagedError,
    DatabaseError,
    PassedFrame,
    check,
    merge,
    read_or_empty,
    read_to_change,
    replace,
)
from psweep_dask.storage.df_functions import df_read, df_write

DF = pd.DataFrame({"a": [1, 2], "_pset_id": ["p0", "p1"], "_pset_seq": [0, 1], "_run_id": "r0"})
NEW = pd.DataFrame({"a": [3], "_pset_id": ["p2"], "_pset_seq": [2], "_run_id": "r1"})


TORN = [b"", b"garbage", pickle.dumps(DF)[:-10]]
FOREIGN = [pickle.dumps([1]), b"cno_such_module\nThing\n."]


@pytest.mark.parametrize("content", [*TORN, *FOREIGN])
@pytest.mark.parametrize("is_plain", [False, True])
def test_reader_moves_and_changes_nothing(study_folder, content, is_plain):
    path = study_folder / "database.pk"
    path.write_bytes(content)
    with pytest.raises(DatabaseError) as caught:
        read_or_empty(path, is_plain)
    assert isinstance(caught.value, DamagedError) == (content in TORN)
    assert list(study_folder.iterdir()) == [path]
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", TORN)
def test_writer_moves_a_damaged_database_aside_and_says_so(study_folder, content):
    path = study_folder / "database.pk"
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"damaged.*psweep-dask rebuild") as caught:
        merge(path, NEW)
    (aside,) = study_folder.iterdir()
    assert aside.name in str(caught.value)
    assert aside.read_bytes() == content


@pytest.mark.parametrize("content", FOREIGN)
def test_writer_leaves_a_database_that_is_not_damaged(study_folder, content):
    path = study_folder / "database.pk"
    path.write_bytes(content)
    with pytest.raises(DatabaseError, match="no_such_module|no DataFrame"):
        merge(path, NEW)
    assert path.read_bytes() == content


def test_database_that_is_damaged_twice_in_a_second_is_kept_twice(study_folder):
    path = study_folder / "database.pk"
    for content in (b"first", b"second"):
        path.write_bytes(content)
        with pytest.raises(DatabaseError):
            read_to_change(path)
    assert {aside.read_bytes() for aside in study_folder.iterdir()} == {b"first", b"second"}


def test_database_that_is_a_folder_is_named(study_folder):
    with pytest.raises(DatabaseError, match="is a folder; move it away"):
        read_or_empty(study_folder)


class Fails:
    """Cannot be restored, with an error that means something else for a file."""

    def __reduce__(self):
        return open, ("no-such-file",)


def test_value_that_cannot_be_restored_costs_its_cell_and_stays_in_the_file(study_folder, caplog):
    path = study_folder / "database.pk"
    replace(path, DF.assign(y=pd.Series([Fails(), 7], dtype=object)))
    df = merge(path, NEW)
    assert df.a.tolist() == [1, 2, 3]
    assert "No such file or directory" in repr(df.y[0].tolist()[0])
    assert df.y.tolist()[1] == 7
    assert "a value that cannot be restored here" in caplog.text
    (study_folder / "no-such-file").touch()
    value = pd.read_pickle(path).y.tolist()[0]
    assert value.name == "no-such-file"
    value.close()


def test_database_of_another_pandas_names_both_versions_and_the_way_out(study_folder, monkeypatch):
    path = study_folder / "database.pk"
    with monkeypatch.context() as patch:
        patch.setattr(pd, "__version__", "77.0")
        replace(path, DF)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"BlockManager", b"BlockMbnager"))  # as if it were renamed
    with pytest.raises(
        DatabaseError,
        match=rf"pandas 77\.0 has .*pandas {pd.__version__} cannot.*psweep-dask rebuild",
    ):
        merge(path, NEW)
    assert path.read_bytes() == content.replace(b"BlockManager", b"BlockMbnager")
    df_write(DF, path)
    path.write_bytes(path.read_bytes().replace(b"BlockManager", b"BlockMbnager"))
    with pytest.raises(DatabaseError, match="another version of pandas wrote, it seems"):
        read_or_empty(path)


def test_merge_appends_to_what_is_on_disk(study_folder):
    path = study_folder / "database.pk"
    df_write(DF.assign(comment="mine"), path)
    df = merge(path, NEW)
    assert df["a"].tolist() == [1, 2, 3]
    assert df["comment"].tolist()[:2] == ["mine", "mine"]
    pd.testing.assert_frame_equal(df_read(path), df)


def test_merge_with_a_passed_df_keeps_rows_that_came_since(study_folder):
    path = study_folder / "database.pk"
    other = NEW.assign(_pset_id="p9", _pset_seq=9, _run_id="other driver")
    df_write(pd.concat([DF, other]), path)
    edited = DF.assign(comment="mine")
    df = merge(path, NEW, PassedFrame(edited, frozenset({"r0"})))
    assert df["_pset_id"].tolist() == ["p0", "p1", "p2", "p9"]
    assert [path.name for path in study_folder.iterdir()] == ["database.pk"]


def test_merge_with_a_passed_df_that_lacks_rows_keeps_a_copy_of_the_file(study_folder):
    path = study_folder / "database.pk"
    df_write(DF, path)
    df = merge(path, NEW, PassedFrame(DF[:1], frozenset({"r0"})))
    assert df["_pset_id"].tolist() == ["p0", "p2"]
    (kept,) = study_folder.glob("database.pk.replaced-*")
    pd.testing.assert_frame_equal(df_read(kept), DF)


@pytest.mark.parametrize(
    ("edited", "message"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "rename \\['a'\\]"),
        (pd.DataFrame({("a", "b"): [1], ("a", "c"): [2]}), "no two columns may have the same name"),
        (DF.assign(_pset_seq=["0", "one"]), "_pset_seq has 'one', but must have whole numbers"),
        (DF.assign(_run_seq=[0.0, float("inf")]), "_run_seq has inf"),
    ],
)
def test_check_names_edits_that_no_row_can_be_appended_to(edited, message):
    with pytest.raises(DatabaseError, match=message):
        check(edited, "calc/database.pk")


@pytest.mark.parametrize(
    "edited",
    [
        DF,
        pd.DataFrame(),
        DF.astype(object),
        DF.astype({"_pset_seq": "Int64"}),
        DF.assign(_pset_seq=[1.0, float("nan")]),
        DF.drop(columns="_pset_seq"),
    ],
)
def test_check_accepts_other_edits(edited):
    check(edited, "calc/database.pk")


def test_pyarrow_is_not_needed_to_read_a_database_written_with_it(study_folder):
    df = ps.run(lambda pset: {"y": "é"}, ps.plist("a", ["x", "y"]), cluster="sync")
    df["study"] = "mine"  # in arrays of pyarrow, as pandas does it there
    df.loc[:, "gaps"] = pd.Series(["x", None], index=df.index)
    df = ps.run(lambda pset: {"z": "é"}, ps.plist("a", ["x"]), cluster="sync", df=df)
    without = """
import sys
sys.modules["pyarrow"] = None  # an import of it fails
import psweep_dask as ps
df = ps.run(lambda pset: {"z": "ü"}, ps.plist("a", ["x"]), cluster="sync")
assert df.study.tolist()[:2] == ["mine"] * 2, df
assert df.gaps.isna().tolist() == [False, True, True, True], df
"""
    subprocess.run([sys.executable, "-c", without], check=True)
    assert ps.load("calc").z.tolist()[2:] == ["é", "ü"]
    assert ps.load("calc").study.dtype.name == pd.Series(["mine"]).dtype.name


class Once:
    """Can be pickled until it has been restored."""

    def __setstate__(self, state):
        self.lock = threading.Lock()

    def __getstate__(self):
        return {"has": "state", **vars(self)}


def test_value_that_cannot_be_written_costs_no_row(study_folder, caplog):
    df = ps.run(lambda pset: {"y": Once(), "z": pset["a"]}, ps.plist("a", [1, 2]), cluster="sync")
    assert df.z.tolist() == [1, 2]
    assert "2 values of column 'y' cannot be pickled" in caplog.text
    assert ps.df_read("calc/database.pk").y.str.contains("cannot be pickled again").all()
    assert len(ps.run(lambda pset: {}, [{"a": 3}], cluster="sync")) == 3


def test_value_that_is_nested_too_deep_costs_no_row(tmp_path):
    deep = functools.reduce(lambda inner, _: [inner], range(900), [])
    df = replace(tmp_path / "database.pk", pd.DataFrame({"y": [deep, [1]], "z": [1, 2]}))
    assert df.y.tolist() == ["<list that cannot be pickled again>", [1]]
    assert ps.df_read(tmp_path / "database.pk").z.tolist() == [1, 2]


def test_dates_that_no_unit_can_hold_together_are_in_one_column(study_folder):
    for when in (pd.Timestamp("2026-01-01 00:00:00.000000001"), dt.datetime(3000, 1, 1)):
        df = ps.run(lambda pset: {"t": pset["a"]}, [{"a": when}], cluster="sync")
    assert [time.year for time in df.a] == [time.year for time in df.t] == [2026, 3000]
    assert len(ps.run(lambda pset: {}, [{"b": 1}], cluster="sync")) == 3


def test_column_order_of_parameters_is_that_of_the_psets(study_folder):
    params = [{"a": 1, "slow": 1}, {"b": 2}]
    df = ps.run_local(lambda pset: time.sleep(pset.get("slow", 0) / 5) or {}, params, poolsize=2)
    assert list(df.columns[:3]) == ["a", "slow", "b"]


def test_check_refuses_a_database_of_psweep(study_folder):
    Path("calc").mkdir()
    ps.df_write(pd.DataFrame({"a": [1], "_pset_hash": ["x"], "_pset_seq": [0]}), "calc/database.pk")
    with pytest.raises(ps.PsweepError, match=r"written by the package psweep: ps.import_psweep"):
        ps.run(lambda pset: {}, [{"a": 1}], cluster="sync")
