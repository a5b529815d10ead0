"""Records become frames and come back, and damage is found."""

from __future__ import annotations

import io
import os
import pickle
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psweep_dask.storage.record import (
    HEADER,
    RecordError,
    is_torn,
    pack,
    read_frames,
    read_record,
    seqs_in,
    to_frame,
    unpack,
)

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
def test_pack_keeps_records_in_order_whatever_their_keys(records):
    assert rows(unpack(pack(records)[HEADER.size :])) == records


@given(PAYLOADS)
def test_read_frames_returns_what_to_frame_has_written(payloads):
    stream = io.BytesIO(b"".join(map(to_frame, payloads)))
    assert list(read_frames(stream)) == payloads


@given(PAYLOADS)
def test_read_frames_of_a_stream_cut_at_any_byte_returns_only_whole_frames(payloads):
    frames = [to_frame(payload) for payload in payloads]
    whole = b"".join(frames)
    ends = [sum(map(len, frames[:count])) for count in range(len(frames) + 1)]
    for cut in range(len(whole) + 1):
        stream = io.BytesIO(whole[:cut])
        good = sum(end <= cut for end in ends) - 1
        assert list(read_frames(stream)) == payloads[:good]
        assert stream.tell() == ends[good]


def test_read_frames_with_a_flipped_bit_returns_no_wrong_record():
    payloads = [b"first payload", b"second", b"third payload"]
    whole = b"".join(map(to_frame, payloads))
    for place in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            read = list(read_frames(io.BytesIO(damaged)))
            assert read == payloads[: len(read)]
            assert len(read) < len(payloads)


def test_read_frames_stops_at_zeros():
    # what some file systems leave at the end of a file after a power cut
    assert list(read_frames(io.BytesIO(to_frame(b"x") + bytes(4096)))) == [b"x"]


def test_read_frames_with_a_damaged_length_does_not_read_so_much():
    huge = struct.pack("<4sII", b"PSW1", 2**32 - 1, 0)
    stream = io.BytesIO(huge + b"short")
    stream.read = lambda size: pytest.fail("read") if size > 100 else io.BytesIO.read(stream, size)
    assert list(read_frames(stream)) == []


def test_to_frame_refuses_empty_and_oversized_payloads():
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


def test_unpack_puts_a_stand_in_where_an_object_cannot_be_restored():
    ((names, columns),) = unpack(pickle.dumps((2, [(("a", "b"), [[1], [NeedsSecret()]])])))
    assert names == ("a", "b")
    assert columns[0] == [1]
    assert "no such device" in repr(columns[1][0])


@pytest.mark.parametrize("content", [7, None, "text"])
def test_unpack_of_what_holds_no_records_is_an_error(content):
    with pytest.raises(RecordError, match="holds no records"):
        unpack(pickle.dumps(content))


def test_read_frames_of_a_stream_that_is_growing(study_folder):
    path = study_folder / "journal"
    path.write_bytes(to_frame(b"first") + to_frame(b"second")[:7])
    with path.open("rb") as stream:
        assert list(read_frames(stream)) == [b"first"]
        assert stream.tell() < os.path.getsize(path)


@pytest.mark.parametrize("count", range(len(to_frame(b"payload")) + 1))
def test_is_torn_is_true_for_each_beginning_of_a_frame(count):
    frame = to_frame(b"payload")
    assert is_torn(frame[:count][: HEADER.size], count) == (count < len(frame))
    assert count < 1 or not is_torn(b"x" + frame[1:count][: HEADER.size - 1], count)


def test_read_record_of_a_file_that_is_missing_or_damaged_is_none(study_folder):
    path = study_folder / "record.pk"
    assert read_record(path) is None
    frame = pack([{"a": 1, "b": [2]}])
    path.write_bytes(frame)
    assert read_record(path) == {"a": 1, "b": [2]}
    path.write_bytes(frame[:-1])
    assert read_record(path) is None


def test_seqs_in_blocks_of_different_columns():
    records = [{"_pset_seq": 1}, {"a": 0, "_pset_seq": 5}, {"a": 0, "_pset_seq": 7}]
    assert seqs_in(unpack(pack(records)[HEADER.size :])) == {1, 5, 7}
