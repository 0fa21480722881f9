"""Packs: frames of neighbouring chunks, or of metadata objects, in one object.

    header    "DVPK\\r\\n\\x1a\\n" | version u16 | kind u16 | zero u32 | nonce 16
    frame     "DVFR" | stored u32 | raw u32 | (chunks << 8 | codec) u32 | stored bytes
    footer    frames u32 | chunks u32
              offset u32… | stored u32… | raw u32… | chunks u32… | codec u8… | xxh3 u64…   (a frame each)
              length u32… | digest 32…                                                      (a chunk each)
              extensions u32 | (tag 4 | flags u32 | length u32 | bytes)…
    trailer   footer length u32 | zero u32 | pack length u64 | BLAKE3 of header and footer 32 | "DVPKEND\\n"

A frame's offset is that of its stored bytes. The chunks of a frame follow each other in its raw
bytes and fill them, so only their lengths are kept. The pack is named by the BLAKE3 of all its
bytes; the nonce makes every pack's name new, whatever it holds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum

from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import NewerFormatError
from dataver.format.binary import Buffer, Reader
from dataver.format.limits import FRAME_BYTES_MAX, OBJECT_BYTES_MAX
from dataver.hashing import FileHasher, blake3_digest, xxh3_64
from dataver.values import NamedTuple, dataclass

PACK_MAGIC = b"DVPK\r\n\x1a\n"
PACK_END = b"DVPKEND\n"
PACK_VERSION = 1
FRAME_MAGIC = b"DVFR"
NONCE_BYTES = 16
MUST_UNDERSTAND = 2

_HEADER = struct.Struct("<8sHHI16s")
_FRAME = struct.Struct("<4sIII")
_TRAILER = struct.Struct("<IIQ32s8s")
HEADER_BYTES = _HEADER.size
FRAME_HEADER_BYTES = _FRAME.size
TRAILER_BYTES = _TRAILER.size
_FRAME_COLUMNS_BYTES = 4 * 4 + 1 + 8
_CHUNK_COLUMNS_BYTES = 4 + DIGEST_BYTES

SUFFIX_READ_BYTES = 64 << 10
"""One read of so many last bytes gets footer and trailer of most packs."""


class PackKind(IntEnum):
    """What a pack holds. Metadata is kept apart so that it can be cached whole."""

    DATA = 1
    META = 2
    STATE = 3


class Frame(NamedTuple):
    """One frame of a pack: where its stored bytes are and what they decode to."""

    offset: int
    stored_bytes: int
    raw_bytes: int
    chunk_count: int
    codec: int
    xxh3: int


@dataclass(frozen=True, slots=True)
class Footer:
    """What a pack holds. `digests` are 32 bytes a chunk, in the order of the frames."""

    kind: PackKind
    frames: tuple[Frame, ...]
    lengths: tuple[int, ...]
    digests: bytes

    def chunks(self) -> Iterator[tuple[Digest, int, int, int]]:
        """Each chunk: digest, number of its frame, offset in the frame's raw bytes, length."""
        chunk = 0
        for number, frame in enumerate(self.frames):
            offset = 0
            for _ in range(frame.chunk_count):
                start = DIGEST_BYTES * chunk
                digest = Digest(self.digests[start : start + DIGEST_BYTES])
                yield digest, number, offset, self.lengths[chunk]
                offset += self.lengths[chunk]
                chunk += 1


def frame_checksum(parts: Sequence[Buffer]) -> int:
    """The XXH3-64 of a frame's stored bytes."""
    return xxh3_64(parts[0] if len(parts) == 1 else b"".join(parts))


