"""Packs: what is written is what is read, whatever its size, and what is not a pack is refused."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import count, pairwise
from pathlib import Path
from random import Random
from threading import Event, Timer
from typing import TYPE_CHECKING

import pytest

from dataver.compression import Codec, decompress
from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import DamagedError, NewerFormatError, ObjectMissingError, StoreError
from dataver.format.limits import FRAME_BYTES_MAX, OBJECT_BYTES_MAX
from dataver.format.pack import (
    FRAME_HEADER_BYTES,
    HEADER_BYTES,
    SUFFIX_READ_BYTES,
    TRAILER_BYTES,
    Footer,
    PackBuilder,
    PackKind,
    footer_length,
    parse_columns,
    parse_footer,
    parse_frame_header,
)
from dataver.format.segment import Segment
from dataver.hashing import blake3_digest, xxh3_64
from dataver.keys import PACK_PREFIX, SEGMENT_PREFIX, pack_key, segment_key
from dataver.packs import (
    BLOCK_BYTES,
    FRAME_BYTES_TARGET,
    PACKS_IN_FLIGHT_MAX,
    Counter,
    NewFrame,
    PackWriter,
    RecordWriter,
    StoredPack,
    read_footer,
)
from dataver.segments import put_segment, segment_over, write_segment
from dataver.store.base import Upload, Wrapper
from dataver.store.cached import cache_of, with_cache
from dataver.store.memory import MemoryStore
from dataver.testing.stores import CountingStore
from tests.far import FarStore

if TYPE_CHECKING:
    from dataver.store.base import Data

NAMES = count()
NONCE = bytes(range(16))


def fresh() -> MemoryStore:
    return MemoryStore(f"test-packs-{next(NAMES)}")


def chunks_of(seed: int, *lengths: int) -> list[bytes]:
    return [Random(seed * 1_000 + number).randbytes(length) for number, length in enumerate(lengths)]


def add(writer: PackBuilder | PackWriter, chunks: Sequence[bytes]) -> None:
    """Add a frame of these chunks, as they are."""
    digests = b"".join(map(blake3_digest, chunks))
    writer.add(Codec.RAW, list(chunks), sum(map(len, chunks)), digests, list(map(len, chunks)))


def chunks_in(data: bytes, footer: Footer) -> list[bytes]:
    """Every chunk of a pack, each as its digest says."""
    found = []
    for digest, number, offset, length in footer.chunks():
        frame = footer.frames[number]
        stored = data[frame.offset : frame.offset + frame.stored_bytes]
        assert xxh3_64(stored) == frame.xxh3
        plain = stored if frame.codec == Codec.RAW else decompress(stored, frame.raw_bytes)
        assert len(plain) == frame.raw_bytes
        found.append(plain[offset : offset + length])
        assert blake3_digest(found[-1]) == digest
    return found


def parsed(data: bytes) -> Footer:
    length = footer_length(data, len(data), "it")
    return parse_footer(data[:HEADER_BYTES], data[-length:], len(data), "it")


# One pack


FRAMES = [chunks_of(1, 5, 70, 1), chunks_of(2, 300), chunks_of(3, 0, 9)]


def built(kind: PackKind = PackKind.DATA, nonce: bytes = NONCE) -> bytes:
    builder = PackBuilder(kind, nonce)
    for chunks in FRAMES:
        add(builder, chunks)
    _, parts = builder.finish()
    return b"".join(parts)


@pytest.mark.parametrize("kind", PackKind)
def test_a_pack_says_what_is_in_it(kind: PackKind) -> None:
    data = built(kind)
    footer = parsed(data)
    assert footer.kind is kind
    assert chunks_in(data, footer) == [chunk for chunks in FRAMES for chunk in chunks]
    assert [frame.chunk_count for frame in footer.frames] == [3, 1, 2]
    for frame in footer.frames:
        head = data[frame.offset - FRAME_HEADER_BYTES : frame.offset]
        said = frame.stored_bytes, frame.raw_bytes, frame.chunk_count, frame.codec
        assert parse_frame_header(head, "it") == said


def test_a_pack_has_the_name_of_its_bytes_and_the_size_it_said() -> None:
    builder = PackBuilder(PackKind.DATA, NONCE)
    assert builder.frame_count == 0
    for number, chunks in enumerate(FRAMES, 1):
        add(builder, chunks)
        assert builder.frame_count == number
    said = builder.size_bytes
    name, parts = builder.finish()
    data = b"".join(parts)
    assert (len(data), blake3_digest(data)) == (said, name)
    assert builder.take() == []
    assert built(nonce=bytes(16)) != data == built()


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_nonce_has_its_length(size: int) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        PackBuilder(PackKind.DATA, bytes(size))


def test_a_footer_by_its_end_alone_says_the_same() -> None:
    data = built(PackKind.META)
    length = footer_length(data, len(data), "it")
    assert parse_columns(memoryview(data)[-length:], len(data), "it") == parsed(data)
    assert parse_columns(memoryview(built())[-length:], len(data), "it").kind is PackKind.META


# What is not a pack


def sealed(header: bytes, footer: bytes, frames: bytes, *, size: int | None = None) -> bytes:
    """A pack of these, whose trailer fits."""
    whole = len(header) + len(frames) + len(footer) + TRAILER_BYTES
    digest = blake3_digest(header + footer)
    trailer = struct.pack("<IIQ32s8s", len(footer), 0, whole if size is None else size, digest, b"DVPKEND\n")
    return header + frames + footer + trailer


def pieces(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Header, footer and frames of a pack."""
    length = footer_length(data, len(data), "it")
    return data[:HEADER_BYTES], data[-length:-TRAILER_BYTES], data[HEADER_BYTES:-length]


