"""A lineage as an indented tree for people: up to the origins, then down to the uses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from dataver.lineage.graph import Edge, Lineage
from dataver.lineage.labels import edge_words, subtitle, title
from dataver.values import dataclass

__all__ = ["Line", "tree"]

_IN_LINE = ("parent",)
"""One that follows another by such an edge is not indented again: a line of versions is one."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: how deep, the words of the edge, the node's title and what else is said of it.

    `again`: what is beyond the node stands further up.
    """

    depth: int
    words: str
    title: str
    rest: str
    kind: str
    again: bool = False


def tree(found: Lineage, *, up: bool) -> Iterator[Line]:
    """The lines of one direction, without the start itself. A node that is met again is not gone into."""
    beyond: dict[str, list[Edge]] = defaultdict(list)
    for edge in found.edges:
        beyond[edge.target if up else edge.source].append(edge)
    seen = {found.start}
    # Not by recursion: a history may be longer than the stack.
    waiting = [(0, edge) for edge in reversed(beyond[found.start])]
    while waiting:
        depth, edge = waiting.pop()
        id = edge.source if up else edge.target
        facts = found.nodes[id]
        again = id in seen and bool(beyond[id])
        yield Line(depth, edge_words(edge, up=up), title(facts), subtitle(facts), facts["kind"], again)
        if id in seen:
            continue
        seen.add(id)
        for following in reversed(beyond[id]):
            level = edge.kind in _IN_LINE and following.kind in _IN_LINE
            waiting.append((depth if level else depth + 1, following))
