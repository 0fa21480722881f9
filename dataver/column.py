"""Columns: what is known of many files, side by side, in memory while it is little and else in a file.

A commit of millions of files knows paths, stamps and digests of all of them from the walk to the end. They
are appended in order and read in order, so they need not be in memory: past `HELD_BYTES_MAX` a column goes on
in a file without a name in the cache folder, which is gone with the process. Where there is no room for that,
it stays in memory.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Self, SupportsIndex, overload

from dataver.config import cache_folder
from dataver.errors import EnvironmentFaultError
from dataver.private import make_folder

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["HELD_BYTES_MAX", "Column", "File", "Records"]

HELD_BYTES_MAX = 2 << 20
"""Longer columns go on in a file."""
BLOCK_BYTES = 64 << 10
"""So much is written to the file, read through, or compared at a time."""
_PIECES_MAX = 1_024


class File:
    """An open file that is closed when nobody needs it any more."""

    __slots__ = ("number",)
    _close = staticmethod(os.close)  # At the end of the process this module may have no names any more.

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        self._close(self.number)

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to `stop`. `OSError` where they are not there."""
        data = os.pread(self.number, stop - start, start)
        if len(data) == stop - start:
            return data
        parts = [data]
        while start + sum(map(len, parts)) < stop:
            at = start + sum(map(len, parts))
            parts.append(os.pread(self.number, stop - at, at))
            if not parts[-1]:
                raise OSError(f"a file of the cache ends at byte {at}, and was longer before")
        return b"".join(parts)

    def write(self, data: Buffer, at: int) -> None:
        """Write bytes from `at` on."""
        view = memoryview(data)
        while view:
            count = os.pwrite(self.number, view, at)
            if not count:
                raise OSError(errno.EIO, "the file system took no bytes")
            view, at = view[count:], at + count


