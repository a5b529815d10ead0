"""Values of users are pickled and come back, with the classes of the script that reads them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import psweep_dask as ps
from psweep_dask.params.grid import ParamsError
from psweep_dask.storage import pickling
from psweep_dask.storage.pickling import PackedValue


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


def test_packed_value_in_a_file_is_a_text_for_pandas_and_a_value_for_df_read(tmp_path):
    path = tmp_path / "database.pk"
    ps.df_write(pd.DataFrame({"y": [PackedValue(pickling.dumps([1, {2}])), 3]}), path)
    with path.open("rb") as stream:
        assert pickle.load(stream).y.tolist() == ["<a value that psweep_dask has packed>", 3]
    assert pd.read_pickle(path).y.iloc[0] == "<a value that psweep_dask has packed>"
    assert ps.df_read(path).y.tolist() == [[1, {2}], 3]


def test_packed_value_that_cannot_be_restored_is_kept_until_it_can(tmp_path, monkeypatch):
    (tmp_path / "lab_values.py").write_text("class Probe: pass\n")
    path = tmp_path / "database.pk"
    packed = PackedValue(b"clab_values\nProbe\n.")  # what pickle writes of the class
    ps.df_write(pd.DataFrame({"y": [packed, 5]}), path)
    for _ in range(2):  # reading and writing does not lose it
        df = ps.df_read(path)
        assert type(df.y.iloc[0]) is PackedValue
        assert "No module named 'lab_values'" in repr(df.y.iloc[0])
        ps.df_write(df, path)
    text = "<a value that cannot be restored here: ModuleNotFoundError"
    assert pd.read_pickle(path).y.iloc[0].startswith(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert ps.df_read(path).y.iloc[0].__name__ == "Probe"
    monkeypatch.delitem(sys.modules, "lab_values")


def test_packed_values_need_no_module_of_this_package_to_be_read(tmp_path):
    path = tmp_path / "database.pk"
    ps.df_write(pd.DataFrame({"y": [PackedValue(pickling.dumps(1))] * 2}), path)
    script = f"""
import sys
sys.modules["psweep_dask"] = None  # an import of it fails
import pandas as pd
print(pd.read_pickle({str(path)!r}).y.tolist())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(["<a value that psweep_dask has packed>"] * 2)


def test_database_of_a_run_can_be_read_without_this_package(tmp_path):
    def func(pset):
        return {"list": [pset["a"], {2}], "x": ps.rng(pset).random()}

    ps.run(func, ps.plist("a", [1, 2]), cluster="sync")
    script = """
import sys
sys.modules["psweep_dask"] = None
import pandas as pd
print(pd.read_pickle("calc/database.pk").list.tolist())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[[1, {2}], [2, {2}]]"


def test_check_format_accepts_what_is_known_and_names_what_is_not():
    pickling.check_format(2, 2, "the plan", RuntimeError)
    with pytest.raises(
        RuntimeError,
        match="^the plan has format 3, and this version of psweep_dask knows formats up to 2: ",
    ):
        pickling.check_format(3, 2, "the plan", RuntimeError)


def test_pickled_names_of_this_package_are_found_wherever_their_module_is():
    loaded = pickling.loads(b"cpsweep_dask.no_such_module\npgrid\n.")
    assert loaded is ps.pgrid
    assert b"psweep_dask.params" not in pickling.dumps(ps.pgrid)
    error = pickling.loads(pickling.dumps(ParamsError("bad", 2)))
    assert (type(error), error.args) == (ps.PsweepError, ("bad", 2))
