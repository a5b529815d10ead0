"""What scripts for psweep rely on, and each difference that the page for them lists."""

from __future__ import annotations

import decimal
import inspect
import json
import multiprocessing
import os
import random
import re
import socket
import subprocess
import sys
import threading
import warnings
from collections import OrderedDict
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.funcs import double

import psweep_dask as ps

PARAMS = ps.plist("a", [1, 2, 3])
PAGE = Path(__file__).parents[1] / "docs" / "from_psweep.md"
OURS = ["_status", "_exc_txt", "_exec_host", "_pset_runtime", "_attempt"]


def program(name):
    return Path(sys.executable).with_name(name)


# What scripts rely on, by the areas of psweep's own tests. What is not here has its test elsewhere,
# such as test_seed.py, params/test_grid.py and driver/test_run_options.py.


def test_run_twice_appends_and_the_file_has_what_is_returned():
    """Runs: the second one goes on in the same database."""
    ps.run_local(double, PARAMS)
    df = ps.run_local(double, PARAMS, poolsize=2, tmpsave=True)
    assert df.y.tolist() == 2 * [2, 4, 6]
    assert df._run_id.nunique() == 2
    assert df._pset_id.nunique() == 6
    assert df._pset_sha1.nunique() == 3
    assert df.equals(ps.df_read("calc/database.pk"))
    saved = {path.stem for path in Path("calc/tmpsave", df._run_id.iloc[-1]).iterdir()}
    assert saved == set(df._pset_id[3:])


@pytest.mark.parametrize("df", [None, pd.DataFrame()], ids=["none", "empty"])
def test_df_that_is_none_or_empty_is_a_new_database(df, study_folder):
    """Interactive use: the DataFrame is passed along and nothing is on disk."""
    first = ps.run_local(double, PARAMS, save=False, df=df)
    both = ps.run_local(double, PARAMS, save=False, df=first)
    assert list(study_folder.iterdir()) == []
    columns = ["a", "y", "_pset_sha1"]
    assert both[columns].values.tolist() == 2 * first[columns].values.tolist()
    assert both._pset_seq.tolist() == list(range(6))


def test_psets_of_the_script_stay_as_they_are():
    """Runs: psets are copied, also what is nested in them."""

    def func(pset):
        pset["a"] = pset["c"] = 0
        pset["b"]["list"].append(1)
        return {}

    params = [{"a": 1, "b": {"list": []}}]
    for where in ("sync", "local"):
        ps.run(func, params, cluster=where, save=False)
    assert params == [{"a": 1, "b": {"list": []}}]


def test_result_replaces_the_parameter_of_its_name_but_not_the_hash():
    """Runs: the row is the pset, updated by what func returns."""
    df = ps.run_local(lambda pset: {"a": 10 * pset["a"], "_mine": 1}, [{"a": 1}], save=False)
    assert df[["a", "_mine", "_pset_sha1"]].values.tolist() == [
        [10, 1, ps.pset_sha1({"a": 1})],
    ]


def test_simulated_rows_follow_the_real_ones_and_the_next_real_run_knows_nothing_of_them():
    """Simulation: rows of earlier runs are equal, results of new ones are missing."""
    real = ps.run_local(double, PARAMS)
    simulated = ps.run_local(double, ps.plist("a", [8, 9]), simulate=True)
    assert simulated.y.isna().tolist() == 3 * [False] + 2 * [True]
    assert real.equals(simulated[:3].astype(real.dtypes))
    df = ps.run_local(double, ps.plist("a", [8, 9]))
    assert df.y.tolist() == [2, 4, 6, 16, 18]


def test_backup_has_the_files_that_func_has_written():
    """Backups: folders of psets are in them, links stay links."""

    def func(pset):
        folder = Path(pset["_calc_dir"], pset["_pset_id"])
        folder.mkdir(parents=True)
        (folder / "out.txt").write_text(str(pset["a"]))
        (folder / "link").symlink_to("out.txt")
        return {}

    old = ps.run_local(func, PARAMS)
    ps.run_local(func, PARAMS, backup=True)
    (copy,) = Path().glob("calc.bak_*")
    assert re.fullmatch(r"calc\.bak_[\d-]+T[\d:.]+Z_run_id_" + old._run_id.iloc[0], copy.name)
    files = [copy / pset_id / "out.txt" for pset_id in old._pset_id]
    assert [file.read_text() for file in files] == ["1", "2", "3"]
    assert all((file.parent / "link").is_symlink() for file in files)


