"""A container of Azure Blob Storage: one request an object, conditional creation, answers decided."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from dataver.errors import BadInputError, DamagedError, DataverError, StoreError
from dataver.store.azure_client import connect, credential_name, error_code, from_azure_error
from dataver.store.base import ObjectInfo, View, check_key, check_prefix, one_buffer, place
from dataver.store.clients import account, public_url

if TYPE_CHECKING:
    from adlfs import AzureBlobFileSystem

    from dataver.store.base import Data

REQUESTS_MAX = 16
IN_FLIGHT_BYTES_MAX = 256 << 20
UNKNOWN_BYTES = IN_FLIGHT_BYTES_MAX // REQUESTS_MAX
"""What a read of an object of unknown size counts as."""
GAP_BYTES_MAX = 128 << 10
"""Ranges so near each other are one request: the bytes between cost less than another one."""
BLOCK_BYTES_MAX = 8 << 20
WRITE_USD = 0.065 / 10_000
"""The list price of a write to the hot tier, locally redundant, in most regions."""

_CONTAINER = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}|\$root|\$web", re.ASCII)
_WRITE_ID = "dataver_write_id"

_T = TypeVar("_T")


class AzureStore:
    """Blobs below `az://CONTAINER/PATH`, through adlfs and the SDK's client behind it.

    Durable when a call returns. No more than `REQUESTS_MAX` requests and `IN_FLIGHT_BYTES_MAX` bytes
    are under way at a time; what more threads ask for waits. A container that does not exist is made
    by the first write.
    """

    write_usd = WRITE_USD

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        """Nothing is asked of the service yet. Raises as `connect` does."""
        self._source = (url, dict(storage_options or {}))
        self._url = public_url(url)
        self._fs: AzureBlobFileSystem = connect(url, self._source[1])
        self._credential = credential_name(self._source[1])
        path = str(self._fs._strip_protocol(url)).partition("?")[0]
        self._container, _, root = path.rstrip("/").partition("/")
        if not _CONTAINER.fullmatch(self._container):
            raise BadInputError(
                f"{self._url!r} names no container: az://CONTAINER/PATH is expected, CONTAINER being 3 to 63 "
                "lower-case letters, digits and single hyphens"
            )
        self._prefix = f"{root}/" if root else ""
        self._limit = _Limit(REQUESTS_MAX, IN_FLIGHT_BYTES_MAX)

    def __reduce__(self) -> tuple[type[AzureStore], tuple[str, dict[str, Any]]]:
        return AzureStore, self._source

    def __repr__(self) -> str:
        return f"AzureStore({self._url!r})"

    @property
    def url(self) -> str:
        """The URL as it was given, without password and query."""
        return self._url

    @property
    def identity(self) -> str:
        """The account's address with it: a container's name is unique only in its account."""
        return f"{account(self._fs)}/{self._container}/{self._prefix}".rstrip("/")

    def probe_subject(self) -> str:
        """The container, and the packages that speak to it."""
        import adlfs
        from azure.storage.blob import __version__

        place_ = f"{account(self._fs)}/{self._container}"
        return f"{place_} with adlfs {adlfs.__version__}, azure-storage-blob {__version__}"

    def end_probe(self) -> None:
        """There are no folders that could be left."""

    # Reading

    def get(self, key: str) -> bytes:
        name = self._name(key)

        async def read() -> bytes:
            async with self._limit(UNKNOWN_BYTES):
                stream = await self._blob(name).download_blob(max_concurrency=1)
                return bytes(await stream.readall())

        with self._errors("read", key, reading=True):
            return self._run(read)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[View]:
        name, what = self._name(key), self._what(key)
        wanted = list(ranges)
        if not wanted or any(start < 0 or not length for start, length in wanted):
            size = self._size(key)
            wanted = [place(start, length, size, what) for start, length in wanted]
        blocks = coalesce([(start, length) for start, length in wanted if length])
        found = self._blocks(key, name, blocks)
        out: list[View] = []
        for start, length in wanted:
            part = _part(found, start, length)
            if part is None:
                place(start, length, self._size(key), what)
                raise DamagedError(f"{what} was cut short while it was read; run `dataver verify`")
            out.append(part)
        return out

    def _blocks(self, key: str, name: str, blocks: list[tuple[int, int]]) -> list[tuple[int, bytes]]:
        """Read (start, length) ranges at the same time. What lies beyond the object's end is left out."""

        async def read(start: int, length: int) -> tuple[int, bytes]:
            async with self._limit(length):
                try:
                    stream = await self._blob(name).download_blob(start, length, max_concurrency=1)
                    return start, bytes(await stream.readall())
                except Exception as error:
                    if getattr(error, "status_code", None) == 416:
                        return start, b""
                    raise

        async def read_all() -> list[tuple[int, bytes]]:
            return await asyncio.gather(*(read(*block) for block in blocks))

        with self._errors("read", key, reading=True):
            return self._run(read_all)

    def get_suffix(self, key: str, length: int) -> tuple[View, int]:
        size = self._size(key)
        count = min(length, size)
        return self.get_ranges(key, [(size - count, count)])[0] if count else b"", size

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        skip = len(self._prefix)

        async def read() -> list[ObjectInfo]:
            container = self._fs.service_client.get_container_client(self._container)
            found = []
            async with self._limit(0):
                # With the metadata, which mark the folders of a hierarchical namespace.
                pages = container.list_blobs(self._prefix + prefix, include=["metadata"])
                async for blob in pages:
                    if not _is_folder(blob):
                        info = ObjectInfo(blob.name[skip:], int(blob.size), blob.last_modified.timestamp())
                        found.append(info)
            return found

        with self._errors("list", prefix):
            return iter(sorted(self._run(read)))

    def _size(self, key: str) -> int:
        name = self._name(key)

        async def read() -> int:
            async with self._limit(0):
                return int((await self._blob(name).get_blob_properties()).size)

        with self._errors("read", key, reading=True):
            return self._run(read)

    # Writing

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:  # noqa: ARG002 - durable anyway
        from azure.core.exceptions import ResourceExistsError

        name = self._name(key)
        value = one_buffer(data)
        write_id = os.urandom(16).hex()

        async def write() -> bool:
            async with self._limit(len(value)):
                blob = self._blob(name)
                try:
                    await blob.upload_blob(
                        value, length=len(value), metadata={_WRITE_ID: write_id}, max_concurrency=1
                    )
                    return True
                except ResourceExistsError as error:
                    if error_code(error) != "BlobAlreadyExists":
                        raise
                # The client repeats a request whose answer was lost, and then meets its own blob.
                found = await blob.get_blob_properties()
                return (found.metadata or {}).get(_WRITE_ID) == write_id

        return self._writing(key, write)

    def put_hint(self, key: str, data: Data) -> None:
        name = self._name(key)
        value = one_buffer(data)

        async def write() -> None:
            async with self._limit(len(value)):
                await self._blob(name).upload_blob(
                    value, length=len(value), overwrite=True, max_concurrency=1
                )

        self._writing(key, write)

    def _writing(self, key: str, write: Callable[[], Awaitable[_T]]) -> _T:
        """Do a write; where the container does not exist, make it and write again."""
        with self._errors("write", key):
            try:
                return self._run(write)
            except Exception as error:
                if error_code(error) != "ContainerNotFound":
                    raise
            self._run(self._make_container)
            return self._run(write)

    async def _make_container(self) -> None:
        from azure.core.exceptions import ResourceExistsError

        try:
            await self._fs.service_client.create_container(self._container)
        except ResourceExistsError:
            return

    def delete(self, key: str) -> None:
        from azure.core.exceptions import ResourceNotFoundError

        name = self._name(key)

        async def remove() -> None:
            async with self._limit(0):
                try:
                    await self._blob(name).delete_blob(delete_snapshots="include")
                except ResourceNotFoundError:
                    return

        with self._errors("delete", key):
            self._run(remove)

    # What `doctor` asks

    @property
    def credential(self) -> str:
        """Which credential is used, and where it came from; no secret."""
        return self._credential

    def is_hierarchical(self) -> bool:
        """Whether the account has a hierarchical namespace. Raises as a read does."""

        async def ask() -> bool:
            async with self._limit(0):
                container = self._fs.service_client.get_container_client(self._container)
                return bool((await container.get_account_information()).get("is_hns_enabled"))

        with self._errors("ask about", "account"):
            return self._run(ask)

    def soft_delete_days(self) -> int:
        """For how many days the account keeps deleted blobs; 0: not at all. Raises as a read does."""

        async def ask() -> int:
            async with self._limit(0):
                policy = (await self._fs.service_client.get_service_properties())["delete_retention_policy"]
                return int(policy.days or 0) if policy.enabled else 0

        with self._errors("ask about", "account"):
            return self._run(ask)

    # Below: the client

    def _name(self, key: str) -> str:
        check_key(key)
        return self._prefix + key

    def _what(self, key: str) -> str:
        return f"object {key} of {self._url}"

    def _blob(self, name: str) -> Any:
        return self._fs.service_client.get_blob_client(self._container, name)

    def _run(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Do `work` on the event loop of fsspec, and wait for it."""
        from fsspec.asyn import sync

        if self._fs._pid != os.getpid():
            raise StoreError(
                f"{self._url} was opened before this process was forked; open the repository again in it"
            )
        result: _T = sync(self._fs.loop, work)
        return result

    @contextmanager
    def _errors(self, action: str, key: str, *, reading: bool = False) -> Iterator[None]:
        try:
            yield
        except DataverError:
            raise
        except Exception as error:  # noqa: BLE001 - the SDK, the transport and credentials raise their own
            # Without the cause: its text and its frames may hold credentials.
            raise from_azure_error(
                error, action, self._what(key), self._credential, reading=reading
            ) from None


class _Limit:
    """Lets so many requests, with so many bytes in all, be under way. For one event loop."""

    def __init__(self, requests: int, size_bytes: int) -> None:
        self._requests_max = requests
        self._bytes_max = size_bytes
        self._requests = 0
        self._bytes = 0
        self._changed: asyncio.Condition | None = None

    @asynccontextmanager
    async def __call__(self, size_bytes: int) -> AsyncIterator[None]:
        """Wait for room. A request larger than all the room goes alone."""
        if self._changed is None:
            self._changed = asyncio.Condition()
        async with self._changed:
            await self._changed.wait_for(
                lambda: (
                    not self._requests
                    or (self._requests < self._requests_max and self._bytes + size_bytes <= self._bytes_max)
                )
            )
            self._requests += 1
            self._bytes += size_bytes
        try:
            yield
        finally:
            async with self._changed:
                self._requests -= 1
                self._bytes -= size_bytes
                self._changed.notify_all()


def coalesce(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """(start, length) ranges as fewer that cover them: those near each other are joined.

    A joined range is no longer than `BLOCK_BYTES_MAX`, unless a single one is.
    """
    blocks: list[tuple[int, int]] = []
    for start, length in sorted(ranges):
        if blocks:
            begin, size = blocks[-1]
            stop = max(start + length, begin + size)
            if start <= begin + size + GAP_BYTES_MAX and (
                stop == begin + size or stop - begin <= BLOCK_BYTES_MAX
            ):
                blocks[-1] = begin, stop - begin
                continue
        blocks.append((start, length))
    return blocks


def _part(blocks: Sequence[tuple[int, bytes]], start: int, length: int) -> View | None:
    """A range out of blocks that were read, (start, bytes) each; None where they do not hold all of it."""
    if not length:
        return b""
    for begin, data in blocks:
        if begin <= start and start + length <= begin + len(data):
            return memoryview(data)[start - begin : start - begin + length]
    return None


def _is_folder(blob: Any) -> bool:
    """Whether a listed blob is the mark of a folder, as a hierarchical namespace has them."""
    return str((blob.metadata or {}).get("hdi_isfolder", "")).lower() == "true"
