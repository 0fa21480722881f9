"""Index segments: where each chunk is, as sorted arrays that are searched where they lie.

    header    "DVIX\\r\\n\\x1a\\n" | version u16 | fan-out bits u16 | packs u32 | frames u32 | keys u32
              | nonce 16 | BLAKE3 of what follows 32
    packs     digest 32…
    frames    pack u32 | offset u32 | stored u32 | raw u32 | codec u32             (a frame each)
    fan-out   u32…                                                       (2^bits + 1 values)
    keys      digest 32…                                                  (sorted, distinct)
    rows      frame u32 | offset in its raw bytes u32 | length u32           (a key each)

Fan-out value `i` is the number of keys whose first `bits` bits are below `i`. Each part begins
where the one before ends, so that one ranged read gets any row. The segment is named by the
BLAKE3 of all its bytes. It is derived: the footers of the packs it names say the same.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import NewerFormatError
from dataver.format.binary import Buffer, Reader
from dataver.hashing import FileHasher, blake3_digest
from dataver.values import NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SEGMENT_MAGIC = b"DVIX\r\n\x1a\n"
SEGMENT_VERSION = 1
FANOUT_BITS_MAX = 16
KEYS_PER_FANOUT_VALUE = 16
SCANNED_KEYS = 64
"""So many neighbouring keys are searched by one scan of their bytes, at the cost of one step in Python."""
FEW_LOOKUPS = 500
FEW_PLACES = 30_000
"""Without the compiled part, up to so many keys are looked up, and places made, one by one: the import of
numpy alone would take longer."""
FEW_KEYS = 65_536
"""Up to so many keys are sorted without numpy, whose import would take longer."""

_HEADER = struct.Struct("<8sHHIII16s32s")
_FRAME = struct.Struct("<IIIII")
_ROW = struct.Struct("<III")
HEADER_BYTES = _HEADER.size
FRAME_BYTES = _FRAME.size
ROW_BYTES = _ROW.size


class Place(NamedTuple):
    """Where a chunk's bytes are: a frame of a pack, and a range of what the frame decodes to."""

    pack: bytes
    frame_offset: int
    stored_bytes: int
    raw_bytes: int
    codec: int
    offset: int
    length: int


class SegmentFrame(NamedTuple):
    """A frame as a segment names it; `pack` is a position in the segment's list of packs."""

    pack: int
    offset: int
    stored_bytes: int
    raw_bytes: int
    codec: int


