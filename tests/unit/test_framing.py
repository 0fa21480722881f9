"""Chunks to frames: all of them, in their order, and together what is better together."""

from __future__ import annotations

import re
from itertools import accumulate, pairwise
from random import Random

import pytest

from dataver.compression import Codec, decompress
from dataver.digest import digests_at, split_digests
from dataver.format.pack import frame_checksum
from dataver.framing import RAW_FRAME_BYTES_MAX, Chunks, Framer, chunks_at
from dataver.hashing import blake3_digest
from dataver.packs import FRAME_BYTES_TARGET, NewFrame

CHUNK_BYTES = 50_000
NOISE = Random(1).randbytes(40 * CHUNK_BYTES)
TEXT = b"".join(b"%d,%d\n" % (n, n * n) for n in range(200_000))[: 40 * CHUNK_BYTES]


def chunks(kinds: str) -> Chunks:
    """A chunk for each letter, side by side in one buffer: noise, text, or (-) one that is known already."""
    data = bytearray()
    for number, kind in enumerate(kinds):
        data += (TEXT if kind == "t" else NOISE)[CHUNK_BYTES * number :][:CHUNK_BYTES]
    view = memoryview(data)
    bounds = pairwise(range(0, CHUNK_BYTES * len(kinds) + 1, CHUNK_BYTES))
    digests = [blake3_digest(view[start:end]) for start, end in bounds]
    ends = list(accumulate([CHUNK_BYTES] * len(kinds)))
    return chunks_at(view, 0, ends, b"".join(digests))


def framed(kinds: str, framer: Framer) -> list[NewFrame]:
    """The frames of these chunks, which are in them just so."""
    wanted, every = [], chunks(kinds)
    for run in re.finditer("[^-]+", kinds):
        framer.add(every, *run.span())
        wanted += split_digests(digests_at(every.digests, *run.span()))
    framer.close()
    found = []
    for frame in framer.frames:
        stored = b"".join(frame.parts)
        assert frame.checksum == frame_checksum([stored])
        plain = stored if frame.codec == Codec.RAW else decompress(stored, frame.raw_bytes)
        assert len(plain) == frame.raw_bytes == sum(frame.lengths)
        ends = list(accumulate(frame.lengths, initial=0))
        digests = [blake3_digest(plain[start:end]) for start, end in pairwise(ends)]
        assert frame.digests == b"".join(digests)
        found += digests
    assert found == wanted
    assert framer.new_bytes == CHUNK_BYTES * len(wanted)
    return framer.frames


@pytest.mark.parametrize(
    "kinds", ["", "n", "t", "n" * 40, "t" * 40, "nt" * 20, "nnnnttttnnnnnntt", "n-n--nt-tt-n"]
)
@pytest.mark.parametrize("raw_bytes_max", [FRAME_BYTES_TARGET, RAW_FRAME_BYTES_MAX])
def test_every_chunk_is_in_a_frame_in_its_order(kinds: str, raw_bytes_max: int) -> None:
    for frame in framed(kinds, Framer(raw_bytes_max)):
        assert frame.raw_bytes <= (raw_bytes_max if frame.codec == Codec.RAW else FRAME_BYTES_TARGET)


def test_neighbours_that_are_stored_raw_become_one_frame() -> None:
    frames = framed("n" * 40, Framer(RAW_FRAME_BYTES_MAX))
    assert [len(frame.lengths) for frame in frames] == [10, 10, 10, 10]
    assert all(len(frame.parts) == 1 for frame in frames)
    frames = framed("n" * 40, Framer())
    assert {len(frame.lengths) for frame in frames} == {2}


def test_what_is_compressed_ends_a_raw_frame() -> None:
    frames = framed("nnnnttnnnn", Framer(RAW_FRAME_BYTES_MAX))
    assert [(frame.codec, len(frame.lengths)) for frame in frames] == [
        (Codec.RAW, 4),
        (Codec.ZSTD, 2),
        (Codec.RAW, 4),
    ]


def test_chunks_that_lie_apart_are_put_together() -> None:
    (frame,) = framed("n-n-n-n", Framer(RAW_FRAME_BYTES_MAX))
    assert (frame.codec, len(frame.lengths), len(frame.parts)) == (Codec.RAW, 4, 1)
