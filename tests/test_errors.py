"""All errors that the package raises on purpose have one base class."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re

import psweep_dask as ps


def exceptions():
    """Return the exceptions that a module of the package defines and users may get."""
    names = [info.name for info in pkgutil.walk_packages(ps.__path__, "psweep_dask.")]
    classes = [
        value
        for name in names
        for value in vars(importlib.import_module(name)).values()
        if inspect.isclass(value) and value.__module__ == name
    ]
    return [value for value in classes if issubclass(value, BaseException)]


def test_errors_are_caught_by_psweep_error():
    names = re.compile(r"[A-Z]\w*Error")
    public = [error for error in exceptions() if names.fullmatch(error.__name__)]
    assert len(public) > 20
    assert all(issubclass(error, ps.PsweepError) for error in public)


def test_errors_say_in_their_docstring_what_is_wrong():
    assert all(error.__doc__ for error in exceptions())
