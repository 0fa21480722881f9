"""The index segments: whole, and saying the same as the packs they name."""

from __future__ import annotations

import threading
from collections.abc import Container
from functools import partial
from typing import TYPE_CHECKING

from dataver.chunk_index import ChunkIndex
from dataver.digest import DIGEST_BYTES, Digest
from dataver.erased import erased_error, erasures
from dataver.errors import DamagedError, NewerFormatError, ObjectMissingError
from dataver.format.pack import Footer
from dataver.format.segment import Place, Segment
from dataver.hashing import blake3_digest
from dataver.keys import pack_key, segment_key
from dataver.log.state import SEGMENT_NAME, SegmentState, State
from dataver.verify.findings import Findings, Reads, plain
from dataver.verify.packs import Claim, PackCheck

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


SLICE_ROWS = 1 << 20


class BlamingIndex(ChunkIndex):
    """An index that can say which object is at fault where something cannot be had.

    `erasures` are the digests of what was erased on purpose, which nobody is at fault for.
    """

    erasures: Container[bytes]

    def culprit(self, place: Place, digest: bytes) -> str | None:
        """The object that keeps the bytes at a place from being read, or None."""
        raise NotImplementedError

    def blame(self, digest: bytes, what: str) -> list[str]:
        """The objects at fault where no segment knows a digest; `what` is its kind, in words."""
        raise NotImplementedError


class CheckedIndex(BlamingIndex):
    """The segments of a state that are whole, and what is known to be wrong where they lead.

    `bad_segments` and `bad_packs` are the names of those at fault.
    """

    def __init__(self, store: Reads, state: State, findings: Findings) -> None:
        self._findings = findings
        skipped = [name for name, kind in state.swept().items() if kind != SEGMENT_NAME]
        self.at_fault: list[str] = []
        self.bad_segments: set[bytes] = set()
        self.bad_packs: set[bytes] = set()
        self._whole: dict[bytes, Segment] = {}
        self._places: dict[bytes, list[tuple[bytes, int]]] = {}
        self._counts: dict[bytes, npt.NDArray[np.int64]] = {}
        self._unusable: set[bytes] = set()
        self._lost: dict[tuple[bytes, bytes], str] = {}
        self._guard = threading.Lock()
        # In the order in which readers search them.
        for valid in sorted(state.segments(), key=lambda s: (-s.keys, s.name)):
            self._open_whole(store, valid)
        super().__init__(store, list(self._whole), skipped)
        self.tombstone = partial(erased_error, state)
        self.erasures = erasures(state)
        for name, segment in self._whole.items():
            for position, pack in enumerate(segment.packs()):
                if pack not in self._skipped:
                    self._places.setdefault(pack, []).append((name, position))

    def segment(self, name: bytes) -> Segment:
        """One of the segments that are whole."""
        return self._whole[name]

    def whole(self) -> dict[bytes, Segment]:
        """The segments that are whole, in the order in which readers search them."""
        return self._whole

    def naming(self, pack: bytes) -> list[bytes]:
        """The segments that are whole and lead to a pack."""
        return [name for name, _ in self._places.get(pack, ())]

    def packs(self) -> list[bytes]:
        """Every pack that a segment names and that is not about to be deleted."""
        return list(self._places)

    def _open_whole(self, store: Reads, state: SegmentState) -> None:
        key = segment_key(state.name)
        self._findings.looked_at()
        try:
            data = store.map(key)
            if blake3_digest(data) != state.name:
                raise DamagedError("its bytes do not match its name")
            segment = Segment(data, key)
            segment.check()
            counts = _count_rows(segment)
            if (segment.key_count, len(data)) != (state.keys, state.size_bytes):
                raise DamagedError("it has not the keys and bytes that the log says")
        except ObjectMissingError:
            self.bad_segments.add(state.name)
            self.at_fault.append(self._findings.add(key, "it is missing"))
        except (DamagedError, NewerFormatError) as error:
            self.bad_segments.add(state.name)
            self.at_fault.append(self._findings.add(key, plain(error)))
        else:
            self._whole[state.name], self._counts[state.name] = segment, counts

    # Packs against segments

    def claims(self, pack: bytes) -> list[Claim]:
        """What the segments say is in a pack."""
        found: list[Claim] = []
        for name, number in self._places.get(pack, ()):
            segment = self._whole[name]
            found.extend((_key(segment, row), segment.place(row)) for row in _rows_of(segment, number))
        return found

    def take(self, check: PackCheck) -> None:
        """Compare a pack with what the segments say is in it, and remember what cannot be read."""
        key = pack_key(check.name)
        with self._guard:
            for problem in check.problems:
                self._findings.add(key, problem)
            if check.unusable:
                self._unusable.add(check.name)
            if check.problems:
                self.bad_packs.add(check.name)
            for digest in check.lost:
                self._lost[check.name, digest] = key
        if check.footer is None:
            return
        for name, number in self._places.get(check.name, ()):
            self._compare(name, number, check, check.footer)

    def _compare(self, name: bytes, number: int, check: PackCheck, footer: Footer) -> None:
        segment = self._whole[name]
        agreeing = _agreeing(segment, number, footer)
        if len(agreeing) == self._counts[name][number]:
            return
        # A segment that is whole says what its writer knew; so it is the pack that is another one,
        # unless every byte of the pack is proven too.
        if check.proven:
            object, reason = segment_key(name), f"it differs from the footer of {pack_key(check.name)}"
        else:
            object, reason = pack_key(check.name), f"it does not hold what {segment_key(name)} says"
        self._findings.add(object, reason)
        with self._guard:
            if check.proven:
                self.bad_segments.add(name)
            else:
                self.bad_packs.add(check.name)
            for row in set(_rows_of(segment, number)) - set(agreeing.tolist()):
                self._lost.setdefault((check.name, _key(segment, row)), object)

    # What a digest's place is worth

    def culprit(self, place: Place, digest: bytes) -> str | None:
        """The object that keeps the bytes at a place from being read, or None."""
        if place.pack in self._unusable:
            return pack_key(place.pack)
        return self._lost.get((place.pack, digest)) if self._lost else None

    def blame(self, digest: bytes, what: str) -> list[str]:
        """The objects at fault where no segment knows a digest."""
        if self.at_fault:
            return self.at_fault
        return [self._findings.add(f"{what} {Digest(digest)}", "no index segment knows where it is")]


