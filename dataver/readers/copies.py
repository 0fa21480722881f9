"""Verified, read-only copies of a version's files on this machine's disk, for readers that want real paths.

What is given out was compared with its digest, and is as it was then by size, times and inode;
what is not is hashed again, and made anew where it differs.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dataver.checkout import check_entries
from dataver.column import Column
from dataver.errors import (
    BadInputError,
    DamagedError,
    DataverError,
    NotPermittedError,
    PathNotFoundError,
    StoreError,
)
from dataver.files import Files, to_path
from dataver.folding import check_folding
from dataver.hashing import FileHasher, blake3_digest
from dataver.paths import safe_spelling
from dataver.private import make_folder
from dataver.progress import Silent
from dataver.readers.shelf import Shelf, shelf, walk
from dataver.readers.stamps import Known
from dataver.source.batch import regular_stamp
from dataver.targets import Target
from dataver.tree.manifest import FILE, FOLDER, REFERENCE, SYMLINK, Entry
from dataver.values import NamedTuple
from dataver.writing import EntryWriter

if TYPE_CHECKING:
    from dataver.objects import Objects
    from dataver.version import Version

LINKS_MAX = 40
PATH_BYTES_MAX = 4_000
"""Of a path on disk, with that of the cache folder: systems take 4,096 bytes with the end."""
HASH_BYTES = 1 << 20
FILE_MODE, FOLDER_MODE = 0o400, 0o500
"""Nobody else gets to them: the folder of the copies is its user's alone."""


class Tree(NamedTuple):
    """What a copy has to be: entries sorted by path, each path below `name`, or `name` itself."""

    name: bytes
    entries: list[Entry]

    @property
    def id(self) -> str:
        """64 hex digits, equal for copies that are equal, of whatever version."""
        rows = (
            entry.path
            + b"\0"
            + bytes([FILE if entry.kind == REFERENCE else entry.kind, entry.executable])
            + entry.digest
            for entry in self.entries
        )
        return blake3_digest(self.name + b"\0" + b"".join(rows)).hex()


def local_copy(version: Version, path: str = "") -> Path:
    """See `Version.path`."""
    copy = _copied(version, tree_of(version, path))
    reads = version.reads
    if reads is not None and not to_path(path):
        reads.everything()
    elif reads is not None:
        files, top = version.tree_of_files(), version.tree_of_files().follow(to_path(path))
        below = files.scan(top.path + b"/") if top.kind == FOLDER else [top]
        reads.several(entry for entry in below if entry.kind != FOLDER)
    return copy


def local_files(version: Version, path: str, wanted: Sequence[str]) -> list[Path]:
    """Copies of some files, each `path` or below it, in the order in which they are given."""
    start = len(path.rstrip("/")) + 1 if path.rstrip("/") else 0
    name = _name(version, to_path(path))
    inner = [f"/{file[start:]}" if file[start:] else "" for file in wanted]
    found = {name + below.encode(): version.entry(file) for file, below in zip(wanted, inner, strict=True)}
    reads = version.reads
    if reads is not None:
        reads.several(found.values())
    entries = [entry._replace(path=place) for place, entry in sorted(found.items())]
    root = _copied(version, Tree(name, entries))
    return [root / below[1:] if below else root for below in inner]


def tree_of(version: Version, path: str) -> Tree:
    """What a copy of a file or folder of a version has to be.

    A symlink to a file that leads out of the folder, but not out of the version, is that file.
    """
    files = version.tree_of_files()
    place = to_path(path)
    name = _name(version, place)
    try:
        top = files.follow(place)
    except PathNotFoundError as error:
        raise PathNotFoundError(f"in {version.name} {error}; `dataver ls {version.name}` lists it") from None
    if top.kind != FOLDER:
        return Tree(name, [top._replace(path=name)])
    start = len(top.path) + 1 if top.path else 0
    below = {entry.path[start:]: entry for entry in files.scan(top.path + b"/" if top.path else b"")}
    entries = [
        (_linked(version, files, below, inner) if entry.kind == SYMLINK else entry)._replace(
            path=name + b"/" + inner
        )
        for inner, entry in below.items()
    ]
    return Tree(name, entries or [Entry(name, FOLDER, False, 0, b"")])


def _name(version: Version, path: bytes) -> bytes:
    return path.rpartition(b"/")[2] or version.dataset_name.rpartition("/")[2].encode()


def _linked(version: Version, files: Files, below: dict[bytes, Entry], link: bytes) -> Entry:
    """A symlink where it stays in the folder; else the file that it leads to."""
    if _stays(files, below, link):
        return below[link]
    entry = below[link]
    shown = safe_spelling(entry.path)
    try:
        found = files.follow(entry.path)
    except (PathNotFoundError, BadInputError):
        raise BadInputError(
            f"{shown!r} in {version.name} is a symlink that leads out of the version, so there can be no "
            "copy with it; name a file or folder without it, or check the version out"
        ) from None
    if found.kind == FOLDER:
        raise BadInputError(
            f"{shown!r} in {version.name} is a symlink to a folder that is not below the one that was named; "
            "name a folder that has both"
        )
    return found