def footer_of(
    offsets: list[int], stored: list[int], raw: list[int], counts: list[int], lengths: list[int]
) -> bytes:
    """The footer that says this, of frames without a codec and a checksum."""
    n, m = len(offsets), len(lengths)
    columns = (*offsets, *stored, *raw, *counts)
    middle = bytes(n) + bytes(8 * n)
    return struct.pack(f"<II{4 * n}I", n, m, *columns) + middle + struct.pack(
        f"<{m}I{32 * m}sI", *lengths, bytes(32 * m), 0
    )  # fmt: skip


AT = HEADER_BYTES + FRAME_HEADER_BYTES
GOOD = ([AT, AT + 10 + 16], [10, 20], [10, 30], [2, 1], [4, 6, 30])


def with_footer(columns: tuple[list[int], ...]) -> bytes:
    header, _, _ = pieces(built())
    return sealed(header, footer_of(*columns), bytes(10 + 16 + 20 + 16))


def test_a_footer_whose_numbers_fit_is_taken() -> None:
    footer = parsed(with_footer(GOOD))
    assert [frame.offset for frame in footer.frames] == GOOD[0]
    assert [(number, offset, length) for _, number, offset, length in footer.chunks()] == [
        (0, 0, 4),
        (0, 4, 6),
        (1, 0, 30),
    ]


@pytest.mark.parametrize(
    ("column", "number", "value"),
    [
        *((0, 0, AT + 1), (0, 0, AT - 1), (0, 1, AT + 10 + 15), (0, 1, AT + 10 + 17), (1, 0, 9), (1, 1, 19)),
        *((1, 1, 21), (2, 0, 11), (2, 1, FRAME_BYTES_MAX + 1), (3, 0, 1), (3, 0, 3), (3, 1, 0), (3, 1, 2)),
        *((4, 0, 5), (4, 2, 31), (4, 2, FRAME_BYTES_MAX + 1)),
    ],
)
def test_a_footer_whose_numbers_do_not_fit_is_damage(column: int, number: int, value: int) -> None:
    columns = tuple(list(values) for values in GOOD)
    columns[column][number] = value
    with pytest.raises(DamagedError, match=r"do not (follow|fill)"):
        parsed(with_footer(columns))


def test_chunks_of_no_frame_are_damage() -> None:
    columns = (*GOOD[:4], [*GOOD[4], 5])
    with pytest.raises(DamagedError, match="do not fill"):
        parsed(with_footer(columns))


