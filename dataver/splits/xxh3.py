"""XXH3-64 of many short keys at once.

Keys of up to 128 bytes are hashed by numpy, column by column of their words, some ten times faster than
by a call for each; longer ones by such calls. The hashes are those of the library, which tests compare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dataver.hashing import xxh3_64

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Positions = NDArray[np.int64]

BLOCK_ROWS = 1 << 14
"""So many rows' words lie in the processor's cache while they are mixed."""
VECTOR_BYTES_MAX = 128

# The first bytes of the secret that XXH3 has where none is given.
_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
)
_MASK = (1 << 64) - 1
_PRIME_1 = np.uint64(0x9E3779B185EBCA87)
_PRIME_2 = np.uint64(0xC2B2AE3D27D4EB4F)
_PRIME_3 = np.uint64(0x165667B19E3779F9)
_PRIME_MX_1 = np.uint64(0x165667919E3779F9)
_PRIME_MX_2 = np.uint64(0x9FB21C651E98DF25)
_LOW = np.uint64(0xFFFF_FFFF)


def hashes(data: NDArray[np.uint8], starts: Positions, seed: int = 0) -> Words:
    """The XXH3-64 of each key; key `n` is `data[starts[n] : starts[n + 1]]`, `seed` 64 bits."""
    count = len(starts) - 1
    found = np.empty(count, np.uint64)
    padded = np.concatenate([data, np.zeros(16, np.uint8)])
    keys = _Keys(padded, seed)
    for first in range(0, count, BLOCK_ROWS):
        block = starts[first : first + BLOCK_ROWS + 1]
        keys.hash(block[:-1], np.diff(block), found[first : first + BLOCK_ROWS])
    return found


class _Keys:
    """Bytes that are read as words from any position, and the seed. 16 bytes must follow the last key."""

    def __init__(self, data: NDArray[np.uint8], seed: int) -> None:
        self._data = data
        self._seed = seed
        self._words = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
        self._halves = np.ndarray((len(data) - 3,), "<u4", data, strides=(1,))

    def hash(self, at: Positions, lengths: Positions, out: Words) -> None:
        classes = np.searchsorted([0, 3, 8, 16, VECTOR_BYTES_MAX], lengths)
        ways = (self._none, self._to_3, self._to_8, self._to_16, self._to_128, self._longer)
        low = int(classes.min())
        if low == classes.max():
            out[:] = ways[low](at, lengths)
            return
        for number, way in enumerate(ways):
            rows = np.flatnonzero(classes == number)
            if len(rows):
                out[rows] = way(at[rows], lengths[rows])

    def _none(self, at: Positions, lengths: Positions) -> Words:  # noqa: ARG002 - as the others
        return np.full(len(at), xxh3_64(b"", self._seed), np.uint64)

    def _to_3(self, at: Positions, lengths: Positions) -> Words:
        first, middle, last = (
            self._data[place].astype(np.uint64) for place in (at, at + (lengths >> 1), at + lengths - 1)
        )
        size = lengths.astype(np.uint64)
        mixed = (first << np.uint64(16)) | (middle << np.uint64(24)) | last | (size << np.uint64(8))
        flip = int.from_bytes(_SECRET[:4], "little") ^ int.from_bytes(_SECRET[4:8], "little")
        return _avalanche_64(mixed ^ np.uint64((flip + self._seed) & _MASK))

    def _to_8(self, at: Positions, lengths: Positions) -> Words:
        swapped = int.from_bytes((self._seed & 0xFFFF_FFFF).to_bytes(4, "little"), "big")
        seed = self._seed ^ (swapped << 32)
        flip = np.uint64(((_secret(8) ^ _secret(16)) - seed) & _MASK)
        first = self._halves[at].astype(np.uint64)
        last = self._halves[at + lengths - 4].astype(np.uint64)
        mixed: Words = (last + (first << np.uint64(32))) ^ flip
        mixed ^= _rotated(mixed, 49) ^ _rotated(mixed, 24)
        mixed *= _PRIME_MX_2
        mixed ^= (mixed >> np.uint64(35)) + lengths.astype(np.uint64)
        mixed *= _PRIME_MX_2
        mixed ^= mixed >> np.uint64(28)
        return mixed

    def _to_16(self, at: Positions, lengths: Positions) -> Words:
        flip_low = np.uint64(((_secret(24) ^ _secret(32)) + self._seed) & _MASK)
        flip_high = np.uint64(((_secret(40) ^ _secret(48)) - self._seed) & _MASK)
        low = self._words[at] ^ flip_low
        high = self._words[at + lengths - 8] ^ flip_high
        mixed: Words = lengths.astype(np.uint64) + low.byteswap() + high + _folded(low, high)
        return _avalanche(mixed)

    def _to_128(self, at: Positions, lengths: Positions) -> Words:
        mixed = lengths.astype(np.uint64) * _PRIME_1
        mixed += self._mix(at, 0) + self._mix(at + lengths - 16, 16)
        for step in range(1, 4):
            # Of longer keys the next 16 bytes from either end.
            rows = np.flatnonzero(lengths > 32 * step)
            if not len(rows):
                break
            start, end = at[rows] + 16 * step, (at + lengths)[rows] - 16 * (step + 1)
            mixed[rows] += self._mix(start, 32 * step) + self._mix(end, 32 * step + 16)
        return _avalanche(mixed)

    def _mix(self, at: Positions, secret: int) -> Words:
        low = np.uint64((_secret(secret) + self._seed) & _MASK)
        high = np.uint64((_secret(secret + 8) - self._seed) & _MASK)
        return _folded(self._words[at] ^ low, self._words[at + 8] ^ high)

    def _longer(self, at: Positions, lengths: Positions) -> Words:
        view = self._data.data
        ends = (at + lengths).tolist()
        found = (xxh3_64(view[a:b], self._seed) for a, b in zip(at.tolist(), ends, strict=True))
        return np.fromiter(found, np.uint64, len(at))


def _secret(at: int) -> int:
    return int.from_bytes(_SECRET[at : at + 8], "little")


def _rotated(words: Words, bits: int) -> Words:
    return (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))


def _folded(a: Words, b: Words) -> Words:
    """Both halves of the 128-bit products, one xored with the other."""
    thirty_two = np.uint64(32)
    a_low, a_high, b_low, b_high = a & _LOW, a >> thirty_two, b & _LOW, b >> thirty_two
    high_low = a_high * b_low
    cross = ((a_low * b_low) >> thirty_two) + (high_low & _LOW) + a_low * b_high
    upper = (high_low >> thirty_two) + (cross >> thirty_two) + a_high * b_high
    found: Words = upper ^ (a * b)
    return found


def _avalanche(words: Words) -> Words:
    words ^= words >> np.uint64(37)
    words *= _PRIME_MX_1
    words ^= words >> np.uint64(32)
    return words


def _avalanche_64(words: Words) -> Words:
    words ^= words >> np.uint64(33)
    words *= _PRIME_2
    words ^= words >> np.uint64(29)
    words *= _PRIME_3
    words ^= words >> np.uint64(32)
    return words
