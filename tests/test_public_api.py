"""The public names: which there are, and that their help is complete."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from importlib.metadata import version

import pytest

import psweep_dask as ps

FUNCTIONS = [name for name in ps.__all__ if inspect.isfunction(getattr(ps, name))]


def test_public_names():
    assert sorted(ps.__all__) == [
        "PsetFailedError",
        "PsweepError",
        "Sweep",
        "check_calc_dir",
        "close",
        "collect",
        "conditional",
        "delete",
        "df_extract_params",
        "df_extract_row",
        "df_filter_conds",
        "df_print",
        "df_read",
        "df_to_json",
        "df_update",
        "df_write",
        "export",
        "filter_params_dup_hash",
        "filter_params_unique",
        "flatten_dict",
        "import_psweep",
        "intspace",
        "itr2params",
        "load",
        "logspace",
        "merge_dicts",
        "merge_studies",
        "missing",
        "pgrid",
        "plist",
        "prep_batch",
        "prep_rest",
        "pset_sha1",
        "pull",
        "push",
        "query",
        "read_params",
        "rebuild",
        "refine",
        "register",
        "reproduce",
        "resume",
        "retry",
        "rng",
        "run",
        "run_local",
        "sample",
        "stargrid",
        "status",
        "submit",
        "to_params",
        "to_xarray",
        "unflatten_dict",
        "where",
    ]
    assert ps.__version__ == version("psweep_dask")


def test_public_names_have_an_example():
    for name in ps.__all__:
        assert ">>>" in (getattr(ps, name).__doc__ or ""), name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_help_describes_parameters_and_returns(name):
    signature, text = inspect.signature(getattr(ps, name)), inspect.getdoc(getattr(ps, name))
    section = text.partition("Parameters\n----------\n")[2].partition("\n\n")[0]
    described = re.findall(r"^(\S.*?)(?: : .*)?\n +\S", section, re.M)
    names = [word.lstrip("*") for entry in described for word in entry.split(", ")]
    assert sorted(names) == sorted(signature.parameters)
    returns_none = signature.return_annotation in (None, "None")
    assert ("\nReturns\n-------\n" in text) is not returns_none


def test_import_loads_no_heavy_package():
    code = (
        "import sys, psweep_dask; print({'distributed', 'bokeh', 'tqdm.notebook'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
