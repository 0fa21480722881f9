"""Changing a tree: only the nodes whose rows change are read and written.

On each level the edits are merged into the rows from the start of the node that the first of them
falls into, and split again until a new node ends where an old one ended; there the old nodes stand
as they are, up to the next edit. The nodes that went and came are the edits of the level above. The
result is the very tree that a build from all rows gives.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

from dataver.format.node import Row
from dataver.tree.build import build, empty, split
from dataver.tree.schema import Link, LinkedNode, Node, NodeStore
from dataver.tree.split import Splitter
from dataver.tree.walk import child, position
from dataver.values import dataclass

Edits = Mapping[bytes, Row | None]
"""New rows by key; None removes a key. Removing a key that is not there changes nothing."""


class OrderedEdits(Edits):
    """Edits that need not be sorted, nor all be made at once."""

    @abstractmethod
    def in_order(self) -> Iterator[tuple[bytes, Row | None]]:
        """All edits, in ascending order of their keys."""


def update(nodes: NodeStore, root: Link, edits: Edits) -> Link:
    """The root of the tree with `edits` made. On the empty tree `OrderedEdits` are taken one by one."""
    if not edits:
        return root
    height, rows = nodes.load(root)
    if not rows:
        every = edits.in_order() if isinstance(edits, OrderedEdits) else sorted(edits.items(), key=_edited)
        return build(nodes, (row for _, row in every if row is not None))
    level_edits: dict[bytes, Row | None] = dict(edits.items())
    for level in range(height):
        level_edits = _Level(nodes, root, level).apply(level_edits)
        if not level_edits:
            return root
    top = list(split(nodes, height, _merge(rows, level_edits)))
    return _crown(nodes, height, top)


def _crown(nodes: NodeStore, level: int, top: list[LinkedNode]) -> Link:
    """The root over the nodes of the highest level: a level more, or as many less as hold one row."""
    while len(top) > 1:
        level += 1
        top = list(split(nodes, level, map(nodes.schema.row, top)))
    if not top:
        return empty(nodes)
    link = top[0].link
    level, rows = nodes.load(link)
    while level and len(rows) == 1:
        link = nodes.schema.link(rows[0])
        level, rows = nodes.load(link)
    return link


def _merge(rows: Iterable[Row], edits: Edits) -> list[Row]:
    old, merged, at = list(rows), list[Row](), 0
    for key in sorted(edits):
        here = bisect_left(old, key, at, key=_key)
        merged += old[at:here]
        edited = edits[key]
        if edited is not None:
            merged.append(edited)
        at = here + 1 if here < len(old) and old[here].key == key else here
    return merged + old[at:]


def _key(row: Row) -> bytes:
    return row.key


def _edited(edit: tuple[bytes, Row | None]) -> bytes:
    return edit[0]


@dataclass(slots=True)
class _Old:
    """A node of the old tree on the level that is edited."""

    last_key: bytes
    link: Link


class _Level:
    """Makes the edits of one level below the root and tells what changes on the level above."""

    def __init__(self, nodes: NodeStore, root: Link, level: int) -> None:
        self._nodes = nodes
        self._root = root
        self._level = level

    def apply(self, edits: Edits) -> dict[bytes, Row | None]:
        """The edits of the level above."""
        keys = sorted(edits)
        above: dict[bytes, Row | None] = {}
        at = 0
        while at < len(keys):
            old = self._covering(keys[at])
            at = self._rewrite(old, edits, keys, at, above)
        return {key: row for key, row in above.items() if not self._same(key, row)}

    def _rewrite(
        self, old: _Old | None, edits: Edits, keys: list[bytes], at: int, above: dict[bytes, Row | None]
    ) -> int:
        """Split again from the start of `old` until the ends meet. Returns the next edit's position."""
        splitter, pending = Splitter(self._level), list[Row]()
        weigh = self._nodes.schema.weigh
        while old is not None:
            above.setdefault(old.last_key, None)
            rows = self._nodes.load(old.link).rows
            following = self._following(old.last_key)
            # The last node takes every edit that is left: there is no node after it.
            end = len(keys) if following is None else bisect_left(keys, old.last_key, at)
            if following is not None and end < len(keys) and keys[end] == old.last_key:
                end += 1
            merged, start = _merge(rows, {key: edits[key] for key in keys[at:end]}), 0
            for stop in splitter.ends([row.key for row in merged], list(map(weigh, merged))):
                pending += merged[start:stop]
                self._close(pending, above)
                pending, start = [], stop
            pending += merged[start:]
            at = end
            if not pending:
                return at
            old = following
            if old is None and pending:
                self._close(pending, above)
        return at

    def _close(self, pending: list[Row], above: dict[bytes, Row | None]) -> None:
        link = self._nodes.save(self._level, pending)
        above[pending[-1].key] = self._nodes.schema.row(LinkedNode(pending[-1].key, link))

    def _covering(self, key: bytes) -> _Old:
        """The old node that `key` falls into: the first that does not end before it, else the last."""
        node, last = self._nodes.load(self._root), b""
        link = self._root
        while node.level > self._level:
            at = min(position(node.rows, key), len(node.rows) - 1)
            last, link, node = self._descend(node, at)
        return _Old(last, link)

    def _following(self, last_key: bytes) -> _Old | None:
        """The old node after the one that ends with `last_key`."""
        path: list[tuple[Node, int]] = []
        node = self._nodes.load(self._root)
        while node.level > self._level:
            at = position(node.rows, last_key)
            path.append((node, at))
            if node.level == self._level + 1:
                break
            _, _, node = self._descend(node, at)
        while path and path[-1][1] + 1 == len(path[-1][0].rows):
            path.pop()
        if not path:
            return None
        node, at = path[-1]
        last, link, node = self._descend(node, at + 1)
        while node.level > self._level:
            last, link, node = self._descend(node, 0)
        return _Old(last, link)

    def _descend(self, node: Node, at: int) -> tuple[bytes, Link, Node]:
        row = node.rows[at]
        return row.key, self._nodes.schema.link(row), child(self._nodes, node.level, row)

    def _same(self, key: bytes, row: Row | None) -> bool:
        """Whether the level above has this very row already."""
        return row is not None and self._row_above(key) == row

    def _row_above(self, key: bytes) -> Row | None:
        node = self._nodes.load(self._root)
        while node.level > self._level + 1:
            at = position(node.rows, key)
            if at == len(node.rows):
                return None
            node = child(self._nodes, node.level, node.rows[at])
        at = position(node.rows, key)
        return node.rows[at] if at < len(node.rows) and node.rows[at].key == key else None
