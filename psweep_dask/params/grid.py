"""Building parameter spaces: pure functions, lists of dicts in and lists of dicts out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from psweep_dask.errors import PsweepError
from psweep_dask.params.pset import DIGEST_SIZE, Pset, check_params, is_note


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
    if isinstance(seq, str):
        raise ParamsError(f"the values of {name!r} are a single str; write [{seq!r}]")
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


def stargrid(
    const: Mapping[str, Any],
    vary: Sequence[Iterable[Mapping[str, Any]]],
    vary_labels: Iterable[str] | None = None,
    vary_label_col: str = "_vary",
    skip_dups: bool = True,
) -> list[Pset]:
    """Vary parameters around a point, one after the other, instead of all in a grid.

    Parameters
    ----------
    const : dict
        The point in the middle of the star.
    vary : list of lists of dict
        What varies: results of `plist`, or of `itr2params` over a ``zip`` for parameters that vary
        together.
    vary_labels : list of str, optional
        Names for the elements of `vary`.
    vary_label_col : str, optional
        Key under which each pset gets its label; beginning with an underscore, it stays out of
        the hash.
    skip_dups : bool, optional
        Leave out psets that came before; the middle of the star is in each of its rays.

    Returns
    -------
    list of dict

    Raises
    ------
    ParamsError
        If `vary` is no list, there is not one label for each element of it, or `vary_label_col`
        is a parameter.
    PsetError
        With `skip_dups`, if a value has no reproducible hash.

    Examples
    --------
    >>> const = {"a": 1, "b": 77}
    >>> stargrid(const, [plist("a", [1, 2]), plist("b", [77, 88])], vary_labels=["a", "b"])
    [{'a': 1, 'b': 77, '_vary': 'a'}, {'a': 2, 'b': 77, '_vary': 'a'},
     {'a': 1, 'b': 88, '_vary': 'b'}]
    """
    rays = _listed(vary)
    if any(isinstance(one, Mapping) for one in rays):
        raise ParamsError("vary must be a list of plists; write vary=[plist]")
    labels: list[Pset] = [{}] * len(rays)
    if vary_labels is not None:
        if isinstance(vary_labels, str) or not isinstance(vary_labels, Iterable):
            raise ParamsError(f"vary_labels must be a list of str, not {vary_labels!r}")
        labels = [{vary_label_col: one} for one in vary_labels]
    if len(labels) != len(rays):
        raise ParamsError(f"{len(labels)} vary_labels were given for {len(rays)} in vary")
    merge = merge_dicts if is_note(vary_label_col) else lambda *dicts: _merge_once(dicts)
    params = [
        merge(merge_dicts(const, one), label)
        for ray, label in zip(rays, labels, strict=True)
        for one in _listed(ray)
    ]
    return filter_params_unique(params) if skip_dups else params


def filter_params_unique(params: Iterable[Mapping[str, Any]]) -> list[Pset]:
    """Leave out psets that came before, whatever their keys with underscores say.

    Parameters
    ----------
    params : iterable of dict

    Returns
    -------
    list of dict

    Raises
    ------
    PsetError
        If a value has no reproducible hash.

    Examples
    --------
    >>> filter_params_unique([{"a": 1}, {"a": 2}, {"a": 1}])
    [{'a': 1}, {'a': 2}]
    """
    first: dict[bytes, Pset] = {}
    for digest, pset in with_digests(params):
        first.setdefault(digest, pset)
    return list(first.values())


def filter_params_dup_hash(
    params: Iterable[Mapping[str, Any]], hashes: Iterable[str]
) -> list[Pset]:
    """Leave out psets whose hash is among those given.

    Parameters
    ----------
    params : iterable of dict
    hashes : iterable of str
        For instance the column ``_pset_sha1`` of a database.

    Returns
    -------
    list of dict
        Made in a time that grows with the number of psets plus that of hashes.

    Raises
    ------
    ParamsError
        If `hashes` is no list, or one of them is none.
    PsetError
        If a value has no reproducible hash.

    Examples
    --------
    >>> from psweep_dask import pset_sha1
    >>> filter_params_dup_hash([{"a": 1}, {"a": 2}], [pset_sha1({"a": 1})])
    [{'a': 2}]
    """
    if isinstance(hashes, str) or not isinstance(hashes, Iterable):
        raise ParamsError(f"hashes must be a list or a column of them, not {hashes!r}")
    known = {_of_hex(one) for one in hashes if isinstance(one, str)}
    return [pset for digest, pset in with_digests(params) if digest not in known]


def with_digests(params: Iterable[Mapping[str, Any]]) -> Iterator[tuple[bytes, Pset]]:
    """Give the hash of each pset, and a copy of it."""
    psets, digests = check_params(params)
    for number, pset in enumerate(psets):
        yield digests[DIGEST_SIZE * number : DIGEST_SIZE * (number + 1)], pset


def _of_hex(sha1: str) -> bytes:
    try:
        digest = bytes.fromhex(sha1)
    except ValueError:
        digest = b""
    if len(digest) != DIGEST_SIZE:
        raise ParamsError(f"{sha1!r} is no hash of a pset, as ps.pset_sha1 gives them")
    return digest


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
