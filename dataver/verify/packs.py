"""One pack by itself: its name, its footer, and every frame and chunk in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import field

from dataver.compression import Codec, decompress
from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import DamagedError, NewerFormatError, ObjectMissingError
from dataver.format.chunk_list import LIST_MAGIC
from dataver.format.node import NODE_MAGIC
from dataver.format.pack import (
    FRAME_HEADER_BYTES,
    HEADER_BYTES,
    SUFFIX_READ_BYTES,
    Footer,
    PackKind,
    footer_length,
    parse_footer,
    parse_frame_header,
)
from dataver.format.segment import Place
from dataver.format.table_statistics import STATISTICS_MAGIC, is_found_under
from dataver.format.version import VERSION_MAGIC
from dataver.hashing import Kind, blake3_digest, digests, kind_digest, xxh3_64
from dataver.keys import pack_key
from dataver.store.base import Store, View
from dataver.values import dataclass
from dataver.verify.findings import plain

Claim = tuple[bytes, Place]
"""A digest and the place where an index segment says that its bytes are."""
Claims = Callable[[bytes], Sequence[Claim]]
"""Given the name of a pack: what is said to be in it."""

_KIND_OF_MAGIC = {
    NODE_MAGIC: Kind.MANIFEST_NODE,
    LIST_MAGIC: Kind.CHUNK_LIST,
    VERSION_MAGIC: Kind.VERSION,
}


@dataclass(slots=True)
class PackCheck:
    """What was found of a pack. `footer` is None where it cannot be read.

    `lost` are the digests of chunks that cannot be read; `unusable` says that none can.
    `proven` is True where all bytes are those of the name.
    """

    name: bytes
    size_bytes: int = 0
    footer: Footer | None = None
    problems: list[str] = field(default_factory=list)
    lost: set[bytes] = field(default_factory=set)
    unusable: bool = False
    proven: bool = False


def check_ends(store: Store, name: bytes) -> PackCheck:
    """Check that a pack is there and that its header, footer and trailer are well formed."""
    check, key = PackCheck(name), pack_key(name)
    try:
        tail, size_bytes = store.get_suffix(key, SUFFIX_READ_BYTES)
        length = footer_length(tail, size_bytes, key)
        if length > len(tail):
            tail, size_bytes = store.get_suffix(key, length)
        check.size_bytes = size_bytes
        whole = len(tail) == size_bytes
        header = tail[:HEADER_BYTES] if whole else store.get_ranges(key, [(0, HEADER_BYTES)])[0]
        check.footer = parse_footer(header, tail, size_bytes, key)
    except ObjectMissingError:
        check.unusable = True
        check.problems.append("it is missing")
    except (DamagedError, NewerFormatError) as error:
        check.unusable = True
        check.problems.append(plain(error))
    return check


def check_whole(store: Store, name: bytes, claims: Claims) -> PackCheck:
    """Read a pack and compare every digest and checksum in it.

    `claims` say what is in it where its own footer cannot.
    """
    try:
        data = store.get(pack_key(name))
    except ObjectMissingError:
        return PackCheck(name, problems=["it is missing"], unusable=True)
    return check_bytes(name, data, claims)


def check_bytes(name: bytes, data: View, claims: Claims = lambda _: ()) -> PackCheck:
    """`check_whole` of bytes that were read."""
    check, key = PackCheck(name, size_bytes=len(data)), pack_key(name)
    check.proven = blake3_digest(data) == name
    if not check.proven:
        check.problems.append("its bytes do not match its name")
    try:
        length = footer_length(data, len(data), key)
        view = memoryview(data)
        check.footer = parse_footer(view[:HEADER_BYTES], view[-length:], len(data), key)
    except (DamagedError, NewerFormatError) as error:
        check.problems.append(plain(error))
        _check_claims(check, memoryview(data), claims(name))
        return check
    for start, digest_range, places in _frames(check.footer):
        _check_frame(check, view, check.footer, start, digest_range, places)
    return check


def _frames(footer: Footer) -> Iterator[tuple[int, slice, tuple[int, ...]]]:
    """Each frame's number, its part of the digests, and the lengths of its chunks."""
    chunk = 0
    for number, frame in enumerate(footer.frames):
        end = chunk + frame.chunk_count
        yield number, slice(DIGEST_BYTES * chunk, DIGEST_BYTES * end), footer.lengths[chunk:end]
        chunk = end


