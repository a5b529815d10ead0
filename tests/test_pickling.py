"""What is pickled comes back as it was, and code with the name of its file."""

from __future__ import annotations

import pickle

import pytest

from psweep_dask import pickling


def outer(pset):
    def inner(number):
        return 1 / number

    class Helper:
        def go(self, number):
            return inner(number)

    return Helper().go(pset["a"])


def test_tracebacks_through_code_that_travelled_name_file_and_line():
    outer.__module__ = "__main__"  # so that it goes by value
    restored = pickle.loads(pickling.dumps(outer))
    assert restored is not outer
    with pytest.raises(ZeroDivisionError) as caught:
        restored({"a": 0})
    files = [frame.path for frame in caught.traceback[1:]]
    assert [str(file) for file in files] == [__file__] * 3
    assert str(caught.traceback[-1].statement).strip() == "return 1 / number"
    assert restored({"a": 2}) == 0.5


def test_code_that_has_travelled_can_travel_on():
    once = pickle.loads(pickling.dumps(lambda a: a + 1))
    again = pickle.loads(pickling.dumps(once))
    assert again(1) == 2
    assert again.__code__.co_filename == __file__
