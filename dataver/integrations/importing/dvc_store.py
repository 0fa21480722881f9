"""Where DVC keeps bytes: its cache, and remotes that are folders or URLs. Nothing is changed there."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from dataver.errors import BadInputError, DataverError
from dataver.paths import safe_spelling
from dataver.source import local_path
from dataver.source.faults import source_fault
from dataver.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataver.integrations.importing.pointed import Place

__all__ = ["DigestStore", "LocalFile", "local_file", "open_remote"]

Names = Callable[[str], Sequence[str]]
"""The paths below a root at which the bytes of a digest may be, the likeliest first."""
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A regular file of this machine."""

    path: str
    size: int

    @property
    def name(self) -> str:
        """For messages."""
        return safe_spelling(self.path)

    def open(self) -> BinaryIO:
        """The file, unless something else took its place: a pipe would never end."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise source_fault(error, os.fsencode(self.path)) from None
        opened = os.fdopen(descriptor, "rb", buffering=0)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            opened.close()
            raise BadInputError(f"{self.name} is no regular file")
        return cast("BinaryIO", opened)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of one of fsspec's file systems."""

    fs: Any
    path: str
    size: int

    @property
    def name(self) -> str:
        """For messages."""
        return safe_spelling(self.path)

    def open(self) -> BinaryIO:
        """All of it, fetched at once where it is small."""
        with _errors("read", self.name):
            if self.size <= 8 << 20:
                return io.BytesIO(self.fs.cat_file(self.path))
            return cast("BinaryIO", self.fs.open(self.path, "rb", block_size=8 << 20))


class DigestStore:
    """A cache or a remote: files under names made of their digests."""

    def __init__(self, find: Callable[[str], Place | None], names: Names) -> None:
        self._find = find
        self._names = names

    def find(self, digest: str) -> Place | None:
        """Where the bytes of a digest are; None where they are not."""
        return next(filter(None, map(self._find, self._names(digest))), None)


def local_file(root: str, name: str) -> LocalFile | None:
    """The regular file of this name below a folder; None where there is none."""
    path = os.path.join(root, name)
    try:
        found = os.stat(path)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise source_fault(error, os.fsencode(path)) from None
    return LocalFile(path, found.st_size) if stat.S_ISREG(found.st_mode) else None


def open_remote(url: str, base: str, names: Names, options: Mapping[str, str]) -> DigestStore:
    """The files below a URL, or a path that is relative to the folder `base`."""
    path = local_path(url)
    if path is not None:
        return DigestStore(
            partial(local_file, os.path.join(base, os.path.expanduser(os.fsdecode(path)))), names
        )
    from dataver.store.clients import file_system, public_url

    if "::" in url:
        raise BadInputError(f"the remote {public_url(url)} is a chain of file systems, which is not followed")
    scheme, separator, rest = url.partition("://")
    url = f"{'az' if scheme == 'azure' else scheme}{separator}{rest}"
    with _errors("open", public_url(url)):
        try:
            fs, root = file_system(url, options)
        except (ImportError, ValueError) as error:
            raise BadInputError(f"the remote {public_url(url)} cannot be opened: {error}") from None
    return DigestStore(partial(_remote_file, fs, root.rstrip("/")), names)


def _remote_file(fs: Any, root: str, name: str) -> RemoteFile | None:
    path = f"{root}/{name}"
    with _errors("look for", safe_spelling(path)):
        try:
            found = fs.info(path)
        except FileNotFoundError:
            return None
    is_file = found.get("type") == "file" and found.get("size") is not None
    return RemoteFile(fs, path, int(found["size"])) if is_file else None


@contextmanager
def _errors(action: str, what: str) -> Iterator[None]:
    try:
        yield
    except DataverError:
        raise
    except Exception as error:  # noqa: BLE001 - every client library has exceptions of its own
        from dataver.store.failures import from_client_error

        raise from_client_error(error, action, what) from None
