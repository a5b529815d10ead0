"""What func breaks in its process is put back; what it may want is left."""

from __future__ import annotations

import builtins
import os
import sys

from psweep_dask.worker.process_state import ProcessState


def test_what_is_broken_is_put_back():
    modules, environ, before = sys.modules, os.environ, dict(sys.modules)
    state = ProcessState()
    try:
        sys.modules.clear()
        builtins.callable = builtins.len = None
        del os.environ
        mended = state.mend()
    finally:
        sys.modules = modules
        sys.modules.update(before)
    assert mended
    assert callable(len)
    assert os.environ is environ
    assert not state.mend()


def test_emptied_variables_are_set_again(monkeypatch):
    monkeypatch.setenv("PSWEEP_TEST", "1")
    state = ProcessState()
    os.environ.clear()
    assert state.mend()
    assert os.environ["PSWEEP_TEST"] == "1"


def test_what_func_may_want_is_left(monkeypatch):
    monkeypatch.setenv("PSWEEP_TEST", "1")
    monkeypatch.setattr(builtins, "print", print)
    state = ProcessState()
    builtins.print = lambda *args: None
    del os.environ["PSWEEP_TEST"]
    assert not state.mend()
    assert builtins.print(1) is None
    assert "PSWEEP_TEST" not in os.environ
