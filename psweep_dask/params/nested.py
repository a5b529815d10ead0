"""Parameters in dicts within dicts, and the same by dotted keys, which can be columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from psweep_dask.params.grid import ParamsError
from psweep_dask.params.pset import Pset


def flatten_dict(nested: Mapping[str, Any], sep: str = ".") -> Pset:
    """Give the values in dicts within a dict keys of their own.

    Parameters
    ----------
    nested : Mapping
    sep : str, optional
        Stands between the keys.

    Returns
    -------
    dict
        Lists and all else but dicts stay as they are, and so do empty dicts.

    Raises
    ------
    ParamsError
        If two values would get the same key, or a key is no str.

    Examples
    --------
    >>> flatten_dict({"model": {"depth": 2, "opt": {"lr": 0.1}}, "seed": 0})
    {'model.depth': 2, 'model.opt.lr': 0.1, 'seed': 0}
    """
    flat: Pset = {}
    for keys, value in _leaves(nested, ()):
        if bad := [key for key in keys if not isinstance(key, str)]:
            raise ParamsError(f"the key {bad[0]!r} is no str; keys of parameters must be")
        name = sep.join(keys)
        if name in flat:
            raise ParamsError(f"{name!r} is there twice; rename one, or choose another sep=")
        flat[name] = value
    return flat


def unflatten_dict(flat: Mapping[str, Any], sep: str = ".") -> dict[str, Any]:
    """Undo `flatten_dict`, for instance within func.

    Parameters
    ----------
    flat : Mapping
    sep : str, optional
        What parts the names.

    Returns
    -------
    dict

    Raises
    ------
    ParamsError
        If a key stands for a value and for a dict.

    Examples
    --------
    >>> unflatten_dict({"model.depth": 2, "model.opt.lr": 0.1, "seed": 0})
    {'model': {'depth': 2, 'opt': {'lr': 0.1}}, 'seed': 0}
    """
    if not isinstance(flat, Mapping):
        raise ParamsError(f"unflatten_dict takes a dict, not {flat!r}")
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split(sep)
        inner = nested
        for key in path:
            inner = inner.setdefault(key, {})
            if not isinstance(inner, dict):
                raise ParamsError(f"{name!r}: {key!r} is a value already, not a dict")
        if last in inner:
            raise ParamsError(f"{name!r} is a dict already, not a value")
        inner[last] = value
    return nested


def _leaves(
    nested: Mapping[str, Any], keys: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*keys, key))
        else:
            yield (*keys, key), value
