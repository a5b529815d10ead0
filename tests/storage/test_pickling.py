"""Values of users are pickled and come back, with the classes of the script that reads them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import psweep_dask as ps
from psweep_dask.storage import pickling


def outer(pset):
    def inner(number):
        return 1 / number

    class Helper:
        def go(self, number):
            return inner(number)

    return Helper().go(pset["a"])


def test_pickled_code_has_tracebacks_with_file_and_line():
    outer.__module__ = "__main__"  # so that it goes by value
    restored = pickle.loads(pickling.dumps(outer))
    assert restored is not outer
    with pytest.raises(ZeroDivisionError) as caught:
        restored({"a": 0})
    files = [frame.path for frame in caught.traceback[1:]]
    assert [str(file) for file in files] == [__file__] * 3
    assert str(caught.traceback[-1].statement).strip() == "return 1 / number"
    assert restored({"a": 2}) == 0.5


def test_pickled_code_can_be_pickled_again():
    once = pickle.loads(pickling.dumps(lambda a: a + 1))
    again = pickle.loads(pickling.dumps(once))
    assert again(1) == 2
    assert again.__code__.co_filename == __file__


CLASSES = """
import collections
import dataclasses
import enum
import sys
import psweep_dask as ps

class Method(enum.Enum):
    EULER = 1
    RK4 = 2  # KEPT

@dataclasses.dataclass(frozen=True)
class Error:
    size: int
    # CHANGED: more: int = 0

Point = collections.namedtuple("Point", "x y")

class Plain:
    def __init__(self, value):
        self.value = value

def func(pset):
    return {
        "error": Error(pset["a"]),
        "point": Point(1, pset["a"]),
        "plain": Plain(pset["a"]),
        "by_rk4": pset["method"] is Method.RK4,
    }

if __name__ == "__main__":
    params = ps.pgrid(ps.plist("a", [1, 2]), ps.plist("method", list(Method)))
    df = ps.run(func, params, cluster=sys.argv[1], skip_dups=True)
    assert df.by_rk4.tolist() == [False, True, False, True]
    print(
        sum(df.method == Method.RK4),
        sum(error == Error(a) for error, a in zip(df.error, df.a)),
        sum(type(point) is Point for point in df.point),
        sum(isinstance(plain, Plain) and plain.value == a for plain, a in zip(df.plain, df.a)),
    )
"""


def numbers(script, cluster):
    Path("script.py").write_text(script)
    command = [sys.executable, "script.py", cluster]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("cluster", ["sync", "local"])
def test_classes_of_the_script_are_its_own_in_each_session(cluster, tmp_path):
    assert numbers(CLASSES, cluster) == "2 4 4 4"
    assert numbers(CLASSES, cluster) == "2 4 4 4"
    changed = CLASSES.replace("# CHANGED: ", "")
    assert numbers(changed, cluster) == "2 0 4 4"  # the others are what they were
    fewer = CLASSES.replace("RK4 = 2  # KEPT", "RK4 = 3")
    assert numbers(fewer, cluster).split()[0] == "0"
    assert numbers(CLASSES, cluster) == "2 4 4 4"


def test_classes_of_another_script_are_made_again(tmp_path):
    numbers(CLASSES, "sync")
    df = ps.load("calc")
    assert [error.size for error in df.error] == [1, 1, 2, 2]
    assert [method.name for method in df.method] == ["EULER", "RK4"] * 2
    assert pd.read_pickle("calc/database.pk").point.tolist() == df.point.tolist()


def test_classes_of_old_psets_are_those_of_another_func(tmp_path):
    old = CLASSES.replace("def func(pset):", "def func(pset):\n    1 / 0")
    call = "ps.run(func, params, cluster=sys.argv[1], skip_dups=True)"
    broken = old.replace(f"df = {call}", f"{call}\n    sys.exit()")
    retried = CLASSES.replace(call, 'ps.retry("calc", func=func, cluster=sys.argv[1]).iloc[4:]')
    assert numbers(broken, "sync") == ""
    assert numbers(retried, "sync") == "2 4 4 4"


MOVED = """
import collections
import enum
import sys
import psweep_dask as ps

Point = collections.namedtuple("Point", FIELDS)

class Config:
    def value(self):
        return "top"

def local():
    class Config:
        def value(self):
            return "local"
    return Config()

class Colour(enum.Enum):
    RED = 1

def func(pset):
    return {"point": Point(x=1, y=2), "config": local(), "colour": Colour.RED}

if __name__ == "__main__":
    df = ps.run(func, [{"a": 1}], cluster="sync", skip_dups=True)
    row = df.iloc[0]
    print(row.point.x, row.point.y, row.config.value(), row.colour is Colour.RED)
"""


def test_classes_are_taken_from_the_script_only_if_they_are_the_same(tmp_path):
    for fields in ("['x', 'y']", "['y', 'x']", "['x', 'y', 'z']", "['x', 'y']"):
        assert numbers(MOVED.replace("FIELDS", fields), "sync") == "1 2 local True"
