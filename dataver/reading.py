"""Reading the files of a version in blocks, verified as a whole; and in ranges, verified by chunk."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import accumulate, islice, pairwise
from typing import IO, TYPE_CHECKING, Protocol, TypeVar

from dataver.chunk_index import joined, span_of
from dataver.compression import Codec
from dataver.config import default_jobs
from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import DamagedError, DataverError
from dataver.format import chunk_list as list_format
from dataver.format.chunk_list import ListRow
from dataver.format.segment import Place
from dataver.hashing import FileHasher, Kind, blake3_digest
from dataver.hashing import digests as digests_of
from dataver.objects import Objects
from dataver.paths import safe_spelling
from dataver.store.base import View
from dataver.store.clients import file_system
from dataver.store.failures import from_client_error
from dataver.tree import chunk_list
from dataver.tree.manifest import REFERENCE, Entry
from dataver.values import NamedTuple

if TYPE_CHECKING:
    from concurrent.futures import Future

BLOCK_CHUNKS = 128
REFERENCE_BLOCK_BYTES = 8 << 20
REFERENCE_MEMORY_BYTES_MAX = 8 << 20
"""Up to so many bytes of a referenced file are held in memory while it is open, more on disk."""
FEW_CHUNKS = 4
"""So many chunks are read through the cache of frames, where a neighbour of theirs may have been."""
LISTS_KEPT = 256
RUN_BYTES_MAX = 1 << 20
"""About so many bytes are decoded before they are copied: more would not stay in the processor's cache."""
READ_BYTES_MAX = 8 << 20
"""Ranges that touch are read together up to so many bytes."""

_Done = TypeVar("_Done")


def file_rows(
    entry: Entry, objects: Objects, start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, ListRow]]:
    """The chunks of a file that overlap bytes `start` to `stop`, as (offset, chunk)."""
    root = entry.chunks
    if root is not None:
        yield from chunk_list.read(root, lambda digest: objects.record(Kind.CHUNK_LIST, digest), start, stop)
    elif entry.size and entry.size > start and (stop is None or stop > 0):
        yield 0, ListRow(entry.digest, entry.size)


def file_blocks(entry: Entry, objects: Objects) -> Iterator[list[View]]:
    """All bytes of a stored file in order, some chunks at a time.

    The file's digest is compared after the last block: what was given before counts only if the
    iteration ends without `DamagedError`. The next block is read while the caller is busy.
    """
    hasher, size = FileHasher(), 0
    rows = (row for _, row in file_rows(entry, objects))
    for block in _blocks(rows, objects):
        for data in block:
            hasher.update(data)
            size += len(data)
        yield block
    if size != entry.size or hasher.digest() != entry.digest:
        raise damaged_chunk(entry, objects) or DamagedError(
            f"{safe_spelling(entry.path)} does not match its digest {Digest(entry.digest)}, though each of "
            "its chunks does; run `dataver verify --deep`"
        )


def _blocks(rows: Iterator[ListRow], objects: Objects) -> Iterator[list[View]]:
    """The bytes of chunks, not verified, each block read while the one before is used."""
    batch, following = list(islice(rows, BLOCK_CHUNKS)), list(islice(rows, BLOCK_CHUNKS))
    if not following:
        # A thread would cost more than it saves.
        yield _read_block(batch, objects)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, thread_name_prefix="dataver-read-ahead") as pool:
        future = pool.submit(_read_block, batch, objects)
        while following:
            block = future.result()
            future = pool.submit(_read_block, following, objects)
            following = list(islice(rows, BLOCK_CHUNKS))
            yield block
        yield future.result()


def blocks(entry: Entry, objects: Objects) -> Iterator[list[View]]:
    """All bytes of a file in order, wherever it is. As `file_blocks`, which it is for a stored one."""
    return reference_blocks(entry) if entry.kind == REFERENCE else file_blocks(entry, objects)


def read_file(entry: Entry, objects: Objects) -> bytes:
    """All bytes of a file, verified by its digest."""
    if entry.kind == REFERENCE:
        return b"".join(data for block in reference_blocks(entry) for data in block)
    small = _read_small(entry, objects)
    if small is not None:
        return small
    if entry.chunks is None:
        data = bytes(objects.chunk(entry.digest)) if entry.size else b""
        if len(data) != entry.size:
            raise objects.damaged(entry.digest, f"it has {len(data)} bytes, the manifest says {entry.size}")
        return data
    return b"".join(data for block in file_blocks(entry, objects) for data in block)


