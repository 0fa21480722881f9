"""`dataver verify-signature`: who signed a version or a run, and whether that counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import REF
from dataver.errors import SignatureError

if TYPE_CHECKING:
    from dataver.signatures import SignatureReport
    from dataver.signing.check import SignatureInfo

DOCUMENT = (
    '{"subject": name, "kind": "version" or "run", "id", "ok": bool, "trust": file or null,\n'
    ' "signatures": [{"key", "fingerprint", "name": text or null, "trusted": bool, "valid": bool,\n'
    '   "problem": text or null}…]}'
)


@verb(
    "verify-signature",
    "dataver verify-signature iris@v3",
    "dataver verify-signature run:0f8e2b6c4d1a49738e5b2c7d9a0f1e3b --json",
    reads=True,
    document=DOCUMENT,
)
@click.argument("ref", type=REF, metavar="REF|RUN")
def command(session: Session, ref: str) -> None:
    """Check the signatures of a version or a run: by which key, whether that is trusted, whether it is right.

    Ends with exit code 9 unless at least one valid signature is by a trusted key: one of the file
    DATAVER_TRUSTED_KEYS where that is set, else one that `dataver trust` listed in the repository. The
    bytes are not read: each read compares them with the digests that were signed.
    """
    report = session.open().signatures.verify(ref)
    session.answer(report.to_json, lambda: report_lines(report))
    if not report.ok:
        where = report.trust or "this repository"
        raise SignatureError(f"{report.subject} has no valid signature by a key that {where} trusts")


def report_lines(report: SignatureReport) -> Iterator[str]:
    """The name, then a line a signature."""
    yield f"{output.name(report.subject)}  {output.elided_id(report.id)}"
    yield from output.columns([signature_row(one) for one in report.signatures])


def signature_row(one: SignatureInfo) -> tuple[str, ...]:
    """Whether it counts, who and which key, and what is wrong with it."""
    word, colour = ("good", "green") if one else ("valid", "yellow") if one.valid else ("wrong", "red")
    verdict = click.style(word, fg=colour)
    return verdict, output.safe(one.name or "-"), one.fingerprint, output.safe(one.problem or "")
