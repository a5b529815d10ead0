"""The source code of func: whether it is the one by which the rows of a study were made.

Two sources are the same if Python reads the same code from them: comments, blank lines and layout
do not count. Only func itself is compared, not what it calls. For a func that was typed in a shell
or written in C the source is not known; then nothing is said.
"""

from __future__ import annotations

import ast
import hashlib
import sys
import textwrap
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

import pandas as pd

from psweep_dask._format import format_count
from psweep_dask.errors import PsweepError
from psweep_dask.storage.layout import Layout
from psweep_dask.storage.status import TO_RUN_AGAIN
from psweep_dask.study.runs import StoredRun
from psweep_dask.worker.func import func_source
from psweep_dask.worker.work import Func

SAME_FUNC = "same func"
"""The value of `skip_dups` that leaves out only psets whose row was made by the same source."""

RUNS_NAMED = 5  # a message names so many runs at most


class SourceError(PsweepError):
    """A func whose source is not known, where it must be compared."""


@lru_cache(maxsize=1024)
def digest(source: str | None) -> str | None:
    r"""Return a short name of a source, equal for sources that are the same; None if not known.

    Of a line in which func is a lambda, only the lambda counts. If that line is a part of a longer
    call, the source is not known.

    Examples
    --------
    >>> digest("def f(p):\n    return p") == digest("  def f(p):  # as before\n\n    return (p)")
    True
    >>> digest("df = run(lambda p: 1, a)") == digest("run(lambda p: 1, b)")
    True
    """
    code = textwrap.dedent(source or "").strip()
    try:
        code = _dump(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        if not code.startswith(("def ", "class ", "@")):
            return None
        # It is too long, so that only its beginning was kept.
    return hashlib.blake2b(code.encode(errors="replace"), digest_size=16).hexdigest()


def _dump(code: str) -> str:
    """Return the syntax tree of a def or a class as text; of other code, those of its lambdas."""
    tree = ast.parse(code)
    if not tree.body:
        raise SyntaxError("there is no code")
    if isinstance(tree.body[0], ast.FunctionDef | ast.ClassDef):
        return ast.dump(tree)
    lambdas = [ast.dump(node) for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
    return "\n".join(lambdas) or ast.dump(tree)


def current_source(func: Func) -> str | None:
    """Return the source of func if it is what its module has now; None for a copy from a plan."""
    module = sys.modules.get(getattr(func, "__module__", None) or "")
    is_imported = getattr(module, getattr(func, "__qualname__", ""), None) is func
    return func_source(func) if is_imported else None


def sources_of(info: Mapping[str, Any]) -> list[str | None]:
    """Return the sources of a run: that of its begin, and those of calls that have resumed it."""
    return [info.get("source"), *info.get("resumed_sources", [])]


def with_source(info: Mapping[str, Any], source: str | None) -> dict[str, Any]:
    """Return what ``run.json`` says of a run that is resumed by a func with this source."""
    if digest(source) in _digests(info):
        return dict(info)
    return {**info, "resumed_sources": [*info.get("resumed_sources", []), source]}


class RowSources:
    """By which source the rows of a study were made, compared with the source of a func.

    Parameters
    ----------
    runs : iterable of StoredRun
        The runs of the study.
    name : str
        The name of func.
    source : str or None
        Its source.

    Attributes
    ----------
    name : str
    """

    def __init__(self, runs: Iterable[StoredRun], name: str, source: str | None) -> None:
        self.name = name
        self._digest = digest(source)
        self._runs = {run.run_id: run.info for run in runs}

    def rows_of_same(self, df: pd.DataFrame) -> pd.DataFrame:
        """Return the rows that the same source has made, and no other, not even an unknown one.

        Raises
        ------
        SourceError
            If the source of func is not known.
        """
        if self._digest is None:
            raise SourceError(
                f"skip_dups={SAME_FUNC!r}, but the source of func {self.name!r} is not known: "
                "define it by def in a file or a notebook, or pass skip_dups=True"
            )
        same = [id_ for id_, info in self._runs.items() if _digests(info) == {self._digest}]
        return df[df["_run_id"].isin(same)] if "_run_id" in df.columns else df[:0]

    def results_of_others(
        self, df: pd.DataFrame, hashes: Collection[str] | None = None
    ) -> Counter[int]:
        """Return how many results other sources have made, by the ``_run_seq`` of their runs.

        Parameters
        ----------
        df : DataFrame
        hashes : collection of str, optional
            Count only results for psets with these ``_pset_sha1``, and only if neither the same
            source nor an unknown one has made a result as well. By default, runs whose func has
            another name do not count, nor do lambdas, which all have the same name.
        """
        if hashes is None and self.name == "lambda":
            return Counter()
        others = {
            run_id: int(info["run_seq"])
            for run_id, info in self._runs.items()
            if (hashes is not None or info.get("func") == self.name) and differ(info, self._digest)
        }
        if not others or "_run_id" not in df.columns:
            return Counter()
        if "_status" in df.columns:
            df = df[~df["_status"].isin(TO_RUN_AGAIN)]
        of_others = df["_run_id"].isin(list(others))
        rows = df[of_others]
        if hashes is not None:
            hashes = set(hashes) - set(df.loc[~of_others, "_pset_sha1"])
            rows = rows[rows["_pset_sha1"].isin(hashes)]
        counts = rows["_run_id"].value_counts()
        return Counter({others[str(run_id)]: int(number) for run_id, number in counts.items()})


def differ(info: Mapping[str, Any], other: str | None) -> bool:
    """Return whether a run is known to have another source than that with the digest `other`."""
    digests = _digests(info)
    return other is not None and None not in digests and digests != {other}


def _digests(info: Mapping[str, Any]) -> set[str | None]:
    return {digest(source) for source in sources_of(info)}


def changed_message(name: str, counts: Counter[int], run_seq: int, layout: Layout) -> str:
    """Return the message that other sources of func have made rows to which a run appends."""
    return (
        f"func {name!r} has changed: {_rows(counts)} of the database {_are(counts)} of other code "
        f"({_runs(counts)}); `psweep-dask diff {max(counts)} {run_seq} {layout.calc_dir}` "
        "shows what has changed"
    )


def skipped_message(name: str, counts: Counter[int]) -> str:
    """Return the message that psets are left out whose rows other sources have made."""
    return (
        f"func {name!r} has changed: {_rows(counts)} of psets that are left out {_are(counts)} "
        f"of other code ({_runs(counts)}); skip_dups={SAME_FUNC!r} runs these again"
    )


def resumed_message(name: str, counts: Counter[int]) -> str:
    """Return the message that a run is resumed whose rows another source has made."""
    return (
        f"func {name!r} has changed: {_rows(counts)} {_are(counts)} of other code "
        f"({_runs(counts)}); ps.run(func, params, skip_dups={SAME_FUNC!r}) runs such psets again"
    )


def _rows(counts: Counter[int]) -> str:
    return format_count(counts.total(), "row")


def _are(counts: Counter[int]) -> str:
    return "is" if counts.total() == 1 else "are"


def _runs(counts: Counter[int]) -> str:
    seqs = sorted(counts)
    more = len(seqs) - RUNS_NAMED
    shown = ", ".join(map(str, seqs[-RUNS_NAMED:]))
    return f"run{'s' * (len(seqs) > 1)} {shown}" + (f" and {more} earlier" if more > 0 else "")
