"""Distances between two distributions, and what each can be off by where only sketches are known.

Definitions are those of Azure ML's model monitoring, save that the standard deviation has the number of
values as divisor. Numbers: the Wasserstein distance over the baseline's standard deviation, the
Kolmogorov-Smirnov distance, and Jensen-Shannon distance (base 2) and population stability index (each
count one more) of bins of one width. Categories: the latter two, and Pearson's chi-square.

**Bounds.** A sketch moves the rank of no value by more than its error, and knows the least and the
greatest value, the mean and the standard deviation exactly. So the share of values below any x is in an
interval, and so is that of every bin; and how far both distributions may lie apart at x is bounded
by the error, and far from the mean by Cantelli's inequality, too. Terms that sum up to a divergence grow
with the distance of their shares, so that intervals of shares give an interval of each term.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from dataver.format.table_statistics import POINTS_MAX
from dataver.values import NamedTuple

if TYPE_CHECKING:
    from dataver.tables.ordered import Block, Run
    from dataver.tables.sketch import Floats, Integers

    Term = Callable[[Floats, Floats], Floats]

STD_LEAST = 0.001
"""Azure ML divides by no less."""


class Interval(NamedTuple):
    """A figure, and where it truly is: from `low` to `high`."""

    value: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """By how much the value is off at most."""
        return max(self.value - self.low, self.high - self.value, 0.0)


class Points(NamedTuple):
    """Values, and the share of all that stands at each; `whole` where these are all, no samples."""

    values: Floats
    shares: Floats
    whole: bool


class Walk(NamedTuple):
    """What one walk over the values of two sides finds; counts are of bins."""

    wasserstein: float
    kolmogorov: float
    a_counts: Integers
    b_counts: Integers
    a_points: Points
    b_points: Points


def walk(blocks: Iterable[Block], totals: tuple[int, int], edges: Floats) -> Walk:
    """Go over the values of both sides in ascending order, of which there are `totals`.

    The last bin has its upper edge, too, as numpy's histograms have it.
    """
    ranks = [0, 0]
    last: float | None = None
    apart = wasserstein = kolmogorov = 0.0
    below_edges = np.zeros((2, len(edges) - 2), np.int64)
    picked: tuple[_Picker, _Picker] = (_Picker(totals[0]), _Picker(totals[1]))
    for values, *weights in blocks:
        below = []
        places = np.searchsorted(values, edges[1:-1], side="left")
        for side, weight in enumerate(weights):
            sums = np.cumsum(weight)
            below_edges[side] += np.concatenate([[0], sums])[places]
            below.append(ranks[side] + sums)
            picked[side].pick(values, below[side], weight)
            ranks[side] = int(below[side][-1])
        gaps = np.abs(below[0] / totals[0] - below[1] / totals[1])
        if last is not None:
            wasserstein += apart * (float(values[0]) - last)
        with np.errstate(over="ignore", invalid="ignore"):
            wasserstein += float((gaps[:-1] * np.diff(values)).sum())
        kolmogorov = max(kolmogorov, float(gaps.max()))
        last, apart = float(values[-1]), float(gaps[-1])
    a_counts, b_counts = (
        np.diff(np.concatenate([[0], below_edges[side], [totals[side]]])) for side in (0, 1)
    )
    return Walk(wasserstein, kolmogorov, a_counts, b_counts, picked[0].finish(), picked[1].finish())


class _Picker:
    """Keeps all values of one side where they are few, else those in the middle of equal shares."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._all: list[tuple[Floats, Integers]] | None = []
        self._middles = ((np.arange(POINTS_MAX) + 0.5) * (total / POINTS_MAX)).astype(np.int64)
        self._place = 0
        self._found: list[Floats] = []

    def pick(self, values: Floats, ranks: Integers, counts: Integers) -> None:
        if self._all is not None:
            here = np.flatnonzero(counts)
            self._all.append((values[here], counts[here]))
            if sum(len(part) for part, _ in self._all) > POINTS_MAX:
                self._all = None
        stop = int(np.searchsorted(self._middles, ranks[-1], side="left"))
        wanted = self._middles[self._place : stop]
        self._found.append(values[np.searchsorted(ranks, wanted, side="right")])
        self._place = stop

    def finish(self) -> Points:
        if self._all is not None:
            values = np.concatenate([part for part, _ in self._all])
            return Points(values, np.concatenate([part for _, part in self._all]) / self._total, True)
        values, counts = np.unique(np.concatenate(self._found), return_counts=True)
        return Points(values, counts / int(counts.sum()), False)


def bin_edges(low: float, high: float, smaller: int) -> Floats:
    """The edges of bins of one width for two sides, the smaller of which has so many values."""
    if low == high:
        half = abs(low) * 0.005 or 0.005
        return np.array([low - half, low + half])
    bins = math.ceil(math.log2(max(smaller, 1)) + 1)
    steps = np.arange(bins + 1)
    if math.isinf(high - low):
        edges = np.asarray(low * (1 - steps / bins) + high * (steps / bins), np.float64)
    else:
        edges = np.asarray(low + steps * ((high - low) / bins), np.float64)
    edges[-1] = high
    return edges


# Bounds


