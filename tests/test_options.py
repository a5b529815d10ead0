from __future__ import annotations

import inspect
import pydoc
import subprocess
import sys
import textwrap
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import psweep_dask as ps
from psweep_dask.options import (
    OptionError,
    Options,
    ResumeOptions,
    RetryOptions,
    RunLocalOptions,
    RunOptions,
)

FIELDS = {field.name: field for field in fields(Options)}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("save", "yes"),
        ("tmpsave", 1),
        ("simulate", None),
        ("backup", "x"),
        ("git", 2),
        ("skip_dups", "hash"),
        ("progress", "bar"),
        ("df", [1]),
        ("verbose", "a"),
        ("verbose", 3),
        ("capture_logs", "stdout"),
        ("on_error", "ignore"),
        ("on_error", 0),
        ("on_error", True),
        ("on_error", 1.5),
        ("calc_dir", None),
        ("database_dir", 3),
        ("database_basename", "sub/database.pk"),
        ("database_basename", ""),
        ("poolsize", 0),
        ("poolsize", -1),
        ("poolsize", 1.5),
        ("poolsize", "two"),
        ("poolsize", True),
        ("retries", -1),
        ("retries", 1.0),
        ("timeout", 0),
        ("timeout", "1"),
        ("timeout", float("nan")),
        ("resources", "GPU=1"),
        ("resources", ["GPU"]),
        ("resources", {"GPU": 0}),
        ("resources", {"GPU": -1}),
        ("resources", {"GPU": True}),
        ("resources", {"GPU": "1"}),
        ("resources", {"GPU": float("inf")}),
        ("resources", {"GPU": float("nan")}),
        ("resources", {"GPU": 1, "MEM": None}),
        ("resources", {1: 1}),
    ],
)
def test_option_value_that_is_not_allowed_is_named_with_those_that_are(option, value):
    with pytest.raises(OptionError, match=rf"^{option}=.*; allowed are "):
        Options(**{option: value})


@pytest.mark.parametrize(
    ("option", "value", "meant"),
    [
        ("poolsize", np.int64(2), 2),
        ("poolsize", np.array(2), 2),
        ("retries", np.uint8(1), 1),
        ("on_error", np.int32(3), 3),
        ("timeout", np.float32(0.5), 0.5),
        ("timeout", np.int64(60), 60),
        ("resources", {"GPU": np.int64(1)}, {"GPU": 1}),
        ("save", np.bool_(False), False),
        ("verbose", 1, True),
        ("verbose", 0, False),
        ("verbose", np.array(["a", "b"]), ["a", "b"]),
    ],
)
def test_numbers_of_numpy_are_those_of_python(option, value, meant):
    chosen = getattr(Options(**{option: value}), option)
    assert chosen == meant
    assert type(chosen) is type(meant)


@pytest.mark.parametrize("resources", [None, {}, {"GPU": 1}, {"GPU": 0.5, "MEM": 8e9}])
def test_resources_are_names_and_amounts(resources):
    assert Options(resources=resources).resources == resources


def test_git_needs_save():
    with pytest.raises(OptionError, match="save=True"):
        Options(git=True, save=False)


@pytest.mark.parametrize(("on_error", "limit"), [("record", None), ("raise", 1), (7, 7)])
def test_on_error_sets_the_failure_limit(on_error, limit):
    assert Options(on_error=on_error).failure_limit == limit


@pytest.mark.parametrize(
    ("options", "needs"),
    [
        ({}, True),
        ({"save": False}, False),
        ({"save": False, "tmpsave": True}, True),
        ({"save": False, "capture_logs": "db"}, False),
        ({"save": False, "capture_logs": "db+file"}, True),
    ],
)
def test_needs_folder_if_anything_is_written(options, needs):
    assert Options(**options).needs_folder is needs


TAKES = [
    (ps.run, RunOptions, set()),
    (ps.submit, RunOptions, set()),
    (ps.run_local, RunLocalOptions, {"poolsize", "df", "save", "verbose", "calc_dir"}),
    (ps.resume, ResumeOptions, {"calc_dir", "retries"}),
    (ps.retry, RetryOptions, {"calc_dir"}),
    (ps.reproduce, None, {"calc_dir", "database_dir", "database_basename"}),
]
"""The public functions that take options: those in ``**options``, and some of the others."""


