"""Reading a tree: one key, a range of keys, all rows."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from operator import attrgetter

from dataver.errors import DamagedError
from dataver.format.node import Row, Rows
from dataver.tree.schema import Link, Node, NodeStore


def find(nodes: NodeStore, root: Link, key: bytes) -> Row | None:
    """The row of `key`, or None. Reads one node a level."""
    level, rows = nodes.load(root)
    while (at := position(rows, key)) < len(rows):
        row = rows[at]
        if not level:
            return row if row.key == key else None
        level, rows = child(nodes, level, row)
    return None


def scan(nodes: NodeStore, root: Link, start: bytes = b"", stop: bytes | None = None) -> Iterator[Row]:
    """The rows with `start` <= key < `stop`, in order; nodes outside the range are not read."""
    yield from _scan(nodes, nodes.load(root), start, stop)


def _scan(nodes: NodeStore, node: Node, start: bytes, stop: bytes | None) -> Iterator[Row]:
    level, rows = node
    first = position(rows, start)
    if not level:
        last = len(rows) if stop is None else position(rows, stop)
        yield from rows[first:last]
        return
    for at in range(first, len(rows)):  # One after the other: who looks for one path takes one.
        row = rows[at]
        yield from _scan(nodes, child(nodes, level, row), start, stop)
        if stop is not None and row.key >= stop:
            return


def leaves(nodes: NodeStore, root: Link) -> Iterator[Node]:
    """All leaves, in order."""
    yield from _leaves(nodes, nodes.load(root))


def _leaves(nodes: NodeStore, node: Node) -> Iterator[Node]:
    if not node.level:
        yield node
        return
    for row in node.rows:
        yield from _leaves(nodes, child(nodes, node.level, row))


def links(nodes: NodeStore, root: Link) -> Iterator[Link]:
    """Every node of the tree, parents first; a node met twice is given twice."""
    yield root
    yield from _links(nodes, nodes.load(root))


def _links(nodes: NodeStore, node: Node) -> Iterator[Link]:
    if node.level:
        for row in node.rows:
            yield nodes.schema.link(row)
            yield from _links(nodes, child(nodes, node.level, row))


def child(nodes: NodeStore, level: int, row: Row) -> Node:
    """The node that a row of a node on `level` names; `DamagedError` unless it is one level below.

    So a tree that somebody made up is no deeper than the format allows.
    """
    node = nodes.load(nodes.schema.link(row))
    if node.level != level - 1:
        raise DamagedError(
            f"a node on level {level} of a tree names one on level {node.level}; run `dataver verify`"
        )
    return node


def prefix_stop(prefix: bytes) -> bytes | None:
    """The first key after all keys that begin with `prefix`; None where there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None


def position(rows: Sequence[Row], key: bytes) -> int:
    """The position of the first row whose key is not below `key`."""
    if isinstance(rows, Rows):
        return bisect_left(rows.keys, key)
    return bisect_left(rows, key, key=attrgetter("key"))
