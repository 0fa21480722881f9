"""`dataver rewrite-parquet`: Parquet files with pages that end where their contents say so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import PLACE
from dataver.errors import BadInputError

if TYPE_CHECKING:
    from dataver.tables.rewrite import Rewritten

DOCUMENT = (
    '{"source", "target": place or null, "dry_run": bool,\n'
    ' "files": [{"path", "status": "rewritten" | "same" | "left", "rows", "old_bytes", "new_bytes",\n'
    ' "reason"}]}'
)
COLOURS = {"rewritten": "green", "same": None, "left": "yellow"}


@verb(
    "rewrite-parquet",
    "dataver rewrite-parquet raw/clicks.parquet data/clicks.parquet",
    "dataver rewrite-parquet data --in-place",
    "dataver rewrite-parquet data --in-place --dry-run",
    document=DOCUMENT,
)
@click.argument("source", type=PLACE)
@click.argument("target", type=PLACE, required=False)
@click.option("--in-place", is_flag=True, help="Replace the files where they are.")
@click.option(
    "--byte-stream-split",
    is_flag=True,
    help="Store floats byte by byte: a tenth smaller as a rule. Spark does not read it.",
)
@click.option("--dry-run", is_flag=True, help="Say which files would be rewritten; write nothing.")
def command(
    session: Session,
    source: str,
    target: str | None,
    in_place: bool,
    byte_stream_split: bool,
    dry_run: bool,
) -> None:
    """Write Parquet files (SOURCE, or all below that folder) anew, with the same rows.

    Pages of the new files end where their contents say so, and are compressed by zstd. When rows are
    added, changed or deleted later and the file is written so again, a commit stores little more than
    these. Schema, metadata, the order of rows and the file's mode are kept; a new file is read back
    and compared before it takes its place. What is no Parquet file, or cannot be kept exactly, is
    named and left.
    """
    from dataver.tables.rewrite import LEFT, rewrite_parquet

    if in_place == (target is not None):
        raise click.UsageError("Name a TARGET, or give --in-place.")
    with session.watch() as progress:
        found = rewrite_parquet(
            source, target, byte_stream_split=byte_stream_split, dry_run=dry_run, progress=progress
        )
        files = list(found)
    if [file.path for file in files if file.status == LEFT] == [source]:
        raise BadInputError(f"{source} was left as it is: {files[0].reason}")
    session.answer(
        lambda: {
            "source": source,
            "target": target,
            "dry_run": dry_run,
            "files": [file.to_json() for file in files],
        },
        lambda: lines(files, dry_run=dry_run),
    )


def lines(files: list[Rewritten], *, dry_run: bool) -> Iterator[str]:
    """A line a file, then all of them together."""
    rows = []
    for file in files:
        if file.status == "left":
            what = output.safe(file.reason)
        elif dry_run:
            what = f"{output.amount(file.rows, 'row')}, {output.size_text(file.old_bytes)}"
        else:
            what = f"{output.amount(file.rows, 'row')}, {sizes(file.old_bytes, file.new_bytes)}"
        rows.append((click.style(file.status, fg=COLOURS[file.status]), output.path_text(file.path), what))
    yield from output.columns(rows)
    done = [file for file in files if file.status != "left"]
    total = sum(file.old_bytes for file in done)
    if dry_run:
        yield f"{output.amount(len(done), 'file')} of {output.size_text(total)} would be rewritten"
    else:
        yield f"{output.amount(len(done), 'file')}, {sizes(total, sum(file.new_bytes for file in done))}"


def sizes(old_bytes: int, new_bytes: int) -> str:
    """`40.1 MiB -> 28.3 MiB`."""
    return f"{output.size_text(old_bytes)} -> {output.size_text(new_bytes)}"
