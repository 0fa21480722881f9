"""Which packs this machine has put and no log entry names yet, so that who was interrupted goes on.

A writer notes each pack that it has put in a small file of its own, which it holds locked while it
lives, and removes the file when its entry is there. The next writer to the same repository finds
the files of the dead, reads the footers of their packs back, and takes what is in them as stored.

Losing a file costs only work done again. What a file names is believed of no pack that is missing,
damaged, or marked for collection; and before an entry relies on one, the writer looks again
whether it is marked.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

from dataver.chunk_index import ChunkIndex
from dataver.column import Column
from dataver.config import cache_folder
from dataver.digest import DIGEST_BYTES, Digest
from dataver.erased import erasures
from dataver.errors import BadInputError, DamagedError, EnvironmentFaultError, NewerFormatError, NotFoundError
from dataver.format.segment import Place, Segment
from dataver.keys import pack_key
from dataver.log.state import State
from dataver.packs import StoredPack, random_nonce, read_footer
from dataver.private import make_folder
from dataver.segments import segment_over
from dataver.session import Session
from dataver.store.base import Store, innermost

NAME_BYTES = 2 * DIGEST_BYTES + 1
NAMES_MAX = 100_000
"""A file with more was not written by this program."""
READS_AT_ONCE = 16
AGE_S_MAX = 7 * 86_400.0
"""Older files are removed: what they name would be looked up in vain, once collected, at each commit."""


@runtime_checkable
class ReliesOnNames(Protocol):
    """A store in which a name may be seen before it is durable."""

    def rely_on(self, key: str) -> None:
        """Make the name of an object that another process put durable with the next barrier."""


class Journal:
    """The packs that one writer has put, and those that it found of interrupted ones. Used once.

    Repositories in memory have none: their packs end with the process.
    """

    def __init__(self, session: Session) -> None:
        self._store = session.store
        self._folder = None if self._store.url.startswith("memory:") else _folder(session.repository)
        self._lock = threading.Lock()
        self._own: int | None = None
        self._own_path: Path | None = None
        self._held: dict[Path, int] = {}
        self._left: dict[Path, list[Digest]] = {}
        self._settled: set[bytes] = set()

    def note(self, name: Digest) -> None:
        """A pack was put. For several threads. A cache folder that cannot be written is no error."""
        if self._folder is None:
            return
        with self._lock, suppress(OSError):
            if self._own is None:
                self._begin(self._folder)
            assert self._own is not None
            os.write(self._own, f"{name}\n".encode())

    def _begin(self, folder: Path) -> None:
        """Make the file of this writer; others see it only when it is locked."""
        name = os.urandom(16).hex()
        hidden = folder / f".{name}"
        make_folder(folder)
        descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.replace(hidden, folder / name)
        except OSError:
            os.close(descriptor)
            raise
        self._own, self._own_path = descriptor, folder / name

    def adopt(self, state: State, index: ChunkIndex) -> list[StoredPack]:
        """The packs of interrupted writers that are there, whole at their ends, and not marked in `state`.

        Nor any that has bytes which were erased.

        Nobody else takes them before `close`. Those that `index` names already are left out.
        """
        names = self._take()
        if not names:
            return []
        from concurrent.futures import ThreadPoolExecutor

        marked = state.marked()
        with ThreadPoolExecutor(READS_AT_ONCE, thread_name_prefix="dataver-resume") as pool:
            found = list(pool.map(self._read, [name for name in names if name not in marked]))
        adopted = []
        erased = erasures(state)
        for entry in found:
            if entry is None or (erased and erased.first(_split(entry.digests)) is not None):
                continue
            first = index.find(entry.digests[:DIGEST_BYTES])
            if first is not None and first.pack == entry.name:
                self._settled.add(entry.name)
            else:
                adopted.append(entry)
        return adopted

    def _read(self, name: Digest) -> StoredPack | None:
        try:
            footer, size_bytes = read_footer(self._store, name)
        except (NotFoundError, DamagedError, NewerFormatError):
            self._settled.add(name)
            return None
        return StoredPack(name, size_bytes, footer.frames, footer.lengths, Column(footer.digests))

    def close(self, named: Collection[bytes] | None) -> None:
        """Let go of the files. `named` are the packs that a log entry names now; None: none was made.

        With an entry, the file of this writer goes, and those found keep only what is not named yet.
        """
        with self._lock, suppress(OSError):
            if named is not None and self._own_path is not None:
                self._own_path.unlink(missing_ok=True)
            for path, names in self._left.items() if named is not None else ():
                done = self._settled.union(named or ())
                left = [name for name in names if name not in done]
                if not left:
                    path.unlink(missing_ok=True)
                elif len(left) < len(names):
                    data = "".join(f"{name}\n" for name in left).encode()
                    temporary = path.with_name(f".{os.urandom(16).hex()}")
                    temporary.write_bytes(data)
                    os.replace(temporary, path)
        for descriptor in (*self._held.values(), self._own):
            if descriptor is not None:
                os.close(descriptor)
        self._held, self._own = {}, None

    def _take(self) -> list[Digest]:
        """The names in the files whose writers are dead; the files stay locked."""
        names: dict[Digest, None] = {}
        if self._folder is None:
            return []
        try:
            paths = [path for path in sorted(self._folder.iterdir()) if not path.name.startswith(".")]
        except OSError:
            return []
        for path in paths:
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    if time.time() - os.fstat(descriptor).st_mtime > AGE_S_MAX:
                        path.unlink()
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    os.close(descriptor)
                    continue
                self._held[path] = descriptor
                self._left[path] = _parse(os.pread(descriptor, NAME_BYTES * NAMES_MAX, 0))
                names.update(dict.fromkeys(self._left[path]))
        return list(names)


class ResumedIndex(ChunkIndex):
    """An index that also knows what is in adopted packs, and notes which of them it was asked for.

    `used` are the packs that an entry must name if it relies on the answers; `plain_bytes` and
    `stored_bytes` are those of the chunks that were found in them. Safe for several threads.
    """

    def __init__(self, index: ChunkIndex, store: Store, adopted: Iterable[StoredPack]) -> None:
        super().__init__(store, index.names, relied=index.relied)
        self._below = index
        self._packs = {pack.name: pack for pack in adopted}
        data = segment_over(list(self._packs.values()), random_nonce())
        self._segment = Segment(data, "the index of interrupted writers' packs")
        self._asked = bytearray(self._segment.key_count)

    @property
    def names(self) -> list[bytes]:
        """The segments below; one that stands for the adopted packs, so that this is never empty."""
        return [*self._below.names, bytes(DIGEST_BYTES)]

    @property
    def adopted(self) -> Collection[bytes]:
        """The names of the adopted packs."""
        return self._packs.keys()

    @property
    def faults(self) -> list[DamagedError]:
        return self._below.faults

    @property
    def used(self) -> list[StoredPack]:
        """The adopted packs in which something was found."""
        names = {place.pack for place in self._places()}
        return [pack for name, pack in self._packs.items() if name in names]

    @property
    def plain_bytes(self) -> int:
        """The bytes of the chunks that were found in adopted packs."""
        return sum(place.length for place in self._places())

    @property
    def stored_bytes(self) -> int:
        """The bytes of the adopted packs in which something was found."""
        return sum(pack.size_bytes for pack in self.used)

    def find(self, digest: bytes) -> Place | None:
        return self.find_many(digest)[0]

    def find_many(self, digests: bytes) -> list[Place | None]:
        found = self._below.find_many(digests)
        missing = [number for number, place in enumerate(found) if place is None]
        if not missing:
            return found
        wanted = [digests[DIGEST_BYTES * number : DIGEST_BYTES * (number + 1)] for number in missing]
        for number, position in zip(missing, self._segment.positions(b"".join(wanted)), strict=True):
            if position >= 0:
                found[number] = self._segment.place(position)
                self._asked[position] = 1
        return found

    def _places(self) -> Iterator[Place]:
        return (self._segment.place(position) for position, asked in enumerate(self._asked) if asked)


def rely_on(store: Store, packs: Iterable[StoredPack]) -> None:
    """See that the names of packs that others put are durable before the next entry is visible."""
    inner = innermost(store)
    if isinstance(inner, ReliesOnNames):
        for pack in packs:
            inner.rely_on(pack_key(pack.name))


def _folder(repository: str) -> Path | None:
    try:
        return cache_folder() / "uploads" / repository
    except EnvironmentFaultError:
        return None


def _split(digests: bytes | Column) -> Iterator[bytes]:
    return (digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES))


def _parse(data: bytes) -> list[Digest]:
    """The names in a file; its last line may be cut short."""
    names = []
    for line in data.decode("ascii", "replace").split("\n"):
        with suppress(BadInputError):
            names.append(Digest.parse(line))
    return names
