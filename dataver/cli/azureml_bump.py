"""`dataver azureml bump`: pin another version in files, and leave the rest as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from dataver.cli import azureml_files as files
from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import PLACE

if TYPE_CHECKING:
    from dataver.integrations.azureml.bump import Bumped

DOCUMENT = (
    '{"ref": "DATASET@ID", "asset": "azureml:NAME:VERSION",\n'
    ' "files": [{"path", "old": [ref…], "new": ref, "changed": bool}…]}'
)


@verb(
    "bump",
    "dataver azureml bump pipeline.yml iris@v4",
    "dataver azureml bump train.yml pipeline.yml schedule.yml iris@prod",
    reads=True,
    document=DOCUMENT,
)
@click.argument("paths", type=PLACE, nargs=-1, required=True, metavar="FILE...")
@click.argument("ref", metavar="REF")
@files.asset_options
def command(
    session: Session, paths: tuple[str, ...], ref: str, asset: str | None, asset_version: str | None
) -> None:
    """Pin REF in each FILE that pins another version of its dataset by digest, and change no other byte.

    DATASET@ID, the same ids in paths, and the version of the data asset azureml:DATASET:3 are set. Where a
    FILE pins no version of the dataset, none is written.
    """
    from dataver.integrations.azureml.bump import bump_files

    pin = files.pin_of(session, ref, "uri_folder", asset, asset_version)
    done = bump_files(paths, pin)
    document = {"ref": pin.ref, "asset": pin.asset, "files": [asdict(one) for one in done]}
    session.answer(lambda: document, lambda: lines(done))


def lines(done: list[Bumped]) -> Iterator[str]:
    """What each file pinned, and pins now."""
    for one in done:
        path = output.safe(one.path)
        if one.changed:
            yield f"{path}  {', '.join(map(output.safe, one.old))} -> {output.name(one.new)}"
        else:
            yield f"{path}  {output.name(one.new)} already"
