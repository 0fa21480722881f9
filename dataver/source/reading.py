"""Reading local files that others may write to meanwhile.

A read counts only if size, modification and change time were the same before and after it. A
name may have become anything since it was listed, so opening never follows a symlink, never
blocks on a pipe, and what was opened is looked at again.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dataver.source.base import FILE, READ_PAUSES_S, SYMLINK, SourceFile
from dataver.source.batch import FILE_FLAGS, FOLDER_FLAGS
from dataver.source.faults import changed, source_fault

__all__ = ["LocalReader", "open_local", "read_link", "read_whole", "step_by_step"]

# A file listed as small that has meanwhile grown beyond this is not pulled into memory.
_WHOLE_BYTES_MAX = 64 << 20

_VANISHED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ESTALE)


def read_whole(name: bytes, file: SourceFile, folder: int | None = None) -> tuple[bytes, SourceFile]:
    """The content of a regular file, and its entry as of this reading. See `Source.read_small`.

    `name` is relative to the descriptor `folder` where there is one.
    """
    for pause_s in READ_PAUSES_S:
        if pause_s:
            time.sleep(pause_s)
        try:
            fd = os.open(name, FILE_FLAGS, dir_fd=folder)
        except OSError as error:
            if error.errno in _VANISHED:
                continue
            raise source_fault(error, file.path) from error
        try:
            before = os.fstat(fd)
            size = before.st_size
            if not stat.S_ISREG(before.st_mode) or size > max(file.size, _WHOLE_BYTES_MAX):
                break
            data = os.read(fd, size + 1)
            while 0 < len(data) < size and (more := os.read(fd, size + 1 - len(data))):
                data += more
            after = os.fstat(fd)
        except OSError as error:
            raise source_fault(error, file.path) from error
        finally:
            os.close(fd)
        if (
            len(data) == size == after.st_size
            and before.st_mtime_ns == after.st_mtime_ns
            and before.st_ctime_ns == after.st_ctime_ns
        ):
            return data, _entry(file.path, after)
    raise changed(file)


def read_link(name: bytes, file: SourceFile, folder: int | None = None) -> tuple[bytes, SourceFile]:
    """The target of a symlink, and its entry as of this reading."""
    for pause_s in READ_PAUSES_S:
        if pause_s:
            time.sleep(pause_s)
        try:
            before = os.stat(name, dir_fd=folder, follow_symlinks=False)
            target = os.readlink(name, dir_fd=folder)
            after = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno in _VANISHED or error.errno == errno.EINVAL:  # EINVAL: no longer a symlink
                continue
            raise source_fault(error, file.path) from error
        if before.st_ino == after.st_ino and before.st_ctime_ns == after.st_ctime_ns:
            return target, SourceFile(
                file.path, SYMLINK, False, len(target), after.st_mtime_ns, after.st_ctime_ns, after.st_ino
            )
    raise changed(file)


class LocalReader(io.FileIO):
    """A `SourceReader` over a descriptor, unbuffered."""

    def __init__(self, fd: int, file: SourceFile) -> None:
        super().__init__(fd, "rb")
        self.file = file

    def check(self) -> None:
        now = os.fstat(self.fileno())
        if _entry(self.file.path, now) != self.file:
            raise changed(self.file)


def open_local(name: bytes, file: SourceFile, folder: int | None = None) -> LocalReader:
    """Open a regular file. `SourceChangedError` where it no longer is one."""
    try:
        fd = os.open(name, FILE_FLAGS, dir_fd=folder)
    except OSError as error:
        if error.errno in _VANISHED:
            raise changed(file) from error
        raise source_fault(error, file.path) from error
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise changed(file)
        return LocalReader(fd, _entry(file.path, found))
    except BaseException:
        os.close(fd)
        raise


def _entry(path: bytes, found: os.stat_result) -> SourceFile:
    executable = bool(found.st_mode & stat.S_IXUSR)
    return SourceFile(
        path, FILE, executable, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
    )


@contextmanager
def step_by_step(full: bytes) -> Iterator[tuple[int, bytes]]:
    """The folder of an absolute path as a descriptor, and the last name: for paths too long for one call."""
    *folders, name = full.split(b"/")
    fd = os.open(b"/", FOLDER_FLAGS | os.O_NOFOLLOW)
    try:
        for folder in folders:
            if folder:
                below = os.open(folder, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=fd)
                os.close(fd)
                fd = below
        yield fd, name
    finally:
        os.close(fd)
