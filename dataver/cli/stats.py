"""`dataver stats`: what the columns of a version's Parquet files hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from dataver.cli import output
from dataver.cli.options import jobs_option, verb
from dataver.cli.session import Session
from dataver.cli.types import REF

if TYPE_CHECKING:
    from dataver.tables.view import TableColumn, TableStatistics

TOPS_SHOWN = 10
CELL_CHARACTERS_MAX = 40

DOCUMENT = (
    '{"files", "rows", "columns": [{"name", "type", "reason": text or null, "values", "nulls", "nan",\n'
    ' "infinities": [negative, positive], "min", "max", "mean", "std", "distinct", "distinct_exact": bool,\n'
    ' "top": [[value, count]…], "top_missed", "quantiles": {"0.5": value…}, "quantiles_rank_error"}…]}'
)


@verb(
    "stats",
    "dataver stats iris train/",
    "dataver stats iris@v3 iris.parquet --column species",
    reads=True,
    document=DOCUMENT,
)
@click.argument("ref", type=REF)
@click.argument("path", default="")
@click.option("--column", "-c", metavar="C", help="Only this column, with more of it.")
@jobs_option
def command(session: Session, ref: str, path: str, column: str | None, jobs: int | None) -> None:
    """Show what the columns of the Parquet files at PATH hold: nulls, range, mean, distinct values.

    The files of a folder are one table, and must have the same columns. Statistics that the
    repository does not hold are computed, which reads the files, and kept in this machine's cache.
    """
    repository = session.open()
    repository.session.jobs = jobs or 0
    found = repository.version(ref).stats(path)
    if column is not None:
        found = type(found)(found.files, found.rows, (found.column(column),))
        session.answer(found.to_json, lambda: column_lines(found.columns[0]))
    else:
        session.answer(found.to_json, lambda: table_lines(found))


def table_lines(table: TableStatistics) -> Iterator[str]:
    """How much there is, then one line a column."""
    yield f"{output.amount(table.files, 'file')}, {output.amount(table.rows, 'row')}"
    rows = [tuple(map(output.dim, ("column", "type", "nulls", "distinct", "min", "max", "mean", "std")))]
    for column in table.columns:
        document = column.to_json()
        rows.append(
            (
                output.safe(column.name),
                output.safe(column.type),
                f"{column.nulls:,}",
                distinct_text(column),
                *(cell(document[what]) for what in ("min", "max", "mean")),
                std_text(column),
            )
        )
    yield from output.columns(rows, right=(2, 3))
    for column in table.columns:
        if column.reason:
            yield f"{output.safe(column.name)}: not computed, {output.safe(column.reason)}"


def column_lines(column: TableColumn) -> Iterator[str]:
    """The facts of a column, then its most frequent values."""
    document = column.to_json()
    below, above = document["infinities"]
    facts = [
        ("column", output.safe(column.name)),
        ("type", output.safe(column.type)),
        ("not computed", output.safe(column.reason)),
        ("values", f"{column.values:,}"),
        ("nulls", f"{column.nulls:,} ({column.null_rate:.2%})"),
        ("NaN", f"{document['nan']:,}" if document["nan"] else ""),
        ("infinities", f"{below:,} negative, {above:,} positive" if below or above else ""),
        ("distinct", distinct_text(column)),
        *((what, cell(document[what])) for what in ("min", "max", "mean")),
        ("std", std_text(column)),
        *((f"{float(share):.0%}", cell(value)) for share, value in document["quantiles"].items()),
    ]
    yield from output.columns([(output.dim(key), value) for key, value in facts if value not in ("", "-")])
    if column.top:
        yield ""
        rows = [(f"{count:,}", cell(column.spelled(value))) for value, count in column.top[:TOPS_SHOWN]]
        yield from output.columns(rows, right=(0,))
        if len(column.top) > TOPS_SHOWN:
            yield output.dim("… more with --json")


def distinct_text(column: TableColumn) -> str:
    """`3`, `~1,016` where it is an estimate, `-` where it is not known."""
    if column.distinct is None:
        return "-"
    return f"{column.distinct:,}" if column.distinct_is_exact else f"~{column.distinct:,}"


def std_text(column: TableColumn) -> str:
    """The standard deviation; of times in days or seconds, as their own unit stands nowhere else."""
    from dataver.tables.view import span

    if column.std is None:
        return "-"
    value, unit = span(column.std, column.type)
    return f"{cell(value)} {unit}".rstrip()


def cell(value: Any) -> str:
    """A value in so many characters; numbers with six digits."""
    if value is None:
        return "-"
    text = f"{value:.6g}" if isinstance(value, float) else output.safe(str(value))
    return text if len(text) <= CELL_CHARACTERS_MAX else text[: CELL_CHARACTERS_MAX - 1] + "…"
