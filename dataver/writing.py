"""Writing a version's files below a folder, every byte verified, by several threads.

A file is written under a temporary name in its folder and renamed when its digest is right. What may
be replaced was decided before.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from typing import TypeVar

from dataver.errors import DamagedError
from dataver.filling import fill
from dataver.format.segment import Place
from dataver.hashing import blake3_digest
from dataver.objects import Objects
from dataver.paths import safe_spelling
from dataver.progress import Progress
from dataver.reading import blocks
from dataver.source.columns import STAMP_EXECUTABLE, pack_stamp
from dataver.store.base import View
from dataver.targets import OtherBytesError, Target, WholeFile, write_buffers
from dataver.tree.manifest import FILE, REFERENCE, SYMLINK, Entry

BATCH_FILES = 256
BATCH_BYTES = 8 << 20
READ_BACK_BYTES_MIN = 1 << 20
"""Of shorter files the bytes are hashed on their way: they fit the processor's cache, and calls cost more."""
INTERRUPTED_S = 0.1
"""So soon Ctrl-C is seen also where a library has put a handler by which a wait goes on."""

_Item = TypeVar("_Item")


class EntryWriter:
    """Writes files and symlinks below `root`. Used once.

    `rows` are the path, stamp and digest of what was written, also where `write` raised.
    """

    def __init__(self, root: bytes, jobs: int, progress: Progress) -> None:
        self.rows: list[tuple[bytes, bytes, bytes]] = []
        self.written_bytes = 0
        self._root = root
        self._jobs = jobs
        self._progress = progress
        self._lock = threading.Lock()
        self._stopped = False

    def written(self, entry: Entry, found: os.stat_result, size: int) -> None:
        """An entry is in its place, after `size` bytes were written for it."""
        kind = SYMLINK if entry.kind == SYMLINK else FILE | (STAMP_EXECUTABLE if entry.executable else 0)
        stamp = pack_stamp(kind, entry.size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        with self._lock:
            self.rows.append((entry.path, stamp, entry.digest))
            self.written_bytes += size
            self._progress.advance(1, size)

    def write(self, files: list[Entry], objects: Objects) -> None:
        """Write all of them, which are no folders. `OSError`s are of the folder, and what is done stays."""
        large = [entry for entry in files if entry.kind == REFERENCE or entry.chunks is not None]
        small = [entry for entry in files if not (entry.kind == REFERENCE or entry.chunks is not None)]
        # Threads that write a file together have to wait for each other: only where some would be idle.
        long = sum(entry.size >= READ_BACK_BYTES_MIN for entry in large)
        helpers = self._jobs // long if 0 < long < self._jobs else 0
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="dataver-checkout") as pool:
            try:  # From the first file on: an interrupt may come before the last one is handed over.
                work = [pool.submit(self._write_large, entry, objects, helpers) for entry in large]
                batches = _apart(list(self._batches(small, objects)), self._jobs)
                work += [pool.submit(self._write_batch, batch, objects) for batch in batches]
                for future in work:
                    while wait([future], INTERRUPTED_S).not_done:
                        pass
                    future.result()
            except BaseException:
                self._stopped = True
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _batches(self, entries: list[Entry], objects: Objects) -> Iterator[list[tuple[Entry, Place | None]]]:
        """Small files with their places, in the order of the packs, so that reads run on."""
        filled = [entry for entry in entries if entry.size]
        places = objects.places(b"".join(entry.digest for entry in filled)) if filled else []
        order = sorted(
            zip(filled, places, strict=True),
            key=lambda item: (item[1].pack, item[1].frame_offset, item[1].offset),
        )
        batch: list[tuple[Entry, Place | None]] = [(entry, None) for entry in entries if not entry.size]
        size = 0
        for entry, place in order:
            batch.append((entry, place))
            size += entry.size
            if size >= BATCH_BYTES or len(batch) >= BATCH_FILES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _write_batch(self, batch: list[tuple[Entry, Place | None]], objects: Objects) -> None:
        filled = [entry for entry, place in batch if place is not None]
        places = [place for _, place in batch if place is not None]
        contents = dict(objects.read_files([entry.digest for entry in filled], places))
        # In the order of the paths: neighbours in a folder are written by one call.
        work = sorted(
            [(entry, contents[number]) for number, entry in enumerate(filled)]
            + [(entry, b"") for entry, place in batch if place is None],
            key=lambda item: item[0].path,
        )
        links = [item for item in work if item[0].kind == SYMLINK]
        files = [item for item in work if item[0].kind != SYMLINK]
        with Target(self._root) as target:
            for entry, data in links:
                if blake3_digest(data) != entry.digest:
                    raise _damaged(entry, objects)
                self.written(entry, target.symlink(entry.path, bytes(data)), len(data))
            self._write_files(target, files, objects)

    def _write_files(self, target: Target, files: list[tuple[Entry, View]], objects: Objects) -> None:
        rows: list[tuple[bytes, bytes, bytes]] = []
        size = 0
        wanted = [WholeFile(entry.path, entry.executable, entry.digest, data) for entry, data in files]
        try:
            for (entry, _), stamp in zip(files, target.write_files(wanted), strict=True):
                rows.append((entry.path, stamp, entry.digest))
                size += entry.size
        except OtherBytesError as error:
            raise _damaged(files[error.number][0], objects) from None
        finally:
            with self._lock:
                self.rows += rows
                self.written_bytes += size
                self._progress.advance(len(rows), size)

    def _write_large(self, entry: Entry, objects: Objects, helpers: int) -> None:
        def copy(fd: int) -> None:
            if entry.kind != REFERENCE and entry.size >= READ_BACK_BYTES_MIN:
                fill(entry, objects, fd, helpers=helpers, advance=self._advance)
                return
            for buffers in blocks(entry, objects):
                write_buffers(fd, buffers)
                self._advance(sum(map(len, buffers)))

        with Target(self._root) as target:
            found = target.write(entry.path, entry.executable, copy)
        with self._lock:
            self._progress.advance(0, -entry.size)
        self.written(entry, found, entry.size)

    def _advance(self, size_bytes: int) -> None:
        """So many bytes more of a large file are there. Ends the file's work where all is to end."""
        with self._lock:
            if self._stopped:
                raise CancelledError
            self._progress.advance(0, size_bytes)


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
