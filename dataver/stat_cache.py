"""Digests of local files that did not change since they were read, one cache file a folder.

Kept in the user's cache folder and keyed by real path. Never an error: what cannot be read back
counts as unknown.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import NamedTuple

from dataver.config import cache_folder, machine_id
from dataver.digest import DIGEST_BYTES
from dataver.hashing import blake3_digest, xxh3_64
from dataver.source.base import REMOTE_MTIME, REMOTE_TAG, SourceFile
from dataver.source.columns import IDENTITY_BYTES, STAMP, Listing, cut, stamp_of, to_file
from dataver.values import dataclass

__all__ = [
    "CacheRow",
    "StatCache",
    "is_settled",
    "key_name",
    "replace_file",
    "worktrees_folder",
]

FINE_GRAIN_NS = 100_000_000
COARSE_GRAIN_NS = 2_000_000_000
REMOTE_GRAIN_NS = 600_000_000_000
LOCK_TIMEOUT_S = 5.0

APPENDED_ROWS_MIN = 1_024
"""So many changed rows, or an eighth of all, are appended before the file is written anew."""
INSERTED_ROWS_MAX = 256
"""More rows than these come into sorted columns by sorting them again."""

_MAGIC = b"dataver stat cache 2\n"
_BLOCK = struct.Struct("<QQ")
_HEAD = struct.Struct("<QQ32s")
_NO_TREE = bytes(DIGEST_BYTES)
_TRUSTED = 1
_OWNED = 2
_ALL_TRUSTED = bytes([_TRUSTED, _TRUSTED | _OWNED])

_Stored = tuple[bytes, bytes, int]
"""What is known of a path: stamp, digest and flags."""


class CacheRow(NamedTuple):
    """What is known of one file: its stamps and the digest of the bytes it had at `hashed_at_ns`.

    `hashed_at_ns` (clock of `time.time_ns`) is any moment not later than the last look at the
    stamps that followed the reading or writing of those bytes: a commit passes the time it began,
    a checkout the time it ended. `owned`: a checkout wrote the file.
    """

    file: SourceFile
    digest: bytes
    hashed_at_ns: int
    owned: bool = False


def is_settled(file: SourceFile, hashed_at_ns: int) -> bool:
    """Whether a change after `hashed_at_ns` would show in the stamps of `file`.

    A clock ticks in steps: a file can change twice within one, and the second change leaves no
    trace. Stamps with digits below the second come from clocks that tick at least ten times a
    second; stamps without from those that tick every two seconds, as on FAT. Stamps of another
    machine are compared with room for its clock being off, its change tags not at all.
    """
    if file[6] == REMOTE_TAG:
        return True
    if file[6] == REMOTE_MTIME:
        return file[4] < hashed_at_ns - REMOTE_GRAIN_NS
    mtime_ns, ctime_ns = file[4], file[5]
    mtime_grain_ns = FINE_GRAIN_NS if mtime_ns % 1_000_000_000 else COARSE_GRAIN_NS
    ctime_grain_ns = FINE_GRAIN_NS if ctime_ns % 1_000_000_000 else COARSE_GRAIN_NS
    return mtime_ns + mtime_grain_ns < hashed_at_ns and ctime_ns + ctime_grain_ns < hashed_at_ns


@dataclass(slots=True)
class _Rows:
    """What is known, sorted by path: columns side by side."""

    paths: list[bytes] = field(default_factory=list)
    stamps: list[bytes] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    flags: bytearray = field(default_factory=bytearray)

    def get(self, path: bytes) -> _Stored | None:
        at = bisect_left(self.paths, path)
        if at == len(self.paths) or self.paths[at] != path:
            return None
        return self.stamps[at], self.digests[at], self.flags[at]

    def take(self, changes: dict[bytes, _Stored | None]) -> None:
        """Put rows in the place of what was known of their paths; None drops a path."""
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

    def _merge(self, changes: dict[bytes, _Stored | None]) -> None:
        known: dict[bytes, _Stored | None] = dict(
            zip(self.paths, zip(self.stamps, self.digests, self.flags, strict=True), strict=True)
        )
        known.update(changes)
        ordered = [(path, row) for path, row in sorted(known.items()) if row is not None]
        self.paths = [path for path, _ in ordered]
        self.stamps = [row[0] for _, row in ordered]
        self.digests = [row[1] for _, row in ordered]
        self.flags = bytearray(row[2] for _, row in ordered)


class StatCache:
    """Digests by path and stamps, for one source. `key` is `Source.key`, a real path or a URL.

    Loaded whole when made and not read again. For one thread at a time; any number of processes
    may have the same one open. A torn or foreign file counts as an empty cache.
    """

    def __init__(self, key: bytes) -> None:
        self._file = worktrees_folder() / (key_name(key) + ".stat")
        self._is_alone = True
        self._read()

    def _read(self) -> None:
        self._stamp, blocks = _load(self._file)
        self._whole = blocks[0] if blocks and blocks[0].is_whole else None
        self._tree = blocks[-1].tree if blocks else _NO_TREE
        self._expanded: _Rows | None = None
        self._appended: int | None = None
        if self._whole is None:
            self._expanded = _Rows()
            return
        changed = [block for block in blocks[1:] if block.count + block.gone]
        self._appended = sum(block.count + block.gone for block in changed)
        if changed:
            for block in changed:
                self._rows.take(block.changes())
            self._whole = None
        if not blocks[-1].is_sound:
            self._appended = None

    @property
    def _rows(self) -> _Rows:
        """All rows, an object each: made when something differs from them."""
        if self._expanded is None:
            assert self._whole is not None
            self._expanded = self._whole.rows()
        return self._expanded

    def __len__(self) -> int:
        return len(self._rows.paths) if self._whole is None else self._whole.count

    @property
    def tree(self) -> bytes | None:
        """The digest of the tree that has these very paths with these very digests, where it is known."""
        return None if self._tree == _NO_TREE else self._tree

    def is_all(self, files: Listing) -> bool:
        """Whether these are the files recorded, each certain to be what it was when last hashed."""
        whole = self._whole
        if whole is None:
            rows = self._rows
            return (
                files.paths == rows.paths
                and files.stamps == rows.stamps
                and not rows.flags.translate(None, _ALL_TRUSTED)
            )
        return (
            files.joined_paths == whole.paths
            and files.joined_stamps == whole.stamps
            and not bytes(whole.flags).translate(None, _ALL_TRUSTED)
        )

    def lookup(self, files: Sequence[SourceFile]) -> list[bytes | None]:
        """The digest of each file that is certain to be what it was when last hashed, else `None`."""
        rows = self._rows
        stamps: Sequence[bytes | None]
        if isinstance(files, Listing):
            if self.is_all(files):
                return list(rows.digests)
            paths, stamps = files.paths, files.stamps
        else:
            paths, stamps = [file[0] for file in files], list(map(stamp_of, files))
        if paths == rows.paths:
            known = zip(stamps, rows.stamps, rows.digests, rows.flags, strict=True)
            return [
                digest if stamp == then and flags & _TRUSTED else None for stamp, then, digest, flags in known
            ]
        at = dict(zip(rows.paths, range(len(rows.paths)), strict=True))
        places = map(at.get, paths)
        return [
            rows.digests[place]
            if place is not None and rows.stamps[place] == stamp and rows.flags[place] & _TRUSTED
            else None
            for place, stamp in zip(places, stamps, strict=True)
        ]

    def recorded(self, path: bytes) -> CacheRow | None:
        """What was last recorded of a path, whether or not it still holds. `hashed_at_ns` is 0."""
        row = self._rows.get(path)
        return None if row is None else _as_row(path, *row)

    def owned(self) -> list[CacheRow]:
        """What checkouts wrote, sorted by path. A file that differs from its digest is the user's again.

        Where `lookup` does not vouch for a file, its bytes have to be compared. `hashed_at_ns` is 0.
        """
        rows = self._rows
        every = zip(rows.paths, rows.stamps, rows.digests, rows.flags, strict=True)
        return [_as_row(*row) for row in every if row[3] & _OWNED]

    def paths(self) -> Collection[bytes]:
        """Every path recorded, in order."""
        return self._rows.paths

    def update(self, rows: Iterable[CacheRow], *, forget: Iterable[bytes] = ()) -> bool:
        """Take in rows, each in place of what was known of its path, drop the paths of `forget`, save.

        A row that is not `owned` leaves a checkout's ownership in place where the digest is the one
        the checkout wrote. Other processes' rows on other paths stay; of two rows on one path the
        later save wins. What is written grows with what changed, not with what is known. Saving
        tears nothing and is not forced to disk. False where it failed: nothing is lost but time,
        and for owned rows the right to replace those files unasked.
        """
        with _locked(self._file.parent):
            if _stamp(self._file) != self._stamp:
                self._is_alone = False
                self._read()
            changes = self._changes(rows, forget)
            if changes:
                self._tree = (
                    self._tree if all(map(self._is_equal, *zip(*changes.items(), strict=True))) else _NO_TREE
                )
                self._rows.take(changes)
                self._whole = None
            saved = self._save(changes)
            self._stamp = _stamp(self._file)
        return saved

    def mark(self, tree: bytes) -> None:
        """Remember that a tree has the very paths that are recorded, with the very digests.

        Nothing is done where another process recorded something since this was loaded.
        """
        with _locked(self._file.parent):
            is_current = self._is_alone and _stamp(self._file) == self._stamp
            if is_current and self._appended is not None and _append(self._file, _encode({}, tree)):
                self._tree = tree
                self._stamp = _stamp(self._file)

    def _is_equal(self, path: bytes, row: _Stored | None) -> bool:
        """Whether a tree has for this row what it has for the one recorded."""
        known = self._rows.get(path)
        if row is None or known is None:
            return row is known
        return row[1] == known[1] and row[0][:IDENTITY_BYTES] == known[0][:IDENTITY_BYTES]

    def _changes(self, rows: Iterable[CacheRow], forget: Iterable[bytes]) -> dict[bytes, _Stored | None]:
        known = self._rows
        changes: dict[bytes, _Stored | None] = {}
        for path in forget:
            if known.get(path) is not None:
                changes[path] = None
        for file, digest, hashed_at_ns, owned in rows:
            path, _, _, _, mtime_ns, ctime_ns, inode = file
            if len(digest) != DIGEST_BYTES:
                raise ValueError(f"a digest has {DIGEST_BYTES} bytes")
            before = changes[path] if path in changes else known.get(path)
            stamp = stamp_of(file)
            if stamp is None:
                # A time outside of 64 bits, as somebody may set it: such files are hashed each time.
                if before is not None:
                    changes[path] = None
                continue
            coarse_ns = hashed_at_ns - COARSE_GRAIN_NS
            # Most files are older than any grain: asking that first halves the time of this loop.
            if mtime_ns < coarse_ns and ctime_ns < coarse_ns and inode < REMOTE_MTIME:
                flags = _TRUSTED
            else:
                flags = _TRUSTED if is_settled(file, hashed_at_ns) else 0
            if owned:
                flags |= _OWNED
            elif before is not None and before[1] == digest:
                flags |= before[2] & _OWNED
            changes[path] = (stamp, digest, flags)
        return changes

    def _save(self, changes: dict[bytes, _Stored | None]) -> bool:
        """Append the changes to the file, or write it anew where it is not whole or they are many."""
        appended = None if self._appended is None else self._appended + len(changes)
        if appended is not None and appended <= max(APPENDED_ROWS_MIN, len(self) // 8):
            self._appended = appended
            return not changes or _append(self._file, _encode(changes, self._tree))
        rows = self._rows
        every = zip(rows.stamps, rows.digests, rows.flags, strict=True)
        whole = _encode(dict(zip(rows.paths, every, strict=True)), self._tree)
        saved = replace_file(self._file, [_MAGIC, whole], durable=False)
        self._appended = 0 if saved else None
        return saved


def _as_row(path: bytes, stamp: bytes, digest: bytes, flags: int) -> CacheRow:
    return CacheRow(to_file(path, stamp), digest, 0, bool(flags & _OWNED))


# The file: magic, then blocks, each on top of those before: xxh3-64 of the rest u64, bytes of the rest
# u64, rows u64, dropped paths u64, tree (32 bytes, zeros where it is not known), then one column after the
# other: flags (a byte), stamps (33 bytes), digests (32), and the paths of the rows and those dropped,
# joined by NUL. The first block holds every row, sorted. A block that is torn ends the file.


@dataclass(frozen=True, slots=True)
class _Block:
    """A block as it lies in the file; nothing is copied. `is_sound`: none that is torn follows."""

    count: int
    gone: int
    tree: bytes
    flags: memoryview
    stamps: memoryview
    digests: memoryview
    paths: memoryview
    is_whole: bool
    is_sound: bool = True

    def rows(self) -> _Rows:
        paths = bytes(self.paths).split(b"\0") if self.count + self.gone else []
        stamps, digests = cut(bytes(self.stamps), STAMP.size), cut(bytes(self.digests), DIGEST_BYTES)
        return _Rows(paths[: self.count], stamps, digests, bytearray(self.flags))

    def changes(self) -> dict[bytes, _Stored | None]:
        rows = self.rows()
        changes: dict[bytes, _Stored | None] = {}
        if self.gone:
            changes.update(dict.fromkeys(bytes(self.paths).split(b"\0")[self.count :]))
        changes.update(zip(rows.paths, zip(rows.stamps, rows.digests, rows.flags, strict=True), strict=True))
        return changes


def _encode(changes: dict[bytes, _Stored | None], tree: bytes = _NO_TREE) -> bytes:
    kept = {path: row for path, row in changes.items() if row is not None}
    gone = [path for path, row in changes.items() if row is None]
    stamps, digests, flags = zip(*kept.values(), strict=True) if kept else ((), (), ())
    paths = b"\0".join(chain(kept, gone))
    payload = b"".join([_HEAD.pack(len(kept), len(gone), tree), bytes(flags), *stamps, *digests, paths])
    return _BLOCK.pack(xxh3_64(payload), len(payload)) + payload


def _decode(payload: memoryview, *, is_first: bool) -> _Block:
    """Read a block whose checksum is right. `ValueError` where it is none all the same."""
    count, gone, tree = _HEAD.unpack_from(payload)
    bounds = list(accumulate((_HEAD.size, count, count * STAMP.size, count * DIGEST_BYTES)))
    if bounds[-1] > len(payload):
        raise ValueError("the columns are longer than the block")
    flags, stamps, digests = (payload[start:end] for start, end in pairwise(bounds))
    return _Block(count, gone, tree, flags, stamps, digests, payload[bounds[-1] :], is_first and not gone)


def _load(file: Path) -> tuple[tuple[int, ...], list[_Block]]:
    """The blocks of a cache file, and the stamp of the file they are from. What is no good is left out."""
    blocks: list[_Block] = []
    try:
        with open(file, "rb") as opened:
            stamp = _stamp_of(os.fstat(opened.fileno()))
            data = memoryview(opened.read())
    except OSError:
        return (), blocks
    offset = len(_MAGIC)
    if data[:offset] != _MAGIC:
        return stamp, blocks
    while offset < len(data):
        start = offset + _BLOCK.size
        length = 0
        with contextlib.suppress(ValueError, struct.error):
            checksum, length = _BLOCK.unpack_from(data, offset)
            payload = data[start : start + length]
            if len(payload) == length and xxh3_64(payload) == checksum:
                blocks.append(_decode(payload, is_first=not blocks))
                offset = start + length
                continue
        if blocks:
            blocks[-1] = replace(blocks[-1], is_sound=False)
        break
    return stamp, blocks


def worktrees_folder() -> Path:
    """Where all that is known of folders on this machine is kept."""
    return cache_folder() / "worktrees"


def key_name(key: bytes) -> str:
    """The name of what is kept of a source."""
    # With the machine in it: a home folder may be shared by machines whose paths are not.
    return blake3_digest(machine_id().encode() + b"\0" + key).hex()


def _stamp(file: Path) -> tuple[int, ...]:
    try:
        return _stamp_of(os.stat(file))
    except OSError:
        return ()


def _stamp_of(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def replace_file(file: Path, parts: Sequence[bytes], *, durable: bool) -> bool:
    """Write a file beside its place and rename it there. False where the file system refuses."""
    temporary = file.with_name(f".tmp-{os.urandom(8).hex()}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(temporary, "xb") as opened:
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


def _append(file: Path, block: bytes) -> bool:
    """Write a block at the end of a file, all of it or nothing that counts. False where that is refused."""
    try:
        with open(file, "r+b", buffering=0) as opened:
            opened.seek(0, os.SEEK_END)
            return opened.write(block) == len(block)
    except OSError:
        return False


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes from saving meanwhile, as far as the system can.

    Without the lock nothing tears, only rows that another process saved at the same moment are
    lost, so a lock that cannot be had within `LOCK_TIMEOUT_S` is done without.
    """
    try:
        import fcntl

        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (ImportError, OSError):
        yield
        return
    try:
        deadline_s = time.monotonic() + LOCK_TIMEOUT_S
        while time.monotonic() < deadline_s:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:  # a file system without locks
                break
        yield
    finally:
        os.close(fd)
