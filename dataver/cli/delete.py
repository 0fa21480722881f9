"""`dataver delete`: delete a dataset, or bring it back."""

from __future__ import annotations

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import DATASET

DOCUMENT = '{"dataset", "deleted": bool}'


@verb("delete", "dataver delete iris", "dataver delete iris --undo", document=DOCUMENT)
@click.argument("dataset", type=DATASET)
@click.option("--undo", is_flag=True, help="Bring a deleted dataset back.")
def command(session: Session, dataset: str, undo: bool) -> None:
    """Delete DATASET with all its names. Its data stays until a sweep; until then --undo brings it back."""
    repository = session.open()
    if undo:
        repository.undelete_dataset(dataset)
        line = f"{output.name(dataset)} is back"
    else:
        repository.delete_dataset(dataset)
        line = (
            f"{output.name(dataset)} deleted; `dataver delete {output.safe(dataset)} --undo` brings it back"
        )
    session.answer(lambda: {"dataset": dataset, "deleted": not undo}, lambda: [line])
