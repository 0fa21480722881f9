"""What a source has changed since the head, reading as few bytes as decide it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

from dataver.beside import Entries, entries_of, mark, stand_beside
from dataver.config import default_jobs
from dataver.errors import BadInputError
from dataver.hashing import EMPTY_DIGEST
from dataver.history import changes_of
from dataver.log.state import State
from dataver.progress import Progress, Silent
from dataver.publish import full_root
from dataver.refs import MAIN, live_ref, require_version
from dataver.results import Changes
from dataver.session import Session
from dataver.source import EMPTY_FOLDER, Source, SourceFile
from dataver.stat_cache import CacheRow, StatCache
from dataver.tree.build import empty
from dataver.tree.manifest import FOLDER, REFERENCE, Entry
from dataver.tree.schema import MANIFEST, MemoryNodes
from dataver.worktree import known_sources


def last_source(session: Session, name: str, dataset: bytes) -> str:
    """The source that this machine used last for a dataset, if it is still there."""
    for key in known_sources(session.repository, dataset.hex()):
        place = os.fsdecode(key)
        if "://" in place or os.path.lexists(key):
            return place
    raise BadInputError(f"this machine knows no folder of {name}; name one: `dataver status {name} FOLDER`")


def status(
    session: Session, state: State, dataset: bytes, source: Source, progress: Progress | None = None
) -> Changes:
    """Compare a source with the head of `main`. Digests that were read are remembered."""
    started_ns = time.time_ns()
    head = live_ref(state, dataset, MAIN)
    nodes, root = MemoryNodes(MANIFEST, session.nodes(state)), None
    if head is not None:
        root = full_root(nodes, require_version(state, dataset, head.target))
    before = entries_of(nodes, empty(nodes) if root is None else root)
    listing = source.files()
    cache = StatCache(source.key)
    standing = stand_beside(listing, cache, before, root)
    if root is not None and not standing.open and not standing.gone:
        mark(cache, listing, root)
    files = [listing[at] for at in standing.open]
    digests = {file.path: known for file, known in zip(files, standing.digests, strict=True)}
    gone = {before[path].size for path in standing.gone}
    unknown = [file for file in files if _must_read(file, digests[file.path], before, gone)]
    if unknown:
        watcher = progress or Silent()
        watcher.begin("comparing", len(unknown), sum(file.size for file in unknown))
        try:
            from dataver.ingest import digest_files

            done = digest_files(source, unknown, jobs=session.jobs or default_jobs(), progress=watcher)
        finally:
            watcher.end()
        digests.update((file.path, digest) for file, digest in done)
        cache.update(CacheRow(file, digest, started_ns) for file, digest in done)
    return changes_of(_differences(before, files, digests, standing.gone))


def _must_read(file: SourceFile, digest: bytes | None, before: Entries, gone: set[int]) -> bool:
    """Whether the bytes decide something: same size as before, or as one that is gone, perhaps renamed."""
    if digest is not None or file.kind == EMPTY_FOLDER:
        return False
    known = before.get(file.path)
    return file.size in gone if known is None else known.size == file.size


def _differences(
    before: Entries, files: list[SourceFile], digests: dict[bytes, bytes | None], gone: Sequence[bytes]
) -> Iterator[tuple[bytes, Entry | None, Entry | None]]:
    for file in files:
        path, kind = file.path, file.kind
        known = before.get(path)
        if kind == EMPTY_FOLDER:
            if known is None or known.kind != FOLDER:
                yield path, known, Entry(path, FOLDER, False, 0, EMPTY_DIGEST)
            continue
        digest = digests[path] or b""
        if known is not None and known.kind == REFERENCE:
            kind = REFERENCE
        entry = Entry(path, kind, file.executable, file.size, digest)
        if known is None or known.identity != entry.identity:
            yield path, known, entry
    for path in gone:
        yield path, before[path], None
