"""Where nodes end: a pure function of the keys since the node began."""

from __future__ import annotations

from collections.abc import Sequence

from dataver.hashing import xxh3_64
from dataver.values import NamedTuple

WEIGHT_MAX = 1 << 20
"""Bytes of keys and identity values after which a node ends whatever its keys hash to."""


class SplitRule(NamedTuple):
    """Rows a node may have, and the mask that the hash of its last key meets."""

    rows_min: int
    rows_max: int
    mask: int


LEAF_RULE = SplitRule(128, 2048, 512 - 1)
INNER_RULE = SplitRule(32, 512, 128 - 1)
LIST_RULE = SplitRule(16, 256, 64 - 1)
"""Of chunk lists, on each level: their rows do not compress, and a change writes a node anew."""


class Splitter:
    """Says after which row a node ends. Begins a new node after each end."""

    __slots__ = ("_level", "_mask", "_max", "_min", "_rows", "_weight")

    def __init__(self, level: int, rule: SplitRule | None = None) -> None:
        """For a level of a map, or for a level under a rule of its own."""
        self._level = level
        self._min, self._max, self._mask = rule or (INNER_RULE if level else LEAF_RULE)
        self._rows = 0
        self._weight = 0

    def ends_after(self, key: bytes, weight: int) -> bool:
        """Count a row in; True when the node ends with it.

        The hash is seeded with the level: with one hash for all, the keys that end a node would
        meet the mask of the level above again, nearly every one.
        """
        self._rows += 1
        self._weight += weight
        if self._rows < self._min and self._weight < WEIGHT_MAX:
            return False
        if self._rows < self._max and self._weight < WEIGHT_MAX and xxh3_64(key, self._level) & self._mask:
            return False
        self._rows = self._weight = 0
        return True

    def ends(self, keys: Sequence[bytes], weights: Sequence[int]) -> list[int]:
        """Count many rows in: after how many of them a node ends, each time. The same as one by one."""
        weight = sum(weights)
        if self._weight + weight >= WEIGHT_MAX:
            return [n for n, key in enumerate(keys, 1) if self.ends_after(key, weights[n - 1])]
        found: list[int] = []
        start, count = -self._rows, len(keys)
        while True:
            last = start + self._max - 1  # It ends there whatever its hash is.
            stop = min(last, count)
            could = range(max(start + self._min - 1, 0), stop)
            end = next((n for n in could if not xxh3_64(keys[n], self._level) & self._mask), stop)
            if end == count:
                break
            start = end + 1
            found.append(start)
        self._rows = count - start
        self._weight = sum(weights[start:]) if found else self._weight + weight
        return found
