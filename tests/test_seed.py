"""The examples that psweep's README prints: each must give what is shown there."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import psweep_dask as ps

A = ps.plist("a", [1, 2, 3])
B = ps.plist("b", ["xx", "yy"])
C = ps.plist("c", [None, 1.2, "X"])
CONST = ps.plist("const", [1.23])
NESTED = [
    {"a": 1, "b": "xx"},
    {"a": 1, "b": "yy"},
    {"a": 2, "b": "xx"},
    {"a": 2, "b": "yy"},
    {"a": 3, "b": "xx"},
    {"a": 3, "b": "yy"},
]
ZIPPED = [
    {"a": 1, "b": "xx", "c": None},
    {"a": 1, "b": "xx", "c": 1.2},
    {"a": 1, "b": "xx", "c": "X"},
    {"a": 2, "b": "yy", "c": None},
    {"a": 2, "b": "yy", "c": 1.2},
    {"a": 2, "b": "yy", "c": "X"},
]


def double(pset):
    return {"result": pset["a"] * 2.0}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (A, [{"a": 1}, {"a": 2}, {"a": 3}]),
        (B, [{"b": "xx"}, {"b": "yy"}]),
        (ps.itr2params(product(A, B)), NESTED),
        (ps.pgrid(A, B), NESTED),
        (ps.pgrid(zip(A, B, strict=False), C), ZIPPED),
        (ps.itr2params(product(zip(A, B, strict=False), C)), ZIPPED),
        (
            ps.pgrid(zip(A, B, strict=False), C, CONST),
            [{**pset, "const": 1.23} for pset in ZIPPED],
        ),
        (
            ps.pgrid(ps.plist("a", [1, 2, 3]), ps.plist("b", [77, 88])),
            [{"a": a, "b": b} for a in (1, 2, 3) for b in (77, 88)],
        ),
    ],
)
def test_parameter_spaces(given, shown):
    assert given == shown
    assert [list(pset) for pset in given] == [list(pset) for pset in shown]


def test_zip_of_unequal_lists_is_flattened_as_well():
    assert ps.itr2params(zip(A, B)) == [{"a": 1, "b": "xx"}, {"a": 2, "b": "yy"}]  # noqa: B905  (as the seed writes it)


def test_func_may_return_an_update_the_pset_or_nothing_new():
    for func in (
        lambda pset: {"result": 1.234},
        lambda pset: {**pset, "result": 1.234},
        lambda pset: {},
    ):
        df = ps.run_local(func, [{"a": 1, "b": "lala"}], save=False)
        assert df[["a", "b"]].to_dict("records") == [{"a": 1, "b": "lala"}]


def test_psets_of_mixed_types_come_back_as_they_were():
    params = [
        {"a": 1, "b": "xx", "c": None},
        {"a": 1, "b": "yy", "c": 1.234},
        {"a": None, "b": "xx", "c": "X"},
    ]
    df = ps.run_local(lambda pset: {}, params, save=False)
    assert df[["a", "b", "c"]].to_dict("records") == params


def test_passing_df_back_in_appends_without_a_file(study_folder):
    df_run_0 = ps.run_local(double, A, save=False)
    df_run_0_and_1 = ps.run_local(double, A, save=False, df=df_run_0)
    assert df_run_0_and_1._run_seq.tolist() == [0, 0, 0, 1, 1, 1]
    assert df_run_0_and_1._pset_seq.tolist() == [0, 1, 2, 3, 4, 5]
    assert df_run_0_and_1._pset_sha1.tolist() == 2 * [
        "e4ad4daad53a2eec0313386ada88211e50d693bd",
        "7b7ee754248759adcee9e62a4c1477ed1a8bb1ab",
        "9e0e6d8a99c72daf40337183358cbef91bba7311",
    ]
    assert list(study_folder.iterdir()) == []


def test_data_on_disk_is_found_by_pset_id_and_evaluated(study_folder):
    def func(pset):
        folder = study_folder / pset["_calc_dir"] / pset["_pset_id"]
        folder.mkdir(parents=True)
        (folder / "output.txt").write_text(f"{pset['a']} {pset['a'] * 2} {pset['a'] * 4}")
        return {}

    ps.run_local(func, ps.plist("a", [1, 2, 3, 4]))
    df = ps.df_read("calc/database.pk")
    df = df[df.a > 0 & ~df.a.isna()]
    arrays = [np.loadtxt(f"calc/{pset_id}/output.txt") for pset_id in df._pset_id.values]
    df["mean"] = np.array(arrays).mean(axis=1)
    ps.df_write(df, "calc/database_eval.pk")
    assert ps.df_read("calc/database_eval.pk")["mean"].tolist() == pytest.approx(
        [7 / 3, 14 / 3, 7, 28 / 3]
    )


def test_rows_are_filtered_by_conditions_and_by_study():
    params = ps.pgrid(ps.plist("study", ["scan=a:b"]), A, ps.plist("b", [10, 20]))
    df = ps.run_local(double, params, save=False)
    picked = ps.df_filter_conds(df, [df.b == 10, df.a > 1])
    assert picked.a.tolist() == [2, 3]
    study = df.study.iloc[0]
    cols = study.split("=")[1].split(":")
    assert df[df.study == "scan=a:b"][cols].values.tolist() == [
        [a, b] for a in (1, 2, 3) for b in (10, 20)
    ]
