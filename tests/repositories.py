"""Repositories of a test's own."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from dataver.chunking import ChunkerParameters
from dataver.forgetting import forget
from dataver.log.log import Log
from dataver.repository import Repository
from dataver.session import Session
from dataver.store.base import Store


def memory_repository(chunks: ChunkerParameters | None = None) -> Repository:
    """A new repository in memory."""
    repository = Repository(f"memory://{uuid4().hex}")
    repository.session.create(chunks)
    return repository


class Over(Repository):
    """A repository over this very store, also where it is opened once more by what it was made of."""

    def __init__(self, store: Store, url: str | None = None, jobs: int = 0) -> None:
        """`url`: that of a store that can be opened, where this one's is none."""
        super().__init__(url or store.url)
        log = Log(store)
        log.forget = forget
        self.session = Session(store, log, jobs=jobs)
        self._made_of = store, url, jobs

    def __reduce__(self) -> tuple[Any, ...]:
        return Over, self._made_of


def over(store: Store) -> Repository:
    """A repository object over this very store, wrapped as it may be."""
    return Over(store)
