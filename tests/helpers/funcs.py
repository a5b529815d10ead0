"""Funcs that several tests run."""

from __future__ import annotations


def double(pset):
    return {"y": 2 * pset["a"]}


def fail_odd(pset):
    if pset["a"] % 2:
        raise ValueError(f"{pset['a']} is odd")
    return {"y": pset["a"]}
