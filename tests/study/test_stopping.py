from __future__ import annotations

import os
import signal
import threading

import pytest

from psweep_dask.study import stopping
from psweep_dask.study.stopping import Stop, Stopper, request_by_file
from psweep_dask.worker.runner import Interrupt


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_the_first_signal_asks_the_second_drops_the_third_leaves(number, error):
    stopper, woken = Stopper(), []
    stopper.wake = lambda: woken.append(stopper.level)
    before = signal.getsignal(number)
    with stopper.listening():
        os.kill(os.getpid(), number)
        assert stopper.level == Stop.SOON
        os.kill(os.getpid(), number)
        assert stopper.level == Stop.NOW
        with pytest.raises(error):
            os.kill(os.getpid(), number)
    assert woken == [Stop.SOON, Stop.NOW]
    assert signal.getsignal(number) is before


def test_a_func_in_this_process_is_interrupted_by_the_second():
    stopper = Stopper()
    stopper.in_func = True
    with stopper.listening():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stopper = Stopper()
        with stopper.listening():
            os.kill(os.getpid(), signal.SIGINT)
        assert stopper.level == Stop.NO
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_signals_are_left_alone():
    seen = []

    def listen():
        with Stopper().listening():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_another_process_asks_by_a_file(study_folder, monkeypatch):
    monkeypatch.setattr(stopping, "INTERVAL", 0.0)
    stopper = Stopper(study_folder / "stop")
    assert stopper.look() == Stop.NO
    request_by_file(study_folder / "stop", Stop.SOON)
    assert stopper.look() == Stop.SOON
    request_by_file(study_folder / "stop", Stop.NOW)
    assert stopper.look() == Stop.NOW


def test_a_request_never_shrinks():
    stopper = Stopper()
    stopper.request(Stop.NOW)
    stopper.request(Stop.SOON)
    assert stopper.level == Stop.NOW
