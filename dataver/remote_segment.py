"""An index segment that is far away, searched by ranged reads.

The tables before the keys are read once; a look-up is then one read of the keys that begin alike,
and one of the row where the key is among them. What that costs is counted, so that many look-ups
in one segment end in one read of all of it.
"""

from __future__ import annotations

import threading

from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import DamagedError, ObjectMissingError
from dataver.format.segment import (
    FRAME_BYTES,
    HEADER_BYTES,
    ROW_BYTES,
    Place,
    SegmentHead,
    parse_bounds,
    parse_frame,
    parse_head,
    parse_row,
)
from dataver.keys import segment_key
from dataver.store.base import Store

HEAD_READ_BYTES = 64 << 10
TABLES_BYTES_MAX = 1 << 20
"""Up to so many bytes of packs, frames and fan-out are held; of more, only packs and fan-out."""
REQUEST_BYTES = 256 << 10
"""What one request more is worth: so many bytes come in the time that it takes to be answered."""


class RemoteSegment:
    """Looks keys up in a segment of `size_bytes` that stays where it is. Safe for several threads.

    What is read is not verified as a whole: a place counts once the bytes there have the digest
    that was looked for, and "it is not here" once the whole segment says so.
    """

    def __init__(self, store: Store, name: bytes, size_bytes: int) -> None:
        self._store = store
        self._key = segment_key(name)
        self._size_bytes = size_bytes
        self._head: SegmentHead | None = None
        self._start = b""
        self._fanout = b""
        self._spent_bytes = 0
        self._lock = threading.Lock()

    def is_worth_it(self, lookups: int) -> bool:
        """Whether so many look-ups more, with those that were, cost less than reading all of it."""
        return self._spent_bytes + 2 * lookups * REQUEST_BYTES < self._size_bytes

    def find(self, digest: bytes) -> Place | None:
        """Where the chunk `digest` is, or None."""
        head = self._opened()
        at = head.fanout_place(digest) - head.fanout_at
        low, high = parse_bounds(self._fanout[at : at + 8], head, self._key)
        if low == high:
            return None
        keys = self._read(head.keys_at + DIGEST_BYTES * low, DIGEST_BYTES * (high - low))
        at = keys.find(digest)
        while at >= 0 and at % DIGEST_BYTES:
            at = keys.find(digest, at + 1)
        if at < 0:
            return None
        position = low + at // DIGEST_BYTES
        row = parse_row(self._read(head.rows_at + ROW_BYTES * position, ROW_BYTES), head, self._key)
        frame = parse_frame(
            self._read(head.frames_at + FRAME_BYTES * row[0], FRAME_BYTES), row, head, self._key
        )
        pack = self._read(HEADER_BYTES + DIGEST_BYTES * frame.pack, DIGEST_BYTES)
        return Place(pack, frame.offset, frame.stored_bytes, frame.raw_bytes, frame.codec, row[1], row[2])

    def last_pack(self) -> Digest | None:
        """The last pack that it names: where the writer of one version put the version's metadata."""
        head = self._opened()
        if not head.packs:
            return None
        return Digest(self._read(HEADER_BYTES + DIGEST_BYTES * (head.packs - 1), DIGEST_BYTES))

    def _opened(self) -> SegmentHead:
        with self._lock:
            if self._head is None:
                start = self._get(0, min(HEAD_READ_BYTES, self._size_bytes))
                head = parse_head(start[:HEADER_BYTES], self._size_bytes, self._key)
                if len(start) < head.keys_at <= TABLES_BYTES_MAX:
                    start += self._get(len(start), head.keys_at - len(start))
                elif len(start) < head.frames_at <= TABLES_BYTES_MAX:
                    start += self._get(len(start), head.frames_at - len(start))
                self._start = start
                self._fanout = self._read(head.fanout_at, head.keys_at - head.fanout_at)
                self._head = head
            return self._head

    def _read(self, start: int, length: int) -> bytes:
        if start + length <= len(self._start):
            return self._start[start : start + length]
        return self._get(start, length)

    def _get(self, start: int, length: int) -> bytes:
        self._spent_bytes += length + REQUEST_BYTES
        try:
            return bytes(self._store.get_ranges(self._key, [(start, length)])[0])
        except ObjectMissingError as error:
            raise DamagedError(f"{self._key} is missing; run `dataver verify`") from error
