"""Two databases of one study become one, in which nobody's rows or edits are lost."""

from __future__ import annotations

import pandas as pd
import pytest

from psweep_dask.offline.remote_database import merged_with, take_over
from psweep_dask.storage.df_functions import df_write
from psweep_dask.storage.layout import Layout


def rows(*given):
    """Rows of run r, or of that which stands before the dot: (pset, a, status)."""
    made = []
    for pset, a, status in given:
        run, _, name = pset.rpartition(".")
        one = {"a": a, "_run_id": run or "r", "_pset_id": name, "y": 10.0 * a, "_status": status}
        if status == "prepared":
            one["y"] = float("nan")
        made.append(one)
    return pd.DataFrame(made)


def test_what_waits_here_and_is_done_there_comes_over_without_the_edits_being_lost():
    here = rows(("p", 1, "prepared"), ("q", 2, "prepared"), ("o", 3, "ok"))
    here["a"] = [11, 22, 33]
    there = rows(("p", 1, "ok"), ("q", 2, "prepared"), ("o", 3, "error"))
    merged = merged_with(here, there, {"r"})
    assert merged._status.tolist() == ["ok", "prepared", "ok"]
    assert merged.a.tolist() == [11, 22, 33]
    assert merged.y.iloc[0] == 10.0


def test_rows_of_other_runs_come_over_and_deleted_ones_stay_deleted():
    here = rows(("p", 1, "ok"))  # q of the same run, which is done here, was deleted
    there = rows(("p", 1, "ok"), ("q", 2, "ok"), ("s.t", 3, "ok"))
    assert merged_with(here, there, {"r"})._pset_id.tolist() == ["p", "t"]
    assert merged_with(here, there, ())._pset_id.tolist() == ["p", "q", "t"]


def test_what_is_the_same_is_not_written_again():
    here = rows(("p", 1, "ok"), ("q", 2, "prepared"))
    assert merged_with(here, here.copy(), {"r"}) is here
    assert merged_with(here, rows(("p", 1, "prepared")), {"r"}) is here


@pytest.mark.parametrize("column", ["_pset_id", "_run_id", "_status"])
def test_without_book_keeping_nothing_is_merged(column):
    here, there = rows(("p", 1, "ok")), rows(("s.t", 2, "ok"))
    assert merged_with(here, there.drop(columns=column), ()) is here
    cut = here.drop(columns=column)
    assert merged_with(cut, there, ()) is cut


def test_an_empty_database_gets_all():
    assert merged_with(pd.DataFrame(), rows(("p", 1, "ok")), ())._pset_id.tolist() == ["p"]


def test_a_database_that_cannot_be_read_costs_nothing(tmp_path, caplog):
    layout = Layout(tmp_path / "calc")
    layout.make_writable()
    df_write(rows(("p", 1, "ok")), layout.database_path)
    before = layout.database_path.read_bytes()
    copy = tmp_path / "copy.pk"
    copy.write_bytes(b"garbage")
    take_over(layout, copy)
    assert layout.database_path.read_bytes() == before
    assert "cannot be read here, and is left there" in caplog.text
