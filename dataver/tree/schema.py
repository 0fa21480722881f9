"""The two kinds of tree: manifests (path to file) and the log's state (key to value).

Inner rows are the same for both: the digests of the child, stored and identity, and what is
below it; their key is the child's last key. A state tree also says where each child is, so that a
reader with nothing else can walk down from the root that a log entry names.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Protocol

from dataver.column import Records
from dataver.digest import Digest
from dataver.format.node import IDENTITY_MAGIC, FixedColumn, NodeSchema, Row, Rows, decode, encode
from dataver.hashing import Kind, kind_digest
from dataver.values import NamedTuple, dataclass

PLACE_BYTES = 40
LEAVES_KEPT_MAX = 16
NO_PLACE = bytes(PLACE_BYTES)


class Link(NamedTuple):
    """A node as its parent knows it: digests, what is below, and its place in a state tree."""

    digest: bytes
    identity: bytes
    rows: int
    size_bytes: int
    place: bytes = b""


class LinkedNode(NamedTuple):
    """A node with its last key: a row of the level above it."""

    last_key: bytes
    link: Link


class Node(NamedTuple):
    """A node that was read: its level (0: leaf) and its rows, perhaps as `Rows`."""

    level: int
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class TreeSchema:
    """What the nodes of one kind of tree hold, and how they are hashed.

    `measure` gives the share of leaf rows in the counts that inner nodes keep: (rows, bytes).
    """

    leaf: NodeSchema
    inner: NodeSchema
    stored_kind: Kind
    identity_kind: Kind
    measure: Callable[[Sequence[Row]], tuple[int, int]]
    weigh: Callable[[Row], int]
    inner_record: struct.Struct

    def encode(self, level: int, rows: Sequence[Row]) -> tuple[bytes, Link]:
        """The stored bytes of a node and its link, with no place yet."""
        stored, identity = encode(self.inner if level else self.leaf, level, rows)
        if level:
            links = [self.link(row) for row in rows]
            counts = sum(link.rows for link in links), sum(link.size_bytes for link in links)
        else:
            counts = self.measure(rows)
        digest = kind_digest(self.stored_kind, stored)
        return stored, Link(digest, kind_digest(self.identity_kind, identity), *counts)

    def decode(self, data: bytes, what: str) -> Node:
        """Read a node whose digest has been checked; all its rows are made."""
        level, rows = decode((self.leaf, self.inner), data, what)
        return Node(level, list(rows))

    def decode_columns(self, data: bytes, what: str) -> tuple[int, Rows]:
        """Read a node whose digest has been checked; rows are made when they are asked for."""
        return decode((self.leaf, self.inner), data, what)

    def decode_identity(self, data: bytes, what: str) -> Node:
        """Read the identity bytes of a node: rows with the identity columns alone."""
        level, rows = decode((self.leaf.identity(), self.inner.identity()), data, what, IDENTITY_MAGIC)
        return Node(level, list(rows))

    def link(self, row: Row) -> Link:
        """The child that an inner row names."""
        size_bytes, digest, rows, identity, *place = self.inner_record.unpack(row.fixed)
        return Link(digest, identity, rows, size_bytes, *place)

    def row(self, node: LinkedNode) -> Row:
        """The inner row for a child."""
        digest, identity, rows, size_bytes, place = node.link
        values: list[bytes | int] = [size_bytes, digest, rows, identity]
        if place:
            values.append(place)
        return Row(node.last_key, self.inner_record.pack(*values))


class NodeStore(Protocol):
    """Where a tree's nodes are read from and written to."""

    schema: TreeSchema

    def load(self, link: Link) -> Node:
        """The node that `link` names, verified. Raises `DamagedError`."""

    def save(self, level: int, rows: Sequence[Row]) -> Link:
        """Encode and keep a node; what it returns can be loaded at once."""


_INNER = (
    FixedColumn(b"byte", 8, identity=True),
    FixedColumn(b"chld", 32, identity=False),
    FixedColumn(b"file", 8, identity=True),
    FixedColumn(b"idnt", 32, identity=True),
)


def _key_weight(row: Row) -> int:
    return len(row.key)


def _state_weight(row: Row) -> int:
    return len(row.key) + sum(len(value) for _, _, value in row.extras)


def _state_measure(rows: Sequence[Row]) -> tuple[int, int]:
    return len(rows), sum(len(row.extras[0][2]) for row in rows if row.extras)


KIND_FOLDER = 2
_LEAF_RECORD = struct.Struct("<32xBQ")


def _file_measure(rows: Sequence[Row]) -> tuple[int, int]:
    records = _LEAF_RECORD.iter_unpack(b"".join([row.fixed for row in rows]))
    sizes = [size for kind, size in records if kind & 0x0F != KIND_FOLDER]
    return len(sizes), sum(sizes)


MANIFEST = TreeSchema(
    leaf=NodeSchema(
        (
            FixedColumn(b"dgst", 32, identity=True),
            FixedColumn(b"kind", 1, identity=True),
            FixedColumn(b"size", 8, identity=True),
        ),
        frozenset([b"chnk", b"refr"]),
    ),
    inner=NodeSchema(_INNER, frozenset()),
    stored_kind=Kind.MANIFEST_NODE,
    identity_kind=Kind.IDENTITY_NODE,
    measure=_file_measure,
    weigh=_key_weight,
    inner_record=struct.Struct("<Q32sQ32s"),
)

STATE = TreeSchema(
    leaf=NodeSchema((), frozenset([b"valu"])),
    inner=NodeSchema((*_INNER, FixedColumn(b"plac", PLACE_BYTES, identity=False)), frozenset()),
    stored_kind=Kind.STATE_NODE,
    identity_kind=Kind.STATE_IDENTITY,
    measure=_state_measure,
    weigh=_state_weight,
    inner_record=struct.Struct(f"<Q32sQ32s{PLACE_BYTES}s"),
)


class MemoryNodes:
    """A node store in memory, over another one that it reads from where it has nothing itself.

    Nodes are kept as they are encoded, which is a quarter of what their rows take; those above the leaves,
    and the few leaves saved last, also decoded.
    """

    def __init__(self, schema: TreeSchema, below: NodeStore | None = None) -> None:
        self.schema = schema
        self.encoded = Records()
        self._inner: dict[bytes, Node] = {}
        self._leaves: dict[bytes, Node] = {}
        self._below = below

    def load(self, link: Link) -> Node:
        """A node saved here, else one from below."""
        node = self._inner.get(link.digest) or self._leaves.get(link.digest)
        if node is not None:
            return node
        data = self.encoded.get(link.digest)
        if data is not None:
            return self.schema.decode(data, f"node {Digest(link.digest)}")
        if self._below is None:
            raise KeyError(Digest(link.digest))
        return self._below.load(link)

    def save(self, level: int, rows: Sequence[Row]) -> Link:
        """Encode and keep a node."""
        data, link = self.schema.encode(level, rows)
        if link.digest not in self.encoded:
            self.encoded.add(link.digest, data)
            kept = self._inner if level else self._leaves
            kept[link.digest] = Node(level, list(rows))
            if len(self._leaves) > LEAVES_KEPT_MAX:
                del self._leaves[next(iter(self._leaves))]
        return link