def wasserstein_bound(run: Run, error: int, ends: tuple[float, float], mean: float, std: float) -> float:
    """How far the values may be from their sketch, as a Wasserstein distance.

    Both distributions are looked at as shares beyond a distance from the mean: those at or below x on
    its left, those above x on its right. They are `error` values apart at most, and the true one is
    bounded by Cantelli's inequality. Besides, twice the distance times the share, summed up over both
    sides, is the variance. What the least shares leave over of it is all by which the true ones can exceed
    them; so far out, where a share counts much, they exceed them by little.
    """
    values, counts = run
    total = int(counts.sum())
    low, high = ends
    if not error or low >= high:
        return 0.0
    share = error / total
    steps = std * np.exp2(np.arange(-16, 120) / 2)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        grid = np.concatenate([[low, mean, high], values, mean - steps, mean + steps])
        grid = np.unique(np.clip(grid, low, high))
        below = np.concatenate([[0], np.cumsum(counts)])[np.searchsorted(values, grid[:-1], side="right")]
        left = grid[1:] <= mean
        told = np.where(left, below, total - below) / total
        near = np.where(left, mean - grid[1:], grid[:-1] - mean).clip(0)
        widths = np.diff(grid)
        cantelli = np.where(near > 0, 1 / (1 + (near / std) ** 2), 1.0) if std else (near <= 0) * 1.0
        most = np.minimum(share, np.maximum(told, cantelli)) * widths
        least = np.maximum(told - share, 0)
        spare = max(0.0, std**2 - float((least * ((near + widths) ** 2 - near**2)).sum()))
        order = np.argsort(near, kind="stable")
        nearer = np.concatenate([[0.0], np.cumsum(most[order])])
        missed = (np.minimum(told, share) * widths)[order]
        farther = np.concatenate([np.cumsum(missed[::-1])[::-1], [0.0]])
        limits = nearer[:-1] + spare / (2 * near[order]) + farther[:-1]
    return float(np.nanmin(np.append(limits, nearer[-1])))


def count_bounds(counts: Integers, error: int) -> tuple[Integers, Integers]:
    """Between what and what the count of each bin is, where the ranks of edges are off by `error` at most."""
    total = int(counts.sum())
    ranks = np.concatenate([[0], np.cumsum(counts)])
    least, most = np.maximum(ranks - error, 0), np.minimum(ranks + error, total)
    least[0] = most[0] = 0
    least[-1] = most[-1] = total
    return np.maximum(least[1:] - most[:-1], 0), most[1:] - least[:-1]


Shares = tuple[Any, Any, Any]
"""Shares of categories or bins: as they are told, the least and the most that they can be."""


def between(term: Term, a: Shares, b: Shares) -> tuple[float, float, float]:
    """The sum of a term over all shares, and the least and the most that it can be."""
    value = float(term(a[0], b[0]).sum())
    most = np.maximum.reduce([term(p, q) for p in a[1:] for q in b[1:]])
    # Where the intervals share a value, the term may be 0; else it is least where they are nearest.
    nearest = np.where(a[2] < b[1], term(a[2], b[1]), np.where(b[2] < a[1], term(a[1], b[2]), 0.0))
    return value, float(nearest.sum()), float(most.sum())


def jensen_term(p: Floats, q: Floats) -> Floats:
    """What two shares add to the square of the Jensen-Shannon distance, base 2."""
    both = p + q
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(p > 0, p * np.log2(2 * p / both), 0.0)
        right = np.where(q > 0, q * np.log2(2 * q / both), 0.0)
    return np.maximum((left + right) / 2, 0.0)


def stability_term(p: Floats, q: Floats) -> Floats:
    """What two shares add to the population stability index."""
    found: Floats = (q - p) * np.log(q / p)
    return found


def jensen_shannon(a: Shares, b: Shares) -> Interval:
    """The Jensen-Shannon distance of shares that sum up to 1: from 0 to 1."""
    value, low, high = (math.sqrt(max(part, 0.0)) for part in between(jensen_term, a, b))
    return Interval(value, low, min(high, 1.0))


def stability(a: Shares, b: Shares, totals: tuple[int, int]) -> Interval:
    """The population stability index of counts: one is added to each, and nothing to the totals."""
    sides = [tuple((part + 1) / total for part in side) for side, total in zip((a, b), totals, strict=True)]
    return Interval(*between(stability_term, sides[0], sides[1]))


def chi_square(baseline: Integers, target: Integers) -> float:
    """Pearson's statistic of the target's counts, where the baseline's shares are expected."""
    expected = baseline * (int(target.sum()) / int(baseline.sum()))
    with np.errstate(divide="ignore"):
        return float(((target - expected) ** 2 / expected).sum())


# Categories of which only the most frequent are known


def category_shares(counts: Integers, missed: int, total: int) -> Shares:
    """Shares of categories, and as the last one that of all others together.

    A count lacks `missed` at most, and is 0 for a category that the other side alone lists.
    """
    most, others = counts + missed, total - int(counts.sum())
    least_others = max(0, total - int(most.sum()))
    return (
        np.append(counts, others) / total,
        np.append(counts, least_others) / total,
        np.minimum(np.append(most, others) / total, 1.0),
    )


def jensen_shannon_of_known(a: Shares, b: Shares) -> Interval:
    """The Jensen-Shannon distance, where the last share of both sides is of unlisted categories.

    Together these are no further apart than one by one, and one by one no further than where none is on
    both sides. So the first is the least, the second the most.
    """
    value, low, _ = between(jensen_term, a, b)
    named: list[Shares] = [tuple(part[:-1] for part in side) for side in (a, b)]
    high = between(jensen_term, *named)[2] + float(a[2][-1] + b[2][-1]) / 2
    return Interval(math.sqrt(max(value, 0.0)), math.sqrt(max(low, 0.0)), min(math.sqrt(high), 1.0))
