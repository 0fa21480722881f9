"""A folder, or one file, against a version: bytes that were mounted, copied or downloaded by anybody."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Container, Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Event

from dataver.config import default_jobs
from dataver.errors import BadInputError, NotPermittedError, PathNotFoundError, StoreError
from dataver.files import Files, to_path
from dataver.hashing import FileHasher, blake3_digest
from dataver.paths import REPOSITORY_FOLDER, safe_spelling
from dataver.progress import Progress, Silent, observed
from dataver.source.walk import holds_repository
from dataver.tree.manifest import FOLDER, SYMLINK, Entry
from dataver.values import dataclass
from dataver.verify.copy_report import ChangedFile, CopyReport
from dataver.verify.listed import LIST_FILE
from dataver.verify.mltable import MLTABLE_FILE, mltable_file
from dataver.verify.workers import in_order

__all__ = ["Wanted", "compare"]

BLOCK_BYTES = 1 << 20
FILES_IN_FLIGHT = 256
_LIST, _MLTABLE = LIST_FILE.encode(), MLTABLE_FILE.encode()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the bytes are to be: the files of version `name`, or those at `path` in it.

    `erased` are digests of files that may be missing, because nobody has them any more on purpose.
    `repository` is the id of the one that says so, empty where none does.
    """

    name: str
    id: str
    tree: str
    files: Files
    path: str = ""
    erased: Container[bytes] = frozenset()
    repository: str = ""


@observed("verify")
def compare(
    wanted: Wanted,
    place: str | os.PathLike[str],
    *,
    allow_extra: bool = False,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> CopyReport:
    """Read all bytes at `place`, and tell what is missing there, what differs, and what is too much.

    Only bytes count: no times, no modes, no empty folders. A symlink may have become a copy of the file
    that it leads to, and what was erased may be gone. A repository in `.dataver` and what an export writes
    beside the files are no part of it.
    `PathNotFoundError` where nothing is at `place`, `NotPermittedError` and `StoreError` where it cannot
    be read: what was not read was not found to differ.
    """
    top = os.fsencode(place)
    shown = safe_spelling(top)
    if not os.path.lexists(top):
        raise PathNotFoundError(f"there is nothing at {shown} to be compared with {wanted.name}")
    if os.path.isdir(top):
        expected = _expected(wanted)
        there = set(_walk(top, expected))
    elif os.path.isfile(top):
        top, entry = os.path.split(top)
        expected, there = {entry: _one(wanted, entry)}, {entry}
    else:
        raise BadInputError(f"{shown} is neither a folder nor a file")
    gone = [path for path in expected if path not in there]
    missing = sorted(path for path in gone if expected[path].digest not in wanted.erased)
    changed, size_bytes = _changed(wanted, top, expected, there, jobs, progress or Silent())
    extra = sorted(path for path in there - expected.keys() if not _is_beside(wanted, top, path))
    return CopyReport(
        not (missing or changed or (extra and not allow_extra)),
        wanted.name, wanted.id, wanted.tree, os.fspath(place), len(expected), size_bytes,
        [os.fsdecode(path) for path in missing], changed, [os.fsdecode(path) for path in extra],
        len(gone) - len(missing),
    )  # fmt: skip


def _expected(wanted: Wanted) -> dict[bytes, Entry]:
    """The files by the path that they should have."""
    found = wanted.files.follow(to_path(wanted.path)) if wanted.path else None
    if found is not None and found.kind != FOLDER:
        return {os.path.basename(found.path): found}
    start = b"" if found is None or not found.path else found.path + b"/"
    entries = wanted.files.scan(start)
    return {entry.path[len(start) :]: entry for entry in entries if entry.kind != FOLDER}


def _one(wanted: Wanted, name: bytes) -> Entry:
    """The file of the version that a single file should be."""
    expected = _expected(wanted)
    if len(expected) == 1:
        return next(iter(expected.values()))
    if name in expected:
        return expected[name]
    same = [entry for path, entry in expected.items() if os.path.basename(path) == name]
    if len(same) != 1:
        raise BadInputError(
            f"{wanted.name} has {len(expected):,} files, and {len(same):,} called {safe_spelling(name)!r}; "
            "say which one it should be with --path"
        )
    return same[0]


def _walk(top: bytes, expected: Container[bytes]) -> Iterator[bytes]:
    """The paths of all files below a folder, also behind symlinks to folders, unless those are expected."""
    folders: list[tuple[bytes, frozenset[tuple[int, int]]]] = [(b"", frozenset())]
    while folders:
        folder, above = folders.pop()
        with _readable(os.path.join(top, folder)):
            seen = os.stat(os.path.join(top, folder))
            with os.scandir(os.path.join(top, folder)) as entries:
                inside = list(entries)
        here = above | {(seen.st_dev, seen.st_ino)}
        for entry in inside:
            path = os.path.join(folder, entry.name)
            if path == REPOSITORY_FOLDER and holds_repository(os.path.join(top, path)):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append((path, here))
                continue
            if entry.is_symlink() and path not in expected:
                target = _target(os.path.join(top, path))
                if target and stat.S_ISDIR(target.st_mode) and (target.st_dev, target.st_ino) not in here:
                    folders.append((path, here))
                    continue
            yield path


def _target(place: bytes) -> os.stat_result | None:
    """What a symlink leads to; None where it leads nowhere, or round in circles."""
    with _readable(place):
        try:
            return os.stat(place)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP) and os.path.islink(place):
                return None
            raise


