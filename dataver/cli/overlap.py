"""`dataver overlap`: what two versions, or parts of them, both have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session, name_list
from dataver.cli.types import PLACE, REF
from dataver.errors import CheckFailedError

if TYPE_CHECKING:
    from dataver.results import OverlapResult

DOCUMENT = (
    '{"a", "b", "overlap": bool, "files": [[path in a, path in b]…] or null,\n'
    ' "chunks": {"a_bytes", "b_bytes", "a_shared_bytes", "b_shared_bytes"} or null,\n'
    ' "rows": {"key": [column…], "a_rows", "b_rows", "keys", "a_shared", "b_shared",\n'
    ' "examples": [[value…]…]} or null}'
)


@verb(
    "overlap",
    "dataver overlap iris@v1 iris@v2",
    "dataver overlap iris:train iris:test --fail-on overlap",
    "dataver overlap train@v3 test@v1 --key user_id,day --fail-on overlap",
    reads=True,
    document=DOCUMENT,
)
@click.argument("a", type=REF, metavar="REF[:PART]")
@click.argument("b", type=REF, metavar="REF[:PART]")
@click.option("--key", metavar="COLUMN[,COLUMN]…", help="Compare the rows of tables by these columns.")
@click.option("--path", default="", metavar="PATH", help="Only tables at PATH; default: all.")
@click.option(
    "--by",
    type=PLACE,
    metavar="FILE",
    help="The definition of the parts; default: each version's own.",
)
@click.option("--fail-on", type=click.Choice(["overlap"]), help="End with exit code 9 where both share data.")
def command(
    session: Session, a: str, b: str, key: str | None, path: str, by: str | None, fail_on: str | None
) -> None:
    """Find what two versions, or parts of them, both have: files, chunks, and with --key rows.

    Equal files are known by their digests and not read; of other tables the key's columns alone are. Rows
    are shared where their keys are equal, never by hash alone. With a key, an overlap is a shared row or an
    equal table; without one, an equal file or chunk. Parts that were made by a key are compared by it.
    """
    columns = None if key is None else name_list([key], "--key")
    found = session.open().overlap(a, b, key=columns, path=path, by=by)
    session.answer(found.to_json, lambda: overlap_lines(found))
    if fail_on and found:
        raise CheckFailedError(f"{found.a} and {found.b} have data in common")


def overlap_lines(found: OverlapResult) -> Iterator[str]:
    """The equal files, then a line each for chunks and rows, and some keys."""
    for old, new in found.files or ():
        arrow = "" if old == new else f" = {output.path_text(new)}"
        yield f"{click.style('both', fg='yellow')}  {output.path_text(old)}{arrow}"
    rows = []
    if found.files is not None:
        rows.append(("files", f"{len(found.files):,} in both"))
    if found.chunks is not None:
        a, b, a_shared, b_shared = found.chunks
        rows.append(("chunks", f"{share(a_shared, a)} of {found.a}, {share(b_shared, b)} of {found.b}"))
    if found.rows is not None:
        keys = found.rows
        shared = f"{keys.a_shared:,} of {keys.a_rows:,} in {found.a}, {keys.b_shared:,} of {keys.b_rows:,} in"
        rows.append(("rows", f"{shared} {found.b}: {output.amount(keys.keys, 'key')} in both"))
    yield from output.columns(rows)
    for example in found.rows.examples if found.rows is not None else ():
        yield f"  {', '.join(output.safe(str(value)) for value in example)}"


def share(shared_bytes: int, all_bytes: int) -> str:
    """`12.5 % (3 MiB)`."""
    percent = f"{100 * shared_bytes / all_bytes if all_bytes else 0:.1f}".removesuffix(".0")
    return f"{percent} % ({output.size_text(shared_bytes)})"
