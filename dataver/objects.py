"""Digest to verified bytes: the one place that reads chunks and metadata objects.

A frame that is compressed is read and decoded whole and kept for a while, as its neighbours are
wanted next; of a raw one only what is asked for is read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from dataver.chunk_index import ChunkIndex
from dataver.compression import Codec, decompress
from dataver.digest import Digest
from dataver.errors import DamagedError, NewerFormatError, ObjectMissingError
from dataver.format.limits import FRAME_BYTES_MAX
from dataver.format.segment import Place
from dataver.hashing import Kind, blake3_digest, kind_digest
from dataver.keys import pack_key
from dataver.store.base import Store, View

COALESCE_GAP_BYTES = 256 << 10
RANGE_BYTES_MAX = 8 << 20
FRAME_CACHE_BYTES = 64 << 20


class Span(NamedTuple):
    """What must be read of a pack for one place: stored bytes, and where the chunk is in them."""

    start: int
    length: int


@runtime_checkable
class CopiesRanges(Protocol):
    """A store that can have the system copy parts of an object to a file, past this process."""

    def copy_ranges(self, key: str, ranges: Sequence[tuple[int, int]], fd: int) -> int:
        """Write parts of an object to the file open at `fd`, from its position on: how many bytes.

        `ranges` are `(start, length)`, `start >= 0`. Fewer bytes than asked for, in whole or in
        part: the system cannot do that here, or the object or the file is not well, which reading
        and writing will tell.
        """


class PackMissingError(DamagedError):
    """A pack that the index names is not there: collected since, or lost."""


class Objects:
    """Reads chunks and metadata through an index. Safe for several threads.

    `refresh` reads the log again and returns the index as it is now: a pack or segment that is
    missing is looked for once more there before it counts as damage.
    """

    def __init__(
        self, store: Store, index: ChunkIndex, refresh: Callable[[], ChunkIndex] | None = None
    ) -> None:
        self.store = store
        self.index = index
        self._refresh = refresh
        self._frames: OrderedDict[tuple[bytes, int], bytes] = OrderedDict()
        self._frames_bytes = 0
        self._lock = threading.Lock()

    def chunk(self, digest: bytes) -> View:
        """The bytes of a chunk, or of a file that is one chunk. `DamagedError` if they are not there."""
        data = self._read(digest)
        if blake3_digest(data) != digest:
            raise self.damaged(digest, "its bytes do not match its digest")
        return data

    def record(self, kind: Kind, digest: bytes) -> bytes:
        """The canonical bytes of a metadata object."""
        data = bytes(self._read(digest))
        if kind_digest(kind, data) != digest:
            raise self.damaged(digest, "its bytes do not match its digest")
        return data

    def places(self, digests: bytes) -> list[Place]:
        """Where each of many digests (32 bytes each) is. A missing one is `DamagedError`."""
        found = self.index.find_many(digests)
        if None in found:
            self._look_again()
            found = self.index.find_many(digests)
        for number, place in enumerate(found):
            if place is None:
                raise self._unknown(digests[32 * number : 32 * number + 32])
        return [place for place in found if place is not None]

    def chunks(self, digests: bytes) -> list[View]:
        """The bytes of many chunks (32 bytes of digest each), in order; all of them are held at once.

        Not verified: the caller compares a digest.
        """
        return self.read(digests, self.places(digests))

    def read(self, digests: bytes, places: Sequence[Place]) -> list[View]:
        """`chunks`, where `places` of these digests were looked up before."""
        try:
            return self._read_in_order(places)
        except PackMissingError:
            self._look_again()
            return self._read_in_order(self.places(digests))

    def _read_in_order(self, places: Sequence[Place]) -> list[View]:
        found: list[View] = [b""] * len(places)
        for number, data in self.read_places(places):
            found[number] = data
        return found

    def copy(self, places: Sequence[Place], fd: int) -> bool:
        """Have the store copy uncompressed chunks of one pack to the file open at `fd`, one after the other.

        They are written from the file's position on, not verified. False where not all could be:
        what is written by then means nothing, and `read` goes where this does not.
        """
        if not isinstance(self.store, CopiesRanges):
            return False
        ranges = _joined(_span(place) for place in places)
        copied = self.store.copy_ranges(pack_key(places[0].pack), ranges, fd)
        return copied == sum(length for _, length in ranges)

    def read_places(self, places: Sequence[Place]) -> Iterator[tuple[int, View]]:
        """The bytes of each place as (position in `places`, bytes), in the order of packs.

        Not verified: the caller compares a digest. Stored ranges that lie near each other are
        read as one, up to `RANGE_BYTES_MAX`; the bytes in flight are no more than that and one
        decoded frame.
        """
        by_pack: dict[bytes, list[int]] = {}
        for number, place in enumerate(places):
            by_pack.setdefault(place.pack, []).append(number)
        for pack, numbers in by_pack.items():
            numbers.sort(key=lambda n: (places[n].frame_offset, places[n].offset))
            for group in _groups(places, numbers):
                yield from self._read_group(pack, places, group)

    def _read_group(
        self, pack: bytes, places: Sequence[Place], group: list[int]
    ) -> Iterator[tuple[int, View]]:
        spans = [_span(places[number]) for number in group]
        start = spans[0].start
        end = max(span.start + span.length for span in spans)
        block = memoryview(self._get(pack, start, end - start))
        frame_offset, frame, unread = -1, b"", False
        for number, span in zip(group, spans, strict=True):
            place = places[number]
            stored = block[span.start - start : span.start - start + span.length]
            if place.codec == Codec.RAW:
                yield number, stored
                continue
            if place.frame_offset != frame_offset:
                frame_offset = place.frame_offset
                frame = self._kept((pack, frame_offset)) or self._decode(place, stored)
            unread = place.offset + place.length < place.raw_bytes
            yield number, memoryview(frame)[place.offset : place.offset + place.length]
        if unread:
            # Whoever reads on from here begins in the frame that this group ended in.
            self._keep((pack, frame_offset), frame)

    def _read(self, digest: bytes) -> View:
        try:
            place = self.index.find(digest)
            if place is not None:
                return self._read_place(place)
        except ObjectMissingError:
            pass
        self._look_again()
        place = self.index.find(digest)
        if place is None:
            raise self._unknown(digest)
        try:
            return self._read_place(place)
        except ObjectMissingError as error:
            raise self.damaged(digest, f"{pack_key(place.pack)} is missing") from error

    def _look_again(self) -> None:
        """Take the index as the log has it now. One thread at a time: a log is read by one."""
        if self._refresh is not None:
            with self._lock:
                self.index = self._refresh()

    def _read_place(self, place: Place) -> View:
        span = _span(place)
        if place.codec == Codec.RAW:
            return self.store.get_ranges(pack_key(place.pack), [span])[0]
        key = (place.pack, place.frame_offset)
        frame = self._kept(key)
        if frame is None:
            frame = self._decode(place, self.store.get_ranges(pack_key(place.pack), [span])[0])
            self._keep(key, frame)
        return memoryview(frame)[place.offset : place.offset + place.length]

    def _kept(self, key: tuple[bytes, int]) -> bytes | None:
        with self._lock:
            frame = self._frames.get(key)
            if frame is not None:
                self._frames.move_to_end(key)
            return frame

    def _keep(self, key: tuple[bytes, int], frame: bytes) -> None:
        with self._lock:
            if key in self._frames:
                return
            self._frames[key] = frame
            self._frames_bytes += len(frame)
            while self._frames_bytes > FRAME_CACHE_BYTES:
                self._frames_bytes -= len(self._frames.popitem(last=False)[1])

    def _get(self, pack: bytes, start: int, length: int) -> View:
        try:
            return self.store.get_ranges(pack_key(pack), [(start, length)])[0]
        except ObjectMissingError as error:
            raise PackMissingError(f"{pack_key(pack)} is missing; run `dataver verify`") from error

    def _decode(self, place: Place, stored: View) -> bytes:
        if place.codec != Codec.ZSTD:
            raise NewerFormatError(
                f"{_frame_of(place)} has codec {place.codec}, which this release does not know"
            )
        try:
            return decompress(stored, place.raw_bytes)
        except DamagedError as error:
            raise DamagedError(
                f"{_frame_of(place)} is damaged: {error}; run `dataver verify --deep`"
            ) from error

    def _unknown(self, digest: bytes) -> DamagedError:
        faults = self.index.faults
        return faults[0] if faults else self.damaged(digest, "no index segment knows it")

    def damaged(self, digest: bytes, reason: str) -> DamagedError:
        """The error for an object that cannot be had."""
        return DamagedError(f"object {Digest(digest)} is damaged: {reason}; run `dataver verify --deep`")


def _frame_of(place: Place) -> str:
    return f"the frame at {place.frame_offset} of {pack_key(place.pack)}"


def _joined(spans: Iterable[Span]) -> list[tuple[int, int]]:
    """The spans, with those that touch as one."""
    joined: list[tuple[int, int]] = []
    for start, length in spans:
        if joined and sum(joined[-1]) == start:
            joined[-1] = (joined[-1][0], joined[-1][1] + length)
        else:
            joined.append((start, length))
    return joined


def _span(place: Place) -> Span:
    if (
        max(place.raw_bytes, place.stored_bytes) > FRAME_BYTES_MAX
        or place.offset + place.length > place.raw_bytes
    ):
        raise DamagedError(
            f"the index names an impossible place in {pack_key(place.pack)}; run `dataver verify`"
        )
    if place.codec == Codec.RAW:
        if place.stored_bytes != place.raw_bytes:
            raise DamagedError(f"the index names an impossible frame in {pack_key(place.pack)}")
        return Span(place.frame_offset + place.offset, place.length)
    return Span(place.frame_offset, place.stored_bytes)


def _groups(places: Sequence[Place], numbers: Iterable[int]) -> Iterator[list[int]]:
    """Runs of places in one pack that are read as one range."""
    group: list[int] = []
    start = end = 0
    for number in numbers:
        span = _span(places[number])
        stop = span.start + span.length
        if group and (span.start > end + COALESCE_GAP_BYTES or max(stop, end) - start > RANGE_BYTES_MAX):
            yield group
            group = []
        if not group:
            start, end = span.start, stop
        group.append(number)
        end = max(end, stop)
    if group:
        yield group
