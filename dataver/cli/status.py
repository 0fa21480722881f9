"""`dataver status`: what changed since the head."""

from __future__ import annotations

import click

from dataver.cli import output
from dataver.cli.options import CHANGES_DOCUMENT, verb
from dataver.cli.session import Session
from dataver.cli.types import DATASET, PLACE


@verb("status", "dataver status iris data/iris", reads=True, document=CHANGES_DOCUMENT)
@click.argument("dataset", type=DATASET)
@click.argument("source", required=False, type=PLACE)
def command(session: Session, dataset: str, source: str | None) -> None:
    """Show what SOURCE has added, modified, deleted and renamed since the head of DATASET.

    Without SOURCE it is the one that this machine knows for DATASET. Files that did not change on
    disk are not read again.
    """
    repository = session.open()
    with session.watch() as progress:
        changes = repository.status(dataset, source, progress=progress)
    session.answer(changes.to_json, lambda: output.changes_lines(changes))
