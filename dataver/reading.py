"""Reading the files of a version in blocks, verified as a whole; and in ranges, verified by chunk."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from dataver.digest import Digest
from dataver.errors import DamagedError, DataverError, StoreError
from dataver.format.chunk_list import ListRow
from dataver.format.segment import Place
from dataver.hashing import FileHasher, Kind, blake3_digest
from dataver.objects import Objects
from dataver.paths import safe_spelling
from dataver.store.base import View
from dataver.tree import chunk_list
from dataver.tree.manifest import REFERENCE, Entry

BLOCK_CHUNKS = 128
REFERENCE_BLOCK_BYTES = 8 << 20


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
    with ThreadPoolExecutor(1, thread_name_prefix="dataver-read-ahead") as pool:
        batch = list(islice(rows, BLOCK_CHUNKS))
        future = pool.submit(_read_block, batch, objects)
        while batch:
            block = future.result()
            batch = list(islice(rows, BLOCK_CHUNKS))
            if batch:
                future = pool.submit(_read_block, batch, objects)
            for data in block:
                hasher.update(data)
                size += len(data)
            yield block
    if size != entry.size or hasher.digest() != entry.digest:
        raise _which(entry, objects)


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


def read_range(entry: Entry, objects: Objects, start: int, stop: int) -> bytes:
    """Bytes `start` to `stop` (exclusive) of a stored file, each chunk verified by its digest."""
    stop = min(stop, entry.size)
    if start >= stop:
        return b""
    rows = list(file_rows(entry, objects, start, stop))
    if not rows or rows[0][0] > start or rows[-1][0] + rows[-1][1].size_bytes < stop:
        raise objects.damaged(entry.digest, "its chunks do not cover it")
    block = _read_block([row for _, row in rows], objects)
    for (_, row), data in zip(rows, block, strict=True):
        if len(data) != row.size_bytes or blake3_digest(data) != row.digest:
            raise objects.damaged(row.digest, "its bytes do not match its digest")
    first = rows[0][0]
    return b"".join(block)[start - first : stop - first]


def reference_blocks(entry: Entry) -> Iterator[list[View]]:
    """All bytes of a file that stayed where it is, verified by its digest in the end."""
    import fsspec

    reference = entry.reference
    if reference is None:
        raise DamagedError(f"{safe_spelling(entry.path)} is a reference to nowhere; run `dataver verify`")
    url, _ = reference
    hasher, size = FileHasher(), 0
    try:
        with fsspec.open(url, "rb") as file:
            while data := file.read(REFERENCE_BLOCK_BYTES):
                hasher.update(data)
                size += len(data)
                yield [data]
    except FileNotFoundError as error:
        if isinstance(error, DataverError):
            raise
        raise DamagedError(f"{safe_spelling(entry.path)} stayed at {url}, where it is no more") from error
    except OSError as error:
        if isinstance(error, DataverError):
            raise
        raise StoreError(
            f"{safe_spelling(entry.path)} stayed at {url}, which cannot be read: {error}"
        ) from error
    if size != entry.size or hasher.digest() != entry.digest:
        raise DamagedError(f"{safe_spelling(entry.path)} stayed at {url}, and was changed there since")


def _read_block(rows: list[ListRow], objects: Objects) -> list[View]:
    if not rows:
        return []
    places: list[Place] = objects.places(b"".join(row.digest for row in rows))
    block: list[View] = [b""] * len(rows)
    for number, data in objects.read_places(places):
        block[number] = data
    return block


def _which(entry: Entry, objects: Objects) -> DamagedError:
    """Name the chunk that is wrong, or the list of chunks where each is right."""
    for _, row in file_rows(entry, objects):
        if len(objects.chunk(row.digest)) != row.size_bytes:
            return objects.damaged(row.digest, "its length is not the one in the list of chunks")
    return DamagedError(
        f"{safe_spelling(entry.path)} does not match its digest {Digest(entry.digest)}, though each of its chunks "
        "does; run `dataver verify --deep`"
    )
