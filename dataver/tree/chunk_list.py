"""The chunks of one file as a tree of lists: built once, read in order or by range."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from dataver.digest import Digest
from dataver.errors import DamagedError
from dataver.format.chunk_list import ListRow, decode, encode
from dataver.hashing import Kind, kind_digest
from dataver.tree.split import LIST_RULE, Splitter

Save = Callable[[bytes, bytes], None]
Load = Callable[[bytes], bytes]


def build(rows: Iterable[ListRow], save: Save) -> Digest:
    """Save the nodes over `rows` as `save(digest, bytes)`; the root's digest."""
    level = 0
    while True:
        above = list(_split(level, rows, save))
        if len(above) == 1:
            return Digest(above[0].digest)
        level, rows = level + 1, above


def _split(level: int, rows: Iterable[ListRow], save: Save) -> Iterator[ListRow]:
    splitter = Splitter(level, LIST_RULE)
    pending: list[ListRow] = []
    for row in rows:
        pending.append(row)
        if splitter.ends_after(row.digest, 0):
            yield _save(level, pending, save)
            pending = []
    if pending:
        yield _save(level, pending, save)


def _save(level: int, rows: list[ListRow], save: Save) -> ListRow:
    data = encode(level, rows)
    digest = kind_digest(Kind.CHUNK_LIST, data)
    save(digest, data)
    return ListRow(digest, sum(row.size_bytes for row in rows))


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
