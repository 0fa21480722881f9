"""Reading a tree: one key, a range of keys, all rows."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from operator import attrgetter

from dataver.format.node import Row
from dataver.tree.schema import Link, NodeStore


def find(nodes: NodeStore, root: Link, key: bytes) -> Row | None:
    """The row of `key`, or None. Reads one node a level."""
    level, rows = nodes.load(root)
    while level:
        at = position(rows, key)
        if at == len(rows):
            return None
        level, rows = nodes.load(nodes.schema.link(rows[at]))
    at = position(rows, key)
    return rows[at] if at < len(rows) and rows[at].key == key else None


def scan(nodes: NodeStore, root: Link, start: bytes = b"", stop: bytes | None = None) -> Iterator[Row]:
    """The rows with `start` <= key < `stop`, in order; nodes outside the range are not read."""
    level, rows = nodes.load(root)
    first = position(rows, start)
    if not level:
        last = len(rows) if stop is None else position(rows, stop)
        yield from rows[first:last]
        return
    for row in rows[first:]:
        yield from scan(nodes, nodes.schema.link(row), start, stop)
        if stop is not None and row.key >= stop:
            return


def links(nodes: NodeStore, root: Link) -> Iterator[Link]:
    """Every node of the tree, parents first; a node met twice is given twice."""
    yield root
    level, rows = nodes.load(root)
    if level:
        for row in rows:
            yield from links(nodes, nodes.schema.link(row))


def prefix_stop(prefix: bytes) -> bytes | None:
    """The first key after all keys that begin with `prefix`; None where there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None


def position(rows: Sequence[Row], key: bytes) -> int:
    """The position of the first row whose key is not below `key`."""
    return bisect_left(rows, key, key=attrgetter("key"))
