"""How the columns of one table differ from those of another: facts first, then figures and decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from dataver.results import rfc3339
from dataver.tables import measures, outline
from dataver.tables.criteria import MISSING, Criteria
from dataver.tables.measures import Measure
from dataver.tables.outline import Outline
from dataver.tables.profile import (
    CATEGORIES,
    NOTHING,
    NUMBERS,
    Categories,
    Profile,
    family,
    from_seconds,
)
from dataver.tables.view import spelled
from dataver.values import dataclass

CATEGORIES_NAMED_MAX = 10


@dataclass(frozen=True, slots=True)
class DriftSide:
    """One side: `name` is the version's, or that of a part of its rows; `id` the version's.

    `split` is the digest of the part's definition with the version, None for a whole version.
    """

    name: str
    id: str
    path: str
    files: int
    rows: int
    split: str | None = None

    def to_json(self) -> dict[str, object]:
        """`{"ref", "id", "path", "files", "rows", "split"}`."""
        return {
            "ref": self.name,
            "id": self.id,
            "path": self.path,
            "files": self.files,
            "rows": self.rows,
            "split": self.split,
        }


@dataclass(frozen=True, slots=True)
class ColumnSide:
    """A column of one side. `rows` are its values, null or not; `min` and `max` are of finite numbers."""

    type: str
    rows: int
    nulls: int
    nan: int
    infinities: int
    min: Any
    max: Any

    def share(self, count: int) -> float | None:
        """A count as a share of the rows; None without rows."""
        return count / self.rows if self.rows else None


@dataclass(frozen=True, slots=True)
class CategoryChange:
    """Categories that one side alone has: how many, and the most frequent of them with their counts.

    `complete`: there are no more than `count` of them.
    """

    count: int
    complete: bool
    values: tuple[tuple[Any, int], ...]

    def to_json(self) -> dict[str, object]:
        """`{"count", "complete", "values": [[value, count]…]}`."""
        values = [list(pair) for pair in self.values]
        return {"count": self.count, "complete": self.complete, "values": values}


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """What differs in a leaf column that both sides have.

    `kind` is `numbers`, `categories` or empty. `drifted` is None where nothing could be decided, and
    `reason` says why there are no figures. `new` and `vanished` are None where they are not known.
    """

    column: str
    kind: str
    drifted: bool | None
    reason: str
    measures: tuple[Measure, ...]
    baseline: ColumnSide
    target: ColumnSide
    below: bool
    above: bool
    new: CategoryChange | None
    vanished: CategoryChange | None
    outline: Outline | None

    @property
    def certain(self) -> bool:
        """Whether no figure within its error would decide otherwise."""
        decisive = [measure for measure in self.measures if measure.value is not None]
        if self.drifted:
            return any(measure.drifted and measure.certain for measure in decisive)
        return all(measure.certain for measure in decisive)

    def to_json(self) -> dict[str, object]:
        """`{"column", "types", "kind", "drift", "certain", "reason", "nulls", …, "measures": [measure…]}`."""
        sides = self.baseline, self.target
        return {
            "column": self.column,
            "types": [side.type for side in sides],
            "kind": self.kind or None,
            "drift": self.drifted,
            "certain": self.certain,
            "reason": self.reason or None,
            "rows": [side.rows for side in sides],
            "nulls": [side.share(side.nulls) for side in sides],
            "nan": [side.share(side.nan) for side in sides],
            "infinities": [side.share(side.infinities) for side in sides],
            "min": [side.min for side in sides],
            "max": [side.max for side in sides],
            "new": None if self.new is None else self.new.to_json(),
            "vanished": None if self.vanished is None else self.vanished.to_json(),
            "measures": [measure.to_json() for measure in self.measures],
        }


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """Leaf columns that one side alone has, and (column, type before, type after) of those that changed."""

    added: tuple[str, ...]
    dropped: tuple[str, ...]
    retyped: tuple[tuple[str, str, str], ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.dropped or self.retyped)

    def to_json(self) -> dict[str, object]:
        """`{"added": [column…], "dropped": [column…], "retyped": [[column, before, after]…]}`."""
        retyped = [list(change) for change in self.retyped]
        return {"added": list(self.added), "dropped": list(self.dropped), "retyped": retyped}


@dataclass(frozen=True, slots=True)
class DriftReport:
    """How the tables of `target` differ from those of `baseline`, by leaf column. True where one drifted.

    `exact`: rows were read; else figures are of statistics, and each says what it can be off by.
    `computed` is how many files had no statistics at hand and were read for them. `thresholds` are by Azure
    ML's names of the metrics. `release` is dataver's. `model` is what was trained on the baseline, where
    that is why they are compared; then the columns in `left_out`, which one side alone has, are not.
    """

    baseline: DriftSide
    target: DriftSide
    exact: bool
    thresholds: Mapping[str, float]
    schema: SchemaChange
    columns: tuple[ColumnDrift, ...]
    time: datetime
    release: str
    computed: int = 0
    model: str = ""
    left_out: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.drifted)

    @property
    def drifted(self) -> tuple[str, ...]:
        """The columns that drifted."""
        return tuple(column.column for column in self.columns if column.drifted)

    @property
    def undecided(self) -> tuple[str, ...]:
        """The columns of which it could not be decided."""
        return tuple(column.column for column in self.columns if column.drifted is None)

    def column(self, name: str) -> ColumnDrift:
        """The column of this name. `KeyError` where there is none on both sides."""
        for column in self.columns:
            if column.column == name:
                return column
        raise KeyError(name)

    def html(self) -> str:
        """The report as one page that needs nothing else, with a plot for each column."""
        from dataver.tables.drift_page import page

        return page(self)

    def markdown(self) -> str:
        """The report for a commit's message or a pull request, in Markdown that reads well as it is."""
        from dataver.tables.drift_markdown import markdown

        return markdown(self)

    def to_json(self) -> dict[str, object]:
        """`{"baseline", "target", "drift", "exact", "thresholds", "schema", "drifted", "columns", …}`."""
        return {
            "baseline": self.baseline.to_json(),
            "target": self.target.to_json(),
            "drift": bool(self),
            "exact": self.exact,
            "thresholds": dict(self.thresholds),
            "schema": self.schema.to_json(),
            "drifted": list(self.drifted),
            "undecided": list(self.undecided),
            "columns": [column.to_json() for column in self.columns],
            "time": rfc3339(self.time),
            "dataver": self.release,
            "computed": self.computed,
            "model": self.model or None,
            "left_out": list(self.left_out),
        }


