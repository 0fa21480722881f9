"""A store that is far away, with this user's cache in front of it.

Below, whole named objects are verified by their names when they enter; ranges are verified by the
layers above, which know the digests of what is in them. Nothing else enters: no "it is not there",
no listing, no hint, no newest entry.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn

from dataver import config
from dataver.errors import DamagedError, EnvironmentFaultError, OfflineError
from dataver.hashing import blake3_digest
from dataver.store.base import ObjectInfo, Store, View, Wrapper

if TYPE_CHECKING:
    from dataver.store.base import Data
    from dataver.store.disk_cache import DiskCache


class CachedStore(Wrapper):
    """`inner`, where each call is a request, and the cache that spares them; None where it is off.

    It has no `map`: that tells those above that what they read comes from afar.
    """

    def __init__(self, inner: Store, cache: DiskCache | None) -> None:
        super().__init__(inner)
        self.cache = cache

    def __reduce__(self) -> tuple[type[CachedStore], tuple[Store, DiskCache | None]]:
        return CachedStore, (self.inner, self.cache)

    def __repr__(self) -> str:
        return repr(self.inner)


class OfflineStore(Wrapper):
    """In place of a store that may not be asked: every call is an `OfflineError`."""

    def get(self, key: str) -> bytes:
        self._refuse(key)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[View]:  # noqa: ARG002
        self._refuse(key)

    def get_suffix(self, key: str, length: int) -> tuple[View, int]:  # noqa: ARG002
        self._refuse(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self._refuse(f"{prefix}*")

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:  # noqa: ARG002
        raise writing_offline(self)

    def put_hint(self, key: str, data: Data) -> None:  # noqa: ARG002
        raise writing_offline(self)

    def delete(self, key: str) -> None:  # noqa: ARG002
        raise writing_offline(self)

    def _refuse(self, key: str) -> NoReturn:
        raise OfflineError(
            f"this needs {key} of {self.url}, which is not in this machine's cache, and offline the store is "
            "not asked; run it once without --offline (DATAVER_OFFLINE), then it is there"
        )


def writing_offline(store: Store) -> OfflineError:
    """The error for a write to a store that may not be asked."""
    return OfflineError(
        f"{store.url} cannot be written to offline; run it without --offline (DATAVER_OFFLINE)"
    )


def with_cache(store: Store, *, offline: bool = False) -> CachedStore:
    """Put this user's cache in front of a store that is far away, which is not asked when `offline`."""
    return CachedStore(OfflineStore(store) if offline else store, user_cache())


def is_offline(store: Store) -> bool:
    """Whether nothing may be asked of the store."""
    return isinstance(store, CachedStore) and isinstance(store.inner, OfflineStore)


def cache_of(store: Store) -> DiskCache | None:
    """The cache in front of a store; None where it has none."""
    return store.cache if isinstance(store, CachedStore) else None


def get_named(store: Store, key: str, digest: bytes) -> View:
    """A whole object whose name is the BLAKE3 of its bytes, from the cache or verified.

    `DamagedError` where the bytes are others. `ObjectMissingError` where there is no object.
    """
    cache = cache_of(store)
    kept = None if cache is None else cache.get(digest)
    if kept is not None:
        return kept
    data = store.get(key)
    if blake3_digest(data) != digest:
        raise DamagedError(f"{key} is damaged: its bytes are not those of its name; run `dataver verify`")
    if cache is not None:
        cache.put(digest, data)
    return data


class _UserCaches:
    """The caches that this process uses, by folder and cap."""

    def __init__(self) -> None:
        self.unlock()
        self.caches: dict[tuple[str, int], DiskCache] = {}

    def unlock(self) -> None:
        """Begin as a forked process must, whoever held the lock."""
        self.lock = threading.Lock()


_user = _UserCaches()
os.register_at_fork(after_in_child=_user.unlock)


def user_cache() -> DiskCache | None:
    """The cache that the environment says; one object a process. None where it is off, or has no place."""
    cap_bytes = config.cache_bytes_max()
    try:
        folder = str(config.cache_folder())
    except EnvironmentFaultError:
        return None
    if not cap_bytes:
        return None
    from dataver.store.disk_cache import DiskCache

    with _user.lock:
        key = (folder, cap_bytes)
        if key not in _user.caches:
            _user.caches[key] = DiskCache(*key)
        return _user.caches[key]