def _read_small(entry: Entry, objects: Objects) -> bytes | None:
    """All bytes of a file of few chunks, verified by its digest.

    None for other files, and where they are not well, which the way of large ones says better.
    """
    digests, root = entry.digest, entry.chunks
    if not entry.size:
        return None
    if root is not None:
        node = objects.record(Kind.CHUNK_LIST, root)
        level, digests, _ = list_format.decode_columns(node, f"chunk list {Digest(root)}")
        if level or not 0 < len(digests) <= DIGEST_BYTES * FEW_CHUNKS:
            return None
    parts = objects.few(digests, once=True)
    if parts is None:
        return None
    data = bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
    return data if len(data) == entry.size and blake3_digest(data) == entry.digest else None


class ListNode(NamedTuple):
    """A decoded node of a list of chunks: where each row ends, and the rows' digests, 32 bytes each."""

    level: int
    ends: list[int]
    digests: bytes


Lists = Callable[[bytes], ListNode]


def list_cache(objects: Objects) -> Lists:
    """Decoded lists of chunks by digest; the last `LISTS_KEPT` of them are kept. For several threads."""

    def load(digest: bytes) -> ListNode:
        node = objects.record(Kind.CHUNK_LIST, digest)
        level, children, sizes = list_format.decode_columns(node, f"chunk list {Digest(digest)}")
        return ListNode(level, list(accumulate(sizes)), children)

    return lru_cache(LISTS_KEPT)(load)


class Ranges(Protocol):
    """Verified parts of one file."""

    def chunks(self, start: int, stop: int) -> tuple[int, Sequence[View]]:
        """Neighbouring buffers that cover bytes `start` to `stop`, and where in the file they begin.

        `start` < `stop`, both within the file.
        """

    def fill(self, start: int, target: memoryview) -> tuple[int, View] | None:
        """Write the bytes from `start` on to all of `target`, and give the last chunk and where it begins.

        None, with nothing promised of `target`, where `chunks` is as quick.
        """

    def whole(self) -> bytes:
        """All bytes, verified by the file's digest."""

    def close(self) -> None:
        """Let go of what is held for further reads."""


def file_ranges(entry: Entry, objects: Objects, lists: Lists) -> Ranges:
    """Ranges of a file, each chunk verified by its digest; a referenced file by its own, when it is used."""
    return ReferenceRanges(entry) if entry.kind == REFERENCE else StoredRanges(entry, objects, lists)


