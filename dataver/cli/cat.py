"""`dataver cat`: one file's bytes."""

from __future__ import annotations

import shutil
import sys

import click

from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import REF

BLOCK_BYTES = 1 << 20


@verb("cat", "dataver cat iris@v3 train/part-000.csv | head", reads=True)
@click.argument("ref", type=REF)
@click.argument("path")
def command(session: Session, ref: str, path: str) -> None:
    """Write the bytes of the file at PATH to standard output, each checked before it is written."""
    version = session.open().version(ref)
    with version.open(path) as source:
        shutil.copyfileobj(source, sys.stdout.buffer, BLOCK_BYTES)
