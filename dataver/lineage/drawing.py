"""A lineage as pictures: SVG, and the languages of Graphviz and Mermaid.

Every name comes from somebody's repository: what does not print is spelled out, and each language's own
signs are escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterator

from dataver.lineage.graph import Edge, Lineage
from dataver.lineage.labels import CAME_OF, subtitle, title
from dataver.lineage.layout import lay_out
from dataver.paths import safe_spelling

__all__ = ["DRAWN_MAX", "dot", "escaped", "mermaid", "printable", "svg"]

DRAWN_MAX = 300
"""So many nodes are drawn, the nearest to the start."""
_BOX_WIDTH, _BOX_HEIGHT = 230, 46
_GAP_WIDTH, _ROW_HEIGHT, _MARGIN = 90, 66, 14
_TITLE_SIGNS, _SUBTITLE_SIGNS = 27, 34


def printable(value: object) -> str:
    """Anything as one line of signs that print."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else safe_spelling(sign) for sign in text)


def escaped(value: object) -> str:
    """Anything as text of a page."""
    return html.escape(printable(value))


def drawn(found: Lineage) -> tuple[list[str], list[Edge]]:
    """The nodes that a picture has, nearest first, and the edges between them."""
    nodes = list(found.nodes)[:DRAWN_MAX]
    present = set(nodes)
    return nodes, [edge for edge in found.edges if edge.source in present and edge.target in present]


def svg(found: Lineage) -> str:
    """The picture, left to right; boxes link to the anchors `node-N`, N counting nodes from 1."""
    nodes, edges = drawn(found)
    layout = lay_out(nodes, [(edge.source, edge.target) for edge in edges])
    width = 2 * _MARGIN + layout.layers * _BOX_WIDTH + max(0, layout.layers - 1) * _GAP_WIDTH
    height = 2 * _MARGIN + max(1.0, layout.rows) * _ROW_HEIGHT
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" width="{width}" '
            f'height="{height:.0f}" role="img" aria-label="{escaped(f"Lineage of {found.start}")}">'
        ),
        (
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" '
            'orient="auto"><path d="M0 0L8 4L0 8Z" class="head"/></marker></defs>'
        ),
    ]
    labels = []
    for edge in edges:
        route = layout.routes.get((edge.source, edge.target))
        if route is not None:
            points = [(_x(layer), _y(row)) for layer, row in route]
            parts.append(f'<path class="edge" d="{_curve(points)}" marker-end="url(#arrow)"/>')
            labels.append(_label(edge, points))
    for number, id in enumerate(nodes, 1):
        layer, row = layout.places[id]
        parts.append(_box(found, id, number, _x(layer), _y(row)))
    return "\n".join([*parts, *labels, "</svg>"])


def _x(layer: int) -> float:
    return _MARGIN + layer * (_BOX_WIDTH + _GAP_WIDTH)


def _y(row: float) -> float:
    return _MARGIN + row * _ROW_HEIGHT


def _curve(points: list[tuple[float, float]]) -> str:
    """From the right side of the first box to the left side of the last, level where a layer is crossed."""
    backwards = points[0][0] > points[-1][0]
    (x, y), rest = points[0], points[1:]
    x += 0 if backwards else _BOX_WIDTH
    path = f"M{x:.0f} {y:.1f}"
    for number, (next_x, next_y) in enumerate(rest):
        last = number == len(rest) - 1
        end = next_x + (_BOX_WIDTH if backwards else 0)
        half = (end - x) / 2
        path += f"C{x + half:.0f} {y:.1f} {end - half:.0f} {next_y:.1f} {end:.0f} {next_y:.1f}"
        if not last:
            end = next_x + (0 if backwards else _BOX_WIDTH)
            path += f"H{end:.0f}"
        x, y = end, next_y
    return path


