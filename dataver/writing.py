"""Writing a version's files below a folder, every byte verified, by several threads.

A file is written under a temporary name in its folder and renamed when its digest is right. What may
be replaced was decided before.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from functools import partial
from heapq import merge
from itertools import chain, compress, islice
from typing import TypeVar

from dataver.column import Column
from dataver.errors import DamagedError
from dataver.filling import fill
from dataver.format.segment import Place
from dataver.hashing import blake3_digest
from dataver.objects import Objects
from dataver.paths import safe_spelling
from dataver.progress import Progress
from dataver.reading import blocks
from dataver.source.base import SourceFile
from dataver.source.columns import STAMP, STAMP_EXECUTABLE, cut, pack_stamp
from dataver.store.base import View
from dataver.targets import NOT_WRITTEN, OtherBytesError, Target, WholeFile, write_buffers
from dataver.tree.files import FileColumns
from dataver.tree.manifest import FILE, REFERENCE, SYMLINK, Entry
from dataver.values import NamedTuple

BATCH_FILES = 256
BATCH_BYTES = 8 << 20
WAITING_MAX = 64
"""So many batches, or large files, are handed to the threads ahead of their turn."""
PLACED_TOGETHER = 16_384
"""So many files have their places in memory, and are read in the order of the packs."""
READ_BACK_BYTES_MIN = 1 << 20
"""Of shorter files the bytes are hashed on their way: they fit the processor's cache, and calls cost more."""
INTERRUPTED_S = 0.1
"""So soon Ctrl-C is seen also where a library has put a handler by which a wait goes on."""

_STAMPS_TOGETHER = 1_024

Written = tuple[bytes, bytes, bytes]
"""The path, the stamp and the digest of a file that was written."""

_Item = TypeVar("_Item")


class _Small(NamedTuple):
    """A small file: its position among all, and where its bytes are; None where it has none."""

    at: int
    entry: Entry
    place: Place | None


