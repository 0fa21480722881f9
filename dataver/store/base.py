"""What a store is: named objects of bytes, created once, and nothing of chunks or packs.

Every layer above speaks this protocol only. There is no `exists` in it, on purpose: an answer to
"is it there?" is old when it arrives, so callers read, or create, and look at what happened.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from dataver.errors import BadInputError, DamagedError
from dataver.format.limits import OBJECT_BYTES_MAX
from dataver.values import NamedTuple

if TYPE_CHECKING:
    from typing_extensions import Buffer

    Data: TypeAlias = Buffer | Sequence[Buffer]

View: TypeAlias = bytes | memoryview
"""Bytes that a store hands out. Callers never write into them."""

KEY_CHARACTERS_MAX = 512
TEMPORARY_PREFIX = ".tmp-"

_SEGMENT = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
_PREFIX = rf"(?:{_SEGMENT}/)*(?:{_SEGMENT})?"


class ObjectInfo(NamedTuple):
    """One object of a listing. `stored_at` is in seconds since 1970 by the store's own clock."""

    key: str
    size_bytes: int
    stored_at: float


class Store(Protocol):
    """Keys and bytes. Safe for use by many threads at once; pickled, it opens the same store.

    A key is one or more segments of ASCII letters, digits, `_`, `-` and `.` joined by `/`, none
    starting with a dot; anything else is a `BadInputError`. Objects are immutable once visible,
    except those written by `put_hint`.

    Every method raises `NotPermittedError` where the store refuses (permissions, credentials,
    read-only media) and `StoreError` where it fails (network, space). After a `StoreError` from
    `put_new`, `put_hint` or `delete` the change may have happened, or may still happen.
    """

    @property
    def url(self) -> str:
        """Where the store is, as people write it, without credentials. A local one: its path."""

    @property
    def identity(self) -> str:
        """What tells this place from every other, wherever its URL may lead another time; no credentials."""

    def get(self, key: str) -> bytes:
        """The whole object. `ObjectMissingError` where there is none."""

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[View]:
        """Parts of one object, one for each `(start, length)` of `ranges`, in their order.

        `start >= 0`: exactly `length` bytes from there, or `DamagedError` where the object ends
        before. `start < 0`: the last `-start` bytes, or the whole object where it is smaller;
        `length` is ignored. Neighbouring ranges are not merged: that is the caller's business.
        `ObjectMissingError` where there is no object.
        """

    def get_suffix(self, key: str, length: int) -> tuple[View, int]:
        """The last `length` bytes (the whole object where it is smaller) and the object's size.

        `ObjectMissingError` where there is no object.
        """

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
        """Create the object, whole or not at all: the one primitive that commits rest upon.

        True: it was created by this call and is visible, whole. False: the key exists, whoever
        made it, and nothing was changed. Of any number of racing calls one returns True.

        `barrier=True`: everything this store instance put before is durable before this object
        becomes visible, and when the call returns, with either answer, so is the object of this
        key. `barrier=False`: contents are durable, the name may become so only with the next
        barrier. The order is kept for this instance only: a process that puts objects for
        another one's commit ends with a barrier put of its own.

        `data` is one buffer, or a list or tuple of them that are joined. The caller must not
        change them during the call and may do so afterwards.
        """

    def put_hint(self, key: str, data: Data) -> None:
        """Create or overwrite an advisory object. Readers see the old or the new, never a mix.

        It may be lost in a crash, and racing calls leave either's bytes.
        """

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The objects whose keys start with `prefix` (`""`: all), in ascending order of keys.

        What was put before the call is in it; what is put or deleted meanwhile may be. A failure
        midway raises: a listing that ends without an error is complete. Foreign objects are
        listed as the store spells them, so a listed key need not be valid; unfinished writes
        never are.
        """

    def delete(self, key: str) -> None:
        """Remove the object. A missing one is success. It may come back after a crash."""


class Upload(Protocol):
    """An object on its way into a store, whose key is known at its end. For one thread at a time."""

    def write(self, data: Data) -> None:
        """Append these bytes, which the caller may change afterwards. Raises as `put_new` does."""

    def finish(self, key: str, *, barrier: bool = True) -> bool:
        """Create the object of all that was written: what `put_new` promises and answers."""

    def abandon(self) -> None:
        """Leave nothing behind. Without effect after `finish`."""


@runtime_checkable
class TakesUploads(Protocol):
    """A store that can take an object piece by piece."""

    def begin_upload(self, folder: str) -> Upload:
        """Begin an object whose key will be in `folder` or below."""


class CollectedUpload:
    """An `Upload` to a store that takes whole objects only: it waits in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._collected = io.BytesIO()

    def write(self, data: Data) -> None:
        for view in as_views(data):
            self._collected.write(view)

    def finish(self, key: str, *, barrier: bool = True) -> bool:
        data = self._collected.getvalue()  # no copy
        self._collected = io.BytesIO()
        return self._store.put_new(key, data, barrier=barrier)

    def abandon(self) -> None:
        self._collected = io.BytesIO()


