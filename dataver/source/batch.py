"""Many small files with few calls: folders listed, and files read and hashed, in batches.

Written twice. The compiled part does each batch without the interpreter's lock, so that threads read
side by side, in about the time that the kernel takes; where it was not built, what stands here does
the same, and gives the same.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from dataver.compression import looks_incompressible
from dataver.digest import DIGEST_BYTES
from dataver.hashing import blake3_digest
from dataver.native import native
from dataver.source.base import FILE, NOISY, READ, Batch, SourceFile
from dataver.source.columns import STAMP_EXECUTABLE, pack_stamp
from dataver.values import NamedTuple

__all__ = [
    "CALL_PATH_BYTES_MAX",
    "FILE_FLAGS",
    "FOLDER_FLAGS",
    "Folder",
    "list_folder",
    "native",
    "read_files",
]

CALL_PATH_BYTES_MAX = 700
"""A system call takes 4,096 bytes of path (1,024 on macOS); what lies deeper is opened step by step."""

FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Folder(NamedTuple):
    """What is in a folder, in the order of the names.

    `names` and `stamps` (see `dataver.source.columns`) stand side by side for its regular files;
    `folders` and `others` are the names of its folders, and of what is neither.
    """

    names: list[bytes]
    stamps: list[bytes]
    folders: list[bytes]
    others: list[bytes]


def list_folder(descriptor: int) -> Folder:
    """List an open folder. What vanishes meanwhile is left out. Raises `OSError`."""
    return Folder(*native.list_folder(descriptor)) if native is not None else list_folder_plainly(descriptor)


def read_files(prefix: bytes, files: Sequence[SourceFile], buffer: memoryview) -> Batch:
    """Read files below `prefix`, which ends with `/`, into `buffer`. See `Source.read_batch`.

    Of a path longer than `CALL_PATH_BYTES_MAX` nothing is read.
    """
    if native is not None:
        return Batch(*native.read_files(prefix, files, buffer))
    return read_files_plainly(prefix, files, buffer)


def list_folder_plainly(descriptor: int) -> Folder:
    """`list_folder` in Python."""
    with os.scandir(descriptor) as entries:
        listed = {os.fsencode(entry.name): entry for entry in entries}
    folder = Folder([], [], [], [])
    for name in sorted(listed):
        entry = listed[name]
        if entry.is_dir(follow_symlinks=False):
            folder.folders.append(name)
            continue
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISREG(found.st_mode):
            folder.names.append(name)
            folder.stamps.append(regular_stamp(found))
        else:
            folder.others.append(name)
    return folder


def regular_stamp(found: os.stat_result) -> bytes:
    """The stamp of a regular file."""
    kind = FILE | (STAMP_EXECUTABLE if found.st_mode & stat.S_IXUSR else 0)
    return pack_stamp(kind, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def read_files_plainly(prefix: bytes, files: Sequence[SourceFile], buffer: memoryview) -> Batch:
    """`read_files` in Python."""
    flags, digests = bytearray(len(files)), bytearray(DIGEST_BYTES * len(files))
    start = 0
    for number, file in enumerate(files):
        target = buffer[start : start + file.size]
        fits = len(target) == file.size and len(prefix) + len(file.path) <= CALL_PATH_BYTES_MAX
        if file.kind == FILE and fits and _read(prefix + file.path, file, target):
            flags[number] = READ | NOISY if looks_incompressible(target) else READ
            digests[DIGEST_BYTES * number : DIGEST_BYTES * (number + 1)] = blake3_digest(target)
            start += file.size
    return Batch(bytes(flags), bytes(digests))


def _read(full: bytes, file: SourceFile, target: memoryview) -> bool:
    """Fill `target`. False where the file is not, or does not stay, what was listed."""
    try:
        descriptor = os.open(full, FILE_FLAGS)
    except OSError:
        return False
    try:
        # Before a byte is read: a device may do something then.
        if not _is_as_listed(os.fstat(descriptor), file):
            return False
        have = 0
        while have < file.size and (count := os.readv(descriptor, [target[have:]])):
            have += count
        return have == file.size and _is_as_listed(os.fstat(descriptor), file)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _is_as_listed(found: os.stat_result, file: SourceFile) -> bool:
    return (
        stat.S_ISREG(found.st_mode)
        and found.st_size == file.size
        and found.st_mtime_ns == file.mtime_ns
        and found.st_ctime_ns == file.ctime_ns
        and found.st_ino == file.inode
        and bool(found.st_mode & stat.S_IXUSR) == file.executable
    )