class StoredRanges:
    """Ranges of a stored file. Safe for several threads."""

    def __init__(self, entry: Entry, objects: Objects, lists: Lists) -> None:
        self._entry = entry
        self._objects = objects
        self._lists = lists
        self._root = entry.chunks

    def chunks(self, start: int, stop: int) -> tuple[int, Sequence[View]]:
        offset, rows = self._covering(start, stop)
        return offset, self._read(rows)

    def fill(self, start: int, target: memoryview) -> tuple[int, View] | None:
        """Runs of about `RUN_BYTES_MAX`, each decoded, verified and copied while it is in the cache.

        Several by as many threads as there are cores, each of which holds one run at a time.
        """
        if not self._objects.is_near:
            return None
        stop = start + len(target)
        offset, rows = self._covering(start, stop)
        places = self._objects.places(b"".join([row.digest for row in rows]))

        def fill_run(run: _Run) -> tuple[int, View]:
            at, own = run.offset, rows[run.first : run.stop]
            size = sum(row.size_bytes for row in own)
            # The last one is kept, and `target` is the caller's.
            if start <= at and run.stop < len(rows):
                part = target[at - start :][:size]
                if self._fill_raw(own, places[run.first : run.stop], part):
                    return at, b""
            block = self._objects.read(b"".join([row.digest for row in own]), places[run.first : run.stop])
            self._check(own, block)
            last = at
            for data in block:
                last, end = at, at + len(data)
                low, high = max(at, start), min(end, stop)
                target[low - start : high - start] = memoryview(data)[low - at : high - at]
                at = end
            return last, block[-1]

        return _by_threads(fill_run, list(_runs(offset, rows, places)))[-1]

    def _fill_raw(self, rows: list[ListRow], places: Sequence[Place], target: memoryview) -> bool:
        """Read chunks of one pack that are stored raw straight into `target`; False where they are not."""
        if len({place.pack for place in places}) > 1 or any(place.codec != Codec.RAW for place in places):
            return False
        spans = joined(map(span_of, places))
        if sum(length for _, length in spans) != len(target):
            return False
        if not self._objects.read_into(places[0].pack, spans, target):
            return False
        ends = list(accumulate((row.size_bytes for row in rows), initial=0))
        self._check(rows, [target[start:end] for start, end in pairwise(ends)])
        return True

    def _covering(self, start: int, stop: int) -> tuple[int, list[ListRow]]:
        """The chunks that cover bytes `start` to `stop`, and where the first begins."""
        if self._root is None:
            return 0, [ListRow(self._entry.digest, self._entry.size)]
        found = list(self._rows(self._root, 0, start, stop, None))
        rows = [row for _, row in found]
        ends = list(accumulate((row.size_bytes for row in rows), initial=found[0][0] if found else 0))
        if not found or ends[0] > start or ends[-1] < stop or [at for at, _ in found] != ends[:-1]:
            raise self._objects.damaged(self._root, "the chunks that it lists do not cover the file")
        return ends[0], rows

    def whole(self) -> bytes:
        return read_file(self._entry, self._objects)

    def close(self) -> None:
        pass

    def _rows(
        self, digest: bytes, offset: int, start: int, stop: int, expected_level: int | None
    ) -> Iterator[tuple[int, ListRow]]:
        level, ends, children = self._lists(digest)
        if expected_level is not None and level != expected_level:
            raise self._objects.damaged(digest, "it is on another level than its parent says")
        for number in range(bisect_right(ends, start - offset), len(ends)):
            begin = offset + (ends[number - 1] if number else 0)
            if begin >= stop:
                return
            child = children[32 * number : 32 * number + 32]
            if level:
                yield from self._rows(child, begin, start, stop, level - 1)
            else:
                yield begin, ListRow(child, offset + ends[number] - begin)

    def _read(self, rows: list[ListRow]) -> Sequence[View]:
        if len(rows) <= FEW_CHUNKS:
            block = self._read_few(rows) or [self._objects.chunk(row.digest) for row in rows]
            self._check_sizes(rows, block)
        else:
            block = _read_block(rows, self._objects)
            self._check(rows, block)
        return block

    def _read_few(self, rows: list[ListRow]) -> list[View] | None:
        """The chunks, neighbours read as one; None where that is not to be had, or they are not well."""
        parts = self._objects.few(b"".join([row.digest for row in rows]))
        if parts is None:
            return None
        block: list[View] = []
        part, at = memoryview(b""), 0
        following = iter(parts)
        for row in rows:
            if at == len(part):
                part, at = memoryview(next(following, b"")), 0
            block.append(part[at : at + row.size_bytes])
            at += row.size_bytes
        wanted = [row.digest for row in rows]
        return block if [blake3_digest(data) for data in block] == wanted else None

    def _check(self, rows: list[ListRow], block: Sequence[View]) -> None:
        found = digests_of(block)
        for number, row in enumerate(rows):
            if found[DIGEST_BYTES * number : DIGEST_BYTES * (number + 1)] != row.digest:
                raise self._objects.damaged(row.digest, "its bytes do not match its digest")
        self._check_sizes(rows, block)

    def _check_sizes(self, rows: list[ListRow], block: Sequence[View]) -> None:
        for row, data in zip(rows, block, strict=True):
            if len(data) != row.size_bytes:
                raise self._objects.damaged(row.digest, "its length is not the one that was recorded")


class _Run(NamedTuple):
    """Neighbouring chunks, and where in the file the first of them begins."""

    offset: int
    first: int
    stop: int


def _runs(offset: int, rows: Sequence[ListRow], places: Sequence[Place]) -> Iterator[_Run]:
    """All chunks in runs of about `RUN_BYTES_MAX` that end where a frame does."""
    first, begin, at = 0, offset, offset
    for number, row in enumerate(rows):
        if at - begin >= RUN_BYTES_MAX and places[number][:2] != places[number - 1][:2]:
            yield _Run(begin, first, number)
            first, begin = number, at
        at += row.size_bytes
    yield _Run(begin, first, len(rows))


