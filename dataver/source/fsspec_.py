"""Whatever fsspec reaches: buckets, containers, archives, web and file servers.

Nothing there has an inode. An entry's stamps hold the store's own change tag where it tells one
(an ETag, a checksum, a generation), else the time of the last change, else nothing: such a file
is read each time.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import unquote

from dataver.digest import DIGEST_BYTES
from dataver.errors import BadInputError, DataverError, PathNotFoundError
from dataver.globs import path_filter
from dataver.paths import RelativePath, check_paths, safe_spelling
from dataver.source.base import EMPTY_FOLDER, REMOTE_TAG, Batch, SourceFile, pauses
from dataver.source.columns import Listing
from dataver.source.faults import changed
from dataver.source.listing import GENESIS, choose
from dataver.source.remote import (
    AheadReader,
    change_tag,
    count_bytes,
    find_all,
    is_folder,
    source_file,
    spooled,
)
from dataver.store.clients import account, file_system, public_url, without_password
from dataver.store.failures import from_client_error, redact

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["FsspecReader", "FsspecSource"]

_READ_AHEAD_BYTES = 8 << 20
_ABSENT = frozenset({404, 410})
_WEB = ("http", "https")


class FsspecSource:
    """A folder or a single file at an fsspec URL.

    `.dataverignore` is obeyed and repositories are left out, as on a local disk. No entry is a
    symlink or executable. Credentials come from the environment, fsspec's configuration and
    `storage_options`; none shows in `name` or `key`.
    """

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, Any] | None = None,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        ignore: bool = True,
    ) -> None:
        """Nothing is asked of the place yet. `BadInputError` for a URL that fsspec does not know."""
        shown = public_url(url)
        self.name = safe_spelling(shown)
        self._url = url
        self._options = dict(storage_options or {})
        chosen = path_filter(include, exclude)
        self._filter = chosen if include or exclude else None
        self._ignore = ignore
        self._web = url.partition("://")[0] in _WEB
        self._threads = threading.local()
        self._root = self._open_root()
        key = f"{shown} {account(self._fs())}".rstrip()
        self.key = key.encode("utf-8", "surrogateescape")
        # Of what was listed, by path: its name in the file system, and the store's change tag.
        self._names: dict[bytes, str] = {}
        self._tags: dict[bytes, str] = {}

    def _open_root(self) -> str:
        protocol = self._url.partition("://")[0]
        try:
            fs, root = file_system(self._url, self._options)
        except ImportError as error:
            raise BadInputError(f"no package for {protocol}:// is installed: {error}") from error
        except DataverError:
            raise
        except ValueError as error:
            raise BadInputError(f"cannot open {self.name}: {redact(str(error))}") from None
        except FileNotFoundError:
            raise PathNotFoundError(f"{self.name} does not exist") from None
        except Exception as error:  # noqa: BLE001 - file systems raise what they like when they log in
            raise from_client_error(error, "open", self.name) from None
        self._threads.fs = fs
        return str(root)

    def _fs(self) -> Any:
        """This thread's file system: fsspec shares those that are safe to share, and only those."""
        try:
            return self._threads.fs
        except AttributeError:
            self._threads.fs = file_system(self._url, self._options)[0]
            return self._threads.fs

    def files(self) -> Listing:
        """Everything to be committed, sorted by path. See `Source.files`.

        A folder that cannot be listed is an error, never an empty one.
        """
        with self.errors("list", self.name):
            fs = self._fs()
            fs.invalidate_cache()
            top = None if self._web and self._url.endswith("/") else fs.info(self._root)
            if top is not None and not is_folder(top):
                return self._single(top)
            infos = find_all(fs, self._root)
        files: dict[bytes, Mapping[str, Any]] = {}
        folders: list[bytes] = []
        for name, info in infos.items():
            path = self._relative(name)
            if not path:
                continue
            if is_folder(info):
                folders.append(path)
            else:
                self._names[path] = name
                files[path] = info
        return self._listed(files, folders)

    def _listed(self, files: dict[bytes, Mapping[str, Any]], folders: list[bytes]) -> Listing:
        if GENESIS in files:
            raise BadInputError(
                f"{self.name} is a repository, which no version can hold; name a folder of data"
            )
        chosen, empty = choose(files, folders, self._read_ignore_file if self._ignore else None)
        if self._filter is not None:
            chosen = [path for path in chosen if self._filter(path)]
            empty = [path for path in empty if self._filter(path + b"/")]
        found = [self._entry(path, files[path]) for path in chosen]
        found += [SourceFile(path, EMPTY_FOLDER, False, 0, 0, 0, 0) for path in empty]
        listing = Listing.of(found)
        try:
            check_paths(listing.paths)
        except BadInputError as error:
            raise BadInputError(
                f"{error}; rename it in {self.name}, or leave it out with --exclude"
            ) from error
        return listing

    def _single(self, info: Mapping[str, Any]) -> Listing:
        name = self._root.partition("?")[0] if self._web else self._root
        base = name.rstrip("/").rpartition("/")[2]
        path = RelativePath.parse(unquote(base) if self._web else base)
        self._names[path] = self._root
        return Listing.of([self._entry(path, info)] if self._filter is None or self._filter(path) else [])

    def _relative(self, name: str) -> bytes:
        root = self._root.strip("/")
        relative = name.strip("/")
        if root:
            relative = relative.removeprefix(root).lstrip("/") if relative.startswith(root) else relative
        if self._web:
            relative = unquote(relative)
        return relative.encode("utf-8", "surrogateescape")

    def _name(self, path: bytes) -> str:
        """What the file system calls the file of this path, as listed."""
        try:
            return self._names[bytes(path)]
        except KeyError:
            raise PathNotFoundError(f"{safe_spelling(path)} is not in the listing of {self.name}") from None

    def _entry(self, path: bytes, info: Mapping[str, Any]) -> SourceFile:
        if info.get("size") is None:  # a web server that does not say
            with self.errors("read", safe_spelling(path)):
                info = self._fs().info(self._name(path))
                if info.get("size") is None:
                    with self._fs().open(self._names[path], "rb") as opened:
                        info = {**info, "size": count_bytes(opened)}
        if tag := change_tag(info):
            self._tags[path] = tag
        return source_file(path, info)

    def entry_now(self, file: SourceFile) -> SourceFile:
        """The entry as the place tells it now."""
        path = bytes(file.path)
        with self.errors("read", safe_spelling(path)):
            fs = self._fs()
            fs.invalidate_cache()
            info = fs.info(self._name(path))
        return self._entry(path, info)

    def _read_ignore_file(self, path: bytes) -> bytes:
        with self.errors("read", safe_spelling(path)):
            return bytes(self._fs().cat_file(self._name(path)))

    def read_small(self, file: SourceFile) -> tuple[bytes, SourceFile]:
        """The whole content, with the stamps that belong to it. See `Source.read_small`."""
        if file.kind == EMPTY_FOLDER:
            return b"", file
        for _ in pauses():
            with self.errors("read", safe_spelling(file.path)):
                data = bytes(self._fs().cat_file(self._name(file.path)))
            # One answer of a store is one state of an object, so that its tag need not be asked for
            # again. Should the listing be older, its tag is never seen again and nothing comes of it.
            if len(data) == file.size and file.inode == REMOTE_TAG:
                return data, file
            now = self.entry_now(file)
            if now == file and len(data) == file.size:
                return data, file
            file = now
        raise changed(file)

    def read_batch(self, files: Sequence[SourceFile], buffer: memoryview) -> Batch:  # noqa: ARG002
        """None: each takes a request of its own. See `Source.read_batch`."""
        return Batch(bytes(len(files)), bytes(DIGEST_BYTES * len(files)))

    def open_stable(self, file: SourceFile) -> FsspecReader:
        """Open a file of any size, seekable. See `Source.open_stable`.

        Where the server only gives it from start to end, it is first copied to a temporary file.
        """
        file = self.entry_now(file)
        fs, name = self._fs(), self._name(file.path)
        if getattr(fs, "async_impl", False) and file.inode == REMOTE_TAG:
            # Ranges of one object can be asked for at once, and the tag tells if they fit together.
            ahead = AheadReader(partial(fs.cat_file, name), file.size)
            return FsspecReader(self, cast("BinaryIO", ahead), file)
        with self.errors("read", safe_spelling(file.path)):
            opened = fs.open(name, "rb", block_size=_READ_AHEAD_BYTES)
            if not opened.seekable():
                opened = spooled(opened)
        return FsspecReader(self, opened, file)

    def locate(self, file: SourceFile) -> tuple[str, str]:
        """Its own URL, without credentials, and the store's tag. See `Source.locate`."""
        if "::" in self._url:
            raise BadInputError(f"{self.name}: a file inside of another cannot be referred to")
        url = str(self._fs().unstrip_protocol(self._name(file.path)))
        # Only on the web a query is no part of the name.
        shown = public_url(url) if self._web else without_password(url)
        return shown, self._tags.get(bytes(file.path), "")

    @contextmanager
    def errors(self, action: str, what: str) -> Iterator[None]:
        """Turn what the file system raises in the block into errors of ours."""
        try:
            yield
        except DataverError:
            raise
        except FileNotFoundError as error:
            # For the web every failure is a missing file; the cause says whether it was one.
            cause = error.__cause__ if self._web else None
            absent = isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) in _ABSENT
            if isinstance(cause, Exception) and not absent:
                raise from_client_error(cause, action, what) from None
            raise PathNotFoundError(f"{what} does not exist") from None
        except Exception as error:  # noqa: BLE001 - every client library has exceptions of its own
            # Without the cause: its text and its frames may hold credentials.
            raise from_client_error(error, action, what) from None


class FsspecReader(io.RawIOBase):
    """A `SourceReader` over a file of fsspec's."""

    def __init__(self, source: FsspecSource, opened: BinaryIO, file: SourceFile) -> None:
        super().__init__()
        self.file = file
        self._source = source
        self._opened = opened

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        with self._source.errors("read", safe_spelling(self.file.path)):
            if isinstance(self._opened, AheadReader):
                return self._opened.readinto(view)
            data = self._opened.read(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        with self._source.errors("read", safe_spelling(self.file.path)):
            return self._opened.seek(offset, whence)

    def tell(self) -> int:
        return self._opened.tell()

    def close(self) -> None:
        if not self.closed:
            self._opened.close()
        super().close()

    def check(self) -> None:
        if self._source.entry_now(self.file) != self.file:
            raise changed(self.file)
