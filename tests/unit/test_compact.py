"""Segments: merged by size, and the same answers however many keys are asked for at once."""

from __future__ import annotations

import struct
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.chunk_index import ChunkIndex
from dataver.compact import choose, merge
from dataver.digest import Digest
from dataver.format import segment as segment_format
from dataver.format.segment import FEW_LOOKUPS, Segment, SegmentFrame
from dataver.hashing import blake3_digest
from dataver.log.state import SegmentState
from dataver.segments import put_segment
from dataver.store.memory import MemoryStore

NAMES = count()


def key_of(name: object) -> bytes:
    return blake3_digest(repr(name).encode())


def state_of(keys: int, name: object) -> SegmentState:
    return SegmentState(Digest(key_of(name)), keys, 100)


def put(store: MemoryStore, keys: list[bytes]) -> SegmentState:
    """A segment over `keys` in one pack of its own, ten to a frame."""
    number = next(NAMES)
    frames = [SegmentFrame(0, 48 + 1_000 * n, 900, 5_000, 1) for n in range(len(keys) // 10 + 1)]
    rows = b"".join(struct.pack("<III", at // 10, 7 * (at % 10), 7) for at in range(len(keys)))
    nonce = number.to_bytes(16, "little")
    data = segment_format.encode([key_of(("pack", number))], frames, b"".join(keys), rows, nonce)
    stored = put_segment(store, data)
    return SegmentState(stored.name, stored.keys, stored.size_bytes)


def test_few_segments_of_one_size_are_left_alone() -> None:
    assert choose([]) == []
    assert choose([state_of(10, n) for n in range(7)]) == []


def test_eight_of_one_size_are_merged_with_all_that_are_smaller() -> None:
    small = [state_of(10, n) for n in range(3)]
    middle = [state_of(1 << 15, ("middle", n)) for n in range(8)]
    large = [state_of(1 << 20, ("large", n)) for n in range(7)]
    assert choose([*large, *small, *middle]) == [*small, *middle]
    assert choose([*large, *small, *middle[:7]]) == []


def test_each_key_is_written_again_seldom() -> None:
    """3,000 commits of 100 chunks: few segments at any time, and few writes a key."""
    live: list[SegmentState] = []
    written = 0
    for number in range(3_000):
        live.append(state_of(100, number))
        chosen = choose(live)
        if chosen:
            merged = sum(segment.keys for segment in chosen)
            written += merged
            live = [segment for segment in live if segment not in chosen]
            live.append(state_of(merged, ("merged", number)))
        assert len(live) <= 24
    assert sum(segment.keys for segment in live) == 300_000
    assert written < 20 * 300_000


def test_look_ups_stay_right_after_many_merges() -> None:
    store = MemoryStore(f"test-compact-{next(NAMES)}")
    live: list[SegmentState] = []
    merges = 0
    expected: dict[bytes, set[tuple[bytes, int, int]]] = {}
    for number in range(90):
        keys = [key_of((number, n)) for n in range(1 + number * 7 % 60)]
        keys += [key_of((number - 1, 0))]  # One that is elsewhere too: either place is right.
        live.append(put(store, keys))
        pack = Segment(store.get(f"index/{live[-1].name}"), "it").packs()[0]
        for at, key in enumerate(keys):
            expected.setdefault(key, set()).add((pack, 48 + 1_000 * (at // 10), 7 * (at % 10)))
        chosen = choose(live)
        if chosen:
            merges += 1
            operation = merge(store, chosen, lambda n=number: (1 << 64 | n).to_bytes(16, "big"))  # type: ignore[misc]
            live = [segment for segment in live if segment.name not in operation.inputs]
            live.append(SegmentState(operation.output, operation.keys, operation.size_bytes))
    assert merges > 10
    index = ChunkIndex(store, [segment.name for segment in live])
    assert len(expected) > FEW_LOOKUPS
    found = index.find_many(b"".join(expected))
    for key, place in zip(expected, found, strict=True):
        assert place is not None
        assert (place.pack, place.frame_offset, place.offset) in expected[key]
        assert index.find(key) == place
    absent = [key_of(("absent", n)) for n in range(FEW_LOOKUPS + 1)]
    assert index.find_many(b"".join(absent)) == [None] * len(absent)
    assert index.find(absent[0]) is None


# Keys of few prefixes, that end in zeros (which numpy's strings drop), and keys alike but for the end.
heads = st.sampled_from([bytes(8), b"\xff" * 8, b"same 8 b", b"\0\0\0\0\0\0\0\1", b"\x80" + bytes(7)])
exactly_24 = st.binary(min_size=24, max_size=24)
tails = st.one_of(st.sampled_from([bytes(24), b"\xff" * 24, bytes(23) + b"\1"]), exactly_24)
near = st.builds(lambda head, tail: head + tail, heads, tails)
keys_of_all_kinds = st.one_of(near, st.binary(min_size=32, max_size=32))


@given(st.lists(keys_of_all_kinds, max_size=60))
def test_few_and_many_keys_are_arranged_alike(keys: list[bytes]) -> None:
    rows = b"".join(struct.pack("<III", number, 0, 0) for number in range(len(keys)))
    few = segment_format._arrange_few(b"".join(keys), rows)
    assert few == segment_format._arrange_many(b"".join(keys), rows)
    arranged = [few[0][at : at + 32] for at in range(0, len(few[0]), 32)]
    assert arranged == sorted(set(keys))
    numbers = [number for (number, _, _) in struct.iter_unpack("<III", few[1])]
    assert [keys.index(key) for key in arranged] == numbers  # Of equal keys the first is kept.
    assert segment_format.arrange(b"".join(keys), rows) == few
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dataver.native.native", None)
        assert segment_format.arrange(b"".join(keys), rows) == few


@given(st.lists(keys_of_all_kinds, max_size=60), st.sampled_from([0, 1, 5, 16]))
def test_the_compiled_part_spreads_keys_as_python_does(keys: list[bytes], bits: int) -> None:
    joined = b"".join(sorted(set(keys)))
    table = segment_format.fanout(joined, len(joined) // 32, bits)
    heads = [int.from_bytes(key[:4], "big") >> (32 - bits) for key in sorted(set(keys))]
    assert struct.unpack(f"<{(1 << bits) + 1}I", table)[-1] == len(heads)
    for value in {0, (1 << bits) - 1, *heads}:
        assert struct.unpack_from("<I", table, 4 * value)[0] == sum(head < value for head in heads)
    if bits < 16:  # All values of 16 bits take Python a second.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dataver.native.native", None)
            assert segment_format.fanout(joined, len(joined) // 32, bits) == table


@given(st.lists(keys_of_all_kinds, max_size=120), st.lists(keys_of_all_kinds, max_size=30), st.data())
def test_find_and_find_many_agree(keys: list[bytes], others: list[bytes], data: st.DataObject) -> None:
    rows = b"".join(struct.pack("<III", 0, number, 1) for number in range(len(keys)))
    frame = SegmentFrame(0, 48, 1_000, 1_000, 0)
    encoded = segment_format.encode([key_of("pack")], [frame], b"".join(keys), rows, bytes(16))
    opened = Segment(encoded, "it")
    opened.check()
    asked = data.draw(st.permutations([*keys, *others]))
    positions = opened.find_many(b"".join(asked)).tolist()
    ordered = sorted(set(keys))
    assert positions == [ordered.index(key) if key in ordered else -1 for key in asked]
    assert positions == [opened.position(key) for key in asked]
    assert positions == opened.positions(b"".join(asked)) == opened._find_many(b"".join(asked)).tolist()
    hits = [position for position in positions if position >= 0]
    assert opened.places(hits) == [opened.place(position) for position in hits]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dataver.native.native", None)
        assert opened.positions(b"".join(asked)) == positions
        assert opened.places(hits) == [opened.place(position) for position in hits]
        patch.setattr(segment_format, "FEW_LOOKUPS", 0)
        patch.setattr(segment_format, "FEW_PLACES", 0)
        assert opened.positions(b"".join(asked)) == positions
        assert opened.places(np.array(hits, dtype=np.int64)) == [opened.place(position) for position in hits]
    for key in ordered:
        place = opened.find(key)
        assert place is not None
        assert place.offset == keys.index(key)


def test_a_key_is_no_end_of_one_and_beginning_of_the_next() -> None:
    keys = [bytes(16) + b"\5" * 16, b"\1" * 32, b"\5" * 16 + b"\1" * 16]
    frames = [SegmentFrame(0, 48, 10, 10, 0)]
    for known in (keys, keys[:2]):
        rows = b"".join(struct.pack("<III", 0, n, 1) for n in range(len(known)))
        opened = Segment(
            segment_format.encode([key_of("pack")], frames, b"".join(known), rows, bytes(16)), "it"
        )
        assert [opened.position(key) for key in keys] == [0, 1, 2 if len(known) > 2 else -1]


@pytest.mark.parametrize("keys_count", [0, 1, 15, 16, 31, 32, 1_023, 1_024, 5_000])
def test_a_segment_of_any_size_finds_its_keys(keys_count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [key_of(n) for n in range(keys_count)]
    rows = b"".join(struct.pack("<III", 0, n, 1) for n in range(keys_count))
    frames = [SegmentFrame(0, 48, 10_000, 10_000, 0)]
    opened = Segment(segment_format.encode([key_of("pack")], frames, b"".join(keys), rows, bytes(16)), "it")
    assert 1 << segment_format.fanout_bits(keys_count) <= max(1, keys_count // 16)
    assert [opened.position(key) for key in sorted(keys)] == list(range(keys_count))
    monkeypatch.setattr(segment_format, "SCANNED_KEYS", 3)
    assert [opened.position(key) for key in sorted(keys)] == list(range(keys_count))
    assert opened.find_many(b"".join(sorted(keys))).tolist() == list(range(keys_count))
    assert opened.position(key_of("absent")) == -1
