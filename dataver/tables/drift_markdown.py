"""A drift report as the message of a commit: a line that says it all, then facts and figures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from dataver.tables.criteria import short_name
from dataver.tables.drift import ColumnDrift, DriftReport, DriftSide
from dataver.tables.drift_facts import (
    by_verdict,
    facts,
    names_text,
    shown_measures,
    summary,
    value_text,
    verdict,
)

__all__ = ["markdown"]

FACTS_MAX = 30
COLUMNS_MAX = 50
"""A message is read by people; the JSON document has all of it."""


def markdown(report: DriftReport) -> str:
    """See `DriftReport.markdown`."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: DriftReport) -> Iterator[str]:
    what = report.model or report.baseline.name
    drifted = names_text(report.drifted) if report.drifted else "no column"
    yield _plain(f"{report.target.name} against {what}: {drifted} drifted")
    yield ""
    for role, side in (("Baseline", report.baseline), ("Target", report.target)):
        yield f"- {role}: {_side(side)}"
    found = list(facts(report))
    for fact in found[:FACTS_MAX]:
        subject = ": ".join(
            filter(None, (f"`{_code(fact.column)}`" if fact.column else "", _plain(fact.text)))
        )
        yield f"- {fact.what}: {subject}"
    if len(found) > FACTS_MAX:
        yield f"- and {len(found) - FACTS_MAX:,} facts more"
    columns = by_verdict(report.columns)
    if columns:
        yield ""
        yield from _table(columns[:COLUMNS_MAX])
    if len(columns) > COLUMNS_MAX:
        yield f"\nand {len(columns) - COLUMNS_MAX:,} columns more"
    yield ""
    yield _plain(summary(report))


def _side(side: DriftSide) -> str:
    files, rows = (f"{n:,} {what}{'s' * (n != 1)}" for n, what in ((side.files, "file"), (side.rows, "row")))
    return f"{_plain(side.name)} `{side.id[:12]}`, {files}, {rows}"


def _table(columns: Sequence[ColumnDrift]) -> Iterator[str]:
    yield "| column | metric | value | threshold | drift |"
    yield "|---|---|---|---|---|"
    for column in columns:
        name = f"`{_code(column.column)}`"
        measured = shown_measures(column)
        for measure in measured:
            cells = (
                short_name(measure.metric),
                value_text(measure),
                f"{measure.threshold:.4g}",
                verdict(measure),
            )
            yield f"| {name} | {' | '.join(map(_plain, cells))} |"
        if not measured:
            yield f"| {name} | - | {_plain(column.reason)} | | |"


def _plain(text: str) -> str:
    """Text of one line that means nothing to Markdown."""
    return re.sub(r"([\\`|<*\[\]])", r"\\\1", _line(text))


def _code(text: str) -> str:
    return _line(text).replace("`", "'").replace("|", "\\|")


def _line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