def compare_schemas(old: Sequence[tuple[str, str]], new: Sequence[tuple[str, str]]) -> SchemaChange:
    """What differs between the leaf columns of two tables, each a name and a type."""
    before, after = dict(reversed(old)), dict(reversed(new))
    return SchemaChange(
        tuple(dict.fromkeys(name for name, _ in new if name not in before)),
        tuple(dict.fromkeys(name for name, _ in old if name not in after)),
        tuple(
            (name, before[name], after[name])
            for name in dict.fromkeys(name for name, _ in old)
            if name in after and before[name] != after[name]
        ),
    )


def compare_column(a: Profile, b: Profile, criteria: Criteria) -> ColumnDrift:
    """A column of the baseline and of the target."""
    families = [family(side.type) for side in (a, b)]
    common = families[1] if families[0] == NOTHING else families[0]
    kind = "numbers" if common in NUMBERS else "categories" if common in CATEGORIES else ""
    names = criteria.numbers if kind == "numbers" else criteria.categories if kind else ()
    reason = _reason(a, b, families)
    found = [measures.missing(a, b, criteria.thresholds[MISSING])]
    shape: Outline | None = None
    new = vanished = None
    if reason:
        found += measures.none(names, criteria, reason)
    elif a.numbers is not None and b.numbers is not None:
        measured = measures.of_numbers(a, b, criteria)
        found += measured.measures
        assert measured.points is not None
        shape = outline.of_points(
            *measured.points, lambda value: spelled(from_seconds(value, b.type), b.type)
        )
    elif a.categories is not None and b.categories is not None:
        found += measures.of_categories(a.categories, b.categories, criteria)
        new = _alone(b.categories, a.categories, b.type)
        vanished = _alone(a.categories, b.categories, a.type)
        shape = outline.of_categories(a.categories, b.categories, lambda value: str(spelled(value, b.type)))
    if not reason and not names:
        reason = f"none of the metrics that were asked for is for {kind}"
    below, above = _beyond(a, b)
    return ColumnDrift(
        a.name, kind, _decide(a, b, found), reason, tuple(found), _side(a), _side(b),
        below, above, new, vanished, shape,
    )  # fmt: skip


def _reason(a: Profile, b: Profile, families: list[str | None]) -> str:
    """Why two columns have no figures; empty where they have."""
    for side, name in ((a, "baseline"), (b, "target")):
        if side.reason:
            return f"{name}: {side.reason}"
    if families[0] != families[1] and NOTHING not in families:
        return f"{a.type} does not compare with {b.type}"
    empty = [name for side, name in ((a, "baseline"), (b, "target")) if not side.present]
    if len(empty) == 2:
        return "neither side has values"
    return f"the {empty[0]} has no values" if empty else ""


def _decide(a: Profile, b: Profile, found: Sequence[Measure]) -> bool | None:
    if any(measure.drifted for measure in found):
        return True
    # Where neither has a value, nothing moved.
    void = a.rows and b.rows and not a.present and not b.present
    decided = len(found) > 1 and all(measure.drifted is False for measure in found)
    return False if void or decided else None


def _side(side: Profile) -> ColumnSide:
    return ColumnSide(
        side.type, side.rows, side.nulls, side.nan,
        side.negative_infinities + side.positive_infinities,
        spelled(side.min, side.type), spelled(side.max, side.type),
    )  # fmt: skip


def _beyond(a: Profile, b: Profile) -> tuple[bool, bool]:
    """Whether the target has numbers below the baseline's least, and above its greatest."""
    if a.numbers is None or b.numbers is None:
        return False, False
    if a.type == b.type:
        low, high, least, greatest = a.min, a.max, b.min, b.max
    else:
        low, high, least, greatest = a.numbers.low, a.numbers.high, b.numbers.low, b.numbers.high
    return bool(least < low), bool(greatest > high)  # type: ignore[operator] # both are of one type


def _alone(here: Categories, there: Categories, kind: str) -> CategoryChange | None:
    """The categories that `here` alone has; None where `there` may have others than it lists."""
    if not there.complete:
        return None
    found = {name: count for name, count in here.counts.items() if name not in there.counts}
    named = sorted(found.items(), key=lambda item: -item[1])[:CATEGORIES_NAMED_MAX]
    values = tuple((spelled(name, kind), count) for name, count in named)
    return CategoryChange(len(found), here.complete, values)
