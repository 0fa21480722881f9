"""All valid index segments as one: digest to place."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from dataver.digest import DIGEST_BYTES
from dataver.errors import DamagedError, ObjectMissingError
from dataver.format.segment import Place, Segment
from dataver.hashing import blake3_digest
from dataver.keys import segment_key
from dataver.store.base import Store

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FEW_LOOKUPS = 500
"""Up to so many digests are looked up one by one: the import of numpy alone would take longer."""
CHECK_WHOLE_BYTES_MAX = 1 << 20
"""Segments up to this size are hashed when they are opened; larger ones would cost too much."""


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
    """

    def __init__(self, store: Store, segments: Iterable[bytes], skipped: Collection[bytes] = ()) -> None:
        self._store = store
        self._names = list(segments)
        self._skipped = frozenset(skipped)
        self._open: dict[bytes, Segment] = {}
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

    def replaced(self, segments: Iterable[bytes], skipped: Collection[bytes] = ()) -> ChunkIndex:
        """An index of other segments that keeps what this one has open."""
        other = ChunkIndex(self._store, segments, skipped)
        other._open = {name: segment for name, segment in self._open.items() if name in set(other._names)}
        return other

    def find(self, digest: bytes) -> Place | None:
        """Where the bytes of `digest` are, or None. For a few look-ups: imports nothing heavy."""
        for name in self._names:
            with self._tolerating(name):
                place = self.segment(name).find(digest)
                if place is not None and place.pack not in self._skipped:
                    return place
        return None

    def find_many(self, digests: bytes) -> list[Place | None]:
        """Where each of many digests (32 bytes each) is, or None."""
        if len(digests) <= FEW_LOOKUPS * DIGEST_BYTES:
            starts = range(0, len(digests), DIGEST_BYTES)
            return [self.find(digests[start : start + DIGEST_BYTES]) for start in starts]
        return self._find_many(digests)

    def _find_many(self, digests: bytes) -> list[Place | None]:
        import numpy as np

        found: list[Place | None] = [None] * (len(digests) // DIGEST_BYTES)
        missing = np.arange(len(found))
        for name in self._names:
            if not len(missing):
                break
            kept = np.ones(len(missing), dtype=bool)
            with self._tolerating(name):
                segment = self.segment(name)
                positions = segment.find_many(_select(digests, missing))
                for hit in np.flatnonzero(positions >= 0):
                    place = segment.place(int(positions[hit]))
                    if place.pack not in self._skipped:
                        found[int(missing[hit])] = place
                        kept[hit] = False
            missing = missing[kept]
        return found

    @contextmanager
    def _tolerating(self, name: bytes) -> Iterator[None]:
        """Go on without a segment that cannot be searched."""
        try:
            yield
        except DamagedError as error:
            self._broken[name] = error

    def segment(self, name: bytes) -> Segment:
        """One segment, opened. `DamagedError` where it is missing or damaged."""
        if name in self._broken:
            raise self._broken[name]
        segment = self._open.get(name)
        if segment is None:
            segment = require_segment(self._store, name)
            with self._lock:
                self._open[name] = segment
        return segment


def open_segment(store: Store, name: bytes) -> Segment:
    """Open a segment over a memory map where the store has them. A missing one is `ObjectMissingError`."""
    key = segment_key(name)
    data = store.map(key) if isinstance(store, MapsObjects) else store.get(key)
    if len(data) <= CHECK_WHOLE_BYTES_MAX and blake3_digest(data) != name:
        raise DamagedError(f"{key} is damaged: its bytes are not those of its name; run `dataver verify`")
    return Segment(data, key)


def require_segment(store: Store, name: bytes) -> Segment:
    """`open_segment`, where the log says that the segment must be there."""
    try:
        return open_segment(store, name)
    except ObjectMissingError as error:
        raise DamagedError(f"{segment_key(name)} is missing; run `dataver verify`") from error


def _select(digests: bytes, indexes: npt.NDArray[np.int64]) -> bytes:
    import numpy as np

    if len(indexes) * DIGEST_BYTES == len(digests):
        return digests
    return np.frombuffer(digests, dtype=np.uint8).reshape(-1, DIGEST_BYTES)[indexes].tobytes()
