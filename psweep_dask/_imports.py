"""Packages that some functions need, and that are not installed with us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psweep_dask.errors import PsweepError


class MissingPackageError(PsweepError):
    """A package is missing: the message says how to install it."""


@contextmanager
def needed_for(what: str) -> Iterator[None]:
    """Tell, of an import in here that fails, what it is needed for and where to get it.

    Raises
    ------
    MissingPackageError

    Examples
    --------
    >>> with needed_for("tea"):
    ...     import teapot
    Traceback (most recent call last):
        ...
    psweep_dask._imports.MissingPackageError: tea needs teapot, which is not installed: ...
    """
    try:
        yield
    except ModuleNotFoundError as err:
        raise MissingPackageError(
            f"{what} needs {err.name}, which is not installed: pip install "
            f"'psweep_dask[analysis]', or only {err.name}"
        ) from err
