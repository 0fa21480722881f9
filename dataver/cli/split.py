"""`dataver split`: the parts of a version's rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import PLACE, REF

if TYPE_CHECKING:
    from dataver.splits.definition import Split
    from dataver.version import Version

DOCUMENT = (
    'show: {"ref", "version", "id", "definition": {…}, "definition_digest", "parts": {part: rows},\n'
    ' "unassigned": rows}; with a part also {"part", "rows", "digest"}\n'
    'list: {"ref", "version", "id", "splits": [{"name", "digest", "definition": {…}}]}'
)


@verb(
    "split",
    "dataver split show iris@v3:train",
    "dataver split show iris@v3 --by split.toml",
    "dataver split list iris",
    reads=True,
    document=DOCUMENT,
)
@click.argument("action", type=click.Choice(["show", "list"]))
@click.argument("node", type=REF, metavar="REF[:PART]")
@click.option(
    "--by", type=PLACE, metavar="FILE", help="The definition, TOML or JSON; default: the version's own."
)
@click.option("--path", metavar="PATH", help="Where in the version the tables are; default: as defined.")
def command(session: Session, action: str, node: str, by: str | None, path: str | None) -> None:
    """Show how a definition splits the rows of a version's tables.

    show: how many rows each part has; with a PART, which may be NAME/PART, also its digest. list: the
    definitions that the version has itself, in its file .dataver-splits.toml. Only the columns that
    decide are read.
    """
    from dataver import parts
    from dataver.splits.definition import with_path

    ref, part = parts.parse_node(node)
    version = session.open().version(ref)
    if action == "list":
        show_list(session, ref, version, parts.stored(version))
        return
    if part is not None:
        view = version.split(part, by, path=path)
        definition, name, digest = view.definition, view.part, view.digest
    else:
        definition, name, digest = parts.choose(version, None, by), None, ""
        definition = definition if path is None else with_path(definition, path)
    counts = parts.count_parts(version, definition)
    unassigned = counts.pop("", 0)

    def document() -> dict[str, Any]:
        found = {
            **named(ref, version),
            "definition": definition.to_document(),
            "definition_digest": definition.digest,
            "parts": counts,
            "unassigned": unassigned,
        }
        if name is not None:
            found |= {"part": name, "rows": counts.get(name, 0), "digest": digest}
        return found

    def lines() -> Iterator[str]:
        columns = ", ".join(map(output.safe, definition.columns))
        yield f"{output.name(node)}  {definition.kind} split by {columns}"
        shown = counts if name is None else {name: counts.get(name, 0)}
        rows = [(output.safe(part), f"{count:,}", "rows") for part, count in shown.items()]
        if unassigned and name is None:
            rows.append((output.dim("in no part"), f"{unassigned:,}", "rows"))
        yield from output.columns(rows, right=[1])
        yield output.dim(f"definition {definition.digest}")
        if digest:
            yield output.dim(f"part       {digest}")

    session.answer(document, lines)


def show_list(session: Session, ref: str, version: Version, found: dict[str, Split]) -> None:
    """Print the definitions of a version by name."""
    session.answer(
        lambda: {
            **named(ref, version),
            "splits": [
                {"name": name, "digest": split.digest, "definition": split.to_document()}
                for name, split in sorted(found.items())
            ],
        },
        lambda: output.columns(
            [
                (
                    output.name(name or "-"),
                    split.kind,
                    ", ".join(map(output.safe, split.columns)),
                    split.digest,
                )
                for name, split in sorted(found.items())
            ]
        ),
    )


def named(ref: str, version: Version) -> dict[str, Any]:
    """What names the version in a document."""
    number = version.name.rpartition("@")[2]
    return {"ref": ref, "version": number if number.startswith("v") else None, "id": version.id}
