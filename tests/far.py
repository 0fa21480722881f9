"""A store that is far away: what is put before a real one, so that each read of it is a request."""

from __future__ import annotations

from typing import Any

from dataver.forgetting import forget
from dataver.log.log import Log
from dataver.repository import Repository
from dataver.session import Session
from dataver.store.base import Store, Wrapper
from dataver.store.cached import cache_of, with_cache
from dataver.store.disk_cache import DiskCache


class FarStore(Wrapper):
    """`inner` under a URL of another kind, with no memory maps."""

    @property
    def url(self) -> str:
        return f"far://{self.inner.url.removeprefix('memory://').lstrip('/')}"

    @property
    def identity(self) -> str:
        return self.url


class FarRepository(Repository):
    """A repository over `store` as if that were far away, opened as a process does that begins."""

    def __init__(self, store: Store, offline: bool) -> None:
        super().__init__("memory://never-asked")
        far = with_cache(FarStore(store), offline=offline)
        log = Log(far)
        log.forget = forget
        self.session = Session(far, log)
        self._far = store, offline

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, self._far


def far_repository(store: Store, *, offline: bool = False) -> Repository:
    """A repository over `store`, where one may be made."""
    return FarRepository(store, offline)


def opened(store: Store, *, offline: bool = False) -> Repository:
    """As `far_repository`, for one that is there."""
    repository = far_repository(store, offline=offline)
    repository.session.log.genesis()
    return repository


def _reopened(store: Store, offline: bool) -> Repository:
    return opened(store, offline=offline)


def cache_in_front(repository: Repository) -> DiskCache:
    """The cache that it reads through."""
    cache = cache_of(repository.session.store)
    assert cache is not None
    return cache
