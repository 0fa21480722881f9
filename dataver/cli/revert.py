"""`dataver revert`: a new version with the files of an old one."""

from __future__ import annotations

import click

from dataver.cli.commit import DOCUMENT, committed_lines
from dataver.cli.options import author_option, message_option, verb
from dataver.cli.session import Session
from dataver.cli.types import REF


@verb("revert", 'dataver revert iris@v2 -m "v3 had wrong labels"', document=DOCUMENT)
@click.argument("ref", type=REF)
@click.option("--branch", "-b", metavar="B", default="main", help="The branch that gets the version.")
@message_option
@author_option
def command(session: Session, ref: str, branch: str, message: str, author: str | None) -> None:
    """Make a new version with the files of REF, without copying data. The versions between stay."""
    result = session.open().revert(ref, branch=branch, message=message, author=author)
    session.answer(result.to_json, lambda: committed_lines(result, branch))
