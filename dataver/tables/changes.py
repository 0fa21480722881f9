"""How a table changed between two versions: its footer, and what its columns hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dataver.tables.footer import TableFooter
from dataver.tables.view import TableColumn, TableStatistics
from dataver.values import dataclass

ESTIMATES_DIFFER = 0.05
"""Estimated numbers of distinct values that are closer than this share may be the same."""
MEANS_DIFFER = 1e-9


@dataclass(frozen=True, slots=True)
class ColumnMove:
    """What moved in a column: `what` is "nulls" (their share), "min", "max", "mean" or "distinct"."""

    column: str
    what: str
    before: Any
    after: Any

    def to_json(self) -> dict[str, object]:
        """`{"column", "what", "before", "after"}`."""
        return {"column": self.column, "what": self.what, "before": self.before, "after": self.after}


@dataclass(frozen=True, slots=True)
class TableChange:
    """How a table changed; `rows` is before and after, `retyped` (column, type before, type after).

    `moved` is None where the statistics of one side are not at hand.
    """

    path: str
    rows: tuple[int, int]
    added: tuple[str, ...]
    dropped: tuple[str, ...]
    retyped: tuple[tuple[str, str, str], ...]
    moved: tuple[ColumnMove, ...] | None = None

    def to_json(self) -> dict[str, object]:
        """`{"path", "rows": [before, after], "columns": {"added", "dropped", "retyped"}, "moved"}`."""
        return {
            "path": self.path,
            "rows": list(self.rows),
            "columns": {
                "added": list(self.added),
                "dropped": list(self.dropped),
                "retyped": [list(change) for change in self.retyped],
            },
            "moved": None if self.moved is None else [move.to_json() for move in self.moved],
        }


def compare_footers(
    path: str, old: TableFooter, new: TableFooter, moved: tuple[ColumnMove, ...] | None = None
) -> TableChange:
    """What differs between two tables' footers."""
    before, after = dict(old.columns), dict(new.columns)
    return TableChange(
        path,
        (old.rows, new.rows),
        tuple(name for name in after if name not in before),
        tuple(name for name in before if name not in after),
        tuple(
            (name, kind, after[name])
            for name, kind in before.items()
            if name in after and after[name] != kind
        ),
        moved,
    )


def compare_statistics(old: TableStatistics, new: TableStatistics) -> tuple[ColumnMove, ...]:
    """What moved in the columns that both have, with one type."""
    before = {(column.name, column.type): column for column in old.columns}
    moved: list[ColumnMove] = []
    for column in new.columns:
        known = before.get((column.name, column.type))
        if known is not None and not known.reason and not column.reason:
            moved += _moves(known, column)
    return tuple(moved)


def _moves(old: TableColumn, new: TableColumn) -> Iterator[ColumnMove]:
    if old.null_rate != new.null_rate:
        yield ColumnMove(new.name, "nulls", old.null_rate, new.null_rate)
    a, b = old.to_json(), new.to_json()
    for what in ("min", "max"):
        if a[what] != b[what]:
            yield ColumnMove(new.name, what, a[what], b[what])
    if _differ(old.mean, new.mean, MEANS_DIFFER, (old.std or 0.0) + (new.std or 0.0)):
        yield ColumnMove(new.name, "mean", a["mean"], b["mean"])
    exact = old.distinct_is_exact and new.distinct_is_exact
    if _differ(old.distinct, new.distinct, 0 if exact else ESTIMATES_DIFFER):
        yield ColumnMove(new.name, "distinct", old.distinct, new.distinct)


def _differ(a: float | None, b: float | None, share: float, scale: float = 0.0) -> bool:
    """Whether two numbers are further apart than this share of them, or of `scale`."""
    if a is None or b is None:
        return (a is None) != (b is None)
    return abs(a - b) > share * max(abs(a), abs(b), scale)
