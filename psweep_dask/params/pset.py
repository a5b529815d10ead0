"""What a parameter set is: its keys, its hash, its id and its random numbers."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from psweep_dask._format import kind_of, typed_repr
from psweep_dask.errors import PsweepError
from psweep_dask.params.hashing import canonical_json

Pset = dict[str, Any]

SEED_FIELDS = (
    "_run_id",
    "_pset_id",
    "_calc_dir",
    "_time_utc",
    "_pset_sha1",
    "_pset_seq",
    "_run_seq",
)
"""Book-keeping columns that the psweep package has too, in the order of the database."""

OUR_FIELDS = ("_status", "_exc_txt", "_exec_host", "_pset_runtime", "_attempt", "_logs")
"""Book-keeping columns of our own, in the order of the database."""

RESERVED_FIELDS = frozenset(SEED_FIELDS + OUR_FIELDS)
"""Keys that a pset must not have, since each row gets them from us."""

DIGEST_SIZE = hashlib.sha1(usedforsecurity=False).digest_size


class PsetError(PsweepError):
    """A parameter set that cannot be run: the message names the pset, the key and the cure."""


def pset_sha1(pset: Mapping[str, Any]) -> str:
    """Hash a pset: sha1 of its canonical JSON, the same on every machine and in every session.

    Parameters
    ----------
    pset : Mapping
        Keys that begin or end with an underscore do not enter the hash: they are book-keeping
        and results.

    Returns
    -------
    str
        40 hexadecimal digits.

    Raises
    ------
    PsetError
        If a value has no reproducible hash (a function or an object of a class unknown to us).

    Notes
    -----
    For what JSON knows, this is ``sha1(json.dumps(pset, sort_keys=True))``. NumPy scalars count
    as the Python scalars they equal and tuples as lists. Everything else has a tagged form:
    arrays by type, shape and content, sets by their sorted members, dates by ISO 8601, paths by
    their POSIX form, enums by class and member name, dataclasses by class name and fields.
    Enums that are also str or int count as that value, and so do keys of dicts inside of a pset
    that are no str: to JSON, ``{1: "x"}`` is ``{"1": "x"}``.

    Examples
    --------
    >>> pset_sha1({"a": 1, "b": 77})
    '281c595edf7ffa124ac3ef82f26de3f8eb8517f2'
    >>> pset_sha1({"b": np.int64(77), "a": 1, "result_": 3.4})
    '281c595edf7ffa124ac3ef82f26de3f8eb8517f2'
    """
    return _digest(hashed_part(pset), "the pset").hex()


def hashed_part(pset: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a pset that its hash is made of.

    Examples
    --------
    >>> hashed_part({"a": 1, "_note": "second try", "result_": 3.4})
    {'a': 1}
    """
    if not any(map(is_note, pset)):
        return pset
    return {key: value for key, value in pset.items() if not is_note(key)}


def check_params(params: Iterable[Mapping[str, Any]]) -> tuple[list[Pset], bytes]:
    """Check, copy and hash all psets in one pass, before anything runs.

    Parameters
    ----------
    params : iterable of Mapping
        The psets. A generator is as good as a list.

    Returns
    -------
    psets : list of dict
        A copy of each pset.
    digests : bytes
        The sha1 digests of the psets, `DIGEST_SIZE` bytes each, one after the other.

    Raises
    ------
    PsetError
        If `params` is no iterable of dicts, a key is not a str or is reserved, or a value
        has no reproducible hash. The message names the pset, the key and the remedy.

    Examples
    --------
    >>> psets, digests = check_params([{"a": 1}, {"a": 2}])
    >>> psets
    [{'a': 1}, {'a': 2}]
    >>> digests[:DIGEST_SIZE].hex() == pset_sha1({"a": 1})
    True
    """
    if isinstance(params, str | bytes | Mapping) or not isinstance(params, Iterable):
        raise PsetError(
            f"params must be a list of dicts, not {typed_repr(params)}; for a single pset write [pset]"
        )
    psets: list[Pset] = []
    digests = bytearray()
    whole_enters: dict[tuple[str, ...], bool] = {}
    for number, pset in enumerate(params):
        if not isinstance(pset, dict):
            raise PsetError(
                f"params[{number}] must be a dict, not {typed_repr(pset)}; "
                "ps.plist and ps.pgrid make lists of dicts, df.to_dict('records') of a DataFrame"
            )
        keys = tuple(pset)
        if keys not in whole_enters:
            _check_keys(keys, number)
            whole_enters[keys] = not any(map(is_note, keys))
        part = pset if whole_enters[keys] else hashed_part(pset)
        digests += _digest(part, number)
        psets.append(dict(pset))
    return psets, bytes(digests)


