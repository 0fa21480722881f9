"""Writing below a folder and never out of it: by directory descriptors, following no symlink."""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, Self

from dataver.errors import DataverError, NotPermittedError, StoreError, WouldOverwriteError
from dataver.hashing import blake3_digest
from dataver.native import native
from dataver.paths import safe_spelling
from dataver.source.base import EMPTY_FOLDER, PART_PREFIX, SYMLINK, SourceFile
from dataver.source.batch import regular_stamp

if TYPE_CHECKING:
    from dataver.format.binary import Buffer

DESCRIPTORS_MAX = 64
OTHER_DIGEST = -1

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BUFFERS_MAX = 512


class WholeFile(NamedTuple):
    """A file to be written whose bytes are at hand."""

    path: bytes
    executable: bool
    digest: bytes
    data: Buffer


class OtherBytesError(Exception):
    """The bytes of a file do not have the digest that was given for it; `number` says which file."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Target:
    """A folder that files are written into. For one thread at a time; `close` it in the end.

    `root` is no symlink: whoever lets a user name it resolves it once, before. Paths are relative and
    have passed the rules of `dataver.paths`. A folder that turns out to be a symlink or a file is a
    `WouldOverwriteError`: nothing is ever written through it.
    """

    def __init__(self, root: bytes) -> None:
        self._root = root
        try:
            os.makedirs(root, exist_ok=True)
        except RecursionError:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG)) from None
        self._root_fd = os.open(root, _FOLDER_FLAGS)
        self._folders: OrderedDict[bytes, int] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._folders.values():
            os.close(fd)
        self._folders.clear()
        os.close(self._root_fd)

    def folder(self, path: bytes) -> int:
        """A descriptor of the folder at `path`, made with all above it. Valid until the next call."""
        if not path:
            return self._root_fd
        fd = self._folders.get(path)
        if fd is not None:
            self._folders.move_to_end(path)
            return fd
        above, _, name = path.rpartition(b"/")
        parent = self.folder(above)
        try:
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=parent)
            fd = os.open(name, _FOLDER_FLAGS, dir_fd=parent)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise WouldOverwriteError(
                    f"{safe_spelling(path)} must be a folder, but something else is there; "
                    "nothing is written through it"
                ) from error
            raise _named(error, path) from error
        self._folders[path] = fd
        if len(self._folders) > DESCRIPTORS_MAX:
            os.close(self._folders.popitem(last=False)[1])
        return fd

    def write(self, path: bytes, executable: bool, fill: Callable[[int], None]) -> os.stat_result:
        """Write a file: `fill` gets a descriptor, to write and to read what it wrote; when it returns,
        the file takes its place by rename.

        What `fill` raises leaves nothing behind. Replaces a file or symlink that is there; the
        caller has made sure that it may.
        """

        def make(part: bytes, folder: int) -> None:
            fd = os.open(part, _CREATE_FLAGS, 0o777 if executable else 0o666, dir_fd=folder)
            try:
                fill(fd)
            finally:
                os.close(fd)

        return self._put(path, make)

    def write_files(self, files: Sequence[WholeFile]) -> Iterator[bytes]:
        """Write whole files, each as `write` does; gives the stamp of each, in order.

        The stamps are those of `dataver.source.columns`. A file whose bytes do not have its digest is a
        `OtherBytesError`; that one is not written, and none after it.
        """
        number = 0
        for above, group in groupby(files, lambda file: file.path.rpartition(b"/")[0]):
            start = len(above) + 1 if above else 0
            parts = [(path[start:], executable, digest, data) for path, executable, digest, data in group]
            write = write_files_plainly if native is None else native.write_files
            stamps, error = write(self.folder(above), PART_PREFIX + os.urandom(8).hex().encode(), parts)
            yield from stamps
            number += len(stamps)
            if error == OTHER_DIGEST:
                raise OtherBytesError(number)
            if error:
                raise OSError(error, os.strerror(error), os.fsdecode(files[number].path))

    def symlink(self, path: bytes, target: bytes) -> os.stat_result:
        """Make a symlink, which is never followed here."""
        return self._put(path, lambda part, folder: os.symlink(target, part, dir_fd=folder))

    def _put(self, path: bytes, make: Callable[[bytes, int], None]) -> os.stat_result:
        """Make something under a temporary name, then give it its own; nothing is left of a failure."""
        above, _, name = path.rpartition(b"/")
        folder = self.folder(above)
        part = PART_PREFIX + os.urandom(8).hex().encode()
        try:
            make(part, folder)
            os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException as error:
            with suppress(OSError):
                os.unlink(part, dir_fd=folder)
            if isinstance(error, OSError):
                raise _named(error, path) from error
            raise
        return os.stat(name, dir_fd=folder, follow_symlinks=False)

    def set_executable(self, path: bytes, executable: bool) -> os.stat_result | None:
        """Give or take the executable bit where the file is readable; special bits go.

        None where the file has another name, which may lie elsewhere: it stays as it is.
        """
        above, _, name = path.rpartition(b"/")
        folder = self.folder(above)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            fd = os.open(name, flags, dir_fd=folder)
            try:
                found = os.fstat(fd)
                if found.st_nlink > 1:
                    return None
                mode = stat.S_IMODE(found.st_mode) & 0o777
                os.fchmod(fd, mode | (mode & 0o444) >> 2 if executable else mode & ~0o111)
                return os.fstat(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise _named(error, path) from error

    def expect(self, path: bytes, seen: Mapping[bytes, SourceFile]) -> None:
        """`WouldOverwriteError` where `seen` says what was at `path`, and something else is there by now."""
        file = seen.get(path)
        if file is None or file.kind == EMPTY_FOLDER:
            return
        above, _, name = path.rpartition(b"/")
        try:
            found = os.stat(name, dir_fd=self.folder(above), follow_symlinks=False)
        except FileNotFoundError:
            return
        # Some systems give another size for a link than its target has.
        size = file.size if file.kind == SYMLINK else found.st_size
        if (size, found.st_mtime_ns, found.st_ino) != (file.size, file.mtime_ns, file.inode):
            raise WouldOverwriteError(
                f"{safe_spelling(path)} was changed while the checkout ran, and stays as it is; what is "
                "complete stays as well. Move it away, or repeat with --overwrite"
            )

    def remove(self, path: bytes) -> None:
        """Remove a file, a symlink or an empty folder, and each folder above it that is empty then."""
        above, _, name = path.rpartition(b"/")
        folder = self.folder(above)
        try:
            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError) as refused:
            # What unlink says of a folder differs between systems; rmdir takes only an empty one.
            try:
                os.rmdir(name, dir_fd=folder)
            except OSError as error:
                raise _named(refused if error.errno == errno.ENOTDIR else error, path) from error
        self.remove_empty(above)

    def remove_empty(self, path: bytes) -> None:
        """Remove a folder if it is empty, and then those above it."""
        while path:
            above, _, name = path.rpartition(b"/")
            fd = self._folders.pop(path, None)
            if fd is not None:
                os.close(fd)
            try:
                os.rmdir(name, dir_fd=self.folder(above))
            except OSError:
                return
            path = above

    def folds_case(self) -> bool:
        """Whether this file system takes names that differ in case for one."""
        return self._folds("Case", "cASE")

    def folds_composed(self) -> bool:
        """Whether it takes a sign with an accent for the sign and the accent, as macOS does."""
        return self._folds("\u00e9", "e\u0301")

    def _folds(self, one: str, other: str) -> bool:
        start = PART_PREFIX + os.urandom(8).hex().encode()
        name = start + one.encode()
        os.close(os.open(name, _CREATE_FLAGS, 0o600, dir_fd=self._root_fd))
        try:
            os.stat(start + other.encode(), dir_fd=self._root_fd, follow_symlinks=False)
            return True
        except FileNotFoundError:
            return False
        finally:
            os.unlink(name, dir_fd=self._root_fd)


def write_files_plainly(
    folder: int, part: bytes, files: Sequence[tuple[bytes, bool, bytes, Buffer]]
) -> tuple[list[bytes], int]:
    """Write files (name, executable, digest, data) into an open folder, under temporary names first.

    Gives the stamps of those that took their places, up to the first that did not, and why that was: 0
    where none is left, `OTHER_DIGEST`, or the number of an error. `part` begins the temporary names. The
    compiled part does without these where the system has files without a name, unless `unnamed` is false.
    """
    stamps: list[bytes] = []
    for number, (name, executable, digest, data) in enumerate(files):
        if blake3_digest(data) != digest:
            return stamps, OTHER_DIGEST
        temporary = b"%s-%d" % (part, number)
        try:
            fd = os.open(temporary, _CREATE_FLAGS, 0o777 if executable else 0o666, dir_fd=folder)
            try:
                write_buffers(fd, [data])
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
                # After the rename, which changes the time of the last change.
                stamp = regular_stamp(os.fstat(fd))
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
            finally:
                os.close(fd)  # Where a network file system tells that it has no room.
        except OSError as error:
            return stamps, error.errno or errno.EIO
        stamps.append(stamp)
    return stamps, 0


def write_buffers(fd: int, buffers: Sequence[Buffer]) -> None:
    """Write all buffers, whatever part the system takes at a time."""
    if len(buffers) == 1:
        data = buffers[0]
        written = os.write(fd, data)
        if written == len(data):
            return
        buffers = [memoryview(data)[written:]]
    views = [memoryview(buffer) for buffer in buffers]
    while views:
        written = os.writev(fd, views[:_BUFFERS_MAX])
        while views and written >= len(views[0]):
            written -= len(views[0])
            views.pop(0)
        if written:
            views[0] = views[0][written:]


def write_at(fd: int, buffers: Sequence[Buffer], start: int) -> None:
    """Write all buffers from byte `start` of the file on. Its position stays as it is."""
    views = [memoryview(buffer) for buffer in buffers]
    while views:
        written = os.pwritev(fd, views[:_BUFFERS_MAX], start)
        if written <= 0:
            raise OSError(errno.EIO, "the file system took no bytes")
        start += written
        while views and written >= len(views[0]):
            written -= len(views[0])
            views.pop(0)
        if written:
            views[0] = views[0][written:]


def _named(error: OSError, path: bytes) -> OSError:
    """The same failure with the path in the target in place of a temporary name or of none."""
    if isinstance(error, DataverError):
        return error
    return OSError(error.errno or errno.EIO, error.strerror or str(error), os.fsdecode(path))


def target_fault(error: OSError, root: bytes) -> Exception:
    """The error to raise for a failure of the target's file system: it names what failed below `root`."""
    what = safe_spelling(os.path.join(root, os.fsencode(error.filename or b"")).rstrip(b"/"))
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NotPermittedError(
            f"{what} cannot be written: {reason}; check its permissions and those of its folder, then "
            "repeat the checkout"
        )
    if error.errno == errno.ENOTDIR:
        return WouldOverwriteError(
            f"{what} cannot be made: what is above it is no folder; move that away, or name another target"
        )
    start = f"{what} cannot be written: {reason}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"{start}; free space or raise the quota, then repeat the checkout: what is complete stays"
        )
    return StoreError(f"{start}; what is complete stays, repeat the checkout to go on")
