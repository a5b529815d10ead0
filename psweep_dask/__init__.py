"""Parameter sweeps on Dask: dicts in, a pandas DataFrame out, nothing finished is ever lost."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psweep_dask.background import Sweep, submit
    from psweep_dask.batch import prep_batch
    from psweep_dask.checking import check_calc_dir
    from psweep_dask.collecting import collect
    from psweep_dask.conduct import PsetFailedError
    from psweep_dask.database import df_read, df_write
    from psweep_dask.errors import PsweepError
    from psweep_dask.exporting import export
    from psweep_dask.frame import df_filter_conds, df_print, df_to_json
    from psweep_dask.labelled import to_xarray
    from psweep_dask.params import itr2params, merge_dicts, pgrid, plist
    from psweep_dask.pset import pset_sha1, rng
    from psweep_dask.recovery import load
    from psweep_dask.registering import register
    from psweep_dask.remaining_jobs import prep_rest
    from psweep_dask.resuming import resume
    from psweep_dask.retrying import reproduce, retry
    from psweep_dask.run_report import status
    from psweep_dask.sweep import run, run_local
    from psweep_dask.transfer import pull, push

    __version__: str

__all__ = [
    "PsetFailedError",
    "PsweepError",
    "Sweep",
    "check_calc_dir",
    "collect",
    "df_filter_conds",
    "df_print",
    "df_read",
    "df_to_json",
    "df_write",
    "export",
    "itr2params",
    "load",
    "merge_dicts",
    "pgrid",
    "plist",
    "prep_batch",
    "prep_rest",
    "pset_sha1",
    "pull",
    "push",
    "register",
    "reproduce",
    "resume",
    "retry",
    "rng",
    "run",
    "run_local",
    "status",
    "submit",
    "to_xarray",
]

# Imported when they are first asked for: a command of the shell needs few of them.
_HOMES = {
    "Sweep": "background",
    "submit": "background",
    "prep_batch": "batch",
    "prep_rest": "remaining_jobs",
    "check_calc_dir": "checking",
    "collect": "collecting",
    "PsetFailedError": "conduct",
    "df_read": "database",
    "df_write": "database",
    "PsweepError": "errors",
    "export": "exporting",
    "df_filter_conds": "frame",
    "df_print": "frame",
    "df_to_json": "frame",
    "to_xarray": "labelled",
    "itr2params": "params",
    "merge_dicts": "params",
    "pgrid": "params",
    "plist": "params",
    "pset_sha1": "pset",
    "rng": "pset",
    "load": "recovery",
    "register": "registering",
    "resume": "resuming",
    "reproduce": "retrying",
    "retry": "retrying",
    "status": "run_report",
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
