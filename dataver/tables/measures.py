"""The figures of one column: each metric, with what it can be off by, or why there is none."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from dataver.format.table_statistics import Value
from dataver.tables import metrics
from dataver.tables.criteria import METRICS, MISSING, Criteria, azure_name
from dataver.tables.metrics import Points, Walk
from dataver.tables.ordered import joint
from dataver.tables.probabilities import chi_square_tail, kolmogorov_tail
from dataver.tables.profile import Categories, Numbers, Profile
from dataver.values import NamedTuple, dataclass

_TOO_ROUGH = "statistics leave too much open; --exact reads the rows"
PROBABILITY_ROWS = 10_000
"""With so many rows each difference is significant: Kolmogorov-Smirnov distances get no probability."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a column. `metric` is Azure ML's name of it, or `missing`; None stands for no figure.

    The true figure is no more than `error` from `value`. `p_value` is the probability of so large a
    difference without drift, where it is known. `drifted` is decided by the threshold, and `certain`
    where no figure within the error would decide otherwise; where it might, and the error is no less
    than the threshold, nothing is decided. `reason` says why there is no figure, or no decision.
    """

    metric: str
    threshold: float
    value: float | None = None
    error: float = 0.0
    p_value: float | None = None
    drifted: bool | None = None
    certain: bool = True
    reason: str = ""

    def to_json(self) -> dict[str, object]:
        """`{"metric", "value", "error", "p_value", "threshold", "drift", "certain", "reason"}`."""
        value = self.value if self.value is None or math.isfinite(self.value) else str(self.value)
        return {
            "metric": self.metric,
            "value": value,
            "error": self.error,
            "p_value": self.p_value,
            "threshold": self.threshold,
            "drift": self.drifted,
            "certain": self.certain,
            "reason": self.reason or None,
        }


class Measured(NamedTuple):
    """The figures of a column, and points of both distributions where they are numbers."""

    measures: list[Measure]
    points: tuple[Points, Points] | None


def missing(a: Profile, b: Profile, threshold: float) -> Measure:
    """How far the share of rows without a value moved."""
    shares = [side.share(side.rows - side.present) for side in (a, b)]
    if shares[0] is None or shares[1] is None:
        return Measure(MISSING, threshold, reason="a side has no rows")
    return _decided(MISSING, threshold, abs(shares[1] - shares[0]))


def of_numbers(a: Profile, b: Profile, criteria: Criteria) -> Measured:
    """The metrics of two distributions of numbers."""
    assert a.numbers is not None
    assert b.numbers is not None
    sides = a.numbers, b.numbers
    edges = metrics.bin_edges(
        min(side.low for side in sides), max(side.high for side in sides), min(side.total for side in sides)
    )
    totals = sides[0].total, sides[1].total
    walked = metrics.walk(joint(sides[0].runs, sides[1].runs), totals, edges)
    few_rows = max(a.rows, b.rows) < PROBABILITY_ROWS
    found = []
    for name in criteria.numbers:
        threshold = criteria.thresholds[name]
        if name == "wasserstein":
            found.append(_wasserstein(sides, walked, threshold))
        elif name == "ks":
            found.append(_kolmogorov(sides, walked, threshold, few_rows))
        else:
            counts = walked.a_counts, walked.b_counts
            both = [(c, *metrics.count_bounds(c, s.error)) for c, s in zip(counts, sides, strict=True)]
            if name == "psi":
                interval = metrics.stability(both[0], both[1], totals)
            else:
                shares = [tuple(part / t for part in side) for side, t in zip(both, totals, strict=True)]
                interval = metrics.jensen_shannon(*shares)  # type: ignore[arg-type]
            found.append(_decided(name, threshold, interval.value, interval.error))
    return Measured(found, (walked.a_points, walked.b_points))


def _wasserstein(sides: tuple[Numbers, Numbers], walked: Walk, threshold: float) -> Measure:
    base = sides[0].std
    stds = [side.std for side in sides if side.error] + [base]
    if None in stds or not math.isfinite(walked.wasserstein) or base is None:
        reason = "its values are so large that the range of floats does not hold their squares"
        return Measure(azure_name("wasserstein"), threshold, reason=reason)
    norm = max(base, metrics.STD_LEAST)
    bound = 0.0
    for side in sides:
        if side.error:
            [run] = side.runs
            assert side.mean is not None
            assert side.std is not None
            bound += metrics.wasserstein_bound(run, side.error, (side.low, side.high), side.mean, side.std)
    return _decided("wasserstein", threshold, walked.wasserstein / norm, bound / norm)


def _kolmogorov(sides: tuple[Numbers, Numbers], walked: Walk, threshold: float, few_rows: bool) -> Measure:
    error = sum(side.error / side.total for side in sides)
    p_value = None
    if few_rows and not error:
        p_value = kolmogorov_tail(walked.kolmogorov, sides[0].total, sides[1].total)
    error = min(error, max(walked.kolmogorov, 1 - walked.kolmogorov))
    return _decided("ks", threshold, walked.kolmogorov, error, p_value)


def of_categories(a: Categories, b: Categories, criteria: Criteria) -> list[Measure]:
    """The metrics of two distributions of categories."""
    names: list[Value] = list(dict.fromkeys([*a.counts, *b.counts]))
    sides = [np.array([side.counts.get(name, 0) for name in names], np.int64) for side in (a, b)]
    complete = a.complete and b.complete
    found = []
    for name in criteria.categories:
        threshold = criteria.thresholds[name]
        if name == "js":
            shares = [
                metrics.category_shares(counts, side.missed, side.total)
                for counts, side in zip(sides, (a, b), strict=True)
            ]
            interval = metrics.jensen_shannon_of_known(shares[0], shares[1])
            error = 0.0 if complete else interval.error
            found.append(_decided(name, threshold, interval.value, error))
        elif not complete:
            reason = _TOO_ROUGH
            found.append(Measure(azure_name(name), threshold, reason=reason))
        elif name == "psi":
            both = [(counts, counts, counts) for counts in sides]
            interval = metrics.stability(both[0], both[1], (a.total, b.total))
            found.append(_decided(name, threshold, interval.value))
        else:
            statistic = metrics.chi_square(sides[0], sides[1])
            p_value = chi_square_tail(statistic, len(names) - 1)
            found.append(_decided(name, threshold, statistic, p_value=p_value))
    return found


def none(names: tuple[str, ...], criteria: Criteria, reason: str) -> Iterator[Measure]:
    """That these metrics have no figure."""
    return (Measure(azure_name(name), criteria.thresholds[name], reason=reason) for name in names)


def _decided(
    name: str, threshold: float, value: float, error: float = 0.0, p_value: float | None = None
) -> Measure:
    if name in METRICS and not METRICS[name].distance:
        assert p_value is not None
        return Measure(azure_name(name), threshold, value, error, p_value, p_value < threshold)
    drifted = value >= threshold
    certain = value - error >= threshold if drifted else value + error < threshold
    if certain or error < threshold:
        return Measure(azure_name(name), threshold, value, error, p_value, drifted, certain)
    return Measure(azure_name(name), threshold, value, error, p_value, None, False, _TOO_ROUGH)
