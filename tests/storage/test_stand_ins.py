"""Stand-ins: a value that cannot be restored costs itself, and is written again as it was."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import types

import numpy as np
import pandas as pd
import pytest

from psweep_dask.storage import pickling
from psweep_dask.storage.stand_ins import StandIn

SOURCE = """
import dataclasses, enum

@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: object = None

class Tensor:
    def __init__(self, v): self.v = v
    def __reduce__(self): return make, (self.v,)
    def __eq__(self, other): return self.v == other.v
    def __hash__(self): return hash(self.v)

def make(v): return Tensor(v)

class Items(list): pass
class Table(dict): pass
class Mode(enum.Enum): FAST = 1

class WithState:
    def __init__(self, v): self.v = v
    def __getstate__(self): return {"v": self.v}
    def __setstate__(self, state): self.v = state["v"]
    def __eq__(self, other): return self.v == other.v

class WithNew:
    def __new__(cls, *, v):
        made = super().__new__(cls)
        made.v = v
        return made
    def __getnewargs_ex__(self): return (), {"v": self.v}
    def __eq__(self, other): return self.v == other.v
"""


@pytest.fixture
def module(monkeypatch):
    made = types.ModuleType("module_of_values")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    exec(compile(SOURCE, made.__name__, "exec", dont_inherit=True), made.__dict__)
    return made


def values(module):
    point = module.Point(1, [2])
    return [
        point,
        module.Tensor(3),
        module.Items([1, 2]),
        module.Table(a=1),
        module.WithState(5),
        module.WithNew(v=6),
        module.Mode.FAST,
        {"k": module.Tensor(4), "l": [module.Point(7)]},
        {module.Tensor(8)},
        frozenset({module.Tensor(9)}),
        np.array([module.Tensor(1), None], dtype=object),
        module.Point,
    ]


def written(cells):
    table = {"a": range(len(cells)), "y": pd.Series(cells, dtype=object), "t": "text"}
    return pickling.dumps(pd.DataFrame(table))


def same(one, other):
    return bool(np.all(one == other)) if isinstance(one, np.ndarray) else one == other


def test_values_of_a_missing_module_cost_themselves_and_survive_two_rewrites(module, monkeypatch):
    cells = values(module)
    data = written(cells)
    monkeypatch.delitem(sys.modules, module.__name__)
    for _ in range(2):
        df = pickling.loads_rows(data)
        assert df.a.tolist() == list(range(len(cells)))
        assert set(df.t) == {"text"}
        assert "No module named 'module_of_values'" in repr(df.y[0])
        data = pickling.dumps(df)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for df in (pickling.loads_rows(data), pd.read_pickle(io.BytesIO(data))):
        assert all(map(same, df.y, cells))


@pytest.mark.parametrize("error", [RuntimeError("no GPU"), SystemExit(1), FileNotFoundError("x")])
def test_values_whose_code_raises_cost_themselves_and_come_back(module, monkeypatch, error):
    def fail(*_args):
        raise error

    cells = values(module)
    data = written(cells)
    with monkeypatch.context() as patch:
        fail.__module__ = module.__name__
        patch.setattr(module, "make", fail)
        patch.setattr(module.WithState, "__setstate__", fail)
        df = pickling.loads_rows(data)
        assert df.y[0] == cells[0]
        assert [type(df.y[place]) for place in (1, 4)] == [StandIn] * 2
        assert repr(error) in repr(df.y[1])
        assert repr(error) in repr(df.y[7]["k"])
        assert df.y[7]["l"] == [module.Point(7)]
        data = pickling.dumps(df)
    assert all(map(same, pickling.loads_rows(data).y, cells))


@pytest.mark.parametrize("method", ["extend", "__setitem__", "__hash__"])
def test_containers_that_cannot_be_filled_cost_themselves(module, monkeypatch, method):
    cells = values(module)
    data = written(cells)
    class_ = {"extend": module.Items, "__setitem__": module.Table, "__hash__": module.Tensor}[
        method
    ]

    def fail(*_args):
        raise ValueError("full")

    with monkeypatch.context() as patch:
        patch.setattr(class_, method, fail, raising=False)
        df = pickling.loads_rows(data)
        assert "full" in "".join(map(repr, df.y))
        data = pickling.dumps(df)
    assert all(map(same, pickling.loads_rows(data).y, cells))


def test_value_that_stands_in_several_cells_is_one_again(module, monkeypatch):
    tensor = module.Tensor(3)
    data = written([tensor, tensor])
    monkeypatch.delitem(sys.modules, module.__name__)
    data = pickling.dumps(pickling.loads_rows(data))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    first, second = pickling.loads_rows(data).y
    assert first is second


def test_interrupt_of_the_user_is_no_reason_for_a_stand_in(module, monkeypatch):
    def interrupt(_value):
        raise KeyboardInterrupt

    data = written([module.Tensor(1)])
    interrupt.__module__ = module.__name__
    monkeypatch.setattr(module, "make", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pickling.loads_rows(data)


@pytest.mark.parametrize("cut", [0, 1, 10, -1, -10, -100])
def test_pickle_that_is_torn_is_an_error_and_no_stand_in(cut, module, monkeypatch):
    data = written(values(module))[:cut]
    monkeypatch.delitem(sys.modules, module.__name__)
    with pytest.raises((EOFError, IndexError, pickle.UnpicklingError, struct.error)):
        pickling.loads_rows(data)