def test_a_frame_of_all_that_one_may_have_is_taken() -> None:
    raw = FRAME_BYTES_MAX
    assert parsed(with_footer((*GOOD[:2], [10, raw], GOOD[3], [4, 6, raw]))).lengths[2] == raw
    head = struct.pack("<4sIII", b"DVFR", 10, raw, 3 << 8 | 1)
    assert parse_frame_header(head, "it") == (10, raw, 3, 1)


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("<4sIII", b"DVFS", 10, 10, 1 << 8),
        struct.pack("<4sIII", b"DVFR", 10, FRAME_BYTES_MAX + 1, 1 << 8),
        struct.pack("<4sIII", b"DVFR", 10, 10, 1 << 8)[:-1],
    ],
)
def test_what_begins_as_no_frame_is_damage(head: bytes) -> None:
    with pytest.raises(DamagedError):
        parse_frame_header(head, "it")


def test_counts_that_the_footer_has_no_room_for_are_damage() -> None:
    header, _, _ = pieces(built())
    for counts in ((1 << 31, 0), (0, 1 << 31), (2, 2), (3, 0), (0, 2)):
        with pytest.raises(DamagedError, match="larger than its footer"):
            parsed(sealed(header, struct.pack("<II", *counts) + bytes(60), b""))


def test_what_is_behind_the_columns_is_damage() -> None:
    header, footer, frames = pieces(built())
    assert parsed(sealed(header, footer, frames)) == parsed(built())
    with pytest.raises(DamagedError):
        parsed(sealed(header, footer + b"\0", frames))


def test_a_pack_of_no_frames_is_one() -> None:
    header, _, _ = pieces(built())
    assert parsed(sealed(header, footer_of([], [], [], [], []), b"")).frames == ()
    with pytest.raises(DamagedError, match="do not fill"):
        parsed(sealed(header, footer_of([], [], [], [], []), b"x"))


@pytest.mark.parametrize(
    ("at", "value", "error"),
    [
        (0, b"X", DamagedError),
        (8, b"\x02\x00", NewerFormatError),
        (10, b"\x04\x00", DamagedError),
        (10, b"\x00\x00", DamagedError),
        (12, b"\x01", DamagedError),
        (15, b"\x01", DamagedError),
    ],
)
def test_a_header_of_something_else_is_refused(at: int, value: bytes, error: type[Exception]) -> None:
    header, footer, frames = pieces(built())
    changed = header[:at] + value + header[at + len(value) :]
    with pytest.raises(error):
        parsed(sealed(changed, footer, frames))


def test_a_header_or_footer_that_is_another_is_damage() -> None:
    data = built()
    length = footer_length(data, len(data), "it")
    for header in (data[: HEADER_BYTES - 1], data[: HEADER_BYTES + 1], bytes(HEADER_BYTES)):
        with pytest.raises(DamagedError, match=r"header|digest"):
            parse_footer(header, data[-length:], len(data), "it")
    with pytest.raises(DamagedError, match="digest"):
        parse_footer(built(nonce=bytes(16))[:HEADER_BYTES], data[-length:], len(data), "it")
    # More of the end than is asked for is as good.
    assert parse_footer(data[:HEADER_BYTES], data, len(data), "it") == parsed(data)


def test_an_end_of_something_else_is_damage() -> None:
    data = built()
    header, footer, frames = pieces(data)
    assert footer_length(data[-TRAILER_BYTES:], len(data), "it") == len(footer) + TRAILER_BYTES
    for bad in (
        data[:-1] + b"X",
        sealed(header, footer, frames, size=len(data) + 1),
        sealed(header, footer, frames, size=len(data) - 1),
        data[-TRAILER_BYTES + 1 :],
        data[-(HEADER_BYTES + TRAILER_BYTES) + 1 :],
    ):
        with pytest.raises(DamagedError):
            footer_length(bad, len(bad), "it")
    # The footer would begin in the header; or fill all between header and trailer.
    for footer_bytes in (len(footer) + len(frames) + 1, len(footer) + len(frames)):
        trailer = struct.pack("<I", footer_bytes) + data[-TRAILER_BYTES + 4 :]
        if footer_bytes == len(footer) + len(frames):
            assert footer_length(trailer, len(data), "it") == footer_bytes + TRAILER_BYTES
            continue
        with pytest.raises(DamagedError, match="longer than the pack"):
            footer_length(trailer, len(data), "it")


def test_an_end_that_was_not_read_whole_is_damage() -> None:
    data = built()
    for tail in (b"", data[-TRAILER_BYTES + 1 :]):
        with pytest.raises(DamagedError, match="shorter"):
            footer_length(tail, len(data), "it")


