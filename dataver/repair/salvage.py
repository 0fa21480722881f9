"""What is whole in a damaged pack: every chunk that still matches its digest, its frame as it is stored.

Where a chunk should be is known from the index, and from the footer, also where that does not match its
digest any more: nothing is believed but the digests of chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from dataver.compression import Codec, compress_frame
from dataver.errors import DamagedError, NewerFormatError
from dataver.format.limits import FRAME_BYTES_MAX
from dataver.format.pack import (
    FRAME_HEADER_BYTES,
    FRAME_MAGIC,
    HEADER_BYTES,
    Footer,
    PackKind,
    footer_length,
    parse_columns,
    parse_footer,
    parse_frame_header,
)
from dataver.format.segment import Place
from dataver.hashing import blake3_digest
from dataver.transfer.copying import Verified
from dataver.values import NamedTuple
from dataver.verify.packs import Claim, decode_frame, is_of

Lacks = Callable[[bytes], "list[bool]"]
"""For each of many digests (32 bytes each) whether it has to be saved."""


class StoredFrame(NamedTuple):
    """A frame as its place says: where its stored bytes are, and what they decode to."""

    offset: int
    stored_bytes: int
    raw_bytes: int
    codec: int


def salvage(name: bytes, data: bytes, claims: Iterable[Claim], lacks: Lacks) -> Iterator[Verified]:
    """The frames of a damaged pack in which something is whole that has to be saved.

    `claims` are what the index says of the pack. A compressed frame that is whole comes as it is
    stored, with all that is in it; of others only what has to be saved.
    """
    kind, footer = _footer(data)
    for frame, chunks in _by_frame([*claims, *_claims_of(name, footer)]).items():
        stored, plain = _decoded(data, frame)
        found = {at: digest for digest, at in chunks if _is_whole(kind, digest, plain, at)}
        wanted = _wanted(found, lacks)
        if not wanted:
            continue
        if frame.codec != Codec.RAW and _fill(found, frame.raw_bytes):
            yield _frame(kind, found, plain, frame.codec, [stored])
        else:
            parts = [plain[offset : offset + length] for offset, length in sorted(wanted)]
            yield packed(kind, [wanted[at] for at in sorted(wanted)], parts)


def packed(kind: PackKind | None, digests: Sequence[bytes], parts: Sequence[memoryview | bytes]) -> Verified:
    """A new frame of chunks that match their digests; without a kind of pack by what the first is."""
    if kind is None:
        kind = PackKind.DATA if blake3_digest(parts[0]) == digests[0] else PackKind.META
    copies = [bytes(part) for part in parts]
    lengths = list(map(len, copies))
    codec, stored = compress_frame(copies)
    return Verified(
        kind, codec, copies if stored is None else [stored], sum(lengths), b"".join(digests), lengths
    )


def unlisted(data: bytes, listed: Iterable[Claim]) -> Iterator[memoryview]:
    """The plain bytes of the frames that record headers announce and no claim knows."""
    _, footer = _footer(data)
    known = {frame.offset for frame in footer.frames} if footer is not None else set()
    known.update(place.frame_offset for _, place in listed)
    at = data.find(FRAME_MAGIC, HEADER_BYTES)
    while at >= 0:
        start = at + FRAME_HEADER_BYTES
        with suppress(DamagedError, NewerFormatError):
            stored, raw, _, codec = parse_frame_header(data[at:start], "a frame")
            frame = StoredFrame(start, stored, raw, codec)
            plain = _decoded(data, frame)[1]
            if start not in known and len(plain) == raw:
                yield plain
        at = data.find(FRAME_MAGIC, at + 1)


def _footer(data: bytes) -> tuple[PackKind | None, Footer | None]:
    """The footer as far as it can be read, and the kind of the pack where it is certain."""
    view = memoryview(data)
    try:
        length = footer_length(view, len(view), "")
        tail = view[-length:]
        try:
            footer = parse_footer(view[:HEADER_BYTES], tail, len(view), "")
        except (DamagedError, NewerFormatError):
            return None, parse_columns(tail, len(view), "")
    except (DamagedError, NewerFormatError):
        return None, None
    return footer.kind, footer


def _claims_of(name: bytes, footer: Footer | None) -> Iterator[Claim]:
    if footer is None:
        return
    for digest, number, offset, length in footer.chunks():
        frame = footer.frames[number]
        place = (frame.offset, frame.stored_bytes, frame.raw_bytes, frame.codec)
        yield digest, Place(name, *place, offset, length)


def _by_frame(claims: Iterable[Claim]) -> dict[StoredFrame, dict[tuple[bytes, tuple[int, int]], None]]:
    """The chunks of each frame: digest, and offset and length in its plain bytes. Claims may contradict."""
    frames: dict[StoredFrame, dict[tuple[bytes, tuple[int, int]], None]] = {}
    for digest, place in claims:
        frame = StoredFrame(place.frame_offset, place.stored_bytes, place.raw_bytes, place.codec)
        frames.setdefault(frame, {})[bytes(digest), (place.offset, place.length)] = None
    return frames


def _decoded(data: bytes, frame: StoredFrame) -> tuple[bytes, memoryview]:
    """The stored and the plain bytes of a frame; of a raw one that is cut short what there is."""
    if max(frame.stored_bytes, frame.raw_bytes) > FRAME_BYTES_MAX:
        return b"", memoryview(b"")
    stored = data[frame.offset : frame.offset + frame.stored_bytes]
    try:
        return stored, decode_frame(memoryview(stored), frame.codec, frame.raw_bytes, "a frame")
    except (DamagedError, NewerFormatError):
        return stored, memoryview(stored if frame.codec == Codec.RAW else b"")


def _is_whole(kind: PackKind | None, digest: bytes, plain: memoryview, at: tuple[int, int]) -> bool:
    chunk = plain[at[0] : at[0] + at[1]]
    return len(chunk) == at[1] and is_of(kind, digest, chunk)


def _wanted(found: dict[tuple[int, int], bytes], lacks: Lacks) -> dict[tuple[int, int], bytes]:
    wanted = zip(found.items(), lacks(b"".join(found.values())), strict=True)
    return {at: digest for (at, digest), is_wanted in wanted if is_wanted}


def _fill(found: dict[tuple[int, int], bytes], raw_bytes: int) -> bool:
    """Whether chunks follow each other from the beginning to the end of a frame."""
    end = 0
    for offset, length in sorted(found):
        if offset != end:
            return False
        end = offset + length
    return end == raw_bytes


def _frame(
    kind: PackKind | None,
    found: dict[tuple[int, int], bytes],
    plain: memoryview,
    codec: int,
    parts: list[bytes],
) -> Verified:
    places = sorted(found)
    if kind is None:
        offset, length = places[0]
        is_data = blake3_digest(plain[offset : offset + length]) == found[places[0]]
        kind = PackKind.DATA if is_data else PackKind.META
    digests = b"".join(found[at] for at in places)
    return Verified(kind, codec, parts, len(plain), digests, [length for _, length in places])
