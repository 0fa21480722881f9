"""Writing index segments over packs: short ones at once, long ones with some keys in memory at a time."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, count, pairwise, repeat
from operator import add, sub

from dataver.column import Column
from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import StoreError
from dataver.format import segment as segment_format
from dataver.format.segment import ROW_BYTES, SegmentFrame
from dataver.hashing import FileHasher, blake3_digest
from dataver.keys import SEGMENT_FOLDER, segment_key
from dataver.native import native
from dataver.packs import Nonce, StoredPack, random_nonce
from dataver.store.base import Store, begin_upload
from dataver.store.cached import cache_of
from dataver.values import dataclass

__all__ = ["StoredSegment", "put_segment", "segment_over", "write_segment"]

SORTED_TOGETHER = 131_072
"""So many keys are sorted in memory. Of more, those that begin alike are taken together, in some passes."""
_BUCKETS = 1 << 16
_READ_KEYS = 32_768


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """An index segment that is in the store."""

    name: Digest
    keys: int
    size_bytes: int


def write_segment(store: Store, packs: Sequence[StoredPack], *, nonce: Nonce = random_nonce) -> StoredSegment:
    """Put one segment over all chunks of `packs`."""
    if sum(len(pack.lengths) for pack in packs) <= SORTED_TOGETHER:
        return put_segment(store, segment_over(packs, nonce()))
    return _put_long(store, packs, nonce())


def segment_over(packs: Sequence[StoredPack], nonce: bytes) -> bytes:
    """The bytes of a segment over all chunks of `packs`."""
    frames, rows = _rows_of(packs)
    keys = b"".join(pack.digests[:] for pack in packs)
    return segment_format.encode([pack.name for pack in packs], frames, keys, rows[:], nonce)


def put_segment(store: Store, data: bytes) -> StoredSegment:
    """Put the bytes of a segment."""
    name = blake3_digest(data)
    if not store.put_new(segment_key(name), data, barrier=False):
        raise _taken(name)
    cache = cache_of(store)
    if cache is not None:
        cache.put(name, data)
    return StoredSegment(name, segment_format.Segment(data, segment_key(name)).key_count, len(data))


def _taken(name: Digest) -> StoreError:
    return StoreError(f"{segment_key(name)} exists already, though its name is new; nothing was recorded")


def _rows_of(packs: Sequence[StoredPack]) -> tuple[list[SegmentFrame], Column]:
    """The frames of all packs, and a row for each chunk."""
    frames: list[SegmentFrame] = []
    every = Column()
    for number, pack in enumerate(packs):
        chunks = [frame.chunk_count for frame in pack.frames]
        begins = list(accumulate(pack.lengths, initial=0))  # of each chunk, in the plain bytes of the pack
        frame_begins = (begins[first] for first in accumulate(chunks, initial=0))
        rows = array("I", bytes(ROW_BYTES * len(pack.lengths)))
        rows[0::3] = array("I", chain.from_iterable(map(repeat, count(len(frames)), chunks)))
        rows[1::3] = array("I", map(sub, begins, chain.from_iterable(map(repeat, frame_begins, chunks))))
        rows[2::3] = array("I", pack.lengths)
        if sys.byteorder == "big":
            rows.byteswap()
        every += rows.tobytes()
        frames += [SegmentFrame(number, *frame[:3], frame.codec) for frame in pack.frames]
    return frames, every


def _put_long(store: Store, packs: Sequence[StoredPack], nonce: bytes) -> StoredSegment:
    frames, rows = _rows_of(packs)
    keys, rows, fanout = _arranged(packs, rows)
    key_count = len(keys) // DIGEST_BYTES
    names = b"".join(pack.name for pack in packs)
    parts = (Column(names), Column(segment_format.frame_bytes(frames)), Column(fanout), keys, rows)

    def body() -> Iterator[bytes]:
        return chain.from_iterable(part.blocks() for part in parts)

    head = segment_format.head_bytes(len(packs), len(frames), key_count, nonce, _hasher_of(body()).digest())
    name = _hasher_of(chain((head,), body())).digest()
    upload = begin_upload(store, SEGMENT_FOLDER)
    try:
        for block in chain((head,), body()):
            upload.write([block])
        if not upload.finish(segment_key(name), barrier=False):
            raise _taken(name)
    finally:
        upload.abandon()
    cache = cache_of(store)
    if cache is not None:
        cache.put(name, b"".join([head, *body()]))
    return StoredSegment(name, key_count, len(head) + sum(map(len, parts)))


def _hasher_of(blocks: Iterable[bytes]) -> FileHasher:
    hasher = FileHasher()
    for block in blocks:
        hasher.update(block)
    return hasher


def _arranged(packs: Sequence[StoredPack], rows: Column) -> tuple[Column, Column, bytes]:
    """Keys in order, of equal ones the first; their rows; and the fan-out table over them."""
    parts = -(-len(rows) // (ROW_BYTES * SORTED_TOGETHER))
    bounds = [_BUCKETS * part // parts for part in range(parts + 1)]
    keys_in_order, rows_in_order = Column(), Column()
    for low, high in pairwise(bounds):
        chosen = [_select(*some, low, high) for some in _together(packs, rows)]
        some_keys, some_rows = (b"".join(column) for column in zip(*chosen, strict=True))
        del chosen
        sorted_keys, sorted_rows = segment_format.arrange(some_keys, some_rows)
        keys_in_order += bytes(sorted_keys)
        rows_in_order += bytes(sorted_rows)
    return keys_in_order, rows_in_order, _fanout(keys_in_order)


def _together(packs: Sequence[StoredPack], rows: Column) -> Iterator[tuple[bytes, bytes]]:
    """Some neighbouring keys at a time, and their rows."""
    at = 0
    for pack in packs:
        for keys in pack.digests.blocks(_READ_KEYS * DIGEST_BYTES):
            stop = at + len(keys) // DIGEST_BYTES * ROW_BYTES
            yield keys, rows[at:stop]
            at = stop


def _select(keys: bytes, rows: bytes, low: int, high: int) -> tuple[bytes, bytes]:
    """Those whose first two bytes, as a number, are from `low` up to `high` (exclusive)."""
    if native is not None:
        some_keys, some_rows = native.select(keys, rows, low, high)
        return some_keys, some_rows
    every = (keys[at : at + DIGEST_BYTES] for at in range(0, len(keys), DIGEST_BYTES))
    chosen = [at for at, key in enumerate(every) if low <= int.from_bytes(key[:2], "big") < high]
    return (
        b"".join([keys[DIGEST_BYTES * at : DIGEST_BYTES * (at + 1)] for at in chosen]),
        b"".join([rows[ROW_BYTES * at : ROW_BYTES * (at + 1)] for at in chosen]),
    )


def _fanout(keys: Column) -> bytes:
    """The table over all keys: of each value the sum of what it is for the keys of each block."""
    bits = segment_format.fanout_bits(len(keys) // DIGEST_BYTES)
    layout = struct.Struct(f"<{(1 << bits) + 1}I")
    total = [0] * ((1 << bits) + 1)
    for block in keys.blocks(SORTED_TOGETHER * DIGEST_BYTES):
        table = segment_format.fanout(block, len(block) // DIGEST_BYTES, bits)
        total = list(map(add, total, layout.unpack(table)))
    return layout.pack(*total)
