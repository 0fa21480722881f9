"""What is kept of a column's values: points of its distribution, registers, frequent values, moments.

Everything here is deterministic, bounded in size and mergeable: the same values in the same batches
give the same bytes, and what several files give together differs from what one file with all
values gives by no more than the stated error. Nothing draws random numbers.

**Quantiles.** A batch of N sorted values is replaced by at most K of them, those in the middle of K
equal shares, each with the weight of its share. That moves the rank of any x by N / 2K + 1 at most.
Summaries of equally many batches are joined two and two, so that a value takes part in about
log2(batches) such steps; each sketch adds up what its own steps can have cost and carries the sum as
`error`. Equal values are one point, so a column of at most K distinct values is exact. With n the
values and e the error, e / n bounds the Kolmogorov-Smirnov distance to the true distribution, hence
what two sketches make of it is off by the sum of both; the Wasserstein distance is off by e / n times
the range at most, and far less where the tails are thin.

**Registers.** HyperLogLog: the hash's low bits choose a register, its upper 52 bits are looked at for
leading zeros, so registers of a longer sketch fold into those of a shorter one. The standard error is
1.04 / sqrt(registers): 1.6 % for 4,096. Few values are counted nearly exactly.

**Frequent values.** Counts of the most frequent values of each batch, of which the most frequent are
kept. Each time some are dropped, the largest count among them is added to `missed`, which bounds
what any count lacks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from heapq import nlargest
from typing import TYPE_CHECKING

import numpy as np

from dataver.format.table_statistics import POINTS_MAX, TOPS_MAX, Quantiles, TopValues, Value
from dataver.values import NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Hashes = NDArray[np.uint64]

_ROOM = 4
"""While values come in, so many times more points are held: then the last step costs the most."""


class Detail(NamedTuple):
    """How much is kept of each column: points, registers, and frequent values."""

    points: int
    registers: int
    tops: int


FULL = Detail(POINTS_MAX, 4096, TOPS_MAX)
REDUCED = Detail(128, 1024, 32)
NOTHING = Detail(0, 0, 0)


def detail_for(columns: int) -> Detail:
    """What a table of so many leaf columns can have in one record."""
    if columns <= 200:
        return FULL
    return REDUCED if columns <= 1000 else NOTHING


# Quantiles


class _Summary(NamedTuple):
    values: Floats
    weights: Integers
    error: int


class QuantileBuilder:
    """Takes batches of values, gives points."""

    def __init__(self, points: int) -> None:
        self._points = points
        self._levels: list[_Summary | None] = []

    def add(self, values: Floats, counts: Integers) -> None:
        """Take in distinct finite values in ascending order, and how often each occurs."""
        if not self._points or not len(values):
            return
        summary = _reduced(_Summary(values, counts, 0), _ROOM * self._points)
        for level, other in enumerate(self._levels):
            if other is None:
                self._levels[level] = summary
                return
            self._levels[level] = None
            summary = _reduced(_joined([other, summary]), _ROOM * self._points)
        self._levels.append(summary)

    def finish(self) -> Quantiles:
        """The points of everything taken in."""
        return _finished([level for level in self._levels if level is not None], self._points)


def merge_quantiles(parts: Sequence[Quantiles], points: int) -> Quantiles:
    """The points of several columns as one. In whatever order they stand, the result is the same."""
    summaries = [
        _Summary(np.array(part.values, np.float64), np.array(part.weights, np.int64), part.error)
        for part in parts
    ]
    return _finished(summaries, points)


def _finished(summaries: list[_Summary], points: int) -> Quantiles:
    if not summaries or not points:
        return Quantiles()
    values, weights, error = _reduced(_joined(summaries), points)
    return Quantiles(tuple(values.tolist()), tuple(weights.tolist()), error)


def _joined(parts: list[_Summary]) -> _Summary:
    values = np.concatenate([part.values for part in parts])
    weights = np.concatenate([part.weights for part in parts])
    order = np.argsort(values, kind="stable")
    return _Summary(*collapse(values[order], weights[order]), sum(part.error for part in parts))


def collapse(values: Floats, weights: Integers) -> tuple[Floats, Integers]:
    """Neighbours that are equal as one, with the weight of all."""
    if len(values) < 2:
        return values, weights
    starts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
    return values[starts], np.add.reduceat(weights, starts)


def _reduced(summary: _Summary, points: int) -> _Summary:
    values, weights = collapse(summary.values, summary.weights)
    if len(values) <= points:
        return _Summary(values, weights, summary.error)
    ranks = np.cumsum(weights)
    total = int(ranks[-1])
    shares = np.arange(points + 1, dtype=np.int64)
    ends = shares * (total // points) + shares * (total % points) // points
    middles = (ends[:-1] + ends[1:]) // 2
    picked = np.searchsorted(ranks, middles, side="right")
    values, weights = collapse(values[picked], np.diff(ends))
    return _Summary(values, weights, summary.error + total // (2 * points) + 1)


def quantile(points: Quantiles, share: float) -> float | None:
    """The value below which about this share (0 to 1) of the values lies."""
    if not points.values:
        return None
    ranks = np.cumsum(np.array(points.weights, np.int64))
    place = int(np.searchsorted(ranks, share * int(ranks[-1]), side="left"))
    return points.values[min(place, len(points.values) - 1)]


# Registers


def hash_integers(values: Hashes) -> Hashes:
    """A hash of each 64-bit pattern: the finalizer of splitmix64."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


