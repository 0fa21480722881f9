"""Numbers in ascending order, however many: sorted runs, on disk where they are long, merged in blocks."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dataver.tables.sketch import collapse

if TYPE_CHECKING:
    from dataver.tables.sketch import Floats, Integers

    Run = tuple[Any, Any]
    """Ascending values, and the count of each: arrays, or what reads them from a file slice by slice."""
    Block = tuple[Floats, Integers, Integers]

BLOCK_VALUES = 1 << 20
"""So many values of all runs are merged at once."""


class _Spill:
    """A file without a name, which goes with the last that refers to it."""

    def __init__(self) -> None:
        self.file, path = tempfile.mkstemp(prefix="dataver-")
        os.unlink(path)
        self.size_bytes = 0
        weakref.finalize(self, os.close, self.file)

    def write(self, array: Any) -> _Stored:
        """Add an array of 8 bytes an element at the end."""
        stored = _Stored(self, self.size_bytes, len(array), array.dtype)
        view = memoryview(array).cast("B")
        while view:
            view = view[os.pwrite(self.file, view, self.size_bytes) :]
            self.size_bytes = stored.offset + 8 * len(array) - len(view)
        return stored


class _Stored:
    """An array in such a file. Slices are read when they are asked for, and not kept.

    A memory map would do the same, but its pages count as this process's memory.
    """

    def __init__(self, spill: _Spill, offset: int, length: int, kind: Any) -> None:
        self._spill = spill
        self.offset = offset
        self._length = length
        self._kind = kind

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> Any:
        start, stop, _ = part.indices(self._length)
        place, end = self.offset + 8 * start, self.offset + 8 * stop
        data = bytearray()
        while place < end:
            piece = os.pread(self._spill.file, end - place, place)
            if not piece:
                raise EOFError("a temporary file is shorter than what was written to it")
            data += piece
            place += len(piece)
        return np.frombuffer(data, self._kind)


class Ordered:
    """Takes numbers in any order; holds some `room` of them in memory, the rest in a nameless file."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._loose: list[Floats] = []
        self._loose_values = 0
        self._held: list[Run] = []
        self._spill: _Spill | None = None
        self._spilled: list[Run] = []

    def add(self, values: Floats) -> None:
        """Take in finite numbers."""
        self._loose.append(values)
        self._loose_values += len(values)
        if self._loose_values >= self._room:
            self._settle()

    def runs(self) -> list[Run]:
        """Runs of distinct ascending values, each with its count; several runs may have the same value."""
        self._settle()
        return [*self._held, *self._spilled]

    def _settle(self) -> None:
        if not self._loose_values:
            return
        values = np.sort(np.concatenate(self._loose))
        self._loose, self._loose_values = [], 0
        self._held.append(collapse(values, np.ones(len(values), np.int64)))
        if sum(len(values) for values, _ in self._held) <= self._room // 2:
            return
        merged = _merged(self._held)
        self._held = [merged]
        if len(merged[0]) > self._room // 2:
            self._put_away(merged)

    def _put_away(self, run: Run) -> None:
        self._held = []
        if self._spill is None:
            self._spill = _Spill()
        self._spilled.append((self._spill.write(run[0]), self._spill.write(run[1])))


def _merged(runs: Sequence[Run]) -> Run:
    values = np.concatenate([values for values, _ in runs])
    counts = np.concatenate([counts for _, counts in runs])
    order = np.argsort(values, kind="stable")
    return collapse(values[order], counts[order])


def joint(a: Sequence[Run], b: Sequence[Run]) -> Iterator[Block]:
    """The values of both sides in ascending order, none twice, with their counts in `a` and in `b`."""
    runs = [(*run, side) for side, runs in enumerate((a, b)) for run in runs if len(run[0])]
    places = [0] * len(runs)
    step = max(1, BLOCK_VALUES // max(len(runs), 1))
    while True:
        live = [number for number, (values, _, _) in enumerate(runs) if places[number] < len(values)]
        if not live:
            return
        chunks = {n: runs[n][0][places[n] : places[n] + step] for n in live}
        # All runs are complete up to the least of the last values within reach.
        cut = min(float(chunk[-1]) for chunk in chunks.values())
        parts: list[Floats] = []
        weights: tuple[list[Integers], list[Integers]] = ([], [])
        for number, chunk in chunks.items():
            _, counts, side = runs[number]
            start = places[number]
            stop = start + int(np.searchsorted(chunk, cut, side="right"))
            places[number] = stop
            parts.append(chunk[: stop - start])
            weights[side].append(counts[start:stop])
            weights[1 - side].append(np.zeros(stop - start, np.int64))
        everything = np.concatenate(parts)
        order = np.argsort(everything, kind="stable")
        everything = everything[order]
        starts = np.flatnonzero(np.concatenate(([True], everything[1:] != everything[:-1])))
        yield (
            everything[starts],
            np.add.reduceat(np.concatenate(weights[0])[order], starts),
            np.add.reduceat(np.concatenate(weights[1])[order], starts),
        )
