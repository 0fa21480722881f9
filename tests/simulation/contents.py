"""Files of simulated datasets: a few contents, each known by a number, that share chunks."""

from __future__ import annotations

from functools import cache
from random import Random

from dataver.chunking import ChunkerParameters
from dataver.digest import Digest
from dataver.hashing import blake3_digest

Files = dict[str, int]
"""What a version holds: the number of the content at each path."""

CONTENTS = 16
SMALL_CHUNKS = ChunkerParameters(min_bytes=256, average_bytes=1024, max_bytes=4096)


@cache
def content(number: int) -> bytes:
    """The bytes of a content: a head of its own, and often a tail that others have too."""
    own = Random(f"head {number}")
    kind = number % 4
    if kind == 0:
        return f"{number} ".encode() * own.randrange(1, 400)
    head = own.randbytes(own.randrange(1, 3000))
    tail = Random(f"tail {number % 3}").randbytes(9000) if kind == 1 else b""
    return head + tail


@cache
def digest(number: int) -> Digest:
    """The digest of a content."""
    return blake3_digest(content(number))
