"""Digest to verified bytes: the one place that reads chunks and metadata objects.

A frame that is compressed is read and decoded whole and kept for a while, as its neighbours are
wanted next; of a raw one only what is asked for is read. What comes from a store that is far away
goes through this user's cache: by digest, once that was compared.
"""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol, runtime_checkable

from dataver.chunk_index import ChunkIndex, MapsObjects, Span, groups, merged, span_of
from dataver.compression import Codec, decompress
from dataver.digest import DIGEST_BYTES, Digest, split_digests
from dataver.errors import DamagedError, DataverError, NewerFormatError, ObjectMissingError
from dataver.format.segment import Place
from dataver.hashing import Kind, blake3_digest, cache_key, kind_digest
from dataver.keys import pack_key
from dataver.metadata_packs import MetadataPacks
from dataver.store.base import Store, View
from dataver.store.cached import cache_of

FRAME_CACHE_BYTES = 64 << 20
PASSING_BYTES_MIN = 256 << 20
FRAME_READ_BYTES_MAX = 256 << 10
"""Of a raw frame up to this size that is far away all is read: the rest costs less than a request."""
LOOKS_MAX = 20
"""How often one read follows a log in which others collect all the time."""
FEW_OF_FRAME = 8
"""A frame of which a chunk is less than this part is kept on disk as well, for its neighbours."""


@runtime_checkable
class ReadsInto(Protocol):
    """A store that can read parts of an object into memory that is there already."""

    def read_into(self, key: str, ranges: Sequence[tuple[int, int]], buffer: memoryview) -> bool:
        """Fill the buffer with parts of an object, side by side.

        `ranges` are `(start, length)`, `start >= 0`, together of the buffer's length. False where the object
        does not have them, or cannot be read: `get_ranges` tells why.
        """


class PackMissingError(DamagedError):
    """A pack that the index names is not there: collected since, or lost."""


