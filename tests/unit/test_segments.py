"""Index segments over more chunks than are sorted at a time: the same bytes, in parts."""

from __future__ import annotations

from itertools import count
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.column import Column
from dataver.digest import Digest
from dataver.errors import StoreError
from dataver.format.pack import Frame
from dataver.format.segment import Segment
from dataver.hashing import blake3_digest
from dataver.keys import segment_key
from dataver.packs import StoredPack
from dataver.segments import segment_over, write_segment
from dataver.store.memory import MemoryStore

NONCE = b"the same nonce.."
NAMES = count()


def pack_of(number: int, keys: list[bytes]) -> StoredPack:
    """A pack with two chunks in a frame."""
    counts = [len(keys[at : at + 2]) for at in range(0, len(keys), 2)]
    frames = tuple(Frame(64 + 100 * n, 90, 5 * count, count, 1, 0) for n, count in enumerate(counts))
    return StoredPack(Digest(bytes([number]) * 32), 1_000, frames, [5] * len(keys), Column(b"".join(keys)))


heads = st.sampled_from([b"\0\0", b"\0\1", b"\x40\0", b"\x7f\xff", b"\x80\0", b"\xff\xff"])
keys = st.builds(lambda head, tail: head + tail * 30, heads, st.sampled_from([b"\0", b"a", b"\xff"]))
packs = st.lists(st.lists(keys | st.binary(min_size=32, max_size=32), max_size=12), max_size=5)


@given(packs=packs, together=st.integers(1, 9), is_compiled=st.booleans())
def test_a_long_segment_is_the_one_that_a_short_one_would_be(
    packs: list[list[bytes]], together: int, is_compiled: bool
) -> None:
    stored = [pack_of(number, some) for number, some in enumerate(packs)]
    whole = segment_over(stored, NONCE)
    store = MemoryStore(f"segments-{next(NAMES)}")
    with (
        mock.patch("dataver.segments.SORTED_TOGETHER", together),
        mock.patch("dataver.segments._READ_KEYS", 3),
        mock.patch("dataver.column.HELD_BYTES_MAX", 100),
    ):
        if not is_compiled:
            with mock.patch("dataver.segments.native", None):
                found = write_segment(store, stored, nonce=lambda: NONCE)
        else:
            found = write_segment(store, stored, nonce=lambda: NONCE)
    assert store.get(segment_key(found.name)) == whole
    assert found.name == blake3_digest(whole)
    assert (found.keys, found.size_bytes) == (Segment(whole, "it").key_count, len(whole))
    Segment(whole, "it").check()


def test_a_name_that_is_taken_is_told() -> None:
    store = MemoryStore(f"segments-{next(NAMES)}")
    pack = pack_of(1, [bytes([number]) * 32 for number in range(9)])
    with mock.patch("dataver.segments.SORTED_TOGETHER", 4):
        write_segment(store, [pack], nonce=lambda: NONCE)
        with pytest.raises(StoreError, match="exists already"):
            write_segment(store, [pack], nonce=lambda: NONCE)
