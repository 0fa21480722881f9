"""What drift looks at in a column, whether it comes from statistics or from the rows.

Columns are of one family where their values can be compared: numbers of all sorts; dates and
timestamps; times of day; durations; texts; bytes; truth values. Times of all sorts are seconds here,
so that columns of different units compare. Texts, bytes and truth values are categories, all
others numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dataver.format.table_statistics import Value
from dataver.tables.view import TICKS_A_SECOND, UNIT, TableColumn
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.tables.ordered import Run

NUMBER, MOMENT, TIME, DURATION, TEXT, BYTES, TRUTH = (
    *("number", "moment", "time", "duration"),
    *("text", "bytes", "truth"),
)
NUMBERS = frozenset({NUMBER, MOMENT, TIME, DURATION})
CATEGORIES = frozenset({TEXT, BYTES, TRUTH})
NOTHING = "null"
"""The family of a column without a type: it may be of any, as it has no values."""

_FAMILIES = {
    NUMBER: ("int", "uint", "float", "halffloat", "double", "decimal"),
    MOMENT: ("date32", "date64", "timestamp"),
    TIME: ("time32", "time64"),
    DURATION: ("duration",),
    TEXT: ("string", "large_string", "string_view"),
    BYTES: ("binary", "large_binary", "binary_view", "fixed_size_binary"),
    TRUTH: ("bool",),
    NOTHING: ("null",),
}
_DAY_SECONDS = 86_400


def family(kind: str) -> str | None:
    """The family of a type by Arrow's name of it; None where nothing is compared."""
    plain = kind.partition("[")[0].partition("(")[0]
    for found, names in _FAMILIES.items():
        if plain in names or (found == NUMBER and plain.rstrip("0123456789") in names):
            return found
    return None


def to_seconds(values: Any, kind: str) -> Any:
    """Numbers of a type's unit as what is compared: seconds for times, as they are for all others."""
    if kind.startswith("date32"):
        return values * float(_DAY_SECONDS)
    if kind.startswith("date64"):
        return values / 1000.0
    return values / float(_ticks(kind))


def from_seconds(value: float, kind: str) -> float:
    """The other way round."""
    if kind.startswith("date32"):
        return value / _DAY_SECONDS
    return value * (1000 if kind.startswith("date64") else _ticks(kind))


def _ticks(kind: str) -> int:
    unit = UNIT.search(kind) if family(kind) in (MOMENT, TIME, DURATION) else None
    return TICKS_A_SECOND[unit[1]] if unit else 1


@dataclass(frozen=True, slots=True)
class Numbers:
    """A distribution of finite numbers. The rank of none is off by more than `error` of them.

    `runs` are values in ascending order with their counts; `mean` and `std` None where they are out of
    the range of floats.
    """

    total: int
    low: float
    high: float
    mean: float | None
    std: float | None
    error: int
    runs: Sequence[Run]


@dataclass(frozen=True, slots=True)
class Categories:
    """How often categories occur. A count lacks `missed` at most, and others may be left out."""

    total: int
    counts: Mapping[Value, int]
    missed: int

    @property
    def complete(self) -> bool:
        """Whether all are there, counted exactly."""
        return not self.missed and sum(self.counts.values()) == self.total


@dataclass(frozen=True, slots=True)
class Profile:
    """A leaf column of one side. `rows` are its values, null or not.

    `min` and `max` are of finite numbers, in the type's unit. `reason` says why there is neither a
    distribution of numbers nor one of categories; there is none without a value either.
    """

    name: str
    type: str
    rows: int
    nulls: int
    nan: int = 0
    negative_infinities: int = 0
    positive_infinities: int = 0
    min: Value = None
    max: Value = None
    numbers: Numbers | None = None
    categories: Categories | None = None
    reason: str = ""

    @property
    def present(self) -> int:
        """Values that are neither null nor NaN nor infinite."""
        return self.rows - self.nulls - self.nan - self.negative_infinities - self.positive_infinities

    def share(self, count: int) -> float | None:
        """A count as a share of the rows; None without rows."""
        return count / self.rows if self.rows else None


def of_statistics(column: TableColumn) -> Profile:
    """A column by its statistics."""
    kept = column.kept
    kind = family(column.type)
    numbers = categories = None
    reason = column.reason
    if not reason and column.finite:
        if kind in NUMBERS:
            numbers = _numbers(column)
            reason = (
                "" if numbers else "statistics of so wide a table have no sketches; --exact reads the rows"
            )
        elif kind in CATEGORIES:
            categories = Categories(column.finite, dict(kept.top.counts), kept.top.missed)
            if not kept.top.counts and not kept.top.missed:
                categories = None
                reason = "statistics of so wide a table have no values; --exact reads the rows"
    if kind is None and not reason:
        reason = "nothing is compared of this type"
    return Profile(
        column.name, column.type, column.values + column.nulls, column.nulls,
        kept.nan, kept.negative_infinities, kept.positive_infinities,
        *((column.min, column.max) if kind in NUMBERS else (None, None)), numbers, categories, reason,
    )  # fmt: skip


def _numbers(column: TableColumn) -> Numbers | None:
    points = column.quantiles
    if not points.values or column.min is None or column.max is None:
        return None
    low, high = (to_seconds(float(value), column.type) for value in (column.min, column.max))
    mean, std = (
        None if part is None else float(to_seconds(part, column.type)) for part in (column.mean, column.std)
    )
    run = to_seconds(np.array(points.values), column.type), np.array(points.weights, np.int64)
    return Numbers(column.finite, low, high, mean, std, points.error, [run])
