"""Repositories of a test's own."""

from __future__ import annotations

from uuid import uuid4

from dataver.chunking import ChunkerParameters
from dataver.log.log import Log
from dataver.repository import Repository
from dataver.session import Session
from dataver.store.base import Store


def memory_repository(chunks: ChunkerParameters | None = None) -> Repository:
    """A new repository in memory."""
    repository = Repository(f"memory://{uuid4().hex}")
    repository.session.create(chunks)
    return repository


def over(store: Store) -> Repository:
    """A repository object over this very store, wrapped as it may be."""
    repository = Repository(store.url)
    repository.session = Session(store, Log(store))
    return repository
