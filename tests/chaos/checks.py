"""What must be true: after each fault, after a kill, after an orderly stop, and at the end."""

from __future__ import annotations

import pandas as pd
from chaos.records import database, journals, records_in_database
from chaos.studies import Driver, Study
from chaos.violation import Violation

import psweep_dask as ps
from psweep_dask.params.pset import pset_id
from psweep_dask.study.runs import NoStudyError

MAX_SLICE_SECONDS = 0.55
"""The budget of a slice, and the longest pset during which the budget may run out."""


def check(study: Study) -> None:
    """Check that nothing that was acknowledged is lost, doubled, wrong, or evaluated again."""
    try:
        df = ps.load(study.calc)
    except NoStudyError:
        df = pd.DataFrame(columns=["_pset_id", "_pset_seq"])
    lost = study.acknowledged.keys() - set(df.get("_pset_id", ()))
    if lost:
        raise Violation(f"{len(lost)} acknowledged records are lost: {sorted(lost)}")
    for name, rows in (("ps.load", df), ("the database", database(study.calc))):
        _check_rows(name, rows)
    begins = study.log.count("begin")
    again = {seq: begins[seq] for seq, before in study.begun.items() if begins[seq] != before}
    if again:
        raise Violation(f"evaluated again in spite of a record: {again}, before {study.begun}")


def check_unsaved(study: Study, killed: Driver) -> None:
    """Check that a killed driver, which ran psets itself, has lost those of one slice at most."""
    lines = study.log.lines(killed.log_start)
    seconds = sum(
        seconds
        for seq, pid, phase, seconds in lines
        if phase == "end" and pid == killed.process.pid and seq not in study.begun
    )
    if seconds > MAX_SLICE_SECONDS:
        raise Violation(f"{seconds} s of finished psets are not on disk")


def check_saved(study: Study, stopped: Driver, twice: bool) -> None:
    """Check that all records are in the database; count the finished psets without a record."""
    in_database = records_in_database(study.calc)
    lost = study.acknowledged.keys() - in_database.keys()
    if lost:
        raise Violation(f"after an orderly stop the database lacks {len(lost)} records")
    ended = study.log.count("end", stopped.log_start).keys()
    unsaved = len(ended - set(in_database.values()))
    if unsaved and not twice:
        study.tally["psets finished in vain at an orderly stop"] += unsaved


def check_end(study: Study) -> None:
    """Check that each planned pset is there once, and was not evaluated more often than needed."""
    df = database(study.calc)
    if set(df["_pset_id"]) != set(ps.load(study.calc)["_pset_id"]):
        raise Violation("the database differs from ps.load")
    if sorted(df["run"].unique()) != sorted(study.sizes):
        raise Violation(f"runs {set(df['run'])} instead of {set(study.sizes)}")
    for number, rows in df.groupby("run"):
        if rows["_run_id"].nunique() != 1:
            raise Violation(f"run {number} has the ids {set(rows['_run_id'])}")
        if sorted(rows["a"]) != list(range(study.sizes[number])):
            raise Violation(f"run {number} has {len(rows)} of {study.sizes[number]} psets")
    often = {
        seq: times
        for seq, times in study.log.count("begin").items()
        if times > 1 + len(study.faults)
    }
    if often:
        raise Violation(f"evaluated too often for {len(study.faults)} faults: {often}")
    if journals(study.calc):
        raise Violation("a journal is left")
    study.tally["temporary files left"] += len(list(study.calc.rglob("*.tmp")))


def _check_rows(name: str, df: pd.DataFrame) -> None:
    """Check that no row is there twice, and that each row is right."""
    for column in ("_pset_id", "_pset_seq"):
        if column in df and not df[column].is_unique:
            raise Violation(f"{name}: {column} has doubles: {df[column][df[column].duplicated()]}")
    for row in df.to_dict("records"):
        right = pset_id(row["_run_id"], int(row["_pset_seq"]))
        draw = ps.rng({"_pset_id": right}).random()
        values = row["_status"], row["_pset_id"], row["square"], row["draw"]
        if values != ("ok", right, row["a"] ** 2, draw):
            raise Violation(f"{name}: a row is wrong: {row}")
