"""`dataver diff`: what differs between two versions."""

from __future__ import annotations

import click

from dataver.cli import output
from dataver.cli.options import CHANGES_DOCUMENT, REF, verb
from dataver.cli.session import Session


@verb(
    "diff",
    "dataver diff iris@v1 iris@v3",
    "dataver diff iris@paper iris --stat",
    reads=True,
    document=CHANGES_DOCUMENT,
)
@click.argument("old", type=REF, metavar="REF")
@click.argument("new", type=REF, metavar="REF")
@click.option("--stat", is_flag=True, help="Only how many files were added, modified, deleted, renamed.")
def command(session: Session, old: str, new: str, stat: bool) -> None:
    """Show the files that were added, modified, deleted and renamed from the first REF to the second."""
    changes = session.open().diff(old, new)
    session.answer(
        changes.to_json,
        lambda: [output.counts_text(changes.counts)] if stat else output.changes_lines(changes),
    )
