"""What func has logged, as ``note`` of the driver writes it: the truth that checks rely on."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass
class FuncLog:
    """Each begin and end of an evaluation, in their order."""

    path: Path

    def lines(self, start: int = 0) -> list[tuple[int, int, str, float]]:
        """Give all from a line on but the last, if that is half written."""
        with suppress(FileNotFoundError):
            whole = self.path.read_text().split("\n")[start:-1]
            fields = map(str.split, whole)
            return [(int(seq), int(pid), phase, float(time)) for seq, pid, phase, time in fields]
        return []

    def size(self) -> int:
        return len(self.lines())

    def count(self, phase: str, start: int = 0) -> Counter[int]:
        return Counter(seq for seq, _, what, _ in self.lines(start) if what == phase and seq >= 0)

    def says(self, phase: str, start: int) -> bool:
        return any(what == phase for _, _, what, _ in self.lines(start))
