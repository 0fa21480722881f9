"""`dataver log`: the versions from a ref back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import REF
from dataver.results import VersionInfo

# Rows aligned together: the first appear at once, however long the history is.
ROWS_A_BLOCK = 100
CHANGED = 4

DOCUMENT = '{"versions": [the document of show, without sources…]}, newest first'


@verb("log", "dataver log iris", "dataver log iris@paper -n 5", reads=True, document=DOCUMENT)
@click.argument("ref", type=REF)
@click.option("--number", "-n", type=click.IntRange(min=0), metavar="N", help="At most so many versions.")
def command(session: Session, ref: str, number: int | None) -> None:
    """List the versions from REF back, newest first."""
    versions = islice(session.open().log(ref), number)
    session.answer(
        lambda: {"versions": [version.to_json() for version in versions]},
        lambda: log_lines(versions),
    )


def log_lines(versions: Iterable[VersionInfo]) -> Iterator[str]:
    """One line a version, aligned block by block; then where the history was copied in part."""
    iterator = iter(versions)
    absent: dict[str, None] = {}
    dataset = ""
    while block := list(islice(iterator, ROWS_A_BLOCK)):
        dataset = block[-1].dataset
        absent.update((parent, None) for version in block for parent in version.absent)
        rows = [row(version) for version in block]
        if not any(cells[CHANGED] for cells in rows):
            rows = [cells[:CHANGED] + cells[CHANGED + 1 :] for cells in rows]
        yield from output.columns(rows)
    for parent in absent:
        yield output.dim(
            f"{output.elided_id(parent)} and what it descends from are not here; "
            f"`dataver pull {output.safe(dataset)} --from URL` brings them"
        )


def row(version: VersionInfo) -> tuple[str, ...]:
    """Version, id, time, author, changes (where they are known), then names and the message's first line."""
    names = [*version.tags, *version.aliases, *(name for name in version.branches if name != "main")]
    badges = f"[{', '.join(map(output.safe, names))}]" if names else ""
    message = output.safe(version.message.strip().partition("\n")[0])
    return (
        output.name(version.version or "-"),
        output.dim(output.short_id(version.id)),
        output.time_text(version.time),
        output.safe(version.author.partition(" <")[0]),
        "" if version.changed is None else output.counts_text(version.changed),
        f"{click.style(badges, fg='yellow')} {message}" if badges else message,
    )
