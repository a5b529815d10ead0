"""Nested dicts of parameters, and the same parameters under dotted keys, which can be columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from psweep_dask._format import short_repr
from psweep_dask.options import takes_old_names
from psweep_dask.params.grid import ParamsError
from psweep_dask.params.pset import Pset


@takes_old_names(join_str="sep")
def flatten_dict(nested: Mapping[str, Any], sep: str = ".") -> Pset:
    """Return a nested dict as a flat one with dotted keys.

    Parameters
    ----------
    nested : Mapping
        Its values are dicts, which may hold further dicts, or other values, which stay as they
        are. So do empty dicts. Keys such as 1 become text.
    sep : str, optional
        Separates the parts of a key.

    Returns
    -------
    dict
        One key for each value, in the order of `nested`.

    Raises
    ------
    ParamsError
        If two values would get the same key.

    See Also
    --------
    unflatten_dict : The inverse.

    Examples
    --------
    >>> flatten_dict({"model": {"depth": 2, "opt": {"lr": 0.1}}, "seed": 0})
    {'model.depth': 2, 'model.opt.lr': 0.1, 'seed': 0}
    """
    flat: Pset = {}
    for keys, value in _leaves(nested):
        name = sep.join(map(str, keys))
        if name in flat:
            raise ParamsError(f"the key {name!r} comes twice; rename one, or choose another sep=")
        flat[name] = value
    return flat


def unflatten_dict(flat: Mapping[str, Any], sep: str = ".") -> dict[str, Any]:
    """Return a flat dict with dotted keys as a nested one.

    Parameters
    ----------
    flat : Mapping
        As `flatten_dict` returns it.
    sep : str, optional
        Separates the parts of a key.

    Returns
    -------
    dict
        Each `sep` in a key makes one level of dicts.

    Raises
    ------
    ParamsError
        If `flat` is not a dict, or a key would stand for both a value and a dict.

    See Also
    --------
    flatten_dict : The inverse.

    Examples
    --------
    >>> unflatten_dict({"model.depth": 2, "model.opt.lr": 0.1, "seed": 0})
    {'model': {'depth': 2, 'opt': {'lr': 0.1}}, 'seed': 0}
    """
    if not isinstance(flat, Mapping):
        raise ParamsError(f"unflatten_dict takes a dict, not {short_repr(flat)}")
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *outer_keys, last_key = name.split(sep)
        inner = nested
        for key in outer_keys:
            inner = inner.setdefault(key, {})
            if not isinstance(inner, dict):
                raise ParamsError(f"{name!r}: {key!r} is already a value, it cannot be a dict, too")
        if last_key in inner:
            raise ParamsError(f"{name!r} is already a dict, it cannot be a value, too")
        inner[last_key] = value
    return nested


def _leaves(nested: Mapping[Any, Any], *keys: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, *keys, key)
        else:
            yield (*keys, key), value
