"""Which versions hold some bytes: a file, or a chunk of one, by its digest.

Manifests are trees that versions share: each node is read once, and its bytes are searched before
anything of it is decoded, so that what does not hold the digest costs a read and a search.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field

from dataver.errors import DamagedError, DataverError
from dataver.format.chunk_list import decode_columns
from dataver.format.node import LEVEL_MAX
from dataver.hashing import Kind
from dataver.lineage.known import Known
from dataver.lineage.nodes import VersionNode
from dataver.reading import file_rows
from dataver.tree.manifest import Entry, to_entry
from dataver.tree.schema import MANIFEST
from dataver.values import dataclass

__all__ = ["Found", "Holder", "Search", "holders"]

LEVEL_AT = 5
"""The byte of a node that says how far it is above the leaves."""

Found = tuple[Entry, tuple[tuple[int, int], ...] | None]
"""A file, and where the chunk is in it as pairs of start and end; None: it is the file itself."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A version, and its files that have these bytes, by path."""

    node: VersionNode
    files: list[Found] = field(default_factory=list)


def holders(known: Known, digest: bytes) -> Iterator[Holder]:
    """The versions that hold a file or a chunk of this digest, those of deleted datasets too."""
    search = Search(known, digest)
    for node in known.all_versions():
        files = search.files(node)
        if files:
            yield Holder(node, files)


class Search:
    """Looks for one digest in manifests. `unread` says which could not be read, and why."""

    def __init__(self, known: Known, digest: bytes) -> None:
        self._known = known
        self._digest = digest
        self._nodes: dict[bytes, list[Found]] = {}
        self._lists: dict[bytes, bool] = {}
        # A file of many chunks is in no index, and its chunks are.
        self._chunks = known.objects.index.find(digest) is not None
        self.unread: dict[str, str] = {}

    def files(self, node: VersionNode) -> list[Found]:
        """The files of a version that have the digest, or a chunk that has it."""
        state = self._known.version_state(node)
        if state is None:
            return []
        try:
            return self._node(state.manifest)
        except DataverError as error:
            self.unread[node.id] = str(error)
            return []

    def _node(self, digest: bytes, above: int = LEVEL_MAX + 1) -> list[Found]:
        found = self._nodes.get(digest)
        if found is None:
            found = self._nodes[digest] = self._look(digest, above)
        return found

    def _look(self, digest: bytes, above: int) -> list[Found]:
        data = self._known.objects.record(Kind.MANIFEST_NODE, digest)
        level = data[LEVEL_AT]
        if level >= above:
            raise DamagedError(f"manifest node {digest.hex()} is not below its parent; run `dataver verify`")
        if level:
            _, rows = MANIFEST.decode_columns(data, f"manifest node {digest.hex()}")
            return [found for row in rows for found in self._node(MANIFEST.link(row).digest, level)]
        if self._digest not in data and not (self._chunks and b"chnk" in data):
            return []
        _, rows = MANIFEST.decode_columns(data, f"manifest node {digest.hex()}")
        return [found for row in rows for found in self._file(to_entry(row))]

    def _file(self, entry: Entry) -> Iterator[Found]:
        if entry.digest == self._digest:
            yield entry, None
        elif self._chunks and entry.chunks is not None and self._listed(entry.chunks):
            rows = file_rows(entry, self._known.objects)
            at = [(at, at + row.size_bytes) for at, row in rows if row.digest == self._digest]
            yield entry, tuple(at)

    def _listed(self, root: bytes) -> bool:
        """Whether a list of chunks, or one below it, names the chunk."""
        found = self._lists.get(root)
        if found is None:
            data = self._known.objects.record(Kind.CHUNK_LIST, root)
            found = False
            if data[LEVEL_AT]:
                _, digests, _ = decode_columns(data, f"chunk list {root.hex()}")
                below = (digests[at : at + 32] for at in range(0, len(digests), 32))
                found = any(self._listed(bytes(child)) for child in below)
            else:
                found = self._digest in data
            self._lists[root] = found
        return found
