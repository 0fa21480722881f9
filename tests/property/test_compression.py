"""Frames made of anything come back; bytes that are anything give no more than was asked for."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from dataver.compression import Codec, compress_frame, decompress
from dataver.errors import DamagedError

runs = st.tuples(st.binary(max_size=40), st.integers(0, 300)).map(lambda run: run[0] * run[1])


@given(st.lists(runs, max_size=8))
def test_what_goes_in_comes_out(parts: list[bytes]) -> None:
    plain = b"".join(parts)
    codec, stored = compress_frame(parts)
    if codec is Codec.RAW:
        assert stored is None
    else:
        assert stored is not None
        assert len(stored) <= 0.97 * len(plain)
        assert decompress(stored, len(plain)) == plain


@given(st.binary(max_size=400), st.integers(-2, 1 << 24))
def test_arbitrary_bytes(stored: bytes, raw_bytes: int) -> None:
    with suppress(DamagedError):
        assert len(decompress(stored, raw_bytes)) == raw_bytes


@given(runs.filter(lambda plain: compress_frame([plain])[0] is Codec.ZSTD), st.data())
def test_a_damaged_frame(plain: bytes, data: st.DataObject) -> None:
    _, stored = compress_frame([plain])
    assert stored is not None
    start = data.draw(st.integers(0, len(stored)))
    stop = data.draw(st.integers(start, len(stored)))
    damaged = stored[:start] + data.draw(st.binary(max_size=8)) + stored[stop:]
    try:
        assert len(decompress(damaged, len(plain))) == len(plain)
    except DamagedError:
        assert damaged != stored
