"""Writing packs: frames in, whole packs put to the store in the background."""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from dataver.compression import compress_frame
from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import StoreError
from dataver.format import segment as segment_format
from dataver.format.pack import (
    HEADER_BYTES,
    NONCE_BYTES,
    SUFFIX_READ_BYTES,
    Footer,
    Frame,
    PackBuilder,
    PackKind,
    footer_length,
    parse_footer,
)
from dataver.format.segment import SegmentFrame
from dataver.hashing import blake3_digest
from dataver.keys import pack_key, segment_key
from dataver.store.base import Store, joins_buffers, pack_bytes_max
from dataver.store.cached import cache_of
from dataver.values import dataclass

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from dataver.format.binary import Buffer

FRAME_BYTES_TARGET = 128 << 10
PACKS_IN_FLIGHT_MAX = 2

Nonce = Callable[[], bytes]


def random_nonce() -> bytes:
    """A nonce that no other object has."""
    return os.urandom(NONCE_BYTES)


@dataclass(frozen=True, slots=True)
class StoredPack:
    """A pack that is in the store: its frames, and its chunks as parallel columns."""

    name: Digest
    size_bytes: int
    frames: tuple[Frame, ...]
    lengths: tuple[int, ...]
    digests: bytes


class PackWriter:
    """Fills packs with frames and puts each when it is full. For one thread.

    Nothing it wrote counts before a log entry names an index segment over it. At most
    `PACKS_IN_FLIGHT_MAX` packs wait to be put; `add` blocks while they do. `stored` is told the name
    of each pack as soon as it was put, from whichever thread put it.
    """

    def __init__(
        self,
        store: Store,
        kind: PackKind,
        *,
        nonce: Nonce = random_nonce,
        size_bytes_max: int | None = None,
        stored: Callable[[Digest], None] | None = None,
    ) -> None:
        self._store = store
        self._kind = kind
        self._nonce = nonce
        self._size_bytes_max = size_bytes_max or pack_bytes_max(store)
        self._tell = stored
        self._builder = PackBuilder(kind, nonce())
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: list[Future[StoredPack]] = []
        self._stored: list[StoredPack] = []
        self._chunks: tuple[list[Frame], list[int], list[Buffer]] = ([], [], [])

    def add(
        self, codec: int, parts: Sequence[Buffer], raw_bytes: int, digests: Buffer, lengths: Sequence[int]
    ) -> None:
        """Append a frame; buffers must not change until `close` returned."""
        weight = sum(map(len, parts)) + 64 + (DIGEST_BYTES + 4) * len(lengths)
        if self._builder.frame_count and self._builder.size_bytes + weight > self._size_bytes_max:
            self._seal(background=True)
        frame = self._builder.add(codec, parts, raw_bytes, digests, lengths)
        self._chunks[0].append(frame)
        self._chunks[1].extend(lengths)
        self._chunks[2].append(digests)

    def close(self) -> list[StoredPack]:
        """Put what is left; every pack that was written. Raises what a put raised."""
        try:
            if self._builder.frame_count:
                self._seal(background=bool(self._waiting))
            for future in self._waiting:
                self._stored.append(future.result())
        finally:
            self.abandon()
        return self._stored

    def abandon(self) -> None:
        """Wait for what is under way and write nothing more. What was put is garbage."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
        self._waiting = []

    def _seal(self, *, background: bool) -> None:
        builder, chunks = self._builder, self._chunks
        self._builder = PackBuilder(self._kind, self._nonce())
        self._chunks = ([], [], [])
        if not background:
            self._stored.append(self._put(builder, *chunks))
            return
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(PACKS_IN_FLIGHT_MAX, thread_name_prefix="dataver-put")
        while len(self._waiting) >= PACKS_IN_FLIGHT_MAX:
            self._stored.append(self._waiting.pop(0).result())
        self._waiting.append(self._pool.submit(self._put, builder, *chunks))

    def _put(
        self, builder: PackBuilder, frames: list[Frame], lengths: list[int], digests: list[Buffer]
    ) -> StoredPack:
        name, parts = builder.finish()
        size = sum(map(len, parts))
        if joins_buffers(self._store):
            # The parts are windows of files, which can go before the pack has gone over the network.
            parts = [b"".join(parts)]
        if not self._store.put_new(pack_key(name), parts, barrier=False):
            raise StoreError(f"{pack_key(name)} exists already, though its name is new; nothing was recorded")
        if self._tell is not None:
            self._tell(name)
        return StoredPack(name, size, tuple(frames), tuple(lengths), b"".join(digests))


class RecordWriter:
    """Packs metadata objects, neighbours in one compressed frame. For one thread."""

    def __init__(self, store: Store, *, nonce: Nonce = random_nonce) -> None:
        self._packs = PackWriter(store, PackKind.META, nonce=nonce)
        self._cache = cache_of(store)
        self._pending: list[tuple[bytes, bytes]] = []
        self._pending_bytes = 0

    def add(self, digest: bytes, data: bytes) -> None:
        """Store one object under its digest."""
        if self._pending and self._pending_bytes + len(data) > FRAME_BYTES_TARGET:
            self._flush()
        self._pending.append((digest, data))
        self._pending_bytes += len(data)
        if self._cache is not None:
            self._cache.put(digest, data)

    def close(self) -> list[StoredPack]:
        """Put what is left; every pack that was written."""
        self._flush()
        return self._packs.close()

    def _flush(self) -> None:
        if not self._pending:
            return
        parts = [data for _, data in self._pending]
        codec, stored = compress_frame(parts)
        digests = b"".join(digest for digest, _ in self._pending)
        self._packs.add(
            codec, parts if stored is None else [stored], self._pending_bytes, digests, list(map(len, parts))
        )
        self._pending, self._pending_bytes = [], 0


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """An index segment that is in the store."""

    name: Digest
    keys: int
    size_bytes: int


def read_footer(store: Store, name: bytes) -> tuple[Footer, int]:
    """What a pack says that it holds, and its size. `ObjectMissingError` where it is not there.

    `DamagedError` where its end is not one that a pack has. The frames themselves are not read.
    """
    key = pack_key(name)
    tail, size_bytes = store.get_suffix(key, SUFFIX_READ_BYTES)
    length = footer_length(tail, size_bytes, key)
    if length > len(tail):
        tail, size_bytes = store.get_suffix(key, length)
    whole = len(tail) == size_bytes
    header = tail[:HEADER_BYTES] if whole else store.get_ranges(key, [(0, HEADER_BYTES)])[0]
    return parse_footer(header, tail, size_bytes, key), size_bytes


def write_segment(store: Store, packs: Sequence[StoredPack], *, nonce: Nonce = random_nonce) -> StoredSegment:
    """Put one segment over all chunks of `packs`."""
    return put_segment(store, segment_over(packs, nonce()))


def segment_over(packs: Sequence[StoredPack], nonce: bytes) -> bytes:
    """The bytes of a segment over all chunks of `packs`."""
    frames: list[SegmentFrame] = []
    rows = array("I")
    for number, pack in enumerate(packs):
        lengths = iter(pack.lengths)
        for frame in pack.frames:
            offset = 0
            for length in islice(lengths, frame.chunk_count):
                rows.extend((len(frames), offset, length))
                offset += length
            frames.append(
                SegmentFrame(number, frame.offset, frame.stored_bytes, frame.raw_bytes, frame.codec)
            )
    if sys.byteorder == "big":
        rows.byteswap()
    keys = b"".join(pack.digests for pack in packs)
    return segment_format.encode([p.name for p in packs], frames, keys, rows.tobytes(), nonce)


def put_segment(store: Store, data: bytes) -> StoredSegment:
    """Put the bytes of a segment."""
    name = blake3_digest(data)
    if not store.put_new(segment_key(name), data, barrier=False):
        raise StoreError(f"{segment_key(name)} exists already, though its name is new; nothing was recorded")
    cache = cache_of(store)
    if cache is not None:
        cache.put(name, data)
    return StoredSegment(name, segment_format.Segment(data, segment_key(name)).key_count, len(data))