def test_the_smallest_pack_has_a_header_and_a_trailer() -> None:
    for size in (HEADER_BYTES + TRAILER_BYTES - 1, HEADER_BYTES + TRAILER_BYTES):
        trailer = struct.pack("<IIQ32s8s", 0, 0, size, bytes(32), b"DVPKEND\n")
        if size == HEADER_BYTES + TRAILER_BYTES:
            assert footer_length(trailer, size, "it") == TRAILER_BYTES
            continue
        with pytest.raises(DamagedError, match="shorter"):
            footer_length(trailer, size, "it")


def test_a_pack_has_at_most_the_bytes_of_an_object() -> None:
    for size in (OBJECT_BYTES_MAX, OBJECT_BYTES_MAX + 1):
        trailer = struct.pack("<IIQ32s8s", 12, 0, size, bytes(32), b"DVPKEND\n")
        if size == OBJECT_BYTES_MAX:
            assert footer_length(trailer, size, "it") == 12 + TRAILER_BYTES
            continue
        with pytest.raises(DamagedError):
            footer_length(trailer, size, "it")


# Writing many


def written(store: MemoryStore, packs: Sequence[StoredPack]) -> list[bytes]:
    """Every chunk of these packs in order; what is told of each pack is what is in the store."""
    found: list[bytes] = []
    for pack in packs:
        data = store.get(pack_key(pack.name))
        assert (blake3_digest(data), len(data)) == (pack.name, pack.size_bytes)
        footer, size_bytes = read_footer(store, pack.name)
        assert size_bytes == len(data)
        assert (footer.frames, footer.lengths) == (pack.frames, tuple(pack.lengths))
        assert footer.digests == pack.digests
        found += chunks_in(data, footer)
    return found


