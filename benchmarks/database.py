"""Measure a large database: load, append ten rows, query, export; ours and what else one may use.

Run it with: python benchmarks/database.py [--quick] [--json]

All but psweep work on the same rows, which a study of ours has made; "x pandas" is the time over
that of bare pandas doing the same with the same frame in a pickle. psweep appends by running ten
psets, at a size it can bear. sqlite and parquet files hold the columns that are numbers and text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pandas as pd
import psweep
from common import Pset, Report, Timing, options, quiet, study_folder, timed

import psweep_dask as ps

ROWS = 1_000_000
QUICK_ROWS = 100_000
PSWEEP_ROWS = 20_000
APPENDED = 10
CONDITION = "a % 1000 == 7 and y > 2"

Operations = dict[str, Callable[[], object]]


def func(pset: Pset) -> dict[str, object]:
    return {"y": pset["a"] ** 0.5, "name": f"n{pset['a'] % 100}"}


def func_of_psweep(pset: Pset) -> dict[str, object]:
    return {f"{name}_": value for name, value in func(pset).items()}  # it tells results so


@options
def main(as_json: bool, quick: bool) -> None:
    quiet()
    report = Report("database", as_json)
    report.facts()
    rows = QUICK_ROWS if quick else ROWS
    repeats = 3
    with study_folder():
        ps.run(func, ps.plist("a", range(rows)), cluster="local", progress=False)
        prepare(ps.load("calc"))
        contestants = {"pandas": pandas(), "psweep_dask": ours(), "sqlite": sqlite()}
        contestants["parquet"] = parquet()
        timings = {
            (operation, name): []
            for name, operations in contestants.items()
            for operation in operations
        }
        for _ in range(repeats):  # the rounds alternate
            for (operation, name), seconds in timings.items():
                seconds.append(timed(contestants[name][operation]))
    with study_folder():
        psweep.run(func_of_psweep, ps.plist("a", range(PSWEEP_ROWS)))
        for operation, call in of_psweep().items():
            timings[operation, "psweep"] = [timed(call) for _ in range(repeats)]
    medians = {key: Timing(tuple(seconds)).median for key, seconds in timings.items()}
    shown = []
    for (operation, name), seconds in sorted(timings.items()):
        size = PSWEEP_ROWS if name == "psweep" else rows
        pandas_too = medians.get((operation, "pandas"))
        ratio = medians[operation, name] / pandas_too if pandas_too and size == rows else None
        report.measurement(
            operation=operation, contestant=name, rows=size, seconds=seconds, ratio_to_pandas=ratio
        )
        shown.append(
            {
                "operation": operation,
                "contestant": name,
                "rows": f"{size:,}",
                "median s": medians[operation, name],
                "x pandas": ratio,
            }
        )
    report.table(shown, f"Wall time, median of {repeats}.")


def prepare(df: pd.DataFrame) -> None:
    df.to_pickle("bare.pk")
    flat(df).to_parquet("all.parquet")
    with closing(sqlite3.connect("all.db")) as db:
        flat(df).to_sql("psets", db, index=False)


def flat(df: pd.DataFrame) -> pd.DataFrame:
    return df.astype({"_exc_txt": "str"})


def ten_more(df: pd.DataFrame) -> pd.DataFrame:
    return df.iloc[:APPENDED].assign(a=-1)


def pandas() -> Operations:
    def append() -> None:
        df = pd.read_pickle("bare.pk")
        pd.concat([df, ten_more(df)]).to_pickle("bare2.pk")

    df = pd.read_pickle("bare.pk")
    return {
        "load": lambda: pd.read_pickle("bare.pk"),
        "append ten": append,
        "query": lambda: pd.read_pickle("bare.pk").query(CONDITION, engine="python"),
        "export csv": lambda: df.to_csv("bare.csv", index=False),
        "export json": lambda: df.to_json("bare.json", orient="records", date_format="iso"),
        "export parquet": lambda: df.to_parquet("bare.parquet", index=False),
    }


def ours() -> Operations:
    df = ps.load("calc")
    return {
        "load": lambda: ps.load("calc"),
        "append ten": lambda: ps.run(func, ps.plist("a", [-1] * APPENDED), cluster="sync"),
        "query": lambda: ps.query("calc", CONDITION),
        "export csv": lambda: ps.export(df, "ours.csv"),
        "export json": lambda: ps.export(df, "ours.json"),
        "export parquet": lambda: ps.export(df, "ours.parquet"),
    }


def sqlite() -> Operations:
    def do(call: Callable[[sqlite3.Connection], object]) -> None:
        with closing(sqlite3.connect("all.db")) as db:
            call(db)
            db.commit()

    more = flat(ten_more(pd.read_pickle("bare.pk")))
    condition = f"select * from psets where {CONDITION.replace('==', '=')}"
    return {
        "load": lambda: do(lambda db: pd.read_sql("select * from psets", db)),
        "append ten": lambda: do(
            lambda db: more.to_sql("psets", db, index=False, if_exists="append")
        ),
        "query": lambda: do(lambda db: pd.read_sql(condition, db)),
    }


def parquet() -> Operations:
    def append() -> None:
        df = pd.read_parquet("all.parquet")
        pd.concat([df, ten_more(df)]).to_parquet("all2.parquet")

    return {
        "load": lambda: pd.read_parquet("all.parquet"),
        "append ten": append,
        "query": lambda: pd.read_parquet("all.parquet").query(CONDITION, engine="python"),
    }


def of_psweep() -> Operations:
    return {
        "load": lambda: psweep.df_read("calc/database.pk"),
        "append ten": lambda: psweep.run(func_of_psweep, ps.plist("a", [-1] * APPENDED)),
    }


if __name__ == "__main__":
    main()
