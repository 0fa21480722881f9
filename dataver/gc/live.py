"""Which rows of the index are alive, and so which packs.

One bit a row of a segment: a hundred million chunks are 12 MB. A digest counts where a reader finds
it: in the first segment that has it in a pack which is not marked; what is in marked packs alone
spares these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataver.chunk_index import require_segment
from dataver.digest import DIGEST_BYTES
from dataver.format.segment import Segment
from dataver.log.state import SegmentState
from dataver.store.base import Store
from dataver.values import dataclass

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(slots=True)
class PackUse:
    """How much of a pack is alive. Bytes are those of frames as they are stored."""

    stored_bytes: int = 0
    live_bytes: int = 0
    live_chunks: int = 0


@dataclass(slots=True)
class _Rows:
    """The rows of one segment. `pack_of` is the pack of each frame, `usable` which packs may count."""

    segment: Segment
    packs: list[bytes]
    usable: npt.NDArray[np.bool_]
    pack_of: npt.NDArray[np.int64]
    frame_of: npt.NDArray[np.int64]
    alive: npt.NDArray[np.bool_]


class Live:
    """The rows of all valid segments in the order in which readers search them, and which are alive."""

    def __init__(
        self, store: Store, segments: list[SegmentState], marked: set[bytes], swept: set[bytes]
    ) -> None:
        ordered = sorted(segments, key=lambda segment: (-segment.keys, segment.name))
        opened = [require_segment(store, segment.name) for segment in ordered]
        self._unmarked = [_rows(segment, marked | swept) for segment in opened]
        self._marked = [_rows(segment, swept) for segment in opened] if marked else []
        self.missing: list[bytes] = []

    def mark(self, digests: list[bytes]) -> list[bytes]:
        """Digests are alive; those of them that were not before. What no segment has is in `missing`."""
        if not digests:
            return []
        import numpy as np

        left, fresh = digests, np.zeros(0, dtype=bool)
        new: list[bytes] = []
        for rows in (*self._unmarked, *self._marked):
            if not left:
                break
            found, fresh = _mark(rows, left)
            new += [digest for digest, is_new in zip(left, fresh.tolist(), strict=True) if is_new]
            left = [digest for digest, is_found in zip(left, found.tolist(), strict=True) if not is_found]
        self.missing += left
        return new

    def dead(self, digests: list[bytes]) -> list[bytes]:
        """Those of these that a segment has in a pack that may count, and that are not alive."""
        import numpy as np

        found: list[bytes] = []
        left = digests
        for rows in (*self._unmarked, *self._marked):
            if not left:
                break
            positions = rows.segment.find_many(b"".join(left))
            known = positions >= 0
            known[known] = rows.usable[rows.pack_of[rows.frame_of[positions[known]]]]
            dead = np.zeros(len(left), dtype=bool)
            dead[known] = ~rows.alive[positions[known]]
            found += [digest for digest, is_dead in zip(left, dead.tolist(), strict=True) if is_dead]
            left = [digest for digest, is_known in zip(left, known.tolist(), strict=True) if not is_known]
        return found

    def packs(self) -> dict[bytes, PackUse]:
        """Every pack that a valid segment names, with what of it is alive."""
        import numpy as np

        used: dict[bytes, PackUse] = {}
        for rows in (*self._unmarked, *self._marked):
            table = np.frombuffer(rows.segment.frame_table(), dtype="<u4").reshape(-1, 5)
            chunks = np.bincount(rows.frame_of[rows.alive], minlength=len(table))
            stored = table[:, 2].astype(np.int64)
            count = len(rows.packs)
            totals = (
                np.bincount(rows.pack_of, weights=stored, minlength=count),
                np.bincount(rows.pack_of, weights=stored * (chunks > 0), minlength=count),
                np.bincount(rows.pack_of, weights=chunks, minlength=count),
            )
            for name, whole, live, live_chunks in zip(rows.packs, *(t.tolist() for t in totals), strict=True):
                use = used.setdefault(name, PackUse())
                use.stored_bytes = max(use.stored_bytes, int(whole))
                use.live_bytes += int(live)
                use.live_chunks += int(live_chunks)
        return used

    def digests_in(self, pack: bytes) -> set[bytes]:
        """The digests that are alive where this pack has them."""
        return set[bytes]().union(*self.frames_in(pack).values())

    def frames_in(self, pack: bytes) -> dict[int, set[bytes]]:
        """The same by frame, known by its offset: a digest may be in several, and counts in one."""
        import numpy as np

        found: dict[int, set[bytes]] = {}
        for rows in (*self._unmarked, *self._marked):
            if pack not in rows.packs:
                continue
            here = rows.alive & (rows.pack_of[rows.frame_of] == rows.packs.index(pack))
            keys = np.frombuffer(rows.segment.keys(), dtype=np.uint8).reshape(-1, DIGEST_BYTES)[here]
            table = np.frombuffer(rows.segment.frame_table(), dtype="<u4").reshape(-1, 5)
            for key, offset in zip(keys, table[rows.frame_of[here], 1].tolist(), strict=True):
                found.setdefault(offset, set()).add(bytes(key))
        return found


def _rows(segment: Segment, skipped: set[bytes]) -> _Rows:
    import numpy as np

    segment.check()
    table = np.frombuffer(segment.frame_table(), dtype="<u4").reshape(-1, 5)
    packs = [bytes(name) for name in segment.packs()]
    frame_of = np.frombuffer(segment.rows(), dtype="<u4").reshape(-1, 3)[:, 0].astype(np.int64)
    return _Rows(
        segment,
        packs,
        np.array([name not in skipped for name in packs], dtype=bool),
        table[:, 0].astype(np.int64),
        frame_of,
        np.zeros(segment.key_count, dtype=bool),
    )


def _mark(rows: _Rows, digests: list[bytes]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """For each digest whether it counts here, and whether it is alive only now."""
    import numpy as np

    positions = rows.segment.find_many(b"".join(digests))
    found = positions >= 0
    at = positions[found]
    found[found] = rows.usable[rows.pack_of[rows.frame_of[at]]]
    at = positions[found]
    fresh = np.zeros(len(digests), dtype=bool)
    fresh[found] = ~rows.alive[at]
    rows.alive[at] = True
    # A digest that is given twice is new once.
    if fresh.any():
        where = np.flatnonzero(fresh)
        _, first = np.unique(positions[where], return_index=True)
        fresh[:] = False
        fresh[where[first]] = True
    return found, fresh
