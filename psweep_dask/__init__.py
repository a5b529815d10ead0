"""Parameter sweeps on Dask: dicts in, a pandas DataFrame out, nothing finished is ever lost."""

from importlib.metadata import version

from psweep_dask.background import Sweep, submit
from psweep_dask.batch import prep_batch, prep_rest
from psweep_dask.collecting import collect
from psweep_dask.conduct import PsetFailedError
from psweep_dask.database import df_read, df_write
from psweep_dask.errors import PsweepError
from psweep_dask.frame import df_filter_conds, df_print, df_to_json
from psweep_dask.params import itr2params, merge_dicts, pgrid, plist
from psweep_dask.pset import pset_sha1, rng
from psweep_dask.recovery import load
from psweep_dask.registering import register
from psweep_dask.resuming import resume
from psweep_dask.retrying import reproduce, retry
from psweep_dask.sweep import run, run_local
from psweep_dask.transfer import pull, push

__version__ = version("psweep_dask")

__all__ = [
    "PsetFailedError",
    "PsweepError",
    "Sweep",
    "collect",
    "df_filter_conds",
    "df_print",
    "df_read",
    "df_to_json",
    "df_write",
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
    "submit",
]
