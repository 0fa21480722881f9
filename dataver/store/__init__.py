"""Where bytes are kept: keys and bytes, nothing of chunks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dataver.errors import BadInputError
from dataver.store.base import ObjectInfo, Store, View, Wrapper
from dataver.store.clients import AZURE

if TYPE_CHECKING:
    from dataver.store.probe import ProbeableStore

__all__ = ["ObjectInfo", "Store", "View", "Wrapper", "open_store"]


def open_store(
    url: str | os.PathLike[str],
    storage_options: Mapping[str, Any] | None = None,
    *,
    offline: bool = False,
) -> Store:
    """The store at `url`: a path, `file://`, `memory://`, or any URL that fsspec knows.

    Nothing is read or written yet, so a store that is not there shows only later. The first write
    probes whether the store creates an object at most once (see `probe`), and raises
    `UnsafeStoreError` where it does not; such a store can be read. `storage_options` go to fsspec
    and mean nothing to paths and `memory://`. `BadInputError` where the URL has no meaning here.

    A store that is not on this machine has this user's cache in front of it; `offline` (or
    `DATAVER_OFFLINE`) means that nothing but that cache is asked.
    """
    from dataver.store.probe import GuardedStore

    bare = _bare_store(os.fspath(url), storage_options)
    guarded = GuardedStore(bare)
    if _is_here(bare):
        return guarded
    from dataver.config import offline as never_ask
    from dataver.store.cached import with_cache

    return with_cache(guarded, offline=offline or never_ask())


def _is_here(store: ProbeableStore) -> bool:
    """Whether reading the store is no request: a cache would gain nothing."""
    from dataver.store.local import LocalStore

    if isinstance(store, LocalStore):
        return True
    from dataver.store.memory import MemoryStore

    return isinstance(store, MemoryStore)


def _bare_store(url: str, storage_options: Mapping[str, Any] | None) -> ProbeableStore:
    from dataver.store.local import LocalStore

    protocol, separator, place = url.partition("://")
    if not url:
        raise BadInputError("the URL of a repository is empty")
    if not separator:
        return LocalStore(url)
    if protocol == "dataver":
        raise BadInputError(f"{url!r} names a version, not the place of a repository")
    if protocol in ("file", "local"):
        if not place.startswith("/"):
            raise BadInputError(f"{url!r} is not the URL of a folder: file:///FOLDER is expected")
        return LocalStore(place)
    if protocol == "memory":
        from dataver.store.memory import MemoryStore

        return MemoryStore(place.strip("/"))
    if protocol in AZURE:
        from dataver.store.azure import AzureStore

        return AzureStore(url, storage_options)
    from dataver.store.fsspec_ import FsspecStore

    return FsspecStore(url, storage_options)
