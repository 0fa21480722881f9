"""Chunk lists: the chunks of one file in order, as a tree of nodes.

    "DVCL" | version u8 | level u8 | zero u16 | rows u32 | digest 32… | bytes u64…

On level 0 a row is a chunk; above, it is a node one level down and the bytes below it. A node
ends after a row whose digest has an XXH3-64, seeded with the level, that meets the mask.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from dataver.digest import DIGEST_BYTES, split_digests
from dataver.errors import NewerFormatError
from dataver.format.binary import Buffer, Reader
from dataver.values import NamedTuple

LIST_MAGIC = b"DVCL"
LIST_VERSION = 1
LEVEL_MAX = 15

_HEAD = struct.Struct("<4sBBHI")


class ListRow(NamedTuple):
    """A chunk or a child node, and the plain bytes it stands for."""

    digest: bytes
    size_bytes: int


def encode(level: int, digests: bytes, sizes: Sequence[int]) -> bytes:
    """The bytes of one node: the digests of its rows, 32 bytes each, and their sizes in bytes."""
    head = _HEAD.pack(LIST_MAGIC, LIST_VERSION, level, 0, len(sizes))
    return head + digests + struct.pack(f"<{len(sizes)}Q", *sizes)


def decode(data: Buffer, what: str) -> tuple[int, list[ListRow]]:
    """The level and the rows of a node; `what` names it in errors."""
    level, digests, sizes = decode_columns(data, what)
    return level, [ListRow(*row) for row in zip(split_digests(digests), sizes, strict=True)]


def decode_columns(data: Buffer, what: str) -> tuple[int, bytes, tuple[int, ...]]:
    """The level of a node, the digests of its rows, 32 bytes each, and their sizes in bytes."""
    reader = Reader(data, what)
    magic, version, level, zero, count = _HEAD.unpack(reader.raw(_HEAD.size))
    if magic != LIST_MAGIC or zero or level > LEVEL_MAX:
        reader.fail("it does not begin as a chunk list does")
    if version != LIST_VERSION:
        raise NewerFormatError(f"{what} has version {version}; this release reads {LIST_VERSION}")
    digests = reader.raw(DIGEST_BYTES * count)
    sizes = struct.unpack(f"<{count}Q", reader.raw(8 * count))
    reader.end()
    return level, digests, sizes
