"""Where to cut: content-defined chunks, the unit of deduplication.

Cut points are part of the format: the same bytes must be cut at the same places by every release
and on every machine, or nothing deduplicates any more. The algorithm's name and its sizes stand
in a repository's genesis entry and never change there.
"""

from __future__ import annotations

from dataver.errors import BadInputError, NewerFormatError
from dataver.values import dataclass

__all__ = ["ALGORITHM", "CHUNK_BYTES_MAX", "ChunkerParameters"]

CHUNK_BYTES_MAX = 4 << 20
"""Hard limit of the format: bytes of one chunk."""

ALGORITHM = "fastcdc2020-nc1-seed0"
"""FastCDC as published in 2020, normalization level 1, the gear table of the paper's authors."""

# What the kernel accepts.
_MIN_BYTES_RANGE = (64, 1 << 20)
_AVERAGE_BYTES_RANGE = (256, 4 << 20)
_MAX_BYTES_RANGE = (1024, CHUNK_BYTES_MAX)


@dataclass(frozen=True, slots=True)
class ChunkerParameters:
    """How a repository cuts: the algorithm and its three sizes in bytes.

    Every chunk has `min_bytes` to `max_bytes`, both inclusive, but for the last of a file and the
    last before a forced cut, which may be shorter. `average_bytes` is where the search for a cut
    becomes less strict; in random data chunks have `average_bytes + min_bytes` on average.

    Sizes out of range or order, and odd ones (the kernel looks at two bytes a turn), are a
    `BadInputError`; an algorithm that this release does not know is a `NewerFormatError`.
    """

    algorithm: str = ALGORITHM
    min_bytes: int = 16 << 10
    average_bytes: int = 64 << 10
    max_bytes: int = 256 << 10

    def __post_init__(self) -> None:
        if self.algorithm != ALGORITHM:
            raise NewerFormatError(
                f"this release of dataver cuts chunks by {ALGORITHM!r} and does not know {self.algorithm!r}; "
                "use a newer release"
            )
        _check("min_bytes", self.min_bytes, _MIN_BYTES_RANGE)
        _check("average_bytes", self.average_bytes, _AVERAGE_BYTES_RANGE)
        _check("max_bytes", self.max_bytes, _MAX_BYTES_RANGE)
        if not self.min_bytes <= self.average_bytes <= self.max_bytes:
            raise BadInputError(
                f"chunk sizes must grow from min_bytes ({self.min_bytes}) over average_bytes "
                f"({self.average_bytes}) to max_bytes ({self.max_bytes})"
            )


def _check(name: str, size_bytes: int, allowed: tuple[int, int]) -> None:
    lowest, highest = allowed
    if not lowest <= size_bytes <= highest or size_bytes % 2:
        raise BadInputError(
            f"{name} of a chunk must be an even number from {lowest} to {highest}, not {size_bytes}"
        )
