"""`dataver trust`: the keys whose signatures count."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataver.signing.trust import TrustedKey

FILE_VARIABLE = "DATAVER_TRUSTED_KEYS"
DOCUMENT = (
    'list: {"trust": file or null, "keys": [{"name", "key", "fingerprint", "public_key"}…]}\n'
    'add, remove: {"keys": [{"name", "key", "fingerprint", "public_key"}…]}'
)


@verb(
    "trust",
    "dataver trust add ada@example.org ~/.ssh/id_ed25519.pub",
    "dataver trust list",
    "dataver trust remove ada@example.org",
    document=DOCUMENT,
)
@click.argument("action", type=click.Choice(["add", "list", "remove"]))
@click.argument("arguments", nargs=-1, metavar="[NAME] [KEY]...")
def command(session: Session, action: str, arguments: tuple[str, ...]) -> None:
    """List, in the repository, the public keys whose signatures count.

    add NAME KEY: KEY is a file with an Ed25519 public key, or the text `ssh-ed25519 AAAA…`. list: those
    that count. remove NAME: all keys of this name, or the one of this fingerprint.

    Whoever may write to the repository may change its list. Where DATAVER_TRUSTED_KEYS names a file, of
    lines as `ada@example.org ssh-ed25519 AAAA…`, that alone counts. The list does not go along with push
    and pull.
    """
    if action == "list":
        if arguments:
            raise click.UsageError("`trust list` takes no argument.")
        show_list(session)
        return
    if not arguments or (action == "add" and len(arguments) < 2):
        raise click.UsageError("Missing argument 'NAME' or 'KEY'.")
    signatures = session.open().signatures
    if action == "add":
        # A key that nobody put into quotes comes in several words.
        done = [signatures.trust(arguments[0], " ".join(arguments[1:]))]
    else:
        done = [entry for argument in arguments for entry in signatures.distrust(argument)]
    session.answer(lambda: {"keys": [entry.to_json() for entry in done]}, lambda: key_lines(done))
    file = os.environ.get(FILE_VARIABLE)
    if file is not None:
        output.note(
            f"{FILE_VARIABLE} is set: the keys in {file or 'no file'} count here, not the repository's"
        )


def show_list(session: Session) -> None:
    """Print the keys that count."""
    keys = session.open().signatures.trusted()
    document: dict[str, Any] = {
        "trust": os.environ.get(FILE_VARIABLE),
        "keys": [entry.to_json() for entry in keys],
    }
    session.answer(lambda: document, lambda: key_lines(keys))


def key_lines(keys: Sequence[TrustedKey]) -> list[str]:
    """A line a key: who holds it, and its fingerprint."""
    return list(output.columns([(output.name(entry.name), entry.key.fingerprint) for entry in keys]))
