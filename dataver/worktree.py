"""What this machine knows of the folders it committed from and checked out to.

Two things, both in the user's cache folder and both keyed by real path: digests of files that did
not change since they were read (`StatCache`), and which version a folder is based on (`base`).
Neither is ever an error: what cannot be read back counts as unknown.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dataver.config import cache_folder, machine_id
from dataver.digest import DIGEST_BYTES, Digest
from dataver.hashing import blake3_digest, xxh3_64
from dataver.source.base import REMOTE_MTIME, REMOTE_TAG, SourceFile

__all__ = [
    "Base",
    "CacheRow",
    "StatCache",
    "announce_base",
    "announced_base",
    "base",
    "is_settled",
    "known_sources",
    "set_base",
]

FINE_GRAIN_NS = 100_000_000
COARSE_GRAIN_NS = 2_000_000_000
REMOTE_GRAIN_NS = 600_000_000_000
LOCK_TIMEOUT_S = 5.0

_MAGIC = f"dataver stat cache 1 {sys.byteorder}\n".encode()
_ANNOUNCED = "/announced"
_TRUSTED = 1
_OWNED = 2

_Stored = tuple[tuple[bytes, int, int, int, int, int, int], bytes, int]


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
        self._file = _folder() / (_key_name(key) + ".stat")
        self._stamp, self._rows = _load(self._file)

    def __len__(self) -> int:
        return len(self._rows)

    def lookup(self, files: Sequence[SourceFile]) -> list[bytes | None]:
        """The digest of each file that is certain to be what it was when last hashed, else `None`."""
        get = self._rows.get
        return [
            row[1] if (row := get(file[0])) is not None and row[0] == file and row[2] & _TRUSTED else None
            for file in files
        ]

    def recorded(self, path: bytes) -> CacheRow | None:
        """What was last recorded of a path, whether or not it still holds. `hashed_at_ns` is 0."""
        row = self._rows.get(path)
        return None if row is None else _as_row(row)

    def owned(self) -> list[CacheRow]:
        """What checkouts wrote, sorted by path. A file that differs from its digest is the user's again.

        Where `lookup` does not vouch for a file, its bytes have to be compared. `hashed_at_ns` is 0.
        """
        return [_as_row(row) for _, row in sorted(self._rows.items()) if row[2] & _OWNED]

    def paths(self) -> Collection[bytes]:
        """Every path recorded, in no order."""
        return self._rows.keys()

    def update(self, rows: Iterable[CacheRow], *, forget: Iterable[bytes] = ()) -> bool:
        """Take in rows, each in place of what was known of its path, drop the paths of `forget`, save.

        A row that is not `owned` leaves a checkout's ownership in place where the digest is the one
        the checkout wrote. Other processes' rows on other paths stay; of two rows on one path the
        later save wins. Saving is atomic and not forced to disk. False where it failed: nothing
        is lost but time, and for owned rows the right to replace those files unasked.
        """
        with _locked(self._file.parent):
            if _stamp(self._file) != self._stamp:
                self._stamp, self._rows = _load(self._file)
            known = self._rows
            for path in forget:
                known.pop(path, None)
            for file, digest, hashed_at_ns, owned in rows:
                path, _, _, _, mtime_ns, ctime_ns, inode = file
                coarse_ns = hashed_at_ns - COARSE_GRAIN_NS
                # Most files are older than any grain: asking that first halves the time of this loop.
                if mtime_ns < coarse_ns and ctime_ns < coarse_ns and inode < REMOTE_MTIME:
                    flags = _TRUSTED
                else:
                    flags = _TRUSTED if is_settled(file, hashed_at_ns) else 0
                if owned:
                    flags |= _OWNED
                elif (before := known.get(path)) is not None and before[1] == digest:
                    flags |= before[2] & _OWNED
                known[path] = (file, digest, flags)
            saved = _save(self._file, known)
            self._stamp = _stamp(self._file)
        return saved


def _as_row(row: _Stored) -> CacheRow:
    path, kind, executable, size, mtime_ns, ctime_ns, inode = row[0]
    file = SourceFile(path, kind, bool(executable), size, mtime_ns, ctime_ns, inode)
    return CacheRow(file, row[1], 0, bool(row[2] & _OWNED))


# The file: magic, xxh3-64 of the rest u64, rows u64, then one column after the other: flags, kinds
# and executable bits (a byte each), sizes, mtimes, ctimes, inodes (8 bytes each), digests (32), and
# the paths joined by NUL. Numbers in this machine's byte order, which the magic names.


def _save(file: Path, rows: dict[bytes, _Stored]) -> bool:
    try:
        payload = _encode(rows)
    except OverflowError:
        # A stamp outside of 64 bits, as somebody may set it: such files are hashed each time.
        fitting = {path: row for path, row in rows.items() if all(-(2**63) <= n < 2**63 for n in row[0][3:6])}
        payload = _encode(fitting)
    return _replace(file, [_MAGIC, xxh3_64(payload).to_bytes(8, sys.byteorder), payload], durable=False)


def _encode(rows: dict[bytes, _Stored]) -> bytes:
    count = len(rows)
    parts = [array("Q", [count]).tobytes()]
    if rows:
        files, digests, flags = zip(*rows.values(), strict=True)
        # Not by index: that is slow on named tuples, which CPython has no short way for.
        paths, kinds, executables, sizes, mtimes, ctimes, inodes = zip(*files, strict=True)
        parts += [bytes(flags), bytes(kinds), bytes(executables)]
        parts += [array("q", column).tobytes() for column in (sizes, mtimes, ctimes)]
        parts += [array("Q", inodes).tobytes(), b"".join(digests), b"\0".join(paths)]
        if len(parts[-2]) != DIGEST_BYTES * count:
            raise ValueError(f"a digest has {DIGEST_BYTES} bytes")
    return b"".join(parts)


def _load(file: Path) -> tuple[tuple[int, ...], dict[bytes, _Stored]]:
    """The rows of a cache file and the stamp of the file they are from. No rows where it is no good."""
    try:
        with open(file, "rb") as opened:
            stamp = _stamp_of(os.fstat(opened.fileno()))
            data = opened.read()
    except OSError:
        return (), {}
    head = len(_MAGIC) + 8
    view = memoryview(data)
    if not data.startswith(_MAGIC) or len(data) < head + 8:
        return stamp, {}
    if xxh3_64(view[head:]).to_bytes(8, sys.byteorder) != data[len(_MAGIC) : head]:
        return stamp, {}
    return stamp, _decode(data, head)


def _decode(data: bytes, offset: int) -> dict[bytes, _Stored]:
    (count,) = array("Q", data[offset : offset + 8])
    offset += 8
    fixed = 3 + 4 * 8 + DIGEST_BYTES
    if count == 0 or len(data) < offset + fixed * count:
        return {}

    def taken(width: int) -> bytes:
        nonlocal offset
        offset += width * count
        return data[offset - width * count : offset]

    flags, kinds, executables = taken(1), taken(1), taken(1)
    sizes, mtimes, ctimes = (array("q", taken(8)) for _ in range(3))
    inodes = array("Q", taken(8))
    digests = taken(DIGEST_BYTES)
    paths = data[offset:].split(b"\0")
    if len(paths) != count:
        return {}
    files = zip(paths, kinds, executables, sizes, mtimes, ctimes, inodes, strict=True)
    each = [digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)]
    return dict(zip(paths, zip(files, each, flags, strict=True), strict=True))


class Base(NamedTuple):
    """What the next changes of a source are measured against.

    `version` is the id of the version that it was last checked out from or committed as; None where
    it began with nothing. `own` are changes that it brought since to heads that others had moved, as
    pairs of ids: what differs from the first version to the second came from the source, while
    either holds more than the source does.
    """

    version: str | None
    own: tuple[tuple[str, str], ...] = ()

    @property
    def newest(self) -> str | None:
        """The last version that the source was committed as or checked out from."""
        return self.own[-1][1] if self.own else self.version

    def brought(self, onto: str, version: str) -> Base:
        """The base after the source's changes were put on top of the head `onto` as `version`."""
        if self.own and self.own[-1][1] == onto:
            return Base(self.version, (*self.own[:-1], (self.own[-1][0], version)))
        return Base(self.version, (*self.own, (onto, version)))