@pytest.mark.parametrize("save", [True, False])
def test_skip_dups_compares_with_the_database_or_with_df(save):
    """Repeated runs: only new psets run, and the hashes of the others stay."""
    first = ps.run_local(double, PARAMS, save=save)
    options = {"save": save, "df": None if save else first, "skip_dups": True}
    assert ps.run_local(double, PARAMS, **options).equals(first)
    df = ps.run_local(double, ps.plist("a", [1, 2, 88]), **options)
    assert df.a.tolist() == [1, 2, 3, 88]
    assert df._pset_sha1[:3].tolist() == first._pset_sha1.tolist()


@pytest.mark.parametrize("orient", [None, "split", "records", "index", "columns"])
def test_df_json_files_hold_nested_values_in_each_orient(orient):
    """Files: what JSON knows comes back."""
    row = {"i": 1, "f": 0.1, "s": "'x' \"y\"", "l": [1, 2.5, "z"], "d": {"k": [1, 2]}}
    df = pd.DataFrame([row, row | {"i": 2, "f": np.nan}])
    options = {"orient": orient} if orient else {}
    ps.df_write(df, "df.json", fmt="json", **options)
    pd.testing.assert_frame_equal(ps.df_read("df.json", fmt="json", **options), df)


def test_df_filter_conds_takes_iterators_of_any_masks():
    """DataFrames: conditions may be Series, arrays and lists, and come from map."""
    df = pd.DataFrame({"a": range(10)})
    for kind in (lambda mask: mask, pd.Series.to_numpy, pd.Series.to_list):
        picked = ps.df_filter_conds(df, map(kind, [df.a > 3, df.a % 2 == 0]))
        assert picked.a.tolist() == [4, 6, 8]


def test_func_may_use_a_pool_of_its_own():
    """Runs: func starts processes."""

    def func(pset):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return {"y": pool.map(abs, [-pset["a"], 0])}

    assert ps.run_local(func, PARAMS[:2], save=False).y.tolist() == [[1, 0], [2, 0]]


def test_failures_that_func_catches_are_columns_of_its_own():
    """Examples: func stores its own tracebacks, and the psets that failed run again."""

    def func(pset, broken=True):
        try:
            if broken and pset["a"] % 2:
                raise ValueError("odd")
        except ValueError as err:
            print("failed")
            return {"_failed": True, "_exc_txt": repr(err)}
        return {"_failed": False, "_exc_txt": None, "y": pset["a"]}

    df = ps.run_local(func, PARAMS, capture_logs="db", save=False)
    assert df._status.tolist() == ["ok", "ok", "ok"]
    assert df._exc_txt.tolist() == ["ValueError('odd')", None, "ValueError('odd')"]
    assert df._logs.tolist() == ["failed\n", "", "failed\n"]
    params = ps.df_extract_params(df[df._failed])
    df = ps.run_local(partial(func, broken=False), params, save=False, df=df)
    again = df[df._run_seq == 1]
    assert again.y.tolist() == [1, 3]
    assert again._pset_sha1.tolist() == df._pset_sha1[df._failed].tolist()


def test_results_of_a_study_are_parameters_of_the_next():
    """Examples: psets and results of one DataFrame, zipped, vary together with a new parameter."""
    first = ps.run_local(double, PARAMS, save=False)
    params = ps.pgrid(
        zip(ps.df_extract_params(first), ps.plist("y", first.y.to_numpy()), strict=True),
        ps.plist("c", [10, 20]),
    )
    df = ps.run_local(lambda pset: {"z": pset["y"] + pset["c"]}, params, save=False)
    assert df[["a", "y", "c", "z"]].values.tolist() == [
        [a, 2 * a, c, 2 * a + c] for a in (1, 2, 3) for c in (10, 20)
    ]


