"""What a pset prints is captured, whoever prints it."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile

import pytest

from psweep_dask.worker.capture import redirected


def captured(action):
    with tempfile.TemporaryFile() as log:
        try:
            with redirected(log):
                action()
        finally:
            log.seek(0)
            text = log.read().decode()
    return text


def test_capture_of_python_children_and_c_code_is_in_order():
    def action():
        print("one")
        subprocess.run(["echo", "two"], check=True)
        print("three", file=sys.stderr)
        subprocess.run("echo four >&2", shell=True, check=True)
        ctypes.CDLL(None).puts(b"five")

    assert captured(action).split() == ["one", "two", "three", "four", "five"]


def test_capture_ends_with_its_block(capfd):
    print("before")
    captured(lambda: print("inside"))
    print("after")
    subprocess.run(["echo", "child"], check=True)
    assert capfd.readouterr().out.split() == ["before", "after", "child"]


def test_capture_restores_the_streams_when_func_raises(capfd):
    streams = sys.stdout, sys.stderr

    def action():
        print("inside")
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  (it is ours, there is no other)
        captured(action)
    assert (sys.stdout, sys.stderr) == streams
    assert capfd.readouterr().out == ""


def test_capture_of_text_that_no_encoding_knows():
    assert captured(lambda: print("\udc80 ü")) == "\\udc80 ü\n"
