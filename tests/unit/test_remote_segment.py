"""A segment searched by ranges answers as the whole one does, and ends in a read of all of it."""

from __future__ import annotations

import struct
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver import remote_segment
from dataver.chunk_index import ChunkIndex
from dataver.errors import DamagedError, NewerFormatError
from dataver.format import segment as segment_format
from dataver.format.segment import Segment, SegmentFrame
from dataver.hashing import blake3_digest
from dataver.keys import segment_key
from dataver.remote_segment import RemoteSegment
from dataver.store.memory import MemoryStore
from dataver.testing.stores import CountingStore
from tests.worlds import noise

NONCE = bytes(16)


def make(count: int, packs: int = 3, frames: int = 7, prefix: bytes = b"") -> tuple[bytes, list[bytes]]:
    """The bytes of a segment of `count` keys that begin with `prefix`, and the keys."""
    keys = [prefix + noise((count, number), 32 - len(prefix)) for number in range(count)]
    table = [SegmentFrame(number % packs, 100 * number, 90, 5_000, 1) for number in range(frames)]
    rows = b"".join(struct.pack("<III", number % frames, number % 4_000, 1_000) for number in range(count))
    names = [noise(("pack", number), 32) for number in range(packs)]
    return segment_format.encode(names, table, b"".join(keys), rows, NONCE), keys


def put(data: bytes) -> tuple[CountingStore, bytes]:
    name = blake3_digest(data)
    store = CountingStore(MemoryStore(uuid4().hex))
    store.put_new(segment_key(name), data)
    store.reset()
    return store, name


@given(
    count=st.integers(0, 400),
    packs=st.integers(1, 5),
    frames=st.integers(1, 40),
    prefix=st.sampled_from([b"", b"\0" * 8, b"\xff" * 9]),
    head_bytes=st.sampled_from([segment_format.HEADER_BYTES, 200, 1_000, 64 << 10]),
    tables_bytes=st.sampled_from([0, 300, 1 << 20]),
    others=st.lists(st.binary(min_size=32, max_size=32), max_size=5),
)
def test_it_answers_as_the_whole_segment(
    count: int,
    packs: int,
    frames: int,
    prefix: bytes,
    head_bytes: int,
    tables_bytes: int,
    others: list[bytes],
) -> None:
    data, keys = make(count, packs, frames, prefix)
    store, name = put(data)
    whole = Segment(data, "the segment")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote_segment, "HEAD_READ_BYTES", head_bytes)
        patch.setattr(remote_segment, "TABLES_BYTES_MAX", tables_bytes)
        remote = RemoteSegment(store, name, len(data))
        for key in (*keys, *others, *(key[:-1] + b"?" for key in keys[:5])):
            assert remote.find(key) == whole.find(key)
        assert remote.last_pack() == whole.packs()[-1]
    assert store.counts["get"] == 0


def test_a_key_that_stands_across_two_others_is_not_found() -> None:
    """The bytes of a key may occur where no key begins."""
    keys = [bytes([7]) * 32, bytes([7]) * 16 + bytes([9]) * 16]
    rows = struct.pack("<III", 0, 0, 1) * 2
    data = segment_format.encode([bytes(32)], [SegmentFrame(0, 0, 9, 9, 1)], b"".join(keys), rows, NONCE)
    store, name = put(data)
    remote = RemoteSegment(store, name, len(data))
    assert remote.find(bytes([7]) * 32) is not None
    assert remote.find(bytes([7]) * 24 + bytes([9]) * 8) is None


def test_few_look_ups_read_little_and_many_read_it_whole_once() -> None:
    data, keys = make(60_000)
    store, name = put(data)
    index = ChunkIndex(store, [name], sizes={name: len(data)})
    assert index.find(keys[100]) == Segment(data, "whole").find(keys[100])
    assert store.counts == {"get_ranges": 3}
    assert store.read_bytes < 70_000
    for key in keys[:200]:
        assert index.find(key) is not None
    assert store.counts["get"] == 1
    assert store.counts["get_ranges"] < 25
    assert store.read_bytes < 1.2 * len(data)


def test_a_large_number_of_look_ups_reads_it_whole_at_once() -> None:
    data, keys = make(60_000)
    store, name = put(data)
    index = ChunkIndex(store, [name], sizes={name: len(data)})
    assert None not in index.find_many(b"".join(keys[:1_000]))
    assert store.counts == {"get": 1}


def test_small_segments_are_read_whole_each_once() -> None:
    store = CountingStore(MemoryStore(uuid4().hex))
    sizes: dict[bytes, int] = {}
    every: list[bytes] = []
    for count in range(10, 20):
        data, keys = make(count)
        sizes[blake3_digest(data)] = len(data)
        store.put_new(segment_key(blake3_digest(data)), data)
        every += keys
    store.reset()
    index = ChunkIndex(store, list(sizes), sizes=sizes)
    assert all(index.find(key) is not None for key in every)
    assert store.counts == {"get": 10}


@pytest.mark.parametrize("at", [0, 9, 10, 12, 16, 20, 24, 100])
def test_what_does_not_fit_together_is_damage(at: int) -> None:
    data, keys = make(30_000)
    broken = bytearray(data)
    broken[at] ^= 0x80
    store, name = put(data)
    store.inner.delete(segment_key(name))
    store.put_new(segment_key(name), bytes(broken))
    remote = RemoteSegment(store, name, len(data))
    try:
        places = [remote.find(key) for key in keys[:3]]
    except (DamagedError, NewerFormatError):
        assert at not in (24, 100)
        return
    # The nonce and the names of packs are not checked here: what is read in a pack is.
    assert at in (24, 100)
    assert None not in places


def test_a_missing_one_is_damage() -> None:
    store = MemoryStore(uuid4().hex)
    with pytest.raises(DamagedError, match="is missing"):
        RemoteSegment(store, bytes(32), 1 << 20).find(bytes(32))