def _stays(files: Files, below: dict[bytes, Entry], link: bytes) -> bool:
    """Whether no step on the way that a symlink leads is out of the folder, as the system goes it."""
    done: list[bytes] = []
    parts = deque(link.split(b"/"))
    links = 0
    while parts:
        part = parts.popleft()
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not done:
                return False
            done.pop()
            continue
        done.append(part)
        entry = below.get(b"/".join(done))
        if entry is None or entry.kind != SYMLINK:
            continue
        links += 1
        if links > LINKS_MAX:
            return True  # In a circle: it leads nowhere.
        target = files.link_target(entry)
        if target.startswith(b"/"):
            return False
        done.pop()
        parts.extendleft(reversed(target.split(b"/")))
    return True


def _copied(version: Version, tree: Tree) -> Path:
    check_entries(tree.entries)
    inner = {entry.path for entry in tree.entries if entry.kind != FOLDER}
    for entry in tree.entries:
        blocked = inner.intersection(parents(entry.path))
        if blocked:
            raise DamagedError(
                f"{version.name} holds {safe_spelling(entry.path)} below {safe_spelling(blocked.pop())}, "
                "which is no folder"
            )
    place = shelf()
    try:
        return Path(os.fsdecode(_Copy(place, version, tree).given()))
    except DataverError:
        raise
    except OSError as error:
        raise _fault(error, place.folder) from error


def _fault(error: OSError, folder: str) -> DataverError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    what = f"local copies cannot be kept in {safe_spelling(folder)}: {reason}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NotPermittedError(f"{what}; set DATAVER_CACHE_DIR to a folder of yours that can be written")
    return StoreError(f"{what}; set DATAVER_CACHE_DIR to a folder on another disk, or make room")


def parents(path: bytes) -> list[bytes]:
    """The folders above a path, the outermost first."""
    parts = path.split(b"/")
    return [b"/".join(parts[:count]) for count in range(1, len(parts))]


