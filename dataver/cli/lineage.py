"""`dataver lineage`: what something was made of, and what was made of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import PLACE, REF

if TYPE_CHECKING:
    from dataver.lineage.graph import Lineage

DOCUMENT = (
    '{"start": id, "nodes": [{"id", "kind": version, part, run, model, file, source or external, …}…],\n'
    ' "edges": [{"from": id, "to": id, "kind": parent, derived, source, part, read, made, started, in,\n'
    '   brought or same, "role", "ref"}…], "complete": bool}'
)
COLOURS = {"version": "cyan", "part": "cyan", "run": "yellow", "model": "green", "file": "blue"}


@verb(
    "lineage",
    "dataver lineage model:churn@v2 --up",
    "dataver lineage iris@v3 --down --depth 2",
    "dataver lineage run:39a8545a --html lineage.html",
    "dataver lineage file:iris@v3!train/a.csv --mermaid",
    reads=True,
    document=DOCUMENT,
)
@click.argument("node", type=REF)
@click.option("--up", is_flag=True, help="Only what it came from.")
@click.option("--down", is_flag=True, help="Only what came of it.")
@click.option("--depth", type=click.IntRange(min=0), metavar="N", help="So many steps at most.")
@click.option(
    "--max",
    "nodes_max",
    type=click.IntRange(min=1),
    metavar="N",
    help="So many nodes at most; default: 10,000.",
)
@click.option("--dot", "form", flag_value="dot", help="Print a graph for Graphviz.")
@click.option("--mermaid", "form", flag_value="mermaid", help="Print a flowchart for Mermaid.")
@click.option("--html", type=PLACE, metavar="FILE", help="Also write a page with a picture.")
def command(
    session: Session,
    node: str,
    up: bool,
    down: bool,
    depth: int | None,
    nodes_max: int | None,
    form: str | None,
    html: str | None,
) -> None:
    """Show what NODE was made of and what was made of it: versions, runs, models and files.

    NODE is REF or REF:PART, model:NAME@vN, run:ID, file:REF!PATH, or what an integration knows. Up and
    down without --up or --down. What is recorded and not here is shown with where it is.
    """
    from dataver.lineage import drawing
    from dataver.lineage.graph import NODES_MAX, lineage

    both = up == down
    found = lineage(
        session.open().session, node, up=up or both, down=down or both, depth=depth,
        nodes_max=nodes_max or NODES_MAX,
    )  # fmt: skip
    if html is not None:
        from dataver.lineage.graph_page import page

        output.write_file(html, page(found).encode("utf-8", "replace"))
    if form is not None and not session.json:
        output.write_lines(drawing.dot(found) if form == "dot" else drawing.mermaid(found))
    else:
        session.answer(found.to_json, lambda: tree_lines(found, up=up or both, down=down or both))
    if not found.complete and depth is None:
        output.warn(f"these are the nearest {len(found.nodes):,} nodes; --max shows more")


def tree_lines(found: Lineage, *, up: bool, down: bool) -> Iterator[str]:
    """The node, then what it came from, then what came of it; each step is indented."""
    from dataver.lineage.graph_text import tree
    from dataver.lineage.labels import subtitle, title

    facts = found.nodes[found.start]
    yield f"{name(title(facts), facts['kind'])}  {output.dim(output.safe(subtitle(facts)))}".rstrip()
    for wanted, heading, upwards in ((up, "came from", True), (down, "used by", False)):
        if not wanted:
            continue
        if up and down:
            yield output.dim(f"{heading}:")
        empty = True
        for line in tree(found, up=upwards):
            empty = False
            again = "  (see above)" if line.again else ""
            rest = output.dim(output.safe(line.rest) + again)
            words = output.safe(line.words)
            yield f"{'  ' * (line.depth + 1)}{words} {name(line.title, line.kind)}  {rest}".rstrip()
        if empty:
            yield output.dim("  nothing that is recorded")


def name(text: str, kind: str) -> str:
    """The name of a node in the colour of its kind."""
    return click.style(output.safe(text), fg=COLOURS.get(kind, "magenta"), bold=True)
