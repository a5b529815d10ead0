"""What a run tells of itself in ``run.json``, and what stands in for that when it is damaged."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from psweep_dask import plan
from psweep_dask.atomic import replace_file
from psweep_dask.layout import Layout

_NEEDED = {"run_id", "run_seq", "first_pset_seq", "psets", "database", "ended"}


def read_info(layout: Layout, run_id: str) -> dict[str, Any]:
    """Read ``run.json``.

    Raises
    ------
    KeyError, ValueError
        If something in it is missing, or is not what was written.
    """
    info: dict[str, Any] = json.loads(layout.run_info_path(run_id).read_bytes())
    if missing := _NEEDED - set(info):
        raise KeyError(f"run.json lacks {missing}")
    if info.pop("check", None) not in (None, _check_value(info)) or info["run_id"] != run_id:
        raise ValueError("run.json is not as it was written; after edits by hand, remove its check")
    return info


def info_from_plan(layout: Layout, run_id: str) -> dict[str, Any] | None:
    """Tell what is needed of a run whose ``run.json`` cannot be read; None if it has no plan."""
    try:
        with layout.plan_path(run_id).open("rb") as stream:
            planned, _ = plan.load(stream)
    except (OSError, plan.PlanError):
        return None
    return {
        "run_id": run_id,
        "run_seq": planned.run_seq,
        "first_pset_seq": planned.seqs[0],
        "psets": len(planned),
        "database": layout.relative_database(),
        "ended": None,
    }


def source_of(layout: Layout, run_id: str) -> str | None:
    """Tell the source that func had in a run; None if that is not known."""
    with suppress(OSError, ValueError, KeyError):
        return read_info(layout, run_id).get("source")
    return None


def write_info(layout: Layout, info: dict[str, Any]) -> None:
    """Write ``run.json``."""
    text = json.dumps(info | {"check": _check_value(info)}, indent=2)
    path = layout.run_info_path(info["run_id"])
    replace_file(path, lambda stream: stream.write(text.encode()), last=False)


def _check_value(info: Mapping[str, Any]) -> str:
    """Give what tells that no character of a story has changed."""
    return f"{zlib.crc32(json.dumps(info, sort_keys=True).encode()):08x}"
