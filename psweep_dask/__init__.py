"""Parameter sweeps on Dask: dicts in, a pandas DataFrame out, nothing finished is ever lost."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psweep_dask.asking import query
    from psweep_dask.background import Sweep, submit
    from psweep_dask.batch import prep_batch
    from psweep_dask.checking import check_calc_dir
    from psweep_dask.choosing import conditional, missing, where
    from psweep_dask.collecting import collect
    from psweep_dask.conduct import PsetFailedError
    from psweep_dask.database import df_read, df_write
    from psweep_dask.editing import delete, df_update
    from psweep_dask.errors import PsweepError
    from psweep_dask.exporting import export
    from psweep_dask.frame import df_filter_conds, df_print, df_to_json
    from psweep_dask.giving_back import df_extract_params, df_extract_row, to_params
    from psweep_dask.importing import import_psweep
    from psweep_dask.labelled import to_xarray
    from psweep_dask.merging import merge_studies
    from psweep_dask.nested import flatten_dict, unflatten_dict
    from psweep_dask.params import (
        filter_params_dup_hash,
        filter_params_unique,
        itr2params,
        merge_dicts,
        pgrid,
        plist,
        stargrid,
    )
    from psweep_dask.pset import pset_sha1, rng
    from psweep_dask.reading import read_params
    from psweep_dask.recovery import load
    from psweep_dask.refining import refine
    from psweep_dask.registering import register
    from psweep_dask.remaining_jobs import prep_rest
    from psweep_dask.resuming import resume
    from psweep_dask.retrying import reproduce, retry
    from psweep_dask.run_report import status
    from psweep_dask.sampling import sample
    from psweep_dask.spacing import intspace, logspace
    from psweep_dask.sweep import run, run_local
    from psweep_dask.transfer import pull, push

    __version__: str

__all__ = [
    "PsetFailedError",
    "PsweepError",
    "Sweep",
    "check_calc_dir",
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

# Imported when they are first asked for: a command of the shell needs few of them.
_HOMES = {
    "query": "asking",
    "Sweep": "background",
    "submit": "background",
    "prep_batch": "batch",
    "check_calc_dir": "checking",
    "conditional": "choosing",
    "missing": "choosing",
    "where": "choosing",
    "collect": "collecting",
    "PsetFailedError": "conduct",
    "df_read": "database",
    "df_write": "database",
    "delete": "editing",
    "df_update": "editing",
    "PsweepError": "errors",
    "export": "exporting",
    "df_filter_conds": "frame",
    "df_print": "frame",
    "df_to_json": "frame",
    "df_extract_params": "giving_back",
    "df_extract_row": "giving_back",
    "to_params": "giving_back",
    "import_psweep": "importing",
    "to_xarray": "labelled",
    "merge_studies": "merging",
    "flatten_dict": "nested",
    "unflatten_dict": "nested",
    "filter_params_dup_hash": "params",
    "filter_params_unique": "params",
    "itr2params": "params",
    "merge_dicts": "params",
    "pgrid": "params",
    "plist": "params",
    "stargrid": "params",
    "pset_sha1": "pset",
    "rng": "pset",
    "read_params": "reading",
    "load": "recovery",
    "refine": "refining",
    "register": "registering",
    "prep_rest": "remaining_jobs",
    "resume": "resuming",
    "reproduce": "retrying",
    "retry": "retrying",
    "status": "run_report",
    "sample": "sampling",
    "intspace": "spacing",
    "logspace": "spacing",
    "run": "sweep",
    "run_local": "sweep",
    "pull": "transfer",
    "push": "transfer",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("psweep_dask")
    elif name in _HOMES:
        value = getattr(import_module(f"psweep_dask.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module 'psweep_dask' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
