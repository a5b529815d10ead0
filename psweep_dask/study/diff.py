"""What differed between two runs: code, packages, machine, call."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from psweep_dask.study.runs import StoredRun

# Fields of run.json that are compared as they are.
FIELDS = ("func", "psets", "user", "host", "argv", "cwd", "python", "git", "cluster", "offline")


def compare_runs(run: StoredRun, other: StoredRun) -> Iterator[str]:
    """Yield what differed between two runs, line by line; nothing if nothing did."""
    for name in FIELDS:
        old, new = run.info.get(name), other.info.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _compare_items(old, new, f"{name} ")
        elif old != new:
            yield f"{name}: {_shown(old)} -> {_shown(new)}"
    yield from _compare_items(run.info.get("packages") or {}, other.info.get("packages") or {}, "")
    runs = (run, other)
    sources = [str(stored.info.get("source") or "") for stored in runs]
    yield from _compare_texts("func", runs, sources)
    paths = [stored.folder.patch_path for stored in runs]
    patches = [path.read_text() if path.exists() else "" for path in paths]
    yield from _compare_texts("what git had not committed", runs, patches)


def _compare_items(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield f"{prefix}{name}: {_shown(old.get(name))} -> {_shown(new.get(name))}"


def _compare_texts(what: str, runs: tuple[StoredRun, StoredRun], texts: list[str]) -> Iterator[str]:
    old, new = (text.splitlines() for text in texts)
    old_name, new_name = (f"{what}, run {run.run_id[:8]}" for run in runs)
    yield from difflib.unified_diff(old, new, old_name, new_name, lineterm="", n=2)


def _shown(value: Any) -> str:
    if value is None:
        return "(none)"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
