"""Many paths, joined by NUL: they are made as they are asked for, some at a time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import chain

from dataver.column import Column

__all__ = ["JoinedPaths", "beside", "each_path"]

_SPLIT_BYTES = 64 << 10
"""So many bytes of joined paths are made into paths at a time."""


def each_path(joined: Column) -> Iterator[bytes]:
    """Paths that are joined by NUL. They are made as they are asked for, some at a time."""
    return chain.from_iterable(_stretches(joined))


def beside(joined: Column, others: Column) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Two sorted columns of paths, some of each at a time.

    With a stretch of the first come those of the other that are not above its last path and came with none
    before; with its last stretch, or none at all, come all that are left.
    """
    stretches, following = _stretches(joined), _stretches(others)
    waiting: list[bytes] = []
    some = next(stretches, [])
    while True:
        after = next(stretches, None)
        found: list[bytes] = []
        while after is None or not waiting or waiting[-1] <= some[-1]:
            found += waiting
            waiting = next(following, [])
            if not waiting:
                break
        else:
            end = bisect_right(waiting, some[-1])
            found, waiting = found + waiting[:end], waiting[end:]
        yield some, found
        if after is None:
            return
        some = after


def _stretches(joined: Column) -> Iterator[list[bytes]]:
    if not joined:
        return
    start = 0
    while (end := joined.find(b"\0", start + _SPLIT_BYTES)) >= 0:
        yield joined[start:end].split(b"\0")
        start = end + 1
    yield joined[start:].split(b"\0")


class JoinedPaths:
    """Sorted paths, joined by NUL, of which few are looked at: a stretch of them is made at a time."""

    __slots__ = ("_firsts", "_joined", "_made", "_number", "_rows", "_starts")

    def __init__(self, joined: Column) -> None:
        """`joined` holds at least one path."""
        self._joined = joined
        # Where each stretch begins, its first path, and the position of that.
        self._starts, self._firsts, self._rows = [0], [joined[: _end(joined, 0)]], [0]
        while (end := joined.find(b"\0", self._starts[-1] + _SPLIT_BYTES)) >= 0:
            self._rows.append(self._rows[-1] + 1 + joined[self._starts[-1] : end].count(b"\0"))
            self._starts.append(end + 1)
            self._firsts.append(joined[end + 1 : _end(joined, end + 1)])
        self._number = -1
        self._made: list[bytes] = []

    def find(self, path: bytes) -> int | None:
        """The position of a path."""
        at, is_there = self.place(path)
        return at if is_there else None

    def place(self, path: bytes) -> tuple[int, bool]:
        """The position of a path, or of the first that stands behind it; and whether it is there."""
        number = max(0, bisect_right(self._firsts, path) - 1)
        made = self._stretch(number)
        at = bisect_left(made, path)
        return self._rows[number] + at, at < len(made) and made[at] == path

    def path(self, position: int) -> bytes:
        """The path at a position."""
        number = bisect_right(self._rows, position) - 1
        return self._stretch(number)[position - self._rows[number]]

    def some(self, start: int, stop: int) -> list[bytes]:
        """The paths from one position to another (exclusive)."""
        number = bisect_right(self._rows, start) - 1
        first, found = self._rows[number], list[bytes]()
        while first + len(found) < stop:
            found += self._stretch(number)
            number += 1
        return found[start - first : stop - first]

    def _stretch(self, number: int) -> list[bytes]:
        if number != self._number:
            stop = self._starts[number + 1] - 1 if number + 1 < len(self._starts) else len(self._joined)
            self._number, self._made = number, self._joined[self._starts[number] : stop].split(b"\0")
        return self._made


def _end(joined: Column, start: int) -> int:
    """Where the path that begins at `start` ends."""
    end = joined.find(b"\0", start)
    return len(joined) if end < 0 else end
