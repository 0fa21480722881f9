"""Merging index segments by size, so that a look-up asks few and each key is rewritten seldom."""

from __future__ import annotations

from collections.abc import Sequence

from dataver.chunk_index import require_segment
from dataver.format import segment as segment_format
from dataver.format.operations import IndexReplace
from dataver.format.segment import SegmentFrame
from dataver.log.state import SegmentState
from dataver.packs import Nonce, put_segment
from dataver.store.base import Store

RATIO_BITS = 3
SMALLEST_KEYS_BITS = 12


def choose(segments: Sequence[SegmentState]) -> list[SegmentState]:
    """The segments to merge into one, or none.

    A level holds segments whose key counts are within a factor of 8. Eight on one level are merged,
    together with all below it.
    """
    levels: dict[int, int] = {}
    for segment in segments:
        levels[_level(segment)] = levels.get(_level(segment), 0) + 1
    full = [level for level, count in levels.items() if count >= 1 << RATIO_BITS]
    if not full:
        return []
    return [segment for segment in segments if _level(segment) <= max(full)]


def merge(store: Store, inputs: Sequence[SegmentState], nonce: Nonce) -> IndexReplace:
    """Put one segment with the keys of all `inputs`; the operation that makes it count instead."""
    import numpy as np

    packs: list[bytes] = []
    numbers: dict[bytes, int] = {}
    frames: list[SegmentFrame] = []
    keys: list[bytes] = []
    rows = []
    for state in inputs:
        segment = require_segment(store, state.name)
        segment.check()
        renumbered = []
        for name in segment.packs():
            if name not in numbers:
                numbers[name] = len(packs)
                packs.append(name)
            renumbered.append(numbers[name])
        own = np.frombuffer(segment.rows(), dtype="<u4").reshape(-1, 3).copy()
        own[:, 0] += len(frames)
        rows.append(own.tobytes())
        frames.extend(frame._replace(pack=renumbered[frame.pack]) for frame in segment.frames())
        keys.append(segment.keys().tobytes())
    data = segment_format.encode(packs, frames, b"".join(keys), b"".join(rows), nonce())
    stored = put_segment(store, data)
    return IndexReplace(tuple(state.name for state in inputs), stored.name, stored.keys, stored.size_bytes)


def _level(segment: SegmentState) -> int:
    return max(0, segment.keys.bit_length() - SMALLEST_KEYS_BITS) // RATIO_BITS