def _label(edge: Edge, points: list[tuple[float, float]]) -> str:
    (x, y), (next_x, next_y) = points[0], points[1]
    middle = (x + _BOX_WIDTH + next_x) / 2 if next_x > x else (next_x + _BOX_WIDTH + x) / 2
    words = edge.role if edge.kind == "read" and edge.role else CAME_OF.get(edge.kind, edge.kind)
    place = f'x="{middle:.0f}" y="{(y + next_y) / 2 - 3:.1f}"'
    return f'<text class="word" {place}>{escaped(_cut(words, 13))}</text>'


def _box(found: Lineage, id: str, number: int, x: float, y: float) -> str:
    facts = found.nodes[id]
    top = y - _BOX_HEIGHT / 2
    start = " start" if id == found.start else ""
    lost = " lost" if facts.get("state") not in (None, "here") else ""
    return (
        f'<a href="#node-{number}"><g class="{escaped(facts["kind"])}{start}{lost}">'
        f"<title>{escaped(id)}</title>"
        f'<rect class="box" x="{x:.0f}" y="{top:.1f}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="6"/>'
        f'<rect class="bar" x="{x:.0f}" y="{top:.1f}" width="6" height="{_BOX_HEIGHT}" rx="3"/>'
        f'<text class="title" x="{x + 14:.0f}" y="{y - 3:.1f}">'
        f"{escaped(_cut(title(facts), _TITLE_SIGNS))}</text>"
        f'<text class="sub" x="{x + 14:.0f}" y="{y + 14:.1f}">'
        f"{escaped(_cut(subtitle(facts), _SUBTITLE_SIGNS))}</text></g></a>"
    )


def _cut(text: str, signs: int) -> str:
    text = printable(text)
    return text if len(text) <= signs else text[: signs - 1] + "…"


# Languages of other tools

_SHAPES = {"run": "ellipse", "model": "box3d", "file": "note", "source": "cylinder"}


def dot(found: Lineage) -> Iterator[str]:
    """The lines of a graph for Graphviz."""
    names = {id: f"n{number}" for number, id in enumerate(found.nodes, 1)}
    yield "digraph lineage {"
    yield '  rankdir="LR"; node [shape="box", fontname="sans-serif"]; edge [fontname="sans-serif"];'
    for id, facts in found.nodes.items():
        label = _quoted("\n".join(filter(None, (title(facts), subtitle(facts)))))
        shape = _SHAPES.get(facts["kind"], "box")
        style = ', style="bold"' if id == found.start else ""
        yield f'  {names[id]} [label={label}, shape="{shape}"{style}];'
    for edge in found.edges:
        words = edge.role or CAME_OF.get(edge.kind, edge.kind)
        yield f"  {names[edge.source]} -> {names[edge.target]} [label={_quoted(words)}];"
    yield "}"


def _quoted(text: str) -> str:
    lines = [printable(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n")]
    return '"' + "\\n".join(lines) + '"'


_ROUND = {"run": ("([", "])"), "model": ("[[", "]]"), "source": ("[(", ")]")}


def mermaid(found: Lineage) -> Iterator[str]:
    """The lines of a flowchart for Mermaid."""
    names = {id: f"n{number}" for number, id in enumerate(found.nodes, 1)}
    yield "flowchart LR"
    for id, facts in found.nodes.items():
        left, right = _ROUND.get(facts["kind"], ("[", "]"))
        label = "<br>".join(_entities(part) for part in (title(facts), subtitle(facts)) if part)
        yield f'  {names[id]}{left}"{label}"{right}'
    for edge in found.edges:
        words = edge.role or CAME_OF.get(edge.kind, edge.kind)
        yield f'  {names[edge.source]} -->|"{_entities(words)}"| {names[edge.target]}'


def _entities(text: str) -> str:
    """Every sign that is no letter, digit or plain mark as Mermaid's numbered entity."""
    return "".join(
        sign if sign.isalnum() or sign in " .,:@/_-+=~!…" else f"#{ord(sign)};" for sign in printable(text)
    )
