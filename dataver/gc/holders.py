"""Which files have which chunks: every version is looked through, each node of a manifest once.

Also versions that are condemned and those of deleted datasets: they may come back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import field

from dataver.digest import DIGEST_BYTES
from dataver.errors import DamagedError
from dataver.format import chunk_list
from dataver.hashing import Kind
from dataver.log.state import State, VersionState
from dataver.progress import Progress
from dataver.reading import file_rows
from dataver.session import Session
from dataver.tree.manifest import FOLDER, REFERENCE, Entry, to_entry
from dataver.tree.schema import MANIFEST
from dataver.values import dataclass

LEVEL_AT = 5
"""The byte of a node that says how far it is above the leaves."""
LIST_TAG = b"chnk"
PATHS_KEPT = 20


@dataclass(slots=True)
class Holder:
    """A file that has some of the chunks. `at` is a version that has it, `paths` some of its paths."""

    entry: Entry
    at: str
    paths: list[str] = field(default_factory=list)
    chunks: set[bytes] = field(default_factory=set)


class Holders:
    """Looks for files in the manifests of one state."""

    def __init__(self, session: Session, state: State, progress: Progress) -> None:
        self._objects = session.objects(state)
        self._versions = list(_versions(state))
        self._progress = progress
        self._lists: dict[bytes, frozenset[bytes]] = {}

    def of_file(self, digest: bytes) -> Holder | None:
        """Where the file of this digest is; None where no version has it. Its `chunks` are all of it."""
        found: Holder | None = None
        for at, entry in self._entries(lambda data: digest in data):
            if entry.digest == digest and not _is_elsewhere(entry):
                found = _noted(found, at, entry)
                found.chunks.update(row.digest for _, row in file_rows(entry, self._objects))
        return found

    def sizes(self, entry: Entry) -> dict[bytes, int]:
        """The chunks of a file with their bytes."""
        return {row.digest: row.size_bytes for _, row in file_rows(entry, self._objects)}

    def having(self, chunks: Collection[bytes], beside: Collection[bytes]) -> dict[bytes, Holder]:
        """The files that have any of these chunks, by digest, save those of the digests `beside`."""
        self._lists.clear()
        wanted = frozenset(chunks)
        found: dict[bytes, Holder] = {}
        for at, entry in self._entries(lambda data: LIST_TAG in data or _any_in(wanted, data)):
            if entry.digest in beside or _is_elsewhere(entry):
                continue
            root = entry.chunks
            common = wanted & {entry.digest} if root is None else self._listed(root, wanted)
            if common:
                holder = found[entry.digest] = _noted(found.get(entry.digest), at, entry)
                holder.chunks |= common
        return found

    def _listed(self, digest: bytes, wanted: frozenset[bytes]) -> frozenset[bytes]:
        known = self._lists.get(digest)
        if known is None:
            data = self._objects.record(Kind.CHUNK_LIST, digest)
            level, children, _ = chunk_list.decode_columns(data, f"chunk list {digest.hex()}")
            each = [children[i : i + DIGEST_BYTES] for i in range(0, len(children), DIGEST_BYTES)]
            below = (self._listed(child, wanted) for child in each) if level else [wanted.intersection(each)]
            known = self._lists[digest] = frozenset().union(*below)
        return known

    def _entries(self, is_wanted: Callable[[bytes], bool]) -> Iterator[tuple[str, Entry]]:
        """The entries of the leaves whose bytes are wanted, each with the first version that has the leaf."""
        seen: set[bytes] = set()
        self._progress.begin("looking for holders", len(self._versions))
        try:
            for at, version, condemned in self._versions:
                try:
                    yield from ((at, entry) for entry in self._below(version.manifest, seen, is_wanted))
                except DamagedError:
                    if not condemned:
                        raise
                self._progress.advance(1)
        finally:
            self._progress.end()

    def _below(self, root: bytes, seen: set[bytes], is_wanted: Callable[[bytes], bool]) -> Iterator[Entry]:
        waiting = [root]
        while waiting:
            digest = waiting.pop()
            if digest in seen:
                continue
            seen.add(digest)
            data = self._objects.record(Kind.MANIFEST_NODE, digest)
            if data[LEVEL_AT : LEVEL_AT + 1] == b"\0" and not is_wanted(data):
                continue
            level, rows = MANIFEST.decode_columns(data, f"manifest node {digest.hex()}")
            if level:
                waiting += [MANIFEST.link(row).digest for row in reversed(rows)]
            else:
                yield from map(to_entry, rows)


def _versions(state: State) -> Iterator[tuple[str, VersionState, bool]]:
    """Every version as people name it, oldest first in its dataset, and whether it is condemned."""
    names = [*state.datasets(), *((name, id) for id, name in state.deleted_datasets())]
    for name, dataset in names:
        condemned = {id for id, _ in state.condemned(dataset)}
        for version in sorted(state.every_version(dataset), key=lambda one: (one.entry, one.id)):
            selector = f"v{version.number}" if version.number else str(version.id)
            yield f"{name}@{selector}", version, version.id in condemned


def _noted(holder: Holder | None, at: str, entry: Entry) -> Holder:
    if holder is None:
        holder = Holder(entry, at)
    path = entry.path.decode()
    if path not in holder.paths and len(holder.paths) < PATHS_KEPT:
        holder.paths.append(path)
    return holder


def _is_elsewhere(entry: Entry) -> bool:
    """Whether nothing of it is stored here."""
    return entry.kind in (FOLDER, REFERENCE) or not entry.size


def _any_in(wanted: Collection[bytes], data: bytes) -> bool:
    """Whether a leaf may have one of these; where there are many, it is decoded to see."""
    return len(wanted) > 64 or any(digest in data for digest in wanted)