def _changed(
    wanted: Wanted,
    top: bytes,
    expected: Mapping[bytes, Entry],
    there: set[bytes],
    jobs: int | None,
    progress: Progress,
) -> tuple[list[ChangedFile], int]:
    """Those that are there and are not what they should be, and how many bytes were read."""
    work = [(path, entry) for path, entry in sorted(expected.items()) if path in there]
    changed, size_bytes, over = [], 0, Event()
    progress.begin("comparing files", len(work), sum(entry.size for _, entry in work))
    try:
        with ThreadPoolExecutor(jobs or default_jobs()) as pool:
            try:
                found = in_order(pool, lambda item: _fault(wanted, top, *item, over), work, FILES_IN_FLIGHT)
                for (path, entry), (fault, read) in zip(work, found, strict=True):
                    size_bytes += read
                    if fault:
                        changed.append(ChangedFile(os.fsdecode(path), fault))
                    progress.advance(1, entry.size)
            finally:
                over.set()  # Where it ends early, nobody waits for the large files that are being read.
    finally:
        progress.end()
    return changed, size_bytes


def _fault(wanted: Wanted, top: bytes, path: bytes, entry: Entry, over: Event) -> tuple[str, int]:
    """What is wrong with one file, empty where nothing is; and how many bytes of it were read."""
    place = os.path.join(top, path)
    if entry.kind == SYMLINK:
        if os.path.islink(place):
            wrong = blake3_digest(os.readlink(place)) != entry.digest
            return "the symlink leads elsewhere" if wrong else "", 0
        led_to = _led_to(wanted, entry)
        if led_to is None:
            return "it is no symlink", 0
        entry = led_to
    with _readable(place):
        found = _target(place)
        if found is None:
            return "it is a symlink that leads nowhere", 0
        if not stat.S_ISREG(found.st_mode):
            return "it is no file", 0
        if found.st_size != entry.size:
            return f"it has {found.st_size:,} bytes, not {entry.size:,}", 0
        digest, size = _digest(place, over)
    return "" if digest == entry.digest else "its bytes are others", size


def _led_to(wanted: Wanted, link: Entry) -> Entry | None:
    """The file of the version that a symlink leads to; None where it leads to none."""
    with suppress(BadInputError, PathNotFoundError):
        found = wanted.files.follow(link.path)
        return found if found.kind != FOLDER else None
    return None


def _digest(place: bytes, over: Event | None = None) -> tuple[bytes, int]:
    """The digest of a file, and how large it is. `CancelledError` once nobody wants to know any more."""
    hasher, size = FileHasher(), 0
    block = memoryview(bytearray(BLOCK_BYTES))
    with open(place, "rb", buffering=0) as file:
        while count := file.readinto(block):
            if over is not None and over.is_set():
                raise CancelledError
            hasher.update(block[:count])
            size += count
    return hasher.digest(), size


def _is_beside(wanted: Wanted, top: bytes, path: bytes) -> bool:
    """Whether a file that the version lacks is one that an export writes beside it."""
    if path == _LIST:
        return True
    if path != _MLTABLE or wanted.path:
        return False
    table, place = mltable_file(wanted.files), os.path.join(top, path)
    with _readable(place):
        return table is not None and os.path.isfile(place) and _digest(place)[0] == blake3_digest(table)


@contextmanager
def _readable(place: bytes) -> Iterator[None]:
    """What the system says of a place that cannot be read, as an error of ours."""
    try:
        yield
    except PermissionError as error:
        raise NotPermittedError(f"{safe_spelling(place)} cannot be read: {error.strerror}") from error
    except OSError as error:
        shown = safe_spelling(place)
        raise StoreError(f"{shown} cannot be read: {error.strerror}; was it changed meanwhile?") from error
