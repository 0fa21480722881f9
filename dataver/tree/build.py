"""Trees from all their rows at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dataver.format.node import Row
from dataver.tree.schema import Link, LinkedNode, NodeStore
from dataver.tree.split import Splitter


def build(nodes: NodeStore, rows: Iterable[Row]) -> Link:
    """The root of the tree of `rows`, which come in ascending order of distinct keys."""
    level = 0
    made = list(split(nodes, level, rows))
    while len(made) > 1:
        level += 1
        made = list(split(nodes, level, map(nodes.schema.row, made)))
    return made[0].link if made else empty(nodes)


def empty(nodes: NodeStore) -> Link:
    """The root of a tree without rows: a leaf that has none."""
    return nodes.save(0, [])


def split(nodes: NodeStore, level: int, rows: Iterable[Row]) -> Iterator[LinkedNode]:
    """Save the nodes that `rows` fall into on one level."""
    splitter = Splitter(level)
    weigh = nodes.schema.weigh
    pending: list[Row] = []
    for row in rows:
        pending.append(row)
        if splitter.ends_after(row.key, weigh(row)):
            yield LinkedNode(row.key, nodes.save(level, pending))
            pending = []
    if pending:
        yield LinkedNode(pending[-1].key, nodes.save(level, pending))