class EntryWriter:
    """Writes files and symlinks below `root`. Used once."""

    def __init__(self, root: bytes, jobs: int, progress: Progress) -> None:
        self.written_bytes = 0
        self._root = root
        self._jobs = jobs
        self._progress = progress
        self._lock = threading.Lock()
        self._stopped = False
        self._failed = False
        self._files: Sequence[Entry] = ()
        self._seen: Mapping[bytes, SourceFile] | None = None
        self._stamps = Column()
        self._done = bytearray()
        self._others: list[Written] = []

    def rows(self) -> Iterator[Written]:
        """What was written, also where `write` raised. By path, if `write` was given the files so."""
        some = self._stamps.blocks(_STAMPS_TOGETHER * STAMP.size)
        stamps = chain.from_iterable(cut(block, STAMP.size) for block in some)
        every = zip(compress(self._files, self._done), compress(stamps, self._done), strict=True)
        small = ((entry.path, stamp, entry.digest) for entry, stamp in every)
        return merge(small, sorted(self._others)) if self._others else small

    def written(self, entry: Entry, found: os.stat_result | None, size: int) -> None:
        """An entry is in its place, after `size` bytes were written for it; None: by somebody else."""
        if found is None:
            with self._lock:
                self._progress.advance(1, size)
            return
        # As it is there: some file systems have no such bit, or give it to all.
        executable = STAMP_EXECUTABLE if found.st_mode & stat.S_IXUSR else 0
        kind = SYMLINK if entry.kind == SYMLINK else FILE | executable
        stamp = pack_stamp(kind, entry.size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        with self._lock:
            self._others.append((entry.path, stamp, entry.digest))
            self.written_bytes += size
            self._progress.advance(1, size)

    def write(
        self, files: Sequence[Entry], objects: Objects, seen: Mapping[bytes, SourceFile] | None = None
    ) -> None:
        """Write all of them, which are no folders. `OSError`s are of the folder, and what is done stays.

        `seen` is what may be replaced, or None where all may be: see `Target`.
        """
        self._files, self._seen = files, seen
        self._stamps, self._done = Column(), bytearray(len(files))
        for start in range(0, len(files), _STAMPS_TOGETHER):
            self._stamps += bytes(STAMP.size * min(_STAMPS_TOGETHER, len(files) - start))
        # Threads that write a file together have to wait for each other: only where some would be idle.
        sizes = (
            files.special_sizes() if isinstance(files, FileColumns) else (one.size for one in self._large())
        )
        long = len(list(islice((size for size in sizes if size >= READ_BACK_BYTES_MIN), self._jobs)))
        helpers = self._jobs // long if 0 < long < self._jobs else 0
        work = chain(
            (partial(self._write_large, entry, objects, helpers) for entry in self._large()),
            (partial(self._write_batch, batch, objects) for batch in self._batches(objects)),
        )
        slots = threading.Semaphore(WAITING_MAX)
        begun: deque[Future[None]] = deque()
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="dataver-checkout") as pool:
            try:  # From the first file on: an interrupt may come before the last one is handed over.
                for piece in work:
                    while not slots.acquire(timeout=INTERRUPTED_S):
                        pass
                    if self._failed:
                        break
                    begun.append(pool.submit(piece))
                    begun[-1].add_done_callback(self._look_at)
                    begun[-1].add_done_callback(lambda _: slots.release())
                    while begun and begun[0].done():
                        begun.popleft().result()
                for future in begun:
                    while wait([future], INTERRUPTED_S).not_done:
                        pass
                    future.result()
            except BaseException:
                self._stopped = True
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _large(self) -> Iterator[Entry]:
        """The files that are written one by one."""
        some = self._files.special() if isinstance(self._files, FileColumns) else self._files
        return filter(_is_large, some)

    def _look_at(self, future: Future[None]) -> None:
        if future.cancelled() or future.exception() is not None:
            self._failed = True  # Nothing more is begun.

    def _batches(self, objects: Objects) -> Iterator[list[_Small]]:
        """The small files in batches, as many at a time as may have their places in memory."""
        for start in range(0, len(self._files), PLACED_TOGETHER):
            some = enumerate(self._files[start : start + PLACED_TOGETHER], start)
            small = [(at, entry) for at, entry in some if not _is_large(entry)]
            yield from _apart(list(_in_packs(small, objects)), self._jobs)

    def _write_batch(self, batch: list[_Small], objects: Objects) -> None:
        filled = [one for one in batch if one.place is not None]
        digests = [one.entry.digest for one in filled]
        places = [one.place for one in filled if one.place is not None]
        contents: dict[int, View] = {
            filled[number].at: data for number, data in objects.read_files(digests, places)
        }
        # In the order of the paths: neighbours in a folder are written by one call.
        work = sorted(batch, key=lambda one: one.entry.path)
        files = [(one.at, one.entry, contents.get(one.at, b"")) for one in work if one.entry.kind != SYMLINK]
        with Target(self._root, self._seen) as target:
            for one in work:
                entry, data = one.entry, contents.get(one.at, b"")
                if entry.kind != SYMLINK:
                    continue
                if blake3_digest(data) != entry.digest:
                    raise _damaged(entry, objects)
                leads_to = bytes(data)
                if b"\0" in leads_to:
                    raise DamagedError(
                        f"{safe_spelling(entry.path)} is a symlink to '{safe_spelling(leads_to)}', which "
                        "cannot be: nothing has a NUL byte in its name; leave it out with --exclude"
                    )
                self.written(entry, target.symlink(entry.path, leads_to), len(data))
            self._write_files(target, files, objects)

    def _write_files(self, target: Target, files: list[tuple[int, Entry, View]], objects: Objects) -> None:
        stamps: list[bytes] = []
        size = 0
        wanted = [WholeFile(entry.path, entry.executable, entry.digest, data) for _, entry, data in files]
        try:
            for (_, entry, _), stamp in zip(files, target.write_files(wanted), strict=True):
                stamps.append(stamp)
                size += entry.size
        except OtherBytesError as error:
            raise _damaged(files[error.number][1], objects) from None
        finally:
            with self._lock:
                self._keep([(at, stamp) for (at, _, _), stamp in zip(files, stamps, strict=False)])
                self.written_bytes += size
                self._progress.advance(len(stamps), size)

    def _keep(self, stamps: list[tuple[int, bytes]]) -> None:
        """Keep the stamps of files, by their positions: of those that follow each other together."""
        start, run = 0, bytearray()
        for at, stamp in stamps:
            if stamp == NOT_WRITTEN:
                continue
            self._done[at] = 1
            if STAMP.size * at != start + len(run):
                self._stamps.put(start, bytes(run))
                start, run = STAMP.size * at, bytearray()
            run += stamp
        self._stamps.put(start, bytes(run))

    def _write_large(self, entry: Entry, objects: Objects, helpers: int) -> None:
        with Target(self._root, self._seen) as target:
            copy = partial(self._copy, entry, objects, helpers)
            found = target.write(entry.path, entry.executable, entry.digest, copy)
        with self._lock:
            self._progress.advance(0, -entry.size)
        self.written(entry, found, entry.size)

    def _copy(self, entry: Entry, objects: Objects, helpers: int, fd: int) -> None:
        if entry.kind != REFERENCE and entry.size >= READ_BACK_BYTES_MIN:
            fill(entry, objects, fd, helpers=helpers, advance=self._advance)
            return
        for buffers in blocks(entry, objects):
            write_buffers(fd, buffers)
            self._advance(sum(map(len, buffers)))

    def _advance(self, size_bytes: int) -> None:
        """So many bytes more of a large file are there. Ends the file's work where all is to end."""
        with self._lock:
            if self._stopped:
                raise CancelledError
            self._progress.advance(0, size_bytes)


def _is_large(entry: Entry) -> bool:
    return entry.kind == REFERENCE or entry.chunks is not None


def _in_packs(small: list[tuple[int, Entry]], objects: Objects) -> Iterator[list[_Small]]:
    """Batches of files with their places, in the order of the packs, so that reads run on."""
    filled = [(at, entry) for at, entry in small if entry.size]
    places = objects.places(b"".join([entry.digest for _, entry in filled])) if filled else []
    order = sorted(
        zip(filled, places, strict=True),
        key=lambda item: (item[1].pack, item[1].frame_offset, item[1].offset),
    )
    batch = [_Small(at, entry, None) for at, entry in small if not entry.size]
    size = 0
    for (at, entry), place in order:
        batch.append(_Small(at, entry, place))
        size += entry.size
        if size >= BATCH_BYTES or len(batch) >= BATCH_FILES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _damaged(entry: Entry, objects: Objects) -> DamagedError:
    objects.chunk(entry.digest)  # Says which object it is, if it is still damaged.
    return DamagedError(
        f"{safe_spelling(entry.path)} was read wrong once; check this machine's memory and disk"
    )


def _apart(batches: list[_Item], jobs: int) -> list[_Item]:
    """The batches in an order in which those of one time lie far apart.

    Neighbours go to one folder, and one file at a time is made in a folder.
    """
    stretch = -(-len(batches) // jobs)
    return [batch for start in range(stretch) for batch in batches[start::stretch]]
