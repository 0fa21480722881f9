"""Trees from all their rows at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from dataver.format.node import Row
from dataver.tree.schema import Link, LinkedNode, NodeStore
from dataver.tree.split import Splitter

ROWS_TOGETHER = 1024


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
    rows = iter(rows)
    while some := list(islice(rows, ROWS_TOGETHER)):
        start = 0
        for end in splitter.ends([row.key for row in some], list(map(weigh, some))):
            pending += some[start:end]
            yield LinkedNode(pending[-1].key, nodes.save(level, pending))
            pending, start = [], end
        pending += some[start:]
    if pending:
        yield LinkedNode(pending[-1].key, nodes.save(level, pending))
