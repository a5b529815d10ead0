"""Two databases of one study become one, in which nobody's rows or edits are lost."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import psweep_dask as ps
from psweep_dask.offline.remote_database import add_remote_rows, find_databases, merge_rows
from psweep_dask.storage.df_functions import df_write
from psweep_dask.storage.layout import Layout


def rows(*given):
    """Rows of run r, or of that which stands before the dot: (pset, a, status)."""
    table = []
    for pset, a, status in given:
        run, _, name = pset.rpartition(".")
        y = float("nan") if status == "prepared" else 10.0 * a
        table.append({"a": a, "_run_id": run or "r", "_pset_id": name, "y": y, "_status": status})
    return pd.DataFrame(table)


def test_merge_rows_takes_results_of_pending_rows_and_keeps_edits():
    here = rows(("p", 1, "prepared"), ("q", 2, "prepared"), ("o", 3, "ok"))
    here["a"] = [11, 22, 33]
    there = rows(("p", 1, "ok"), ("q", 2, "prepared"), ("o", 3, "error"))
    merged = merge_rows(here, there, {"r"})
    assert merged._status.tolist() == ["ok", "prepared", "ok"]
    assert merged.a.tolist() == [11, 22, 33]
    assert merged.y.iloc[0] == 10.0


def test_merge_rows_takes_rows_of_other_runs_and_keeps_rows_deleted():
    here = rows(("p", 1, "ok"))  # q of the same run, which is done here, was deleted
    there = rows(("p", 1, "ok"), ("q", 2, "ok"), ("s.t", 3, "ok"))
    assert merge_rows(here, there, {"r"})._pset_id.tolist() == ["p", "t"]
    assert merge_rows(here, there, ())._pset_id.tolist() == ["p", "q", "t"]


def test_merge_rows_returns_the_database_itself_if_nothing_is_new():
    here = rows(("p", 1, "ok"), ("q", 2, "prepared"))
    assert merge_rows(here, here.copy(), {"r"}) is here
    assert merge_rows(here, rows(("p", 1, "prepared")), {"r"}) is here


@pytest.mark.parametrize("column", ["_pset_id", "_run_id", "_status"])
def test_merge_rows_needs_book_keeping_columns(column):
    here, there = rows(("p", 1, "ok")), rows(("s.t", 2, "ok"))
    assert merge_rows(here, there.drop(columns=column), ()) is here
    cut = here.drop(columns=column)
    assert merge_rows(cut, there, ()) is cut


def test_merge_rows_into_an_empty_database_takes_all():
    assert merge_rows(pd.DataFrame(), rows(("p", 1, "ok")), ())._pset_id.tolist() == ["p"]


def test_remote_database_that_cannot_be_read_changes_nothing(tmp_path, caplog):
    layout = Layout(tmp_path / "calc")
    layout.make_writable()
    df_write(rows(("p", 1, "ok")), layout.database_path)
    before = layout.database_path.read_bytes()
    copy = tmp_path / "copy.pk"
    copy.write_bytes(b"garbage")
    add_remote_rows(layout, copy)
    assert layout.database_path.read_bytes() == before
    assert "the remote database cannot be read here, and is left out" in caplog.text


def test_remote_database_gives_the_rows_of_runs_that_are_unknown_here(caplog):
    caplog.set_level("INFO", "psweep_dask")
    done = ps.run(lambda pset: {"y": 5}, [{"a": 9}, {"a": 8}], cluster="sync")
    ps.df_write(done.iloc[:1], "calc/database.pk")  # the user has deleted a row
    remote = pd.concat([done, rows(("s.t", 3, "ok"))])
    ps.df_write(remote, "copy.pk")
    add_remote_rows(Layout("calc"), Path("copy.pk"))
    assert ps.load().a.tolist() == [9, 3]
    assert "new rows of the remote database were added" in caplog.text


def test_find_databases_has_those_of_all_runs_in_the_folder():
    for options in ({}, {"database_basename": "my.pk"}, {"database_dir": "elsewhere"}):
        ps.run(lambda pset: {}, [{"a": 9}], cluster="sync", **options)
    names = [layout.database_basename for layout in find_databases(Layout("calc"))]
    assert names == ["database.pk", "my.pk"]