class Objects:
    """Reads chunks and metadata through an index. Safe for several threads.

    `refresh` reads the log again and returns the index as it is now: a pack or segment that is
    missing is looked for once more there before it counts as damage.
    """

    def __init__(
        self,
        store: Store,
        index: ChunkIndex,
        refresh: Callable[[], ChunkIndex] | None = None,
        *,
        frame_bytes_max: int | None = None,
    ) -> None:
        self.store = store
        self._frame_bytes_max = FRAME_CACHE_BYTES if frame_bytes_max is None else frame_bytes_max
        self.index = index
        self._refresh = refresh
        self._cache = cache_of(store)
        self._passing = False
        self._metadata = None if isinstance(store, MapsObjects) else MetadataPacks(store)
        self._frames: OrderedDict[tuple[bytes, int], bytes] = OrderedDict()
        self._frames_bytes = 0
        self._lock = threading.Lock()

    @property
    def is_near(self) -> bool:
        """Whether a read is no request, so that many small ones cost no more than a large one."""
        return self._metadata is None

    def chunk(self, digest: bytes) -> View:
        """The bytes of a chunk, or of a file that is one chunk. `DamagedError` if they are not there."""
        data = self._cached(digest)
        if data is not None:
            return data
        data = self._read(digest)
        if blake3_digest(data) != digest:
            data = self._read_anew(digest)
            if blake3_digest(data) != digest:
                raise self.damaged(digest, "its bytes do not match its digest")
        self._keep_on_disk(digest, data)
        return data

    def record(self, kind: Kind, digest: bytes) -> bytes:
        """The canonical bytes of a metadata object."""
        kept = self._cached(digest)
        if kept is not None:
            return bytes(kept)
        data = bytes(self._read(digest) if self._metadata is None else self._read_record(digest))
        if kind_digest(kind, data) != digest:
            data = bytes(self._read_anew(digest))
            if kind_digest(kind, data) != digest:
                raise self.damaged(digest, "its bytes do not match its digest")
        self._keep_on_disk(digest, data)
        return data

    def expect(self, size_bytes: int) -> None:
        """So many bytes of chunks are read in one go, to be written to files.

        Much of that passes the cache by: it costs time, and the files are on the disk then.
        """
        if self._cache is not None:
            self._passing = size_bytes > min(PASSING_BYTES_MIN, self._cache.cap_bytes // 2)

    def for_copying(self, size_bytes: int) -> Objects:
        """Another one over the same, that expects so many bytes."""
        other = Objects(self.store, self.index, self._refresh)
        other.expect(size_bytes)
        return other

    def _cached(self, digest: bytes) -> View | None:
        return None if self._cache is None else self._cache.get(digest)

    def _keep_on_disk(self, digest: bytes, data: View) -> None:
        if self._cache is not None:
            self._cache.put(digest, data)

    def places(self, digests: bytes) -> list[Place]:
        """Where each of many digests (32 bytes each) is. A missing one is `DamagedError`."""
        found: list[Place | None] = []
        for _ in self._looks():
            found = self.index.find_many(digests)
            if None not in found:
                break
        for number, place in enumerate(found):
            if place is None:
                raise self._unknown(digests[32 * number : 32 * number + 32])
        return [place for place in found if place is not None]

    def chunks(self, digests: bytes) -> list[View]:
        """The bytes of many chunks (32 bytes of digest each), in order; all of them are held at once.

        Not verified: the caller compares a digest.
        """
        if self._cache is None:
            return self.read(digests, self.places(digests))
        each = split_digests(digests)
        found = self._cache.get_many(each)
        missing = b"".join([digest for digest, data in zip(each, found, strict=True) if data is None])
        return self._completed(each, found, self.places(missing))

    def few(self, digests: bytes, *, once: bool = False) -> list[View] | None:
        """The bytes of a few chunks, in order, neighbours in one frame as one buffer. Not verified.

        With `once`, a frame of which all is wanted is not kept: its memory serves for the next one,
        while it is still in the processor's cache. None where the chunks are far away, or not to be
        had like this: `chunks` has them, or says why not.
        """
        if not self.is_near:
            return None
        try:
            return [self._read_place(place, once) for place in merged(self.places(digests))]
        except ObjectMissingError:
            return None

    def read(self, digests: bytes, places: Sequence[Place]) -> list[View]:
        """`chunks`, where `places` of these digests were looked up before."""
        if self._cache is None:
            return self._read_now(digests, places)
        each = split_digests(digests)
        found = self._cache.get_many(each)
        wanted = [place for place, data in zip(places, found, strict=True) if data is None]
        return self._completed(each, found, wanted)

    def _completed(self, each: list[bytes], found: list[View | None], places: list[Place]) -> list[View]:
        """What the cache had, with what it lacked read from `places`."""
        if places:
            missing = [number for number, data in enumerate(found) if data is None]
            read = self._read_now(b"".join([each[number] for number in missing]), places)
            for number, data in zip(missing, read, strict=True):
                found[number] = data
                self._keep_if_right(each[number], data)
        return [data for data in found if data is not None]

    def _read_now(self, digests: bytes, places: Sequence[Place]) -> list[View]:
        missing: PackMissingError | None = None
        for _ in self._looks():
            try:
                return self._read_in_order(self.places(digests) if missing else places)
            except PackMissingError as error:
                missing = error
        assert missing is not None
        raise missing

    def _read_in_order(self, places: Sequence[Place]) -> list[View]:
        found: list[View] = [b""] * len(places)
        for number, data in self.read_places(places):
            found[number] = data
        return found

    def read_into(self, pack: bytes, ranges: Sequence[tuple[int, int]], buffer: memoryview) -> bool:
        """Fill the buffer with parts of a pack, side by side, not verified.

        False where the store does not do that, or not this time: `read` goes where this does not.
        """
        return isinstance(self.store, ReadsInto) and self.store.read_into(pack_key(pack), ranges, buffer)

    def _keep_if_right(self, digest: bytes, data: View) -> None:
        if self._passing:
            return
        if blake3_digest(data) == digest:
            self._keep_on_disk(digest, data)

    def read_files(self, digests: Sequence[bytes], places: Sequence[Place]) -> Iterator[tuple[int, View]]:
        """As `read_places`, for chunks whose digests are known, so that the cache has its part in it."""
        if self._cache is None:
            yield from self._read_numbered(digests, places, list(range(len(places))))
            return
        missing = []
        for number, data in enumerate(self._cache.get_many(digests)):
            if data is None:
                missing.append(number)
            else:
                yield number, data
        for number, read in self._read_numbered(digests, places, missing):
            self._keep_if_right(digests[number], read)
            yield number, read

    def _read_numbered(
        self, digests: Sequence[bytes], places: Sequence[Place], numbers: list[int]
    ) -> Iterator[tuple[int, View]]:
        """`read_places` for some of many; the rest of them again, where a pack went meanwhile."""
        missing: PackMissingError | None = None
        for _ in self._looks():
            wanted = [places[number] for number in numbers]
            if missing:
                wanted = self.places(b"".join([digests[number] for number in numbers]))
            done: set[int] = set()
            try:
                for at, data in self.read_places(wanted):
                    done.add(at)
                    yield numbers[at], data
                return
            except PackMissingError as error:
                missing = error
                numbers = [number for at, number in enumerate(numbers) if at not in done]
        assert missing is not None
        raise missing

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
            numbers.sort(key=lambda n: (places[n][1], places[n][5]))  # frame, offset in it
            for group in groups(places, numbers):
                yield from self._read_group(pack, places, group)

    def _read_group(
        self, pack: bytes, places: Sequence[Place], group: list[tuple[int, Span]]
    ) -> Iterator[tuple[int, View]]:
        start = group[0][1].start
        end = max([first + length for _, (first, length) in group])
        block = memoryview(self._get(pack, start, end - start))
        frame_offset, frame, unread = -1, b"", False
        raw = Codec.RAW
        for number, (first, length) in group:
            place = places[number]
            stored = block[first - start : first - start + length]
            if place.codec == raw:
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
        missing: DataverError | None = None
        for _ in self._looks():
            place = self.index.find(digest)
            if place is None:
                missing = None
                continue
            try:
                return self._read_place(place)
            except ObjectMissingError as error:
                missing = self.damaged(digest, f"{pack_key(place.pack)} is missing")
                missing.__cause__ = error
        raise missing or self._unknown(digest)

    def _read_anew(self, digest: bytes) -> View:
        """Read from far away what came wrong once, past all that is kept; else it is as it was."""
        place = self.index.find(digest) if self._metadata is not None else None
        if place is None:
            return b""
        span = span_of(place)
        stored = self._get(place.pack, span.start, span.length)
        if place.codec == Codec.RAW:
            return stored
        return memoryview(self._decode(place, stored))[place.offset : place.offset + place.length]

    def _read_record(self, digest: bytes) -> View:
        """Metadata that is far away: by a footer that was read, by the index, in few requests."""
        assert self._metadata is not None
        place = self._metadata.place(digest) or self.index.find_near(digest) or self._guess(digest)
        place = place or self.index.find(digest)
        if place is None:
            return self._read(digest)
        span = span_of(place)
        try:
            self._metadata.look_into(place.pack)
            if place.codec == Codec.RAW:
                return self._metadata.read(place.pack, span.start, span.length)
            key = (place.pack, place.frame_offset)
            frame = self._kept(key)
            if frame is None:
                frame = self._decode(place, self._metadata.read(place.pack, span.start, span.length))
                self._keep(key, frame)
        except ObjectMissingError:
            self._metadata.forget(place.pack)
            return self._read(digest)
        return memoryview(frame)[place.offset : place.offset + place.length]

    def _guess(self, digest: bytes) -> Place | None:
        """Look where the metadata of a large commit stands, before the index is searched by requests."""
        assert self._metadata is not None
        for segment in self.index.far_segments():
            pack = segment.last_pack()
            if pack is not None:
                with suppress(ObjectMissingError):
                    self._metadata.look_into(pack)
                place = self._metadata.place(digest)
                if place is not None:
                    return place
        return None

    def _looks(self) -> Iterator[None]:
        """An attempt to find something, and more, each after a look at the log, for as long as it moves on.

        What is needed may be put elsewhere between a look and the read that it leads to; it is missing
        where nothing moved since a look by which it was not found.
        """
        yield
        used: ChunkIndex | None = None
        for _ in range(LOOKS_MAX):
            self._look_again()
            if used is not None and self.index.is_of_the_same(used):
                return
            used = self.index
            yield

    def _look_again(self) -> None:
        """Take the index as the log has it now. One thread at a time: a log is read by one."""
        if self._refresh is not None:
            with self._lock:
                self.index = self._refresh()
        self.index.read_whole()

    def _read_place(self, place: Place, once: bool = False) -> View:
        span = span_of(place)
        if place.codec == Codec.RAW and not self._is_small_part(place):
            return self.store.get_ranges(pack_key(place.pack), [span])[0]
        key = (place.pack, place.frame_offset)
        frame = self._kept(key)
        if frame is None:
            frame = self._read_frame(place)
            if not once or place.length < len(frame):
                self._keep(key, frame)
        if place.length == len(frame):
            return frame
        return memoryview(frame)[place.offset : place.offset + place.length]

    def _is_small_part(self, place: Place) -> bool:
        """Whether to read all of a raw frame for a chunk of it."""
        return self._metadata is not None and place.length < place.raw_bytes <= FRAME_READ_BYTES_MAX

    def _read_frame(self, place: Place) -> bytes:
        """A frame, decoded. One of many small chunks is kept on disk; its chunks are compared in use."""
        name = b""
        if self._cache is not None and place.length * FEW_OF_FRAME <= place.raw_bytes:
            name = cache_key(place.pack + struct.pack("<I", place.frame_offset))
            kept = self._cached(name)
            if kept is not None and len(kept) == DIGEST_BYTES + place.stored_bytes:
                with suppress(DamagedError):
                    return self._decode(place, memoryview(kept)[DIGEST_BYTES:])
        span = (place.frame_offset, place.stored_bytes)
        stored = self.store.get_ranges(pack_key(place.pack), [span])[0]
        frame = self._decode(place, stored)
        if name:
            # The pack's name before it tells what to drop when something in the pack is erased.
            self._keep_on_disk(name, place.pack + stored)
        return frame

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
            while self._frames_bytes > self._frame_bytes_max:
                self._frames_bytes -= len(self._frames.popitem(last=False)[1])

    def _get(self, pack: bytes, start: int, length: int) -> View:
        try:
            return self.store.get_ranges(pack_key(pack), [(start, length)])[0]
        except ObjectMissingError as error:
            raise PackMissingError(f"{pack_key(pack)} is missing; run `dataver verify`") from error

    def _decode(self, place: Place, stored: View) -> bytes:
        if place.codec == Codec.RAW:
            return bytes(stored)
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

    def _unknown(self, digest: bytes) -> DataverError:
        with self._lock:
            erased = None if self.index.tombstone is None else self.index.tombstone(digest)
        if erased is not None:
            return erased
        faults = self.index.faults
        return faults[0] if faults else self.damaged(digest, "no index segment knows it")

    def damaged(self, digest: bytes, reason: str) -> DamagedError:
        """The error for an object that cannot be had."""
        return DamagedError(f"object {Digest(digest)} is damaged: {reason}; run `dataver verify --deep`")


def _frame_of(place: Place) -> str:
    return f"the frame at {place.frame_offset} of {pack_key(place.pack)}"
