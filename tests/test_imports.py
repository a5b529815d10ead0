"""Optional packages: the message says what needs them and how to install them."""

from __future__ import annotations

import pytest

from psweep_dask._imports import MissingPackageError, needed_for


def test_missing_package_is_named_with_what_needs_it():
    message = "plots needs no_such_package, which is not installed: pip install .*only no_such"
    with pytest.raises(MissingPackageError, match=message), needed_for("plots"):
        import no_such_package  # noqa: F401


def test_missing_package_error_is_for_missing_packages_only():
    with pytest.raises(ImportError, match="no_such_name"), needed_for("plots"):
        from math import no_such_name  # noqa: F401
    with needed_for("plots"):
        import math  # noqa: F401
