"""Where lost objects may still be: damaged packs, this machine's cache, other repositories, folders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from dataver.format.pack import PackKind
from dataver.repair.lost import Lost
from dataver.repair.salvage import packed
from dataver.store.disk_cache import DiskCache
from dataver.transfer.copying import Verified
from dataver.verify.packs import is_of


class HealingSource(Protocol):
    """A place that may have what is lost. `name` says which, without credentials."""

    @property
    def name(self) -> str: ...

    def find(self, lost: Lost) -> Iterator[Verified]:
        """Frames with some of what is lost, every chunk in them compared with its digest."""


class FromCache:
    """What this user's cache keeps of a store that is far away."""

    name = "the cache of this machine"

    def __init__(self, cache: DiskCache) -> None:
        self._cache = cache

    def find(self, lost: Lost) -> Iterator[Verified]:
        for digest in lost.missing:
            data = self._cache.get(digest)
            if data is not None and is_of(None, digest, memoryview(data)):
                kind = PackKind.DATA if digest in lost.lengths else PackKind.META
                yield packed(kind, [digest], [bytes(data)])
