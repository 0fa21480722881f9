"""`dataver who-used`: which runs and models saw some data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import REF

if TYPE_CHECKING:
    from dataver.lineage.who_used import Use, WhoUsed

DOCUMENT = (
    '{"asked", "digest", "versions": [{"ref", "version_id", "state", "paths": [path…], "files"}…],\n'
    ' "runs": [{"run", "how": read, had access or made, "name", "status", "author", "started",\n'
    '   "version", "role", "ref", "models": [id…]}…], "models": [id…], "unread": {id: reason}}'
)
STYLES = {"read": "red", "had access": "yellow", "made": "cyan"}


@verb(
    "who-used",
    "dataver who-used iris@v3",
    "dataver who-used data/train/a.csv",
    "dataver who-used iris@v3!train/a.csv --json",
    reads=True,
    document=DOCUMENT,
)
@click.argument("what", metavar="FILE|VERSION|DIGEST", type=REF)
def command(session: Session, what: str) -> None:
    """Find the runs that saw a file, a version or a digest, and the models that they made.

    FILE is a file on this machine, which is hashed, or REF!PATH; DIGEST that of a file, a chunk, a version,
    or of all files of a version or a model. `read`: the run's record lists it. `had access`: the record does
    not say which files were read. Runs whose records list others are left out.
    """
    from dataver.lineage.who_used import who_used

    found = who_used(session.open().session, what)
    session.answer(found.to_json, lambda: used_lines(found))
    for subject, reason in found.unread.items():
        output.warn(f"{subject}: {reason}")


def used_lines(found: WhoUsed) -> Iterator[str]:
    """The versions that have it, then a line a run with its models, and how many there are."""
    for held in found.versions:
        more = f" and {held.count - len(held.paths):,} more" if held.count > len(held.paths) else ""
        paths = ", ".join(map(output.path_text, held.paths)) + more
        state = "" if held.node.state == "here" else f"  ({held.node.state})"
        yield f"{output.dim('in')} {output.name(held.node.id)}{state}  {paths}".rstrip()
    yield from output.columns([use_row(use) for use in found.uses])
    runs = len({use.run for use in found.uses})
    yield f"{output.amount(runs, 'run')}, {output.amount(len(found.models), 'model')}"


def use_row(use: Use) -> tuple[str, ...]:
    """How, which run, when and by whom, what it read, and its models."""
    read = f"{use.version} as {use.role}" if use.role else use.version
    return (
        click.style(use.how, fg=STYLES[use.how]),
        output.name(f"run:{use.run[:12]}"),
        output.safe(" ".join(filter(None, (use.name, use.status)))),
        f"{use.started[:16].replace('T', ' ')}Z" if use.started else "",
        output.safe(use.author),
        output.safe(read),
        output.safe(", ".join(use.models)),
    )
