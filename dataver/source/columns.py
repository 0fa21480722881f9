"""Many source files as columns: an object a file is made only for the few that somebody looks at."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain, compress
from typing import overload

from dataver.column import Column
from dataver.joined import JoinedPaths, each_path
from dataver.source.base import SourceFile

__all__ = [
    "FEW_OF",
    "IDENTITY_BYTES",
    "STAMP",
    "STAMP_EXECUTABLE",
    "Listing",
    "Picked",
    "cut",
    "pack_stamp",
    "stamp_of",
    "to_file",
]

# Kind and executable bit, size, mtime, ctime, inode. The first two parts are spelled as a manifest's
# rows spell them, so that a file is compared with its row as bytes.
STAMP = struct.Struct("<BqqqQ")
IDENTITY_BYTES = 9
"""Of a stamp: kind, executable bit and size, which stand first."""
STAMP_EXECUTABLE = 0x10

_SIZE = struct.Struct("<xq24x")
_TOGETHER_BYTES = 1_024 * STAMP.size
FEW_OF = 8
"""Up to one of so many files of a listing counts as few."""

_TIME_MIN, _TIME_MAX = -(2**63), 2**63 - 1

# A named tuple's own constructor costs twice as much, once a file.
_new_file: Callable[[type[SourceFile], tuple[object, ...]], SourceFile] = tuple.__new__


def pack_stamp(kind: int, size: int, mtime_ns: int, ctime_ns: int, inode: int) -> bytes:
    """The stamp of a file; `kind` has `STAMP_EXECUTABLE` set where the file has that bit.

    Times that somebody set beyond 64 bits are brought to the last moment there is: what is in the
    future is never trusted.
    """
    try:
        return STAMP.pack(kind, size, mtime_ns, ctime_ns, inode)
    except struct.error:
        pass
    times = [at if _TIME_MIN <= at <= _TIME_MAX else _TIME_MAX for at in (mtime_ns, ctime_ns)]
    return STAMP.pack(kind, size, *times, inode)


def stamp_of(file: SourceFile) -> bytes:
    """The stamp of a file, made by `pack_stamp`."""
    _, kind, executable, *rest = file
    return pack_stamp(kind | STAMP_EXECUTABLE if executable else kind, *rest)


def to_file(path: bytes, stamp: bytes) -> SourceFile:
    """The file that a path and a stamp stand for."""
    kind, size, mtime_ns, ctime_ns, inode = STAMP.unpack(stamp)
    executable = kind & STAMP_EXECUTABLE != 0
    return _new_file(
        SourceFile, (path, kind & ~STAMP_EXECUTABLE, executable, size, mtime_ns, ctime_ns, inode)
    )


class Listing(Sequence[SourceFile]):
    """The files of a source, sorted by path. Each is made when it is asked for.

    `joined_paths` are the paths with a NUL between them, `joined_stamps` the stamps side by side:
    what is compared with what was known before, all of it at once. Nobody changes the lists.
    """

    __slots__ = ("_column", "_count", "_kinds", "_paths", "_stamps", "joined_paths", "joined_stamps")

    def __init__(self, paths: Column, stamps: Column, *, is_sorted: bool) -> None:
        """Paths joined by NUL and their stamps; in any order where `is_sorted` is not said."""
        self._paths: list[bytes] | None = None
        self._stamps: list[bytes] | None = None
        self._column: JoinedPaths | None = None
        self._kinds: bytes | None = None
        self._count = len(stamps) // STAMP.size
        self.joined_paths, self.joined_stamps = paths, stamps
        if is_sorted:
            return
        unordered = self.paths
        # The paths are sorted runs, one a folder: nearly sorted already.
        order = sorted(range(self._count), key=unordered.__getitem__)
        self._paths, self._stamps = ([column[at] for at in order] for column in (unordered, self.stamps))
        self.joined_paths = Column(b"\0".join(self._paths))
        self.joined_stamps = Column(b"".join(self._stamps))

    @classmethod
    def of(cls, files: Iterable[SourceFile]) -> Listing:
        """The listing of files that are at hand, in any order."""
        ordered = sorted(files)
        paths = b"\0".join([file[0] for file in ordered])
        return cls(Column(paths), Column(b"".join(map(stamp_of, ordered))), is_sorted=True)

    @property
    def paths(self) -> list[bytes]:
        """All paths."""
        if self._paths is None:
            self._paths = self.joined_paths[:].split(b"\0") if self._count else []
        return self._paths

    @property
    def stamps(self) -> list[bytes]:
        """The stamps of all files."""
        if self._stamps is None:
            self._stamps = cut(self.joined_stamps[:], STAMP.size)
        return self._stamps

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> SourceFile: ...
    @overload
    def __getitem__(self, index: slice) -> list[SourceFile]: ...
    def __getitem__(self, index: int | slice) -> SourceFile | list[SourceFile]:
        if isinstance(index, slice):
            return [self[at] for at in range(self._count)[index]]
        at = range(self._count)[index]
        return to_file(self._path(at), self.stamp(at))

    def _path(self, at: int) -> bytes:
        if self._paths is not None:
            return self._paths[at]
        if self._column is None:
            self._column = JoinedPaths(self.joined_paths)
        return self._column.path(at)

    def __iter__(self) -> Iterator[SourceFile]:
        return map(to_file, self.each_path(), self.each_stamp())

    def each_path(self) -> Iterator[bytes]:
        """All paths, in order; they are not kept."""
        if self._paths is not None:
            return iter(self._paths)
        return each_path(self.joined_paths) if self._count else iter(())

    def each_stamp(self) -> Iterator[bytes]:
        """All stamps, in order; they are not kept."""
        some = self.joined_stamps.blocks(_TOGETHER_BYTES)
        return chain.from_iterable(cut(block, STAMP.size) for block in some)

    def paths_at(self, positions: Iterable[int]) -> list[bytes]:
        """The paths at some positions, of which few are made besides."""
        return list(map(self._path, positions))

    def stamp(self, index: int) -> bytes:
        """The stamp of one file."""
        return self.joined_stamps[STAMP.size * index : STAMP.size * (index + 1)]

    def kind(self, index: int) -> int:
        """The kind of one file."""
        if self._kinds is None:
            some = self.joined_stamps.blocks(_TOGETHER_BYTES)
            self._kinds = b"".join([block[:: STAMP.size] for block in some])
        return self._kinds[index] & ~STAMP_EXECUTABLE


class Picked(Sequence[SourceFile]):
    """Some files of a listing, by their ascending positions there. Each is made when it is asked for."""

    __slots__ = ("_few", "listing", "positions")

    def __init__(self, listing: Listing, positions: Sequence[int]) -> None:
        self.listing = listing
        self.positions = positions
        self._few: list[bytes] | None = None

    @property
    def is_all(self) -> bool:
        """Whether no file was left out."""
        return len(self.positions) == len(self.listing)

    @property
    def joined_paths(self) -> Column:
        """All paths with a NUL between them."""
        return self.listing.joined_paths if self.is_all else Column(b"\0".join(self.each_path()))

    @property
    def size_bytes(self) -> int:
        """What all files have together."""
        return sum(_SIZE.unpack(stamp)[0] for stamp in self.each_stamp())

    def __len__(self) -> int:
        return len(self.positions)

    @overload
    def __getitem__(self, index: int) -> SourceFile: ...
    @overload
    def __getitem__(self, index: slice) -> list[SourceFile]: ...
    def __getitem__(self, index: int | slice) -> SourceFile | list[SourceFile]:
        if isinstance(index, slice):
            return [self.listing[at] for at in self.positions[index]]
        return self.listing[self.positions[index]]

    def __iter__(self) -> Iterator[SourceFile]:
        return map(to_file, self.each_path(), self.each_stamp())

    def only(self, positions: Iterable[int]) -> Picked:
        """Those at some ascending positions among these."""
        return Picked(self.listing, [self.positions[at] for at in positions])

    def of_kinds(self, kinds: Collection[int]) -> Picked:
        """Those of some kinds."""
        return Picked(self.listing, [at for at in self.positions if self.listing.kind(at) in kinds])

    def each_path(self) -> Iterator[bytes]:
        """All paths, in order; they are kept where they are few."""
        if self.is_all:
            return self.listing.each_path()
        if len(self) > len(self.listing) // FEW_OF:
            chosen = bytearray(len(self.listing))
            for at in self.positions:
                chosen[at] = 1
            return compress(self.listing.each_path(), chosen)
        if self._few is None:
            self._few = self.listing.paths_at(self.positions)
        return iter(self._few)

    def each_stamp(self) -> Iterator[bytes]:
        """All stamps, in order; they are not kept."""
        return self.listing.each_stamp() if self.is_all else map(self.listing.stamp, self.positions)


def cut(column: bytes, width: int) -> list[bytes]:
    """The values of a column of equal widths."""
    return [column[at : at + width] for at in range(0, len(column), width)]
