from __future__ import annotations

import re

import psweep_dask as ps
from psweep_dask.storage import status
from psweep_dask.storage.status import FAILED, FINAL, TO_RUN_AGAIN, WAITING


def test_status_sets_are_those_of_the_table():
    sets = {
        name: set(re.findall(r"\w+", words))
        for name, words in re.findall(r"^\| (\w+) \| [^|]+ \| ([^|]+) \|$", status.__doc__, re.M)
        if name != "value"
    }
    assert {name for name, kinds in sets.items() if "final" in kinds} == FINAL
    assert {name for name, kinds in sets.items() if "failed" in kinds} == FAILED
    assert {name for name, kinds in sets.items() if "waiting" in kinds} == WAITING
    assert sets.keys() == FINAL | WAITING
    assert sets.keys() - {"ok", "prepared"} == TO_RUN_AGAIN


def test_status_of_failed_psets_decides_what_skip_dups_runs_again(study_folder):
    def func(pset):
        return {"b": 1 / pset["a"]}

    ps.run(func, ps.plist("a", [0, 1]), cluster="sync")
    df = ps.run(func, ps.plist("a", [0, 1]), cluster="sync", skip_dups=True)
    assert df._status.tolist() == ["error", "ok", "error"]