def base(key: bytes, repository_id: str, dataset: str) -> Base | None:
    """What this source is based on in a dataset, if it is known."""
    found = _read_base(_base_file(key, repository_id, dataset))
    return None if found is None else found[2]


def set_base(key: bytes, repository_id: str, dataset: str, base: Base) -> bool:
    """Remember what a source is based on, and forget what was announced. Durable; the last writer wins.

    False where it could not be written. The caller should warn: the next commit from there takes
    the head as its base, and so would undo what others changed meanwhile.
    """
    saved = _save_base(key, repository_id, dataset, dataset, base)
    with contextlib.suppress(OSError):
        os.unlink(_base_file(key, repository_id, dataset + _ANNOUNCED))
    return saved


def announce_base(key: bytes, repository_id: str, dataset: str, base: Base) -> bool:
    """Remember what a source will be based on if its `newest` version comes to be recorded.

    So a process that dies between recording and `set_base` leaves its source with the right base.
    """
    return _save_base(key, repository_id, dataset + _ANNOUNCED, dataset, base)


def announced_base(key: bytes, repository_id: str, dataset: str) -> Base | None:
    """What `announce_base` left. It counts only if the version is there."""
    return base(key, repository_id, dataset + _ANNOUNCED)


def _save_base(key: bytes, repository_id: str, line: str, dataset: str, base: Base) -> bool:
    import json

    text = json.dumps(
        {
            "path": key.decode("utf-8", "surrogateescape"),
            "repository": repository_id,
            "dataset": dataset,
            "version": base.version,
            "own": base.own,
            "used_ns": time.time_ns(),
        }
    )
    return _replace(_base_file(key, repository_id, line), [text.encode()], durable=True)


