"""The fast hashing core: BLAKE3-256 for identity, XXH3-64 for speed where trust is not asked.

Identity is always the whole 32 bytes. Bytes that users own (chunks, files, whole objects) are
hashed plainly, so that a file's digest is what `b3sum` prints; records of the format are hashed
in BLAKE3's key derivation mode under one context string a kind, so that no file can pass for a
node and no node for another kind of node.

XXH3 is not collision-resistant: it finds rot and picks split points, it never names anything.

Every function takes any contiguous buffer, reads it without copying and keeps no reference to
it. The GIL is released while a large buffer is hashed, so threads scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING

from blake3 import blake3
from xxhash import xxh3_64 as streaming_xxh3_64
from xxhash import xxh3_64_intdigest

from dataver.digest import Digest

if TYPE_CHECKING:
    from types import ModuleType

    from typing_extensions import Buffer

__all__ = [
    "EMPTY_DIGEST",
    "FileHasher",
    "Kind",
    "blake3_digest",
    "cache_key",
    "digests",
    "kind_digest",
    "xxh3_64",
    "xxh3_64_of",
]


class Kind(Enum):
    """What a record is. The values are context strings of BLAKE3 `derive_key`, frozen in format v1."""

    MANIFEST_NODE = "dataver 2026 v1 manifest node"
    IDENTITY_NODE = "dataver 2026 v1 identity node"
    STATE_NODE = "dataver 2026 v1 state node"
    STATE_IDENTITY = "dataver 2026 v1 state identity"
    CHUNK_LIST = "dataver 2026 v1 chunk list"
    VERSION = "dataver 2026 v1 version"
    RUN = "dataver 2026 v1 run"
    RUN_PART = "dataver 2026 v1 run part"
    LOG_ENTRY = "dataver 2026 v1 log entry"
    TABLE_STATISTICS = "dataver 2026 v1 table statistics"


def blake3_digest(buffer: Buffer) -> Digest:
    """The plain BLAKE3-256 of a buffer: the digest of a chunk, a file or a whole object."""
    return Digest(blake3(buffer).digest())


EMPTY_DIGEST = blake3_digest(b"")
"""The digest of no bytes: that of an empty file, and what stands for an empty folder."""


def kind_digest(kind: Kind, buffer: Buffer) -> Digest:
    """The digest of a record of this kind, by its canonical bytes."""
    return Digest(blake3(buffer, derive_key_context=kind.value).digest())


def cache_key(name: Buffer) -> Digest:
    """What the cache keeps bytes under that are no object and so have no digest of their own."""
    return Digest(blake3(name, derive_key_context="dataver 2026 cache").digest())


def digests(buffers: Sequence[Buffer]) -> bytes:
    """The plain BLAKE3-256 of each buffer, 32 bytes each, one after the other in the order given.

    For many short buffers in one call. A buffer of some MiB is faster by itself.
    """
    compiled = _compiled()
    if compiled is not None:
        together: bytes = compiled.digests(buffers)
        return together
    return b"".join([blake3(buffer).digest() for buffer in buffers])


@cache
def _compiled() -> ModuleType | None:
    """What hashes many buffers side by side and without the lock, where that is faster than one by one."""
    from dataver.native import native

    return native if native is not None and native.is_fast() else None


class FileHasher:
    """The plain BLAKE3-256 of bytes that come in pieces. For one thread at a time.

    Pieces of 64 KiB and more run at full width; small ones cost several times more a byte.
    """

    __slots__ = ("_hasher",)

    def __init__(self) -> None:
        self._hasher = blake3()

    def update(self, buffer: Buffer) -> None:
        """Append these bytes."""
        self._hasher.update(buffer)

    def digest(self) -> Digest:
        """The digest of all bytes so far; more may follow."""
        return Digest(self._hasher.digest())


def xxh3_64(buffer: Buffer, seed: int = 0) -> int:
    """The XXH3-64 of a buffer as an unsigned integer; `seed` is an unsigned 64-bit integer."""
    return xxh3_64_intdigest(buffer, seed)


def xxh3_64_of(parts: Iterable[Buffer]) -> int:
    """The XXH3-64 of buffers one after the other."""
    hasher = streaming_xxh3_64()
    for part in parts:
        hasher.update(part)
    return hasher.intdigest()