def test_commands_read_the_database():
    """Commands: psweep-db2json and psweep-db2table with the options of psweep."""
    ps.run_local(double, PARAMS)
    database = "calc/database.pk"
    command = [program("psweep-db2json"), "-o", "columns", database]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert '"y":{' in shown
    command = [program("psweep-db2table"), "-i", "-a", "-f", "simple", database]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "_pset_id" in shown.splitlines()[0]
    assert len(shown.splitlines()) == 2 + 3


def test_run_scripts_submit_new_jobs_from_any_folder_and_keep_old_lines():
    """Batch jobs: templates are filled, and the run script of a machine submits the jobs."""
    files = {
        "templates/calc/run.sh": "echo $a $_run_seq >>out.txt",
        "templates/machines/box/info.yaml": "---\nsubcmd: sh\n",
        "templates/machines/box/jobscript": "#!/bin/sh\nsh run.sh\n",
    }
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    ps.prep_batch(PARAMS)
    subprocess.run(["sh", "run_box.sh"], cwd="calc", check=True)
    df = ps.prep_batch(ps.plist("a", [4]))
    subprocess.run(["sh", "calc/run_box.sh"], check=True)
    texts = [Path("calc", pset_id, "out.txt").read_text() for pset_id in df._pset_id]
    assert texts == ["1 0\n", "2 0\n", "3 0\n", "4 1\n"]
    script = Path("calc/run_box.sh").read_text()
    assert all(f"run_seq={min(seq // 3, 1)} pset_seq={seq}" in script for seq in range(4))
    assert Path("calc", df._pset_id.iloc[0], "jobscript_box").exists()


