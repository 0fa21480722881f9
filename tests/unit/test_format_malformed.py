"""Bytes that no writer made: cut short, with more behind, changed, or announcing more than there is.

Every reader answers with an error of ours, at once, and never takes memory for what is only announced.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.digest import DIGEST_BYTES
from dataver.errors import DamagedError, NewerFormatError
from dataver.format import chunk_list
from dataver.format.entry import decode_entry
from dataver.format.envelope import decode_envelope
from dataver.format.pack import HEADER_BYTES, TRAILER_BYTES, footer_length, parse_footer, parse_frame_header
from dataver.format.segment import HEADER_BYTES as SEGMENT_HEADER_BYTES
from dataver.format.segment import Segment
from dataver.format.table_statistics import decode as decode_statistics
from dataver.format.version import decode_version
from dataver.hashing import Kind, blake3_digest, kind_digest
from dataver.tree.schema import MANIFEST, STATE
from tests.golden.make_vectors import make

MEMORY_BYTES_MAX = 4 << 20


def read_pack(data: bytes) -> object:
    """All of a pack, as its readers go about it."""
    length = footer_length(data[-TRAILER_BYTES:], len(data), "it")
    footer = parse_footer(data[:HEADER_BYTES], data[-length:], len(data), "it")
    for frame in footer.frames:
        parse_frame_header(data[frame.offset - 16 : frame.offset], "it")
    return list(footer.chunks())


def read_segment(data: bytes) -> object:
    """All of a segment, without its digest: large ones are searched before every byte was read."""
    segment = Segment(data, "it")
    keys = segment.keys().tobytes()
    found = [segment.find(keys[at : at + DIGEST_BYTES]) for at in range(0, len(keys), DIGEST_BYTES)]
    many = segment.find_many(keys + bytes(DIGEST_BYTES))
    places = [segment.place(int(position)) for position in many if position >= 0]
    assert segment.places(many[many >= 0]) == places
    return found, places, segment.packs(), segment.frames()


READERS: dict[str, Callable[[bytes], object]] = {
    "manifest node": lambda data: MANIFEST.decode(data, "it"),
    "manifest identity": lambda data: MANIFEST.decode_identity(data, "it"),
    "state node": lambda data: STATE.decode(data, "it"),
    "state identity": lambda data: STATE.decode_identity(data, "it"),
    "chunk list": lambda data: chunk_list.decode(data, "it"),
    "version": lambda data: decode_version(data, "it"),
    "signature": lambda data: decode_envelope(data, "it"),
    "table statistics": lambda data: decode_statistics(data, (data[5:37] + bytes(32))[:32]),
    "log entry": lambda data: decode_entry(data, "it"),
    "pack": read_pack,
    "segment": read_segment,
}


def reseal(kind: str, data: bytes) -> bytes:
    """Somebody who forges bytes forges the digest with them, where the object holds one."""
    if kind == "log entry" and len(data) > DIGEST_BYTES + 5:
        return data[:-DIGEST_BYTES] + kind_digest(Kind.LOG_ENTRY, data[:-DIGEST_BYTES])
    if kind == "table statistics" and len(data) > DIGEST_BYTES:
        return data[:-DIGEST_BYTES] + kind_digest(Kind.TABLE_STATISTICS, data[:-DIGEST_BYTES])
    if kind == "segment" and len(data) > SEGMENT_HEADER_BYTES:
        digest = blake3_digest(data[SEGMENT_HEADER_BYTES:])
        return data[: SEGMENT_HEADER_BYTES - DIGEST_BYTES] + digest + data[SEGMENT_HEADER_BYTES:]
    if kind == "pack" and len(data) >= HEADER_BYTES + TRAILER_BYTES:
        length = int.from_bytes(data[-TRAILER_BYTES:][:4], "little")
        footer = data[max(0, len(data) - TRAILER_BYTES - length) : -TRAILER_BYTES]
        digest = blake3_digest(data[:HEADER_BYTES] + footer)
        return data[:-40] + digest + data[-8:]
    return data


SAMPLES: list[tuple[str, str, bytes]] = [
    (vector["name"], vector["kind"], bytes.fromhex(vector["bytes"]))
    for vector in make()
    if vector["kind"] in READERS
]
EACH: list[Any] = [pytest.param(kind, data, id=name) for name, kind, data in SAMPLES]


@pytest.mark.parametrize(("kind", "data"), EACH)
def test_every_truncation_is_damage(kind: str, data: bytes) -> None:
    READERS[kind](data)
    for length in range(len(data)):
        with pytest.raises(DamagedError):
            READERS[kind](data[:length])
        with pytest.raises(DamagedError):
            READERS[kind](reseal(kind, data[:length]))


@pytest.mark.parametrize(("kind", "data"), EACH)
def test_bytes_that_follow_are_damage(kind: str, data: bytes) -> None:
    for more in (b"\0", b"\xff" * 40, data):
        with pytest.raises(DamagedError):
            READERS[kind](data + more)
        with pytest.raises(DamagedError):
            READERS[kind](reseal(kind, data + more))


@pytest.mark.parametrize(("kind", "data"), EACH)
def test_numbers_that_announce_too_much_take_no_memory(kind: str, data: bytes) -> None:
    """Every four bytes of it once, as if they were a count or a length."""
    READERS[kind](data)  # What it imports is no memory of this.
    tracemalloc.start()
    try:
        # All numbers of segments are aligned.
        for at in range(0, len(data) - 3, 4 if kind == "segment" else 1):
            number = b"\xff\xff\xff\xff" if at % 8 < 4 else b"\0\0\0\x10"
            try:
                READERS[kind](reseal(kind, data[:at] + number + data[at + 4 :]))
            except (DamagedError, NewerFormatError):
                continue
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES_MAX
    finally:
        tracemalloc.stop()


@st.composite
def mutations(draw: st.DrawFn) -> tuple[str, bytes]:
    """A sample with bytes changed, cut out, doubled or made up."""
    _, kind, data = draw(st.sampled_from(SAMPLES))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 8))
        new = draw(st.binary(max_size=8) | st.sampled_from([b"\0" * 4, b"\xff" * 8, b"\x01\0\0\0"]))
        match draw(st.sampled_from(["overwrite", "insert", "delete", "repeat"])):
            case "overwrite":
                data = data[:at] + new + data[at + len(new) :]
            case "insert":
                data = data[:at] + new + data[at:]
            case "delete":
                data = data[:at] + data[at + length :]
            case _:
                data = data[: at + length] + data[at:]
    return kind, data


@given(mutations())
def test_changed_bytes_give_values_or_an_error_of_ours(mutated: tuple[str, bytes]) -> None:
    kind, data = mutated
    for given_bytes in (data, reseal(kind, data)):
        try:
            READERS[kind](given_bytes)
        except (DamagedError, NewerFormatError):
            continue


@given(st.sampled_from(sorted(READERS)), st.binary(max_size=400))
def test_any_bytes_are_refused(kind: str, data: bytes) -> None:
    with pytest.raises(DamagedError):
        READERS[kind](data)


@given(mutations())
def test_a_record_has_one_spelling(mutated: tuple[str, bytes]) -> None:
    """No two records of bytes say the same of a version or of a file's chunks."""
    kind, data = mutated
    with suppress(DamagedError, NewerFormatError):
        if kind == "version":
            assert decode_version(data, "it").encode() == data
        elif kind == "chunk list":
            assert chunk_list.encode(*chunk_list.decode_columns(data, "it")) == data
