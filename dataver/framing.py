"""Frames on the way in: neighbouring new chunks, compressed together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from dataver.compression import CompressionChooser, compress_frame
from dataver.format.pack import frame_checksum
from dataver.packs import FRAME_BYTES_TARGET, NewFrame

if TYPE_CHECKING:
    pass


class FrameSink(Protocol):
    """Where frames go: a pack writer, or a counter for a dry run."""

    def take(self, frame: NewFrame) -> None:
        """Take one frame. Its buffers are in use until `settle` says that they are not."""

    @property
    def frames(self) -> int:
        """How many frames were taken."""

    def settle(self, frames: int, *, wait: bool) -> bool:
        """Whether the buffers of the first `frames` frames are free again; with `wait`, once they are."""


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
    compress them.
    """

    def __init__(self) -> None:
        self.frames: list[NewFrame] = []
        self.new_bytes = 0
        self._chooser = CompressionChooser()
        self._clear()

    def add(self, piece: Piece) -> None:
        digest, data, start, end, _ = piece
        length = end - start
        if self._size and self._size + length > FRAME_BYTES_TARGET:
            self.flush()
        if self._runs and self._runs[-1][0] is data and self._runs[-1][2] == start:
            self._runs[-1] = (data, self._runs[-1][1], end)
        else:
            self._runs.append((data, start, end))
        self._digests.append(digest)
        self._lengths.append(length)
        self._size += length

    def flush(self) -> None:
        if not self._size:
            return
        plain = [data[start:end] for data, start, end in self._runs]
        codec, stored = compress_frame(plain, chooser=self._chooser)
        parts = plain if stored is None else [stored]
        digests = b"".join(self._digests)
        self.frames.append(NewFrame(codec, parts, self._size, digests, self._lengths, frame_checksum(parts)))
        self.new_bytes += self._size
        self._clear()

    def _clear(self) -> None:
        self._runs: list[tuple[memoryview, int, int]] = []
        self._digests: list[bytes] = []
        self._lengths: list[int] = []
        self._size = 0