def begin_upload(store: Store, folder: str) -> Upload:
    """Begin an object whose key will be in `folder` or below, in memory where the store cannot otherwise."""
    return store.begin_upload(folder) if isinstance(store, TakesUploads) else CollectedUpload(store)


class Wrapper:
    """A store that passes every call on to `inner`: the base of behaviour by wrapping."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    @property
    def url(self) -> str:
        return self.inner.url

    @property
    def identity(self) -> str:
        return self.inner.identity

    def get(self, key: str) -> bytes:
        return self.inner.get(key)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[View]:
        return self.inner.get_ranges(key, ranges)

    def get_suffix(self, key: str, length: int) -> tuple[View, int]:
        return self.inner.get_suffix(key, length)

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
        return self.inner.put_new(key, data, barrier=barrier)

    def put_hint(self, key: str, data: Data) -> None:
        self.inner.put_hint(key, data)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self.inner.list(prefix)

    def delete(self, key: str) -> None:
        self.inner.delete(key)


def innermost(store: Store) -> Store:
    """The store behind all wrappers."""
    while isinstance(store, Wrapper):
        store = store.inner
    return store


def ensure_safe(store: Store) -> None:
    """Have the probe done that is before the first write; raises as it does, with nothing written.

    Else the first write would do it, and a failure of the probe were taken for one of that write.
    """
    while isinstance(store, Wrapper):
        probe = getattr(store, "ensure_safe", None)
        if probe is not None:
            probe()
        store = store.inner


def pack_bytes_max(store: Store) -> int:
    """How large a pack should become here. Where a write costs a round trip, as large as it may."""
    return int(getattr(innermost(store), "pack_bytes_max", OBJECT_BYTES_MAX))


def write_usd(store: Store) -> float | None:
    """What a write costs, by the list; None where nobody asks for money."""
    price: float | None = getattr(innermost(store), "write_usd", None)
    return price


def check_key(key: str) -> None:
    """Raise `BadInputError` where `key` is not a key. Every store calls this first."""
    if len(key) > KEY_CHARACTERS_MAX or not _KEY.fullmatch(key):
        raise BadInputError(
            f"{key!a} is not a key of a store: ASCII letters, digits, '_', '-', '.' and '/', "
            f"no segment empty or starting with '.', at most {KEY_CHARACTERS_MAX} characters"
        )


def check_prefix(prefix: str) -> None:
    """Raise `BadInputError` where no key could start with `prefix`."""
    if len(prefix) > KEY_CHARACTERS_MAX or not re.fullmatch(_PREFIX, prefix):
        raise BadInputError(f"{prefix!a} is not the beginning of any key of a store")


def as_views(data: Data) -> list[memoryview]:
    """`data` as byte views of its non-empty buffers, without a copy."""
    buffers = data if isinstance(data, list | tuple) else (data,)
    return [view for view in (memoryview(b).cast("B") for b in buffers) if view.nbytes]


def one_buffer(data: Data) -> bytes:
    """`data` as one buffer, which is the caller's own where it is one of bytes already."""
    if isinstance(data, list | tuple) and len(data) == 1:
        data = data[0]
    return data if isinstance(data, bytes) else b"".join(as_views(data))


def place(start: int, length: int, size_bytes: int, what: str) -> tuple[int, int]:
    """A range of `get_ranges` as (start, length) within an object of `size_bytes`.

    `DamagedError`, naming `what`, where the object ends before the range does.
    """
    if start < 0:
        length = min(-start, size_bytes)
        return size_bytes - length, length
    if length < 0 or start + length > size_bytes:
        raise DamagedError(
            f"{what} has {size_bytes} bytes, but bytes {start} to {start + length} of it were "
            "expected: it was cut short or replaced; run `dataver verify`"
        )
    return start, length