def _nameless() -> File | None:
    """A new file without a name; None where the system refuses."""
    try:
        folder = cache_folder()
        make_folder(folder)
        try:
            return File(os.open(folder, os.O_RDWR | os.O_CLOEXEC | os.O_TMPFILE, 0o600))
        except (OSError, AttributeError):  # Not every file system and system has such files.
            path = folder / f".tmp-{os.urandom(8).hex()}"
            file = File(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            os.unlink(path)
            return file
    except (OSError, EnvironmentFaultError):
        return None


class Column:
    """Bytes that are appended to, read in slices (`column[a:b]` is `bytes`), and compared.

    For one thread at a time. `OSError`s of its file are raised by who reads or puts; where it cannot be
    appended to, the rest stays in memory.
    """

    __slots__ = ("_file", "_held", "_held_max", "_is_own", "_new", "_new_bytes", "_start", "_stored")

    def __init__(self, data: bytes = b"") -> None:
        """A column that begins with `data`."""
        # In order: what is in the file, what is held, and what came since the last look at that.
        self._file: File | None = None
        self._start = self._stored = 0
        self._is_own = True
        self._held: bytes | bytearray = data
        self._held_max = HELD_BYTES_MAX
        self._new: list[bytes] = []
        self._new_bytes = 0

    @classmethod
    def in_file(cls, file: File, start: int, stop: int) -> Self:
        """What lies in a file, which is only read."""
        column = cls()
        column._file, column._is_own, column._start, column._stored = file, False, start, stop - start
        return column

    def __len__(self) -> int:
        return self._stored + len(self._held) + self._new_bytes

    def __iadd__(self, data: bytes) -> Self:
        self._new.append(data)
        self._new_bytes += len(data)
        if len(self._held) + self._new_bytes > self._held_max:
            self._move()
        elif len(self._new) >= _PIECES_MAX:
            self._grow()
        return self

    def _settle(self) -> bytes | bytearray:
        """All that is in memory, in one piece."""
        if self._new:
            if not self._held:
                self._held = b"".join(self._new)
            else:
                self._grow()
            self._new, self._new_bytes = [], 0
        return self._held

    def _grow(self) -> bytearray:
        if isinstance(self._held, bytes):
            self._held = bytearray(self._held)
        self._held += b"".join(self._new)
        self._new, self._new_bytes = [], 0
        return self._held

    @overload
    def __getitem__(self, part: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, part: slice) -> bytes: ...
    def __getitem__(self, part: SupportsIndex | slice) -> int | bytes:
        if not isinstance(part, slice):
            at = range(len(self))[part]
            return self[at : at + 1][0]
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise ValueError("a column is read in one direction, byte after byte")
        held, stored = self._settle(), self._stored
        if start >= stored:
            found = held[start - stored : max(0, stop - stored)] if stored else held[start:stop]
            return found if isinstance(found, bytes) else bytes(found)
        if start >= stop:
            return b""
        assert self._file is not None
        there = self._file.read(self._start + start, self._start + min(stop, stored))
        return there + bytes(held[: stop - stored]) if stop > stored else there

    def part(self, start: int, stop: int) -> Column:
        """The bytes from `start` to `stop` as a column of its own; those in a file stay there."""
        if self._file is not None and stop > self._stored:
            self._move()
        if self._file is None or stop > self._stored:
            return Column(self[start:stop])
        return Column.in_file(self._file, self._start + start, self._start + stop)

    def put(self, at: int, data: bytes) -> None:
        """Put bytes in the place of as many."""
        if not self._is_own:
            self._copy()
        before = self._stored - at
        if 0 < before < len(data):
            self.put(at, data[:before])
            at, data = self._stored, data[before:]
        if at >= self._stored:
            held = self._held if isinstance(self._held, bytearray) and not self._new else self._grow()
            held[at - self._stored : at - self._stored + len(data)] = data
            return
        assert self._file is not None
        self._file.write(data, self._start + at)

    def find(self, byte: bytes, start: int) -> int:
        """Where a byte is found first from `start` on; -1 where it is not."""
        if not self._stored:
            return self._settle().find(byte, start)
        while start < len(self):
            found = self[start : start + BLOCK_BYTES].find(byte)
            if found >= 0:
                return start + found
            start += BLOCK_BYTES
        return -1

    def blocks(self, size_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """All bytes in order, so many at a time."""
        for start in range(0, len(self), size_bytes):
            yield self[start : start + size_bytes]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, bytes):
            other = Column(other)
        if not isinstance(other, Column):
            return NotImplemented
        if len(self) != len(other):
            return False
        if not self._stored and not other._stored:
            return self._settle() == other._settle()
        return all(a == b for a, b in zip(self.blocks(), other.blocks(), strict=True))

    __hash__ = None  # type: ignore[assignment]

    def _move(self) -> None:
        """Move what is in memory to the file."""
        if not self._is_own:
            self._copy()
        held = self._settle()
        file = self._file or _nameless()
        try:
            if file is None:
                raise OSError
            file.write(held, self._start + self._stored)
        except OSError:
            # No room: what is in the file already stays there, all else in memory.
            self._held_max = 1 << 62
            return
        self._file = file
        self._stored += len(held)
        self._held, self._held_max = b"", BLOCK_BYTES

    def _copy(self) -> None:
        """Take what lies in a file of somebody else over into one of its own."""
        copied = Column()
        for block in self.blocks():
            copied += block
        for name in Column.__slots__:
            setattr(self, name, getattr(copied, name))


class Records(Mapping[bytes, bytes]):
    """Objects by their digests, side by side in a column; of one digest the first is kept."""

    __slots__ = ("_column", "_spans")

    def __init__(self) -> None:
        self._column = Column()
        self._spans: dict[bytes, tuple[int, int]] = {}

    def add(self, digest: bytes, data: bytes) -> None:
        """Keep one more."""
        if digest not in self._spans:
            start = len(self._column)
            self._column += data
            self._spans[digest] = start, start + len(data)

    def __getitem__(self, digest: bytes) -> bytes:
        return self._column[slice(*self._spans[digest])]

    def __contains__(self, digest: object) -> bool:
        return digest in self._spans

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)
