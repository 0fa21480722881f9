"""`dataver drift`: how far the columns of tables moved away from those of a baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from dataver.cli import output
from dataver.cli.options import jobs_option, verb
from dataver.cli.session import Session, name_list
from dataver.cli.types import PLACE, REF
from dataver.errors import CheckFailedError
from dataver.tables.criteria import METRICS, short_name
from dataver.tables.drift_facts import (
    by_verdict,
    facts,
    names_text,
    shown_measures,
    source,
    summary,
    value_text,
    verdict,
)

if TYPE_CHECKING:
    from dataver.tables.drift import ColumnDrift, DriftReport, DriftSide

VERDICT_STYLES: dict[str, dict[str, Any]] = {
    "yes": {"fg": "red", "bold": True},
    "no": {"fg": "green"},
    "ope": {"fg": "yellow"},
}

DOCUMENT = (
    '{"baseline": {"ref", "id", "path", "files", "rows", "split"}, "target": {…}, "drift": bool,\n'
    ' "exact": bool, "thresholds": {metric: number}, "drifted": [column…], "undecided": [column…],\n'
    ' "schema": {"added": [column…], "dropped": [column…], "retyped": [[column, before, after]…]},\n'
    ' "columns": [{"column", "types", "kind", "drift": bool or null, "certain": bool, "reason", "rows",\n'
    '   "nulls", "nan", "infinities", "min", "max": [baseline, target] each,\n'
    '   "new", "vanished": {"count", "complete": bool, "values": [[value, count]…]} or null,\n'
    '   "measures": [{"metric", "value", "error", "p_value", "threshold", "drift", "certain",\n'
    '     "reason"}…]}…],\n'
    ' "time", "dataver", "computed", "model": "model:NAME@vN" or null, "left_out": [column…]}'
)


@verb(
    "drift",
    "dataver drift iris@v3 iris@v5",
    "dataver drift iris@prod iris train/ --threshold 0.2 --fail-on drift",
    "dataver drift iris:train iris:test --metric ks --metric psi --html drift.html",
    "dataver drift model:churn@v2 served date=2026-11-30 --markdown drift.md",
    reads=True,
    document=DOCUMENT,
)
@click.argument("a", type=REF, metavar="REF[:PART]|MODEL")
@click.argument("b", type=REF, metavar="REF[:PART]")
@click.argument("path", default="")
@click.option("--columns", metavar="C[,C]", multiple=True, help="Only these columns; repeatable.")
@click.option(
    "--metric",
    metavar="M[,M]",
    multiple=True,
    help=f"What is measured: auto, {', '.join(METRICS)}; repeatable; default: auto.",
)
@click.option(
    "--threshold",
    metavar="[M=]NUMBER",
    multiple=True,
    help="From where on it is drift: of a metric, of `missing`, or of all distances; repeatable.",
)
@click.option("--exact", is_flag=True, help="Read the rows, where statistics would do.")
@click.option(
    "--compute/--no-compute",
    default=True,
    help="Read files whose statistics are not at hand, or fail; default: read.",
)
@click.option(
    "--by", type=PLACE, metavar="FILE", help="The definition of the parts; default: each version's own."
)
@click.option("--html", type=PLACE, metavar="FILE", help="Also write a page with a plot for each column.")
@click.option("--markdown", type=PLACE, metavar="FILE", help="Also write it as the message of a commit.")
@click.option(
    "--fail-on",
    type=click.Choice(["drift", "schema", "undecided"]),
    multiple=True,
    help="End with exit code 9 where a column drifted, columns came, went or changed type, or a column"
    " could not be decided; repeatable.",
)
@jobs_option
def command(
    session: Session,
    a: str,
    b: str,
    path: str,
    columns: tuple[str, ...],
    metric: tuple[str, ...],
    threshold: tuple[str, ...],
    exact: bool,
    compute: bool,
    by: str | None,
    html: str | None,
    markdown: str | None,
    fail_on: tuple[str, ...],
    jobs: int | None,
) -> None:
    """Show how far the columns of Parquet files at PATH moved from the first REF, the baseline, to the other.

    Numbers by their Wasserstein distance over the baseline's standard deviation, categories by their
    Jensen-Shannon distance: 0.1 is drift, as in Azure ML. Told from statistics, which are computed where
    they are not at hand, as by `stats`; ± is what a figure can be off by. The rows of parts are read.

    With a MODEL, as model:NAME@vN or models:/NAME/1, the baseline is what it was trained on, and PATH is
    of the other one alone; columns that one of them lacks, as what is to be predicted, are left out.
    """
    repository = session.open()
    repository.session.jobs = jobs or 0
    with session.watch() as progress:
        report = repository.drift(
            a, b, path, columns=name_list(columns, "--columns") or None,
            metrics=name_list(metric, "--metric") or "auto", thresholds=thresholds_of(threshold),
            exact=exact, compute=compute, by=by, progress=progress,
        )  # fmt: skip
    if report.computed:
        files = output.amount(report.computed, "file")
        output.note(f"read {files} whose statistics were not at hand, and kept them in this machine's cache")
    if html is not None:
        output.write_file(html, report.html().encode("utf-8", "replace"))
    if markdown is not None:
        output.write_file(markdown, report.markdown().encode("utf-8", "replace"))
    session.answer(report.to_json, lambda: report_lines(report, output.line_width()))
    check(report, fail_on)


def thresholds_of(values: Sequence[str]) -> dict[str, float] | float | None:
    """`NAME=NUMBER` arguments as a mapping, or the one number."""
    named: dict[str, float] = {}
    for value in values:
        name, equals, text = value.rpartition("=")
        try:
            number = float(text)
        except ValueError:
            raise click.UsageError(
                f"--threshold takes METRIC=NUMBER or a number, not {value[:100]!a}."
            ) from None
        if not equals:
            if len(values) > 1:
                raise click.UsageError("--threshold takes one number, or METRIC=NUMBER for each.")
            return number
        named[name] = number
    return named or None


def check(report: DriftReport, fail_on: Sequence[str]) -> None:
    """`CheckFailedError` where something is found that was asked for."""
    if "drift" in fail_on and report:
        raise CheckFailedError(f"{names_text(report.drifted)} drifted from {report.baseline.name}")
    if "schema" in fail_on and report.schema:
        raise CheckFailedError(f"{report.target.name} has other columns than {report.baseline.name}")
    if "undecided" in fail_on and report.undecided:
        raise CheckFailedError(f"of {names_text(report.undecided)} it could not be decided")
    if "drift" in fail_on and report.undecided:
        output.warn(
            f"of {names_text(report.undecided)} it could not be decided; --fail-on undecided fails then"
        )


# Lines for people


def report_lines(report: DriftReport, width: int) -> Iterator[str]:
    """Both sides, what is a fact, then the figures; no line is wider than `width`, where words allow it."""
    yield from side_lines(report, width)
    for what, column, text in facts(report):
        subject = ": ".join(filter(None, (column, text)))
        yield from output.wrapped(f"{what:<14}  {output.safe(subject)}", width)
    yield ""
    yield from figure_lines(by_verdict(report.columns), width)
    yield from output.wrapped(output.safe(summary(report)), width)


def side_lines(report: DriftReport, width: int) -> Iterator[str]:
    """Which versions are compared, how large they are, and what figures come from."""

    def line(what: str, side: DriftSide) -> tuple[str, ...]:
        size = f"{output.amount(side.files, 'file')}, {output.amount(side.rows, 'row')}"
        return output.dim(what), output.name(side.name), output.elided_id(side.id), size

    lines = list(output.columns([line("baseline", report.baseline), line("target", report.target)]))
    for text in lines:
        yield from output.wrapped(text, width)
    yield from (output.dim(text) for text in output.wrapped(source(report), width))


def figure_lines(columns: Sequence[ColumnDrift], width: int) -> Iterator[str]:
    """A line for each figure; where a line has no room, the column's name has one of its own."""
    head = tuple(map(output.dim, ("column", "metric", "value", "threshold", "drift")))
    rows = [(output.safe(column.column), *cells) for column in columns for cells in figure_cells(column)]
    if not rows:
        return
    lines = list(output.columns([head, *rows], right=(3,)))
    if max(map(output.width, lines)) <= width:
        yield from lines
        return
    last = None
    for name, *cells in rows:
        if name != last:
            yield from output.wrapped(name, width)
            last = name
        yield from output.wrapped("  " + "  ".join(filter(None, cells)).replace("  ", " "), width)


def figure_cells(column: ColumnDrift) -> Iterator[tuple[str, str, str, str]]:
    """Metric, value, threshold and decision of each figure of a column."""
    shown = shown_measures(column)
    for measure in shown:
        yield (
            short_name(measure.metric),
            output.safe(value_text(measure)),
            f"{measure.threshold:.4g}",
            click.style(verdict(measure), **VERDICT_STYLES.get(verdict(measure)[:3], {})),
        )
    if not any(measure.metric != "missing" for measure in shown):
        yield "-", output.safe(column.reason), "", ""