def fanout_bits(key_count: int) -> int:
    """How many leading bits of a key the fan-out table resolves."""
    return min(FANOUT_BITS_MAX, max(0, (key_count // KEYS_PER_FANOUT_VALUE).bit_length() - 1))


def encode(
    packs: Sequence[bytes], frames: Sequence[SegmentFrame], keys: Buffer, rows: Buffer, nonce: bytes
) -> bytes:
    """The bytes of a segment.

    `keys` are 32 bytes each, in any order; `rows` has 12 bytes (frame, offset, length) a key. Of
    equal keys the first is kept.
    """
    sorted_keys, sorted_rows = arrange(keys, rows)
    count = len(sorted_keys) // DIGEST_BYTES
    bits = fanout_bits(count)
    body = [
        b"".join(packs),
        frame_bytes(frames),
        fanout(sorted_keys, count, bits),
        sorted_keys,
        sorted_rows,
    ]
    hasher = FileHasher()
    for part in body:
        hasher.update(part)
    return b"".join([head_bytes(len(packs), len(frames), count, nonce, hasher.digest()), *body])


def head_bytes(packs: int, frames: int, keys: int, nonce: bytes, digest: bytes) -> bytes:
    """The header of a segment with so many of each; `digest` is that of all that follows."""
    bits = fanout_bits(keys)
    return _HEADER.pack(SEGMENT_MAGIC, SEGMENT_VERSION, bits, packs, frames, keys, nonce, digest)


def frame_bytes(frames: Sequence[SegmentFrame]) -> bytes:
    """All frames as they are stored."""
    return b"".join([_FRAME.pack(*frame) for frame in frames])


def arrange(keys: Buffer, rows: Buffer) -> tuple[Buffer, Buffer]:
    """Sorted keys and their rows; of equal keys the first."""
    from dataver.native import native

    if native is not None:
        sorted_keys, sorted_rows = native.arrange(keys, rows)
        return sorted_keys, sorted_rows
    arrange = _arrange_few if len(keys) <= FEW_KEYS * DIGEST_BYTES else _arrange_many
    return arrange(keys, rows)


def _arrange_few(keys: Buffer, rows: Buffer) -> tuple[bytes, bytes]:
    """Sorted keys and their rows, without the import of numpy, which takes longer than a small sort."""
    key_bytes, row_bytes = bytes(keys), bytes(rows)
    found = [key_bytes[at : at + DIGEST_BYTES] for at in range(0, len(key_bytes), DIGEST_BYTES)]
    order = sorted(range(len(found)), key=found.__getitem__)
    if len(set(found)) < len(found):
        first: dict[bytes, int] = {}
        for number in order:
            first.setdefault(found[number], number)
        order = list(first.values())
    width = _ROW.size
    rows_in_order = [row_bytes[width * number : width * (number + 1)] for number in order]
    return b"".join([found[number] for number in order]), b"".join(rows_in_order)


def _arrange_many(keys: Buffer, rows: Buffer) -> tuple[Buffer, Buffer]:
    import numpy as np

    key_array = np.frombuffer(keys, dtype=f"S{DIGEST_BYTES}")
    order = np.argsort(key_array, kind="stable")
    ordered = key_array[order]
    row_array = np.frombuffer(rows, dtype=f"V{_ROW.size}")
    again = ordered[1:] == ordered[:-1]
    if again.any():
        keep = np.concatenate([[True], ~again])
        ordered, order = ordered[keep], order[keep]
    return ordered.view(np.uint8).data, row_array[order].view(np.uint8).data


def fanout(sorted_keys: Buffer, count: int, bits: int) -> bytes:
    """How many keys begin below each value of the first bits."""
    from dataver.native import native

    if native is not None:
        return bytes(native.fanout(sorted_keys, bits))

    def head_of(position: int) -> bytes:
        return bytes(sorted_keys[DIGEST_BYTES * position : DIGEST_BYTES * position + 4])

    values: list[int] = []
    for value in range(1 << bits):
        head = (value << (32 - bits)).to_bytes(4, "big")
        start = values[-1] if values else 0
        values.append(bisect_left(range(count), head, lo=start, key=head_of))
    return struct.pack(f"<{len(values) + 1}I", *values, count)


class SegmentHead(NamedTuple):
    """The counts of a segment, and so where in it each part begins."""

    bits: int
    packs: int
    frames: int
    keys: int
    digest: bytes

    @property
    def frames_at(self) -> int:
        """Where the frames begin; the packs begin after the header."""
        return HEADER_BYTES + DIGEST_BYTES * self.packs

    @property
    def fanout_at(self) -> int:
        """Where the fan-out table begins."""
        return self.frames_at + FRAME_BYTES * self.frames

    @property
    def keys_at(self) -> int:
        """Where the keys begin."""
        return self.fanout_at + 4 * ((1 << self.bits) + 1)

    @property
    def rows_at(self) -> int:
        """Where the rows begin."""
        return self.keys_at + DIGEST_BYTES * self.keys

    def fanout_place(self, key: bytes) -> int:
        """Where the two values (8 bytes) are that tell which keys begin as `key` does."""
        return self.fanout_at + 4 * (int.from_bytes(key[:4], "big") >> (32 - self.bits))


def parse_head(data: Buffer, size_bytes: int, what: str) -> SegmentHead:
    """Read the first `HEADER_BYTES` of a segment of `size_bytes`. `DamagedError` where they do not fit."""
    reader = Reader(data, what)
    magic, version, bits, packs, frames, keys, _, digest = _HEADER.unpack(reader.raw(HEADER_BYTES))
    if magic != SEGMENT_MAGIC or bits > FANOUT_BITS_MAX:
        reader.fail("it does not begin as an index segment does")
    if version != SEGMENT_VERSION:
        raise NewerFormatError(f"{what} has version {version}; this release reads {SEGMENT_VERSION}")
    head = SegmentHead(bits, packs, frames, keys, digest)
    if head.rows_at + ROW_BYTES * keys != size_bytes:
        reader.fail("its counts do not match its size")
    return head


def parse_bounds(data: Buffer, head: SegmentHead, what: str) -> tuple[int, int]:
    """The positions from and to (exclusive) which two values of the fan-out table send a search."""
    low, high = struct.unpack("<II", data)
    if not low <= high <= head.keys:
        Reader(b"", what).fail("its fan-out table is not in order")
    return low, high


def parse_row(data: Buffer, head: SegmentHead, what: str) -> tuple[int, int, int]:
    """The frame, the offset in its raw bytes and the length that a row names."""
    frame, offset, length = _ROW.unpack(data)
    if frame >= head.frames:
        Reader(b"", what).fail("a row names a frame that is not there")
    return frame, offset, length


def parse_frame(data: Buffer, row: tuple[int, int, int], head: SegmentHead, what: str) -> SegmentFrame:
    """The frame that a row names."""
    frame = SegmentFrame(*_FRAME.unpack(data))
    if frame.pack >= head.packs or row[1] + row[2] > frame.raw_bytes:
        Reader(b"", what).fail("a row names a place that is not there")
    return frame


class Segment:
    """A segment opened over a buffer, such as a memory map; nothing is copied.

    Opening checks the header and the sizes; `check()` also reads every byte and compares the
    digest. Look-ups return places as stored, which readers verify by the digest of what they
    read. Safe for several threads.
    """

    def __init__(self, data: Buffer, what: str) -> None:
        self._data = memoryview(data)
        self.what = what
        head = self._head = parse_head(self._data, len(self._data), what)
        self._bits, self._digest = head.bits, head.digest
        self.pack_count, self.frame_count, self.key_count = head.packs, head.frames, head.keys
        self._frames_at, self._fanout_at = head.frames_at, head.fanout_at
        self._keys_at, self._rows_at = head.keys_at, head.rows_at

    def check(self) -> None:
        """Read everything: raise `DamagedError` unless the contents match their digest."""
        if blake3_digest(self._data[HEADER_BYTES:]) != self._digest:
            Reader(b"", self.what).fail("its contents do not match their digest")

    def packs(self) -> list[Digest]:
        """The packs that the segment names."""
        packs = self._data[HEADER_BYTES : self._frames_at]
        return [Digest(bytes(packs[i : i + DIGEST_BYTES])) for i in range(0, len(packs), DIGEST_BYTES)]

    def frames(self) -> list[SegmentFrame]:
        """All frames, in the order that rows count them in."""
        return [SegmentFrame(*f) for f in _FRAME.iter_unpack(self.frame_table())]

    def frame_table(self) -> memoryview:
        """All frames as they are stored: pack, offset, stored bytes, raw bytes and codec, 20 bytes each."""
        return self._data[self._frames_at : self._fanout_at]

    def keys(self) -> memoryview:
        """All keys, 32 bytes each, sorted."""
        return self._data[self._keys_at : self._rows_at]

    def rows(self) -> memoryview:
        """Frame, offset and length of each key: 12 bytes each."""
        return self._data[self._rows_at :]

    def find(self, digest: bytes) -> Place | None:
        """Where the chunk `digest` is, or None."""
        position = self.position(digest)
        return None if position < 0 else self.place(position)

    def position(self, digest: bytes) -> int:
        """The position of a key, or -1. For a few look-ups: nothing heavy is imported."""
        at = self._fanout_at + 4 * (int.from_bytes(digest[:4], "big") >> (32 - self._bits))
        low, high = parse_bounds(self._data[at : at + 8], self._head, self.what)
        while high - low > SCANNED_KEYS:
            middle = (low + high) // 2
            start = self._keys_at + DIGEST_BYTES * middle
            if self._data[start : start + DIGEST_BYTES].tobytes() <= digest:
                low = middle
            else:
                high = middle
        start = self._keys_at + DIGEST_BYTES * low
        keys = self._data[start : self._keys_at + DIGEST_BYTES * high].tobytes()
        found = keys.find(digest)
        while found > 0 and found % DIGEST_BYTES:
            found = keys.find(digest, found + 1)
        return found if found < 0 else low + found // DIGEST_BYTES

    def positions(self, digests: bytes) -> list[int]:
        """The position of each key (32 bytes each), or -1 where it is not here."""
        from dataver.native import native

        if native is not None:
            found: list[int] = native.find(self.keys(), self._data[self._fanout_at : self._keys_at], digests)
            if -2 in found:
                Reader(b"", self.what).fail("its fan-out table is not in order")
            return found
        if len(digests) > FEW_LOOKUPS * DIGEST_BYTES:
            return list(self._find_many(digests).tolist())
        return [self.position(digests[at : at + DIGEST_BYTES]) for at in range(0, len(digests), DIGEST_BYTES)]

    def find_many(self, digests: bytes) -> npt.NDArray[np.int64]:
        """`positions` as an array."""
        import numpy as np

        from dataver.native import native

        if native is not None:
            return np.array(self.positions(digests), dtype=np.int64)
        return self._find_many(digests)

    def _find_many(self, digests: bytes) -> npt.NDArray[np.int64]:
        """The same in Python.

        All look-ups take each step of a binary search together; a step compares 8 bytes, and all
        32 are compared at the end.
        """
        import numpy as np

        wanted = np.frombuffer(digests, dtype=np.uint8).reshape(-1, DIGEST_BYTES)
        if not self.key_count:
            return np.full(len(wanted), -1, dtype=np.int64)
        keys = np.frombuffer(self.keys(), dtype=np.uint8).reshape(-1, DIGEST_BYTES)
        key_words = np.frombuffer(self.keys(), dtype=">u8").reshape(-1, 4)
        words = np.frombuffer(digests, dtype=">u8").reshape(-1, 4)[:, 0].astype(np.uint64)
        fanout = np.frombuffer(self._data[self._fanout_at : self._keys_at], dtype="<u4").astype(np.int64)
        head = (words >> np.uint64(32)).astype(np.int64) >> (32 - self._bits)
        low, high = fanout[head], np.minimum(fanout[head + 1], self.key_count)
        steps = int((high - low).max(initial=0)).bit_length()
        for _ in range(steps):
            middle = (low + high) >> 1
            active = low < high
            below = active & (key_words[np.minimum(middle, self.key_count - 1), 0] < words)
            high = np.where(active & ~below, middle, high)
            low = np.where(below, middle + 1, low)
        return self._confirm(keys, wanted, low, words, key_words)

    def _confirm(
        self,
        keys: npt.NDArray[np.uint8],
        wanted: npt.NDArray[np.uint8],
        low: npt.NDArray[np.int64],
        words: npt.NDArray[np.uint64],
        key_words: npt.NDArray[np.uint64],
    ) -> npt.NDArray[np.int64]:
        import numpy as np

        at = np.minimum(low, self.key_count - 1)
        equal = (keys[at] == wanted).all(axis=1)
        found = np.where(equal, at, -1)
        # Keys that share their first 8 bytes stand together: walk the rare run one by one.
        for index in np.flatnonzero(~equal & (key_words[at, 0] == words)):
            position = int(at[index])
            while position < self.key_count and key_words[position, 0] == words[index]:
                if (keys[position] == wanted[index]).all():
                    found[index] = position
                    break
                position += 1
        return found

    def place(self, position: int) -> Place:
        """The place in row `position`."""
        at = self._rows_at + ROW_BYTES * position
        row = parse_row(self._data[at : at + ROW_BYTES], self._head, self.what)
        at = self._frames_at + FRAME_BYTES * row[0]
        frame = parse_frame(self._data[at : at + FRAME_BYTES], row, self._head, self.what)
        start = HEADER_BYTES + DIGEST_BYTES * frame.pack
        name = self._data[start : start + DIGEST_BYTES].tobytes()
        return Place(name, frame.offset, frame.stored_bytes, frame.raw_bytes, frame.codec, row[1], row[2])

    def places(self, positions: Sequence[int] | npt.NDArray[np.int64]) -> list[Place]:
        """The places in many rows at once: the same as `place` gives for each."""
        from dataver.native import native

        if native is not None:
            try:
                tables = self.rows(), self.frame_table(), self._data[HEADER_BYTES : self._frames_at]
                made = native.places(*tables, list(map(int, positions)))
            except ValueError:
                Reader(b"", self.what).fail("a row names a frame or a place that is not there")
            return list(map(Place._make, made))
        if len(positions) <= FEW_PLACES:
            return [self.place(int(position)) for position in positions]
        import numpy as np

        rows = np.frombuffer(self.rows(), dtype="<u4").reshape(-1, 3)[positions]
        if len(rows) and int(rows[:, 0].max()) >= self.frame_count:
            Reader(b"", self.what).fail("a row names a frame that is not there")
        frames = np.frombuffer(self.frame_table(), dtype="<u4").reshape(-1, 5)[rows[:, 0]]
        ends = rows[:, 1].astype(np.int64) + rows[:, 2]
        if (frames[:, 0] >= self.pack_count).any() or (ends > frames[:, 3]).any():
            Reader(b"", self.what).fail("a row names a place that is not there")
        # Of a few thousand packs at most each name is made once, not once a row.
        used, which = np.unique(frames[:, 0], return_inverse=True)
        starts = (HEADER_BYTES + DIGEST_BYTES * used.astype(np.int64)).tolist()
        names = [self._data[start : start + DIGEST_BYTES].tobytes() for start in starts]
        columns = [frames[:, 1], frames[:, 2], frames[:, 3], frames[:, 4], rows[:, 1], rows[:, 2]]
        packs = map(names.__getitem__, which.tolist())
        return list(map(Place._make, zip(packs, *(column.tolist() for column in columns), strict=True)))