class PackBuilder:
    """Lays out one pack: frames in, the parts of its bytes out. Not safe for several threads.

    Buffers handed in are kept, not copied, until their parts are taken.
    """

    def __init__(self, kind: PackKind, nonce: bytes) -> None:
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"a nonce has {NONCE_BYTES} bytes")
        self.kind = kind
        self._header = _HEADER.pack(PACK_MAGIC, PACK_VERSION, kind, 0, nonce)
        self._parts: list[Buffer] = [self._header]  # those that nobody took yet
        self._frames: list[Frame] = []
        self._lengths: list[int] = []
        self._digests: list[Buffer] = []
        self._size_bytes = HEADER_BYTES

    @property
    def frame_count(self) -> int:
        """Frames added so far."""
        return len(self._frames)

    @property
    def size_bytes(self) -> int:
        """What the pack weighs if nothing is added any more."""
        footer = 12 + _FRAME_COLUMNS_BYTES * len(self._frames) + _CHUNK_COLUMNS_BYTES * len(self._lengths)
        return self._size_bytes + footer + TRAILER_BYTES

    def add(
        self,
        codec: int,
        parts: Sequence[Buffer],
        raw_bytes: int,
        digests: Buffer,
        lengths: Sequence[int],
        checksum: int | None = None,
    ) -> Frame:
        """Append a frame. `parts` are its stored bytes, `digests` 32 bytes a chunk of `lengths`.

        `checksum` is what `frame_checksum` says of `parts`, where the caller has it already.
        """
        stored = sum(map(len, parts))
        if checksum is None:
            checksum = frame_checksum(parts)
        head = _FRAME.pack(FRAME_MAGIC, stored, raw_bytes, len(lengths) << 8 | codec)
        offset = self._size_bytes + FRAME_HEADER_BYTES
        frame = Frame(offset, stored, raw_bytes, len(lengths), codec, checksum)
        self._parts.append(head)
        self._parts.extend(parts)
        self._size_bytes = offset + stored
        self._frames.append(frame)
        self._lengths.extend(lengths)
        self._digests.append(digests)
        return frame

    def take(self) -> list[Buffer]:
        """The parts of the pack that came since the last call, in order; they are the caller's now."""
        parts, self._parts = self._parts, []
        return parts

    def end(self) -> None:
        """Append the footer and the trailer: what is taken next is the last of the pack."""
        footer = self._footer()
        digest = blake3_digest(self._header + footer)
        self._parts.append(footer)
        self._parts.append(_TRAILER.pack(len(footer), 0, self.size_bytes, digest, PACK_END))

    def finish(self) -> tuple[Digest, list[Buffer]]:
        """End a pack of which nothing was taken: its name, the BLAKE3 of its bytes, and all of these."""
        self.end()
        hasher = FileHasher()
        for part in self._parts:
            hasher.update(part)
        return hasher.digest(), self.take()

    def _footer(self) -> bytes:
        frames, count = self._frames, len(self._frames)
        columns = [
            struct.pack("<II", count, len(self._lengths)),
            struct.pack(f"<{count}I", *(f.offset for f in frames)),
            struct.pack(f"<{count}I", *(f.stored_bytes for f in frames)),
            struct.pack(f"<{count}I", *(f.raw_bytes for f in frames)),
            struct.pack(f"<{count}I", *(f.chunk_count for f in frames)),
            bytes(f.codec for f in frames),
            struct.pack(f"<{count}Q", *(f.xxh3 for f in frames)),
            struct.pack(f"<{len(self._lengths)}I", *self._lengths),
            *self._digests,
            struct.pack("<I", 0),
        ]
        return b"".join(columns)


def footer_length(tail: Buffer, pack_bytes: int, what: str) -> int:
    """How many last bytes of a pack hold its footer and trailer, read from at least the trailer."""
    if len(tail) < TRAILER_BYTES or pack_bytes < HEADER_BYTES + TRAILER_BYTES:
        Reader(tail, what).fail("it is shorter than a pack can be")
    footer_bytes, _, size, _, end = _TRAILER.unpack(memoryview(tail)[-TRAILER_BYTES:])
    if end != PACK_END:
        Reader(tail, what).fail("it does not end as a pack does")
    if size != pack_bytes or pack_bytes > OBJECT_BYTES_MAX:
        Reader(tail, what).fail(f"it has {pack_bytes} bytes, its trailer says {size}")
    if footer_bytes > pack_bytes - HEADER_BYTES - TRAILER_BYTES:
        Reader(tail, what).fail("its footer is longer than the pack")
    return int(footer_bytes) + TRAILER_BYTES


