"""The values of ``_status``, and what each means for a row.

| value | the pset | set |
| --- | --- | --- |
| ok | func returned a dict | final |
| error | func raised an exception, or returned what cannot be kept | final, failed |
| timeout | it was ended, since it took longer than ``timeout`` | final, failed |
| killed | its process died in the middle of it | final, failed |
| simulated | func was not called: ``simulate=True`` | final |
| prepared | its batch job has not ended yet | waiting |
| lost | its batch job has ended, and no result was found | waiting |
"""

from __future__ import annotations

FAILED = frozenset({"error", "timeout", "killed"})
"""The pset was run and brought no result: `ps.retry` runs it again."""

WAITING = frozenset({"prepared", "lost"})
"""A batch job may still bring the result: `ps.collect` completes the row."""

FINAL = FAILED | {"ok", "simulated"}
"""No later event changes the row."""

TO_RUN_AGAIN = FAILED | {"lost", "simulated"}
"""There is no result, so that running the pset again is no duplicate."""
