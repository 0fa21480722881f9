"""Merging index segments by size, so that a look-up asks few and each key is rewritten seldom."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dataver.chunk_index import require_segment
from dataver.digest import DIGEST_BYTES
from dataver.format import segment as segment_format
from dataver.format.operations import IndexReplace
from dataver.format.segment import SegmentFrame
from dataver.log.state import SegmentState
from dataver.packs import Nonce
from dataver.segments import put_segment
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


def merge(
    store: Store, inputs: Sequence[SegmentState], nonce: Nonce, gone: Collection[bytes] = ()
) -> IndexReplace:
    """Put one segment with the keys of all `inputs`; the operation that makes it count instead.

    Of a key that several have, one place is kept: not one in a pack of `gone` where there is another.
    """
    import numpy as np

    in_gone = []
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
        if gone:
            packs_of_frames = np.frombuffer(segment.frame_table(), dtype="<u4").reshape(-1, 5)[:, 0]
            is_gone = np.array([name in gone for name in segment.packs()], dtype=bool)
            in_gone.append(is_gone[packs_of_frames[own[:, 0]]])
        own[:, 0] += len(frames)
        rows.append(own)
        frames.extend(frame._replace(pack=renumbered[frame.pack]) for frame in segment.frames())
        keys.append(segment.keys().tobytes())
    all_rows, all_keys = np.concatenate(rows), b"".join(keys)
    if gone:
        # Of equal keys the first is kept.
        order = np.argsort(np.concatenate(in_gone), kind="stable")
        all_rows = all_rows[order]
        all_keys = np.frombuffer(all_keys, dtype=np.uint8).reshape(-1, DIGEST_BYTES)[order].tobytes()
    data = segment_format.encode(packs, frames, all_keys, all_rows.tobytes(), nonce())
    stored = put_segment(store, data)
    return IndexReplace(tuple(state.name for state in inputs), stored.name, stored.keys, stored.size_bytes)


def _level(segment: SegmentState) -> int:
    return max(0, segment.keys.bit_length() - SMALLEST_KEYS_BITS) // RATIO_BITS
