"""Building parameter spaces: pure functions, lists of dicts in and lists of dicts out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from psweep_dask.errors import PsweepError
from psweep_dask.pset import Pset


class ParamsError(PsweepError):
    """A parameter space that cannot be built as asked."""


def plist(name: str, seq: Iterable[Any]) -> list[Pset]:
    """Make a list of one-entry psets from the values of one parameter.

    Parameters
    ----------
    name : str
        Name of the parameter.
    seq : iterable
        Its values.

    Returns
    -------
    list of dict

    Raises
    ------
    ParamsError
        If `name` is no str or `seq` cannot be looped over.

    Examples
    --------
    >>> plist("a", [1, 2, 3])
    [{'a': 1}, {'a': 2}, {'a': 3}]
    """
    if not isinstance(name, str):
        raise ParamsError(f"the name of a parameter must be a str, not {name!r}")
    if not isinstance(seq, Iterable):
        raise ParamsError(
            f"the values of {name!r} must be a sequence, not {seq!r}; write [{seq!r}]"
        )
    return [{name: value} for value in seq]


def pgrid(*plists: Iterable[Any]) -> list[Pset]:
    """Loop over parameters in a nested loop, the last one fastest.

    Parameters
    ----------
    *plists : iterables of dict
        Results of `plist`, or of ``zip`` over some of them for parameters that vary together.
        A single list that holds several of them is taken apart.

    Returns
    -------
    list of dict

    Raises
    ------
    ParamsError
        If two of them set the same key, or something in them is no dict.

    Examples
    --------
    >>> a = plist("a", [1, 2])
    >>> b = plist("b", ["xx", "yy"])
    >>> c = plist("c", [1.2])
    >>> pgrid(a, b)
    [{'a': 1, 'b': 'xx'}, {'a': 1, 'b': 'yy'}, {'a': 2, 'b': 'xx'}, {'a': 2, 'b': 'yy'}]
    >>> pgrid(zip(a, b), c)
    [{'a': 1, 'b': 'xx', 'c': 1.2}, {'a': 2, 'b': 'yy', 'c': 1.2}]
    """
    lists = [_listed(one) for one in plists]
    if len(lists) == 1 and not all(isinstance(one, Mapping) for one in lists[0]):
        inner = lists[0]
        if all(isinstance(one, Iterable) for one in inner) and not _is_zipped(inner):
            lists = [_listed(one) for one in inner]
    return itr2params(product(*lists)) if lists else []


def itr2params(loops: Iterable[Any]) -> list[Pset]:
    """Flatten the (nested) tuples that loops over parameters give, and merge each into a pset.

    Parameters
    ----------
    loops : iterable
        For instance ``itertools.product(a, b)`` or ``product(zip(a, b), c)`` over `plist` results.

    Returns
    -------
    list of dict

    Raises
    ------
    ParamsError
        If one pset would get the same key twice, wherever the two stand.

    Examples
    --------
    >>> from itertools import product
    >>> a = plist("a", [1, 2])
    >>> b = plist("b", ["xx", "yy"])
    >>> itr2params(product(zip(a, b), plist("c", [None])))
    [{'a': 1, 'b': 'xx', 'c': None}, {'a': 2, 'b': 'yy', 'c': None}]
    """
    return [_merge_once(_flatten(item)) for item in _listed(loops)]


def merge_dicts(*dicts: Any) -> Pset:
    """Merge dicts from left to right: later ones win.

    Parameters
    ----------
    *dicts : dict
        The dicts, or one list of them.

    Returns
    -------
    dict

    Raises
    ------
    ParamsError
        If something in there is no dict.

    Examples
    --------
    >>> merge_dicts({"a": 1, "b": 2}, {"b": 3})
    {'a': 1, 'b': 3}
    >>> merge_dicts([{"a": 1}, {"b": 2}])
    {'a': 1, 'b': 2}
    """
    merged: Pset = {}
    for one in _flatten(dicts):
        merged.update(one)
    return merged


def _is_zipped(items: list[Any]) -> bool:
    """Tell ``zip(a, b)``, which gives tuples of psets, from a list of plists."""
    return all(isinstance(item, tuple) for item in items)


def _listed(loops: Any) -> list[Any]:
    if isinstance(loops, str | Mapping) or not isinstance(loops, Iterable):
        raise ParamsError(f"expected a list of dicts such as ps.plist makes, not {loops!r}")
    return list(loops)


def _flatten(item: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(item, Mapping):
        yield item
    elif isinstance(item, str) or not isinstance(item, Iterable):
        raise ParamsError(f"expected a dict or nested tuples of dicts, not {item!r}")
    else:
        for inner in item:
            yield from _flatten(inner)


def _merge_once(dicts: Iterable[Mapping[str, Any]]) -> Pset:
    merged: Pset = {}
    for one in dicts:
        for key in one:
            if key in merged:
                raise ParamsError(
                    f"the key {key!r} is set twice in one pset: by {merged[key]!r} and by "
                    f"{one[key]!r}; drop or rename one, or use ps.merge_dicts to let the later win"
                )
        merged.update(one)
    return merged
