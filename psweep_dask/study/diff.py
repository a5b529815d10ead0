"""What differed between two runs: code, packages, machine, call."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from psweep_dask.study.runs import StoredRun
from psweep_dask.study.sources import digest, sources_of

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
    yield from _compare_sources(runs)
    paths = [stored.folder.patch_path for stored in runs]
    patches = [path.read_text() if path.exists() else "" for path in paths]
    yield from _compare_texts("what git had not committed", runs, patches)


def _compare_items(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield f"{prefix}{name}: {_shown(old.get(name))} -> {_shown(new.get(name))}"


def _compare_sources(runs: tuple[StoredRun, StoredRun]) -> Iterator[str]:
    """Yield what differed in the source of func; of a resumed run, the latest source counts."""
    for run in runs:
        if run.info.get("resumed_sources"):
            yield f"source of func: run {run.info['run_seq']} was resumed with another one"
    texts = [sources_of(run.info)[-1] or "" for run in runs]
    if texts[0] != texts[1]:
        how = "changed"
        if not all(texts):
            how = "not known in one of the runs"
        elif digest(texts[0]) is not None and digest(texts[0]) == digest(texts[1]):
            how = "the same but for comments and layout"
        yield f"source of func: {how}"
        yield from _compare_texts("func", runs, texts)


def _compare_texts(what: str, runs: tuple[StoredRun, StoredRun], texts: list[str]) -> Iterator[str]:
    old, new = (text.splitlines() for text in texts)
    old_name, new_name = (f"{what}, run {run.run_id[:8]}" for run in runs)
    yield from difflib.unified_diff(old, new, old_name, new_name, lineterm="", n=2)


def _shown(value: Any) -> str:
    if value is None:
        return "(none)"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
