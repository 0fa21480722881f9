"""Filling a file with the bytes of a stored one, and proving what then stands in it.

What is stored as it is goes through one buffer of each thread, where the store can read into that; what is
compressed is decoded and written some frames at a time. The digest is taken over what is read back
from the file, so it covers the bytes that the user gets, however they came there. Reading back costs
less than it seems: the pages are there, and the buffer they are copied to stays in the processor's
cache, where decoded frames waiting for their turn would not.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import groupby, islice

from dataver.chunk_index import joined, span_of
from dataver.compression import Codec
from dataver.digest import Digest
from dataver.errors import DamagedError
from dataver.format.chunk_list import ListRow
from dataver.format.segment import Place
from dataver.hashing import FileHasher
from dataver.objects import Objects
from dataver.paths import safe_spelling
from dataver.reading import damaged_chunk, file_rows
from dataver.targets import write_at
from dataver.tree.manifest import Entry
from dataver.values import NamedTuple

PART_CHUNKS = 128
"""A part is what one thread looks up and writes at a time."""
RUN_BYTES_MAX = 1 << 20
"""About so many bytes are decoded before they are written: more would not stay in the processor's cache."""
COPY_BYTES_MIN = 256 << 10
"""Fewer raw bytes between compressed ones are read with those."""
READ_BACK_BYTES = 1 << 20
PARTS_WAITING_MAX = 4

Advance = Callable[[int], None]


class _Part(NamedTuple):
    """Neighbouring chunks of the file, and where in it the first begins."""

    start: int
    rows: list[ListRow]

    @property
    def stop(self) -> int:
        return self.start + sum(row.size_bytes for row in self.rows)


def fill(entry: Entry, objects: Objects, fd: int, *, helpers: int, advance: Advance) -> None:
    """Write all bytes of a stored file to the empty file open at `fd` for reading and writing.

    They are compared by the file's digest: only what returns without `DamagedError` counts. With
    `helpers`, so many threads write while this one reads back and hashes; without, this one does
    all, which is quicker where other files keep the other processors busy. `advance` is told in
    this thread how many bytes more are hashed, and may raise to end the work. `OSError`s are of the file.
    """
    filler = _Filler(objects, fd)
    check = _ReadBack(fd, min(entry.size, READ_BACK_BYTES))
    parts = _parts(entry, objects)
    steps = filler.write_with(helpers, parts) if helpers else filler.write_all(parts)
    with closing(steps):  # No helper writes any more when this function ends, however it does.
        for stop in steps:
            advance(check.up_to(stop))
    if check.size_bytes != entry.size or check.hasher.digest() != entry.digest:
        raise damaged_chunk(entry, objects) or DamagedError(
            f"{safe_spelling(entry.path)} as written does not match its digest {Digest(entry.digest)}, "
            "though each of its chunks does; check this machine's memory and disk, then run "
            "`dataver verify --deep`"
        )


def _parts(entry: Entry, objects: Objects) -> Iterator[_Part]:
    rows = file_rows(entry, objects)
    while found := list(islice(rows, PART_CHUNKS)):
        yield _Part(found[0][0], [row for _, row in found])


class _ReadBack:
    """Hashes the file from its beginning, as far as it was written."""

    def __init__(self, fd: int, buffer_bytes: int) -> None:
        self.hasher = FileHasher()
        self.size_bytes = 0
        self._fd = fd
        self._buffer = memoryview(bytearray(buffer_bytes))

    def up_to(self, stop: int) -> int:
        """Read on until byte `stop`; how many bytes that were."""
        start = self.size_bytes
        while self.size_bytes < stop:
            wanted = self._buffer[: stop - self.size_bytes]
            count = os.preadv(self._fd, [wanted], self.size_bytes)
            if not count:
                break  # Somebody cut the file: the digest will say that it is not whole.
            self.hasher.update(wanted[:count])
            self.size_bytes += count
        return self.size_bytes - start


