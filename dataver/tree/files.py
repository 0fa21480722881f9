"""The files of a version as columns: an object a file is made only while somebody looks at it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import compress, islice, repeat
from typing import overload

from dataver.column import Column
from dataver.digest import DIGEST_BYTES
from dataver.format.node import Rows
from dataver.joined import JoinedPaths, each_path
from dataver.tree.manifest import EXECUTABLE, FOLDER, REFERENCE, Entry
from dataver.tree.schema import Link, NodeStore
from dataver.tree.walk import leaves

__all__ = ["FileColumns"]

MADE_TOGETHER = 4_096
KIND_MASK = 0x0F

_SIZE = struct.Struct("<Q")

# A named tuple's own constructor costs three times as much, once a file.
_new_entry: Callable[[type[Entry], tuple[object, ...]], Entry] = tuple.__new__


class FileColumns(Sequence[Entry]):
    """Entries by path: 41 bytes each and their paths, which `joined_paths` has with a NUL between them.

    The other columns are as a manifest has them; `extras` are the further ones of those that have any, by
    position.
    """

    __slots__ = ("_column", "digests", "extras", "joined_paths", "kinds", "sizes")

    def __init__(
        self,
        joined_paths: Column,
        digests: Column,
        kinds: bytes,
        sizes: Column,
        extras: dict[int, tuple[tuple[bytes, int, bytes], ...]],
    ) -> None:
        self.joined_paths = joined_paths
        self.digests = digests
        self.kinds = kinds
        self.sizes = sizes
        self.extras = extras
        self._column: JoinedPaths | None = None

    @classmethod
    def read(cls, nodes: NodeStore, root: Link) -> FileColumns:
        """All files of a tree."""
        paths, digests, kinds, sizes = Column(), Column(), bytearray(), Column()
        extras: dict[int, tuple[tuple[bytes, int, bytes], ...]] = {}
        count = 0
        for _, rows in leaves(nodes, root):
            if not rows:
                continue
            if isinstance(rows, Rows):
                keys, bodies = rows.keys, rows.columns
                extras.update((count + at, values) for at, values in rows.extras(0, len(rows)))
            else:
                keys = [row.key for row in rows]
                bodies = [b"".join([row.fixed[part] for row in rows]) for part in _PARTS]
                extras.update((count + at, row.extras) for at, row in enumerate(rows) if row.extras)
            paths += (b"\0" if count else b"") + b"\0".join(keys)
            digests += bodies[0]
            kinds += bodies[1]
            sizes += bodies[2]
            count += len(keys)
        return cls(paths, digests, bytes(kinds), sizes, extras)

    def __len__(self) -> int:
        return len(self.kinds)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        positions = range(len(self))[index]
        if isinstance(positions, int):
            return self[positions : positions + 1][0]
        if positions.step != 1:
            return [self[at] for at in positions]
        if not positions:
            return []
        if self._column is None:
            self._column = JoinedPaths(self.joined_paths)
        return list(self._made(self._column.some(positions.start, positions.stop), positions.start))

    def __iter__(self) -> Iterator[Entry]:
        paths, start = self.each_path(), 0
        while some := list(islice(paths, MADE_TOGETHER)):
            yield from self._made(some, start)
            start += len(some)

    def _made(self, paths: list[bytes], start: int) -> Iterator[Entry]:
        """The entries from a position on, made together."""
        stop = start + len(paths)
        kinds = self.kinds[start:stop]
        sizes = struct.unpack(f"<{len(paths)}Q", self.sizes[_SIZE.size * start : _SIZE.size * stop])
        some = self.digests[DIGEST_BYTES * start : DIGEST_BYTES * stop]
        digests = [some[at : at + DIGEST_BYTES] for at in range(0, len(some), DIGEST_BYTES)]
        values = zip(
            paths,
            [kind & KIND_MASK for kind in kinds],
            [kind & EXECUTABLE != 0 for kind in kinds],
            sizes,
            digests,
            [self.extras.get(at, ()) for at in range(start, stop)] if self.extras else repeat(()),
            strict=False,
        )
        return map(_new_entry, repeat(Entry), values)

    def each_path(self) -> Iterator[bytes]:
        """All paths, in order; they are not kept."""
        return each_path(self.joined_paths) if self.kinds else iter(())

    @property
    def size_bytes(self) -> int:
        """What all files have together."""
        return sum(sum(struct.unpack(f"<{len(some) // _SIZE.size}Q", some)) for some in self.sizes.blocks())

    def special(self) -> Iterator[Entry]:
        """Those that are more than a chunk: with further columns, as of several chunks, and references."""
        positions = self._special()
        for start in sorted({at - at % MADE_TOGETHER for at in positions}):
            for at, entry in enumerate(self[start : start + MADE_TOGETHER], start):
                if at in positions:
                    yield entry

    def special_sizes(self) -> Iterator[int]:
        """How many bytes each of these has; no entry is made."""
        return (
            _SIZE.unpack(self.sizes[_SIZE.size * at : _SIZE.size * (at + 1)])[0] for at in self._special()
        )

    def _special(self) -> set[int]:
        positions = set(self.extras)
        if any(kind & KIND_MASK == REFERENCE for kind in set(self.kinds)):
            # Also where what says of what is missing: that is for whoever reads it to find.
            positions.update(at for at, kind in enumerate(self.kinds) if kind & KIND_MASK == REFERENCE)
        return positions

    def folders(self) -> list[bytes]:
        """The paths of empty folders."""
        if not self._has_folders():
            return []
        return list(compress(self.each_path(), [kind & KIND_MASK == FOLDER for kind in self.kinds]))

    def without_folders(self) -> FileColumns:
        """All but empty folders."""
        if not self._has_folders():
            return self
        return self._only([kind & KIND_MASK != FOLDER for kind in self.kinds])

    def _has_folders(self) -> bool:
        return FOLDER in {kind & KIND_MASK for kind in set(self.kinds)}

    def at_paths(self, is_chosen: Callable[[bytes], bool]) -> FileColumns:
        """Those whose paths are chosen."""
        return self._only(list(map(is_chosen, self.each_path())))

    def without(self, is_left_out: Callable[[Entry], bool]) -> FileColumns:
        """All but some."""
        return self._only([not is_left_out(entry) for entry in self])

    def _only(self, chosen: Sequence[bool]) -> FileColumns:
        positions = [at for at, is_chosen in enumerate(chosen) if is_chosen]
        digests = [self.digests[DIGEST_BYTES * at : DIGEST_BYTES * (at + 1)] for at in positions]
        sizes = [self.sizes[_SIZE.size * at : _SIZE.size * (at + 1)] for at in positions]
        return FileColumns(
            Column(b"\0".join(compress(self.each_path(), chosen))),
            Column(b"".join(digests)),
            bytes(compress(self.kinds, chosen)),
            Column(b"".join(sizes)),
            {number: self.extras[at] for number, at in enumerate(positions) if at in self.extras},
        )


_PARTS = (slice(0, DIGEST_BYTES), slice(DIGEST_BYTES, DIGEST_BYTES + 1), slice(DIGEST_BYTES + 1, None))
"""Where the columns stand in `Row.fixed`."""
