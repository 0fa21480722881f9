"""A large file on the way in: read and cut window by window, again from the start if it changed meanwhile."""

from __future__ import annotations

import io
from array import array
from threading import Event
from typing import TYPE_CHECKING, cast

from dataver.chunking.parquet import forced_cuts
from dataver.chunking.stream import Cutter
from dataver.errors import SourceChangedError
from dataver.hashing import FileHasher
from dataver.source import Source, SourceFile, SourceReader, pauses
from dataver.source.faults import changed
from dataver.values import NamedTuple

if TYPE_CHECKING:
    from typing import BinaryIO

    from dataver.chunking import ChunkerParameters
    from dataver.digest import Digest
    from dataver.framing import Chunks


class ChunkRows:
    """The chunks of a file in their order, side by side: there is no object a chunk."""

    def __init__(self) -> None:
        self.digests = bytearray()
        self.lengths = array("I")

    def extend(self, chunks: Chunks) -> None:
        """Append chunks."""
        self.digests += chunks.digests
        self.lengths.extend(chunks.lengths)


class Attempt:
    """One reading of a file, from its start. Counts if its last window came.

    `rows` are its chunks so far.
    """

    def __init__(self) -> None:
        self.rows = ChunkRows()
        self._hasher = FileHasher()

    def update(self, window: Window) -> None:
        """Append a window to the file's digest. Waits for the one before it to be appended by its thread."""
        if window.before is not None:
            window.before.wait()
        try:
            self._hasher.update(window.fresh)
        finally:
            window.hashed.set()

    def digest(self) -> Digest:
        """The digest of all windows so far."""
        return self._hasher.digest()


class Window(NamedTuple):
    """What is read of a file in one go, and where chunks end in it. What is behind comes again with the next.

    `fresh` is what was not in a window before. `file` is None but for the last window, where it has the
    stamps of what was read. `before` tells that the window before was hashed, `hashed` that this one was: it
    is to be set whatever happens, as others wait for it.
    """

    path: bytes
    attempt: Attempt
    data: memoryview
    fresh: memoryview
    ends: list[int]
    file: SourceFile | None
    before: Event | None
    hashed: Event


class WindowReader:
    """Reads one file. For one thread at a time; a window is good as long as nobody writes to its buffer.

    What a window did not use up is copied from its buffer when the next is read, so until then the buffer
    must stay as it is.
    """

    def __init__(self, source: Source, file: SourceFile, parameters: ChunkerParameters) -> None:
        self._source = source
        self._file = file
        self._parameters = parameters
        self._pauses = pauses()
        self._reader: SourceReader | None = None
        self._begin()

    def read(self, buffer: memoryview) -> Window:
        """The next window; the first one of another attempt, where the file changed.

        `SourceChangedError` if it changes each time.
        """
        while True:
            if self._reader is None:
                self._open()
            try:
                return self._read(buffer)
            except SourceChangedError:
                self.close()

    def close(self) -> None:
        """Let the file go. Without effect where it is not open."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _open(self) -> None:
        for _ in self._pauses:
            try:
                self._reader = self._source.open_stable(self._file)
            except SourceChangedError:
                continue
            self._begin()
            return
        raise changed(self._file)

    def _begin(self) -> None:
        self._attempt = Attempt()
        self._cutter: Cutter | None = None
        self._carried = memoryview(b"")
        self._size = 0
        self._before: Event | None = None

    def _read(self, buffer: memoryview) -> Window:
        reader = self._reader
        assert reader is not None
        if self._cutter is None:
            self._cutter = Cutter(self._parameters, _forced(reader, self._parameters))
        start = len(self._carried)
        buffer[:start] = self._carried
        filled, is_last = _fill(reader, buffer, start)
        self._size += filled - start
        if is_last:
            reader.check()
            if self._size != reader.file.size:
                raise changed(self._file)
        data = buffer[:filled]
        ends = self._cutter.cut(data, final=is_last)
        self._carried = data[ends[-1] if ends else 0 :]
        before, self._before = self._before, Event()
        file = reader.file if is_last else None
        return Window(self._file.path, self._attempt, data, data[start:], ends, file, before, self._before)


def _forced(reader: SourceReader, parameters: ChunkerParameters) -> list[int]:
    size = reader.seek(0, io.SEEK_END)
    reader.seek(0)
    return forced_cuts(cast("BinaryIO", reader), size, parameters)


def _fill(reader: SourceReader, buffer: memoryview, start: int) -> tuple[int, bool]:
    """Read until the buffer is full or the file ends: (bytes in it, whether it ended)."""
    filled = start
    while filled < len(buffer):
        count = reader.readinto(buffer[filled:])
        if not count:
            return filled, True
        filled += count
    return filled, False
