"""`dataver show`: one version."""

from __future__ import annotations

from collections.abc import Iterator

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import REF
from dataver.results import VersionInfo

DOCUMENT = (
    '{"dataset", "version": "v3" or null, "id", "parents": [id…], "tree", "files", "bytes", "new_bytes",\n'
    ' "stored_bytes", "message", "author", "time": RFC 3339 UTC, "tags": […], "aliases": […],\n'
    ' "branches": […], "meta": {…}, "runs": […],\n'
    ' "changed": {"added", "modified", "deleted", "renamed"} or null, "absent": [id…]}'
)


@verb("show", "dataver show iris@v3", "dataver show iris --json", reads=True, document=DOCUMENT)
@click.argument("ref", type=REF)
def command(session: Session, ref: str) -> None:
    """Show one version: id, parents, message, author, time, sizes, names and runs."""
    version = session.open().show(ref)
    session.answer(version.to_json, lambda: version_lines(version))


def version_lines(version: VersionInfo) -> Iterator[str]:
    """The name of the version, its facts in two columns, then the message."""
    yield output.name(f"{version.dataset}@{version.version or output.short_id(version.id)}")
    new = f"{output.size_text(version.new_bytes)}, stored {output.size_text(version.stored_bytes)}"
    facts = [
        ("id", version.id),
        *(("parent", parent + " (not here)" * (parent in version.absent)) for parent in version.parents),
        ("tree", version.tree),
        ("author", output.safe(version.author)),
        ("time", output.time_text(version.time)),
        ("files", f"{output.amount(version.files, 'file')}, {output.size_text(version.bytes)}"),
        ("new", new),
        ("changed", "" if version.changed is None else output.counts_text(version.changed)),
        ("tags", ", ".join(map(output.safe, version.tags))),
        ("aliases", ", ".join(map(output.safe, version.aliases))),
        ("branches", ", ".join(map(output.safe, version.branches))),
        *(("run", run) for run in version.runs),
        *(("meta", output.safe(f"{key}={value}")) for key, value in sorted(version.meta.items())),
    ]
    yield from output.columns([(output.dim(key), value) for key, value in facts if value])
    if version.message:
        yield ""
        yield from (f"    {output.safe(line)}".rstrip() for line in version.message.rstrip("\n").split("\n"))
