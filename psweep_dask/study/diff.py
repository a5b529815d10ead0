"""What differed between two runs: code, packages, machine, call."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from psweep_dask.errors import PsweepError
from psweep_dask.storage.layout import Layout
from psweep_dask.study.runs import StoredRun, all_runs, check_study

FACTS = ("func", "psets", "user", "host", "argv", "cwd", "python", "git", "cluster", "offline")


class CompareError(PsweepError):
    """A run that is not known, or not by one name."""


def find_run(layout: Layout, beginning: str) -> StoredRun:
    """Find a run by its ``_run_seq``, or else by the beginning of its UUID.

    Raises
    ------
    CompareError
        If there is none, or more than one.
    """
    check_study(layout)
    runs = all_runs(layout)
    found = [one for one in runs if str(one.info["run_seq"]) == beginning]
    found = found or [one for one in runs if one.run_id.startswith(beginning)]
    if len(found) != 1:
        known = ", ".join(f"{one.info['run_seq']} ({one.run_id[:8]})" for one in runs)
        many = "more than one run has" if found else "no run has"
        raise CompareError(f"{many} the number {beginning}, or an id that begins so: {known}")
    return found[0]


def differences(one: StoredRun, other: StoredRun) -> Iterator[str]:
    """Tell what differed, line by line; nothing if nothing did.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> for name in ("f", "g"):
    ...     namespace = {}
    ...     exec(f"def {name}(pset): return {{}}", namespace)
    ...     df = ps.run(namespace[name], ps.plist("a", [1, 2]), cluster="sync")
    >>> runs = [find_run(Layout("calc"), seq) for seq in "01"]
    >>> list(differences(*runs))
    ['func: f -> g']
    """
    for name in FACTS:
        was, now = one.info.get(name), other.info.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            yield from _changed(was, now, f"{name} ")
        elif was != now:
            yield f"{name}: {_text(was)} -> {_text(now)}"
    yield from _changed(one.info.get("packages") or {}, other.info.get("packages") or {}, "")
    yield from _diff(
        "func", one, [str(run.info.get("source") or "") for run in (one, other)], other
    )
    patches = [run.layout.patch_path(run.run_id) for run in (one, other)]
    texts = [path.read_text() if path.exists() else "" for path in patches]
    yield from _diff("what git had not committed", one, texts, other)


def _changed(was: Mapping[str, Any], now: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name in sorted({*was, *now}):
        if was.get(name) != now.get(name):
            yield f"{prefix}{name}: {_text(was.get(name))} -> {_text(now.get(name))}"


def _diff(what: str, one: StoredRun, texts: list[str], other: StoredRun) -> Iterator[str]:
    was, now = (text.splitlines() for text in texts)
    named, other_named = (f"{what}, run {run.run_id[:8]}" for run in (one, other))
    yield from difflib.unified_diff(was, now, named, other_named, lineterm="", n=2)


def _text(value: Any) -> str:
    if value is None:
        return "(none)"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
