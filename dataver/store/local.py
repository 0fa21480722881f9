"""A store in a folder of a POSIX file system, safe against crashes and racing writers.

An object is written to a temporary file beside its final place, made durable, and only then
given its name by an atomic call that never replaces. So a name never shows a torn object, and
what a crash leaves behind is a file that no listing shows.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dataver.errors import BadInputError, DamagedError, StoreError
from dataver.store import posix
from dataver.store.base import TEMPORARY_PREFIX, ObjectInfo, View, as_views, check_key, check_prefix, place
from dataver.store.failures import from_os_error, os_errors

if TYPE_CHECKING:
    from dataver.store.base import Data

# Objects never change, so nobody needs to write to them; the umask takes more away.
_OBJECT_MODE = 0o444
# Who may write to a folder may put other objects in it: nobody beyond the group, even where no umask says so.
_FOLDER_MODE = 0o775
# A pipe that somebody put in an object's place must not make the reader wait for ever.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class LocalStore:
    """Objects as files below `root`, which is made, with its parents, by the first write.

    Before that, or without it, `list` raises `StoreError`: an unmounted disk is not an empty store.
    """

    pack_bytes_max = 16 << 20
    """On a disk nothing is gained by a larger pack, and the end of one can be made durable while the next
    is written."""

    def __init__(self, root: str | Path) -> None:
        self._root = os.path.abspath(root)
        if "\0" in self._root:
            raise BadInputError(f"{self._root!a} is not a path")
        self._lock = threading.Lock()
        # Folders whose names are not durable yet, and folders whose own place in the tree this
        # instance has already put among those.
        self._unsynced: set[str] = set()
        self._known: set[str] = set()
        self._sync_lock = threading.Lock()
        self._names_lost = False

    def __reduce__(self) -> tuple[type[LocalStore], tuple[str]]:
        return LocalStore, (self._root,)

    def __repr__(self) -> str:
        return f"LocalStore({self._root!r})"

    @property
    def url(self) -> str:
        """The absolute path of the folder."""
        return self._root

    @property
    def identity(self) -> str:
        """The same path."""
        return self.url

    def probe_subject(self) -> str:
        """The file system that the folder is on, or will be on, and the system's release."""
        import platform

        path = os.path.realpath(self._root)
        while not os.path.exists(path):
            path = os.path.dirname(path)
        device = os.stat(path).st_dev
        while not os.path.ismount(path):
            path = os.path.dirname(path)
        return f"file system {device} at {path} with {platform.system()} {platform.release()}"

    def end_probe(self) -> None:
        """Remove the empty folder of the probe's objects, and forget that it was to be synced."""
        folder = self._path("probe")
        with self._lock:
            self._known.discard(folder)
            self._unsynced.discard(folder)
        with suppress(OSError):
            os.rmdir(folder)

    def get(self, key: str) -> bytes:
        with os_errors("read", self._what(key), reading=True):
            fd, size = self._open(key)
            try:
                data = posix.read_at(fd, 0, size)
            finally:
                os.close(fd)
        return self._whole(key, data, size)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[View]:
        what = self._what(key)
        out: list[View] = []
        with os_errors("read", what, reading=True):
            fd, size = self._open(key)
            try:
                for start, length in ranges:
                    begin, count = place(start, length, size, what)
                    out.append(self._whole(key, posix.read_at(fd, begin, count), count))
            finally:
                os.close(fd)
        return out

    def get_suffix(self, key: str, length: int) -> tuple[View, int]:
        with os_errors("read", self._what(key), reading=True):
            fd, size = self._open(key)
            try:
                count = min(length, size)
                data = posix.read_at(fd, size - count, count)
            finally:
                os.close(fd)
        return self._whole(key, data, count), size

    def map(self, key: str) -> memoryview:
        """A read-only memory map of the whole object: pages are read when they are touched.

        `ObjectMissingError` where there is no object. Objects are never changed in place, so the
        map stays valid after a deletion; it goes with the last view of it.
        """
        with os_errors("read", self._what(key), reading=True):
            fd, size = self._open(key)
            try:
                return memoryview(mmap.mmap(fd, size, prot=mmap.PROT_READ) if size else b"")
            finally:
                os.close(fd)

    def read_into(self, key: str, ranges: Sequence[tuple[int, int]], buffer: memoryview) -> bool:
        """Fill the buffer with parts of an object, side by side; False where that fails, for any reason."""
        from dataver.native import native  # Not before: most commands read nothing so.

        if native is not None:
            filled: bool = native.read_into(os.fsencode(self._path(key)), ranges, buffer)
            return filled
        with suppress(OSError):
            fd, _ = self._open(key)
            try:
                end = 0
                for start, length in ranges:
                    if not posix.read_into(fd, start, buffer[end : end + length]):
                        return False
                    end += length
                return end == len(buffer)
            finally:
                os.close(fd)
        return False

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
        final = self._path(key)
        with os_errors("write", self._what(key)):
            temporary = self._write_temporary(os.path.dirname(final), data, durable=True)
            return self._name(temporary, final, barrier=barrier)

    def _name(self, temporary: str, final: str, *, barrier: bool) -> bool:
        """Give a durable temporary file its name, unless that is taken; either way it goes."""
        folder = os.path.dirname(final)
        try:
            self._know(folder)
            if barrier:
                self._sync_names()
            try:
                created = posix.publish(temporary, final)
            except FileNotFoundError:
                if os.path.isdir(folder):
                    raise
                # Somebody removed the folder since it was made.
                self._make_known(folder)
                created = posix.publish(temporary, final)
        finally:
            _remove(temporary)
        # Also where it existed: whoever made it may not have synced the folder yet, and what
        # is put next may rely on it.
        self._remember([folder])
        if barrier:
            self._sync_names()
        return created

    def begin_upload(self, folder: str) -> LocalUpload:
        """Begin an object as a temporary file in `folder`. See `TakesUploads`."""
        path = self._path(folder)
        with os_errors("write", self._what(folder)):
            return LocalUpload(self, *self._open_temporary(path))

    def put_hint(self, key: str, data: Data) -> None:
        final = self._path(key)
        with os_errors("write", self._what(key)):
            temporary = self._write_temporary(os.path.dirname(final), data, durable=False)
            try:
                os.replace(temporary, final)
            except OSError:
                _remove(temporary)
                raise

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        folder = prefix.rpartition("/")[0]
        return self._walk(folder, prefix)

    def rely_on(self, key: str) -> None:
        """Also make the name of this object, which another process put, durable with the next barrier."""
        folder = os.path.dirname(self._path(key))
        with os_errors("write", self._what(key)):
            self._make_known(folder)
        self._remember([folder])

    def delete(self, key: str) -> None:
        path = self._path(key)
        with os_errors("delete", self._what(key)), suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(path)

    def remove_leftovers(self, age_s_min: float, *, dry_run: bool = False) -> tuple[int, int]:
        """Remove temporary files of crashed writers not written to for `age_s_min` seconds.

        Gives how many, and their bytes; `dry_run` only looks. A writer whose file is taken away while it
        still lives fails with `StoreError` and has published nothing, so no age can harm what is stored.
        """
        count = size_bytes = 0
        oldest = time.time() - age_s_min
        with os_errors("list", self._root):
            for folder, _, names in os.walk(self._root, onerror=_raise):
                for name in names:
                    path = os.path.join(folder, name)
                    if not name.startswith(TEMPORARY_PREFIX):
                        continue
                    with suppress(FileNotFoundError):
                        found = os.lstat(path)
                        if found.st_mtime <= oldest:
                            if not dry_run:
                                os.unlink(path)
                            count += 1
                            size_bytes += found.st_size
        return count, size_bytes

    # Paths and reading

    def _path(self, key: str) -> str:
        check_key(key)
        return f"{self._root}/{key}"

    def _what(self, key: str) -> str:
        return f"object {key} of {self._root}"

    def _open(self, key: str) -> tuple[int, int]:
        """A descriptor of the object, for the caller to close, and the object's bytes."""
        fd = os.open(self._path(key), _READ)
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode):
            return fd, found.st_size
        os.close(fd)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))

    def _whole(self, key: str, data: bytes, expected_bytes: int) -> bytes:
        if len(data) != expected_bytes:
            raise DamagedError(f"{self._what(key)} was cut short while it was read; run `dataver verify`")
        return data

    def _walk(self, folder: str, prefix: str) -> Iterator[ObjectInfo]:
        path = f"{self._root}/{folder}" if folder else self._root
        try:
            with os.scandir(path) as found:
                # With its slash, a folder sorts where the keys below it do.
                entries = sorted((e.name + "/" * e.is_dir(follow_symlinks=False), e) for e in found)
        except (FileNotFoundError, NotADirectoryError) as error:
            # No object has this prefix yet: without the root that cannot be said. Further down a
            # folder only vanishes with its file system, save that of the probe.
            asked = folder and f"{folder}/" == prefix[: len(folder) + 1]
            if (asked or folder == "probe") and os.path.isdir(self._root):
                return
            raise from_os_error(error, "list", path) from error
        except OSError as error:
            raise from_os_error(error, "list", path) from error
        for name, entry in entries:
            key = f"{folder}/{name}" if folder else name
            if name.endswith("/"):
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self._walk(key[:-1], prefix)
            elif key.startswith(prefix) and not name.startswith(TEMPORARY_PREFIX):
                yield from self._info(key, entry)

    def _info(self, key: str, entry: os.DirEntry[str]) -> Iterator[ObjectInfo]:
        with os_errors("list", self._what(key)), suppress(FileNotFoundError):
            found = entry.stat(follow_symlinks=False)
            yield ObjectInfo(key, found.st_size, found.st_mtime)

    # Writing

    def _write_temporary(self, folder: str, data: Data, *, durable: bool) -> str:
        """Write a new file in `folder`, or remove it and raise. Gives its path."""
        views = as_views(data)
        temporary, fd = self._open_temporary(folder)
        try:
            try:
                posix.write_all(fd, views)
                if durable:
                    posix.sync_file(fd)
            finally:
                os.close(fd)
        except BaseException:
            _remove(temporary)
            raise
        return temporary

    def _open_temporary(self, folder: str) -> tuple[str, int]:
        """Make a new file in `folder`: its path, and a descriptor to write to it."""
        self._know(folder)
        temporary = f"{folder}/{TEMPORARY_PREFIX}{os.urandom(16).hex()}"
        try:
            return temporary, os.open(temporary, _CREATE, _OBJECT_MODE)
        except FileNotFoundError:
            # Somebody removed the folder since it was made.
            self._make_known(folder)
            return temporary, os.open(temporary, _CREATE, _OBJECT_MODE)

    def _know(self, folder: str) -> None:
        if folder not in self._known:
            self._make_known(folder)
            self._known.add(folder)

    def _make_known(self, folder: str) -> None:
        """Make `folder` and see that its place in the tree is durable by the next barrier.

        Also where it was there already: another process may have made it a moment ago and not
        yet have synced the folder above.
        """
        above = {os.path.dirname(made) for made in _make_folder(folder)}
        while len(folder) >= len(self._root):
            folder = os.path.dirname(folder)
            above.add(folder)
            if folder == os.path.dirname(folder):
                break
        self._remember(above)

    def _remember(self, folders: Iterable[str]) -> None:
        with self._lock:
            self._unsynced.update(folders)

    def _sync_names(self) -> None:
        """Make the names in all remembered folders durable, waiting for other threads' syncs."""
        with self._sync_lock:
            if self._names_lost:
                raise StoreError(
                    f"an earlier write to {self._root} could not be made durable, so this process records "
                    "nothing more there; check the disk, then run it again"
                )
            with self._lock:
                # The deepest first, so that a folder is named only when its contents are.
                folders = sorted(self._unsynced)
                self._unsynced.clear()
            try:
                while folders:
                    self._sync_folder(folders[-1])
                    folders.pop()
            finally:
                self._remember(folders)

    def _sync_folder(self, folder: str) -> None:
        try:
            fd = posix.open_folder(folder)
        except PermissionError:
            if len(folder) >= len(self._root):
                raise
            return  # A folder above the root, closed to us: its owner made the root, not we.
        try:
            posix.sync_folder(fd)
        except OSError:
            # The kernel forgets a failed sync, so trying again could report a lost name as
            # durable. What this instance put since the last barrier is not to be relied on.
            self._names_lost = True
            raise
        finally:
            os.close(fd)


