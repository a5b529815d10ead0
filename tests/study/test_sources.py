"""Whether the source of func is the one by which rows were made, and who says so where."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

import psweep_dask as ps
from psweep_dask.storage.layout import Layout
from psweep_dask.study.diff import compare_runs
from psweep_dask.study.runs import all_runs
from psweep_dask.study.sources import SourceError, digest, with_source

FUNC = "def func(pset):\n    return {'y': pset['a'] + 1}\n"


def func(pset):
    return {"y": 1}


def changed():
    def func(pset):
        return {"y": 2}

    return func


def commented():
    def func(pset):
        # the same, in other clothes

        return {"y": (1)}

    return func


def unknown():
    return eval("lambda pset: {'y': 4}")


def messages(caplog):
    return [text for text in caplog.messages if "has changed" in text]


def run(func, values, **options):
    return ps.run(func, ps.plist("a", values), cluster="sync", **options)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (FUNC, True),
        ("    " + FUNC.replace("\n", "\n    "), True),
        (FUNC.replace("return", "# why\n\n    return"), True),
        (FUNC.replace("'", '"'), True),
        (FUNC.replace("+ 1", "+ 2"), False),
        ("@cached\n" + FUNC, False),
    ],
)
def test_digest_is_that_of_the_code_and_not_of_its_layout(other, same):
    assert (digest(other) == digest(FUNC)) is same


@pytest.mark.parametrize("source", [None, "", "  # nothing", "    lambda p: 1,\n  [1, 2],\n)"])
def test_digest_of_what_is_not_known_or_a_part_of_a_call_is_none(source):
    assert digest(source) is None


def test_digest_of_a_line_with_a_lambda_is_that_of_the_lambda():
    line = "df = ps.run(lambda p: {'y': p['a']}, ps.plist('a', [1]))"
    assert digest(line) == digest("    " + line.replace("[1]", "range(9)") + "  # more")
    assert digest(line) != digest(line.replace("p['a']", "p['b']"))


def test_digest_of_a_source_that_was_cut_off_is_that_of_its_text():
    assert digest(FUNC[:-4]) not in (None, digest(FUNC))
    assert digest(FUNC[:-4]) == digest(FUNC[:-4])


def test_append_says_in_one_line_whose_rows_are_of_another_source(caplog, study_folder):
    caplog.set_level(logging.INFO)
    run(func, [1, 2])
    run(commented(), [3])
    run(unknown(), [4])
    assert messages(caplog) == []
    run(changed(), [5])
    run(changed(), [6])
    assert messages(caplog) == [
        "func 'func' has changed: 3 rows of the database are of other code (runs 0, 1); "
        f"`psweep-dask diff 1 {number} calc` shows what has changed"
        for number in (3, 4)
    ]


def test_append_says_nothing_of_failures_of_other_funcs_and_of_deleted_rows(caplog, study_folder):
    caplog.set_level(logging.INFO)

    def other(pset):
        return {"z": 1}

    def broken():
        def func(pset):
            raise ValueError

        return func

    run(other, [1])
    run(broken(), [2])
    run(func, [3])
    ps.delete("calc", "_run_seq == 2")
    run(changed(), [4])
    assert messages(caplog) == []


def test_message_names_the_latest_runs_only(caplog, study_folder):
    caplog.set_level(logging.INFO)
    for value in range(8):
        run(func, [value])
    run(changed(), [9])
    assert (
        "8 rows of the database are of other code (runs 3, 4, 5, 6, 7 and 3 earlier)" in caplog.text
    )


def test_skip_dups_says_which_rows_it_keeps_of_another_source(caplog, study_folder):
    run(func, [1, 2])
    run(func, [3])
    caplog.clear()
    df = run(changed(), [2, 3, 4], skip_dups=True)
    assert df.y.tolist() == [1, 1, 1, 2]
    assert messages(caplog) == [
        "func 'func' has changed: 2 rows of psets that are left out are of other code (runs 0, 1); "
        "skip_dups='same func' runs these again"
    ]
    caplog.clear()
    run(changed(), [4], skip_dups=True)
    assert messages(caplog) == []
    assert len(run(changed(), [1], skip_dups=True, save=False)) == 4
    assert "1 row of psets that are left out is of other code (run 0)" in caplog.text


def test_skip_dups_same_func_runs_again_what_another_source_has_made(caplog, study_folder):
    run(func, [1, 2])
    df = run(changed(), [1, 2, 3], skip_dups="same func")
    assert df.y.tolist() == [1, 1, 2, 2, 2]
    df = run(changed(), [1, 2, 3], skip_dups="same func")
    assert len(df) == 5
    df = run(commented(), [1, 2, 3], skip_dups="same func")
    assert df.y.tolist() == [1, 1, 2, 2, 2, 1]
    # Nothing more is said of rows that are there in both versions.
    caplog.clear()
    run(changed(), [1, 2, 3], skip_dups=True)
    assert messages(caplog) == []


def test_skip_dups_same_func_runs_again_what_an_unknown_source_has_made(study_folder):
    run(unknown(), [1])
    assert run(func, [1], skip_dups="same func").y.tolist() == [4, 1]


def test_skip_dups_same_func_needs_a_func_whose_source_is_known(study_folder):
    run(func, [1])
    with pytest.raises(SourceError, match="source of func 'lambda' is not known: define it by def"):
        run(unknown(), [1], skip_dups="same func")
    assert len(list(Path("calc/runs").iterdir())) == 1


@pytest.mark.parametrize("value", ["same", "func", None, 2])
def test_skip_dups_of_another_value_is_an_error(value):
    with pytest.raises(ps.PsweepError, match="allowed are True, False, 'same func'"):
        run(func, [1], skip_dups=value)


def stopped_after_two(func):
    """A run of four psets of which two have a row."""

    def stopping(pset):
        if pset["a"] == 3:
            raise ValueError
        return func(pset)

    stopping.__name__ = "func"
    with pytest.raises(ps.PsetFailedError):
        run(stopping, [1, 2, 3, 4], on_error="raise")
    (stored,) = all_runs(Layout("calc"))
    return stored


def test_resume_says_that_the_rows_of_the_run_are_of_another_source(caplog, study_folder):
    stopped_after_two(func)
    caplog.clear()
    df = ps.resume("calc", changed(), cluster="sync")
    assert df._status.tolist() == ["ok", "ok", "error", "ok"]
    assert messages(caplog) == [
        "func 'func' has changed: 3 rows are of other code (run 0); "
        "ps.run(func, params, skip_dups='same func') runs such psets again"
    ]
    # Which row is of which source is not known: all run again.
    caplog.clear()
    assert run(changed(), [1, 4], skip_dups="same func").y.tolist()[4:] == [2, 2]
    (stored, last) = all_runs(Layout("calc"))
    lines = list(compare_runs(stored, last))
    assert "source of func: run 0 was resumed with another one" in lines
    assert "source of func: changed" not in lines


def test_resume_with_the_func_of_the_plan_says_nothing(caplog, study_folder):
    stored = stopped_after_two(func)
    ps.resume("calc", cluster="sync")
    assert messages(caplog) == []
    assert "resumed_sources" not in json.loads(stored.folder.info_path.read_text())


def test_with_source_keeps_each_source_once():
    info = with_source({"source": FUNC}, FUNC.replace("return", "return  "))
    assert info == {"source": FUNC}
    other = FUNC.replace("+ 1", "+ 2")
    info = with_source(with_source(info, other), other)
    assert info == {"source": FUNC, "resumed_sources": [other]}


def test_diff_says_what_became_of_the_source(study_folder):
    run(func, [1])
    run(changed(), [2])
    run(commented(), [3])
    run(unknown(), [4])
    runs = all_runs(Layout("calc"))
    said = [
        [line for line in compare_runs(runs[0], other) if line.startswith("source of func")]
        for other in runs
    ]
    assert said == [
        [],
        ["source of func: changed"],
        ["source of func: the same but for comments and layout"],
        ["source of func: not known in one of the runs"],
    ]
