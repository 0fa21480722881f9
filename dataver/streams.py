"""A file of a version as a Python file."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dataver import exits
from dataver.reading import Ranges

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from dataver.recording import OpenFile
    from dataver.store.base import View

BUFFER_BYTES = 8 << 10
"""Small, as what is read into it beyond a request may need one more chunk; the window is behind it."""
AHEAD_BYTES_MAX = 4 << 20
LOAD_BYTES_MAX = 8 << 20
DIRECT_BYTES_MIN = 512 << 10
"""So much that is asked for at once goes to where it is wanted, past the window."""


class VersionFile(io.BufferedReader):
    """A file of a version, open for reading: seekable, verified, closed as files are.

    Only what is asked for is read, and, once reads follow each other, up to `AHEAD_BYTES_MAX` more.
    `name` is its path, `size` its bytes. A pickle opens it again at the same position.

    What a thread reads first after its own `seek` begins there, whatever other threads do meanwhile:
    DuckDB shares one file between threads, and each of them seeks before it reads.
    """

    mode = "rb"

    def __init__(
        self,
        ranges: Ranges,
        path: str,
        size: int,
        again: tuple[Callable[..., Any], Any],
        note: OpenFile | None = None,
    ) -> None:
        """`note` is told what is read."""
        super().__init__(_Raw(ranges, path, size, note), BUFFER_BYTES)
        self._turn = threading.RLock()
        self._sought: dict[int, int] = {}
        self.size = size
        self.path = path
        self._again = again
        exits.opened(self)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._turn:
            if whence == io.SEEK_CUR:
                self._go()
            position = super().seek(offset, whence)
            self._sought[threading.get_ident()] = position
            return position

    def tell(self) -> int:
        with self._turn:
            position = super().tell()
            return self._sought.get(threading.get_ident(), position)

    def _go(self) -> None:
        """Go to where this thread has sought, if others have moved the file since."""
        position = self._sought.pop(threading.get_ident(), None)
        if position is not None and super().tell() != position:
            super().seek(position)

    def read(self, size: int | None = -1) -> bytes:
        with self._turn:
            self._go()
            return super().read(size)

    def read1(self, size: int = -1) -> bytes:
        with self._turn:
            self._go()
            return super().read1(size)

    def readinto(self, buffer: Buffer) -> int:
        with self._turn:
            self._go()
            return super().readinto(buffer)

    def readinto1(self, buffer: Buffer) -> int:
        with self._turn:
            self._go()
            return super().readinto1(buffer)

    def readline(self, size: int | None = -1) -> bytes:
        with self._turn:
            self._go()
            return super().readline(size)

    def peek(self, size: int = 0) -> bytes:
        with self._turn:
            self._go()
            return super().peek(size)

    def __next__(self) -> bytes:
        with self._turn:
            self._go()
            return super().__next__()

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _open_again, (*self._again, self.tell())

    def __repr__(self) -> str:
        return f"<VersionFile {self.path!r}{' closed' if self.closed else ''}>"


def _open_again(open_file: Callable[[Any], VersionFile], argument: Any, position: int) -> VersionFile:
    file = open_file(argument)
    file.seek(position)
    return file


class _Raw(io.RawIOBase):
    """Reads whole chunks, as only those can be verified, and keeps the last ones as a window."""

    def __init__(self, ranges: Ranges, path: str, size: int, note: OpenFile | None) -> None:
        super().__init__()
        self.name = path
        self._note = note
        self._ranges = ranges
        self._size = size
        self._at = 0
        self._window: Sequence[View] = ()
        self._window_start = self._window_stop = 0

    def readable(self) -> bool:
        self._check()
        return True

    def seekable(self) -> bool:
        self._check()
        return True

    def tell(self) -> int:
        self._check()
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._check()
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}
        if whence not in bases:
            raise ValueError(f"invalid whence ({whence}, should be 0, 1 or 2)")
        if bases[whence] + offset < 0:
            raise ValueError(f"negative seek position {bases[whence] + offset}")
        self._at = bases[whence] + offset
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        self._check()
        target = memoryview(buffer).cast("B")
        wanted = min(len(target), self._size - self._at)
        if wanted <= 0:
            return 0
        if self._note is not None:
            self._note.read(self._at, self._at + wanted)
        if not self._window_start <= self._at < self._window_stop:
            if wanted >= DIRECT_BYTES_MIN and self._fill(target[:wanted]):
                return wanted
            self._load(wanted)
        return self._copy(target[:wanted])

    def readall(self) -> bytes:
        self._check()
        if self._at == 0:
            exits.read()
            if self._note is not None:
                self._note.read(0, self._size)
            data = self._ranges.whole()
            self._at = self._size
            return data
        out = bytearray(max(self._size - self._at, 0))
        view = memoryview(out)
        while view:
            view = view[self.readinto(view) :]
        return bytes(out)

    def close(self) -> None:
        self._window = ()
        self._window_start = self._window_stop = 0
        if self._note is not None:
            self._note.close()
        self._ranges.close()
        super().close()

    def _fill(self, target: memoryview) -> bool:
        """Read straight into `target`, and keep the last chunk as the window, if that is quicker."""
        exits.read()
        last = self._ranges.fill(self._at, target)
        if last is None:
            return False
        self._at += len(target)
        self._window_start, self._window = last[0], (last[1],)
        self._window_stop = last[0] + len(last[1])
        return True

    def _load(self, wanted: int) -> None:
        """Read what is wanted now, and more where reads follow each other."""
        exits.read()
        last = self._window_stop - self._window_start
        in_order = self._at == self._window_stop and self._at > 0
        ahead = min(2 * last, AHEAD_BYTES_MAX) if in_order else 0
        length = min(max(wanted, ahead), LOAD_BYTES_MAX)
        self._window_start, self._window = self._ranges.chunks(self._at, min(self._at + length, self._size))
        self._window_stop = self._window_start + sum(map(len, self._window))

    def _copy(self, target: memoryview) -> int:
        begin = self._window_start
        done = 0
        for view in self._window:
            end = begin + len(view)
            if end > self._at:
                part = memoryview(view)[self._at - begin :][: len(target) - done]
                target[done : done + len(part)] = part
                done += len(part)
                self._at += len(part)
                if done == len(target):
                    break
            begin = end
        return done

    def _check(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")
