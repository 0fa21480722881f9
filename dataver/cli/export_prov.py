"""`dataver export prov`: where something came from, as W3C PROV."""

from __future__ import annotations

import click

from dataver.cli.export_files import DOCUMENT, output_option, written
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import REF

FORMATS = ("json", "provn", "xml")


@verb(
    "prov",
    "dataver export prov iris@v3 -o iris.json",
    "dataver export prov model:churn@v2 --format provn",
    document=DOCUMENT,
)
@click.argument("subject", type=REF, metavar="REF|MODEL|RUN")
@click.option(
    "--format", "kind", type=click.Choice(FORMATS), default="json", show_default=True,
    help="PROV-JSON, PROV-N or PROV-XML: the same records.",
)  # fmt: skip
@output_option
def command(session: Session, subject: str, kind: str, file: str | None) -> None:
    """Write what a version, model or run came from: versions, sources, runs and authors, as W3C PROV.

    Versions, models and sources are entities, runs and commits activities, authors agents. A model is
    model:NAME@vN or whatever `dataver audit` takes, a run is run:ID.
    """
    from dataver.exports.facts import document_bytes, subject_of
    from dataver.exports.prov import prov_of_audit, prov_of_version
    from dataver.version import Version

    found = subject_of(session.open(), subject)
    document = prov_of_version(found) if isinstance(found, Version) else prov_of_audit(found)
    if kind == "json":
        written(session, document_bytes(document.to_json()), file)
        return
    text = document.to_xml() if kind == "xml" else document.to_provn()
    written(session, text.encode(), file, is_json=False)
