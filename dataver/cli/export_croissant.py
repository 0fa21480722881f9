"""`dataver export croissant`: a version's files and tables as Croissant."""

from __future__ import annotations

import click

from dataver.cli.export_files import DOCUMENT, output_option, written
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import REF


@verb(
    "croissant",
    "dataver export croissant iris@v3 -o data/croissant.json",
    "dataver export croissant iris@v3 --base-url https://data.example.org/iris/v3",
    document=DOCUMENT,
)
@click.argument("ref", type=REF)
@click.option(
    "--base-url",
    metavar="URL",
    default="",
    help="Where the files are served, each by its path; default: beside the document, as in a checkout.",
)
@output_option
def command(session: Session, ref: str, base_url: str, file: str | None) -> None:
    """Describe the files and tables of a version as Croissant 1.0.

    The document belongs at the root of a checkout of the version, or says with --base-url where its files are
    served. Parquet files are record sets, whose rows its readers stream. Licence, creator, citation and what
    is asked for responsible AI are from the card. Every byte is read, for the SHA-256 of each file.
    """
    from dataver.exports.croissant import croissant
    from dataver.exports.facts import document_bytes

    version = session.open().version(ref)
    with session.watch() as progress:
        document = croissant(version, base_url, progress)
    written(session, document_bytes(document), file)