def _check_frame(
    check: PackCheck, data: memoryview, footer: Footer, number: int, part: slice, lengths: tuple[int, ...]
) -> None:
    frame, expected = footer.frames[number], footer.digests[part]
    what = f"the frame at {frame.offset}"
    stored = data[frame.offset : frame.offset + frame.stored_bytes]
    try:
        header = parse_frame_header(data[frame.offset - FRAME_HEADER_BYTES : frame.offset], what)
        if header != (frame.stored_bytes, frame.raw_bytes, frame.chunk_count, frame.codec):
            check.problems.append(f"the header of {what} differs from the footer")
    except DamagedError:
        check.problems.append(f"the header of {what} is malformed")
    if xxh3_64(stored) != frame.xxh3:
        check.problems.append(f"{what} does not match its checksum")
    try:
        plain_bytes = decode_frame(stored, frame.codec, frame.raw_bytes, what)
    except (DamagedError, NewerFormatError) as error:
        check.problems.append(f"{what} cannot be decoded: {plain(error)}")
        check.lost.update(expected[i : i + DIGEST_BYTES] for i in range(0, len(expected), DIGEST_BYTES))
        return
    chunks, offset = [], 0
    for length in lengths:
        chunks.append(plain_bytes[offset : offset + length])
        offset += length
    if footer.kind == PackKind.DATA and digests(chunks) == expected:
        return
    for position, chunk in enumerate(chunks):
        digest = expected[DIGEST_BYTES * position : DIGEST_BYTES * (position + 1)]
        if not is_of(footer.kind, digest, chunk):
            thing = "table statistics " if chunk[:4] == STATISTICS_MAGIC else ""
            check.problems.append(f"{thing}{Digest(digest)} in {what} does not match its digest")
            check.lost.add(digest)


def _check_claims(check: PackCheck, data: memoryview, claims: Sequence[Claim]) -> None:
    """What of a pack without a footer can be read where the index says that it is."""
    frames: dict[int, memoryview | None] = {}
    for digest, place in claims:
        start = place.frame_offset
        if start not in frames:
            stored = data[start : start + place.stored_bytes]
            try:
                frames[start] = decode_frame(stored, place.codec, place.raw_bytes, f"the frame at {start}")
            except (DamagedError, NewerFormatError):
                # A raw frame that is cut short still has its first chunks.
                frames[start] = stored if place.codec == Codec.RAW else None
        frame = frames[start]
        if frame is None or not is_of(None, digest, frame[place.offset : place.offset + place.length]):
            check.lost.add(digest)
    if check.lost:
        check.problems.append(f"{len(check.lost)} of {len(claims)} chunks in it cannot be read")


def decode_frame(stored: memoryview, codec: int, raw_bytes: int, what: str) -> memoryview:
    """The plain bytes of a frame, exactly `raw_bytes` of them. Their digests are not compared."""
    if codec == Codec.ZSTD:
        return memoryview(decompress(stored, raw_bytes))
    if codec != Codec.RAW:
        raise NewerFormatError(f"{what} has codec {codec}, which this release does not know")
    if len(stored) != raw_bytes:
        raise DamagedError(f"{what} has {len(stored)} bytes instead of {raw_bytes}")
    return stored


def is_of(kind: PackKind | None, digest: bytes, data: memoryview) -> bool:
    """Whether bytes are those of a digest, for the kinds of digest that this kind of pack holds."""
    if kind == PackKind.STATE:
        return kind_digest(Kind.STATE_NODE, data) == digest
    if kind != PackKind.META and blake3_digest(data) == digest:
        return True
    if kind == PackKind.DATA:
        return False
    magic = bytes(data[:4])
    if magic == STATISTICS_MAGIC and is_found_under(digest, data):
        return True
    likely = _KIND_OF_MAGIC.get(magic)
    if likely is not None and kind_digest(likely, data) == digest:
        return True
    return any(kind_digest(other, data) == digest for other in Kind if other is not likely)
