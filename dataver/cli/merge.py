"""`dataver merge`: bring another line's changes on top of a branch."""

from __future__ import annotations

import click

from dataver.cli.commit import DOCUMENT, committed_lines
from dataver.cli.options import author_option, message_option, verb
from dataver.cli.session import Session
from dataver.cli.types import REF


@verb("merge", 'dataver merge iris@cleaning -m "cleaned labels"', document=DOCUMENT)
@click.argument("ref", type=REF)
@click.option("--branch", "-b", metavar="B", default="main", help="The branch that gets the changes.")
@message_option
@author_option
def command(session: Session, ref: str, branch: str, message: str, author: str | None) -> None:
    """Bring the changes of REF on top of a branch: one version with two parents, no data copied.

    Where both sides changed the same path differently, nothing is merged.
    """
    result = session.open().merge(ref, branch=branch, message=message, author=author)
    session.answer(result.to_json, lambda: committed_lines(result, branch))
