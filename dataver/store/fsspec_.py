"""Any store that fsspec speaks to, where that can create an object exclusively; else to read from.

Nothing is trusted that fsspec only emulates: creation is refused where it would look first and
write then, listings are walked here where fsspec's own would leave out folders that failed, and
answers shorter than asked for are errors.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dataver.errors import BadInputError, DamagedError, DataverError, StoreError, UnsafeStoreError
from dataver.store.base import ObjectInfo, View, check_key, check_prefix, one_buffer, place
from dataver.store.clients import file_system, public_url
from dataver.store.failures import from_client_error, redact

if TYPE_CHECKING:
    from dataver.store.base import Data

# The names under which file systems tell when an object was stored.
_TIME_NAMES = ("LastModified", "last_modified", "updated", "mtime", "created")


class FsspecStore:
    """Objects below an fsspec URL. Durable as far as the service's answer says so.

    `open_store` puts the probe in front of its writing methods; used bare, nobody has checked
    that the service creates a key at most once.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self._source = (url, dict(storage_options or {}))
        self._url = public_url(url)
        if "::" in url or "://" not in url:
            raise BadInputError(f"{self._url!r} is not the URL of a store: PROTOCOL://PLACE is expected")
        protocol = url.partition("://")[0]
        try:
            self._fs, path = file_system(url, self._source[1])
        except ImportError as error:
            raise BadInputError(f"no package for {protocol}:// is installed: {error}") from error
        except DataverError:
            raise
        except ValueError as error:
            raise BadInputError(f"cannot open {self._url}: {redact(str(error))}") from None
        except Exception as error:  # noqa: BLE001 - file systems raise what they like when they log in
            raise from_client_error(error, "open", self._url) from None
        self._root = path.rstrip("/")

    def __reduce__(self) -> tuple[type[FsspecStore], tuple[str, dict[str, Any]]]:
        return FsspecStore, self._source

    def __repr__(self) -> str:
        return f"FsspecStore({self._url!r})"

    @property
    def url(self) -> str:
        """The URL, without password and query."""
        return self._url

    @property
    def identity(self) -> str:
        """The same URL: nothing more is known of what it leads to."""
        return self.url

    def probe_subject(self) -> str:
        """The bucket, container or server, and the packages that speak to it."""
        import fsspec

        package = type(self._fs).__module__.partition(".")[0]
        version = getattr(sys.modules.get(package), "__version__", "unknown")
        place_ = "/".join(self._url.split("/", 3)[:3])
        return f"{place_} with fsspec {fsspec.__version__}, {package} {version}"

    def end_probe(self) -> None:
        """Nothing is left, or what is left does no harm."""

    def get(self, key: str) -> bytes:
        path = self._path(key)
        with self._errors("read", key, reading=True):
            return bytes(self._fs.cat_file(path))

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[View]:
        path = self._path(key)
        what = self._what(key)
        wanted = list(ranges)
        if not wanted or any(start < 0 or not length for start, length in wanted):
            size = self._size(key)
            wanted = [place(start, length, size, what) for start, length in wanted]
        places = [(start, start + length) for start, length in wanted if length]
        if not places:
            return [b""] * len(wanted)
        try:
            with self._errors("read", key, reading=True):
                found = self._fs.cat_ranges(
                    [path] * len(places), [p[0] for p in places], [p[1] for p in places], on_error="raise"
                )
        except StoreError:
            # Services refuse a range beyond the end in many ways; that is damage, not a failure.
            size = self._size(key)
            for start, length in wanted:
                place(start, length, size, what)
            raise
        parts = iter(found)
        return [self._exactly(key, next(parts), start, length) if length else b"" for start, length in wanted]

    def get_suffix(self, key: str, length: int) -> tuple[View, int]:
        size = self._size(key)
        count = min(length, size)
        return self.get_ranges(key, [(size - count, count)])[0] if count else b"", size

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:  # noqa: ARG002 - see above
        path = self._path(key)
        if self._emulates_creation():
            raise UnsafeStoreError(
                f"{self._url} cannot be written to: fsspec's {type(self._fs).__name__} cannot create a file "
                "only where there is none, so commits could overwrite each other; it can be read from"
            )
        value = one_buffer(data)
        try:
            with self._errors("write", key):
                self._fs.pipe_file(path, value, mode="create")
        except FileExistsError:
            return False
        return True

    def put_hint(self, key: str, data: Data) -> None:
        path = self._path(key)
        with self._errors("write", key):
            self._fs.pipe_file(path, one_buffer(data))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        with self._errors("list", prefix):
            found = self._find(prefix.rpartition("/")[0])
        skip = len(self._root) + 1
        wanted = {path[skip:]: info for path, info in found.items() if path[skip:].startswith(prefix)}
        return iter(
            sorted(
                ObjectInfo(key, self._listed_size(key, info), _stored_at(info))
                for key, info in wanted.items()
            )
        )

    def _listed_size(self, key: str, info: Mapping[str, Any]) -> int:
        """The size that a listing tells, or, as of web servers, another request."""
        return self._size(key) if info.get("size") is None else int(info["size"])

    def delete(self, key: str) -> None:
        path = self._path(key)
        with self._errors("delete", key):
            try:
                self._fs.rm_file(path)
            except FileNotFoundError:
                return

    # Below: the file system

    def _path(self, key: str) -> str:
        check_key(key)
        return f"{self._root}/{key}"

    def _what(self, key: str) -> str:
        return f"object {key} of {self._url}"

    @contextmanager
    def _errors(self, action: str, key: str, *, reading: bool = False) -> Iterator[None]:
        try:
            yield
        except (DataverError, FileExistsError):
            raise
        except Exception as error:  # noqa: BLE001 - every client library has exceptions of its own
            # Without the cause: its text and its frames may hold credentials.
            raise from_client_error(error, action, self._what(key), reading=reading) from None

    def _emulates_creation(self) -> bool:
        from fsspec import AbstractFileSystem

        return getattr(self._fs.pipe_file, "__func__", None) is AbstractFileSystem.pipe_file

    def _size(self, key: str) -> int:
        path = self._path(key)
        with self._errors("read", key, reading=True):
            self._fs.invalidate_cache()
            info = self._fs.info(path)
            if info["type"] != "file":
                raise FileNotFoundError(path)
            return int(info["size"])

    def _exactly(self, key: str, data: View, start: int, length: int) -> View:
        if len(data) > length and len(data) == self._size(key):
            # A server that knows no ranges gave all of it.
            return data[start : start + length]
        if len(data) != length:
            raise DamagedError(
                f"{self._what(key)} gave {len(data)} bytes where {length} were asked for: it was cut short "
                "or replaced; run `dataver verify`"
            )
        return data

    def _find(self, folder: str) -> dict[str, dict[str, Any]]:
        from fsspec import AbstractFileSystem
        from fsspec.asyn import AsyncFileSystem

        self._fs.invalidate_cache()
        top = f"{self._root}/{folder}".rstrip("/")
        kind = type(self._fs)
        if kind.find is not AbstractFileSystem.find or (
            isinstance(self._fs, AsyncFileSystem) and kind._find is not AsyncFileSystem._find
        ):
            try:
                return dict(self._fs.find(top, detail=True))
            except FileNotFoundError:
                return {}
        # fsspec's own `find` leaves out every folder that it cannot list, and says nothing.
        found: dict[str, dict[str, Any]] = {}
        folders = [top]
        while folders:
            path = folders.pop()
            try:
                entries = self._fs.ls(path, detail=True)
            except FileNotFoundError:
                if path == top:
                    return {}
                raise
            for info in entries:
                name = info["name"].rstrip("/")
                if info["type"] != "directory":
                    found[name] = info
                elif name != path:
                    folders.append(name)
        return found


def _stored_at(info: Mapping[str, Any]) -> float:
    for name in _TIME_NAMES:
        value = info.get(name)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                continue
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, int | float):
            return float(value)
    # Unknown: as young as can be, so that nothing is taken for old.
    return time.time()