def test_params_are_built_by_loops_and_lists_of_any_depth():
    """Parameters: the ways to combine plists give the same."""
    a, b, c = ps.plist("a", [1, 2]), ps.plist("b", [3, 4]), ps.plist("c", range(2))
    assert ps.pgrid([a]) == a
    assert ps.pgrid([a, b]) == ps.pgrid(a, b) == ps.itr2params(product(a, b))
    pairs = [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    assert ps.pgrid([zip(a, b, strict=True)]) == ps.itr2params(zip(a, b, strict=True)) == pairs
    nested = ps.itr2params(product(zip(a, b, strict=True), c))
    assert ps.pgrid([zip(a, b, strict=True), c]) == ps.pgrid(pairs, c) == nested


def test_version_is_text():
    """Names: the version."""
    assert isinstance(ps.__version__, str)


# The differences, in the order of the page. Each row of its tables names its test here.


def test_page_names_a_test_for_each_difference():
    tests = PAGE.parents[1] / "tests"
    rows = re.findall(r"^\| (?!---).*", PAGE.read_text(), re.M)
    rows = [row for row in rows if not row.startswith(("| psweep ", "| what "))]
    untested, missing = [], []
    for row in rows:
        names = re.findall(r"(?:([\w/]+\.py)::)?(test_\w+)", "".join(re.findall("<!--.*?-->", row)))
        untested += [] if names else [row]
        for path, name in names:
            if f"def {name}(" not in (tests / (path or Path(__file__).name)).read_text():
                missing.append(name)
    assert not untested
    assert not missing
    assert len(rows) > 40


def test_failed_pset_is_a_row_unless_on_error_says_raise():
    def func(pset):
        if pset["a"] == 2:
            sys.exit(3)
        return {"y": 1 / (pset["a"] - 1)}

    df = ps.run_local(func, PARAMS, save=False)
    assert df._status.tolist() == ["error", "error", "ok"]
    assert "ZeroDivisionError" in df._exc_txt.iloc[0]
    with pytest.raises(ps.PsweepError, match="ZeroDivisionError"):
        ps.run_local(func, PARAMS, on_error="raise")
    assert ps.load("calc")._status.tolist() == ["error"]


def test_func_changes_the_script_only_with_cluster_sync():
    seen = []

    def func(pset):
        seen.append(pset["a"])
        return {"pid": os.getpid()}

    df = ps.run_local(func, PARAMS, save=False)
    assert seen == []
    assert df.pid.nunique() == 1
    assert df.pid.iloc[0] != os.getpid()
    df = ps.run(func, PARAMS, cluster="sync", save=False)
    assert seen == [1, 2, 3]
    assert set(df.pid) == {os.getpid()}


WITH_A_POOL = """
import multiprocessing
import lib
import psweep_dask as ps


def square(x):
    return x * x


def func(pset):
    called = lib.square if pset["own_module"] else square
    with multiprocessing.Pool(2) as pool:
        return {"y": pool.map(called, [1, 2])}


params = ps.plist("own_module", [True, False])
for cluster in ("local", "sync"):
    print(*ps.run(func, params, cluster=cluster, save=False)._status)
"""


def test_pool_in_func_calls_functions_of_the_script_and_of_modules(study_folder):
    (study_folder / "lib.py").write_text("def square(x):\n    return x * x\n")
    (study_folder / "study.py").write_text(WITH_A_POOL)
    command = [sys.executable, "study.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines() == ["ok ok", "ok ok"], done.stderr


@pytest.mark.parametrize("result", [[("y", 1)], pd.Series({"y": 1})], ids=["pairs", "series"])
def test_result_that_is_no_dict_is_a_failure(result):
    df = ps.run_local(lambda pset: result, PARAMS[:1], save=False)
    assert df._status.tolist() == ["error"]
    assert "dict" in df._exc_txt.iloc[0]
    df = ps.run_local(lambda pset: dict(result), PARAMS[:1], save=False)
    assert df.y.tolist() == [1]


@pytest.mark.parametrize("key", ["_pset_id", "_status"])
def test_result_may_not_replace_book_keeping(key):
    df = ps.run_local(lambda pset: {key: "mine"}, PARAMS[:1], save=False)
    assert df._status.tolist() == ["error"]
    assert repr(key) in df._exc_txt.iloc[0]


def test_psets_may_not_have_book_keeping_but_are_made_of_rows():
    df = ps.run_local(double, PARAMS, save=False)
    with pytest.raises(ps.PsweepError, match="'_run_id' is reserved"):
        ps.run_local(double, df.to_dict("records"), save=False)
    assert ps.df_extract_params(df) == PARAMS


def test_keys_of_psets_are_str():
    with pytest.raises(ps.PsweepError, match="the key 1 is an int"):
        ps.run_local(double, [{1: 2}], save=False)


def test_func_gets_a_plain_dict():
    for where in ("local", "sync"):
        df = ps.run(
            lambda pset: {"class": type(pset).__name__},
            [OrderedDict(a=1)],
            cluster=where,
            save=False,
        )
        assert df["class"].tolist() == ["dict"]


def test_hash_is_without_keys_that_begin_or_end_with_an_underscore():
    assert ps.pset_sha1({"a": 1, "_b": 2, "c_": 3}) == ps.pset_sha1({"a": 1})


class Model:
    """A value without a reproducible hash."""


def test_values_have_a_hash_or_are_an_error_before_the_run(study_folder):
    values = [{1, 2}, np.arange(3), np.int64(1), 1, Model]
    df = ps.run_local(lambda pset: {}, ps.plist("a", values), save=False)
    assert df._pset_sha1.str.fullmatch("[0-9a-f]{40}").all()
    assert df._pset_sha1.nunique() == 4
    with pytest.raises(ps.PsweepError, match="'a'.*no reproducible hash"):
        ps.run_local(double, [{"a": Model()}])
    assert list(study_folder.iterdir()) == []
    df = ps.run_local(lambda pset: {"y": 1}, [{"a": 1, "_model": Model()}], save=False)
    assert df._pset_sha1.tolist() == [ps.pset_sha1({"a": 1})]


def test_key_that_is_set_twice_is_an_error_but_for_merge_dicts():
    with pytest.raises(ps.PsweepError, match="'a' is set twice"):
        ps.pgrid(ps.plist("a", [1]), ps.plist("a", [2]))
    with pytest.raises(ps.PsweepError, match="'a' is set twice"):
        ps.itr2params([({"a": 1}, {"a": 2})])
    assert ps.merge_dicts({"a": 1}, {"a": 2}) == {"a": 2}


def test_plist_of_a_str_is_an_error():
    with pytest.raises(ps.PsweepError, match=r"write \['xy'\]"):
        ps.plist("a", "xy")
    assert ps.plist("a", list("xy")) == [{"a": "x"}, {"a": "y"}]


def test_pgrid_of_one_plist_and_of_none():
    assert ps.pgrid(PARAMS) == PARAMS
    assert ps.pgrid(zip(PARAMS, ps.plist("b", ["x", "z"]), strict=False)) == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": "z"},
    ]
    assert ps.pgrid() == ps.pgrid([]) == []


def test_errors_of_input_have_one_class():
    for call in (
        lambda: ps.df_write(pd.DataFrame(), "df.x", fmt="x"),
        lambda: ps.df_filter_conds(pd.DataFrame({"a": [1, 2]}), [[True]]),
        lambda: ps.run_local(double, PARAMS, poolsize=0),
        lambda: ps.merge_dicts("a"),
    ):
        with pytest.raises(ps.PsweepError) as caught:
            call()
        assert not isinstance(caught.value, AssertionError)


def test_verbose_prints_rows_with_their_results(capsys):
    ps.run_local(double, [{"a": 17}], save=False, verbose=["a", "y"])
    assert capsys.readouterr().out.split() == ["a", "y", "17", "34"]


def test_rows_have_more_columns_after_those_of_psweep():
    df = ps.run_local(double, PARAMS, poolsize=2, save=False)
    assert df.columns.tolist() == [
        "a",
        *("_run_id", "_pset_id", "_calc_dir", "_time_utc", "_pset_sha1", "_pset_seq", "_run_seq"),
        "y",
        *OURS,
    ]
    assert df._pset_seq.tolist() == [0, 1, 2]


def test_rows_are_sorted_by_their_number():
    df = ps.run_local(double, PARAMS, save=False)
    df = ps.run_local(double, ps.plist("a", [4]), save=False, df=df[::-1])
    assert df.a.tolist() == [1, 2, 3, 4]


def test_folder_of_a_study_has_more_than_folders_of_psets():
    ps.run_local(double, PARAMS)
    assert sorted(path.name for path in Path("calc").iterdir()) == [
        ".database.pk.lock",
        "database.pk",
        "runs",
    ]


def test_json_keys_of_rows_are_times_in_nanoseconds():
    df = ps.run_local(double, PARAMS, save=False)
    assert len(json.loads(ps.df_to_json(df, orient="index"))) == 3
    key = f'"{df.index[0]:%Y-%m-%dT%H:%M:%S}":'
    assert key not in ps.df_to_json(df, orient="index")
    assert key in ps.df_to_json(df, orient="index", date_unit="s")


HELPERS = {
    *("system", "makedirs", "fullpath", "itr", "is_seq", "flatten", "file_read", "file_write"),
    *("dict_hash", "git_clean", "worker_wrapper", "Machine", "FileTemplate"),
    *("gather_calc_templates", "gather_machines", "PANDAS_DEFAULT_ORIENT", "PANDAS_TIME_UNIT"),
    # of newer versions
    *("pickle_read", "pickle_write", "json_read", "json_write", "get_uuid", "get_many_uuids"),
    *("in_git_repo", "git_enter", "git_exit", "filter_cols", "df_ensure_dtypes", "func_wrapper"),
    *("df_extract_dicts", "df_update_pset_hash", "df_update_pset_cols", "capture_logs_wrapper"),
    *("PSET_HASH_ALG", "GIT_ADD_ALL", "CALC_DIR", "DATABASE_BASENAME", "FILL_VALUE"),
    *("PsweepHashError", "pset_hash", "df_extract_pset"),
}


def test_helpers_of_psweep_are_named_by_the_page_and_not_here():
    page = PAGE.read_text()
    assert not [name for name in HELPERS if hasattr(ps, name)]
    assert not [name for name in HELPERS if f"`{name}`" not in page and f"`{name}(" not in page]


# The differences to newer versions.


def test_run_takes_a_cluster_where_psweep_takes_a_pool_or_a_client():
    with pytest.raises(TypeError, match="poolsize"):
        ps.run(double, PARAMS, poolsize=2)
    with pytest.raises(TypeError, match="dask_client"):
        ps.run(double, PARAMS, dask_client=None)
    with pytest.raises(TypeError):
        ps.run(double, PARAMS, pd.DataFrame())
    assert ps.run_local(double, PARAMS, None, 2, False).y.tolist() == [2, 4, 6]


def test_hash_does_not_know_numpy_from_python():
    assert ps.pset_sha1({"a": np.int64(1)}) == ps.pset_sha1({"a": 1})
    assert ps.pset_sha1({"a": 1.0}) != ps.pset_sha1({"a": 1})
    assert ps.pset_sha1({"a": (1, 2)}) == ps.pset_sha1({"a": [1, 2]})


def test_rows_keep_their_hash_when_a_later_run_has_a_new_parameter():
    old = ps.run_local(double, PARAMS)
    df = ps.run_local(double, ps.pgrid(PARAMS, ps.plist("b", ["x"])), skip_dups=True)
    assert len(df) == 6
    assert df._pset_sha1[:3].tolist() == old._pset_sha1.tolist()
    assert ps.df_extract_params(df)[:3] == PARAMS
    assert len(ps.run_local(double, PARAMS, skip_dups=True)) == 6


def test_columns_have_types_and_none_is_not_a_gap():
    params = [{"a": 1, "b": None, "c": "x"}, {"a": 2, "b": "y"}]
    df = ps.run_local(lambda pset: {"y": pset["a"] / 2}, params, save=False)
    assert (df.a.dtype, df.y.dtype) == ("int64", "float64")
    assert df.b.tolist() == [None, "y"]
    assert df.c.isna().tolist() == [False, True]
    assert ps.df_extract_params(df) == params


def test_index_is_the_time():
    df = ps.run_local(double, PARAMS, save=False)
    assert (df.index == df._time_utc).all()
    assert df.reset_index(drop=True).loc[2, "y"] == df.iloc[2]["y"] == 6


@pytest.mark.parametrize("name", ["y", "y_"])
def test_results_need_no_underscore(name):
    df = ps.run_local(lambda pset: {name: 1}, PARAMS, save=False)
    assert ps.df_extract_params(df) == PARAMS
    assert df._pset_sha1.tolist() == [ps.pset_sha1(pset) for pset in PARAMS]


def test_df_print_prints_all_columns(capsys):
    df = ps.run_local(double, PARAMS, save=False)
    with pytest.raises(TypeError, match="cols"):
        ps.df_print(df, cols=["y", "a"])
    ps.df_print(df[["y", "a"]])
    assert capsys.readouterr().out.split()[:4] == ["y", "a", "2", "1"]
    ps.df_print(df)
    assert capsys.readouterr().out.split()[: len(df.columns)] == df.columns.tolist()


def test_pset_of_a_row_is_restored_by_its_hash():
    values = [1, 2.5, None, "x", (1, 2), np.float32(1.5), np.sin, pd.NA, {"k": [1]}]
    params = ps.plist("a", values)
    df = ps.run_local(lambda pset: {}, params, save=False)
    assert len(df) == len(values)
    hashes = [ps.pset_sha1(pset) for pset in ps.df_extract_params(df)]
    assert hashes == df._pset_sha1.tolist() == [ps.pset_sha1(pset) for pset in params]
    row = ps.df_extract_row(df, df._pset_id.iloc[3])
    assert (row["a"], row["_pset_seq"]) == ("x", 3)
    assert ps.df_extract_row(df, df._pset_id.iloc[3], kind="pset") == {"a": "x"}
    with pytest.raises(ps.PsweepError, match="'prefix'"):
        ps.df_extract_row(df, df._pset_id.iloc[3], kind="prefix")


def test_flatten_dict_joins_by_a_dot():
    assert ps.flatten_dict({"a": {"b": 1}}) == {"a.b": 1}
    assert ps.flatten_dict({"a": {"b": 1}}, sep="_") == {"a_b": 1}


def test_spacing_hits_the_bounds_and_goes_down():
    assert ps.intspace(3, 1, 3).tolist() == [3, 2, 1]
    assert ps.logspace(0.1, 0.7, num=3)[[0, -1]].tolist() == [0.1, 0.7]


def test_templates_have_dollars_unless_jinja_is_asked_for():
    default = inspect.signature(ps.prep_batch).parameters["template_mode"].default
    assert default == "dollar"


# What func sees.


def test_both_pages_have_the_same_table_of_what_func_sees():
    def table(name):
        text = (PAGE.parent / name).read_text()
        section = re.sub(" <!--.*?-->", "", text.partition("## What func sees")[2])
        return [line for line in section.partition("\n## ")[0].splitlines() if line[:1] == "|"]

    assert table("anywhere.md") == table("from_psweep.md")
    assert len(table("anywhere.md")) > 10


SCRIPT = """
import importlib, logging, os, pathlib, sys
import config
import psweep_dask as ps

with open("starts.txt", "a") as file:
    file.write("x")
value = "first"


def func(pset):
    import below

    logging.info("from func")
    os.environ["OF_FUNC"] = "1" if pset["a"] == 1 else os.environ.get("OF_FUNC", "none")
    found = {name: os.environ.get(name, "") for name in ("MINE", "GONE", "OF_FUNC")}
    return {"value": value, "n": config.n, "code": config.code(), "cwd": os.getcwd(), **found}


sys.path.append(os.path.abspath("lib"))
ps.run_local(func, ps.plist("a", [1]), save=False)
value = "second"
config_path = pathlib.Path("config.py")
config_path.write_text(config_path.read_text().replace("old", "newer"))
importlib.reload(config)
config.n = 100
os.environ["MINE"] = "mine"
del os.environ["GONE"]
logging.basicConfig(level=logging.INFO, format="my format: %(message)s")
os.mkdir("elsewhere")
os.chdir("elsewhere")
df = ps.run_local(func, ps.plist("a", [2]), capture_logs="db")
print(df.iloc[0].drop("_time_utc").to_json())
"""


def test_func_sees_what_the_script_has_set(study_folder):
    (study_folder / "lib").mkdir()
    (study_folder / "lib" / "below.py").touch()
    (study_folder / "config.py").write_text("n = 1\ndef code(): return 'old'\n")
    (study_folder / "study.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "study.py"],
        env=os.environ | {"GONE": "still here"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["_status"] == "ok", row["_exc_txt"]
    assert (row["value"], row["n"], row["code"]) == ("second", 100, "newer")
    assert (row["MINE"], row["GONE"], row["OF_FUNC"]) == ("mine", "", "none")
    assert row["cwd"] == str(study_folder / "elsewhere")
    assert row["_logs"] == "my format: from func\n"
    assert "distributed" not in done.stderr
    assert (study_folder / "starts.txt").read_text() == "x"


def test_func_has_a_copy_of_a_random_generator():
    rng = np.random.default_rng(1)

    def func(pset):
        return {"y": rng.random(), "z": ps.rng(pset).random()}

    df = pd.concat([ps.run_local(func, PARAMS, save=False) for _ in range(2)])
    assert df.y.tolist() == 2 * np.random.default_rng(1).random(3).tolist()
    assert df.z.nunique() == 6


def test_func_does_not_see_settings_of_this_process():
    def func(pset):
        warnings.warn("shown", stacklevel=1)
        return {"draw": random.random(), "prec": decimal.getcontext().prec, "err": np.geterr()}

    random.seed(1)
    here = random.random()
    random.seed(1)
    with decimal.localcontext() as context, np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        context.prec = 5
        df = ps.run_local(func, PARAMS, save=False)
        assert df._status.tolist() == ["ok", "ok", "ok"]
        assert set(df.prec) == {28}
        assert df.err.iloc[0]["divide"] == "warn"
        assert here not in set(df.draw)


@pytest.mark.parametrize("make", [threading.Lock, socket.socket])
def test_locks_and_connections_need_cluster_sync(make, study_folder):
    held = make()

    def func(pset):
        with held:
            return {"y": 1}

    with pytest.raises(ps.PsweepError):
        ps.run_local(func, PARAMS[:1])
    assert not (study_folder / "calc").exists()
    assert ps.run(func, PARAMS[:1], cluster="sync", save=False).y.tolist() == [1]
