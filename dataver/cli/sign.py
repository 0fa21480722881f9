"""`dataver sign`: vouch for a version or a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import PLACE, REF

if TYPE_CHECKING:
    from dataver.signatures import Signed

DOCUMENT = (
    '{"subject": name, "kind": "version" or "run", "id", "key", "fingerprint", "name": text or null,\n'
    ' "created": bool}'
)


@verb(
    "sign",
    "dataver sign iris@v3 --key ~/.ssh/id_ed25519",
    "dataver sign iris@v3 --key agent",
    "dataver sign run:0f8e2b6c4d1a49738e5b2c7d9a0f1e3b --key agent:ada@example.org",
    document=DOCUMENT,
)
@click.argument("ref", type=REF, metavar="REF|RUN")
@click.option(
    "--key",
    metavar="FILE|agent[:KEY]",
    type=PLACE,
    help="A private key, or the SSH agent's of this fingerprint or comment; default: DATAVER_SIGNING_KEY.",
)
def command(session: Session, ref: str, key: str | None) -> None:
    """Vouch for a version, or for a run that ended, with an Ed25519 key.

    The signature is over the version's id, the digest of its files and the root of its manifest, and so
    over every byte of it; it is a DSSE envelope in the repository, and goes along with push and pull.
    A key file is OpenSSH's or PEM; where it is encrypted, DATAVER_SIGNING_PASSPHRASE opens it, or you are
    asked. Signing again with the same key records nothing.
    """
    result = session.open().signatures.sign(ref, key, passphrase=ask)
    session.answer(result.to_json, lambda: result_lines(result))
    if result.signer is None:
        output.note(
            f"the key {result.fingerprint} is not trusted here; `dataver trust add NAME KEY` lists it"
        )


def ask() -> str | None:
    """The passphrase, typed unseen by who sits there; None where nobody does."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    answer: str = click.prompt(
        "Passphrase of the key", hide_input=True, err=True, default="", show_default=False
    )
    return answer or None


def result_lines(result: Signed) -> Iterator[str]:
    """What was signed, and by which key."""
    before = "" if result.created else "  (as before)"
    signer = output.safe(result.signer or result.fingerprint)
    yield f"{output.name(result.subject)}  signed by {signer}{before}"
