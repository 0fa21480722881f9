"""What fsspec's file systems tell of their files, each in its own words, in ours."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO

from dataver.errors import BadInputError
from dataver.hashing import blake3_digest
from dataver.paths import safe_spelling
from dataver.source.base import FILE, REMOTE_MTIME, REMOTE_TAG, SourceFile

__all__ = ["change_tag", "count_bytes", "find_all", "is_folder", "source_file", "spooled"]

# What changes whenever the content does, by the names that file systems give it.
_TAG_NAMES = ("etag", "ETag", "e_tag", "md5Hash", "content_md5", "checksum", "crc32c", "generation", "sha")
_TIME_NAMES = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")
_TIME_UNKNOWN_NS = 2**63 - 1  # younger than any reading, so never trusted
_BLOCK_BYTES = 1 << 20

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
