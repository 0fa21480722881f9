"""`dataver export cyclonedx`: the bill of materials of a model or a version."""

from __future__ import annotations

import click

from dataver.cli.export_files import DOCUMENT, output_option, written
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import REF


@verb(
    "cyclonedx",
    "dataver export cyclonedx model:churn@v2 -o bom.json",
    "dataver export cyclonedx iris@v3",
    document=DOCUMENT,
)
@click.argument("subject", type=REF, metavar="REF|MODEL")
@output_option
def command(session: Session, subject: str, file: str | None) -> None:
    """Write the bill of materials of a model or a version: CycloneDX 1.6, an ML-BOM, as JSON.

    That of a model, model:NAME@vN or whatever `dataver audit` takes, has the versions that it was made of,
    packages, parameters, metrics and its run. That of a version has its files. The same subject gives the
    same bytes. A model whose data are missing or changed has none.
    """
    from dataver.exports.cyclonedx import bom_of_audit, bom_of_version
    from dataver.exports.facts import document_bytes, subject_of
    from dataver.version import Version

    found = subject_of(session.open(), subject)
    document = bom_of_version(found) if isinstance(found, Version) else bom_of_audit(found)
    written(session, document_bytes(document), file)
