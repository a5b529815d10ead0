from __future__ import annotations

import io
import os
import pickle
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psweep_dask.storage.record import HEADER, RecordError, pack, read_frames, to_frame, unpack

PAYLOADS = st.lists(st.binary(min_size=1, max_size=40), max_size=5)
RECORDS = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.integers() | st.text(), min_size=1), max_size=8
)


def rows(blocks):
    return [
        dict(zip(names, values, strict=True))
        for names, columns in blocks
        for values in zip(*columns, strict=True)
    ]


@given(RECORDS)
def test_records_come_back_in_order_whatever_their_keys(records):
    assert rows(unpack(pack(records)[HEADER.size :])) == records


@given(PAYLOADS)
def test_frames_come_back(payloads):
    stream = io.BytesIO(b"".join(map(to_frame, payloads)))
    assert list(read_frames(stream)) == payloads


@given(PAYLOADS)
def test_a_stream_cut_at_any_byte_gives_only_whole_frames(payloads):
    frames = [to_frame(payload) for payload in payloads]
    whole = b"".join(frames)
    ends = [sum(map(len, frames[:count])) for count in range(len(frames) + 1)]
    for cut in range(len(whole) + 1):
        stream = io.BytesIO(whole[:cut])
        good = sum(end <= cut for end in ends) - 1
        assert list(read_frames(stream)) == payloads[:good]
        assert stream.tell() == ends[good]


def test_a_byte_flipped_anywhere_never_gives_a_wrong_record():
    payloads = [b"first payload", b"second", b"third payload"]
    whole = b"".join(map(to_frame, payloads))
    for place in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            read = list(read_frames(io.BytesIO(damaged)))
            assert read == payloads[: len(read)]
            assert len(read) < len(payloads)


def test_a_frame_of_zeros_is_damage():
    # what some file systems leave at the end of a file after a power cut
    assert list(read_frames(io.BytesIO(to_frame(b"x") + bytes(4096)))) == [b"x"]


def test_a_damaged_length_does_not_ask_for_its_memory():
    huge = struct.pack("<4sII", b"PSW1", 2**32 - 1, 0)
    stream = io.BytesIO(huge + b"short")
    stream.read = lambda size: pytest.fail("read") if size > 100 else io.BytesIO.read(stream, size)
    assert list(read_frames(stream)) == []


def test_empty_and_oversized_payloads_are_refused():
    class Huge(bytes):
        def __len__(self):
            return 2**32

    for payload in (b"", Huge()):
        with pytest.raises(RecordError, match="frame of the journal"):
            to_frame(payload)


class NeedsSecret:
    def __setstate__(self, state):
        raise OSError("no such device")

    def __getstate__(self):
        return {"a": 1}


def test_an_object_that_cannot_be_restored_is_no_damage_but_an_error_that_says_so():
    with pytest.raises(RecordError, match="no such device"):
        unpack(pickle.dumps([NeedsSecret()]))


def test_a_stream_that_is_still_growing_can_be_read(study_folder):
    path = study_folder / "journal"
    path.write_bytes(to_frame(b"one") + to_frame(b"two")[:7])
    with path.open("rb") as stream:
        assert list(read_frames(stream)) == [b"one"]
        assert stream.tell() < os.path.getsize(path)