def _by_threads(work: Callable[[_Run], _Done], runs: Sequence[_Run]) -> list[_Done]:
    """The results of `work` for each run, in order, or the error of the first that failed."""
    threads = min(default_jobs(), len(runs))
    if threads == 1:
        return [work(run) for run in runs]
    try:
        from concurrent.futures import ThreadPoolExecutor
    except RuntimeError:  # The interpreter ends.
        return [work(run) for run in runs]

    with ThreadPoolExecutor(threads, thread_name_prefix="dataver-read") as pool:
        futures: list[Future[_Done]] = []
        # Threads of others may still read while the interpreter ends, when none of ours starts any more.
        with suppress(RuntimeError):
            futures.extend(pool.submit(work, run) for run in runs)
        try:
            return [future.result() for future in futures] + [work(run) for run in runs[len(futures) :]]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class ReferenceRanges:
    """Ranges of a file that stayed where it is.

    Only its digest as a whole is known, so that all of it is read at the first use, verified, and
    kept until `close`. For one thread.
    """

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._spool: IO[bytes] | None = None

    def chunks(self, start: int, stop: int) -> tuple[int, Sequence[View]]:
        if self._spool is None:
            self._spool = _spool(self._entry)
        self._spool.seek(start)
        return start, [self._spool.read(stop - start)]

    def fill(self, start: int, target: memoryview) -> tuple[int, View] | None:  # noqa: ARG002 - one copy in any case
        return None

    def whole(self) -> bytes:
        return b"".join(data for block in reference_blocks(self._entry) for data in block)

    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self._spool = None


def _spool(entry: Entry) -> IO[bytes]:
    from tempfile import SpooledTemporaryFile

    spool = SpooledTemporaryFile(max_size=REFERENCE_MEMORY_BYTES_MAX)  # noqa: SIM115 - it outlives the call
    try:
        for block in reference_blocks(entry):
            spool.writelines(block)
    except BaseException:
        spool.close()
        raise
    return spool


def read_ranges(ranges: Ranges, size: int, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
    """The bytes of several (start, stop) ranges of a file of `size` bytes, clipped to it.

    What ranges that touch or overlap need is read once.
    """
    clipped = [(max(start, 0), min(stop, size)) for start, stop in wanted]
    order = sorted((n for n, (start, stop) in enumerate(clipped) if start < stop), key=lambda n: clipped[n])
    out = [b""] * len(wanted)
    while order:
        group = [order[0]]
        first, last = clipped[order[0]]
        for number in order[1:]:
            start, stop = clipped[number]
            if start > last or max(stop, last) - first > READ_BYTES_MAX:
                break
            group.append(number)
            last = max(last, stop)
        order = order[len(group) :]
        offset, views = ranges.chunks(first, last)
        block = views[0] if len(views) == 1 else b"".join(views)
        for number in group:
            start, stop = clipped[number]
            out[number] = bytes(block[start - offset : stop - offset])
    return out


def reference_blocks(entry: Entry) -> Iterator[list[View]]:
    """All bytes of a file that stayed where it is, verified by its digest in the end."""
    reference = entry.reference
    if reference is None:
        raise DamagedError(f"{safe_spelling(entry.path)} is a reference to nowhere; run `dataver verify`")
    url, _ = reference
    hasher, size = FileHasher(), 0
    try:
        fs, path = file_system(url, {})
        with fs.open(path, "rb") as file:
            while data := file.read(REFERENCE_BLOCK_BYTES):
                hasher.update(data)
                size += len(data)
                yield [data]
    except DataverError:
        raise
    except FileNotFoundError as error:
        raise DamagedError(
            f"{safe_spelling(entry.path)} stayed at {url}, where it is no more; put it back there"
        ) from error
    except Exception as error:
        raise from_client_error(error, "read", f"{url}, where {safe_spelling(entry.path)} stayed") from error
    if size != entry.size or hasher.digest() != entry.digest:
        raise DamagedError(
            f"{safe_spelling(entry.path)} stayed at {url}, and was changed there since; "
            "put back there what was committed"
        )


def _read_block(rows: list[ListRow], objects: Objects) -> list[View]:
    return objects.chunks(b"".join(row.digest for row in rows))


def damaged_chunk(entry: Entry, objects: Objects) -> DamagedError | None:
    """The error that names the chunk of a file that is wrong, None where each is right. Reads them all."""
    try:
        for _, row in file_rows(entry, objects):
            if len(objects.chunk(row.digest)) != row.size_bytes:
                return objects.damaged(row.digest, "its length is not the one in the list of chunks")
    except DamagedError as error:
        return error
    return None
