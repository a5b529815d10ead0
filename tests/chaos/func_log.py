"""The log that func writes, by ``log_line`` of the driver: the checks compare all else with it."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass
class FuncLog:
    """Each begin and end of an evaluation, in the order in which they happened."""

    path: Path

    def lines(self, start: int = 0) -> list[tuple[int, int, str, float]]:
        """Return the lines from a number on, without a last one that is only half written."""
        with suppress(FileNotFoundError):
            whole = self.path.read_text().split("\n")[start:-1]
            fields = map(str.split, whole)
            return [(int(seq), int(pid), phase, float(time)) for seq, pid, phase, time in fields]
        return []

    def size(self) -> int:
        return len(self.lines())

    def count(self, phase: str, start: int = 0) -> Counter[int]:
        return Counter(seq for seq, _, name, _ in self.lines(start) if name == phase and seq >= 0)

    def has(self, phase: str, start: int) -> bool:
        return any(name == phase for _, _, name, _ in self.lines(start))
