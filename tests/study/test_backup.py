"""Copies of a study: for backup=True and for simulate=True."""

from __future__ import annotations

import pandas as pd
import pytest

from psweep_dask.storage.database import read_or_empty
from psweep_dask.storage.df_functions import df_write
from psweep_dask.storage.layout import Layout
from psweep_dask.study.backup import BackupError, back_up_study, make_simulation_dir

DF = pd.DataFrame({"_run_id": ["r"], "_time_utc": [pd.Timestamp("2026-01-02")], "_pset_seq": [0]})
COPY = "calc.bak_2026-01-02T00:00:00.000000Z_run_id_r"


def make_study(database_dir=None):
    layout = Layout("calc", database_dir)
    layout.make_writable()
    df_write(DF, layout.database_path)
    return layout


def test_simulation_starts_from_a_copy_each_time(study_folder):
    layout = make_study()
    (study_folder / "calc.simulate").mkdir()
    (study_folder / "calc.simulate" / "old").touch()
    simulated = make_simulation_dir(layout)
    assert [path.name for path in simulated.root.iterdir()] == ["database.pk"]
    assert simulated.database_path.read_bytes() == layout.database_path.read_bytes()


def test_backup_takes_a_database_that_lives_elsewhere(study_folder):
    back_up_study(make_study("data"), DF)
    pd.testing.assert_frame_equal(read_or_empty(study_folder / COPY / "database.pk"), DF)


def test_backup_copies_everything_and_replaces_a_copy_that_was_cut_off(study_folder):
    layout = make_study()
    (layout.root / "link").symlink_to("database.pk")
    (study_folder / f"{COPY}.partial").mkdir()
    (study_folder / f"{COPY}.partial" / "old").touch()
    back_up_study(layout, DF)
    assert sorted(path.name for path in (study_folder / COPY).iterdir()) == ["database.pk", "link"]
    assert (study_folder / COPY / "link").is_symlink()
    assert not (study_folder / f"{COPY}.partial").exists()


def test_backup_without_new_rows_is_an_error(study_folder):
    layout = make_study()
    back_up_study(layout, DF)
    with pytest.raises(BackupError, match=f"{COPY}' exists, and 'calc' has no new rows since"):
        back_up_study(layout, DF)


def test_backup_of_a_database_without_times_is_an_error():
    with pytest.raises(BackupError, match="the database lacks one of them"):
        back_up_study(make_study(), DF[["_run_id"]])
