"""Optional packages, which some functions need and which pip does not install with this one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psweep_dask.errors import PsweepError


class MissingPackageError(PsweepError):
    """An optional package is missing: the message says how to install it."""


@contextmanager
def needed_for(what: str) -> Iterator[None]:
    """Raise a `MissingPackageError` if the ``with`` block imports a package that is missing.

    Its message says what needs the package, such as a function or an option.
    """
    try:
        yield
    except ModuleNotFoundError as err:
        raise MissingPackageError(
            f"{what} needs {err.name}, which is not installed: pip install "
            f"'psweep_dask[analysis]', or only {err.name}"
        ) from err
