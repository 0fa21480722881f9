"""What the compiled part refuses. That it gives what Python gives is tested where each function belongs."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.native import native

pytestmark = pytest.mark.skipif(
    native is None, reason="there is no compiler, so nothing compiled to be tried"
)

KEYS = b"".join(bytes([number]) * 32 for number in (1, 2, 3))
FANOUT = struct.pack("<2I", 0, 3)
ROWS = struct.pack("<9I", 0, 0, 5, 0, 5, 5, 1, 0, 10)
FRAMES = struct.pack("<10I", 0, 64, 9, 10, 1, 1, 64, 10, 10, 0)
PACKS = b"p" * 32 + b"q" * 32


@given(st.binary(max_size=200), st.data())
def test_buffers_are_compared_to_the_last_byte(data: bytes, draw: st.DataObject) -> None:
    assert native is not None
    assert native.same(data, bytearray(data))
    assert not native.same(data, data + b"\0")
    if data:
        at = draw.draw(st.integers(0, len(data) - 1))
        other = bytearray(data)
        other[at] ^= draw.draw(st.integers(1, 255))
        assert not native.same(data, other)


def test_keys_are_found() -> None:
    assert native is not None
    assert native.find(KEYS, FANOUT, KEYS + bytes(32)) == [0, 1, 2, -1]
    assert native.find(KEYS, FANOUT, b"") == []
    assert native.find(b"", struct.pack("<2I", 0, 0), KEYS) == [-1, -1, -1]


@pytest.mark.parametrize("bounds", [(1, 0), (0, 4), (5, 5), (0, 1 << 31)])
def test_a_table_that_is_not_in_order_is_told_apart(bounds: tuple[int, int]) -> None:
    """By -2, and nothing beyond the keys is looked at."""
    assert native is not None
    assert native.find(KEYS, struct.pack("<2I", *bounds), KEYS) == [-2] * 3


@pytest.mark.parametrize(
    ("keys", "fanout", "digests"),
    [
        (KEYS[1:], FANOUT, b""),
        (KEYS, FANOUT, b"x"),
        (KEYS, FANOUT[:4], b""),
        (KEYS, bytes(16), b""),
        (KEYS, b"", b""),
    ],
)
def test_sizes_that_do_not_fit_are_refused(keys: bytes, fanout: bytes, digests: bytes) -> None:
    assert native is not None
    with pytest.raises(ValueError, match="32 bytes"):
        native.find(keys, fanout, digests)


@pytest.mark.parametrize(("keys", "rows"), [(KEYS[1:], ROWS), (KEYS, ROWS[1:]), (KEYS, b""), (b"", ROWS)])
def test_keys_without_their_rows_are_not_sorted(keys: bytes, rows: bytes) -> None:
    assert native is not None
    with pytest.raises(ValueError, match="as many"):
        native.arrange(keys, rows)


@pytest.mark.parametrize(("keys", "rows"), [(KEYS[1:], ROWS), (KEYS, ROWS[1:]), (KEYS, b""), (b"", ROWS)])
def test_keys_without_their_rows_are_not_selected(keys: bytes, rows: bytes) -> None:
    assert native is not None
    with pytest.raises(ValueError, match="as many"):
        native.select(keys, rows, 0, 65_536)


@pytest.mark.parametrize(
    ("slots", "keys", "number"),
    [
        (bytearray(64), KEYS[1:], 0),
        (bytearray(0), KEYS, 0),
        (bytearray(63), KEYS, 0),
        (bytearray(24), KEYS, 0),
        (bytearray(16), KEYS, 0),
        (bytearray(64), KEYS, 5),
        (bytearray(64), KEYS, -1),
        (memoryview(bytearray(65))[1:], KEYS, 0),
    ],
)
def test_a_table_that_would_be_full_is_refused(slots: bytearray, keys: bytes, number: int) -> None:
    assert native is not None
    before = bytes(slots)
    with pytest.raises(ValueError, match="one stays empty"):
        native.claim(slots, keys, number)
    assert bytes(slots) == before


def test_a_table_that_cannot_be_written_to_is_refused() -> None:
    assert native is not None
    with pytest.raises(TypeError):
        native.claim(bytes(64), KEYS, 0)


@pytest.mark.parametrize(("keys", "bits"), [(KEYS[1:], 1), (KEYS, -1), (KEYS, 17)])
def test_a_table_that_cannot_be_is_not_made(keys: bytes, bits: int) -> None:
    assert native is not None
    with pytest.raises(ValueError, match="16 bits"):
        native.fanout(keys, bits)


def test_places_are_made() -> None:
    assert native is not None
    assert native.places(ROWS, FRAMES, PACKS, [2, 0, 1]) == [
        (b"q" * 32, 64, 10, 10, 0, 0, 10),
        (b"p" * 32, 64, 9, 10, 1, 0, 5),
        (b"p" * 32, 64, 9, 10, 1, 5, 5),
    ]


@pytest.mark.parametrize(
    ("rows", "frames", "packs", "positions"),
    [
        (ROWS, FRAMES, PACKS, [3]),
        (ROWS, FRAMES, PACKS, [0, -1]),
        (ROWS, FRAMES[:20], PACKS, [2]),
        (ROWS, FRAMES, PACKS[:32], [2]),
        (struct.pack("<3I", 0, 6, 5), FRAMES, PACKS, [0]),
        (struct.pack("<3I", 0, (1 << 32) - 1, 2), FRAMES, PACKS, [0]),
        (ROWS, FRAMES, PACKS, [1 << 70]),
        (ROWS, FRAMES, PACKS, ["0"]),
    ],
)
def test_a_row_that_names_what_is_not_there_is_refused(
    rows: bytes, frames: bytes, packs: bytes, positions: Any
) -> None:
    assert native is not None
    with pytest.raises((ValueError, OverflowError, TypeError)):
        native.places(rows, frames, packs, positions)
