"""Sets of keys: found by 64-bit hashes, decided by bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dataver.splits.keys import KeyRows, places

if TYPE_CHECKING:
    from dataver.splits.keys import Hashes, Mask, Positions


class KeySet:
    """The distinct keys among some rows. `rows` has each once, in the order of `hashes`.

    Two keys with one hash are told apart: `collided` has the bytes of those that came second.
    """

    def __init__(self, keys: KeyRows) -> None:
        hashes = keys.hashes()
        order = np.argsort(hashes, kind="stable")
        hashes = hashes[order]
        first = np.ones(len(keys), np.bool_)
        first[1:] = hashes[1:] != hashes[:-1]
        begin = np.maximum.accumulate(np.where(first, np.arange(len(keys)), 0))
        others = np.flatnonzero(~first)
        differs = ~equal_rows(keys, order[others], keys, order[begin[others]])
        self.collided = {keys.bytes_of(row) for row in order[others[differs]].tolist()}
        self.rows = keys.take(order[first])
        self.hashes: Hashes = hashes[first]

    def __len__(self) -> int:
        return len(self.rows) + len(self.collided)

    def contains(self, keys: KeyRows) -> Mask:
        """Which of these keys are in the set."""
        found = np.zeros(len(keys), np.bool_)
        if not len(self.rows) or not len(keys):
            return found
        hashes = keys.hashes()
        place = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        rows = np.flatnonzero(self.hashes[place] == hashes)
        same = equal_rows(keys, rows, self.rows, place[rows])
        found[rows] = same
        if self.collided:
            for row in rows[~same].tolist():
                found[row] = keys.bytes_of(row) in self.collided
        return found

    def common(self, other: KeySet) -> KeySet:
        """The keys that both sets have."""
        mine = KeyRows.concat([self.rows, *map(_one, sorted(self.collided))])
        return KeySet(mine.take(np.flatnonzero(other.contains(mine))))


def _one(key: bytes) -> KeyRows:
    return KeyRows(np.frombuffer(key, np.uint8), np.array([0, len(key)], np.int64))


def equal_rows(a: KeyRows, a_rows: Positions, b: KeyRows, b_rows: Positions) -> Mask:
    """Whether the keys of pairs of rows have the same bytes. No key is empty."""
    a_lengths, b_lengths = a.lengths[a_rows], b.lengths[b_rows]
    equal: Mask = a_lengths == b_lengths
    pairs = np.flatnonzero(equal)
    if len(pairs):
        lengths = a_lengths[pairs]
        a_bytes = a.data[places(a.starts[a_rows[pairs]], lengths)]
        b_bytes = b.data[places(b.starts[b_rows[pairs]], lengths)]
        begins = np.cumsum(lengths) - lengths
        equal[pairs] = np.logical_and.reduceat(a_bytes == b_bytes, begins)
    return equal