def parse_footer(header: Buffer, tail: Buffer, pack_bytes: int, what: str) -> Footer:
    """Read a pack's footer.

    `header` is its first `HEADER_BYTES`, `tail` its last `footer_length` bytes, `what` its name
    in errors. Raises `DamagedError` on anything that no `PackBuilder` wrote.
    """
    tail = memoryview(tail)[-footer_length(tail, pack_bytes, what) :]
    footer, trailer = tail[:-TRAILER_BYTES], tail[-TRAILER_BYTES:]
    reader = Reader(footer, what)
    if len(header) != HEADER_BYTES:
        reader.fail("its header is cut short")
    magic, version, kind, zero, _ = _HEADER.unpack(header)
    if blake3_digest(bytes(header) + bytes(footer)) != _TRAILER.unpack(trailer)[3]:
        reader.fail("its footer does not match its digest")
    if magic != PACK_MAGIC or kind not in iter(PackKind) or zero:
        reader.fail("it does not begin as a pack does")
    if version != PACK_VERSION:
        raise NewerFormatError(f"{what} has pack version {version}; this release reads {PACK_VERSION}")
    columns = _columns(reader, pack_bytes - len(tail))
    return Footer(PackKind(kind), *columns)


def parse_columns(tail: Buffer, pack_bytes: int, what: str) -> Footer:
    """A pack's footer by its end alone, where the header was not read: for look-ups, not for trust.

    `tail` is the pack's last `footer_length` bytes. The footer's digest, which covers the header,
    is not compared, so that its places are good only for bytes that are compared themselves. The
    kind is taken to be `META`.
    """
    return Footer(PackKind.META, *_columns(Reader(tail[:-TRAILER_BYTES], what), pack_bytes - len(tail)))


def _columns(reader: Reader, end: int) -> tuple[tuple[Frame, ...], tuple[int, ...], bytes]:
    """Frames, lengths and digests of a footer, checked against each other and where the frames end."""
    frame_count, chunk_count = reader.u32(), reader.u32()
    if frame_count * _FRAME_COLUMNS_BYTES + chunk_count * _CHUNK_COLUMNS_BYTES > reader.remaining:
        reader.fail("its counts are larger than its footer")
    columns = [reader.u32s(frame_count) for _ in range(4)]
    codecs = reader.raw(frame_count)
    checksums = struct.unpack(f"<{frame_count}Q", reader.raw(8 * frame_count))
    frames = tuple(map(Frame, *columns, codecs, checksums))
    lengths = reader.u32s(chunk_count)
    digests = reader.raw(DIGEST_BYTES * chunk_count)
    _skip_extensions(reader)
    _check(reader, frames, lengths, end)
    return frames, lengths, digests


def _skip_extensions(reader: Reader) -> None:
    for _ in range(reader.u32()):
        tag, flags = reader.raw(4), reader.u32()
        reader.blob()
        if flags & MUST_UNDERSTAND:
            raise NewerFormatError(f"{reader.what} has an extension {tag!r} that this release does not know")
    reader.end()


def _check(reader: Reader, frames: tuple[Frame, ...], lengths: tuple[int, ...], end: int) -> None:
    offset = HEADER_BYTES
    chunk = 0
    for frame in frames:
        if frame.offset != offset + FRAME_HEADER_BYTES or frame.raw_bytes > FRAME_BYTES_MAX:
            reader.fail("its frames do not follow each other")
        own = lengths[chunk : chunk + frame.chunk_count]
        if len(own) != frame.chunk_count or sum(own) != frame.raw_bytes:
            reader.fail("the chunks of a frame do not fill it")
        chunk += frame.chunk_count
        offset = frame.offset + frame.stored_bytes
    if offset != end or chunk != len(lengths) or max(lengths, default=0) > FRAME_BYTES_MAX:
        reader.fail("its frames do not fill it")


def parse_frame_header(data: Buffer, what: str) -> tuple[int, int, int, int]:
    """Stored bytes, raw bytes, chunks and codec of the frame whose header `data` is."""
    reader = Reader(data, what)
    magic, stored, raw, packed = _FRAME.unpack(reader.raw(FRAME_HEADER_BYTES))
    if magic != FRAME_MAGIC or raw > FRAME_BYTES_MAX:
        reader.fail("a frame does not begin as one does")
    return stored, raw, packed >> 8, packed & 0xFF


__all__ = [
    "FRAME_HEADER_BYTES",
    "HEADER_BYTES",
    "NONCE_BYTES",
    "SUFFIX_READ_BYTES",
    "TRAILER_BYTES",
    "Footer",
    "Frame",
    "PackBuilder",
    "PackKind",
    "footer_length",
    "parse_columns",
    "parse_footer",
    "parse_frame_header",
]
