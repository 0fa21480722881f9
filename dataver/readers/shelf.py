"""The folder of local copies, shared by this user's processes: who uses what, and what goes when it is full.

    units/<64 hex>/<name>    what is given out, read-only: a file, or a folder of files. The folder around it
                             can be renamed, and has the time of the last use
    files/<2 hex>/<62 hex>   by digest the file of those bytes, a hard link to the one in a unit; its name
                             ends with `x` where it is executable
    stamps                   what stood in each file when it was compared, see `dataver.readers.stamps`
    leases/<name>            the units that a process uses; it has a lock on this file while it lives
    making/<name>-<hex>      a unit that the process of that lease makes, or takes apart
    locks/<2 hex>            held while a unit is made or looked at
    lock                     held while links, stamps, leases or units are changed

A lock of `flock` goes with its process, also by a kill, and a forked process has it too.
"""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import AnyStr

from dataver.config import cache_folder, copies_bytes_max
from dataver.private import make_folder
from dataver.readers.stamps import Known, Stamps
from dataver.source.batch import regular_stamp
from dataver.values import NamedTuple

FOLDER = "copies"
ID_CHARACTERS = 64


class _Unit(NamedTuple):
    """A unit as the one who makes room sees it."""

    used_ns: int
    name: str
    sizes: dict[int, int]


class Shelf:
    """The local copies in one folder. For several threads, and for any number of processes.

    `OSError`s of the disk are the caller's.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.stamps = Stamps(f"{folder}/stamps")
        self._held: set[str] = set()
        self._lease = -1
        self._lease_name = ""
        self._thread_lock = threading.Lock()

    def unit(self, id: str) -> str:
        """Where a unit is, or would be."""
        return f"{self.folder}/units/{id}"

    def pooled(self, digest: bytes, executable: bool) -> str:
        """Where the file of these bytes is, or would be."""
        name = digest.hex()
        return f"{self.folder}/files/{name[:2]}/{name[2:]}{'x' if executable else ''}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Links, stamps, leases and units are changed by this thread alone."""
        with self._thread_lock, _flock(f"{self.folder}/lock"):
            self.stamps.refresh()
            try:
                yield
            finally:
                self.stamps.save()

    @contextmanager
    def at(self, id: str) -> Iterator[None]:
        """A unit is made or looked at by this thread alone."""
        with _flock(f"{self.folder}/locks/{id[:2]}"):
            yield

    def hold(self, id: str) -> None:
        """Nobody removes this unit before this process, and those forked from it, have ended."""
        with self.locked():
            if self._lease >= 0 and not os.fstat(self._lease).st_nlink:
                os.close(self._lease)
                self._lease = -1
                self._held.clear()  # Somebody removed the whole folder.
            if self._lease < 0:
                self._sweep()
                self._begin_lease()
            if id not in self._held:
                os.write(self._lease, f"{id}\n".encode())
                self._held.add(id)

    def _begin_lease(self) -> None:
        make_folder(f"{self.folder}/leases")
        name = f"{os.getpid()}-{os.urandom(8).hex()}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(f"{self.folder}/leases/{name}", flags, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._lease, self._lease_name = fd, name

    def workplace(self) -> str:
        """A new folder for a unit to be made in, after `hold`. It goes some time after this process died."""
        place = f"{self.folder}/making/{self._lease_name}-{os.urandom(8).hex()}"
        make_folder(place)
        return place

    def put(self, place: str, id: str) -> None:
        """Make what is at a workplace the unit of this id, and remove the one that is there."""
        make_folder(f"{self.folder}/units")
        with self.locked():
            with suppress(FileNotFoundError):
                self._remove(self.unit(id))
            os.rename(place, self.unit(id))

    def discard(self, place: str) -> None:
        """Remove a workplace."""
        with self.locked():
            self._take_apart(place)

    def drop(self, digests: Collection[bytes]) -> None:
        """Remove the files of these bytes, also from units that are in use: they are to be nowhere."""
        if not os.path.isdir(self.folder):
            return
        with self.locked():
            inodes: set[int] = set()
            for path in [self.pooled(digest, x) for digest in digests for x in (False, True)]:
                with suppress(FileNotFoundError):
                    inodes.add(os.lstat(path).st_ino)
                    os.unlink(path)
            for place in ("units", "making"):
                for path, found in walk(f"{self.folder}/{place}"):
                    known = self.known(found)
                    if found.st_ino in inodes or (known is not None and known.digest in digests):
                        _unlink(path)

    # Room

    def make_room(self, size_bytes: int) -> None:
        """Remove units until so many bytes more fit, those used longest ago first.

        What a living process uses stays, even if they do not fit then.
        """
        cap = copies_bytes_max()
        with self.locked():
            if self.stamps.size_bytes + size_bytes <= cap:
                return
            in_use = self._sweep()
            units = sorted(self._units())
            links = Counter(inode for unit in units for inode in unit.sizes)
            total = sum({inode: size for unit in units for inode, size in unit.sizes.items()}.values())
            for unit in units:
                if total + size_bytes <= cap:
                    break
                if len(unit.name) == ID_CHARACTERS and unit.name not in in_use:
                    self._remove(self.unit(unit.name))
                    links.subtract(unit.sizes.keys())
                    total -= sum(size for inode, size in unit.sizes.items() if not links[inode])
            self._drop_unused()
            self.stamps.keep(inode for inode, count in links.items() if count)

    def _units(self) -> Iterator[_Unit]:
        """All units, and what is being made."""
        for place in ("units", "making"):
            with suppress(FileNotFoundError), os.scandir(f"{self.folder}/{place}") as found:
                for entry in found:
                    used = entry.stat(follow_symlinks=False).st_mtime_ns
                    files = (status for _, status in walk(entry.path) if stat.S_ISREG(status.st_mode))
                    yield _Unit(used, entry.name, {status.st_ino: status.st_size for status in files})

    def _sweep(self) -> set[str]:
        """Remove what processes left that ended; the units that living ones use."""
        in_use: set[str] = set()
        alive = {self._lease_name} if self._lease >= 0 else set()
        with suppress(FileNotFoundError), os.scandir(f"{self.folder}/leases") as found:
            for entry in found:
                with open(entry.path, "rb") as lease:
                    try:
                        fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        os.unlink(entry.path)
                    except BlockingIOError:
                        alive.add(entry.name)
                        in_use.update(lease.read().decode("ascii", "replace").split())
        with suppress(FileNotFoundError), os.scandir(f"{self.folder}/making") as found:
            for entry in found:
                if entry.name.rpartition("-")[0] not in alive:
                    self._take_apart(entry.path)
        return in_use

    def _drop_unused(self) -> None:
        """Remove the files by digest that are in no unit any more."""
        for _, folder in _folders(f"{self.folder}/files"):
            with os.scandir(folder) as found:
                for entry in found:
                    if entry.stat(follow_symlinks=False).st_nlink == 1:
                        os.unlink(entry.path)

    def _remove(self, unit: str) -> None:
        place = f"{self.folder}/making/{self._lease_name or 'gone'}-{os.urandom(8).hex()}"
        make_folder(os.path.dirname(place))
        os.rename(unit, place)
        self._take_apart(place)

    def _take_apart(self, place: str) -> None:
        """Remove a unit. A link less changes the stamp of a file: what was known of it still is."""
        folders = [place]
        with suppress(OSError):
            os.chmod(place, 0o700)
        for path, before in walk(place, writable=True):
            if stat.S_ISDIR(before.st_mode):
                folders.append(path)
                continue
            known = self.known(before)
            os.unlink(path)
            if known is not None and before.st_nlink > 1:
                executable = bool(before.st_mode & stat.S_IXUSR)
                with suppress(FileNotFoundError):
                    after = os.lstat(self.pooled(known.digest, executable))
                    if after.st_ino == before.st_ino:
                        self.stamps.note(Known(regular_stamp(after), known.digest))
        for folder in reversed(folders):
            os.rmdir(folder)

    def known(self, found: os.stat_result) -> Known | None:
        """What is known of a file that was not changed since."""
        if not stat.S_ISREG(found.st_mode):
            return None
        known = self.stamps.get(found.st_ino)
        return known if known is not None and known.stamp == regular_stamp(found) else None


