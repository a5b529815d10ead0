"""A journal keeps what was appended, whatever happens to its writer or its disk."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psweep_dask.storage.journal import Journal, JournalError, MemoryJournal, replay
from psweep_dask.storage.record import pack

FRAMES = [pack([{"a": number}, {"a": -number}]) for number in range(5)]


def values(blocks):
    return [value for _, columns in blocks for value in columns[0]]


@given(st.lists(st.sampled_from(FRAMES)))
def test_journal_of_both_kinds_returns_what_was_appended(tmp_path_factory, frames):
    path = tmp_path_factory.mktemp("run") / "journal"
    memory = MemoryJournal()
    with closing(Journal(path)) as journal:
        for frame in frames:
            journal.append(frame)
            memory.append(frame)
        live = values(replay(path))
    assert live == values(journal.replay()) == values(memory.replay())
    assert path.read_bytes() == b"".join(frames)


def test_journal_cannot_be_opened_twice(study_folder):
    Journal(study_folder / "journal").close()
    with pytest.raises(FileExistsError):
        Journal(study_folder / "journal")


def test_journal_torn_tail_is_left_out_and_measured(study_folder):
    path = study_folder / "journal"
    path.write_bytes(FRAMES[1] + FRAMES[2][:-3])
    replayed = replay(path)
    assert values(replayed) == [1, -1]
    assert replayed.unread_bytes == len(FRAMES[2]) - 3
    assert not replayed.damaged


def test_journal_with_a_changed_byte_is_damaged_from_there_on(study_folder):
    path = study_folder / "journal"
    whole = bytearray(b"".join(FRAMES))
    whole[len(FRAMES[0]) + 20] ^= 1
    path.write_bytes(whole)
    replayed = replay(path)
    assert values(replayed) == [0, 0]
    assert replayed.unread_bytes == len(whole) - len(FRAMES[0])
    assert replayed.damaged


def test_journal_since_an_offset_returns_the_blocks_behind_it(study_folder):
    with closing(Journal(study_folder / "journal")) as journal:
        memory = MemoryJournal()
        for either in (journal, memory):
            either.append(FRAMES[1])
            blocks, offset = either.since(0)
            assert (values(blocks), offset) == ([1, -1], len(FRAMES[1]))
            either.append(FRAMES[2])
            assert values(either.since(offset)[0]) == [2, -2]


WRITER = """
import sys
from pathlib import Path
from psweep_dask.storage.journal import Journal
from psweep_dask.storage.record import pack
journal = Journal(Path(sys.argv[1]))
number = 0
while True:
    journal.append(pack([{"a": number}]))
    number += 1
    print(number, flush=True)
"""


def test_journal_keeps_after_sigkill_what_append_has_returned_from(study_folder):
    path = study_folder / "journal"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        acknowledged = [int(writer.stdout.readline()) for _ in range(200)][-1]
        writer.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, writer.stdout.read().split("\n")[:-1])])
    written = values(replay(path))
    assert written == list(range(len(written)))
    assert len(written) >= acknowledged >= 200


LIMITED = """
import resource, signal, sys
from pathlib import Path
from psweep_dask.storage.journal import Journal, JournalError, replay
from psweep_dask.storage.record import pack
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
journal = Journal(Path(sys.argv[1]))
for attempt in range(2):
    try:
        while True:
            journal.append(pack([{"a": 1}]))
    except JournalError as err:
        print(err)
journal.close()
print(sum(len(columns[0]) for _, columns in journal.replay()))
"""


def test_journal_on_a_full_disk_ends_and_keeps_what_was_written(study_folder):
    path = study_folder / "journal"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True
    )
    first, again, count = done.stdout.splitlines()
    assert os.strerror(errno.EFBIG) in first
    assert str(path) in first
    assert again == first  # nothing is ever written behind a torn frame
    assert int(count) == 1000 // len(pack([{"a": 1}]))


def test_journal_append_reports_a_failed_fsync(study_folder):
    journal = Journal(study_folder / "journal", fsync_interval=0.01)
    read_end, write_end = os.pipe()
    os.dup2(write_end, journal._file.fileno())  # a pipe takes bytes, but cannot be synced

    def append_until_it_fails():
        for _ in range(1000):
            journal.append(FRAMES[0])
            os.read(read_end, 10_000)
            journal._closing.wait(0.01)

    with pytest.raises(JournalError, match="cannot write"):
        append_until_it_fails()
    journal.close()
    for descriptor in (read_end, write_end):
        os.close(descriptor)


def test_journal_is_synced_at_most_once_an_interval_and_at_the_end(study_folder, monkeypatch):
    real, synced = os.fsync, []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: (synced.append(descriptor), real(descriptor))
    )
    journal = Journal(study_folder / "journal", fsync_interval=3600)
    synced.clear()  # of the folder
    for frame in FRAMES * 100:
        journal.append(frame)
    journal._closing.wait(0.2)
    assert len(synced) <= 1
    journal.append(FRAMES[0])
    journal.close()
    assert 1 <= len(synced) <= 2