@pytest.mark.parametrize("typed", [RunOptions, RunLocalOptions, ResumeOptions, RetryOptions])
def test_typed_options_have_the_types_of_options(typed):
    for name, annotation in typed.__annotations__.items():
        assert annotation.__forward_arg__ == FIELDS[name].type


def test_typed_options_of_run_are_all_but_poolsize():
    assert RunOptions.__optional_keys__ == FIELDS.keys() - {"poolsize"}


@pytest.mark.parametrize(("function", "typed", "others"), TAKES)
def test_signature_shows_each_option_with_its_default_and_type(function, typed, others):
    parameters = inspect.signature(function).parameters
    names = others | (typed.__optional_keys__ if typed else set())
    for name in names:
        if (function, name) != (ps.resume, "retries"):  # where None means: as in the run
            assert parameters[name].default == FIELDS[name].default
            assert parameters[name].annotation == FIELDS[name].type
    assert all(parameter.kind != parameter.VAR_KEYWORD for parameter in parameters.values())


@pytest.mark.parametrize(("function", "typed", "others"), TAKES)
def test_help_describes_each_parameter_in_full_and_in_order(function, typed, others):
    text = pydoc.render_doc(function, renderer=pydoc.plaintext)
    section = inspect.getdoc(function).partition("----------\n")[2].partition("\n\n")[0]
    described = [line.partition(" :")[0] for line in section.splitlines() if line[:1] != " "]
    assert described == list(inspect.signature(function).parameters)
    assert "as in `run`" not in section.lower()
    of_options = inspect.getdoc(Options)
    for name in others | (typed.__optional_keys__ if typed else set()):
        entry = of_options.partition(f"\n{name} : ")[2].partition("\n")[2]
        first_line = entry.splitlines()[0].strip()
        assert first_line in text, name


CALLS = [
    (lambda: ps.run(len, [{}], colour="red"), r"run\(\) got .* 'colour'"),
    (lambda: ps.run(len, [{}], timout=3), r"run\(\) got .* 'timout'; did you mean 'timeout'\?"),
    (lambda: ps.submit(len, [{}], skip_dup=1), "'skip_dup'; did you mean 'skip_dups'"),
    (
        lambda: ps.run(len, [{}], poolsize=2),
        r"'poolsize'; .*ps.run_local\(func, params, poolsize=2",
    ),
    (lambda: ps.submit(len, [{}], poolsize=2), "'poolsize'; only ps.run_local has it"),
    (lambda: ps.run(len, [{}], dask_client=1), "'dask_client'; pass the client as cluster="),
    (lambda: ps.run(len, [{}], fill_value=0), "'fill_value'; missing values are always NaN"),
    (lambda: ps.run_local(len, [{}], worker=len), r"run_local\(\) got both 'func' and 'worker'"),
    (lambda: ps.run_local(len, [{}], retry=1), "'retry'; did you mean 'retries'"),
    (lambda: ps.resume("calc", on_eror="raise"), "'on_eror'; did you mean 'on_error'"),
    (lambda: ps.resume("calc", save=False), r"resume\(\) got .* 'save'"),
    (lambda: ps.retry("calc", kinds="error"), "'kinds'; did you mean 'kind'"),
]


@pytest.mark.parametrize(("call", "message"), CALLS)
def test_unknown_option_is_named_with_the_nearest_before_anything_starts(
    call, message, study_folder
):
    with pytest.raises(TypeError, match=message):
        call()
    assert list(study_folder.iterdir()) == []


@pytest.mark.slow
def test_mypy_finds_wrong_types_and_names_of_options_in_a_script_of_a_user(study_folder):
    pytest.importorskip("mypy")
    script = """
    import psweep_dask as ps

    def func(pset: dict[str, int]) -> dict[str, int]:
        return pset

    df = ps.run(func, [{"a": 1}], cluster="sync", timeout=3, capture_logs="db")
    df = ps.run(func, [{"a": 1}], timeout="x")
    df = ps.run_local(func, [{"a": 1}], None, "4")
    sweep = ps.submit(func, [{"a": 1}], tiemout=1)
    ps.resume("calc", save=True)
    """
    (study_folder / "script.py").write_text(textwrap.dedent(script))
    config = Path(ps.__file__).parents[1] / "pyproject.toml"
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", config, "script.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [line.split(":")[1] for line in errors] == ["8", "9", "10", "11"], done.stdout
