"""`dataver diff`: what differs between two versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from dataver.cli import output
from dataver.cli.options import CHANGES_DOCUMENT, verb
from dataver.cli.session import Session, name_list
from dataver.cli.types import REF
from dataver.paths import safe_spelling

if TYPE_CHECKING:
    from dataver.repository import Repository
    from dataver.tables.changes import TableChange

ROWS_SHOWN = 1000
FILES_SHOWN = 5
CELL_CHARACTERS_MAX = 60

DOCUMENT = (
    CHANGES_DOCUMENT[:-1]
    + ',\n "tables": [{"path", "rows": [before, after], "columns": {"added", "dropped", "retyped"},\n'
    '   "moved": [{"column", "what", "before", "after"}…] or null}…] (only with --tables)}\n'
    'With --rows: {"rows": [{"change": "added", "removed" or "changed", "key": {…}, "columns": [name…],\n'
    '   "before": {…} or null, "after": {…} or null}…],\n'
    ' "left_out": [path…]} (changed files that are not Parquet, whose rows were not compared)'
)


@verb(
    "diff",
    "dataver diff iris@v1 iris@v3",
    "dataver diff iris@paper iris --stat",
    "dataver diff iris@v1 iris --tables",
    "dataver diff iris@v1 iris --rows --key id",
    reads=True,
    document=DOCUMENT,
)
@click.argument("old", type=REF, metavar="REF")
@click.argument("new", type=REF, metavar="REF")
@click.option("--stat", is_flag=True, help="Only how many files were added, modified, deleted, renamed.")
@click.option(
    "--tables", is_flag=True, help="Also how modified Parquet files changed: columns, row counts, values."
)
@click.option("--compute", is_flag=True, help="With --tables: read files whose statistics are not at hand.")
@click.option("--rows", is_flag=True, help="The rows of Parquet files that differ, in place of the files.")
@click.option(
    "--key", metavar="C[,C]", multiple=True, help="With --rows: the columns that tell rows apart; repeatable."
)
@click.option("--path", metavar="PATH", default="", help="With --rows: only files at this path.")
def command(
    session: Session,
    old: str,
    new: str,
    stat: bool,
    tables: bool,
    compute: bool,
    rows: bool,
    key: tuple[str, ...],
    path: str,
) -> None:
    """Show the files that were added, modified, deleted and renamed from the first REF to the second.

    With --tables, of each modified Parquet file also the columns that were added, dropped or got
    another type, and its row counts, from its footer alone; and what moved in its columns, where
    statistics are at hand.
    """
    if rows != bool(key) or (path and not rows) or (compute and not tables) or (rows and (stat or tables)):
        raise click.UsageError(
            "--rows takes --key, and --path if need be; --compute goes with --tables; "
            "--rows does not go with --stat or --tables."
        )
    repository = session.open()
    if rows:
        show_rows(session, repository, old, new, name_list(key, "--key"), path)
        return
    changes = repository.diff(old, new)
    changed_tables = repository.diff_tables(old, new, compute=compute) if tables else []

    def document() -> dict[str, object]:
        found: dict[str, object] = changes.to_json()
        return {**found, "tables": [table.to_json() for table in changed_tables]} if tables else found

    def lines() -> Iterator[str]:
        yield from [output.counts_text(changes.counts)] if stat else output.changes_lines(changes)
        for table in changed_tables:
            yield from table_lines(table)

    session.answer(document, lines)


def table_lines(table: TableChange) -> Iterator[str]:
    """One line for the rows of a table, one for each column that changed, one for all that moved in it."""
    before, after = table.rows
    yield f"{output.path_text(table.path)}  {before:,} -> {after:,} rows"
    yield from (f"  added column    {output.safe(name)}" for name in table.added)
    yield from (f"  dropped column  {output.safe(name)}" for name in table.dropped)
    for name, old_type, new_type in table.retyped:
        yield f"  retyped column  {output.safe(name)}: {output.safe(old_type)} -> {output.safe(new_type)}"
    moves: dict[str, list[str]] = {}
    for move in table.moved or ():
        show = share_text if move.what == "nulls" else cell
        text = f"{move.what} {show(move.before)} -> {show(move.after)}"
        moves.setdefault(move.column, []).append(text)
    for name, texts in moves.items():
        yield f"  moved column    {output.safe(name)}: {', '.join(texts)}"
    if table.moved is None:
        yield output.dim("  its statistics are not at hand; --compute reads the files for them")


def share_text(share: float) -> str:
    """A share in percent, with three digits."""
    return f"{100 * share:.3g} %"


def show_rows(
    session: Session, repository: Repository, old: str, new: str, key: list[str], path: str
) -> None:
    """Print the rows that differ, and name the changed files whose rows nobody compared."""
    from dataver.tabular import not_compared

    table = repository.diff_rows(old, new, key=key, path=path)
    sides = repository.version(old), repository.version(new)
    left_out = not_compared(*sides, repository.diff(old, new), path)

    def document() -> dict[str, object]:
        return {"rows": [row_json(row, key) for row in table.to_pylist()], "left_out": left_out}

    def lines() -> Iterator[str]:
        shown = table.slice(0, ROWS_SHOWN).to_pylist()
        head = tuple(output.dim(output.safe(text)) for text in ("change", *key, "what"))
        cells = [(row["change"], *(cell(row[name]) for name in key), what_text(row)) for row in shown]
        yield from output.columns([head, *cells])
        counts = {row["values"]: row["counts"] for row in table["change"].value_counts().to_pylist()}
        if len(table) > ROWS_SHOWN:
            yield output.dim(f"… {len(table) - ROWS_SHOWN:,} more rows with --json")
        names = [f"{counts[what]:,} {what}" for what in ("added", "changed", "removed") if what in counts]
        yield ", ".join(names) or ("no row of a Parquet file differs" if left_out else "no row differs")

    session.answer(document, lines)
    if left_out:
        output.note(left_out_text(left_out))


def left_out_text(paths: list[str]) -> str:
    """`1 changed file is not Parquet and was not compared: a.csv`."""
    verbs = ("is", "was") if len(paths) == 1 else ("are", "were")
    shown = ", ".join(safe_spelling(path) for path in paths[:FILES_SHOWN])
    more = f" and {len(paths) - FILES_SHOWN:,} more" if len(paths) > FILES_SHOWN else ""
    counted = output.amount(len(paths), "changed file")
    return f"{counted} {verbs[0]} not Parquet and {verbs[1]} not compared: {shown}{more}"


def row_json(row: dict[str, Any], key: list[str]) -> dict[str, Any]:
    """A row of the result as JSON has it."""
    return {
        "change": row["change"],
        "key": {name: plain(row[name]) for name in key},
        "columns": row["columns"],
        "before": plain(row["before"]),
        "after": plain(row["after"]),
    }


def plain(value: Any) -> Any:
    """A value as JSON has it: bytes in hex, all else that JSON does not know as text."""
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        # NaN and infinities are no JSON.
        return value if value - value == 0 else str(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def what_text(row: dict[str, Any]) -> str:
    """`a: 1 -> 2, b: x -> y` for a changed row, else its values."""
    if row["change"] == "changed":
        pairs = [(name, row["before"][name], row["after"][name]) for name in row["columns"]]
        return ", ".join(f"{output.safe(name)}: {cell(a)} -> {cell(b)}" for name, a, b in pairs)
    values = row["after"] if row["change"] == "added" else row["before"]
    return ", ".join(f"{output.safe(name)}={cell(value)}" for name, value in (values or {}).items())


def cell(value: Any) -> str:
    """A value on a line, in so many characters; floats with six digits."""
    if value is None:
        return "null"
    text = f"{value:.6g}" if isinstance(value, float) else output.safe(str(plain(value)))
    return text if len(text) <= CELL_CHARACTERS_MAX else text[: CELL_CHARACTERS_MAX - 1] + "…"
