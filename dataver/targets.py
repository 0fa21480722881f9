"""Writing below a folder and never out of it: by directory descriptors, following no symlink."""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, Self

from dataver.errors import DataverError, NotPermittedError, StoreError, WouldOverwriteError
from dataver.hashing import FileHasher, blake3_digest
from dataver.native import native
from dataver.paths import safe_spelling
from dataver.source.base import EMPTY_FOLDER, PART_PREFIX, SYMLINK, SourceFile
from dataver.source.batch import regular_stamp
from dataver.values import NamedTuple

if TYPE_CHECKING:
    from dataver.format.binary import Buffer

DESCRIPTORS_MAX = 64
OTHER_DIGEST = -1
NOT_WRITTEN = b""
"""In the place of a stamp: the very same file was there by then."""

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_READ_BYTES = 1 << 20
_BUFFERS_MAX = 512
# What a file system without hard links says.
_NO_LINK = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK}


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

    `seen` is what may be replaced, as it was found: where anything else stands by now, also where nothing
    stood, that is a `WouldOverwriteError` and stays. Without it whatever is there is replaced.
    """

    def __init__(self, root: bytes, seen: Mapping[bytes, SourceFile] | None = None) -> None:
        self._root = root
        self._seen = seen
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

    def write(
        self, path: bytes, executable: bool, digest: bytes, fill: Callable[[int], None]
    ) -> os.stat_result | None:
        """Write a file: `fill` gets a descriptor, to write and to read what it wrote; when it returns,
        the file, which has this digest, takes its place.

        What `fill` raises leaves nothing behind. None where the very same file came to be there meanwhile,
        as by another checkout: that one stays.
        """

        def make(part: bytes, folder: int) -> None:
            fd = os.open(part, _CREATE_FLAGS, 0o777 if executable else 0o666, dir_fd=folder)
            try:
                fill(fd)
            finally:
                os.close(fd)

        found = self._put(path, make)
        if found is None:
            self._be_same(path, executable, digest)
        return found

    def write_files(self, files: Sequence[WholeFile]) -> Iterator[bytes]:
        """Write whole files, each as `write` does; gives the stamp of each, in order, or `NOT_WRITTEN`.

        The stamps are those of `dataver.source.columns`. A file whose bytes do not have its digest is a
        `OtherBytesError`; that one is not written, and none after it.
        """

        def place(file: WholeFile) -> tuple[bytes, bool]:
            return file.path.rpartition(b"/")[0], self.expect(file.path)

        number = 0
        for (above, replaces), group in groupby(files, place):
            start = len(above) + 1 if above else 0
            parts = [(path[start:], executable, digest, data) for path, executable, digest, data in group]
            while parts:
                part = PART_PREFIX + os.urandom(8).hex().encode()
                if native is None:
                    stamps, error = write_files_plainly(self.folder(above), part, parts, replaces)
                else:
                    stamps, error = native.write_files(self.folder(above), part, parts, True, replaces)
                yield from stamps
                number += len(stamps)
                if error == OTHER_DIGEST:
                    raise OtherBytesError(number)
                if error == errno.EEXIST and not replaces:
                    path, executable, digest, _ = files[number]
                    self._be_same(path, executable, digest)
                    yield NOT_WRITTEN
                    number += 1
                elif error:
                    raise OSError(error, os.strerror(error), os.fsdecode(files[number].path))
                parts = parts[len(stamps) + 1 :]

    def symlink(self, path: bytes, target: bytes) -> os.stat_result | None:
        """Make a symlink, which is never followed here. None as `write`."""
        found = self._put(path, lambda name, folder: os.symlink(target, name, dir_fd=folder), at_once=True)
        if found is None:
            above, _, name = path.rpartition(b"/")
            with suppress(OSError):
                if os.readlink(name, dir_fd=self.folder(above)) == target:
                    return None
            raise _theirs(path, "came to be there")
        return found

    def _put(
        self, path: bytes, make: Callable[[bytes, int], None], *, at_once: bool = False
    ) -> os.stat_result | None:
        """Make something under a temporary name, then give it its own; nothing is left of a failure.

        None where something is there that may not be replaced. What is made `at_once` needs no temporary
        name where nothing is to be replaced.
        """
        above, _, name = path.rpartition(b"/")
        folder = self.folder(above)
        part = PART_PREFIX + os.urandom(8).hex().encode()
        try:
            if at_once and not self.expect(path):
                make(name, folder)
            else:
                make(part, folder)
                _place(folder, part, name, self.expect(path))
        except BaseException as error:
            with suppress(OSError):
                os.unlink(part, dir_fd=folder)
            if not isinstance(error, OSError):
                raise
            if error.errno == errno.EEXIST:
                return None
            raise _named(error, path) from error
        return os.stat(name, dir_fd=folder, follow_symlinks=False)

    def _be_same(self, path: bytes, executable: bool, digest: bytes) -> None:
        """`WouldOverwriteError` unless what came to be at `path` is the very file that was to be there."""
        above, _, name = path.rpartition(b"/")
        with suppress(OSError):
            fd = os.open(name, _READ_FLAGS, dir_fd=self.folder(above))
            with open(fd, "rb", buffering=0) as file:
                mode = os.fstat(fd).st_mode
                if stat.S_ISREG(mode) and bool(mode & stat.S_IXUSR) == executable:
                    hasher = FileHasher()
                    while block := file.read(_READ_BYTES):
                        hasher.update(block)
                    if hasher.digest() == digest:
                        return
        raise _theirs(path, "came to be there")

    def set_executable(self, path: bytes, executable: bool) -> os.stat_result | None:
        """Give or take the executable bit where the file is readable; special bits go.

        None where the file has another name, which may lie elsewhere: it stays as it is.
        """
        above, _, name = path.rpartition(b"/")
        folder = self.folder(above)
        try:
            fd = os.open(name, _READ_FLAGS, dir_fd=folder)
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

    def expect(self, path: bytes) -> bool:
        """Whether what is at `path` may be replaced; False where nothing was seen there, or it went.

        `WouldOverwriteError` where something was seen there, and something else is there by now.
        """
        if self._seen is None:
            return True
        file = self._seen.get(path)
        if file is None or file.kind == EMPTY_FOLDER:
            return False
        above, _, name = path.rpartition(b"/")
        try:
            found = os.stat(name, dir_fd=self.folder(above), follow_symlinks=False)
        except FileNotFoundError:
            return False
        # Some systems give another size for a link than its target has.
        size = file.size if file.kind == SYMLINK else found.st_size
        if (size, found.st_mtime_ns, found.st_ino) != (file.size, file.mtime_ns, file.inode):
            raise _theirs(path, "was changed")
        return True

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
    folder: int, part: bytes, files: Sequence[tuple[bytes, bool, bytes, Buffer]], replace: bool = True
) -> tuple[list[bytes], int]:
    """Write files (name, executable, digest, data) into an open folder, under temporary names first.

    Gives the stamps of those that took their places, up to the first that did not, and why that was: 0
    where none is left, `OTHER_DIGEST`, or the number of an error: `EEXIST` where something is there and
    `replace` is false. `part` begins the temporary names. The compiled part does without these where the
    system has files without a name, unless `unnamed` is false.
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
                _place(folder, temporary, name, replace)
                # After it took its place, which changes the time of the last change.
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


def _place(folder: int, part: bytes, name: bytes, replace: bool) -> None:
    """Give what has the name `part` its own. Unless it may `replace`, a taken one is a `FileExistsError`."""
    if not replace:
        try:
            os.link(part, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            if _is_taken(folder, name):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        else:
            os.unlink(part, dir_fd=folder)
            return
    os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)


def _is_taken(folder: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


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


def _theirs(path: bytes, what: str) -> WouldOverwriteError:
    return WouldOverwriteError(
        f"{safe_spelling(path)} {what} while the checkout ran, and stays as it is; what is complete stays as "
        "well. Move it away, or repeat with --overwrite"
    )


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
