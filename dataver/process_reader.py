"""What reads a version in one process: objects, files and record, opened for that process alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from dataver.errors import DataverError, RefNotFoundError
from dataver.files import Files
from dataver.format.version import VersionRecord
from dataver.objects import Objects
from dataver.reading import list_cache, read_file
from dataver.refs import Resolved
from dataver.tree.manifest import ManifestNodes, manifest_link

if TYPE_CHECKING:
    from dataver.chunk_index import ChunkIndex
    from dataver.log.state import State
    from dataver.repository import Repository


class ProcessReader:
    """For the process that made it: a forked one makes its own."""

    def __init__(self, repository: Repository, resolved: Resolved, state: State | None) -> None:
        self.repository = repository
        session = repository.session
        index = session.index(state)
        # A look for what is missing reads the log, which only one thread at a time may: so it has
        # a log of its own.
        self.objects = Objects(session.store, index, partial(_newest_index, repository, resolved))
        self.lists = list_cache(self.objects)
        self.files = Files(
            ManifestNodes(self.objects),
            manifest_link(resolved.version.manifest),
            lambda entry: read_file(entry, self.objects),
        )
        self.record: VersionRecord | None = None
        self.process = os.getpid()


def _newest_index(repository: Repository, resolved: Resolved) -> ChunkIndex:
    """The index that the newest entry names; of what is missing it tells whether the version is gone."""
    session = another(repository).session
    state = session.log.state()
    index = session.index(state)
    if state.version(resolved.dataset, resolved.version.id) is None:
        index.tombstone = partial(_collected, index.tombstone, resolved, repository.url)
    return index


def _collected(
    tombstone: Callable[[bytes], DataverError | None] | None, resolved: Resolved, url: str, digest: bytes
) -> DataverError:
    erased = None if tombstone is None else tombstone(digest)
    return erased or RefNotFoundError(
        f"version {resolved.version.id} of {resolved.name} was let go and collected from {url} after it was "
        "opened; open another version"
    )


def another(repository: Repository) -> Repository:
    """The same repository, opened anew."""
    open_again, arguments = repository.__reduce__()
    another: Repository = open_again(*arguments)
    return another
