"""`dataver show`: one version."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import REF
from dataver.results import VersionInfo

if TYPE_CHECKING:
    from dataver.tables.footer import TableFooter

RUNS_SHOWN = 5
DOCUMENT = (
    '{"dataset", "version": "v3" or null, "id", "parents": [id…], "tree", "files", "bytes", "new_bytes",\n'
    ' "stored_bytes", "message", "author", "time": RFC 3339 UTC, "tags": […], "aliases": […],\n'
    ' "branches": […], "meta": {…}, "runs": [id…], "read_by": [id…],\n'
    ' "changed": {"added", "modified", "deleted", "renamed"} or null, "absent": [id…],\n'
    ' "tables": [{"path", "rows", "columns": [{"name", "type"}…]}…] (only with --tables)}'
)


@verb(
    "show",
    "dataver show iris@v3",
    "dataver show iris --tables",
    "dataver show iris --json",
    reads=True,
    document=DOCUMENT,
)
@click.argument("ref", type=REF)
@click.option("--tables", is_flag=True, help="Also the rows and columns of each Parquet file.")
def command(session: Session, ref: str, tables: bool) -> None:
    """Show one version: id, parents, message, author, time, sizes, names and runs."""
    repository = session.open()
    version = repository.show(ref)
    found: list[tuple[str, TableFooter | None]] = []
    if tables:
        from dataver.tabular import all_footers

        found = all_footers(repository.version(f"{version.dataset}@{version.id}"))

    def document() -> dict[str, object]:
        shown: dict[str, object] = version.to_json()
        return {**shown, "tables": [table_json(*table) for table in found]} if tables else shown

    def lines() -> Iterator[str]:
        yield from version_lines(version)
        for path, footer in found:
            yield ""
            yield from table_lines(path, footer)

    session.answer(document, lines)


def table_json(path: str, footer: TableFooter | None) -> dict[str, object]:
    """`{"path", "rows", "columns": [{"name", "type"}…]}`; `rows` and `columns` null for no table."""
    if footer is None:
        return {"path": path, "rows": None, "columns": None}
    columns = [{"name": name, "type": kind} for name, kind in footer.columns]
    return {"path": path, "rows": footer.rows, "columns": columns}


def table_lines(path: str, footer: TableFooter | None) -> Iterator[str]:
    """The path and the size of a table, then a line a column."""
    if footer is None:
        yield f"{output.path_text(path)}  no table that can be read"
        return
    size = f"{output.amount(footer.rows, 'row')}, {output.amount(len(footer.columns), 'column')}"
    yield f"{output.path_text(path)}  {size}"
    rows = [(f"  {output.safe(name)}", output.safe(kind)) for name, kind in footer.columns]
    yield from output.columns(rows)


def version_lines(version: VersionInfo) -> Iterator[str]:
    """The name of the version, its facts in two columns, then the message."""
    yield output.name(f"{version.dataset}@{version.version or output.short_id(version.id)}")
    new = f"{output.size_text(version.new_bytes)}, stored {output.size_text(version.stored_bytes)}"
    readers, more = set(version.read_by), len(version.read_by) - RUNS_SHOWN
    facts = [
        ("id", version.id),
        *(("parent", parent + " (not here)" * (parent in version.absent)) for parent in version.parents),
        ("tree", version.tree),
        ("author", output.safe(version.author)),
        ("time", output.time_text(version.time)),
        ("files", f"{output.amount(version.files, 'file')}, {output.size_text(version.bytes)}"),
        ("new", new),
        ("changed", "" if version.changed is None else output.counts_text(version.changed)),
        ("tags", ", ".join(map(output.safe, version.tags))),
        ("aliases", ", ".join(map(output.safe, version.aliases))),
        ("branches", ", ".join(map(output.safe, version.branches))),
        *(("made by", f"run {run}") for run in version.runs if run not in readers),
        *(("read by", f"run {run}") for run in version.read_by[:RUNS_SHOWN]),
        ("", f"{output.amount(more, 'more run')}; see `dataver runs --dataset`" if more > 0 else ""),
        *(("meta", output.safe(f"{key}={value}")) for key, value in sorted(version.meta.items())),
    ]
    yield from output.columns([(output.dim(key), value) for key, value in facts if value])
    if version.message:
        yield ""
        yield from (f"    {output.safe(line)}".rstrip() for line in version.message.rstrip("\n").split("\n"))