class RegisterBuilder:
    """Takes hashes, gives registers."""

    def __init__(self, registers: int) -> None:
        self._registers = np.zeros(registers, np.uint8)

    def add(self, hashes: Hashes) -> None:
        """Take in hashes; it makes no difference how often the same one comes."""
        if not len(self._registers):
            return
        places = (hashes & np.uint64(len(self._registers) - 1)).astype(np.int64)
        # 52 bits are exact in a float, whose exponent says how many of them are used.
        _, used = np.frexp((hashes >> np.uint64(12)).astype(np.float64))
        ranks = (53 - used).astype(np.uint8)
        larger = ranks > self._registers[places]
        np.maximum.at(self._registers, places[larger], ranks[larger])

    def finish(self) -> bytes:
        """One byte a register."""
        return self._registers.tobytes()


def merge_registers(parts: Iterable[bytes]) -> bytes:
    """The registers of several columns as one: those of the shortest, or none where one has none."""
    arrays = [np.frombuffer(part, np.uint8) for part in parts]
    size = min(map(len, arrays), default=0)
    if not size:
        return b""
    folded = [array.reshape(-1, size).max(axis=0) for array in arrays]
    return bytes(np.max(folded, axis=0))


def distinct(registers: bytes) -> int | None:
    """About how many distinct values the registers saw; None where there are none."""
    if not registers:
        return None
    ranks = np.frombuffer(registers, np.uint8)
    size, empty = len(ranks), int(np.count_nonzero(ranks == 0))
    raw = 0.7213 / (1 + 1.079 / size) * size * size / float(np.exp2(-ranks.astype(np.float64)).sum())
    if raw <= 2.5 * size and empty:
        return round(size * math.log(size / empty))
    return round(raw)


# Frequent values


class TopBuilder:
    """Takes counted values, gives the most frequent ones."""

    def __init__(self, tops: int) -> None:
        self._tops = tops
        self._counts: dict[Value, int] = {}
        self._missed = 0

    def add(self, values: Sequence[Value], counts: Sequence[int]) -> None:
        """Take in distinct values, each with its count; none twice in one call."""
        for value, count in zip(values, counts, strict=True):
            self._counts[value] = self._counts.get(value, 0) + count
        if len(self._counts) > 2 * self._tops:
            self._drop()

    def miss(self, count: int) -> None:
        """Say that values were left out of a call, none of which occurs more often."""
        self._missed += count

    def select(self, counts: Integers) -> Integers:
        """Which of a batch's distinct values are worth adding; the others are noted as missed."""
        if len(counts) <= self._tops:
            return np.arange(len(counts))
        largest = np.partition(counts, len(counts) - self._tops - 1)
        bar = int(largest[len(counts) - self._tops - 1])
        self._missed += bar
        return np.flatnonzero(counts > bar)

    def _drop(self) -> None:
        counts = sorted(self._counts.values(), reverse=True)
        if len(counts) > self._tops:
            bar = counts[self._tops]
            self._missed += bar
            self._counts = {value: count for value, count in self._counts.items() if count > bar}

    def finish(self) -> TopValues:
        """The most frequent values; equally frequent ones stand in the order of their spelling."""
        if not self._tops:
            return TopValues()
        self._drop()
        counts = nlargest(self._tops, self._counts.items(), key=lambda item: item[1])
        return TopValues(tuple(sorted(counts, key=lambda item: (-item[1], repr(item[0])))), self._missed)


def merge_tops(parts: Sequence[TopValues], tops: int) -> TopValues:
    """The most frequent values of several columns as one."""
    totals: dict[Value, int] = {}
    for part in parts:
        for value, count in part.counts:
            totals[value] = totals.get(value, 0) + count
    builder = TopBuilder(tops)
    builder.miss(sum(part.missed for part in parts))
    builder.add(list(totals), list(totals.values()))
    return builder.finish()


# Moments


class Moments(NamedTuple):
    """How many values, their mean, and the sum of their squared distances from it; None: out of range."""

    total: int = 0
    mean: float | None = None
    squares: float | None = None


def moments(values: Floats, counts: Integers) -> Moments:
    """Of finite values, each so many times."""
    total = int(counts.sum())
    if not total:
        return Moments()
    with np.errstate(over="ignore", invalid="ignore"):
        # Halves add up where wholes would leave the range of floats.
        mean = float(((values * (counts / total)) / 2).sum()) * 2
        squares = float((counts * (values - mean) ** 2).sum())
    return _checked(total, mean, squares)


def merge_moments(parts: Iterable[Moments]) -> Moments:
    """Of several sets of values as one."""
    found = Moments()
    for part in parts:
        found = _two(found, part)
    return found


def _two(a: Moments, b: Moments) -> Moments:
    if not a.total or not b.total:
        return a if a.total else b
    count = a.total + b.total
    if a.mean is None or b.mean is None or a.squares is None or b.squares is None:
        return Moments(count)
    share, apart = b.total / count, b.mean - a.mean
    mean = a.mean + apart * share
    if math.isinf(apart):
        return Moments(count)
    try:
        squares = a.squares + b.squares + apart**2 * (a.total * share)
    except OverflowError:
        return Moments(count)
    return _checked(count, mean, squares)


def _checked(count: int, mean: float, squares: float) -> Moments:
    if not (math.isfinite(mean) and math.isfinite(squares)):
        return Moments(count)
    return Moments(count, mean, squares)
