"""Reading the files of a version in blocks, verified as a whole; and in ranges, verified by chunk."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, islice
from typing import IO, NamedTuple, Protocol

from dataver.digest import Digest
from dataver.errors import DamagedError, DataverError
from dataver.format import chunk_list as list_format
from dataver.format.chunk_list import ListRow
from dataver.hashing import FileHasher, Kind, digests
from dataver.objects import Objects
from dataver.paths import safe_spelling
from dataver.store.base import View
from dataver.store.clients import file_system
from dataver.store.failures import from_client_error
from dataver.tree import chunk_list
from dataver.tree.manifest import REFERENCE, Entry

BLOCK_CHUNKS = 128
REFERENCE_BLOCK_BYTES = 8 << 20
REFERENCE_MEMORY_BYTES_MAX = 8 << 20
"""Up to so many bytes of a referenced file are held in memory while it is open, more on disk."""
FEW_CHUNKS = 4
"""So many chunks are read through the cache of frames, where a neighbour of theirs may have been."""
LISTS_KEPT = 256
READ_BYTES_MAX = 8 << 20
"""Ranges that touch are read together up to so many bytes."""


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
    if entry.chunks is None:
        data = bytes(objects.chunk(entry.digest)) if entry.size else b""
        if len(data) != entry.size:
            raise objects.damaged(entry.digest, f"it has {len(data)} bytes, the manifest says {entry.size}")
        return data
    return b"".join(data for block in file_blocks(entry, objects) for data in block)


class ListNode(NamedTuple):
    """A decoded node of a list of chunks: where each row ends, and the rows' digests, 32 bytes each."""

    level: int
    ends: list[int]
    digests: bytes


Lists = Callable[[bytes], ListNode]


def list_cache(objects: Objects) -> Lists:
    """Decoded lists of chunks by digest; the last `LISTS_KEPT` of them are kept. For several threads."""

    def load(digest: bytes) -> ListNode:
        level, rows = list_format.decode(
            objects.record(Kind.CHUNK_LIST, digest), f"chunk list {Digest(digest)}"
        )
        ends = list(accumulate(row.size_bytes for row in rows))
        return ListNode(level, ends, b"".join(row.digest for row in rows))

    return lru_cache(LISTS_KEPT)(load)


class Ranges(Protocol):
    """Verified parts of one file."""

    def chunks(self, start: int, stop: int) -> tuple[int, Sequence[View]]:
        """Neighbouring buffers that cover bytes `start` to `stop`, and where in the file they begin.

        `start` < `stop`, both within the file.
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
        if self._root is None:
            offset, rows = 0, [ListRow(self._entry.digest, self._entry.size)]
        else:
            found = list(self._rows(self._root, 0, start, stop, None))
            rows = [row for _, row in found]
            ends = list(accumulate((row.size_bytes for row in rows), initial=found[0][0] if found else 0))
            if not found or ends[0] > start or ends[-1] < stop or [at for at, _ in found] != ends[:-1]:
                raise self._objects.damaged(self._root, "the chunks that it lists do not cover the file")
            offset = ends[0]
        return offset, self._read(rows)

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
            block = [self._objects.chunk(row.digest) for row in rows]
        else:
            block = _read_block(rows, self._objects)
            found = digests(block)
            for number, row in enumerate(rows):
                if found[32 * number : 32 * number + 32] != row.digest:
                    raise self._objects.damaged(row.digest, "its bytes do not match its digest")
        for row, data in zip(rows, block, strict=True):
            if len(data) != row.size_bytes:
                raise self._objects.damaged(row.digest, "its length is not the one that was recorded")
        return block


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
