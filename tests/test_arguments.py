"""Arguments that a function does not take are named by a PsweepError, in whichever function."""

from __future__ import annotations

import fractions
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import psweep_dask as ps

DF = pd.DataFrame({"a": [1]})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ps.refine("calc", "x", "y"), "ps.refine.* takes a DataFrame, not 'calc'"),
        (lambda: ps.refine(DF, ["x"], "y"), "x and y name one column each"),
        (lambda: ps.missing("calc", []), "ps.missing.* takes a DataFrame"),
        (lambda: ps.to_xarray("calc", ["a"]), "ps.to_xarray.* takes a DataFrame"),
        (lambda: ps.to_xarray(DF, 1), "dims must be a list of columns, not 1"),
        (lambda: ps.to_xarray(DF, "a,b"), r"write \['a', 'b'\]"),
        (lambda: ps.export("calc", "x.csv"), "ps.export.* takes a DataFrame, not 'calc'"),
        (lambda: ps.export("x.csv", DF), "ps.export.* takes a DataFrame, not 'x.csv'"),
        (lambda: ps.to_params([1]), "ps.to_params.* takes a DataFrame, not a list"),
        (lambda: ps.load(DF), "calc_dir must be a folder such as 'calc', not a DataFrame"),
        (lambda: ps.query(DF, "a > 1"), "not a DataFrame"),
        (lambda: ps.df_update(DF, {"b": 1}), "not a DataFrame"),
        (lambda: ps.df_update("calc", "b"), "values must be a dict"),
        (lambda: ps.merge_studies("all", ["one", "two"]), "not a list"),
        (lambda: ps.plist("a", "abc"), r"a single str; write \['abc'\]"),
        (lambda: ps.stargrid({"a": 1}, ps.plist("a", [1])), r"write vary=\[plist\]"),
        (lambda: ps.stargrid({"a": 1}, None), "expected a list of dicts"),
        (lambda: ps.stargrid({}, [ps.plist("a", [1])], vary_labels="a"), "a list of str, not 'a'"),
        (
            lambda: ps.stargrid({}, [ps.plist("a", [1])], vary_labels=["x"], vary_label_col="a"),
            "the key 'a' is set twice in one pset: to 1 and to 'x'",
        ),
        (lambda: ps.sample({"x": (0.0, 1.0)}, 4, seed="a"), "seed must be .* not 'a'"),
        (lambda: ps.sample({"x": (0.0, 1.0)}, 4, seed=-1), "a whole number from 0, not -1"),
        (lambda: ps.sample({3: (0.0, 1.0)}, 4), "the name of a parameter must be a str, not 3"),
        (lambda: ps.where(DF, 3), "a condition must be a str .* or a function .* not 3"),
        (lambda: ps.conditional([{"a": 1}], None), "a condition must be .* not None"),
        (lambda: ps.filter_params_dup_hash([{"a": 1}], ["zz"]), "'zz' is not a hash of a pset"),
        (lambda: ps.logspace("a", 2, 3), "must be a number, not 'a'"),
        (lambda: ps.intspace(1, 2, "a"), "the arguments of numpy.linspace .*'a'"),
        (
            lambda: ps.run(len, [{"a": 10**5000}]),
            "params.0.: the value of key 'a', an int: <int",
        ),
        (
            lambda: ps.run(len, [{"a": 1}], database_basename="runs"),
            "is a folder; give the database another name",
        ),
        (lambda: ps.run(len, [{"a": 1}], calc_dir="a\0b"), "no path can have a null byte"),
    ],
)
def test_argument_that_is_wrong_is_named_and_nothing_is_written(call, message, study_folder):
    with pytest.raises(ps.PsweepError, match=message):
        call()
    assert not list(Path().iterdir())


def test_expression_must_be_a_str(study_folder):
    ps.run(lambda pset: {}, ps.plist("a", [1]), cluster="sync")
    with pytest.raises(ps.PsweepError, match="an expression must be a str"):
        ps.delete("calc", lambda row: True)


def test_arguments_of_related_types_are_taken(study_folder):
    rays = [ps.plist("a", [1, 2]), ps.plist("b", [3])]
    for labels in (np.array(["x", "y"]), iter("xy"), {"x": 1, "y": 2}.keys()):
        assert [pset["_vary"] for pset in ps.stargrid({}, rays, labels)] == ["x", "x", "y"]
    nested = ps.stargrid(ps.stargrid({"c": 1}, [ps.plist("a", [1])], ["in"])[0], rays[1:], ["out"])
    assert nested == [{"c": 1, "a": 1, "b": 3, "_vary": "out"}]
    assert ps.logspace(np.array(1), fractions.Fraction(100), 3).tolist() == [1, 10, 100]
    assert ps.logspace(1, 2**70, 2).tolist() == [1, 2.0**70]
    ps.run(lambda pset: {}, ps.plist("a", [1, 2]), cluster="sync")
    df = ps.df_update("calc", {"s": {"x": 3, "y": 4}.values(), "c": pd.Categorical(["u", "v"])})
    assert (df.s.tolist(), df.c.tolist()) == ([3, 4], ["u", "v"])


@pytest.mark.parametrize(
    "call",
    [
        lambda: ps.sample({"x": (0, 10**400)}, 2),
        lambda: ps.sample({"x": (0.0, 1.0)}, 10**400, "grid"),
        lambda: ps.sample({"x": np.array(3)}, 2),
        lambda: ps.intspace(0, 10, -5),
        lambda: ps.intspace(0, 10, 3, dtype=float),
        lambda: ps.intspace(0, 10, 3, retstep=True),
        lambda: ps.intspace([0, 1], [2, 3], 3),
        lambda: ps.filter_params_dup_hash([{"a": 1}], None),
        lambda: ps.filter_params_dup_hash([{"a": 1}], ["ab"]),
        lambda: ps.logspace(1, 10**400, 3),
    ],
)
def test_numpy_errors_become_psweep_errors(call):
    with pytest.raises(ps.PsweepError):
        call()
