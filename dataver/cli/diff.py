"""`dataver diff`: what differs between two versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import CHANGES_DOCUMENT, verb
from dataver.cli.session import Session
from dataver.cli.types import REF

if TYPE_CHECKING:
    from dataver.tables.footer import TableChange


@verb(
    "diff",
    "dataver diff iris@v1 iris@v3",
    "dataver diff iris@paper iris --stat",
    "dataver diff iris@v1 iris --tables",
    reads=True,
    document=CHANGES_DOCUMENT,
)
@click.argument("old", type=REF, metavar="REF")
@click.argument("new", type=REF, metavar="REF")
@click.option("--stat", is_flag=True, help="Only how many files were added, modified, deleted, renamed.")
@click.option(
    "--tables", is_flag=True, help="Also how modified Parquet files changed: columns and row counts."
)
def command(session: Session, old: str, new: str, stat: bool, tables: bool) -> None:
    """Show the files that were added, modified, deleted and renamed from the first REF to the second.

    With --tables, of each modified Parquet file also the columns that were added, dropped or got
    another type, and its row counts, which are read from its footer alone.
    """
    repository = session.open()
    changes = repository.diff(old, new)
    changed_tables = repository.diff_tables(old, new) if tables else []

    def document() -> dict[str, object]:
        found: dict[str, object] = changes.to_json()
        return {**found, "tables": [table.to_json() for table in changed_tables]} if tables else found

    def lines() -> Iterator[str]:
        yield from [output.counts_text(changes.counts)] if stat else output.changes_lines(changes)
        for table in changed_tables:
            yield from table_lines(table)

    session.answer(document, lines)


def table_lines(table: TableChange) -> Iterator[str]:
    """One line for the rows of a table, one for each column that changed."""
    before, after = table.rows
    yield f"{output.path_text(table.path)}  {before:,} -> {after:,} rows"
    yield from (f"  added column    {output.safe(name)}" for name in table.added)
    yield from (f"  dropped column  {output.safe(name)}" for name in table.dropped)
    for name, old_type, new_type in table.retyped:
        yield f"  retyped column  {output.safe(name)}: {output.safe(old_type)} -> {output.safe(new_type)}"
