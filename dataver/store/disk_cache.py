"""This user's cache of what was read from stores far away: digest to bytes, capped, shared by processes.

    table-<bits>      2^bits slots: check u32 | slab u32 | offset u32 | length u32
    slabs/<8 hex>     records: "DVCR" | length u32 | XXH3-64 of the bytes | digest 32 | bytes
    lock              held while a slab is chosen, made or removed

A record is found by its digest in a bucket of slots, and believed only if it has that digest, the
length and the checksum; so whatever else stands in a file, torn, old or another's, is a miss.
Slabs are appended to by one process each and removed whole, the one used last of all first.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from dataver.hashing import xxh3_64
from dataver.private import make_folder
from dataver.store import posix
from dataver.values import NamedTuple

if TYPE_CHECKING:
    from dataver.store.base import View

FOLDER = "objects"
SLAB_BYTES_MAX = 16 << 20
SLAB_BYTES_MIN = 64 << 10
SLABS_AT_LEAST = 32
"""A cap is divided into so many slabs or more: what is removed at once is a small part of it."""
RECORD_SHARE = 4
"""One record takes at most this part of the cap."""
SLOT_FOR_BYTES = 4 << 10
"""The table has a slot for so many bytes of the cap: more than enough, save where records are tiny."""
TOUCH_S = 1.0
MAP_BYTES_MIN = 64 << 20
"""Records from this size on are memory-mapped."""
PAUSE_S = 30.0
"""After a failure to write, nothing is written for so long: a full disk is not asked each time."""

_MAGIC = b"DVCR"
_RECORD = struct.Struct("<4sIQ32s")
_SLOT = struct.Struct("<IIII")
_EMPTY = bytes(32)
_BUCKET_SLOTS = 8
_BUCKET_BYTES = _BUCKET_SLOTS * _SLOT.size
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class _Slab(NamedTuple):
    """A slab in the folder, as the one who chooses or removes sees it."""

    used_ns: int
    name: str
    size_bytes: int


class DiskCache:
    """Bytes by their BLAKE3 digest, on this user's disk. For any number of threads and processes.

    The caller vouches for what it puts: that the bytes are those of the digest. What `get` gives
    is what was put, checked at memory speed. Neither ever raises for what the disk does: a folder
    that is full, read-only or taken away costs the speed that the cache would have given.

    All files together hold at most `cap_bytes`, counted before they are written.
    """

    def __init__(self, folder: str | Path, cap_bytes: int) -> None:
        self._folder = os.path.join(folder, FOLDER)
        self.cap_bytes = cap_bytes
        self.slab_bytes = max(SLAB_BYTES_MIN, min(SLAB_BYTES_MAX, cap_bytes // SLABS_AT_LEAST))
        self._table_bits = max(7, (cap_bytes // SLOT_FOR_BYTES).bit_length())
        self._lock = threading.RLock()
        self._table = -1
        self._slab = -1
        self._slab_number = 0
        self._slab_end = 0
        self._there: set[int] = set()
        self._silent_until = 0.0
        _caches.add(self)

    def __reduce__(self) -> tuple[type[DiskCache], tuple[str, int]]:
        return DiskCache, (os.path.dirname(self._folder), self.cap_bytes)

    def __del__(self) -> None:
        for fd in (self._table, self._slab):
            if fd >= 0:
                os.close(fd)

    def _after_fork(self) -> None:
        """In a forked process: the slab is the parent's, and so may be whoever held the lock."""
        self._lock = threading.RLock()
        self._leave()

    # Reading

    def get(self, digest: bytes) -> View | None:
        """The bytes that were put under `digest`, or None where they are not to be had."""
        try:
            found = self._slots(self._open_table(), digest)
        except OSError:
            return None
        for _, number, offset, length in found:
            with suppress(OSError), self._opened(number) as (fd, size_bytes):
                data = _read(fd, size_bytes, offset, length, digest)
                if data is not None:
                    return data
        return None

    def get_many(self, digests: Sequence[bytes]) -> list[View | None]:
        """As `get` for each of many: a slab is opened once for all that is in it."""
        found: list[View | None] = [None] * len(digests)
        places: dict[int, list[tuple[int, int, int]]] = {}
        try:
            table = self._open_table()
            for at, digest in enumerate(digests):
                for _, number, offset, length in self._slots(table, digest)[:1]:
                    places.setdefault(number, []).append((offset, length, at))
        except OSError:
            return found
        for number, records in places.items():
            with suppress(OSError), self._opened(number) as (fd, size_bytes):
                for offset, length, at in sorted(records):
                    found[at] = _read(fd, size_bytes, offset, length, digests[at])
        return found

    @contextmanager
    def _opened(self, number: int) -> Iterator[tuple[int, int]]:
        """A slab's descriptor and size; that it was used is noted."""
        fd = os.open(self._path(number), _READ)
        try:
            status = os.fstat(fd)
            yield fd, status.st_size
            if time.time() - status.st_mtime > TOUCH_S:
                with suppress(OSError):
                    os.utime(fd)
        finally:
            os.close(fd)

    def _slots(self, table: int, digest: bytes) -> list[tuple[int, int, int, int]]:
        """The slots that may be of a digest, the newest slab first."""
        check = _check(digest)
        data = os.pread(table, _BUCKET_BYTES, self._bucket(digest)).ljust(_BUCKET_BYTES, b"\0")
        slots = [slot for slot in _SLOT.iter_unpack(data) if slot[0] == check and slot[3]]
        return sorted(slots, key=lambda slot: -slot[1])

    # Writing

    def put(self, digest: bytes, data: View) -> None:
        """Keep `data`, whose digest the caller has compared. Nothing is promised."""
        size = _RECORD.size + len(data)
        if len(data) == 0 or size > self.cap_bytes // RECORD_SHARE or size > 0xFFFFFFFF:
            return
        head = _RECORD.pack(_MAGIC, len(data), xxh3_64(data), digest)
        with self._lock:
            if time.monotonic() < self._silent_until:
                return
            try:
                table = self._open_table(create=True)
                if size > self.slab_bytes // 2:
                    place = self._put_alone(head, data)
                else:
                    place = self._append(head, data)
                if place is not None:
                    self._note(table, digest, *place, len(data))
            except OSError:
                self._leave()
                self._silent_until = time.monotonic() + PAUSE_S

    def _append(self, head: bytes, data: View) -> tuple[int, int] | None:
        size = len(head) + len(data)
        if self._slab < 0 or self._slab_end + size > self.slab_bytes or not os.fstat(self._slab).st_nlink:
            self._leave()
            if not self._take_slab(size):
                return None
        offset = self._slab_end
        if os.writev(self._slab, [head, data]) != size:
            raise OSError("the file system took not all bytes")
        self._slab_end += size
        return self._slab_number, offset

    def _put_alone(self, head: bytes, data: View) -> tuple[int, int] | None:
        """A large record has a slab of its own, whose size is taken before it is filled."""
        size = len(head) + len(data)
        with self._choosing() as slabs:
            number = self._make_room(slabs, size)
            if number is None:
                return None
            fd = os.open(self._path(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(fd, size)
            except OSError:
                os.close(fd)
                raise
        try:
            view, done = memoryview(data), 0
            while done < len(view):
                done += os.pwrite(fd, view[done : done + (64 << 20)], len(head) + done)
            os.pwrite(fd, head, 0)  # Last: before it the slab is none.
        except OSError:
            with suppress(OSError):
                os.unlink(self._path(number))
            raise
        finally:
            os.close(fd)
        return number, 0

    def _take_slab(self, size_bytes: int) -> bool:
        """Go on with a slab that has room and that nobody writes to, else begin one."""
        with self._choosing() as slabs:
            for slab in sorted(slabs, reverse=True):
                fits = slab.size_bytes + size_bytes <= self.slab_bytes
                if fits and _is_number(slab.name) and self._own(slab.name, os.O_APPEND):
                    return True
            number = self._make_room(slabs, self.slab_bytes)
            return number is not None and self._own(f"{number:08x}", os.O_CREAT | os.O_EXCL | os.O_APPEND)

    def _own(self, name: str, flags: int) -> bool:
        """Open a slab for this process alone; it is let go when its descriptor goes, also by a kill."""
        fd = os.open(f"{self._folder}/slabs/{name}", os.O_WRONLY | os.O_CLOEXEC | flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        self._slab, self._slab_number, self._slab_end = fd, int(name, 16), os.fstat(fd).st_size
        return True

    def _leave(self) -> None:
        """Let go of the slab that this process fills."""
        if self._slab >= 0:
            os.close(self._slab)
        self._slab = -1

    # Room

    @contextmanager
    def _choosing(self) -> Iterator[list[_Slab]]:
        """The slabs that are there, while no other process makes or removes any."""
        fd = os.open(f"{self._folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            make_folder(f"{self._folder}/slabs")
            slabs = []
            with os.scandir(f"{self._folder}/slabs") as found:
                for entry in found:
                    with suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        if entry.is_file(follow_symlinks=False):
                            slabs.append(_Slab(status.st_mtime_ns, entry.name, status.st_size))
            self._there = {int(slab.name, 16) for slab in slabs if _is_number(slab.name)}
            yield slabs
        finally:
            os.close(fd)

    def _make_room(self, slabs: list[_Slab], size_bytes: int) -> int | None:
        """Remove what was used longest ago until a slab of this size fits. Its number, or None.

        A slab that is not full counts as one that is: whoever goes on with it asks nobody.
        """
        total = self._table_bytes() + sum(max(slab.size_bytes, self.slab_bytes) for slab in slabs)
        for slab in sorted(slabs):
            if total + size_bytes <= self.cap_bytes:
                break
            if self._remove(slab.name):
                total -= max(slab.size_bytes, self.slab_bytes)
                if _is_number(slab.name):
                    self._there.discard(int(slab.name, 16))
        if total + size_bytes > self.cap_bytes:
            return None
        number = max(self._there, default=0) % 0xFFFFFFFE + 1
        while os.path.lexists(self._path(number)):
            number = number % 0xFFFFFFFE + 1
        return number

    def _remove(self, name: str) -> bool:
        path = f"{self._folder}/slabs/{name}"
        try:
            fd = os.open(path, _READ)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True

    def drop(self, digests: Collection[bytes], packs: Collection[bytes] = ()) -> None:
        """Remove every slab that has bytes of one of these digests, or bytes that begin as one of `packs`.

        Also one that a process is writing to, which goes on with another. Whatever the cap; a table that
        leads to it is believed no more than ever.
        """
        if not os.path.isdir(f"{self._folder}/slabs"):
            return
        with suppress(OSError), self._choosing() as slabs:
            for slab in slabs:
                path = f"{self._folder}/slabs/{slab.name}"
                with suppress(OSError):
                    if _has_any(path, digests, packs):
                        os.unlink(path)

    # The table

    def _open_table(self, *, create: bool = False) -> int:
        """A descriptor of the table, also after the folder was taken away. `OSError` where there is none."""
        table = self._table
        if table >= 0 and os.fstat(table).st_nlink:
            return table
        with self._lock:
            path = f"{self._folder}/table-{self._table_bits}"
            if create:
                make_folder(self._folder)
            try:
                fresh = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
            except PermissionError:
                fresh = os.open(path, _READ)
            # A reader that still has the old one may find anything there; it believes nothing.
            stale, self._table = self._table, fresh
            if stale >= 0:
                os.close(stale)
            if create:
                size = _SLOT.size << self._table_bits
                if os.fstat(fresh).st_size != size:
                    os.ftruncate(fresh, size)
            return fresh

    def _table_bytes(self) -> int:
        """What tables weigh when they are full; those of other caps are removed."""
        for name in os.listdir(self._folder):
            if name.startswith("table-") and name != f"table-{self._table_bits}":
                with suppress(OSError):
                    os.unlink(f"{self._folder}/{name}")
        return _SLOT.size << self._table_bits

    def _bucket(self, digest: bytes) -> int:
        buckets = (1 << self._table_bits) // _BUCKET_SLOTS
        return int.from_bytes(digest[:8], "little") % buckets * _BUCKET_BYTES

    def _note(self, table: int, digest: bytes, number: int, offset: int, length: int) -> None:
        """Write the slot of a record that is there.

        It takes the place of an older one of the digest, of none, of one whose slab is gone, or of
        the one in the oldest slab.
        """
        start = self._bucket(digest)
        data = os.pread(table, _BUCKET_BYTES, start).ljust(_BUCKET_BYTES, b"\0")
        slots = list(_SLOT.iter_unpack(data))
        check = _check(digest)
        newest = max(self._there, default=0)

        def worth(at: int) -> tuple[bool, bool, int]:
            slab = slots[at][1]
            return slots[at][0] != check, slab in self._there or slab > newest, slab

        at = min(range(_BUCKET_SLOTS), key=worth)
        os.pwrite(table, _SLOT.pack(check, number, offset, length), start + _SLOT.size * at)

    def _path(self, number: int) -> str:
        return f"{self._folder}/slabs/{number:08x}"


def _read(fd: int, size_bytes: int, offset: int, length: int, digest: bytes) -> View | None:
    """The bytes of a record of a slab of `size_bytes`, if it is the one of `digest` and whole."""
    end = offset + _RECORD.size + length
    if end > size_bytes:
        return None
    if length >= MAP_BYTES_MIN:
        data = memoryview(mmap.mmap(fd, end, prot=mmap.PROT_READ))[offset:]
    else:
        data = memoryview(posix.read_at(fd, offset, end - offset))
    if len(data) != end - offset:
        return None
    magic, size, checksum, key = _RECORD.unpack_from(data)
    view = data[_RECORD.size :]
    if magic != _MAGIC or size != length or key != digest or xxh3_64(view) != checksum:
        return None
    return view


def _check(digest: bytes) -> int:
    return int.from_bytes(digest[8:12], "little")


def _is_number(name: str) -> bool:
    return len(name) == 8 and not name.strip("0123456789abcdef")


def _after_fork() -> None:
    for cache in list(_caches):
        cache._after_fork()


_caches: WeakSet[DiskCache] = WeakSet()
os.register_at_fork(after_in_child=_after_fork)


def _has_any(path: str, digests: Collection[bytes], packs: Collection[bytes]) -> bool:
    """Whether a slab has a record of one of these, or stands in another way than slabs do."""
    fd = os.open(path, _READ)
    try:
        at, size = 0, os.fstat(fd).st_size
        while at < size:
            head = os.pread(fd, _RECORD.size + len(_EMPTY), at)
            if len(head) < _RECORD.size or head[:4] != _MAGIC:
                return True
            _, length, _, digest = _RECORD.unpack_from(head)
            if digest in digests or head[_RECORD.size :] in packs:
                return True
            at += _RECORD.size + length
        return False
    finally:
        os.close(fd)
