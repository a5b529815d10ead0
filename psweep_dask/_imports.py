"""Optional packages, which some functions need and which pip does not install with this one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psweep_dask.errors import PsweepError


class MissingPackageError(PsweepError):
    """An optional package is missing: the message says how to install it."""


@contextmanager
def needed_for(what: str) -> Iterator[None]:
    """Raise a helpful error if an import in the ``with`` block fails.

    Parameters
    ----------
    what : str
        What the package is needed for.

    Raises
    ------
    MissingPackageError
        If a package is not installed.

    Examples
    --------
    >>> with needed_for("coffee"):
    ...     import teapot
    Traceback (most recent call last):
        ...
    psweep_dask._imports.MissingPackageError: coffee needs teapot, which is not installed: ...
    """
    try:
        yield
    except ModuleNotFoundError as err:
        raise MissingPackageError(
            f"{what} needs {err.name}, which is not installed: pip install "
            f"'psweep_dask[analysis]', or only {err.name}"
        ) from err
