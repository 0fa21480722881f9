"""Many source files as columns: an object a file is made only for the few that somebody looks at."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import compress
from typing import overload

from dataver.source.base import SourceFile

__all__ = [
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
_SPLIT_BYTES = 64 << 10
"""So many bytes of joined paths are made into paths at a time."""

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

    __slots__ = ("_count", "_paths", "_stamps", "joined_paths", "joined_stamps")

    def __init__(self, paths: bytes, stamps: bytes, *, is_sorted: bool) -> None:
        """Paths joined by NUL and their stamps; in any order where `is_sorted` is not said."""
        self._paths: list[bytes] | None = None
        self._stamps: list[bytes] | None = None
        self._count = len(stamps) // STAMP.size
        self.joined_paths, self.joined_stamps = paths, stamps
        if is_sorted:
            return
        unordered = self.paths
        # The paths are sorted runs, one a folder: nearly sorted already.
        order = sorted(range(self._count), key=unordered.__getitem__)
        self._paths, self._stamps = ([column[at] for at in order] for column in (unordered, self.stamps))
        self.joined_paths, self.joined_stamps = b"\0".join(self._paths), b"".join(self._stamps)

    @classmethod
    def of(cls, files: Iterable[SourceFile]) -> Listing:
        """The listing of files that are at hand, in any order."""
        ordered = sorted(files)
        paths = b"\0".join([file[0] for file in ordered])
        return cls(paths, b"".join(map(stamp_of, ordered)), is_sorted=True)

    @property
    def paths(self) -> list[bytes]:
        """All paths."""
        if self._paths is None:
            self._paths = self.joined_paths.split(b"\0") if self._count else []
        return self._paths

    @property
    def stamps(self) -> list[bytes]:
        """The stamps of all files."""
        if self._stamps is None:
            self._stamps = cut(self.joined_stamps, STAMP.size)
        return self._stamps

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> SourceFile: ...
    @overload
    def __getitem__(self, index: slice) -> list[SourceFile]: ...
    def __getitem__(self, index: int | slice) -> SourceFile | list[SourceFile]:
        if isinstance(index, slice):
            return list(map(to_file, self.paths[index], self.stamps[index]))
        return to_file(self.paths[index], self.stamps[index])

    def __iter__(self) -> Iterator[SourceFile]:
        return map(to_file, self.each_path(), self.each_stamp())

    def each_path(self) -> Iterator[bytes]:
        """All paths, in order; they are not kept."""
        if self._paths is not None:
            return iter(self._paths)
        return _split_gradually(self.joined_paths) if self._count else iter(())

    def each_stamp(self) -> Iterator[bytes]:
        """All stamps, in order; they are not kept."""
        stamps = self.joined_stamps
        return (stamps[at : at + STAMP.size] for at in range(0, len(stamps), STAMP.size))

    def kind(self, index: int) -> int:
        """The kind of one file."""
        return self.joined_stamps[STAMP.size * index] & ~STAMP_EXECUTABLE


class Picked(Sequence[SourceFile]):
    """Some files of a listing, by their ascending positions there. Each is made when it is asked for."""

    __slots__ = ("_files", "_positions")

    def __init__(self, files: Listing, positions: Sequence[int]) -> None:
        self._files = files
        self._positions = positions

    @property
    def is_all(self) -> bool:
        """Whether no file was left out."""
        return len(self._positions) == len(self._files)

    @property
    def joined_paths(self) -> bytes:
        """All paths with a NUL between them."""
        return self._files.joined_paths if self.is_all else b"\0".join(self.each_path())

    @property
    def size_bytes(self) -> int:
        """What all files have together."""
        return sum(_SIZE.unpack(stamp)[0] for stamp in self.each_stamp())

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> SourceFile: ...
    @overload
    def __getitem__(self, index: slice) -> list[SourceFile]: ...
    def __getitem__(self, index: int | slice) -> SourceFile | list[SourceFile]:
        if isinstance(index, slice):
            return [self._files[at] for at in self._positions[index]]
        return self._files[self._positions[index]]

    def __iter__(self) -> Iterator[SourceFile]:
        return map(to_file, self.each_path(), self.each_stamp())

    def only(self, positions: Iterable[int]) -> Picked:
        """Those at some ascending positions among these."""
        return Picked(self._files, [self._positions[at] for at in positions])

    def of_kinds(self, kinds: Collection[int]) -> Picked:
        """Those of some kinds."""
        return Picked(self._files, [at for at in self._positions if self._files.kind(at) in kinds])

    def each_path(self) -> Iterator[bytes]:
        """All paths, in order; they are not kept."""
        return self._each(Listing.each_path)

    def each_stamp(self) -> Iterator[bytes]:
        """All stamps, in order; they are not kept."""
        return self._each(Listing.each_stamp)

    def _each(self, column: Callable[[Listing], Iterator[bytes]]) -> Iterator[bytes]:
        if self.is_all:
            return column(self._files)
        chosen = bytearray(len(self._files))
        for at in self._positions:
            chosen[at] = 1
        return compress(column(self._files), chosen)


def _split_gradually(joined: bytes) -> Iterator[bytes]:
    start = 0
    while (end := joined.find(b"\0", start + _SPLIT_BYTES)) >= 0:
        yield from joined[start:end].split(b"\0")
        start = end + 1
    yield from joined[start:].split(b"\0")


def cut(column: bytes, width: int) -> list[bytes]:
    """The values of a column of equal widths."""
    return [column[at : at + width] for at in range(0, len(column), width)]
