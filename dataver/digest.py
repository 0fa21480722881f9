"""A digest: 32 bytes of BLAKE3-256, never truncated; 64 lower-case hex digits in text."""

from __future__ import annotations

from typing import Self

from dataver.errors import BadInputError

DIGEST_BYTES = 32


def digests_at(digests: bytes, first: int, stop: int) -> bytes:
    """Of digests side by side those at these positions."""
    return digests[DIGEST_BYTES * first : DIGEST_BYTES * stop]


def split_digests(digests: bytes) -> list[bytes]:
    """The digests that stand side by side."""
    return [digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)]


class Digest(bytes):
    """The 32 bytes of a BLAKE3-256 digest.

    A `bytes` in every way, so that it sorts, hashes and packs as one; `str()` gives the 64 hex
    digits that people and JSON see. Hot paths may hold plain 32-byte `bytes` instead.
    """

    __slots__ = ()

    def __new__(cls, value: bytes) -> Self:
        if len(value) != DIGEST_BYTES:
            raise BadInputError(f"a digest has {DIGEST_BYTES} bytes, not {len(value)}")
        return super().__new__(cls, value)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read 64 lower-case hex digits. Anything else is a `BadInputError`."""
        if len(text) != 2 * DIGEST_BYTES or text.strip("0123456789abcdef"):
            raise BadInputError(f"{text!r} is not a digest: 64 lower-case hex digits are expected")
        return cls(bytes.fromhex(text))

    def __str__(self) -> str:
        return self.hex()

    def __repr__(self) -> str:
        return f"Digest({self.hex()!r})"