def walk(folder: AnyStr, *, writable: bool = False) -> Iterator[tuple[AnyStr, os.stat_result]]:
    """All that is below a folder, itself left out, a folder before what is in it; nothing is followed.

    What goes meanwhile is left out, too. With `writable`, folders can be written to when what is in
    them is given.
    """
    waiting = [folder]
    while waiting:
        entries: list[os.DirEntry[AnyStr]] = []
        with suppress(FileNotFoundError), os.scandir(waiting.pop()) as found:
            entries += found
        for entry in entries:
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(entry.path)
                    if writable:
                        os.chmod(entry.path, 0o700)
                yield entry.path, status


def _unlink(path: str) -> None:
    """Remove a file from a folder that may be read-only."""
    folder = os.path.dirname(path)
    with suppress(FileNotFoundError):
        mode = stat.S_IMODE(os.lstat(folder).st_mode)
        os.chmod(folder, mode | 0o700)
        try:
            os.unlink(path)
        finally:
            os.chmod(folder, mode)


def _folders(folder: str) -> list[tuple[str, str]]:
    with suppress(FileNotFoundError), os.scandir(folder) as found:
        return [(entry.name, entry.path) for entry in found if entry.is_dir(follow_symlinks=False)]
    return []


@contextmanager
def _flock(path: str) -> Iterator[None]:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o600)
    except FileNotFoundError:
        make_folder(os.path.dirname(path))
        fd = os.open(path, flags, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        # Said, as a process that was forked meanwhile has it open too and would keep it.
        fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)


_shelves: dict[str, Shelf] = {}
_shelves_lock = threading.Lock()
_inherited: list[Shelf] = []


def shelf() -> Shelf:
    """The shelf in this user's cache folder."""
    folder = os.fspath(cache_folder() / FOLDER)
    with _shelves_lock:
        return _shelves.setdefault(folder, Shelf(folder))


def _after_fork() -> None:
    """A forked process has locks and a lease of its own, and keeps open what it has of its parent's."""
    global _shelves_lock  # noqa: PLW0603 - whoever held it is not in this process
    _shelves_lock = threading.Lock()
    _inherited.extend(_shelves.values())
    _shelves.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
