"""Frames on the way in: neighbouring new chunks, compressed together."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import chain
from operator import sub
from typing import TYPE_CHECKING, Protocol

from dataver.compression import FRAMES_TOGETHER, Codec, FrameCompressor
from dataver.digest import digests_at
from dataver.format.pack import frame_checksum
from dataver.packs import FRAME_BYTES_TARGET, NewFrame
from dataver.values import NamedTuple

if TYPE_CHECKING:
    from dataver.format.binary import Buffer

RAW_FRAME_BYTES_MAX = 512 << 10
"""Chunks of large files that are stored raw are read one by one, so their frames may be larger. But copies
between repositories, and collections, read whole frames."""


class FrameSink(Protocol):
    """Where frames go: a pack writer, or a counter for a dry run."""

    def take(self, frame: NewFrame) -> None:
        """Take one frame. Its buffers are in use until `settle`."""

    def settle(self) -> None:
        """Have done with the buffers of all frames that were taken."""


class Chunks(NamedTuple):
    """Chunks side by side in one buffer: where the first begins, where each ends, and the bytes of each.

    `digests` are theirs, 32 bytes each.
    """

    data: memoryview
    start: int
    ends: Sequence[int]
    lengths: Sequence[int]
    digests: bytes


def chunks_at(data: memoryview, start: int, ends: Sequence[int], digests: bytes) -> Chunks:
    """Chunks with these digests: the first begins at `start`, each other one where the one before ends."""
    return Chunks(data, start, ends, list(map(sub, ends, chain((start,), ends))), digests)


class Framer:
    """Groups neighbouring new chunks into frames and compresses them.

    Chunks that follow each other in one buffer become one part, so that nothing is copied to
    compress them. What is tried together is some `FRAME_BYTES_TARGET`; neighbours that are stored as they are
    become one frame of up to `raw_bytes_max`.
    """

    def __init__(self, raw_bytes_max: int = FRAME_BYTES_TARGET) -> None:
        self._raw_bytes_max = raw_bytes_max
        self.frames: list[NewFrame] = []
        self.new_bytes = 0
        self._compressor = FrameCompressor()
        self._group = _Group()
        self._groups: list[_Group] = []
        self._raw = _Group()

    def add(self, chunks: Chunks, first: int, stop: int) -> None:
        """Take the chunks at these positions, all of which are new."""
        data, start, ends, lengths, digests = chunks
        begin = ends[first - 1] if first else start
        while first < stop:
            group = self._group
            until = bisect_right(ends, begin + FRAME_BYTES_TARGET - group.size_bytes, first, stop)
            if until == first:
                if group.size_bytes:
                    self._end_group()
                    continue
                until += 1  # It alone is larger than a frame should be.
            end = ends[until - 1]
            group.add(data, begin, end, lengths[first:until], digests_at(digests, first, until))
            first, begin = until, end

    def close(self) -> None:
        """Make the last frames of what was taken."""
        if self._group.size_bytes:
            self._end_group()
        self._compress()
        self._end_raw()

    def _end_group(self) -> None:
        self.new_bytes += self._group.size_bytes
        self._groups.append(self._group)
        self._group = _Group()
        if len(self._groups) == FRAMES_TOGETHER:
            self._compress()

    def _compress(self) -> None:
        groups, self._groups = self._groups, []
        compressed = self._compressor.compress([group.parts() for group in groups])
        for group, stored in zip(groups, compressed, strict=True):
            if stored is not None:
                self._end_raw()
                self._append(Codec.ZSTD, [stored], group)
                continue
            if self._raw.size_bytes + group.size_bytes > self._raw_bytes_max:
                self._end_raw()
            self._raw.extend(group)

    def _end_raw(self) -> None:
        group = self._raw
        if group.size_bytes:
            self._raw = _Group()
            parts = group.parts()
            # Many small parts cost more to hash and to write than to copy together.
            self._append(Codec.RAW, parts if len(parts) == 1 else [b"".join(parts)], group)

    def _append(self, codec: Codec, parts: Sequence[Buffer], group: _Group) -> None:
        digests = b"".join(group.digests)
        checksum = frame_checksum(parts)
        self.frames.append(NewFrame(codec, parts, group.size_bytes, digests, group.lengths, checksum))


class _Group:
    """Chunks that follow each other, and where they are: in runs of one buffer each."""

    __slots__ = ("digests", "lengths", "runs", "size_bytes")

    def __init__(self) -> None:
        self.digests: list[bytes] = []
        self.lengths: list[int] = []
        self.runs: list[tuple[memoryview, int, int]] = []
        self.size_bytes = 0

    def add(self, data: memoryview, start: int, end: int, lengths: Sequence[int], digests: bytes) -> None:
        runs = self.runs
        if runs and runs[-1][2] == start and runs[-1][0] is data:
            runs[-1] = (data, runs[-1][1], end)
        else:
            runs.append((data, start, end))
        self.digests.append(digests)
        self.lengths += lengths
        self.size_bytes += end - start

    def extend(self, other: _Group) -> None:
        data, start, end = other.runs[0]
        if self.runs and self.runs[-1][2] == start and self.runs[-1][0] is data:
            self.runs[-1] = (data, self.runs[-1][1], end)
            self.runs += other.runs[1:]
        else:
            self.runs += other.runs
        self.digests += other.digests
        self.lengths += other.lengths
        self.size_bytes += other.size_bytes

    def parts(self) -> list[memoryview]:
        return [data[start:end] for data, start, end in self.runs]
