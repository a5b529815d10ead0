from __future__ import annotations

import os
import signal
import threading

import pytest

from psweep_dask.study import stop
from psweep_dask.study.stop import Stop, Stopper, write_request
from psweep_dask.worker.runner import Interrupt


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_the_first_signal_asks_the_second_drops_the_third_leaves(number, error):
    stopper, woken = Stopper(), []
    stopper.wake = lambda: woken.append(stopper.level)
    before = signal.getsignal(number)
    with stopper.catch_signals():
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
    with stopper.catch_signals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stopper = Stopper()
        with stopper.catch_signals():
            os.kill(os.getpid(), signal.SIGINT)
        assert stopper.level == Stop.NO
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_signals_are_left_alone():
    seen = []

    def listen():
        with Stopper().catch_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_another_process_asks_by_a_file(study_folder, monkeypatch):
    monkeypatch.setattr(stop, "REQUEST_POLL_SECONDS", 0.0)
    stopper = Stopper(study_folder / "stop")
    assert stopper.poll() == Stop.NO
    write_request(study_folder / "stop", Stop.SOON)
    assert stopper.poll() == Stop.SOON
    write_request(study_folder / "stop", Stop.NOW)
    assert stopper.poll() == Stop.NOW


def test_a_request_never_shrinks():
    stopper = Stopper()
    stopper.request(Stop.NOW)
    stopper.request(Stop.SOON)
    assert stopper.level == Stop.NOW
