"""Inclusion proofs: that a tree's digest covers a row, checked without the tree.

A proof is the identity bytes of the nodes on the path to the row, root first. Each is checked by
its digest, which the one before names; the first is the tree's digest itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from dataver.digest import Digest
from dataver.errors import DamagedError
from dataver.format.binary import Reader
from dataver.format.node import encode
from dataver.hashing import kind_digest
from dataver.tree.schema import Link, NodeStore, TreeSchema
from dataver.tree.walk import child, position


def prove(nodes: NodeStore, root: Link, key: bytes) -> list[bytes] | None:
    """The proof that `key` is below `root`, or None where it is not."""
    schema = nodes.schema
    level, rows = nodes.load(root)
    proof = []
    while True:
        at = position(rows, key)
        if at == len(rows) or (not level and rows[at].key != key):
            return None
        proof.append(encode(schema.inner if level else schema.leaf, level, rows)[1])
        if not level:
            return proof
        level, rows = child(nodes, level, rows[at])


def check(schema: TreeSchema, tree: Digest, key: bytes, fixed: bytes, proof: Sequence[bytes]) -> None:
    """Raise `DamagedError` unless `proof` shows that `tree` has `key` with these fixed columns."""
    expected: bytes = tree
    for number, data in enumerate(proof):
        what = f"node {number} of the proof"
        if kind_digest(schema.identity_kind, data) != expected:
            Reader(data, what).fail("it is not the node that is expected there")
        level, rows = schema.decode_identity(data, what)
        at = position(rows, key)
        if at == len(rows):
            Reader(data, what).fail("it ends before the key")
        if not level:
            if rows[at].key != key or rows[at].fixed != fixed:
                Reader(data, what).fail("the row is not the one that is claimed")
            if number + 1 < len(proof):
                Reader(data, what).fail("the proof goes on below a leaf")
            return
        expected = rows[at].fixed[-32:]
    raise DamagedError("the proof ends before a leaf")