class LocalUpload:
    """An object that is written to a temporary file, and named at its end. See `Upload`."""

    def __init__(self, store: LocalStore, temporary: str, fd: int) -> None:
        self._store = store
        self._temporary = temporary
        self._fd = fd

    def write(self, data: Data) -> None:
        with os_errors("write", self._temporary):
            posix.write_all(self._fd, as_views(data))

    def finish(self, key: str, *, barrier: bool = True) -> bool:
        store, final = self._store, self._store._path(key)
        with os_errors("write", store._what(key)):
            try:
                try:
                    posix.sync_file(self._fd)
                finally:
                    fd, self._fd = self._fd, -1
                    os.close(fd)
            except BaseException:
                _remove(self._temporary)
                raise
            return store._name(self._temporary, final, barrier=barrier)

    def abandon(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
            _remove(self._temporary)


def _make_folder(folder: str) -> list[str]:
    """Make `folder` and what it lacks above; gives those that were made."""
    try:
        os.mkdir(folder, _FOLDER_MODE)
    except FileExistsError:
        return []
    except FileNotFoundError:
        made = _make_folder(os.path.dirname(folder))
        # Once: there are file systems, /proc among them, that answer so where nothing can be made.
        try:
            os.mkdir(folder, _FOLDER_MODE)
        except FileExistsError:
            return made
        return [*made, folder]
    return [folder]


def _remove(path: str) -> None:
    # A leftover is invisible and harmless, and the error that led here matters more.
    with suppress(OSError):
        os.unlink(path)


def _raise(error: OSError) -> None:
    raise error
