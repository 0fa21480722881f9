"""`dataver rename`: give a dataset another name."""

from __future__ import annotations

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import DATASET

DOCUMENT = '{"dataset": the new name, "previous": the old one}'


@verb("rename", "dataver rename iris flowers/iris", document=DOCUMENT)
@click.argument("dataset", type=DATASET)
@click.argument("new_name")
def command(session: Session, dataset: str, new_name: str) -> None:
    """Give DATASET the name NEW_NAME. Its versions, tags, aliases and branches go with it."""
    session.open().rename(dataset, new_name)
    session.answer(
        lambda: {"dataset": new_name, "previous": dataset},
        lambda: [f"{output.name(dataset)} is now {output.name(new_name)}"],
    )
