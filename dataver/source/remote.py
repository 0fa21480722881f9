"""What fsspec's file systems tell of their files, each in its own words, in ours."""

from __future__ import annotations

import io
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from dataver.errors import BadInputError
from dataver.hashing import blake3_digest
from dataver.paths import safe_spelling
from dataver.source.base import FILE, REMOTE_MTIME, REMOTE_TAG, SourceFile

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["AheadReader", "change_tag", "count_bytes", "find_all", "is_folder", "source_file", "spooled"]

# What changes whenever the content does, by the names that file systems give it.
_TAG_NAMES = ("etag", "ETag", "e_tag", "md5Hash", "content_md5", "checksum", "crc32c", "generation", "sha")
_TIME_NAMES = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")
_TIME_UNKNOWN_NS = 2**63 - 1  # younger than any reading, so never trusted
_BLOCK_BYTES = 1 << 20

AHEAD_BYTES = 8 << 20
AHEAD_BLOCKS = 4

Info = Mapping[str, Any]


def is_folder(info: Info) -> bool:
    """Whether it is a folder, or the empty object that some tools leave in its place."""
    return info["type"] == "directory" or (str(info["name"]).endswith("/") and not info.get("size"))


def source_file(path: bytes, info: Info) -> SourceFile:
    """The entry of a regular file, by its listing. `BadInputError` for what is no regular file."""
    if info["type"] != "file":
        raise BadInputError(
            f"{safe_spelling(path)} is no regular file but a {info['type']}, which this kind of source "
            "cannot hold; leave it out with --exclude or .dataverignore"
        )
    size = int(info["size"])
    tag = change_tag(info)
    if not tag:
        return SourceFile(path, FILE, False, size, _time_ns(info), 0, REMOTE_MTIME)
    digest = blake3_digest(tag.encode("utf-8", "surrogatepass"))
    return SourceFile(path, FILE, False, size, 0, int.from_bytes(digest[:8], "big") >> 1, REMOTE_TAG)


def change_tag(info: Info) -> str:
    """The store's own mark of this state of the file, empty where it has none."""
    for name in _TAG_NAMES:
        value = info.get(name)
        if value:
            return value if isinstance(value, str) else repr(value)
    return ""


def _time_ns(info: Info) -> int:
    for name in _TIME_NAMES:
        value = info.get(name)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                continue
        if isinstance(value, datetime):
            value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, int | float):
            return int(value * 1_000_000_000)
    return _TIME_UNKNOWN_NS


def find_all(fs: Any, root: str) -> dict[str, Info]:
    """Every file and folder below `root`, by name. Raises what the file system raises."""
    from fsspec import AbstractFileSystem
    from fsspec.asyn import AsyncFileSystem

    kind = type(fs)
    if kind.find is not AbstractFileSystem.find and not isinstance(fs, AsyncFileSystem):
        return dict(fs.find(root, detail=True, withdirs=True))
    if isinstance(fs, AsyncFileSystem) and kind._find is not AsyncFileSystem._find:
        return dict(fs.find(root, detail=True, withdirs=True))
    # fsspec's own `find` leaves out every folder that it cannot list, and says nothing.
    found: dict[str, Info] = {}
    folders = [root]
    while folders:
        for info in fs.ls(folder := folders.pop(), detail=True):
            name = str(info["name"])
            if name.rstrip("/") == folder.rstrip("/") or name in found:
                continue
            found[name] = info
            if info["type"] == "directory":
                folders.append(name)
    return found


def count_bytes(opened: BinaryIO) -> int:
    """The bytes from here to the end."""
    size = 0
    while block := opened.read(_BLOCK_BYTES):
        size += len(block)
    return size


class AheadReader(io.RawIOBase):
    """A remote file whose next blocks are asked for while one is used. For one thread.

    `fetch(start, stop)` gives the bytes of a range and may be called by several threads.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], size_bytes: int) -> None:
        super().__init__()
        self._fetch = fetch
        self._size = size_bytes
        self._at = 0
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._pool = ThreadPoolExecutor(AHEAD_BLOCKS, thread_name_prefix="dataver-fetch")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        if self._at >= self._size or not view:
            return 0
        number, offset = divmod(self._at, AHEAD_BYTES)
        data = self._block(number)[offset : offset + len(view)]
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _block(self, number: int) -> memoryview:
        in_order = number in self._blocks or not self._blocks
        if not in_order:
            self._forget()
        for wanted in range(number, number + (AHEAD_BLOCKS if number else 1)):
            start = wanted * AHEAD_BYTES
            if start < self._size and wanted not in self._blocks:
                stop = min(start + AHEAD_BYTES, self._size)
                self._blocks[wanted] = self._pool.submit(self._fetch, start, stop)
        while next(iter(self._blocks)) < number:
            self._blocks.popitem(last=False)
        return memoryview(self._blocks[number].result())

    def _forget(self) -> None:
        for future in self._blocks.values():
            future.cancel()
        self._blocks.clear()

    def close(self) -> None:
        if not self.closed:
            self._forget()
            self._pool.shutdown(wait=True)
        super().close()


def spooled(opened: BinaryIO) -> BinaryIO:
    """A copy of the rest of a file in a temporary one without a name, at its start. Closes `opened`."""
    copy = tempfile.TemporaryFile(prefix="dataver-")  # noqa: SIM115 - the caller closes it
    try:
        with opened:
            while block := opened.read(_BLOCK_BYTES):
                copy.write(block)
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return copy