def pset_id(run_id: str, pset_seq: int) -> str:
    """Compute the id of one evaluation: whoever knows the plan can do it, on any machine.

    Parameters
    ----------
    run_id : str
        UUID of the run.
    pset_seq : int
        Number of the pset in the study.

    Returns
    -------
    str
        A UUID in the form of version 4, whose random bits are the blake2b hash of both.

    Examples
    --------
    >>> pset_id("bb32aade-6ac9-4ac2-9019-3093c5f00965", 0)
    '2f1ef1ab-5e79-497d-912f-b2c1993086d0'
    """
    bits = hashlib.blake2b(f"{run_id}/{pset_seq}".encode(), digest_size=16).hexdigest()
    variant = "89ab"[int(bits[16], 16) & 3]
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-{variant}{bits[17:20]}-{bits[20:]}"


def rng(pset: Mapping[str, Any]) -> np.random.Generator:
    """Give the random numbers that belong to one evaluation of a pset.

    Parameters
    ----------
    pset : Mapping
        The pset as `func` gets it, with its ``_pset_id``.

    Returns
    -------
    numpy.random.Generator
        Seeded from ``_pset_id``: repeats of a pset draw different numbers, and a row run again
        under its old id draws the same ones.

    Raises
    ------
    PsetError
        If the pset has no ``_pset_id``: only psets inside a run have one.

    Examples
    --------
    >>> one = {"a": 1, "_pset_id": pset_id("bb32aade-6ac9-4ac2-9019-3093c5f00965", 0)}
    >>> bool(rng(one).random() == rng(one).random())
    True
    """
    if "_pset_id" not in pset:
        raise PsetError(
            f"ps.rng needs the pset that func gets, with its '_pset_id'; got {typed_repr(dict(pset))}"
        )
    return np.random.default_rng(uuid.UUID(pset["_pset_id"]).int)


def is_text(name: str) -> bool:
    r"""Tell whether a name can be written as UTF-8, as those of columns must be.

    Examples
    --------
    >>> is_text("größe"), is_text("Messung_\udce4.txt")
    (True, False)
    """
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:  # half a character, as in names of files that are no UTF-8
        return False
    return True


def is_note(key: str) -> bool:
    """Tell keys that do not enter the hash.

    Examples
    --------
    >>> is_note("_vary"), is_note("result_"), is_note("a")
    (True, True, False)
    """
    return isinstance(key, str) and (key.startswith("_") or key.endswith("_"))


def _check_keys(keys: tuple[Any, ...], number: int) -> None:
    for key in keys:
        if not isinstance(key, str):
            raise PsetError(
                f"params[{number}]: the key {key!r} is {kind_of(key)}; keys must be str, "
                f"since they name the columns of the database: use {str(key)!r}"
            )
        if not is_text(key):
            raise PsetError(
                f"params[{number}]: the key {key!r} cannot be written as UTF-8, as the names of "
                "columns must be; rename it"
            )
        if key in RESERVED_FIELDS:
            raise PsetError(
                f"params[{number}]: the key {key!r} is reserved for book-keeping; rename it"
            )


def _digest(part: Mapping[str, Any], number: int | str) -> bytes:
    try:
        text = canonical_json(part)
    except (TypeError, ValueError, RecursionError) as err:
        raise _unhashable(part, number) from err
    return hashlib.sha1(text.encode(), usedforsecurity=False).digest()


def _unhashable(part: Mapping[str, Any], number: int | str) -> PsetError:
    where = f"params[{number}]" if isinstance(number, int) else number
    for key, value in part.items():
        try:
            canonical_json(value)
        except (TypeError, ValueError, RecursionError) as err:
            return PsetError(
                f"{where}: the value of key {key!r}, {typed_repr(value)}, has no reproducible hash "
                f"({err}); use numbers, strings, lists, dicts, arrays, dates, paths, enums or "
                f"dataclasses, or call the key '_{key}' to leave it out of the hash"
            )
    return PsetError(f"{where}: the keys {list(part)} cannot be sorted for the hash")
