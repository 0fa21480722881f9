"""Digests of local files that did not change since they were read, one cache file a folder.

Kept in the user's cache folder and keyed by real path. Never an error: what cannot be read back
counts as unknown.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain

from dataver.column import Column
from dataver.digest import DIGEST_BYTES
from dataver.joined import JoinedPaths, beside
from dataver.source.base import REMOTE_MTIME, REMOTE_TAG, SourceFile
from dataver.source.columns import IDENTITY_BYTES, STAMP, Listing, Picked, cut, stamp_of, to_file
from dataver.stat_file import (
    MAGIC,
    NO_TREE,
    OWNED,
    TRUSTED,
    Block,
    Lock,
    Rows,
    Stored,
    append,
    block_of,
    encode,
    file_stamp,
    key_name,
    load,
    locked,
    parts_of,
    replace_file,
    whole_block,
    worktrees_folder,
)
from dataver.values import NamedTuple

__all__ = ["CacheRow", "StatCache", "is_settled"]

FINE_GRAIN_NS = 100_000_000
COARSE_GRAIN_NS = 2_000_000_000
REMOTE_GRAIN_NS = 600_000_000_000

COMPARED_TOGETHER = 1_024
_BLOCK_BYTES = COMPARED_TOGETHER * STAMP.size
APPENDED_ROWS_MIN = 1_024
"""So many changed rows, or an eighth of all, are appended before the file is written anew."""
_TIMES = struct.Struct("<qqQ")
"""What stands in a stamp behind its identity: mtime, ctime and inode."""
_ALL_TRUSTED = bytes([TRUSTED, TRUSTED | OWNED])


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
        self._stamp, blocks = load(self._file)
        self._whole = blocks[0] if blocks and blocks[0].is_whole else None
        self._tree = blocks[-1].tree if blocks else NO_TREE
        self._expanded: Rows | None = None
        self._column: JoinedPaths | None = None
        self._appended: int | None = None
        if self._whole is None:
            self._expanded = Rows()
            return
        self._appended = sum(block.count + block.gone for block in blocks[1:])
        changes: dict[bytes, Stored | None] = {}
        for block in blocks[1:]:
            changes |= block.changes()
        if changes:
            self._put(changes)
        if not blocks[-1].is_sound:
            self._appended = None

    @property
    def _rows(self) -> Rows:
        """All rows, an object each: made when it takes more than a look at few of them."""
        return self._expand() if self._expanded is None else self._expanded

    def _expand(self) -> Rows:
        if self._whole is not None:
            self._expanded = self._whole.rows()
            self._whole = self._column = None
        assert self._expanded is not None
        return self._expanded

    def _position(self, path: bytes) -> int | None:
        """Where a path stands while no row was made."""
        assert self._whole is not None
        if not self._whole.count:
            return None
        if self._column is None:
            self._column = JoinedPaths(self._whole.paths)
        return self._column.find(path)

    def _known(self, path: bytes) -> Stored | None:
        if self._whole is None:
            return self._rows.get(path)
        at = self._position(path)
        return None if at is None else self._whole.row(at)

    def _put(self, changes: Mapping[bytes, Stored | None]) -> None:
        """Put rows in the place of those of their paths. No other row is made."""
        whole = self._whole
        if whole is None:
            self._rows.take(changes)
            return
        places = [self._position(path) for path in changes]
        if None in places or None in changes.values():
            self._whole, self._column = whole.merged(changes), None
            return
        for at, row in zip(places, changes.values(), strict=True):
            if at is not None and row is not None:
                whole.put(at, row)

    def __len__(self) -> int:
        return len(self._rows.paths) if self._whole is None else self._whole.count

    def unsure(self, files: Listing) -> list[int]:
        """The positions of files that are not certain to be what they were when last hashed."""
        whole = self._whole
        if whole is None:
            return [at for at, digest in enumerate(self.lookup(files)) if digest is None]
        if files.joined_paths == whole.paths:
            return self._unsure_of(files, 0, 0, whole.count)
        found: list[int] = []
        at = place = 0
        for some, known in beside(files.joined_paths, whole.paths):
            if some == known:
                found += self._unsure_of(files, at, place, len(some))
            else:
                places = dict(zip(known, range(len(known)), strict=True))
                found += self._differing(files, at, place, len(known), list(map(places.get, some)))
            at, place = at + len(some), place + len(known)
        return found

    def _unsure_of(self, files: Listing, at: int, place: int, count: int) -> list[int]:
        """Those of files in a row that are known as that, from one position there and another here on."""
        found: list[int] = []
        for shift in range(0, count, COMPARED_TOGETHER):
            some = range(min(COMPARED_TOGETHER, count - shift))
            found += self._differing(files, at + shift, place + shift, len(some), some)
        return found

    def _differing(
        self, files: Listing, at: int, place: int, count: int, places: Sequence[int | None]
    ) -> list[int]:
        """Those of files from `at` on that are not certain to be the row that each has among `count` here."""
        assert self._whole is not None
        width = STAMP.size
        stamps = files.joined_stamps[width * at : width * (at + len(places))]
        known = self._whole.stamps[width * place : width * (place + count)]
        flags = self._whole.flags[place : place + count]
        if isinstance(places, range) and stamps == known and not flags.translate(None, _ALL_TRUSTED):
            return []
        return [
            at + number
            for number, where in enumerate(places)
            if where is None
            or not flags[where] & TRUSTED
            or stamps[width * number : width * (number + 1)] != known[width * where : width * (where + 1)]
        ]

    def absent_from(self, files: Listing) -> Sequence[bytes]:
        """The paths recorded that are not among these files, in order."""
        if not len(self):
            return ()
        if self._whole is None:
            return sorted(set(self.paths()).difference(files.paths))
        if files.joined_paths == self._whole.paths:
            return ()
        gone: list[bytes] = []
        for some, known in beside(files.joined_paths, self._whole.paths):
            if some != known:
                gone += sorted(set(known).difference(some))
        return gone

    @property
    def tree(self) -> bytes | None:
        """The digest of the tree that has these very paths with these very digests, where it is known."""
        return None if self._tree == NO_TREE else self._tree

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
            and not whole.flags.translate(None, _ALL_TRUSTED)
        )

    def lookup(self, files: Sequence[SourceFile]) -> list[bytes | None]:
        """The digest of each file that is certain to be what it was when last hashed, else `None`."""
        if not len(self):
            return [None] * len(files)
        stamps: Sequence[bytes]
        if isinstance(files, Listing):
            if self.is_all(files):
                return list(self._rows.digests)
            paths, stamps = files.paths, files.stamps
        else:
            paths, stamps = [file[0] for file in files], list(map(stamp_of, files))
        rows = self._rows
        if paths == rows.paths:
            known = zip(stamps, rows.stamps, rows.digests, rows.flags, strict=True)
            return [
                digest if stamp == then and flags & TRUSTED else None for stamp, then, digest, flags in known
            ]
        at = dict(zip(rows.paths, range(len(rows.paths)), strict=True))
        places = map(at.get, paths)
        return [
            rows.digests[place]
            if place is not None and rows.stamps[place] == stamp and rows.flags[place] & TRUSTED
            else None
            for place, stamp in zip(places, stamps, strict=True)
        ]

    def recorded(self, path: bytes) -> CacheRow | None:
        """What was last recorded of a path, whether or not it still holds. `hashed_at_ns` is 0."""
        row = self._known(path)
        return None if row is None else _as_row(path, *row)

    def owned(self) -> list[CacheRow]:
        """What checkouts wrote, sorted by path. A file that differs from its digest is the user's again.

        Where `lookup` does not vouch for a file, its bytes have to be compared. `hashed_at_ns` is 0.
        """
        rows = self._rows
        every = zip(rows.paths, rows.stamps, rows.digests, rows.flags, strict=True)
        return [_as_row(*row) for row in every if row[3] & OWNED]

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
        return self._record(lambda: self._changes(rows, forget))

    def update_read(
        self,
        files: Picked,
        stamps: Column,
        digests: Column,
        hashed_at_ns: int,
        forget: Iterable[bytes] = (),
    ) -> bool:
        """As `update`, with files that were read, their stamps and digests side by side.

        Where nothing is known yet, memory is needed for what is saved alone.
        """
        with self._saving() as may_save:
            if not may_save:
                return False
            if not len(self):
                flags = _trust_all(stamps, hashed_at_ns)
                return self._begin(whole_block(files.joined_paths, stamps, digests, flags))
            return self._take(self._changes(_rows_of(files, stamps, digests, hashed_at_ns), forget))

    def update_written(
        self,
        written: Callable[[], Iterable[tuple[bytes, bytes, bytes]]],
        ended_ns: int,
        forget: Iterable[bytes] = (),
    ) -> bool:
        """As `update`, with the files that a checkout wrote: path, stamp and digest of each.

        It ended at `ended_ns`. Where nothing is known yet and they come by path, no object a file is made.
        """
        with self._saving() as may_save:
            if not may_save:
                return False
            whole = None if len(self) else _whole_of(written(), ended_ns)
            if whole is not None:
                return self._begin(whole)
            return self._take(self._written(written(), ended_ns, forget))

    def _record(self, make: Callable[[], dict[bytes, Stored | None]]) -> bool:
        """Save the changes that `make` finds to what is known then."""
        with self._saving() as may_save:
            return may_save and self._take(make())

    @contextmanager
    def _saving(self) -> Iterator[bool]:
        """What other processes recorded is known, and none records anything meanwhile.

        False where another one does so for too long. What it has not seen yet would be missing for the tree
        that it claims.
        """
        with locked(self._file.parent) as lock:
            if lock is Lock.TAKEN:
                self._is_alone = False
                yield False
                return
            self._refresh()
            if lock is Lock.NONE:
                self._tree = NO_TREE
            try:
                yield True
            finally:
                self._stamp = file_stamp(self._file)

    def _begin(self, whole: Block) -> bool:
        """Save the first rows of all."""
        self._tree, self._whole, self._expanded, self._column = NO_TREE, whole, None, None
        saved = replace_file(self._file, chain((MAGIC,), parts_of(whole)), durable=False)
        self._appended = 0 if saved else None
        return saved

    def _refresh(self) -> None:
        """Load what another process recorded meanwhile."""
        if file_stamp(self._file) != self._stamp:
            self._is_alone = False
            self._read()

    def _take(self, changes: dict[bytes, Stored | None]) -> bool:
        if changes:
            if not all(self._is_equal(path, row) for path, row in changes.items()):
                self._tree = NO_TREE
            self._put(changes)
        return self._save(changes)

    def mark(self, tree: bytes) -> None:
        """Remember that a tree has the very paths that are recorded, with the very digests.

        Nothing is done where another process recorded something since this was loaded, or could.
        """
        with locked(self._file.parent) as lock:
            is_current = lock is Lock.OWN and self._is_alone and file_stamp(self._file) == self._stamp
            if is_current and self._appended is not None and append(self._file, encode({}, tree)):
                self._tree = tree
                self._stamp = file_stamp(self._file)

    def _is_equal(self, path: bytes, row: Stored | None) -> bool:
        """Whether a tree has for this row what it has for the one recorded."""
        known = self._known(path)
        if row is None or known is None:
            return row is known
        return row[1] == known[1] and row[0][:IDENTITY_BYTES] == known[0][:IDENTITY_BYTES]

    def _written(
        self, written: Iterable[tuple[bytes, bytes, bytes]], ended_ns: int, forget: Iterable[bytes]
    ) -> dict[bytes, Stored | None]:
        changes: dict[bytes, Stored | None] = {path: None for path in forget if self._known(path) is not None}
        for path, stamp, digest in written:
            changes[path] = (stamp, digest, _trust(stamp, ended_ns) | OWNED)
        return changes

    def _changes(self, rows: Iterable[CacheRow], forget: Iterable[bytes]) -> dict[bytes, Stored | None]:
        changes: dict[bytes, Stored | None] = {}
        for path in forget:
            if self._known(path) is not None:
                changes[path] = None
        for file, digest, hashed_at_ns, owned in rows:
            path = file[0]
            if len(digest) != DIGEST_BYTES:
                raise ValueError(f"a digest has {DIGEST_BYTES} bytes")
            before = changes[path] if path in changes else self._known(path)
            stamp = stamp_of(file)
            flags = _trust(stamp, hashed_at_ns)
            if owned:
                flags |= OWNED
            elif before is not None and before[1] == digest:
                flags |= before[2] & OWNED
            changes[path] = (stamp, digest, flags)
        return changes

    def _save(self, changes: dict[bytes, Stored | None]) -> bool:
        """Append the changes to the file, or write it anew where it is not whole or they are many."""
        appended = None if self._appended is None else self._appended + len(changes)
        if appended is not None and appended <= max(APPENDED_ROWS_MIN, len(self) // 8):
            saved = not changes or append(self._file, encode(changes, self._tree))
            # Where rows are missing no tree may be claimed for the others; next time all is written.
            self._appended = appended if saved else None
            return saved
        if self._whole is None:
            whole = block_of(self._rows, self._tree)
        else:
            whole = replace(self._whole, tree=self._tree)
        saved = replace_file(self._file, chain((MAGIC,), parts_of(whole)), durable=False)
        self._appended = 0 if saved else None
        return saved


def _trust(stamp: bytes, hashed_at_ns: int) -> int:
    """The flag `TRUSTED`, if `is_settled` says so of a file with this stamp; else none."""
    mtime_ns, ctime_ns, inode = _TIMES.unpack_from(stamp, IDENTITY_BYTES)
    # What it says of nearly all files, without a call for each.
    is_fine = mtime_ns % 1_000_000_000 and ctime_ns % 1_000_000_000
    limit_ns = hashed_at_ns - (FINE_GRAIN_NS if is_fine else COARSE_GRAIN_NS)
    if mtime_ns < limit_ns and ctime_ns < limit_ns and inode < REMOTE_MTIME:
        return TRUSTED
    return TRUSTED if is_settled(to_file(b"", stamp), hashed_at_ns) else 0


def _trust_all(stamps: Column, hashed_at_ns: int) -> bytearray:
    """The flags of files that nothing was known of."""
    every = chain.from_iterable(cut(some, STAMP.size) for some in stamps.blocks(_BLOCK_BYTES))
    return bytearray(_trust(stamp, hashed_at_ns) for stamp in every)


def _whole_of(written: Iterable[tuple[bytes, bytes, bytes]], ended_ns: int) -> Block | None:
    """A block of what a checkout wrote; None where that is nothing, or does not come in order."""
    paths, stamps, digests, flags = Column(), Column(), Column(), bytearray()
    last = b""
    for path, stamp, digest in written:
        if path <= last:
            return None
        last = path
        paths += b"\0" + path if flags else path
        stamps += stamp
        digests += digest
        flags.append(_trust(stamp, ended_ns) | OWNED)
    return whole_block(paths, stamps, digests, flags) if flags else None


def _rows_of(files: Picked, stamps: Column, digests: Column, hashed_at_ns: int) -> Iterator[CacheRow]:
    for number, path in enumerate(files.each_path()):
        stamp = stamps[STAMP.size * number : STAMP.size * (number + 1)]
        digest = digests[DIGEST_BYTES * number : DIGEST_BYTES * (number + 1)]
        yield CacheRow(to_file(path, stamp), digest, hashed_at_ns)


def _as_row(path: bytes, stamp: bytes, digest: bytes, flags: int) -> CacheRow:
    return CacheRow(to_file(path, stamp), digest, 0, bool(flags & OWNED))
