"""Where an export puts bytes: a folder, or blobs below a prefix, each written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeVar

from dataver.errors import DataverError, PathNotFoundError
from dataver.hashing import FileHasher
from dataver.paths import safe_spelling
from dataver.replacing import replacing
from dataver.store.clients import account, public_url
from dataver.store.failures import os_errors

if TYPE_CHECKING:
    from dataver.version import Version

MEMORY_BYTES_MAX = 32 << 20
"""Larger files are put from a temporary one, where their digest is compared first."""
BLOCK_BYTES = 4 << 20

_T = TypeVar("_T")
Advance = Callable[[int], object]


class Place(Protocol):
    """A folder or a prefix. Names are paths below it. For several threads."""

    @property
    def url(self) -> str:
        """Where it is, without credentials."""

    def sizes(self) -> dict[str, int]:
        """The files that are there, with their sizes in bytes."""

    def read(self, name: str) -> bytes:
        """All bytes of a small file that is there."""

    def digest(self, name: str) -> bytes:
        """The BLAKE3 digest of a file that is there."""

    def put(self, name: str, version: Version, size: int, advance: Advance | None = None) -> None:
        """Write the file `name` of a version: all of its bytes, compared with its digest, or nothing.

        `advance` hears of bytes that were read, as that of `Version.copy`, and may raise to have it end.
        """

    def put_bytes(self, name: str, data: bytes) -> None:
        """Write a small file."""


class FolderPlace:
    """A folder of this machine."""

    def __init__(self, folder: str) -> None:
        self.url = os.path.abspath(folder)

    def sizes(self) -> dict[str, int]:
        found = {}
        with os_errors("list", self.url):
            for folder, _, names in os.walk(self.url, onerror=_raise):
                for name in names:
                    path = os.path.join(folder, name)
                    found[os.path.relpath(path, self.url).replace(os.sep, "/")] = os.stat(path).st_size
        return found

    def read(self, name: str) -> bytes:
        with os_errors("read", self._path(name)), open(self._path(name), "rb") as file:
            return file.read()

    def digest(self, name: str) -> bytes:
        hasher = FileHasher()
        with os_errors("read", self._path(name)), open(self._path(name), "rb") as file:
            while block := file.read(BLOCK_BYTES):
                hasher.update(block)
        return hasher.digest()

    def put(
        self,
        name: str,
        version: Version,
        size: int,  # noqa: ARG002 - of blobs
        advance: Advance | None = None,
    ) -> None:
        with self._new(name) as file:
            version.copy(name, file, advance)

    def put_bytes(self, name: str, data: bytes) -> None:
        with self._new(name) as file:
            file.write(data)

    def _path(self, name: str) -> str:
        return os.path.join(self.url, name)

    @contextmanager
    def _new(self, name: str) -> Iterator[IO[bytes]]:
        path = self._path(name)
        with os_errors("write", path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            # Beside the export, which what a killed process leaves is not to be part of.
            with replacing(path, os.path.dirname(self.url)) as file:
                yield file


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


class BlobPlace:
    """Blobs below `az://CONTAINER/PREFIX`, through the client that repositories use."""

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        from dataver.store.azure_client import connect, credential_name

        options = dict(storage_options or {})
        self._fs = connect(url, options)
        self._credential = credential_name(options)
        self.container, _, prefix = str(self._fs._strip_protocol(url)).strip("/").partition("/")
        self.prefix = prefix.strip("/")
        self.url = public_url(url)

    @property
    def address(self) -> str:
        """`https://ACCOUNT.blob.core.windows.net/CONTAINER/PREFIX`."""
        return f"{account(self._fs)}/{self.container}/{self.prefix}"

    def sizes(self) -> dict[str, int]:
        start = f"{self.prefix}/"

        async def listed() -> dict[str, int]:
            found: dict[str, int] = {}
            client = self._fs.service_client.get_container_client(self.container)
            async for blob in client.list_blobs(name_starts_with=start, include=["metadata"]):
                # A hierarchical namespace lists folders, too.
                if str((blob.metadata or {}).get("hdi_isfolder", "")).lower() != "true":
                    found[blob.name[len(start) :]] = blob.size
            return found

        return self._run("list", "", listed)

    def read(self, name: str) -> bytes:
        async def whole() -> bytes:
            stream = await self._blob(name).download_blob()
            data: bytes = await stream.readall()
            return data

        return self._run("read", name, whole)

    def digest(self, name: str) -> bytes:
        async def hashed() -> bytes:
            hasher = FileHasher()
            stream = await self._blob(name).download_blob()
            async for block in stream.chunks():
                hasher.update(block)
            return hasher.digest()

        return self._run("read", name, hashed)

    def put(self, name: str, version: Version, size: int, advance: Advance | None = None) -> None:
        if size <= MEMORY_BYTES_MAX:
            self.put_bytes(name, version.read(name))
            return
        with tempfile.TemporaryFile(prefix="dataver-export-") as file:
            version.copy(name, file, advance)
            file.seek(0)
            self._put(name, file)

    def put_bytes(self, name: str, data: bytes) -> None:
        self._put(name, data)

    def _put(self, name: str, data: bytes | IO[bytes]) -> None:
        self._run("write", name, lambda: self._blob(name).upload_blob(data, overwrite=True))

    def _blob(self, name: str) -> Any:
        return self._fs.service_client.get_blob_client(self.container, f"{self.prefix}/{name}")

    def _run(self, action: str, name: str, work: Callable[[], Awaitable[_T]]) -> _T:
        """Do `work` on the event loop of fsspec, and wait for it."""
        from fsspec.asyn import sync

        from dataver.store.azure_client import from_azure_error

        try:
            result: _T = sync(self._fs.loop, work)
            return result
        except DataverError:
            raise
        except Exception as error:  # noqa: BLE001 - the SDK, the transport and credentials raise their own
            what = f"{safe_spelling(name)} in {self.url}" if name else self.url
            found = from_azure_error(error, action, what, self._credential, reading=action == "read")
            raise PathNotFoundError(str(found)) if isinstance(found, FileNotFoundError) else found from None
