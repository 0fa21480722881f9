"""Which chunks a commit has stored itself: a set of digests that takes some 16 bytes for each, not a hundred.

The digests stand in a column, in the order in which they came. A table tells for a digest at which place of
the column it may stand: the compiled part looks into it, by 4 bytes of the digest, and what it finds is
compared in full. Without the compiled part it is a set of Python's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataver.column import Column
from dataver.digest import DIGEST_BYTES, split_digests
from dataver.native import native

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Claims"]

SLOT_BYTES = 8
SLOTS_MIN = 4_096
FULL = 0.75
"""So much of the table may be in use before it grows."""


class Claims:
    """Digests that were claimed. For one thread at a time.

    Where two digests have the same 4 bytes and stand close to each other, one of them may be told to be new
    twice. Its chunk is then stored twice, which costs its bytes and harms nothing.
    """

    def __init__(self) -> None:
        self._compiled = native
        self._others: set[bytes] = set()
        """Those that the table does not hold: without the compiled part, all."""
        self._digests = Column()
        self._count = 0
        self._slots = bytearray(SLOT_BYTES * SLOTS_MIN)

    def claim(self, digests: bytes) -> list[bool]:
        """For each of digests side by side whether it is here for the first time; then it is from now on."""
        if self._compiled is None:
            return [self._add(digest) for digest in split_digests(digests)]
        count = len(digests) // DIGEST_BYTES
        while self._count + count > FULL * len(self._slots) // SLOT_BYTES:
            self._grow(self._compiled)
        seen: list[int] = self._compiled.claim(self._slots, digests, self._count)
        if max(seen, default=-1) < 0:
            self._digests += digests
            self._count += count
            return [True] * count
        pairs = list(zip(split_digests(digests), seen, strict=True))
        new = [digest for digest, number in pairs if number < 0]
        self._digests += b"".join(new)
        self._count += len(new)
        return [number < 0 or (self._at(number) != digest and self._add(digest)) for digest, number in pairs]

    def _at(self, number: int) -> bytes:
        return self._digests[DIGEST_BYTES * number : DIGEST_BYTES * (number + 1)]

    def _add(self, digest: bytes) -> bool:
        if digest in self._others:
            return False
        self._others.add(digest)
        return True

    def _grow(self, compiled: ModuleType) -> None:
        """A table of twice the size with the same digests."""
        slots = bytearray(2 * len(self._slots))
        number = 0
        for block in self._digests.blocks():
            compiled.claim(slots, block, number, True)
            number += len(block) // DIGEST_BYTES
        self._slots = slots
