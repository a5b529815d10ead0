"""Texts for people: times, counts, commands, and values in messages."""

from __future__ import annotations

import reprlib
import shlex
from itertools import islice
from pathlib import Path
from typing import Any


def format_rate(rate: float) -> str:
    """Return a number of psets per second as text."""
    return f"{rate:,.0f} psets/s" if rate >= 100 else f"{rate:.3g} psets/s"


def format_duration(seconds: float) -> str:
    """Return a time as text, with two units at most.

    Examples
    --------
    >>> [format_duration(seconds) for seconds in (0.123, 72, 7260, 200_000)]
    ['0.12 s', '1 min 12 s', '2 h 1 min', '2 d 7 h']
    """
    if seconds < 59.5:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def format_count(number: int, what: str) -> str:
    """Return a number and a noun, in the plural unless the number is 1: '2,000 workers'."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def kind_of(value: Any) -> str:
    """Return the name of the type of a value, with its article: 'a list', 'an int'."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


class _Repr(reprlib.Repr):
    """Writes only the beginning of lists and dicts, of which a whole ``repr`` may take minutes."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.maxtuple = self.maxlist = self.maxarray = self.maxdeque = limit
        self.maxset = self.maxfrozenset = self.maxdict = self._limit = limit

    def repr1(self, x: Any, level: int) -> str:
        """Return the text; an error in a ``__repr__`` becomes part of it.

        Inside of a list or dict, a value has 100 characters at most: values after it show too.
        """
        depth = self.maxlevel - level
        self.maxstring = self.maxother = 100 if depth else 200
        if depth <= 1:
            self._values_left = self._limit  # of this item: each takes a character at least
        self._values_left -= 1
        if self._values_left < 0:
            return self.fillvalue
        try:
            text = super().repr1(x, level)
        except KeyboardInterrupt:
            raise
        except BaseException as err:  # of the user's class, which may raise SystemExit, too
            text = f"<{type(x).__name__} whose repr fails: {_safe_repr(err)}>"
        return f"{text[:96]}...{text[-1]}" if depth and len(text) > 100 else text

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        """Keep the order of the keys, which reprlib would sort."""
        if level <= 0:
            return "{...}"
        parts = [
            f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}"
            for key, value in islice(x.items(), self.maxdict)
        ]
        return "{" + ", ".join(parts) + "}"


def _safe_repr(err: BaseException) -> str:
    try:
        return repr(err)
    except Exception:
        return type(err).__name__


def short_repr(value: Any, limit: int = 200) -> str:
    """Return the ``repr`` of a value for a message: not longer than `limit`, and without an error.

    Examples
    --------
    >>> short_repr({"b": range(10**6), "a": list(range(10**6))}, 50)
    "{'b': range(0, 1000000), 'a': [0, 1, 2, 3, 4, 5..."
    """
    return short_text(_Repr(limit).repr(value), limit)


def typed_repr(value: Any) -> str:
    """Return the type of a value and the beginning of its ``repr``: "a str: 'abc'"."""
    return f"{kind_of(value)}: {short_repr(value, 60)}"


def short_text(text: str, limit: int = 200) -> str:
    """Return a text, or the beginning of it and three dots: at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def cut_middle(text: str, limit: int) -> str:
    r"""Return a text without its middle where it is longer than about `limit` characters.

    Examples
    --------
    >>> cut_middle("a" * 100 + "b" * 100, 4)
    'aa\n... 196 characters are left out ...\nbb'
    """
    left_out = len(text) - limit
    if left_out <= 0:
        return text
    half = limit // 2
    return f"{text[:half]}\n... {left_out} characters are left out ...\n{text[-half:]}"


def format_commands(scripts: list[Path]) -> str:
    """Return the commands that start shell scripts, each from the working directory."""
    here = Path.cwd()
    paths = [path.relative_to(here) if path.is_relative_to(here) else path for path in scripts]
    return " or ".join(f"sh {shlex.quote(str(path))}" for path in paths)
