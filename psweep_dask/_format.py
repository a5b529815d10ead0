"""Times, counts and values as people read them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any


def shown_rate(rate: float) -> str:
    """Write psets a second for people.

    Examples
    --------
    >>> shown_rate(1234.5), shown_rate(0.1234)
    ('1,234 psets/s', '0.123 psets/s')
    """
    return f"{rate:,.0f} psets/s" if rate >= 100 else f"{rate:.3g} psets/s"


def duration(seconds: float) -> str:
    """Write a time for people.

    Examples
    --------
    >>> duration(0.123), duration(72), duration(7260), duration(200_000)
    ('0.12 s', '1 min 12 s', '2 h 1 min', '2 d 7 h')
    """
    if seconds < 59.5:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def counted(number: int, what: str) -> str:
    """Say how many there are of something.

    Examples
    --------
    >>> counted(1, "worker"), counted(2000, "worker")
    ('1 worker', '2,000 workers')
    """
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def kind_of(value: Any) -> str:
    """Name the type of a value, with its article.

    Examples
    --------
    >>> kind_of([]), kind_of(1)
    ('a list', 'an int')
    """
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def shown(value: Any) -> str:
    """Show the beginning of a value, and its type.

    Examples
    --------
    >>> shown("abc"), shown(10**5000)[:30]
    ("a str: 'abc'", 'an int: <int whose repr fails:')
    """
    return f"{kind_of(value)}: {short(value, 60)}"


def short(value: Any, limit: int = 200) -> str:
    """Show a value for reading, whatever its ``repr`` does."""
    try:
        text = repr(value)
    except Exception as err:  # a foreign __repr__ must not cost the message
        text = f"<{type(value).__name__} whose repr fails: {err!r}>"
    return short_text(text, limit)


def short_text(text: str, limit: int = 200) -> str:
    """Cut a text for reading.

    Examples
    --------
    >>> short_text("a long story", 9)
    'a long...'
    """
    return text if len(text) <= limit else text[: limit - 3] + "..."


def shown_commands(paths: list[Path]) -> str:
    """Say how the jobs are submitted."""
    here = Path.cwd()
    shown = [path.relative_to(here) if path.is_relative_to(here) else path for path in paths]
    return " or ".join(f"sh {shlex.quote(str(path))}" for path in shown)
