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
    'list: {"ref", "version", "id", "splits": [{"name", "digest", "definition": {…}}]}\n'
    'add: {"file", "name", "digest", "definition": {…}}'
)


@verb(
    "split",
    "dataver split show iris@v3:train",
    "dataver split show iris@v3 --by split.toml",
    "dataver split list iris",
    "dataver split add users --key user --part train=0.8 --part test=0.2 --into data",
    "dataver split add time --time day --part past=..2026-01-01 --part future=2026-01-01.. --into data",
    reads=True,
    document=DOCUMENT,
)
@click.argument("action", type=click.Choice(["show", "list", "add"]))
@click.argument("node", type=REF, metavar="REF[:PART]|NAME")
@click.option(
    "--by", type=PLACE, metavar="FILE", help="The definition, TOML or JSON; default: the version's own."
)
@click.option("--path", metavar="PATH", help="Where in the version the tables are; default: as defined.")
@click.option("--key", metavar="COLUMN[,COLUMN]…", help="add: parts are fractions of the keys, or lists.")
@click.option("--time", metavar="COLUMN", help="add: parts are FROM..TO of the times in a column.")
@click.option("--column", metavar="COLUMN", help="add: parts are values of a column.")
@click.option(
    "--part",
    "parts",
    metavar="NAME=WHAT",
    multiple=True,
    help="add: a fraction, FROM..TO, VALUE[,VALUE]…, or the file of the version that lists its keys.",
)
@click.option("--salt", default="", metavar="TEXT", help="add: another salt, another choice by the same key.")
@click.option("--rest", metavar="PART", help="add: the part of keys that are in no list.")
@click.option(
    "--into",
    type=PLACE,
    default=".",
    metavar="FOLDER",
    help="add: the folder that is committed; default: here.",
)
def command(session: Session, action: str, node: str, by: str | None, path: str | None, **more: Any) -> None:
    """Show how a definition splits the rows of a version's tables, or define a split.

    show: how many rows each part has; with a PART, which may be NAME/PART, also its digest. Only the columns
    that decide are read. list: the definitions that the version has itself, in its file
    .dataver-splits.toml. add: write the definition NAME into that file of a folder; the next commit of the
    folder has it, and so have a lock file's pins of that version. It is given by --key, --time or --column
    and its parts, or by --by.
    """
    if action == "add":
        from dataver.cli.split_add import add

        add(session, node, by, path, **more)
        return
    if given := [name for name, value in more.items() if value and (name, value) != ("into", ".")]:
        raise click.UsageError(f"--{given[0].removesuffix('s')} is for `split add`.")
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
