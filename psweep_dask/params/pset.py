"""The pset: its keys, its hash, its id and its random numbers."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from psweep_dask._format import kind_of, typed_repr
from psweep_dask.errors import PsweepError
from psweep_dask.params.hashing import canonical_json

log = logging.getLogger("psweep_dask")

Pset = dict[str, Any]

# Book-keeping columns that the psweep package has too, and our own, in the order of the database.
SEED_FIELDS = (
    "_run_id",
    "_pset_id",
    "_calc_dir",
    "_time_utc",
    "_pset_sha1",
    "_pset_seq",
    "_run_seq",
)
OUR_FIELDS = ("_status", "_exc_txt", "_exec_host", "_pset_runtime", "_attempt", "_logs")
RESERVED_FIELDS = frozenset(SEED_FIELDS + OUR_FIELDS)  # a pset must not have these keys

DIGEST_SIZE = hashlib.sha1(usedforsecurity=False).digest_size


class PsetError(PsweepError):
    """A pset that cannot be run: the message names the pset, the key, and what to do."""


def pset_sha1(pset: Mapping[str, Any]) -> str:
    """Return the hash of a pset.

    Parameters
    ----------
    pset : Mapping
        Keys that begin or end with an underscore do not enter the hash: they are book-keeping
        and results.

    Returns
    -------
    str
        40 hexadecimal digits, the same on all machines and in all sessions.

    Raises
    ------
    PsetError
        If a value has no reproducible hash, such as an object of an unknown class.

    See Also
    --------
    filter_params_dup_hash : Leaves out psets by their hashes.

    Notes
    -----
    For what JSON knows, this is ``sha1(json.dumps(pset, sort_keys=True))``. NumPy scalars count
    as the Python scalars that they equal, and tuples as lists. All other values have a tagged
    form: arrays by type, shape and content, sets by their sorted members, dates by ISO 8601, paths
    by their POSIX form, enums by class and member name, dataclasses by class name and fields.
    Enums that are also str or int count as that str or int. Keys of dicts inside of a pset count
    as str: to JSON, ``{1: "x"}`` is ``{"1": "x"}``.

    Functions and classes count by module and name. Lambdas, functions inside of functions, and
    those of a script or a notebook count by their code as well, but not by what they call: they
    have another hash under another minor version of Python.

    Examples
    --------
    >>> pset_sha1({"a": 1, "b": 77})
    '281c595edf7ffa124ac3ef82f26de3f8eb8517f2'
    >>> pset_sha1({"b": np.int64(77), "a": 1, "result_": 3.4})
    '281c595edf7ffa124ac3ef82f26de3f8eb8517f2'
    """
    return _digest(_hashed_part(pset), "the pset").hex()


def sha1_of_all_keys(pset: Mapping[str, Any]) -> str:
    """Return the hash of a pset as psweep 0.5 makes it: of all keys, with underscores or not."""
    return _digest(pset, "the pset").hex()


def _hashed_part(pset: Mapping[str, Any]) -> Pset:
    return {key: value for key, value in pset.items() if enters_hash(key)}


def check_params(params: Iterable[Mapping[str, Any]]) -> tuple[list[Pset], bytes]:
    """Check all psets, and return copies of them and their digests, `DIGEST_SIZE` bytes each.

    A `PsetError` names the first pset, key or value that is not allowed.
    """
    psets, digests, _ = _check_params(params)
    return psets, digests


def check_run_params(params: Iterable[Mapping[str, Any]]) -> tuple[list[Pset], bytes]:
    """Do what `check_params` does for a run: warn of keys by which psets differ, but not hashes.

    `skip_dups` would take such psets for equal. A key that begins with an underscore is a label, as
    `stargrid` makes them: it is named only if there are psets that differ in nothing else.
    """
    psets, digests, all_enter = _check_params(params)
    if all(all_enter.values()):
        return psets, digests
    keys = dict.fromkeys(key for keys in all_enter for key in keys if not enters_hash(key))
    names = [key for key in keys if _differ(psets, key)]
    if any(key.startswith("_") for key in names):
        equal = _with_equal_hash(psets, digests)
        names = [
            key
            for key in names
            if not key.startswith("_") or any(_differ(group, key) for group in equal)
        ]
    if names:
        log.warning(
            "psets differ in %s, which does not enter the hash, since its name begins or ends with "
            "an underscore: skip_dups takes psets that differ in nothing else for equal; rename it "
            "if it is a parameter",
            ", ".join(map(repr, names)),
        )
    return psets, digests


def _with_equal_hash(psets: list[Pset], digests: bytes) -> list[list[Pset]]:
    """Return the groups of psets that have the same hash."""
    starts = range(0, len(digests), DIGEST_SIZE)
    hashes = [digests[start : start + DIGEST_SIZE] for start in starts]
    if len(set(hashes)) == len(hashes):
        return []
    groups: dict[bytes, list[Pset]] = {}
    for digest, pset in zip(hashes, psets, strict=True):
        groups.setdefault(digest, []).append(pset)
    return [group for group in groups.values() if len(group) > 1]


_MISSING = object()  # in the place of the value of a key that a pset does not have


def _differ(psets: list[Pset], key: str) -> bool:
    first = psets[0].get(key, _MISSING)
    values = (pset.get(key, _MISSING) for pset in psets)
    return any(value is not first and not _are_equal(value, first) for value in values)


def _are_equal(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, int | float | str):
        return bool(one == other)
    try:
        return canonical_json(one) == canonical_json(other)
    except (TypeError, ValueError, RecursionError):  # objects that no hash can tell apart
        return False


def _check_params(
    params: Iterable[Mapping[str, Any]],
) -> tuple[list[Pset], bytes, dict[tuple[str, ...], bool]]:
    """Do the work of `check_params`; also return, by the keys of psets, if all enter the hash."""
    if isinstance(params, str | bytes | Mapping) or not isinstance(params, Iterable):
        raise PsetError(
            f"params must be a list of dicts, not {typed_repr(params)}; "
            "for a single pset write [pset]"
        )
    psets: list[Pset] = []
    digests = bytearray()
    all_enter: dict[tuple[str, ...], bool] = {}  # by the keys, which most psets have in common
    for number, pset in enumerate(params):
        if not isinstance(pset, dict):
            raise PsetError(
                f"params[{number}] must be a dict, not {typed_repr(pset)}; "
                "ps.plist and ps.pgrid make lists of dicts, df.to_dict('records') of a DataFrame"
            )
        keys = tuple(pset)
        if keys not in all_enter:
            _check_keys(keys, number)
            all_enter[keys] = all(map(enters_hash, keys))
        part = pset if all_enter[keys] else _hashed_part(pset)
        digests += _digest(part, number)
        psets.append(dict(pset))
    return psets, bytes(digests), all_enter


def pset_id(run_id: str, pset_seq: int) -> str:
    """Return the id of the evaluation of a pset: a UUID in the form of version 4.

    Its random bits are the blake2b hash of both arguments, so that driver, workers and `resume`
    find the same id from the plan.

    Examples
    --------
    >>> pset_id("bb32aade-6ac9-4ac2-9019-3093c5f00965", 0)
    '2f1ef1ab-5e79-497d-912f-b2c1993086d0'
    """
    bits = hashlib.blake2b(f"{run_id}/{pset_seq}".encode(), digest_size=16).hexdigest()
    variant = "89ab"[int(bits[16], 16) & 3]  # uuid.UUID would take twice as long
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-{variant}{bits[17:20]}-{bits[20:]}"


def rng(pset: Mapping[str, Any]) -> np.random.Generator:
    """Return a generator of random numbers for the evaluation of a pset, for use in func.

    Parameters
    ----------
    pset : Mapping
        The pset as func gets it, with its ``_pset_id``.

    Returns
    -------
    numpy.random.Generator
        Its seed is the ``_pset_id``: each repetition of a pset gets other numbers, and a row that
        is run again under its id gets the same ones.

    Raises
    ------
    PsetError
        If the pset has no ``_pset_id``: only func gets psets that have one.

    See Also
    --------
    reproduce : Runs a row again, with the same random numbers.

    Examples
    --------
    >>> pset = {"a": 1, "_pset_id": "2f1ef1ab-5e79-497d-912f-b2c1993086d0"}
    >>> bool(rng(pset).random() == rng(pset).random())
    True
    """
    if "_pset_id" not in pset:
        raise PsetError(
            f"ps.rng needs the pset that func gets, with its '_pset_id'; got {typed_repr(pset)}"
        )
    return np.random.default_rng(uuid.UUID(pset["_pset_id"]).int)


def is_utf8(name: str) -> bool:
    """Return whether a name can be written as UTF-8, as the names of columns must be."""
    try:
        name.encode()
    except UnicodeEncodeError:  # half a character, as in file names that are not UTF-8
        return False
    return True


def enters_hash(key: str) -> bool:
    """Return whether a key enters the hash: it neither begins nor ends with an underscore."""
    return not (isinstance(key, str) and (key.startswith("_") or key.endswith("_")))


def _check_keys(keys: tuple[Any, ...], number: int) -> None:
    for key in keys:
        where = f"params[{number}]: the key {key!r}"
        if not isinstance(key, str):
            raise PsetError(
                f"{where} is {kind_of(key)}; keys must be str, since they name the columns of the "
                f"database: use {str(key)!r}"
            )
        if not is_utf8(key):
            raise PsetError(
                f"{where} cannot be written as UTF-8, as the names of columns must be; rename it"
            )
        if key in RESERVED_FIELDS:
            raise PsetError(f"{where} is reserved for book-keeping; rename it")


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
                f"({err}); use numbers, strings, lists, dicts, arrays, dates, paths, enums, "
                f"dataclasses or functions, or call the key '_{key}' to leave it out of the hash"
            )
    return PsetError(f"{where}: the keys {list(part)} cannot be sorted for the hash")