def _key(segment: Segment, position: int) -> bytes:
    return bytes(segment.keys()[DIGEST_BYTES * position : DIGEST_BYTES * (position + 1)])


def _rows(segment: Segment) -> npt.NDArray[np.uint32]:
    import numpy as np

    return np.frombuffer(segment.rows(), dtype="<u4").reshape(-1, 3)


def _frames(segment: Segment) -> npt.NDArray[np.uint32]:
    import numpy as np

    return np.frombuffer(segment.frame_table(), dtype="<u4").reshape(-1, 5)


def _count_rows(segment: Segment) -> npt.NDArray[np.int64]:
    """How many rows lead to each pack. `DamagedError` where one leads nowhere."""
    import numpy as np

    counts = np.zeros(segment.pack_count, dtype=np.int64)
    rows, frames = _rows(segment), _frames(segment)
    if len(frames) and frames[:, 0].max() >= segment.pack_count:
        raise DamagedError("it names a pack that is not there")
    for start in range(0, len(rows), SLICE_ROWS):
        part = rows[start : start + SLICE_ROWS]
        if part[:, 0].max() >= segment.frame_count:
            raise DamagedError("it names a frame that is not there")
        own = frames[part[:, 0]]
        if (part[:, 1].astype(np.int64) + part[:, 2] > own[:, 3]).any():
            raise DamagedError("it names a place that is not there")
        counts += np.bincount(own[:, 0], minlength=segment.pack_count)
    return counts


def _rows_of(segment: Segment, number: int) -> list[int]:
    """The rows that lead to one pack; for the rare case, as it looks at all of them."""
    import numpy as np

    return [int(row) for row in np.flatnonzero(_frames(segment)[_rows(segment)[:, 0], 0] == number)]


def _agreeing(segment: Segment, number: int, footer: Footer) -> npt.NDArray[np.int64]:
    """The rows of a segment that say the same of a pack as its footer."""
    import numpy as np

    positions = segment.find_many(footer.digests)
    frames = np.array([frame[:5] for frame in footer.frames], dtype=np.int64).reshape(-1, 5)
    lengths = np.array(footer.lengths, dtype=np.int64)
    frame_of = np.repeat(np.arange(len(frames)), frames[:, 3])
    ends = np.cumsum(lengths)
    frame_starts = np.concatenate([[0], np.cumsum(frames[:, 2])])[:-1]
    offsets = ends - lengths - frame_starts[frame_of]
    known = positions >= 0
    positions, frame_of = positions[known], frame_of[known]
    rows = _rows(segment)[positions].astype(np.int64)
    theirs = _frames(segment)[rows[:, 0]].astype(np.int64)
    ours = np.column_stack([np.full(len(rows), number), frames[frame_of][:, [0, 1, 2, 4]]])
    same = (theirs == ours).all(axis=1) & (rows[:, 1] == offsets[known]) & (rows[:, 2] == lengths[known])
    return np.unique(positions[same])
