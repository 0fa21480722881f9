"""Frames on the way in: neighbouring new chunks, compressed together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dataver.compression import Codec, CompressionChooser, compress_frame
from dataver.format.pack import frame_checksum
from dataver.packs import FRAME_BYTES_TARGET, NewFrame

if TYPE_CHECKING:
    from dataver.format.binary import Buffer

RAW_FRAME_BYTES_MAX = 512 << 10
"""What is stored raw is read chunk by chunk, so its frames may be larger. But copies between repositories
and collections read whole frames."""


class FrameSink(Protocol):
    """Where frames go: a pack writer, or a counter for a dry run."""

    def take(self, frame: NewFrame) -> None:
        """Take one frame. Its buffers are in use until `settle`."""

    def settle(self) -> None:
        """Have done with the buffers of all frames that were taken."""


class Piece(NamedTuple):
    """A chunk: its digest, where its bytes are in a buffer, and whether they look incompressible."""

    digest: bytes
    data: memoryview
    start: int
    end: int
    noisy: bool


class Framer:
    """Groups neighbouring new chunks into frames and compresses them.

    Chunks that follow each other in one buffer become one part, so that nothing is copied to
    compress them. What is tried together is some `FRAME_BYTES_TARGET`; neighbours that are stored as they are
    become one frame of up to `RAW_FRAME_BYTES_MAX`.
    """

    def __init__(self) -> None:
        self.frames: list[NewFrame] = []
        self.new_bytes = 0
        self._chooser = CompressionChooser()
        self._group = _Group()
        self._raw = _Group()

    def add(self, piece: Piece) -> None:
        """Take the next chunk."""
        group = self._group
        if group.size_bytes and group.size_bytes + piece.end - piece.start > FRAME_BYTES_TARGET:
            self._compress()
            group = self._group
        group.add(piece)

    def close(self) -> None:
        """Make the last frames of what was taken."""
        self._compress()
        self._end_raw()

    def _compress(self) -> None:
        group = self._group
        if not group.size_bytes:
            return
        self._group = _Group()
        self.new_bytes += group.size_bytes
        plain = group.parts()
        codec, stored = compress_frame(plain, chooser=self._chooser)
        if stored is None:
            if self._raw.size_bytes + group.size_bytes > RAW_FRAME_BYTES_MAX:
                self._end_raw()
            self._raw.extend(group)
            return
        self._end_raw()
        self._append(codec, [stored], group)

    def _end_raw(self) -> None:
        group = self._raw
        if group.size_bytes:
            self._raw = _Group()
            self._append(Codec.RAW, group.parts(), group)

    def _append(self, codec: Codec, parts: Sequence[Buffer], group: _Group) -> None:
        digests = b"".join(group.digests)
        checksum = frame_checksum(parts)
        self.frames.append(NewFrame(codec, parts, group.size_bytes, digests, group.lengths, checksum))


class _Group:
    """Chunks that follow each other, and where they are: in runs of one buffer each."""

    __slots__ = ("_runs", "digests", "lengths", "size_bytes")

    def __init__(self) -> None:
        self.digests: list[bytes] = []
        self.lengths: list[int] = []
        self.size_bytes = 0
        self._runs: list[tuple[memoryview, int, int]] = []

    def add(self, piece: Piece) -> None:
        digest, data, start, end, _ = piece
        self._run(data, start, end)
        self.digests.append(digest)
        self.lengths.append(end - start)
        self.size_bytes += end - start

    def extend(self, other: _Group) -> None:
        for run in other._runs:
            self._run(*run)
        self.digests += other.digests
        self.lengths += other.lengths
        self.size_bytes += other.size_bytes

    def parts(self) -> list[memoryview]:
        return [data[start:end] for data, start, end in self._runs]

    def _run(self, data: memoryview, start: int, end: int) -> None:
        if self._runs and self._runs[-1][0] is data and self._runs[-1][2] == start:
            self._runs[-1] = (data, self._runs[-1][1], end)
        else:
            self._runs.append((data, start, end))
