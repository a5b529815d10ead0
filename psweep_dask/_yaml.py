"""Reading YAML 1.2, where values are what they look like and no key is written twice."""

from __future__ import annotations

import re
from typing import Any


def read_yaml(text: str | bytes) -> Any:
    """Return what a YAML text holds: dicts, lists, numbers, text, dates, True, False, None.

    Raises
    ------
    ValueError
        If it is not YAML, or a mapping has a key twice. The message begins with the number of the
        line, if that is known.

    Examples
    --------
    >>> read_yaml("{a: 1e-3, b: 12:00:00, c: no}")
    {'a': 0.001, 'b': '12:00:00', 'c': 'no'}
    """
    from ruamel.yaml import YAML  # here, since its import takes 0.03 s and few calls read YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)  # the parser in C knows YAML 1.1 only
    except DuplicateKeyError as err:
        key = re.sub(
            r'found duplicate .*?key "(.*?)"( with value .*)?$', r"\1", err.problem, flags=re.S
        )
        raise ValueError(
            f"line {err.problem_mark.line + 1}: the key {key!r} is written twice"
        ) from err
    except MarkedYAMLError as err:
        line = f"line {err.problem_mark.line + 1}: " if err.problem_mark else ""
        raise ValueError(f"{line}not YAML, {err.problem}") from err
    except Exception as err:  # bytes that are not text, 2026-13-45, `!!int x`, ...
        raise ValueError(f"not YAML, {err}") from err
