"""The file that keeps what is known of a folder's files: blocks of columns, and the places of such files."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import time
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from enum import Enum, auto
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from dataver.column import HELD_BYTES_MAX, Column, File
from dataver.config import cache_folder, machine_id
from dataver.digest import DIGEST_BYTES
from dataver.hashing import blake3_digest, xxh3_64_of
from dataver.joined import JoinedPaths
from dataver.private import make_folder, opener
from dataver.source.columns import STAMP, cut
from dataver.values import dataclass

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "MAGIC",
    "NO_TREE",
    "OWNED",
    "TRUSTED",
    "Block",
    "Lock",
    "Rows",
    "Stored",
    "append",
    "block_of",
    "encode",
    "file_stamp",
    "forget_digests",
    "key_name",
    "load",
    "locked",
    "parts_of",
    "replace_file",
    "whole_block",
    "worktrees_folder",
]

LOCK_TIMEOUT_S = 5.0

MERGED_TOGETHER = 1_024
INSERTED_ROWS_MAX = 256
"""More rows than these come into sorted columns by sorting them again."""

MAGIC = b"dataver stat cache 2\n"
_BLOCK = struct.Struct("<QQ")
_HEAD = struct.Struct("<QQ32s")
NO_TREE = bytes(DIGEST_BYTES)

TRUSTED, OWNED = 1, 2
"""Flags of a row: a file with this stamp has this digest for certain; a checkout wrote it."""


class Lock(Enum):
    """Whether other processes are kept from saving."""

    OWN = auto()
    TAKEN = auto()
    """One of them kept all others from it for too long."""
    NONE = auto()
    """There are no locks here."""


Stored = tuple[bytes, bytes, int]
"""What is known of a path: stamp, digest and flags."""


@dataclass(slots=True)
class Rows:
    """What is known, sorted by path: columns side by side."""

    paths: list[bytes] = field(default_factory=list)
    stamps: list[bytes] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    flags: bytearray = field(default_factory=bytearray)

    def get(self, path: bytes) -> Stored | None:
        at = bisect_left(self.paths, path)
        if at == len(self.paths) or self.paths[at] != path:
            return None
        return self.stamps[at], self.digests[at], self.flags[at]

    def take(self, changes: Mapping[bytes, Stored | None]) -> None:
        """Put rows in the place of what was known of their paths; None drops a path."""
        if not self.paths:
            self._merge(changes)
            return
        others = {}
        for path, row in changes.items():
            at = bisect_left(self.paths, path)
            if row is not None and at < len(self.paths) and self.paths[at] == path:
                self.stamps[at], self.digests[at], self.flags[at] = row
            else:
                others[path] = row
        if len(others) > INSERTED_ROWS_MAX:
            self._merge(others)
            return
        for path, row in others.items():
            at = bisect_left(self.paths, path)
            is_known = at < len(self.paths) and self.paths[at] == path
            if row is None:
                columns = (self.paths, self.stamps, self.digests, self.flags) if is_known else ()
                for column in columns:
                    del column[at]
            else:
                self.paths.insert(at, path)
                self.stamps.insert(at, row[0])
                self.digests.insert(at, row[1])
                self.flags.insert(at, row[2])

    def _merge(self, changes: Mapping[bytes, Stored | None]) -> None:
        known: dict[bytes, Stored | None] = dict(
            zip(self.paths, zip(self.stamps, self.digests, self.flags, strict=True), strict=True)
        )
        known.update(changes)
        ordered = [(path, row) for path, row in sorted(known.items()) if row is not None]
        self.paths = [path for path, _ in ordered]
        self.stamps = [row[0] for _, row in ordered]
        self.digests = [row[1] for _, row in ordered]
        self.flags = bytearray(row[2] for _, row in ordered)


# The file: magic, then blocks, each on top of those before: xxh3-64 of the rest u64, bytes of the rest
# u64, rows u64, dropped paths u64, tree (32 bytes, zeros where it is not known), then one column after the
# other: flags (a byte), stamps (33 bytes), digests (32), and the paths of the rows and those dropped,
# joined by NUL. The first block holds every row, sorted. A block that is torn ends the file.


@dataclass(frozen=True, slots=True)
class Block:
    """A block as it lies in the file. `is_sound`: none that is torn follows.

    The columns of a row may be written to, but for its path: the file stays as it is.
    """

    count: int
    gone: int
    tree: bytes
    flags: bytearray
    stamps: Column
    digests: Column
    paths: Column
    is_whole: bool
    is_sound: bool = True

    def row(self, at: int) -> Stored:
        """What is known of the path at a position."""
        stamp = self.stamps[STAMP.size * at : STAMP.size * (at + 1)]
        return stamp, self.digests[DIGEST_BYTES * at : DIGEST_BYTES * (at + 1)], self.flags[at]

    def put(self, at: int, row: Stored) -> None:
        """Put what is known of the path at a position in the place of what was."""
        self.stamps.put(STAMP.size * at, row[0])
        self.digests.put(DIGEST_BYTES * at, row[1])
        self.flags[at] = row[2]

    def rows(self) -> Rows:
        paths = self._every_path()[: self.count]
        stamps, digests = cut(self.stamps[:], STAMP.size), cut(self.digests[:], DIGEST_BYTES)
        return Rows(paths, stamps, digests, bytearray(self.flags))

    def merged(self, changes: Mapping[bytes, Stored | None]) -> Block:
        """A block of all rows with some in the place of those of their paths; None drops a path."""
        known = JoinedPaths(self.paths) if self.count else None
        paths, stamps, digests, flags = Column(), Column(), Column(), bytearray()

        def put(some: Sequence[bytes], *columns: bytes | bytearray) -> None:
            nonlocal paths, stamps, digests
            if some:
                paths += (b"\0" if flags else b"") + b"\0".join(some)
                stamps += bytes(columns[0])
                digests += bytes(columns[1])
                flags.extend(columns[2])

        def copy(start: int, stop: int) -> None:
            while known is not None and start < stop:
                end = min(start + MERGED_TOGETHER, stop)
                put(
                    known.some(start, end),
                    self.stamps[STAMP.size * start : STAMP.size * end],
                    self.digests[DIGEST_BYTES * start : DIGEST_BYTES * end],
                    self.flags[start:end],
                )
                start = end

        copied = 0
        for path, row in sorted(changes.items()):
            at, is_there = known.place(path) if known is not None else (0, False)
            copy(copied, at)
            copied = at + is_there
            if row is not None:
                put([path], row[0], row[1], bytes([row[2]]))
        copy(copied, self.count)
        return whole_block(paths, stamps, digests, flags)

    def changes(self) -> dict[bytes, Stored | None]:
        rows = self.rows()
        changes: dict[bytes, Stored | None] = {}
        if self.gone:
            changes.update(dict.fromkeys(self._every_path()[self.count :]))
        changes.update(zip(rows.paths, zip(rows.stamps, rows.digests, rows.flags, strict=True), strict=True))
        return changes

    def _every_path(self) -> list[bytes]:
        return self.paths[:].split(b"\0") if self.count + self.gone else []


def whole_block(
    paths: Column, stamps: Column, digests: Column, flags: bytearray, tree: bytes = NO_TREE
) -> Block:
    """A block of all rows, from their columns; the paths in order, joined by NUL."""
    return Block(len(flags), 0, tree, flags, stamps, digests, paths, is_whole=True)


def encode(changes: dict[bytes, Stored | None], tree: bytes = NO_TREE) -> bytes:
    """A block of changes. `tree` has what is known once they are made, where somebody found that out."""
    kept = {path: row for path, row in changes.items() if row is not None}
    gone = [path for path, row in changes.items() if row is None]
    stamps, digests, flags = zip(*kept.values(), strict=True) if kept else ((), (), ())
    paths = Column(b"\0".join([*kept, *gone]))
    columns = Column(b"".join(stamps)), Column(b"".join(digests))
    return b"".join(parts_of(replace(whole_block(paths, *columns, bytearray(flags), tree), gone=len(gone))))


def block_of(rows: Rows, tree: bytes = NO_TREE) -> Block:
    """A block of all rows."""
    paths, stamps, digests = b"\0".join(rows.paths), b"".join(rows.stamps), b"".join(rows.digests)
    return whole_block(Column(paths), Column(stamps), Column(digests), rows.flags, tree)


def parts_of(block: Block) -> Iterator[Buffer]:
    """What is written of a block, one after the other."""
    columns = (block.stamps, block.digests, block.paths)
    head = _HEAD.pack(block.count, block.gone, block.tree)

    def payload() -> Iterator[bytes | bytearray]:
        return chain((head, block.flags), *(column.blocks() for column in columns))

    size_bytes = len(head) + len(block.flags) + sum(map(len, columns))
    return chain((_BLOCK.pack(xxh3_64_of(payload()), size_bytes),), payload())


def _decode(payload: Column, *, is_first: bool) -> Block:
    """Read a block whose checksum is right. `ValueError` where it is none all the same."""
    count, gone, tree = _HEAD.unpack_from(payload[: _HEAD.size])
    bounds = list(accumulate((_HEAD.size, count, count * STAMP.size, count * DIGEST_BYTES)))
    if bounds[-1] > len(payload):
        raise ValueError("the columns are longer than the block")
    columns = [payload.part(start, end) for start, end in pairwise([*bounds, len(payload)])]
    if len(payload) <= HELD_BYTES_MAX:
        columns = [Column(column[:]) for column in columns]
    flags, stamps, digests, paths = columns
    return Block(count, gone, tree, bytearray(flags[:]), stamps, digests, paths, is_first and not gone)


def load(file: Path) -> tuple[tuple[int, ...], list[Block]]:
    """The blocks of a cache file, and the stamp of the file they are from. What is no good is left out."""
    try:
        opened = File(os.open(file, os.O_RDONLY | os.O_CLOEXEC))
        stamp = _stamp_of(os.fstat(opened.number))
        # What somebody appends after that is not looked at.
        return stamp, _blocks_of(Column.in_file(opened, 0, stamp[1]))
    except OSError:
        return (), []


def _blocks_of(data: Column) -> list[Block]:
    blocks: list[Block] = []
    offset = len(MAGIC)
    if data[:offset] != MAGIC:
        return blocks
    while offset < len(data):
        start = offset + _BLOCK.size
        length = 0
        with contextlib.suppress(ValueError, struct.error):
            checksum, length = _BLOCK.unpack(data[offset:start])
            payload = data.part(start, min(start + length, len(data)))
            if len(payload) == length and xxh3_64_of(payload.blocks()) == checksum:
                blocks.append(_decode(payload, is_first=not blocks))
                offset = start + length
                continue
        if blocks:
            blocks[-1] = replace(blocks[-1], is_sound=False)
        break
    return blocks


def forget_digests(digests: Collection[bytes]) -> None:
    """Vouch for no file with one of these digests, of any source: it is read again; who wrote it is kept."""
    folder = worktrees_folder()
    if not folder.is_dir():
        return
    with locked(folder, math.inf):  # Whoever has it is about to save rows of these files.
        for file in sorted(folder.glob("*.stat")):
            rows = Rows()
            for block in load(file)[1]:
                rows.take(block.changes())
            found = [at for at, digest in enumerate(rows.digests) if digest in digests]
            gone = dict.fromkeys(rows.paths[at] for at in found if not rows.flags[at] & OWNED)
            for at in found:
                rows.flags[at] &= ~TRUSTED
            if found:
                rows.take(gone)
                replace_file(file, chain((MAGIC,), parts_of(block_of(rows))), durable=False)


def worktrees_folder() -> Path:
    """Where all that is known of folders on this machine is kept."""
    return cache_folder() / "worktrees"


def key_name(key: bytes) -> str:
    """The name of what is kept of a source."""
    # With the machine in it: a home folder may be shared by machines whose paths are not.
    return blake3_digest(machine_id().encode() + b"\0" + key).hex()


def file_stamp(file: Path) -> tuple[int, ...]:
    """What tells whether a file was written anew since; nothing where it is not there."""
    try:
        return _stamp_of(os.stat(file))
    except OSError:
        return ()


def _stamp_of(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def replace_file(file: Path, parts: Iterable[Buffer], *, durable: bool) -> bool:
    """Write a file beside its place and rename it there. False where the file system refuses."""
    temporary = file.with_name(f".tmp-{os.urandom(8).hex()}")
    try:
        make_folder(file.parent)
        with open(temporary, "xb", opener=opener) as opened:
            opened.writelines(parts)
            if durable:
                opened.flush()
                os.fsync(opened.fileno())
        os.replace(temporary, file)
        if durable:
            _sync_folder(file.parent)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        return False
    return True


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every system can open a folder
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def append(file: Path, block: bytes) -> bool:
    """Write a block at the end of a file, all of it or nothing that counts. False where that is refused."""
    try:
        with open(file, "r+b", buffering=0) as opened:
            opened.seek(0, os.SEEK_END)
            return opened.write(block) == len(block)
    except OSError:
        return False


@contextmanager
def locked(folder: Path, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[Lock]:
    """Keep other processes from saving meanwhile, as far as the system can; what came of it.

    Without locks nothing tears, but rows that another process saved at the same moment may be lost.
    """
    try:
        import fcntl

        make_folder(folder)
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (ImportError, OSError):
        yield Lock.NONE
        return
    lock = Lock.TAKEN
    try:
        deadline_s = time.monotonic() + timeout_s
        while lock is Lock.TAKEN:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lock = Lock.OWN
            except BlockingIOError:
                if time.monotonic() >= deadline_s:
                    break
                time.sleep(0.01)
            except OSError:  # a file system without locks
                lock = Lock.NONE
        yield lock
    finally:
        os.close(fd)