def known_sources(repository_id: str, dataset: str) -> list[bytes]:
    """The keys of all sources with a base in this dataset, the last used first. Some may be gone."""
    folder = _base_file(b"", repository_id, dataset).parent
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = [read for name in names if name.endswith(".json") and (read := _read_base(folder / name))]
    return [path for _, path, _ in sorted(found, reverse=True)]


def _read_base(file: Path) -> tuple[int, bytes, Base] | None:
    import json

    try:
        with open(file, "rb") as opened:
            content = json.loads(opened.read(1 << 20))
        used_ns, path, version = content["used_ns"], content["path"], content["version"]
        if not isinstance(used_ns, int) or not isinstance(path, str):
            return None
        own = tuple([(str(Digest.parse(old)), str(Digest.parse(new))) for old, new in content["own"]])
        known = Base(None if version is None else str(Digest.parse(version)), own)
        return used_ns, path.encode("utf-8", "surrogateescape"), known
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _base_file(key: bytes, repository_id: str, dataset: str) -> Path:
    history = blake3_digest(f"{repository_id}\0{dataset}".encode()).hex()
    return _folder() / "bases" / history / (_key_name(key) + ".json")


def _folder() -> Path:
    return cache_folder() / "worktrees"


def _key_name(key: bytes) -> str:
    # With the machine in it: a home folder may be shared by machines whose paths are not.
    return blake3_digest(machine_id().encode() + b"\0" + key).hex()


def _stamp(file: Path) -> tuple[int, ...]:
    try:
        return _stamp_of(os.stat(file))
    except OSError:
        return ()


def _stamp_of(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _replace(file: Path, parts: Sequence[bytes], *, durable: bool) -> bool:
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
