"""What a plot of a column shows: shares of both sides in bins, or of the most frequent categories."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from dataver.tables.profile import Categories
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.tables.metrics import Points
    from dataver.tables.sketch import Floats

BINS_MAX = 40
BARS_MAX = 10
SLOTS_MAX = 100_000
TAIL = 0.005
"""So large a share of values at either end may be left out of a plot, lest a few take all its width."""


@dataclass(frozen=True, slots=True)
class Outline:
    """Both sides of a column, as shares: of bins of one width, or of each of `labels`.

    `ends` are the values at both ends of the bins, spelled. `outside` are the shares of both sides that lie
    in no bin, or in categories without a label.
    """

    ends: tuple[Any, Any] | None
    labels: tuple[str, ...]
    baseline: tuple[float, ...]
    target: tuple[float, ...]
    outside: tuple[float, float] = (0.0, 0.0)


def of_points(a: Points, b: Points, spell: Callable[[float], Any]) -> Outline | None:
    """Bins of one width; None where the range of floats does not hold them."""
    low = min(_quantile(side, TAIL) for side in (a, b))
    high = max(_quantile(side, 1 - TAIL) for side in (a, b))
    if not np.isfinite(high - low):
        return None
    edges = _edges(a, b, low, high)
    sides = [_shares(side, edges) for side in (a, b)]
    outside = [max(0.0, 1 - float(side.sum())) for side in sides]
    return Outline(
        (spell(low), spell(high)), (),
        tuple(sides[0].tolist()), tuple(sides[1].tolist()),
        (outside[0] if outside[0] > 1e-9 else 0.0, outside[1] if outside[1] > 1e-9 else 0.0),
    )  # fmt: skip


def _edges(a: Points, b: Points, low: float, high: float) -> Floats:
    if low == high:
        half = abs(low) * 0.005 or 0.5
        return np.array([low - half, low + half])
    if a.whole and b.whole:
        # Values that lie evenly, as whole numbers do: as many of them in one bin as in another.
        values = np.unique(np.concatenate([a.values, b.values]))
        steps = np.diff(values[(values >= low) & (values <= high)])
        step = float(steps.min(initial=np.inf))
        if step * SLOTS_MAX >= high - low and np.allclose(steps / step, np.round(steps / step)):
            slots = round((high - low) / step) + 1
            each = -(-slots // BINS_MAX)
            return np.asarray(low - step / 2 + step * each * np.arange(-(-slots // each) + 1))
    return np.linspace(low, high, BINS_MAX + 1)


def _quantile(points: Points, share: float) -> float:
    ranks = np.cumsum(points.shares)
    return float(points.values[min(int(np.searchsorted(ranks, share)), len(points.values) - 1)])


def _shares(points: Points, edges: Floats) -> Floats:
    """What is in each bin: counted where all values are there, else as if they lay evenly between points."""
    if points.whole or len(points.values) < 3:
        found, _ = np.histogram(points.values, edges, weights=points.shares)
        return np.asarray(found, np.float64)
    middles = np.cumsum(points.shares) - points.shares / 2
    return np.diff(np.interp(edges, points.values, middles, left=0.0, right=1.0))


def of_categories(a: Categories, b: Categories, spell: Callable[[Any], str]) -> Outline:
    """The categories of which either side has the largest shares, and all others together."""
    shares = {
        name: (a.counts.get(name, 0) / a.total, b.counts.get(name, 0) / b.total)
        for name in dict.fromkeys([*a.counts, *b.counts])
    }
    largest = sorted(shares, key=lambda name: -max(shares[name]))[:BARS_MAX]
    left = [shares[name][0] for name in largest]
    right = [shares[name][1] for name in largest]
    others = max(0.0, 1 - sum(left)), max(0.0, 1 - sum(right))
    return Outline(
        None, tuple(map(spell, largest)), tuple(left), tuple(right),
        others if max(others) > 1e-9 else (0.0, 0.0),
    )  # fmt: skip
