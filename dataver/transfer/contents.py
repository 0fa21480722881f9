"""What versions are made of: records, manifest nodes, chunk lists and chunks, as far as they are new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from itertools import islice

from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import DamagedError
from dataver.format import chunk_list
from dataver.format.chunk_list import ListRow
from dataver.format.node import Row
from dataver.format.table_statistics import statistics_key
from dataver.hashing import Kind
from dataver.log.state import VersionState
from dataver.paths import safe_spelling
from dataver.reading import file_rows
from dataver.tables.footer import PARQUET_SUFFIXES
from dataver.transfer.copying import Copier
from dataver.transfer.side import Side
from dataver.tree.manifest import FOLDER, REFERENCE, Entry, manifest_link, to_entry
from dataver.tree.schema import MANIFEST, Link, Node
from dataver.values import NamedTuple
from dataver.verify.workers import in_order

NODES_IN_FLIGHT = 32
ENTRIES_AT_ONCE = 512
_TABLE_SUFFIXES = tuple(suffix.encode() for suffix in PARQUET_SUFFIXES)


class Reference(NamedTuple):
    """A version whose contents the receiver has, or gets before, and where its manifest is read."""

    side: Side
    version: VersionState


class _ListNode(NamedTuple):
    level: int
    rows: list[ListRow]


class Contents:
    """Walks versions in the source and asks a copier for all that their references do not have.

    What is walked is checked on the way: nodes are what their parents say, a root has the tree of
    its version, and chunk lists add up to their files.
    """

    def __init__(self, source: Side, copier: Copier, pool: Executor) -> None:
        self._source = source
        self._copier = copier
        self._pool = pool
        self._lists: set[bytes] = set()
        self.tables: dict[bytes, Digest] = {}
        """What statistics of the tables that were walked are found under, each with a version that has it."""
        self._version = Digest(bytes(32))

    def walk(self, version: VersionState, reference: Reference | None) -> None:
        """Ask for the contents of a version. Costs what it has otherwise than its reference."""
        self._version = version.id
        self._copier.want(version.id, None, version.id)
        self._check_root(version)
        changed = (to_entry(row) for row in self._changed_rows(version, reference))
        while batch := list(islice(changed, ENTRIES_AT_ONCE)):
            self._want_entries(batch)

    def forget(self) -> None:
        """Ask for everything again in the next walks, also for what was asked for before."""
        self._lists.clear()

    def _check_root(self, version: VersionState) -> None:
        node = self._source.nodes.load(manifest_link(version.manifest))
        _, link = MANIFEST.encode(node.level, node.rows)
        record = self._source.record(version.id)
        if (link.identity, link.rows, link.size_bytes) != (record.tree, version.files, version.size_bytes):
            raise DamagedError(
                f"version {version.id} in {self._source.url} has another tree than its manifest; nothing was "
                "recorded. Run `dataver verify` there"
            )

    # Manifest nodes

    def _changed_rows(self, version: VersionState, reference: Reference | None) -> Iterator[Row]:
        """The rows of the version's new leaves that the reference does not have; new nodes are asked for.

        As in `tree.diff`, but by the nodes as they are stored: these name chunk lists too.
        """
        source, root = self._source, manifest_link(version.manifest)
        if reference is None:
            yield from self._rows(
                source, self._below(source, [root], source.nodes.load(root).level), wanted=True
            )
            return
        other, other_root = reference.side, manifest_link(reference.version.manifest)
        new, old = [root], [other_root]
        new_level, old_level = source.nodes.load(root).level, other.nodes.load(other_root).level
        for level in range(max(new_level, old_level), -1, -1):
            if new_level == old_level:
                common = {link.digest for link in new} & {link.digest for link in old}
                new = [link for link in new if link.digest not in common]
                old = [link for link in old if link.digest not in common]
            if not level:
                break
            if new_level == level:
                new, new_level = self._children(source, new, level, wanted=True), level - 1
            if old_level == level:
                old, old_level = self._children(other, old, level, wanted=False), level - 1
        yield from _only_new(self._rows(source, new, wanted=True), self._rows(other, old, wanted=False))

    def _below(self, side: Side, links: list[Link], level: int) -> list[Link]:
        """The leaves below nodes, all of which are new."""
        while level:
            links, level = self._children(side, links, level, wanted=True), level - 1
        return links

    def _children(self, side: Side, links: Sequence[Link], level: int, *, wanted: bool) -> list[Link]:
        return [
            MANIFEST.link(row) for node in self._nodes(side, links, level, wanted=wanted) for row in node.rows
        ]

    def _rows(self, side: Side, leaves: Sequence[Link], *, wanted: bool) -> Iterator[Row]:
        for node in self._nodes(side, leaves, 0, wanted=wanted):
            yield from node.rows

    def _nodes(self, side: Side, links: Iterable[Link], level: int, *, wanted: bool) -> Iterator[Node]:
        """Nodes of one level in order, read ahead; with `wanted` they are checked and asked for."""

        def load(link: Link) -> tuple[Link, Node]:
            node = side.nodes.load(link)
            # The root's identity is compared with its version's tree.
            found = MANIFEST.encode(node.level, node.rows)[1] if wanted and link.identity else link
            if node.level != level or found[:4] != link[:4]:
                raise DamagedError(
                    f"manifest node {Digest(link.digest)} in {side.url} is not what the node above it says; "
                    "nothing was recorded. Run `dataver verify` there"
                )
            return link, node

        for link, node in in_order(self._pool, load, links, NODES_IN_FLIGHT):
            if wanted:
                self._copier.want(link.digest, None, self._version)
            yield node

    # Files

    def _want_entries(self, entries: Sequence[Entry]) -> None:
        """Ask for the chunks of files; lists of chunks are read many at a time."""
        listed: dict[bytes, Entry] = {}
        erased = self._copier.erased
        for entry in entries:
            gone = False
            if erased and entry.kind not in (FOLDER, REFERENCE):
                gone = erased.is_erased(entry)
            if entry.path.lower().endswith(_TABLE_SUFFIXES) and not gone:
                self.tables.setdefault(statistics_key(entry.digest), self._version)
            if entry.kind in (FOLDER, REFERENCE) or not entry.size:
                continue
            root = entry.chunks
            if gone and erased:
                erased.note(entry, (row.digest for _, row in file_rows(entry, self._source.objects)))
            if root is None:
                self._copier.want(entry.digest, entry.size, self._version)
            elif len(root) != DIGEST_BYTES:
                raise DamagedError(
                    f"{safe_spelling(entry.path)} in {self._source.url} names no list of chunks; nothing was "
                    "recorded. Run `dataver verify` there"
                )
            elif root not in self._lists:
                listed.setdefault(root, entry)
        for root, node in zip(
            listed, in_order(self._pool, self._load_list, listed, NODES_IN_FLIGHT), strict=True
        ):
            entry = listed[root]
            if sum(row.size_bytes for row in node.rows) != entry.size:
                raise DamagedError(
                    f"chunk list {Digest(root)} in {self._source.url} does not add up to "
                    f"{safe_spelling(entry.path)}; nothing was recorded. Run `dataver verify` there"
                )
            self._want_list(root, node)

    def _load_list(self, digest: bytes) -> _ListNode:
        data = self._source.objects.record(Kind.CHUNK_LIST, digest)
        return _ListNode(*chunk_list.decode(data, f"chunk list {Digest(digest)}"))

    def _want_list(self, digest: bytes, node: _ListNode) -> None:
        if digest in self._lists:
            return
        self._lists.add(digest)
        self._copier.want(digest, None, self._version)
        if not node.level:
            for row in node.rows:
                self._copier.want(row.digest, row.size_bytes, self._version)
            return
        children = in_order(self._pool, self._load_list, (row.digest for row in node.rows), NODES_IN_FLIGHT)
        for row, child in zip(node.rows, children, strict=True):
            size = sum(below.size_bytes for below in child.rows)
            if (child.level, size) != (node.level - 1, row.size_bytes):
                raise DamagedError(
                    f"chunk list {Digest(digest)} in {self._source.url} does not fit what is below it; "
                    "nothing was recorded. Run `dataver verify` there"
                )
            self._want_list(row.digest, child)


def _only_new(new: Iterator[Row], old: Iterator[Row]) -> Iterator[Row]:
    """The rows of `new` that `old` does not have as they are; both in order of their keys."""
    known = next(old, None)
    for row in new:
        while known is not None and known.key < row.key:
            known = next(old, None)
        if known is None or known != row:
            yield row