@pytest.mark.parametrize("frame_bytes", [100, 40_000, BLOCK_BYTES - 300, BLOCK_BYTES, 3 * BLOCK_BYTES])
@pytest.mark.parametrize("size_bytes_max", [1 << 20, 8 << 20])
def test_frames_of_any_size_go_into_packs_in_order(frame_bytes: int, size_bytes_max: int) -> None:
    store = fresh()
    told: list[Digest] = []
    writer = PackWriter(store, PackKind.DATA, size_bytes_max=size_bytes_max, stored=told.append)
    frames = max(3, 8 * BLOCK_BYTES // frame_bytes) if frame_bytes > 1_000 else 500
    buffer = bytearray(frame_bytes)
    expected = []
    for number in range(frames):
        buffer[:] = Random(number).randbytes(frame_bytes)
        expected.append(bytes(buffer))
        writer.add(Codec.RAW, [buffer], frame_bytes, blake3_digest(buffer), [frame_bytes])
        if number % 3 == 0:
            writer.settle()
            buffer[:] = bytes(frame_bytes)  # It is the caller's again.
        else:
            buffer = bytearray(frame_bytes)
    packs = writer.close()
    assert written(store, packs) == expected
    assert sorted(told) == sorted(pack.name for pack in packs)
    assert sorted(info.key for info in store.list(PACK_PREFIX)) == sorted(pack_key(name) for name in told)
    assert all(pack.size_bytes <= size_bytes_max or len(pack.frames) == 1 for pack in packs)
    weight = frame_bytes + 64 + DIGEST_BYTES + 4
    assert all(one.size_bytes + weight > size_bytes_max for one, _ in pairwise(packs))
    assert writer.close() == packs


def test_a_pack_is_never_larger_than_it_may_be() -> None:
    """A reader takes none that is."""
    builder = PackBuilder(PackKind.DATA, NONCE)
    for chunks in FRAMES[:2]:
        add(builder, chunks)
    store = fresh()
    writer = PackWriter(store, PackKind.DATA, size_bytes_max=builder.size_bytes - 1)
    for chunks in FRAMES[:2]:
        add(writer, chunks)
    packs = writer.close()
    assert [len(pack.frames) for pack in packs] == [1, 1]
    assert written(store, packs) == [*FRAMES[0], *FRAMES[1]]


@pytest.mark.parametrize("chunk_count", [1, 3])
def test_a_frame_goes_into_the_pack_that_has_room_for_it(chunk_count: int) -> None:
    first, second = chunks_of(1, 300), chunks_of(2, *[100] * chunk_count)
    builder = PackBuilder(PackKind.DATA, NONCE)
    add(builder, first)
    room = builder.size_bytes + 100 * chunk_count + 64 + (DIGEST_BYTES + 4) * chunk_count
    for size_bytes_max, packs in ((room, [2]), (room - 1, [1, 1])):
        writer = PackWriter(fresh(), PackKind.DATA, size_bytes_max=size_bytes_max)
        add(writer, first)
        add(writer, second)
        assert [len(pack.frames) for pack in writer.close()] == packs


def test_nothing_written_is_no_pack() -> None:
    store = fresh()
    assert PackWriter(store, PackKind.DATA).close() == []
    assert RecordWriter(store).close() == []
    assert list(store.list("")) == []


def test_packs_of_the_same_frames_have_names_of_their_own() -> None:
    store = fresh()
    names = set()
    for _ in range(2):
        writer = PackWriter(store, PackKind.DATA)
        add(writer, FRAMES[0])
        names |= {pack.name for pack in writer.close()}
    assert len(names) == 2


@pytest.mark.parametrize("frame_bytes", [100, 3 * BLOCK_BYTES], ids=["at the end", "as it comes"])
def test_a_name_that_is_taken_is_told_and_nothing_replaced(frame_bytes: int) -> None:
    store = fresh()
    for number in range(2):
        writer = PackWriter(store, PackKind.DATA, nonce=lambda: NONCE)
        add(writer, chunks_of(1, frame_bytes))
        if number == 0:
            assert len(writer.close()) == 1
            continue
        with pytest.raises(StoreError, match="exists already"):
            writer.close()
        with pytest.raises(StoreError, match="exists already"):
            put_segment(store, put_twice(store))


def put_twice(store: MemoryStore) -> bytes:
    """The bytes of a segment that is there."""
    data = segment_over([], NONCE)
    put_segment(store, data)
    return data


class _Uploads(Wrapper):
    """A store that takes packs piece by piece, keeps what it took, and fails at some piece."""

    def __init__(self, fails_at: int) -> None:
        super().__init__(fresh())
        self.fails_at = fails_at
        self.began = self.abandoned = self.finished = self.pieces = self.segments = 0
        self.waits_at_the_end = False
        self.added = 0
        self.added_before: list[int] = []
        self.came = Event()
        self.may_go_on = Event()
        self.may_go_on.set()

    def begin_upload(self, folder: str) -> Upload:
        assert folder == PACK_PREFIX.rstrip("/")
        self.began += 1
        return _Pieces(self)

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
        assert not barrier
        self.segments += 1
        return super().put_new(key, data, barrier=barrier)


class _Pieces:
    def __init__(self, store: _Uploads) -> None:
        self.store = store

    def write(self, data: Data) -> None:
        if not self.store.waits_at_the_end:
            self.wait()
        self.store.pieces += 1
        if self.store.pieces == self.store.fails_at:
            raise StoreError("this piece was not taken")

    def wait(self) -> None:
        self.store.came.set()
        assert self.store.may_go_on.wait(60)
        self.store.added_before.append(self.store.added)

    def finish(self, key: str, *, barrier: bool = True) -> bool:
        assert not barrier
        if self.store.waits_at_the_end:
            self.wait()
        self.store.finished += 1
        return True

    def abandon(self) -> None:
        assert self.store.may_go_on.is_set(), "a piece is under way"
        self.store.abandoned += 1


@pytest.mark.parametrize("fails_at", [1, 2, 5, 9])
def test_a_pack_of_which_a_piece_was_not_taken_gets_no_name(fails_at: int) -> None:
    store = _Uploads(fails_at)
    writer = PackWriter(store, PackKind.DATA, size_bytes_max=64 << 20)

    def write() -> None:
        for number in range(12):
            add(writer, chunks_of(number, BLOCK_BYTES))
        writer.close()

    with pytest.raises(StoreError, match="not taken"):
        write()
    writer.abandon()
    assert store.finished == 0
    assert store.abandoned == store.began == 1
    assert store.pieces == fails_at  # What would follow a gap is not written.


def test_nothing_follows_a_gap() -> None:
    """A pack that lacks a piece in the middle would have a name and a footer."""
    store = _Uploads(1)
    writer = PackWriter(store, PackKind.DATA)
    for number in range(2):
        with pytest.raises(StoreError, match="not taken"):
            add(writer, chunks_of(number, BLOCK_BYTES))
    with pytest.raises(StoreError, match="not taken"):
        writer.close()
    assert (store.pieces, store.finished, store.abandoned) == (1, 0, 1)


@pytest.mark.parametrize("frame_bytes", [100, 3 * BLOCK_BYTES], ids=["at the end", "as it comes"])
def test_packs_and_segments_leave_it_to_the_entry_to_make_all_durable(frame_bytes: int) -> None:
    store = _Uploads(0)
    writer = PackWriter(store, PackKind.DATA)
    add(writer, chunks_of(1, frame_bytes))
    write_segment(store, writer.close())
    assert (store.finished, store.segments) == (1, 1)


def test_what_is_abandoned_is_not_there() -> None:
    store = _Uploads(0)
    writer = PackWriter(store, PackKind.DATA)
    for number in range(6):
        add(writer, chunks_of(number, BLOCK_BYTES))
    writer.abandon()
    assert (store.finished, store.abandoned) == (0, store.began)


def slow_at_the_end() -> _Uploads:
    """A store that makes no pack durable until it may go on."""
    store = _Uploads(0)
    store.waits_at_the_end = True
    store.may_go_on.clear()
    return store


def test_what_is_under_way_ends_before_the_rest_is_abandoned() -> None:
    store = slow_at_the_end()
    writer = PackWriter(store, PackKind.DATA, size_bytes_max=2 * BLOCK_BYTES)
    for number in range(2):
        add(writer, chunks_of(number, BLOCK_BYTES))
    assert store.came.wait(60)
    Timer(0.2, store.may_go_on.set).start()
    writer.abandon()
    assert (store.began, store.finished, store.abandoned) == (2, 1, 1)


def test_a_writer_waits_while_the_store_takes_no_more() -> None:
    """A store may keep packs in memory until they are at their end."""
    store = slow_at_the_end()
    writer = PackWriter(store, PackKind.DATA, size_bytes_max=100)
    Timer(0.2, store.may_go_on.set).start()
    for number in range(9):
        add(writer, chunks_of(number, 100))
        store.added += 1
    writer.close()
    assert store.added_before[0] <= 1 + PACKS_IN_FLIGHT_MAX
    assert store.finished == 9


def test_buffers_are_free_when_the_store_has_their_bytes() -> None:
    store = _Uploads(0)
    writer = PackWriter(store, PackKind.DATA)
    add(writer, chunks_of(1, BLOCK_BYTES))
    assert store.pieces == 1
    add(writer, chunks_of(2, 100))
    assert store.pieces == 1  # too little to be written by itself
    writer.settle()
    assert store.pieces == 2
    assert len(writer.close()) == 1


def test_who_settles_is_told_that_a_write_failed() -> None:
    writer = PackWriter(_Uploads(1), PackKind.DATA)
    add(writer, chunks_of(1, 100))
    with pytest.raises(StoreError, match="not taken"):
        writer.settle()
    writer.abandon()


# Records


def test_records_come_in_frames_of_neighbours() -> None:
    store = fresh()
    writer = RecordWriter(store)
    sizes = [10, 3_000, FRAME_BYTES_TARGET - 3_010, 1, FRAME_BYTES_TARGET, 2 * FRAME_BYTES_TARGET, 5, 6]
    records = [Random(size).randbytes(size // 2) + bytes(size - size // 2) for size in sizes]
    for record in records:
        writer.add(blake3_digest(record), record)
    (pack,) = writer.close()
    assert written(store, [pack]) == records
    assert [frame.chunk_count for frame in pack.frames] == [3, 1, 1, 1, 2]
    assert read_footer(store, pack.name)[0].kind is PackKind.META


def test_records_written_with_the_same_nonce_have_the_same_name() -> None:
    names = set()
    for _ in range(2):
        writer = RecordWriter(fresh(), nonce=lambda: NONCE)
        writer.add(blake3_digest(b"record"), b"record")
        names |= {pack.name for pack in writer.close()}
    assert len(names) == 1


def test_records_are_at_hand_where_there_is_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path))
    store = with_cache(FarStore(fresh()))
    cache = cache_of(store)
    assert cache is not None
    writer = RecordWriter(store)
    writer.add(blake3_digest(b"record"), b"record")
    packs = writer.close()
    assert cache.get(blake3_digest(b"record")) == b"record"
    segment = write_segment(store, packs)
    assert cache.get(segment.name) == store.get(segment_key(segment.name))


# Footers and segments


@pytest.mark.parametrize("chunk_count", [1, 1_700, 1_800, 5_000])
def test_a_footer_of_any_length_is_read(chunk_count: int) -> None:
    store = CountingStore(fresh())
    writer = PackWriter(store, PackKind.META)
    add(writer, [b"%05d" % number for number in range(chunk_count)])
    add(writer, chunks_of(1, 200_000))
    (pack,) = writer.close()
    store.reset()
    footer, size_bytes = read_footer(store, pack.name)
    assert (footer.kind, footer.frames, footer.lengths) == (PackKind.META, pack.frames, tuple(pack.lengths))
    assert (footer.digests, size_bytes) == (pack.digests[:], pack.size_bytes)
    is_long = 36 * chunk_count > SUFFIX_READ_BYTES
    assert store.counts["get_suffix"] == (2 if is_long else 1)
    assert store.counts["get_ranges"] == 1
    assert store.read_bytes <= SUFFIX_READ_BYTES + HEADER_BYTES + (37 * chunk_count + 200 if is_long else 0)


def test_of_a_small_pack_one_read_gets_all() -> None:
    store = CountingStore(fresh())
    writer = PackWriter(store, PackKind.DATA)
    add(writer, FRAMES[0])
    (pack,) = writer.close()
    store.reset()
    assert read_footer(store, pack.name)[0].frames == pack.frames
    assert [call.method for call in store.calls] == ["get_suffix"]
    with pytest.raises(ObjectMissingError):
        read_footer(store, digest_of_nothing())


def test_a_footer_that_fills_what_is_read_first_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store = CountingStore(fresh())
    writer = PackWriter(store, PackKind.DATA)
    add(writer, FRAMES[0])
    (pack,) = writer.close()
    monkeypatch.setattr(
        "dataver.packs.SUFFIX_READ_BYTES",
        footer_length(store.get(pack_key(pack.name)), pack.size_bytes, "it"),
    )
    store.reset()
    assert read_footer(store, pack.name)[0].frames == pack.frames
    assert [call.method for call in store.calls] == ["get_suffix", "get_ranges"]


def digest_of_nothing() -> Digest:
    return blake3_digest(b"nothing has this name")


def test_a_segment_knows_the_place_of_each_chunk() -> None:
    store = fresh()
    writer = PackWriter(store, PackKind.DATA, size_bytes_max=3_000)
    everything = [chunks_of(number, 400, 1, 700) for number in range(8)]
    for chunks in everything:
        add(writer, chunks)
    packs = writer.close()
    assert len(packs) > 2
    stored = write_segment(store, packs)
    data = store.get(segment_key(stored.name))
    assert (stored.size_bytes, stored.keys, blake3_digest(data)) == (len(data), 24, stored.name)
    segment = Segment(data, "it")
    segment.check()
    for chunk in (chunk for chunks in everything for chunk in chunks):
        place = segment.find(blake3_digest(chunk))
        assert place is not None
        assert place.codec == Codec.RAW
        assert place.stored_bytes == place.raw_bytes == 1_101
        frame = store.get(pack_key(place.pack))[place.frame_offset : place.frame_offset + place.stored_bytes]
        assert frame[place.offset : place.offset + place.length] == chunk
    assert segment.find(digest_of_nothing()) is None
    assert write_segment(store, packs).name != stored.name
    assert len(list(store.list(SEGMENT_PREFIX))) == 2


def test_a_dry_run_counts_what_would_be_written() -> None:
    counter = Counter(1_000)
    assert (counter.packs, counter.stored_bytes) == (0, 0)
    counter.take(NewFrame(0, [b"x" * 100, b"y" * 864], 0, bytes(32), [964], 0))
    assert (counter.packs, counter.stored_bytes) == (1, 1_000)
    counter.take(NewFrame(0, [b"zz"], 2, bytes(64), [1, 1], 0))
    assert (counter.packs, counter.stored_bytes) == (2, 1_074)
