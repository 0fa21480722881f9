"""What differs between two trees, reading only nodes that are not in both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dataver.errors import DamagedError
from dataver.format.node import Row
from dataver.tree.schema import Link, NodeStore

Difference = tuple[bytes, Row | None, Row | None]
"""A key with its row in the first and in the second tree; None where it is not there."""


def diff(a_nodes: NodeStore, a: Link, b_nodes: NodeStore, b: Link) -> Iterator[Difference]:
    """The keys whose rows differ in an identity column, in order.

    Equal identity digests mean equal rows, so on each level the nodes that both trees have are
    dropped and only the others are read. The stores may be those of two repositories.
    """
    a_level, b_level = a_nodes.load(a).level, b_nodes.load(b).level
    a_links, b_links = [a], [b]
    for level in range(max(a_level, b_level), -1, -1):
        if a_level == b_level:
            a_links, b_links = _without_common(a_links, b_links)
        if not level:
            break
        if a_level == level:
            a_links, a_level = _children(a_nodes, level, a_links), level - 1
        if b_level == level:
            b_links, b_level = _children(b_nodes, level, b_links), level - 1
    return _compare(_rows(a_nodes, a_links), _rows(b_nodes, b_links))


def _without_common(a: list[Link], b: list[Link]) -> tuple[list[Link], list[Link]]:
    common = {link.identity for link in a} & {link.identity for link in b}
    return [x for x in a if x.identity not in common], [x for x in b if x.identity not in common]


def _children(nodes: NodeStore, level: int, links: list[Link]) -> list[Link]:
    return [nodes.schema.link(row) for link in links for row in _on(nodes, level, link)]


def _rows(nodes: NodeStore, links: list[Link]) -> Iterator[Row]:
    for link in links:
        yield from _on(nodes, 0, link)


def _on(nodes: NodeStore, level: int, link: Link) -> Sequence[Row]:
    """The rows of a node that must be on `level`."""
    node = nodes.load(link)
    if node.level != level:
        raise DamagedError(
            f"a node on level {node.level} of a tree stands where one of level {level} must; "
            "run `dataver verify`"
        )
    return node.rows


def _compare(a_rows: Iterator[Row], b_rows: Iterator[Row]) -> Iterator[Difference]:
    a, b = next(a_rows, None), next(b_rows, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a.key < b.key):
            assert a is not None
            yield a.key, a, None
            a = next(a_rows, None)
        elif a is None or b.key < a.key:
            yield b.key, None, b
            b = next(b_rows, None)
        else:
            if a.fixed != b.fixed or _identity(a) != _identity(b):
                yield a.key, a, b
            a, b = next(a_rows, None), next(b_rows, None)


def _identity(row: Row) -> list[tuple[bytes, bytes]]:
    return [(tag, value) for tag, flags, value in row.extras if flags & 1]
