"""The chunks of one file as a tree of lists: built once, read in order or by range."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from dataver.digest import Digest, digests_at, split_digests
from dataver.errors import DamagedError
from dataver.format.chunk_list import ListRow, decode, encode
from dataver.hashing import Kind, kind_digest
from dataver.tree.split import LIST_RULE, Splitter

ROWS_TOGETHER = 4_096

Save = Callable[[bytes, bytes], None]
Load = Callable[[bytes], bytes]


def build(digests: bytes, sizes: Sequence[int], save: Save) -> Digest:
    """Save the nodes over chunks as `save(digest, bytes)`; the root's digest.

    `digests` are those of the chunks, 32 bytes each and at least one, `sizes` their bytes.
    """
    level = 0
    while True:
        digests, sizes = _build_level(level, digests, sizes, save)
        if len(sizes) == 1:
            return Digest(digests)
        level += 1


def _build_level(level: int, digests: bytes, sizes: Sequence[int], save: Save) -> tuple[bytes, list[int]]:
    """The nodes of a level over these rows: their digests, and the bytes below each."""
    splitter = Splitter(level, LIST_RULE)
    ends = [0]
    for start in range(0, len(sizes), ROWS_TOGETHER):
        some = split_digests(digests_at(digests, start, start + ROWS_TOGETHER))
        ends += [start + end for end in splitter.ends(some, [0] * len(some))]
    if ends[-1] < len(sizes):
        ends.append(len(sizes))
    above, below = [], []
    for start, end in pairwise(ends):
        data = encode(level, digests_at(digests, start, end), sizes[start:end])
        above.append(kind_digest(Kind.CHUNK_LIST, data))
        save(above[-1], data)
        below.append(sum(sizes[start:end]))
    return b"".join(above), below


def read(root: bytes, load: Load, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, ListRow]]:
    """The chunks that overlap bytes `start` to `stop` (exclusive) of the file, as (offset, chunk)."""
    yield from _read(root, load, 0, start, stop, None)


def _read(
    root: bytes, load: Load, offset: int, start: int, stop: int | None, expected_level: int | None
) -> Iterator[tuple[int, ListRow]]:
    level, rows = decode(load(root), f"chunk list {Digest(root)}")
    if expected_level is not None and level != expected_level:
        raise DamagedError(f"chunk list {Digest(root)} is on another level than its parent says")
    for row in rows:
        end = offset + row.size_bytes
        if end > start and (stop is None or offset < stop):
            if level:
                yield from _read(row.digest, load, offset, start, stop, level - 1)
            else:
                yield offset, row
        offset = end


def nodes(root: bytes, load: Load) -> Iterator[bytes]:
    """The digests of every node of the list, parents first."""
    yield root
    level, rows = decode(load(root), f"chunk list {Digest(root)}")
    if level:
        for row in rows:
            yield from nodes(row.digest, load)
