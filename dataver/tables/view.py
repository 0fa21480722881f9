"""Statistics of a table as callers see them: names, numbers, and values spelled as their types are."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from dataver.errors import BadInputError, PathNotFoundError
from dataver.format.table_statistics import ColumnStatistics, FileStatistics, Quantiles, Value
from dataver.values import dataclass

SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""The quantiles that `to_json` spells out."""

TICKS_A_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
UNIT = re.compile(r"\[(s|ms|us|ns)\b")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A leaf column: `column.member` in a struct, `column[]` in a list. `kept` is what is recorded of it.

    NaN and infinities are counted among `values` and are in no other number. Times are numbers of
    their type's unit since 1970 here, and texts in `to_json`. Sketches state what they can be off
    by: `kept.quantiles.error`, `kept.top.missed`.
    """

    kept: ColumnStatistics

    @property
    def name(self) -> str:
        """The path of the leaf."""
        return self.kept.name

    @property
    def type(self) -> str:
        """Arrow's name of its type."""
        return self.kept.type

    @property
    def reason(self) -> str:
        """Why nothing was computed; empty where it was."""
        return self.kept.reason

    @property
    def values(self) -> int:
        """How many values are not null."""
        return self.kept.values

    @property
    def nulls(self) -> int:
        """How many are."""
        return self.kept.nulls

    @property
    def null_rate(self) -> float:
        """The share of nulls, 0 where there are no rows."""
        return self.nulls / max(self.values + self.nulls, 1)

    @property
    def finite(self) -> int:
        """Values that are neither null nor NaN nor infinite."""
        kept = self.kept
        return kept.values - kept.nan - kept.positive_infinities - kept.negative_infinities

    @property
    def min(self) -> Value:
        """The least value; None where there is none or it is longer than 1 KiB."""
        return self.kept.min

    @property
    def max(self) -> Value:
        """The greatest value; None where there is none or it is longer than 1 KiB."""
        return self.kept.max

    @property
    def mean(self) -> float | None:
        """The mean, of numbers and times."""
        return self.kept.mean

    @property
    def std(self) -> float | None:
        """The standard deviation, with the number of values as divisor."""
        kept = self.kept
        if kept.squares is None or not self.finite:
            return None
        return math.sqrt(max(kept.squares, 0.0) / self.finite)

    @property
    def distinct(self) -> int | None:
        """How many distinct values; about, unless `distinct_is_exact`. None where it is not known."""
        from dataver.tables.sketch import distinct

        if self.distinct_is_exact:
            return len(self.kept.top.counts)
        found = distinct(self.kept.registers)
        return None if found is None else min(found, self.finite)

    @property
    def distinct_is_exact(self) -> bool:
        """Whether all distinct values are among the frequent ones."""
        kept = self.kept
        listed = sum(count for _, count in kept.top.counts)
        return bool(kept.registers) and not kept.top.missed and listed == self.finite

    @property
    def top(self) -> tuple[tuple[Value, int], ...]:
        """The most frequent values, each with its count."""
        return self.kept.top.counts

    @property
    def quantiles(self) -> Quantiles:
        """Points of the distribution, of numbers and times."""
        return self.kept.quantiles

    def quantile(self, share: float) -> float | None:
        """The value below which about this share (0 to 1) lies; None where there are no points."""
        from dataver.tables.sketch import quantile

        if not 0 <= share <= 1:
            raise BadInputError(f"{share} is not a share from 0 to 1")
        return quantile(self.quantiles, share)

    def spelled(self, value: Any) -> Any:
        """A value as JSON has it: times as ISO 8601, bytes in hex, decimals as text."""
        return spelled(value, self.type)

    def to_json(self) -> dict[str, Any]:
        """`{"name", "type", "reason", "values", "nulls", "nan", "infinities", "min", …, "quantiles"}`."""
        kept = self.kept
        points = {str(share): self.quantile(share) for share in SHARES} if self.quantiles.values else {}
        return {
            "name": self.name,
            "type": self.type,
            "reason": self.reason or None,
            "values": self.values,
            "nulls": self.nulls,
            "nan": kept.nan,
            "infinities": [kept.negative_infinities, kept.positive_infinities],
            "min": self.spelled(self.min),
            "max": self.spelled(self.max),
            "mean": self.spelled(self.mean),
            "std": self.std,
            "distinct": self.distinct,
            "distinct_exact": self.distinct_is_exact,
            "top": [[self.spelled(value), count] for value, count in self.top],
            "top_missed": kept.top.missed,
            "quantiles": {share: self.spelled(value) for share, value in points.items()},
            "quantiles_rank_error": kept.quantiles.error / max(self.finite, 1),
        }


@dataclass(frozen=True, slots=True)
class TableStatistics:
    """What a table of so many files holds, by leaf column."""

    files: int
    rows: int
    columns: tuple[TableColumn, ...]

    def column(self, name: str) -> TableColumn:
        """The leaf column of this name. `PathNotFoundError` where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        names = ", ".join(column.name for column in self.columns[:10])
        more = " …" if len(self.columns) > 10 else ""
        raise PathNotFoundError(f"there is no column {name!r:.100}; there are {names}{more}")

    def to_json(self) -> dict[str, Any]:
        """`{"files", "rows", "columns": [column…]}`."""
        return {
            "files": self.files,
            "rows": self.rows,
            "columns": [column.to_json() for column in self.columns],
        }


def view(statistics: FileStatistics, files: int = 1) -> TableStatistics:
    """Statistics as callers see them."""
    return TableStatistics(files, statistics.rows, tuple(map(TableColumn, statistics.columns)))


def spelled(value: Any, kind: str) -> Any:
    """A value of a type as JSON has it. See `TableColumn.spelled`."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _time(value, kind)
    return value


def _time(value: float, kind: str) -> Any:
    """A number of a type as text, where the type is one of points in time that has a name."""
    if kind.startswith(("date32", "date64")):
        ticks = 1 if kind.startswith("date32") else 86_400_000
        return _iso(timedelta(days=1) * (value / ticks), "days") if _fits(value / ticks) else value
    unit = UNIT.search(kind)
    if unit is None or not kind.startswith(("timestamp", "time32", "time64")):
        return value
    ticks = TICKS_A_SECOND[unit[1]]
    seconds, rest = divmod(round(value), ticks)
    if not _fits(seconds / 86_400):
        return value
    fraction = f".{rest:0{len(str(ticks)) - 1}d}".rstrip("0").rstrip(".") if rest else ""
    text = _iso(timedelta(seconds=seconds), "seconds")
    if kind.startswith("time"[:4]) and not kind.startswith("timestamp"):
        return text.partition("T")[2] + fraction
    return text + fraction + ("Z" if "tz=" in kind else "")


def span(value: float, kind: str) -> tuple[float, str]:
    """How far apart values of a type are, and in what: days for dates, seconds for other points in time."""
    if kind.startswith(("date32", "date64")):
        return value / (1 if kind.startswith("date32") else 86_400_000), "days"
    unit = UNIT.search(kind)
    if unit is None or not kind.startswith(("timestamp", "time32", "time64")):
        return value, ""
    return value / TICKS_A_SECOND[unit[1]], "s"


def _fits(days: float) -> bool:
    """Whether a day is in the years that Python can name."""
    return -719_162 <= days < 2_932_896


def _iso(since: timedelta, precision: str) -> str:
    moment = (_EPOCH + since).replace(tzinfo=None)
    return moment.date().isoformat() if precision == "days" else moment.isoformat(timespec="seconds")
