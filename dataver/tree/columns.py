"""A tree's rows as columns: where a range of keys is wanted and hardly any row of it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import Any

from dataver.format.node import Row, Rows
from dataver.tree.schema import Link, Node, NodeStore
from dataver.tree.walk import child, position
from dataver.values import dataclass

__all__ = ["Columns", "read_columns"]


@dataclass(slots=True)
class Columns(Mapping[bytes, Row]):
    """Rows by key, each made when it is asked for.

    `keys_in_order` and `records` stand side by side, the second being `Row.fixed`; `extras` are the
    sparse values of rows that have any, by position.
    """

    keys_in_order: list[bytes] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    extras: dict[int, tuple[tuple[bytes, int, bytes], ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys_in_order)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.keys_in_order)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, bytes) and self._find(key) is not None

    def __getitem__(self, key: bytes) -> Row:
        row: Row | None = self.get(key)
        if row is None:
            raise KeyError(key)
        return row

    def get(self, key: bytes, default: Any = None) -> Any:
        """The row of a key."""
        at = self._find(key)
        return default if at is None else Row(key, self.records[at], self.extras.get(at, ()))

    def _find(self, key: bytes) -> int | None:
        at = bisect_left(self.keys_in_order, key)
        return at if at < len(self.keys_in_order) and self.keys_in_order[at] == key else None

    def selected(self, chosen: Callable[[bytes], bool], prefix_bytes: int = 0) -> Columns:
        """The rows whose keys, but for so many bytes at their start, are chosen."""
        kept = [at for at, key in enumerate(self.keys_in_order) if chosen(key[prefix_bytes:])]
        return Columns(
            [self.keys_in_order[at] for at in kept],
            [self.records[at] for at in kept],
            {place: self.extras[at] for place, at in enumerate(kept) if at in self.extras},
        )

    def add(self, node: Node, start: bytes, stop: bytes | None) -> None:
        """Take in the rows of a leaf with `start` <= key < `stop`."""
        rows = node.rows
        first, last = position(rows, start), len(rows) if stop is None else position(rows, stop)
        shift = len(self.keys_in_order) - first
        if isinstance(rows, Rows):
            self.keys_in_order += rows.keys[first:last]
            self.records += rows.records(first, last)
            self.extras.update((at + shift, values) for at, values in rows.extras(first, last))
            return
        for at in range(first, last):
            key, fixed, extras = rows[at]
            self.keys_in_order.append(key)
            self.records.append(fixed)
            if extras:
                self.extras[at + shift] = extras


def read_columns(nodes: NodeStore, root: Link, start: bytes = b"", stop: bytes | None = None) -> Columns:
    """The rows with `start` <= key < `stop`; nodes outside the range are not read."""
    found = Columns()
    _read(nodes, nodes.load(root), start, stop, found)
    return found


def _read(nodes: NodeStore, node: Node, start: bytes, stop: bytes | None, found: Columns) -> None:
    level, rows = node
    if not level:
        found.add(node, start, stop)
        return
    for row in rows[position(rows, start) :]:
        _read(nodes, child(nodes, level, row), start, stop, found)
        if stop is not None and row.key >= stop:
            return
