"""Bytes that resemble honest ones: what a reader believes before it finds out."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

LENGTH_MAX = 64 << 10


def mutated(random: Random, samples: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """A sample with up to eight changes: bytes, words of its format, pieces moved, doubled or cut."""
    data = bytearray(random.choice(samples))
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        at = random.randrange(len(data) + 1)
        piece = random.choice((1, 2, 4, 8, 32, 200))
        match random.randrange(8):
            case 0:
                data[at : at + 1] = bytes([random.randrange(256)])
            case 1:
                data[at:at] = random.choice(words)
            case 2:
                word = random.choice(words)
                data[at : at + len(word)] = word
            case 3:
                del data[at : at + piece]
            case 4:
                data[at:at] = data[at : at + piece]
            case 5:
                other = random.choice(samples)
                start = random.randrange(len(other) + 1)
                data[at : at + piece] = other[start : start + piece]
            case 6:
                data[at:] = b""
            case _:
                data[at : at + piece] = random.randbytes(piece)
    return bytes(data[:LENGTH_MAX])