class _Copy:
    """One copy, which is there or is to be made. Used once."""

    def __init__(self, place: Shelf, version: Version, tree: Tree) -> None:
        self._shelf = place
        self._tree = tree
        self._objects = version.objects()
        self._jobs = version.repository.session.readers()
        self._id = tree.id
        self._files = [entry for entry in tree.entries if entry.kind not in (FOLDER, SYMLINK)]
        self._links = [entry for entry in tree.entries if entry.kind == SYMLINK]
        self._folders = {folder for entry in tree.entries for folder in parents(entry.path)}
        self._folders.update(entry.path for entry in tree.entries if entry.kind == FOLDER)

    def given(self) -> bytes:
        """The path of the copy."""
        self._shelf.hold(self._id)
        unit = os.fsencode(self._shelf.unit(self._id))
        longest = max(len(entry.path) for entry in self._tree.entries)
        if len(unit) + longest > PATH_BYTES_MAX:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        with self._shelf.at(self._id):
            if not self._is_right(unit):
                self._make()
            os.utime(unit)
        return unit + b"/" + self._tree.name

    # What is there

    def _is_right(self, unit: bytes) -> bool:
        """Whether exactly what is wanted is there. A file with another stamp than before is hashed again."""
        there = {path[len(unit) + 1 :]: found for path, found in walk(unit)}
        paths = self._folders.union(entry.path for entry in self._tree.entries)
        if there.keys() != paths or not all(stat.S_ISDIR(there[path].st_mode) for path in self._folders):
            return False
        for entry in self._links:
            is_link = stat.S_ISLNK(there[entry.path].st_mode)
            if not is_link or blake3_digest(os.readlink(unit + b"/" + entry.path)) != entry.digest:
                return False
        unsure = [(unit + b"/" + e.path, e) for e in self._files if not self._is_known(there[e.path], e)]
        return len(self._compare(unsure)) == len(unsure)

    def _is_known(self, found: os.stat_result, entry: Entry) -> bool:
        known = self._shelf.known(found)
        mode = stat.S_IMODE(found.st_mode)
        return known is not None and known.digest == entry.digest and mode == _mode(entry)

    def _compare(self, files: Sequence[tuple[bytes, Entry]]) -> set[bytes]:
        """Hash files again; the paths of those that are right, of which the stamps are known then."""
        if not files:
            return set()
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="dataver-compare") as pool:
            jobs = [(path, pool.submit(_stamp_if_right, path, entry), entry) for path, entry in files]
        right = [(path, Known(stamp, e.digest)) for path, job, e in jobs if (stamp := job.result())]
        with self._shelf.locked():
            for _, known in right:
                self._shelf.stamps.note(known)
        return {path for path, _ in right}

    # What is not

    def _make(self) -> None:
        place = self._shelf.workplace()
        root = os.fsencode(place)
        try:
            for folder in sorted(self._folders):
                os.mkdir(root + b"/" + folder)
            with Target(root) as target:
                check_folding(target, Column(b"\0".join(entry.path for entry in self._tree.entries)))
            unique, repeated = _apart(self._link_known(root))
            size = sum(entry.size for entry in unique)
            self._shelf.make_room(size)
            objects = self._objects.for_copying(size)
            self._write(root, unique, objects)
            with self._shelf.locked():
                unlinked = self._link(root, repeated)
            self._write(root, unlinked, objects)
            self._write_entries(root, self._links, objects)
            for folder in sorted(self._folders, reverse=True):
                os.chmod(root + b"/" + folder, FOLDER_MODE)
            self._shelf.put(place, self._id)
        except BaseException:
            with suppress(OSError):
                self._shelf.discard(place)
            raise

    def _link_known(self, root: bytes) -> list[Entry]:
        """Link what is on the shelf already; what is not."""
        with self._shelf.locked():
            missing = self._link(root, self._files)
        unsure = [(path, entry) for entry in missing if os.path.lexists(path := self._pooled(entry))]
        if not unsure:
            return missing
        right = self._compare(unsure)
        with self._shelf.locked():
            for path, _ in unsure:
                if path not in right:
                    with suppress(OSError):
                        os.unlink(path)
            return self._link(root, missing)

    def _link(self, root: bytes, entries: list[Entry]) -> list[Entry]:
        """Link the files by digest that are known to be right; the entries for which there is none.

        Another link changes the stamp of a file: what was known of it still is. Empty files are few bytes,
        and there may be more of them than a file system lets one file have names.
        """
        missing = []
        for entry in entries:
            source, target = self._pooled(entry), root + b"/" + entry.path
            try:
                if not entry.size or not self._is_known(os.lstat(source), entry):
                    raise FileNotFoundError
                os.link(source, target, follow_symlinks=False)
            except OSError:  # also a file system without links, or with no more of them for this file
                missing.append(entry)
            else:
                self._shelf.stamps.note(Known(regular_stamp(os.lstat(source)), entry.digest))
        return missing

    def _write(self, root: bytes, entries: list[Entry], objects: Objects) -> None:
        """Write files and put them on the shelf."""
        self._write_entries(root, entries, objects)
        for entry in entries:
            os.chmod(root + b"/" + entry.path, _mode(entry))
        with self._shelf.locked():
            for entry in entries:
                if entry.size:
                    self._pool(root + b"/" + entry.path, entry)
            for entry in entries:
                stamp = regular_stamp(os.lstat(root + b"/" + entry.path))
                self._shelf.stamps.note(Known(stamp, entry.digest))

    def _write_entries(self, root: bytes, entries: list[Entry], objects: Objects) -> None:
        if entries:
            EntryWriter(root, self._jobs, Silent()).write(entries, objects)

    def _pool(self, path: bytes, entry: Entry) -> None:
        """Put a file on the shelf by its digest, in the place of another one there, where there are links."""
        pooled = self._pooled(entry)
        make_folder(os.fsdecode(os.path.dirname(pooled)))
        temporary = pooled + b"." + os.urandom(8).hex().encode()
        with suppress(OSError):
            os.link(path, temporary, follow_symlinks=False)
            os.rename(temporary, pooled)

    def _pooled(self, entry: Entry) -> bytes:
        return os.fsencode(self._shelf.pooled(entry.digest, entry.executable))


def _apart(entries: list[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Entries of different files, and those equal to one of them. Empty files count as different."""
    first: dict[tuple[bytes, bool], Entry] = {}
    repeated = []
    for entry in entries:
        key = entry.digest if entry.size else entry.path, entry.executable
        if first.setdefault(key, entry) is not entry:
            repeated.append(entry)
    return list(first.values()), repeated


def _mode(entry: Entry) -> int:
    return FILE_MODE | 0o100 if entry.executable else FILE_MODE


def _stamp_if_right(path: bytes, entry: Entry) -> bytes:
    """The stamp of a file that has the bytes, and now the mode, of an entry; `b""` for any other."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode) or before.st_size != entry.size:
            return b""
        if stat.S_IMODE(before.st_mode) != _mode(entry):
            os.fchmod(fd, _mode(entry))
            before = os.fstat(fd)
        hasher, buffer = FileHasher(), memoryview(bytearray(min(HASH_BYTES, entry.size)))
        while count := os.readv(fd, [buffer]):
            hasher.update(buffer[:count])
        same = regular_stamp(before) == regular_stamp(os.fstat(fd))
        return regular_stamp(before) if same and hasher.digest() == entry.digest else b""
    finally:
        os.close(fd)
