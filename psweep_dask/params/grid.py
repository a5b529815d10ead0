"""Parameter spaces: functions that make and combine lists of psets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import product
from typing import Any

from psweep_dask._format import short_repr
from psweep_dask.errors import PsweepError
from psweep_dask.params.pset import DIGEST_SIZE, Pset, check_params, enters_hash


class ParamsError(PsweepError):
    """A parameter space that cannot be made as asked."""


def plist(name: str, seq: Iterable[Any]) -> list[Pset]:
    """Return a pset for each value of one parameter.

    Parameters
    ----------
    name : str
        Name of the parameter.
    seq : iterable
        Its values.

    Returns
    -------
    list of dict
        In the order of `seq`.

    Raises
    ------
    ParamsError
        If `name` is not a str, or `seq` is not an iterable, or is a str.

    See Also
    --------
    pgrid : Combines such lists.
    logspace, intspace, sample : Make values.

    Examples
    --------
    >>> plist("a", [1, 2, 3])
    [{'a': 1}, {'a': 2}, {'a': 3}]
    """
    if not isinstance(name, str):
        raise ParamsError(f"the name of a parameter must be a str, not {short_repr(name)}")
    if isinstance(seq, str):
        raise ParamsError(f"the values of {name!r} are a single str; write [{short_repr(seq)}]")
    if not isinstance(seq, Iterable):
        raise ParamsError(
            f"the values of {name!r} must be a sequence, not {short_repr(seq)}; put it into [ ]"
        )
    return [{name: value} for value in seq]


def pgrid(*plists: Iterable[Any]) -> list[Pset]:
    """Return all combinations of parameters.

    Parameters
    ----------
    *plists : iterables of dict
        Results of `plist`, or of ``zip`` over some of them for parameters that vary together.
        One list of all of them works, too.

    Returns
    -------
    list of dict
        As from nested loops: the last parameter varies fastest.

    Raises
    ------
    ParamsError
        If two of them have the same key, or an element is not a dict.

    See Also
    --------
    stargrid : Varies one parameter after the other.
    conditional : Adds parameters to some psets only.

    Examples
    --------
    >>> a, b = plist("a", [1, 2]), plist("b", ["xx", "yy"])
    >>> pgrid(a, b)
    [{'a': 1, 'b': 'xx'}, {'a': 1, 'b': 'yy'}, {'a': 2, 'b': 'xx'}, {'a': 2, 'b': 'yy'}]
    >>> pgrid(zip(a, b), plist("c", [1.2]))
    [{'a': 1, 'b': 'xx', 'c': 1.2}, {'a': 2, 'b': 'yy', 'c': 1.2}]
    """
    lists = [_as_list(psets) for psets in plists]
    if len(lists) == 1 and not all(isinstance(item, Mapping) for item in lists[0]):
        # zip(a, b) has tuples of psets, a list of plists has lists.
        is_zip = all(isinstance(item, tuple) for item in lists[0])
        if all(isinstance(item, Iterable) for item in lists[0]) and not is_zip:
            lists = [_as_list(item) for item in lists[0]]
    return itr2params(product(*lists)) if lists else []


def itr2params(loops: Iterable[Any], *more: Any) -> list[Pset]:
    """Merge each element of a loop over parameters into one pset.

    Parameters
    ----------
    loops : iterable of tuples of dict
        For instance ``itertools.product(a, b)`` or ``product(zip(a, b), c)``, where ``a``, ``b``
        and ``c`` are results of `plist`. The tuples may be nested.
    *more : tuples of dict
        If there are any, each argument is one element, as in ``itr2params(*zip(a, b))``.

    Returns
    -------
    list of dict
        In the order of `loops`.

    Raises
    ------
    ParamsError
        If a pset would get the same key twice.

    See Also
    --------
    pgrid : Does the loop, too.

    Examples
    --------
    >>> from itertools import product
    >>> itr2params(product(plist("a", [1, 2]), plist("b", ["xx"])))
    [{'a': 1, 'b': 'xx'}, {'a': 2, 'b': 'xx'}]
    """
    elements = [loops, *more] if more else _as_list(loops)
    return [_merge_distinct(_flatten(item)) for item in elements]


def merge_dicts(*dicts: Any, allow_dup_keys: bool = True) -> Pset:
    """Merge dicts.

    Parameters
    ----------
    *dicts : dict
        The dicts, or one list of them.
    allow_dup_keys : bool, optional
        False makes it an error if a key comes twice.

    Returns
    -------
    dict
        A new one. A key that comes twice has its last value.

    Raises
    ------
    ParamsError
        If one of them is not a dict, or a key comes twice and `allow_dup_keys` is False.

    See Also
    --------
    itr2params : Merges the dicts of each element of a loop.

    Examples
    --------
    >>> merge_dicts({"a": 1, "b": 2}, {"b": 3})
    {'a': 1, 'b': 3}
    """
    if not allow_dup_keys:
        return _merge_distinct(_flatten(dicts))
    return {key: value for part in _flatten(dicts) for key, value in part.items()}


def stargrid(
    const: Mapping[str, Any],
    vary: Sequence[Iterable[Mapping[str, Any]]],
    vary_labels: Iterable[str] | None = None,
    vary_label_col: str = "_vary",
    skip_dups: bool = True,
) -> list[Pset]:
    """Vary one parameter after the other, while the others keep a constant value.

    Parameters
    ----------
    const : dict
        The constant values of all parameters.
    vary : list of lists of dict
        The values of the parameters that vary: results of `plist`, or of `itr2params` over a
        ``zip`` for parameters that vary together.
    vary_labels : list of str, optional
        A name for each element of `vary`.
    vary_label_col : str, optional
        The key under which a pset gets its name. It begins with an underscore, so that it does
        not enter the hash.
    skip_dups : bool, optional
        Leave out psets that came before, such as `const`, which each element of `vary` may repeat.

    Returns
    -------
    list of dict
        In the order of `vary`. Each pset has all keys of `const`.

    Raises
    ------
    ParamsError
        If `vary` is not a list of lists, `vary_labels` does not have one name for each element of
        it, or `vary_label_col` is a parameter.
    PsetError
        With `skip_dups`, if a value has no reproducible hash.

    See Also
    --------
    pgrid : All combinations.

    Examples
    --------
    >>> const = {"a": 1, "b": 77}
    >>> stargrid(const, [plist("a", [1, 2]), plist("b", [77, 88])], vary_labels=["a", "b"])
    [{'a': 1, 'b': 77, '_vary': 'a'}, {'a': 2, 'b': 77, '_vary': 'a'},
     {'a': 1, 'b': 88, '_vary': 'b'}]
    """
    plists = _as_list(vary)
    if any(isinstance(psets, Mapping) for psets in plists):
        raise ParamsError("vary must be a list of plists; write vary=[plist]")
    labels: list[Pset] = [{}] * len(plists)
    if vary_labels is not None:
        if isinstance(vary_labels, str) or not isinstance(vary_labels, Iterable):
            raise ParamsError(f"vary_labels must be a list of str, not {short_repr(vary_labels)}")
        labels = [{vary_label_col: label} for label in vary_labels]
    if len(labels) != len(plists):
        raise ParamsError(f"{len(labels)} vary_labels were given for {len(plists)} in vary")
    merge = _merge_distinct if enters_hash(vary_label_col) else merge_dicts
    params = [
        merge((merge_dicts(const, varied), label))
        for psets, label in zip(plists, labels, strict=True)
        for varied in _as_list(psets)
    ]
    return filter_params_unique(params) if skip_dups else params


def filter_params_unique(params: Iterable[Mapping[str, Any]]) -> list[Pset]:
    """Leave out psets whose hash came before.

    Parameters
    ----------
    params : iterable of dict
        The psets. Keys that do not enter the hash are not compared.

    Returns
    -------
    list of dict
        Copies of the other psets, in the order of `params`.

    Raises
    ------
    PsetError
        If `params` are not psets, or a value has no reproducible hash.

    See Also
    --------
    filter_params_dup_hash : Leaves out psets whose hash is in a list.

    Examples
    --------
    >>> filter_params_unique([{"a": 1}, {"a": 2}, {"a": 1}])
    [{'a': 1}, {'a': 2}]
    """
    first: dict[bytes, Pset] = {}
    for digest, pset in _with_digests(params):
        first.setdefault(digest, pset)
    return list(first.values())


def filter_params_dup_hash(
    params: Iterable[Mapping[str, Any]], hashes: Iterable[str]
) -> list[Pset]:
    """Leave out psets whose hash is in a list.

    Parameters
    ----------
    params : iterable of dict
        The psets.
    hashes : iterable of str
        For instance the column ``_pset_sha1`` of a database.

    Returns
    -------
    list of dict
        Copies of the other psets, in the order of `params`.

    Raises
    ------
    ParamsError
        If `hashes` is not a list, has a str that is not a hash, or has hashes of psweep.
    PsetError
        If `params` are not psets, or a value has no reproducible hash.

    See Also
    --------
    missing : Leaves out psets that have a result in a database.
    filter_params_unique : Leaves out psets that came before.

    Examples
    --------
    >>> from psweep_dask import pset_sha1
    >>> filter_params_dup_hash([{"a": 1}, {"a": 2}], [pset_sha1({"a": 1})])
    [{'a': 2}]
    """
    if isinstance(hashes, str) or not isinstance(hashes, Iterable):
        raise ParamsError(f"hashes must be a list or a column of them, not {short_repr(hashes)}")
    if getattr(hashes, "name", None) == "_pset_hash":
        raise ParamsError(
            "the column _pset_hash of psweep has other hashes, by which no pset would be found; "
            "ps.import_psweep makes a study of its database, with the column _pset_sha1"
        )
    known = {_digest_of(sha1) for sha1 in hashes if isinstance(sha1, str)}
    return [pset for digest, pset in _with_digests(params) if digest not in known]


def _with_digests(params: Iterable[Mapping[str, Any]]) -> Iterator[tuple[bytes, Pset]]:
    psets, digests = check_params(params)
    for number, pset in enumerate(psets):
        yield digests[DIGEST_SIZE * number : DIGEST_SIZE * (number + 1)], pset


def _digest_of(sha1: str) -> bytes:
    with suppress(ValueError):
        digest = bytes.fromhex(sha1)
        if len(digest) == DIGEST_SIZE:
            return digest
    raise ParamsError(f"{sha1!r} is not a hash of a pset, as ps.pset_sha1 returns it")


def _as_list(psets: Any) -> list[Any]:
    if isinstance(psets, str | Mapping) or not isinstance(psets, Iterable):
        raise ParamsError(f"expected a list of dicts as ps.plist makes, not {short_repr(psets)}")
    return list(psets)


def _flatten(item: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(item, Mapping):
        yield item
    elif isinstance(item, str) or not isinstance(item, Iterable):
        raise ParamsError(f"expected a dict or nested tuples of dicts, not {short_repr(item)}")
    else:
        for inner in item:
            yield from _flatten(inner)


def _merge_distinct(dicts: Iterable[Mapping[str, Any]]) -> Pset:
    merged: Pset = {}
    for part in dicts:
        for key in part:
            if key in merged:
                raise ParamsError(
                    f"the key {key!r} is set twice in one pset: to {short_repr(merged[key])} and "
                    f"to {short_repr(part[key])}; remove or rename one of them, or use "
                    "ps.merge_dicts, which takes the last value"
                )
        merged.update(part)
    return merged
