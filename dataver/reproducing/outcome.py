"""Whether a run that was repeated gave the same: models and versions by digest, metrics within bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dataver.format.run_record import RunRecord
from dataver.reproducing.differences import models, outputs
from dataver.values import dataclass

__all__ = ["DIFFERENT", "EQUAL", "WITHIN", "Result", "results_of", "verdict"]

EQUAL, WITHIN, DIFFERENT = "equal", "within tolerance", "different"


@dataclass(frozen=True, slots=True)
class Result:
    """One result of both runs: `kind` is model, output or metric, `state` one of the three words.

    `tolerance` is the relative one that was given for a metric, else None.
    """

    kind: str
    name: str
    before: Any
    after: Any
    state: str
    tolerance: float | None = None

    def to_json(self) -> dict[str, Any]:
        """`{"kind", "name", "before", "after", "state", "tolerance"}`."""
        return {
            "kind": self.kind,
            "name": self.name,
            "before": self.before,
            "after": self.after,
            "state": self.state,
            "tolerance": self.tolerance,
        }


def results_of(a: RunRecord, b: RunRecord, tolerances: Mapping[str, float]) -> list[Result]:
    """Each result of the first run beside that of the second, None where that has none."""
    trees = {name: model.tree for name, model in models(a).items()}
    again = {name: model.tree for name, model in models(b).items()}
    found = [_exact("model", name, tree, again.get(name)) for name, tree in trees.items()]
    made = outputs(b)
    found += [_exact("output", name, tree, made.get(name)) for name, tree in outputs(a).items()]
    for name, value in a.metrics.items():
        found.append(_metric(name, value, b.metrics.get(name), tolerances.get(name)))
    return found


def verdict(results: Sequence[Result]) -> str:
    """All together. What has bytes decides; where that differs, the metrics that were given a tolerance do.

    A run without models and outputs is as equal as its metrics are.
    """
    exact = [result for result in results if result.kind != "metric"]
    metrics = [result for result in results if result.kind == "metric"]
    if exact and all(result.state == EQUAL for result in exact):
        return EQUAL
    asked = [result for result in metrics if result.tolerance is not None]
    deciding = asked if exact else metrics
    if not deciding or any(result.state == DIFFERENT for result in deciding):
        return DIFFERENT
    return WITHIN if exact or any(result.state == WITHIN for result in deciding) else EQUAL


def _exact(kind: str, name: str, before: str, after: str | None) -> Result:
    return Result(kind, name, before, after, EQUAL if before == after else DIFFERENT)


def _metric(name: str, before: Any, after: Any, tolerance: float | None) -> Result:
    if before == after:
        return Result("metric", name, before, after, EQUAL, tolerance)
    near = tolerance is not None and _is_near(before, after, tolerance)
    return Result("metric", name, before, after, WITHIN if near else DIFFERENT, tolerance)


def _is_near(before: Any, after: Any, tolerance: float) -> bool:
    # A metric may be the text nan, inf or -inf, which is near to itself alone.
    if not (isinstance(before, int | float) and isinstance(after, int | float)):
        return False
    return math.isinf(tolerance) or abs(after - before) <= tolerance * abs(before)
