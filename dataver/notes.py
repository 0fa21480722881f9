"""A file that notes are appended to, which keeps all of them even if the process is killed."""

from __future__ import annotations

import mmap
import os

__all__ = ["NotesFile"]

WINDOW_BYTES = 256 << 10


class NotesFile:
    """Appends to a new file through memory that the system writes back: a tenth of what a call to it costs.

    What was appended is in the file once the call returns, whatever becomes of the process; not if
    the machine fails. The room is allocated before it is written to, so that a full disk is an `OSError`.
    Until `close`, zeros may follow the notes. For one thread at a time, and for the process that made it.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._window: mmap.mmap | None = None
        self._start = self._at = 0
        self._maps = hasattr(os, "posix_fallocate")

    def append(self, data: bytes) -> None:
        """Put bytes at the end."""
        window, at = self._window, self._at
        end = at + len(data)
        if window is not None and end <= WINDOW_BYTES:
            window[at:end] = data
            self._at = end
        else:
            self._append(data)

    def _append(self, data: bytes) -> None:
        """As `append`, where there is not room enough in the window."""
        while data:
            if self._maps and (self._window is None or self._at == WINDOW_BYTES):
                self._next_window()
            if self._window is None:
                data = data[os.write(self._file, data) :]
                continue
            part = data[: WINDOW_BYTES - self._at]
            self._window[self._at : self._at + len(part)] = part
            self._at += len(part)
            data = data[len(part) :]

    def _next_window(self) -> None:
        start = 0 if self._window is None else self._start + WINDOW_BYTES
        try:
            os.posix_fallocate(self._file, start, WINDOW_BYTES)
            window = mmap.mmap(self._file, WINDOW_BYTES, offset=start)
        except OSError:
            # A file system without either takes plain writes, and says itself if it is full.
            self._leave_window()
            self._maps = False
            os.ftruncate(self._file, start)
            os.lseek(self._file, start, os.SEEK_SET)
            return
        self._leave_window()
        self._window, self._start, self._at = window, start, 0

    def _leave_window(self) -> None:
        if self._window is not None:
            self._window.close()
            self._window = None

    def close(self) -> None:
        """Cut off the zeros; nothing can be appended any more."""
        end = self._start + self._at if self._window is not None else None
        self._leave_window()
        try:
            if end is not None:
                os.ftruncate(self._file, end)
        finally:
            os.close(self._file)

    def leave(self) -> None:
        """In a forked process: let go of it and change nothing, as it is its parent's."""
        self._leave_window()
        os.close(self._file)
