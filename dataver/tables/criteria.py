"""What is measured of each column, and from where on it counts as drift."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dataver.errors import BadInputError
from dataver.values import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its short name, Azure ML's, what it is for, and its default threshold.

    A `distance` is drift from its threshold on, a probability below it.
    """

    name: str
    azure: str
    numbers: bool
    categories: bool
    threshold: float
    distance: bool = True


METRICS = {
    metric.name: metric
    for metric in (
        Metric("wasserstein", "NormalizedWassersteinDistance", True, False, 0.1),
        Metric("js", "JensenShannonDistance", True, True, 0.1),
        Metric("psi", "PopulationStabilityIndex", True, True, 0.1),
        Metric("ks", "TwoSampleKolmogorovSmirnovTest", True, False, 0.1),
        Metric("chi2", "PearsonsChiSquaredTest", False, True, 0.05, distance=False),
    )
}
AUTO = "auto"
MISSING = "missing"
"""How far the share of rows without a value (null, NaN, infinite) moved; it always counts."""
MISSING_THRESHOLD = 0.1


@dataclass(frozen=True, slots=True)
class Criteria:
    """The metrics of numbers and those of categories, and all thresholds, by short names."""

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    thresholds: Mapping[str, float]

    def to_json(self) -> dict[str, float]:
        """The thresholds by the names that documents have: Azure ML's, and `"missing"`."""
        return {azure_name(name): value for name, value in self.thresholds.items()}


def azure_name(name: str) -> str:
    """What a metric is called in documents."""
    return METRICS[name].azure if name in METRICS else name


def short_name(azure: str) -> str:
    """The other way round."""
    return next((metric.name for metric in METRICS.values() if metric.azure == azure), azure)


def is_distance(azure: str) -> bool:
    """Whether this one's threshold is of its figure; else it is of the probability that belongs to that."""
    metric = METRICS.get(short_name(azure))
    return metric is None or metric.distance


def make_criteria(
    metrics: Sequence[str] | str = AUTO, thresholds: Mapping[str, float] | float | None = None
) -> Criteria:
    """Metrics by their short names, Azure ML's, or `auto`; thresholds by the same names, or one number.

    That is for all distances. `auto` is the Wasserstein distance for numbers, and the Jensen-Shannon
    distance for categories. `BadInputError` for what is no metric, and for a threshold that is none or
    of nothing measured.
    """
    asked = [metrics] if isinstance(metrics, str) else list(metrics)
    if not asked:
        raise BadInputError(f"no metric was named; there are {_known()}")
    numbers: list[str] = []
    categories: list[str] = []
    for name in asked:
        if name == AUTO:
            numbers.append("wasserstein")
            categories.append("js")
            continue
        metric = METRICS[_short(name)]
        numbers += [metric.name] * metric.numbers
        categories += [metric.name] * metric.categories
    used = dict.fromkeys([*numbers, *categories])
    found = {name: METRICS[name].threshold for name in used} | {MISSING: MISSING_THRESHOLD}
    if isinstance(thresholds, Mapping):
        for name, value in thresholds.items():
            short = name if name == MISSING else _short(name)
            if short not in found:
                raise BadInputError(f"the threshold {name}={value} is of a metric that is not measured")
            found[short] = _checked(value, short)
    elif thresholds is not None:
        distances = [name for name in used if METRICS[name].distance]
        if not distances:
            raise BadInputError(f"the threshold {thresholds} is for distances, and none is measured")
        found |= {name: _checked(thresholds, name) for name in distances}
    return Criteria(tuple(dict.fromkeys(numbers)), tuple(dict.fromkeys(categories)), found)


def _short(name: str) -> str:
    for metric in METRICS.values():
        if name in (metric.name, metric.azure):
            return metric.name
    raise BadInputError(f"{name!r:.100} is no metric; there are {_known()}")


def _known() -> str:
    return ", ".join([AUTO, *METRICS])


def _checked(value: float, name: str) -> float:
    most = math.inf if name in METRICS and METRICS[name].distance else 1
    if not 0 <= value <= most or math.isinf(value):
        limits = "from 0 to 1" if most == 1 else "of 0 or more"
        raise BadInputError(f"the threshold of {name} is a number {limits}, not {value!r:.100}")
    return float(value)
