"""All valid index segments as one: digest to place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from dataver.compression import Codec
from dataver.digest import DIGEST_BYTES
from dataver.errors import DamagedError, DataverError, ObjectMissingError
from dataver.format.limits import FRAME_BYTES_MAX
from dataver.format.segment import FEW_LOOKUPS, Place, Segment
from dataver.hashing import blake3_digest
from dataver.keys import pack_key, segment_key
from dataver.remote_segment import RemoteSegment
from dataver.store.base import Store
from dataver.store.cached import cache_of, get_named
from dataver.values import NamedTuple

CHECK_WHOLE_BYTES_MAX = 1 << 20
"""Segments up to this size are hashed when they are opened; larger ones would cost too much."""
READ_WHOLE_BYTES_MAX = 1 << 20
"""Segments far away up to this size are read whole, larger ones where few look-ups are made in ranges."""
OPENED_AT_ONCE_MAX = 8
COALESCE_GAP_BYTES = 256 << 10
"""Ranges of a pack that lie so near each other are read as one, up to `RANGE_BYTES_MAX`."""
RANGE_BYTES_MAX = 8 << 20


@runtime_checkable
class MapsObjects(Protocol):
    """A store that can show an object without reading all of it."""

    def map(self, key: str) -> memoryview:
        """A read-only view of the whole object. `ObjectMissingError` where there is none."""


class ChunkIndex:
    """Looks digests up in a set of segments, opened when first needed. Safe for several threads.

    The answers are as trustworthy as the segments: readers check what they read by its digest.
    `skipped` packs are treated as if no segment named them. A segment that is missing or damaged
    knows nothing, and stands in `faults`: what others know can be read all the same, and what is
    written is stored once more.

    Where `relied` is a set, the packs in which anything was found are added to it: whoever writes
    relies on them. `tombstone` is asked for the error of a digest that is in none and may have been erased.
    """

    def __init__(
        self,
        store: Store,
        segments: Iterable[bytes],
        skipped: Collection[bytes] = (),
        sizes: Mapping[bytes, int] | None = None,
        relied: set[bytes] | None = None,
    ) -> None:
        """`sizes` are the bytes of segments: one whose size is not given is read whole."""
        self._store = store
        self._names = list(segments)
        self._skipped = frozenset(skipped)
        self._sizes = dict(sizes or {})
        self.relied = relied
        self.tombstone: Callable[[bytes], DataverError | None] | None = None
        self._far = not isinstance(store, MapsObjects)
        self._open: dict[bytes, Segment | RemoteSegment] = {}
        self._broken: dict[bytes, DamagedError] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> list[bytes]:
        """The segments, in the order they are searched."""
        return list(self._names)

    @property
    def faults(self) -> list[DamagedError]:
        """What is wrong with the segments that could not be searched so far."""
        return list(self._broken.values())

    def replaced(
        self,
        segments: Iterable[bytes],
        skipped: Collection[bytes] = (),
        sizes: Mapping[bytes, int] | None = None,
        relied: set[bytes] | None = None,
    ) -> ChunkIndex:
        """An index of other segments that keeps what this one has open."""
        other = ChunkIndex(self._store, segments, skipped, sizes, relied)
        other.tombstone = self.tombstone
        names = set(other._names)
        if names.issuperset(self._names):
            other._open = self._open  # also what either opens from here on
        else:
            other._open = {name: segment for name, segment in self._open.items() if name in names}
        return other

    def is_of_the_same(self, other: ChunkIndex) -> bool:
        """Whether it searches the segments that another one does, and passes over the same packs."""
        return (self._names, self._skipped) == (other._names, other._skipped)

    def read_whole(self) -> None:
        """From here on search only segments that are verified as a whole: a range may have come wrong."""
        with self._lock:
            self._sizes = {}
            self._open = {name: one for name, one in self._open.items() if isinstance(one, Segment)}

    def find(self, digest: bytes) -> Place | None:
        """Where the bytes of `digest` are, or None. For a few look-ups: imports nothing heavy."""
        self._prepare(1)
        return self._find(digest)

    def find_many(self, digests: bytes) -> list[Place | None]:
        """Where each of many digests (32 bytes each) is, or None."""
        count = len(digests) // DIGEST_BYTES
        self._prepare(count)
        if count <= FEW_LOOKUPS and self._far:
            return [
                self._find(digests[at : at + DIGEST_BYTES]) for at in range(0, len(digests), DIGEST_BYTES)
            ]
        return self._find_many(digests)

    def find_near(self, digest: bytes) -> Place | None:
        """As `find`, but only in segments that are at hand: no look-up is a request."""
        self._prepare(1)
        for name in self._names:
            segment = self._open.get(name)
            if not isinstance(segment, RemoteSegment):
                place = self._find_in(name, digest)
                if place is not None:
                    return place
        return None

    def far_segments(self) -> Iterator[RemoteSegment]:
        """The segments in which each look-up is a request."""
        for name in self._names:
            segment = self._open.get(name)
            if isinstance(segment, RemoteSegment) and name not in self._broken:
                with self._tolerating(name):
                    yield segment

    def _find(self, digest: bytes) -> Place | None:
        place = None
        for name in self._order():
            place = self._find_in(name, digest)
            if place is not None:
                break
        return place

    def _find_in(self, name: bytes, digest: bytes) -> Place | None:
        # As `_tolerating` does, which would take a third of the time.
        try:
            place = self._searchable(name).find(digest)
        except DamagedError as error:
            self._broken[name] = error
            return None
        if place is None or place.pack in self._skipped:
            return None
        if self.relied is not None:
            self.relied.add(place.pack)
        return place

    def _order(self) -> list[bytes]:
        """The segments as they are searched: those at hand first."""
        if not self._far:
            return self._names
        return sorted(self._names, key=lambda name: isinstance(self._open.get(name), RemoteSegment))

    def _prepare(self, lookups: int) -> None:
        """Open what so many look-ups need, all at once where each is a request."""
        if not self._far:
            return
        with self._lock:
            missing = [name for name in self._names if self._is_to_open(name, lookups)]
            if len(missing) < 2:
                for name in missing:
                    self._open_far(name, lookups)
                return
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(min(len(missing), OPENED_AT_ONCE_MAX)) as pool:
                list(pool.map(self._open_far, missing, [lookups] * len(missing)))

    def _is_to_open(self, name: bytes, lookups: int) -> bool:
        segment = self._open.get(name)
        if segment is None:
            return name not in self._broken
        return isinstance(segment, RemoteSegment) and not segment.is_worth_it(lookups)

    def _open_far(self, name: bytes, lookups: int) -> None:
        size = self._sizes.get(name, 0)
        if size > READ_WHOLE_BYTES_MAX and name not in self._open:
            cache = cache_of(self._store)
            kept = None if cache is None else cache.get(name)
            remote = RemoteSegment(self._store, name, size)
            if kept is not None or remote.is_worth_it(lookups):
                self._open[name] = remote if kept is None else Segment(kept, segment_key(name))
                return
        with self._tolerating(name):
            self._open[name] = require_segment(self._store, name)

    def _find_many(self, digests: bytes) -> list[Place | None]:
        found: list[Place | None] = [None] * (len(digests) // DIGEST_BYTES)
        missing = list(range(len(found)))
        for name in self._names:
            if not missing:
                break
            with self._tolerating(name):
                segment = self.segment(name)
                positions = segment.positions(_select(digests, missing))
                hits = [
                    (at, position) for at, position in zip(missing, positions, strict=True) if position >= 0
                ]
                places = segment.places([position for _, position in hits])
                for (at, _), place in zip(hits, places, strict=True):
                    if place.pack not in self._skipped:
                        found[at] = place
                if self.relied is not None:
                    self.relied.update({place.pack for place in places}.difference(self._skipped))
                if hits:
                    missing = [at for at in missing if found[at] is None]
        return found

    @contextmanager
    def _tolerating(self, name: bytes) -> Iterator[None]:
        """Go on without a segment that cannot be searched."""
        try:
            yield
        except DamagedError as error:
            self._broken[name] = error

    def segment(self, name: bytes) -> Segment:
        """One segment, opened as a whole. `DamagedError` where it is missing or damaged."""
        segment = self._open.get(name)
        if isinstance(segment, Segment):
            return segment
        if name in self._broken:
            raise self._broken[name]
        segment = require_segment(self._store, name)
        with self._lock:
            self._open[name] = segment
        return segment

    def _searchable(self, name: bytes) -> Segment | RemoteSegment:
        segment = self._open.get(name) if name not in self._broken else None
        return segment if isinstance(segment, RemoteSegment) else self.segment(name)


def open_segment(store: Store, name: bytes) -> Segment:
    """Open a segment over a memory map where the store has them. A missing one is `ObjectMissingError`."""
    key = segment_key(name)
    if not isinstance(store, MapsObjects):
        return Segment(get_named(store, key, name), key)
    data = store.map(key)
    if len(data) <= CHECK_WHOLE_BYTES_MAX and blake3_digest(data) != name:
        raise DamagedError(f"{key} is damaged: its bytes are not those of its name; run `dataver verify`")
    return Segment(data, key)


def require_segment(store: Store, name: bytes) -> Segment:
    """`open_segment`, where the log says that the segment must be there."""
    try:
        return open_segment(store, name)
    except ObjectMissingError as error:
        raise DamagedError(f"{segment_key(name)} is missing; run `dataver verify`") from error


def _select(digests: bytes, numbers: list[int]) -> bytes:
    if len(numbers) * DIGEST_BYTES == len(digests):
        return digests
    return b"".join([digests[DIGEST_BYTES * number : DIGEST_BYTES * (number + 1)] for number in numbers])


class Span(NamedTuple):
    """What must be read of a pack for one place: stored bytes, and where the chunk is in them."""

    start: int
    length: int


def joined(spans: Iterable[Span]) -> list[tuple[int, int]]:
    """The spans, with those that touch as one."""
    found: list[tuple[int, int]] = []
    for start, length in spans:
        if found and sum(found[-1]) == start:
            found[-1] = (found[-1][0], found[-1][1] + length)
        else:
            found.append((start, length))
    return found


def merged(places: Sequence[Place]) -> list[Place]:
    """The places, with those that follow each other in one frame as one."""
    found = [places[0]]
    for place in places[1:]:
        last = found[-1]
        if place[:5] == last[:5] and place.offset == last.offset + last.length:
            found[-1] = Place(*last[:6], last.length + place.length)
        else:
            found.append(place)
    return found


def span_of(place: Place) -> Span:
    """What must be read for a place. `DamagedError` for one that cannot be."""
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


def groups(places: Sequence[Place], numbers: Iterable[int]) -> Iterator[list[tuple[int, Span]]]:
    """Runs of places in one pack that are read as one range, by number and with their spans."""
    group: list[tuple[int, Span]] = []
    start = end = 0
    for number in numbers:
        span = span_of(places[number])
        first, length = span
        stop = first + length
        if group and (first > end + COALESCE_GAP_BYTES or max(stop, end) - start > RANGE_BYTES_MAX):
            yield group
            group = []
        if not group:
            start, end = first, stop
        group.append((number, span))
        end = max(end, stop)
    if group:
        yield group
