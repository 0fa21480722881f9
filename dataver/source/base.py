"""What a source is to those who read it: a sorted listing, and bytes that did not move meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from dataver.values import NamedTuple

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from typing_extensions import Buffer

    from dataver.source.columns import Listing

__all__ = [
    "EMPTY_FOLDER",
    "FILE",
    "IGNORE_FILE",
    "NOISY",
    "PART_PREFIX",
    "READ",
    "READ_PAUSES_S",
    "REMOTE_MTIME",
    "REMOTE_TAG",
    "SPECIAL",
    "SYMLINK",
    "Batch",
    "Refused",
    "Source",
    "SourceFile",
    "SourceReader",
    "pauses",
]

FILE = 0
SYMLINK = 1
EMPTY_FOLDER = 2
SPECIAL = 9
"""A pipe, socket or device: only in listings that look at what stands in the way, never committed."""

Refused = Callable[[bytes, bool], None]
"""Told of a folder that is left out: its path, and whether it is a repository, or may not be read."""

IGNORE_FILE = b".dataverignore"

# Files that a checkout has not finished begin so; what a killed one left behind is in no version.
PART_PREFIX = b".dataver-part-"

# A file that changed while it was read is read again after each of these pauses, then given up.
READ_PAUSES_S = (0.0, 0.02, 0.1, 0.4, 1.0)

# In place of an inode, for files that are not on a local file system: `ctime_ns` holds a digest of
# the store's own change tag, or nothing is known but the time of the last change.
REMOTE_TAG = 2**64 - 1
REMOTE_MTIME = 2**64 - 2


def pauses() -> Iterator[int]:
    """Number the attempts to read a file that keeps changing, and sleep before each but the first."""
    for attempt, pause_s in enumerate(READ_PAUSES_S):
        if pause_s:
            time.sleep(pause_s)
        yield attempt


class SourceFile(NamedTuple):
    """One entry of a source, and the stamps that tell whether it changed since.

    `path` passed the rules of `dataver.paths`. `size` is in bytes: of a symlink its target's, of an
    empty folder 0. Times are nanoseconds since the epoch. All of it equal means: the same bytes,
    save for changes within the grain of the file system's clock (see `dataver.stat_cache`).
    """

    path: bytes
    kind: int
    executable: bool
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


READ = 1
NOISY = 2


class Batch(NamedTuple):
    """What came of reading many files at once: side by side, for each file its flags and its digest.

    `READ`: its content is in the buffer, right after that of the one read before, and belongs to the
    very stamps of the file; `NOISY`: besides, it does not look as if it could be compressed. Without
    `READ` the digest is all zeros.
    """

    flags: bytes
    digests: bytes


class SourceReader(Protocol):
    """A file of a source, open for reading: seekable, for one thread at a time."""

    @property
    def file(self) -> SourceFile:
        """The entry with the stamps found on opening: it may differ from the listing's."""
        ...

    def readinto(self, buffer: Buffer, /) -> int | None: ...
    def read(self, size: int = -1, /) -> bytes | None: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def check(self) -> None:
        """Raise `SourceChangedError` unless the file still is what it was on opening.

        Call it when everything was read, and count the bytes against `file.size`. What was read
        before counts only if this returns; the caller may then open the file again.
        """
        ...


class Source(Protocol):
    """What is to be committed. Safe for use by many threads."""

    @property
    def name(self) -> str:
        """For messages: the place, without credentials, in a safe spelling."""
        ...

    @property
    def key(self) -> bytes:
        """What identifies the place on this machine: its real path, or its URL without credentials."""
        ...

    def files(self) -> Listing:
        """Everything to be committed, sorted by path. Reads names and stamps, no contents."""
        ...

    def read_small(self, file: SourceFile) -> tuple[bytes, SourceFile]:
        """The whole content, or a symlink's target, and the entry with the stamps that belong to it.

        A file that changes meanwhile is read again, several times, then `SourceChangedError` names
        it. Memory: the size of the file.
        """
        ...

    def read_batch(self, files: Sequence[SourceFile], buffer: memoryview) -> Batch:
        """Read small files one after the other into `buffer`, as far as they are just as listed.

        Never raises for the sake of a file: of those that were not read `read_small` must see what
        became of them.
        """
        ...

    def open_stable(self, file: SourceFile) -> SourceReader:
        """Open a file of any size. Whoever reads calls `check` at the end, and tries again on failure."""
        ...

    def locate(self, file: SourceFile) -> tuple[str, str]:
        """Where a regular file can be found again, for an entry by reference: (URL, change tag).

        The URL carries no credentials and is what fsspec and `open_source` take. The tag is the
        store's own, as it was on listing, or empty. `BadInputError` where a URL cannot say it.
        """
        ...