class _Filler:
    """Writes parts where they belong in the file. `write` is safe for several threads."""

    def __init__(self, objects: Objects, fd: int) -> None:
        self._objects = objects
        self._fd = fd
        self._local = threading.local()

    def write_all(self, parts: Iterator[_Part]) -> Generator[int, None, None]:
        """Write part after part; gives up to where the file is written, some times in each."""
        for part in parts:
            yield from self.write(part)

    def write_with(self, helpers: int, parts: Iterator[_Part]) -> Generator[int, None, None]:
        """Have other threads write; gives up to where the file is written, in order."""
        waiting: deque[tuple[int, Future[None]]] = deque()
        with ThreadPoolExecutor(helpers, thread_name_prefix="dataver-fill") as pool:
            try:
                for part in parts:
                    waiting.append((part.stop, pool.submit(self._write_whole, part)))
                    if len(waiting) >= helpers + PARTS_WAITING_MAX:
                        yield _done(waiting.popleft())
                while waiting:
                    yield _done(waiting.popleft())
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _write_whole(self, part: _Part) -> None:
        for _ in self.write(part):
            pass

    def write(self, part: _Part) -> Iterator[int]:
        """Write one part, run after run; gives the end of each run."""
        places = self._objects.places(b"".join(row.digest for row in part.rows))
        for row, place in zip(part.rows, places, strict=True):
            if place.length != row.size_bytes:
                raise self._objects.damaged(row.digest, "its length is not the one in the list of chunks")
        start = part.start
        for first, end, copied in _runs(places):
            run = places[first:end]
            stop = start + sum(place.length for place in run)
            done = start
            if copied:
                for done in self._copy(run, start):
                    yield done
            if done < stop:
                digests = b"".join(row.digest for row in part.rows[first:end])
                write_at(self._fd, self._objects.read(digests, run), start)
                yield stop
            start = stop

    def _copy(self, run: Sequence[Place], start: int) -> Iterator[int]:
        """Write a run of raw chunks of one pack; gives the end of each portion. Ends early if it cannot."""
        buffer: memoryview | None = getattr(self._local, "buffer", None)
        if buffer is None:
            # Of each thread one: to touch memory for the first time costs more than to copy it.
            buffer = self._local.buffer = memoryview(bytearray(RUN_BYTES_MAX))
        for ranges in _portions(joined(map(span_of, run)), start):
            portion = buffer[: sum(length for _, length in ranges)]
            if not self._objects.read_into(run[0].pack, ranges, portion):
                return
            write_at(self._fd, [portion], start)
            start += len(portion)
            yield start


def _done(part: tuple[int, Future[None]]) -> int:
    part[1].result()
    return part[0]


class _Run(NamedTuple):
    """Places `first` to `end` of a part, which are written together; `copied`, if the store can do that."""

    first: int
    end: int
    copied: bool


def _runs(places: Sequence[Place]) -> Iterator[_Run]:
    """Long stretches of raw chunks of one pack, to be copied, and what is between them, a few frames each."""
    begin = first = 0
    for (_, raw), stretch in groupby(places, lambda place: (place.pack, place.codec == Codec.RAW)):
        lengths = [place.length for place in stretch]
        end = first + len(lengths)
        if raw and sum(lengths) >= COPY_BYTES_MIN:
            yield from _frames(places, begin, first)
            yield _Run(first, end, copied=True)
            begin = end
        first = end
    yield from _frames(places, begin, len(places))


def _frames(places: Sequence[Place], first: int, end: int) -> Iterator[_Run]:
    """Runs of about `RUN_BYTES_MAX` that end where a frame does."""
    size = 0
    for number in range(first, end):
        if size >= RUN_BYTES_MAX and places[number].frame_offset != places[number - 1].frame_offset:
            yield _Run(first, number, copied=False)
            first, size = number, 0
        size += places[number].length
    if first < end:
        yield _Run(first, end, copied=False)


def _portions(ranges: Sequence[tuple[int, int]], start: int) -> Iterator[list[tuple[int, int]]]:
    """Ranges that go to the file from byte `start` on, up to each multiple of `RUN_BYTES_MAX` in it.

    The kernel takes whole pages in large steps for less than it takes parts of them.
    """
    portion: list[tuple[int, int]] = []
    room = RUN_BYTES_MAX - start % RUN_BYTES_MAX
    for begin, length in ranges:
        while length:
            part = min(length, room)
            portion.append((begin, part))
            begin, length, room = begin + part, length - part, room - part
            if not room:
                yield portion
                portion, room = [], RUN_BYTES_MAX
    if portion:
        yield portion
