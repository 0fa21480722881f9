"""A drift report in words: what changed whatever the figures, and the figures as people read them.

Names and values are as they are in the tables: whoever prints them makes them safe.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dataver.values import NamedTuple

if TYPE_CHECKING:
    from dataver.tables.drift import CategoryChange, ColumnDrift, DriftReport
    from dataver.tables.measures import Measure

CELL_CHARACTERS_MAX = 28
NAMES_SHOWN = 5


class Fact(NamedTuple):
    """Something that changed: of a column, or of the table where that is empty."""

    what: str
    column: str
    text: str


def facts(report: DriftReport, arrow: str = "->") -> Iterator[Fact]:
    """Columns that came, went or changed type; rows; then by column missing values, ranges, categories."""
    schema = report.schema
    if report.model:
        yield Fact("model", "", f"{report.model}, trained on {report.baseline.name}")
    if report.left_out:
        yield Fact("left out", "", f"{names_text(report.left_out)}, which one side alone has")
    yield from (Fact("added column", name, "") for name in schema.added)
    yield from (Fact("dropped column", name, "") for name in schema.dropped)
    yield from (Fact("retyped column", name, f"{old} {arrow} {new}") for name, old, new in schema.retyped)
    before, after = report.baseline.rows, report.target.rows
    if before != after:
        moved = f" ({100 * (after - before) / before:+.3g} %)" if before else ""
        yield Fact("rows", "", f"{before:,} {arrow} {after:,}{moved}")
    for what, count in (("nulls", "nulls"), ("NaN", "nan"), ("infinities", "infinities")):
        for column in report.columns:
            shares = [side.share(getattr(side, count)) for side in (column.baseline, column.target)]
            if None not in shares and shares[0] != shares[1]:
                yield Fact(what, column.column, f" {arrow} ".join(map(share_text, shares)))
    for column in report.columns:
        if column.below or column.above:
            ranges = [f"{cell(side.min)} to {cell(side.max)}" for side in (column.baseline, column.target)]
            yield Fact("range", column.column, f" {arrow} ".join(ranges))
    for what in ("new", "vanished"):
        for column in report.columns:
            change: CategoryChange | None = getattr(column, what)
            if change is not None and change.count:
                yield Fact(what, column.column, categories_text(change))


def categories_text(change: CategoryChange) -> str:
    """`PL (645), NL (3)`, and how many more there are."""
    shown = ", ".join(f"{cell(value)} ({count:,})" for value, count in change.values[:NAMES_SHOWN])
    more = change.count - NAMES_SHOWN
    rest = f" and {more:,} more" if more > 0 else ""
    return f"{shown}{rest}{'' if change.complete else ', at least'}"


def summary(report: DriftReport) -> str:
    """`2 of 3 columns drifted: a, b`; what is open, and what is too close to be sure of."""
    count = len(report.columns)
    parts = [f"{len(report.drifted):,} of {count:,} column{'s' * (count != 1)} drifted"]
    if report.drifted:
        parts[0] += f": {names_text(report.drifted)}"
    if report.undecided:
        parts.append(f"open: {names_text(report.undecided)}")
    unsure = [column.column for column in report.columns if column.drifted is not None and not column.certain]
    if unsure:
        parts.append(f"close: {names_text(unsure)} (--exact tells)")
    return "; ".join(parts)


def names_text(names: Sequence[str]) -> str:
    """Some names, and how many more there are."""
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def by_verdict(columns: Sequence[ColumnDrift]) -> list[ColumnDrift]:
    """The columns that drifted first, then those that are open."""
    return sorted(columns, key=lambda column: {True: 0, None: 1, False: 2}[column.drifted])


def source(report: DriftReport) -> str:
    """What the figures come from."""
    return "all rows were read" if report.exact else "told from statistics; ± is what a figure can be off by"


def shown_measures(column: ColumnDrift) -> list[Measure]:
    """The figures that are shown: that of missing values only where it drifted."""
    return [measure for measure in column.measures if measure.metric != "missing" or measure.drifted]


def value_text(measure: Measure) -> str:
    """`0.153 ± 0.02`, `12.5 (p 0.014)`, or why there is none."""
    if measure.value is None:
        return measure.reason
    text = f"{measure.value:.4g}"
    if measure.error:
        text += f" ± {measure.error:.2g}"
    return text if measure.p_value is None else f"{text} (p {measure.p_value:.3g})"


def verdict(measure: Measure) -> str:
    """`yes` or `no`, with a question mark where the error could turn it; `open` where nothing is decided."""
    if measure.drifted is None:
        return "" if measure.value is None else "open"
    return ("yes" if measure.drifted else "no") + ("" if measure.certain else "?")


def share_text(share: float | None) -> str:
    """A share in percent, with three digits."""
    return "-" if share is None else f"{100 * share:.3g} %"


def cell(value: Any) -> str:
    """A value in so many characters; numbers with six digits."""
    if value is None:
        return "none"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= CELL_CHARACTERS_MAX else text[: CELL_CHARACTERS_MAX - 1] + "…"
