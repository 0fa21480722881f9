"""Manifests: each distinct node once, whatever the number of versions that share it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor

from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import BadInputError, DamagedError, NewerFormatError
from dataver.format.chunk_list import ListRow
from dataver.format.node import Row
from dataver.hashing import Kind, blake3_digest
from dataver.paths import check_paths, safe_spelling
from dataver.tree.manifest import FOLDER, KIND_NAMES, REFERENCE, Entry, to_entry
from dataver.tree.schema import MANIFEST, Link
from dataver.values import NamedTuple, dataclass
from dataver.verify.findings import plain
from dataver.verify.metadata import Culprits, Metadata

EMPTY_DIGEST = blake3_digest(b"")
NODES_IN_FLIGHT = 64

FileKey = tuple[bytes, bytes, int]
"""Digest, root of the list of chunks (or URL), and size: files that are equal in these are read once."""


class Harmed(NamedTuple):
    """A path that a damaged object harms; None for all paths of the version."""

    path: bytes | None
    culprit: str


@dataclass(slots=True)
class _Checked:
    """A node as it was found. `children` are the rows of an inner node."""

    link: Link | None
    level: int
    first_key: bytes
    last_key: bytes
    children: Sequence[Row]
    harmed: list[Harmed]


class Manifests:
    """Walks manifests from their roots. `files` are the distinct ones that only a whole read can prove.

    `bad_files` are those of them that did not stand the read, with the object to blame.
    """

    def __init__(self, metadata: Metadata, bad_files: dict[FileKey, str] | None = None) -> None:
        self.metadata = metadata
        self._bad_files = bad_files or {}
        self._nodes: dict[bytes, _Checked] = {}
        self._harmed: dict[bytes, list[Harmed]] = {}
        self.files: dict[FileKey, Entry] = {}

    def walk(self, roots: Iterable[bytes], pool: Executor) -> None:
        """Read and check every node below `roots`."""
        waiting = list(dict.fromkeys(roots))
        seen = set(waiting)
        while waiting:
            batch = waiting[-NODES_IN_FLIGHT:]
            del waiting[-NODES_IN_FLIGHT:]
            for digest, checked in zip(batch, pool.map(self._check, batch), strict=True):
                self._nodes[digest] = checked
                for row in checked.children:
                    child = MANIFEST.link(row).digest
                    if child not in seen:
                        seen.add(child)
                        waiting.append(child)

    def root(self, digest: bytes) -> Link | None:
        """What the root of a manifest that was walked is found to be; None where it cannot be read."""
        return self._nodes[digest].link

    def harmed(self, digest: bytes) -> list[Harmed]:
        """What is harmed below a node."""
        known = self._harmed.get(digest)
        if known is None:
            node = self._nodes[digest]
            known = [*node.harmed]
            before = b""
            for row in node.children:
                link = MANIFEST.link(row)
                if not self._fits(link, row.key, before, node.level):
                    reason = f"manifest node {Digest(digest)} does not fit what is below it"
                    known.append(Harmed(None, self.metadata.fault(digest, reason)))
                known.extend(self.harmed(link.digest))
                before = row.key
            self._harmed[digest] = known
        return known

    def _fits(self, link: Link, last_key: bytes, before: bytes, level: int) -> bool:
        """Whether a node is what its parent says; of one that cannot be read nothing is known."""
        child = self._nodes[link.digest]
        if child.link is None:
            return True
        said = (link.identity, link.rows, link.size_bytes, last_key, level - 1)
        found = child.link
        return said == (
            found.identity, found.rows, found.size_bytes, child.last_key, child.level,
        ) and (not before or child.first_key > before)  # fmt: skip

    def _check(self, digest: bytes) -> _Checked:
        data, culprits = self.metadata.record(Kind.MANIFEST_NODE, digest)
        if culprits:
            return _Checked(None, 0, b"", b"", (), [Harmed(None, culprit) for culprit in culprits])
        try:
            level, rows = MANIFEST.decode(data, f"manifest node {Digest(digest)}")
        except (DamagedError, NewerFormatError) as error:
            harmed = Harmed(None, self.metadata.fault(digest, plain(error)))
            return _Checked(None, 0, b"", b"", (), [harmed])
        _, link = MANIFEST.encode(level, rows)
        first, last = (rows[0].key, rows[-1].key) if rows else (b"", b"")
        if level:
            return _Checked(link, level, first, last, rows, [])
        return _Checked(link, level, first, last, (), self._leaf(digest, rows))

    def _leaf(self, digest: bytes, rows: Sequence[Row]) -> list[Harmed]:
        harmed: list[Harmed] = []
        try:
            check_paths([row.key for row in rows])
        except BadInputError as error:
            harmed.append(Harmed(None, self.metadata.fault(digest, plain(error))))
        single: list[Entry] = []
        for entry in map(to_entry, rows):
            erased = entry.kind != REFERENCE and self.metadata.is_erased(entry.digest)
            reason = self._problem(entry)
            if reason:
                culprit = self.metadata.fault(digest, f"{safe_spelling(entry.path)} {reason}")
                harmed.append(Harmed(entry.path, culprit))
            elif entry.kind == REFERENCE:
                harmed.extend(Harmed(entry.path, c) for c in self._referred(entry))
            elif entry.chunks is not None:
                found = self._listed(entry, entry.chunks, digest, erased=erased)
                harmed.extend(Harmed(entry.path, culprit) for culprit in found)
            elif entry.size:
                single.append(entry)
        wanted = [ListRow(entry.digest, entry.size) for entry in single]
        for entry, culprits in zip(single, self.metadata.chunks(wanted, digest), strict=True):
            harmed.extend(Harmed(entry.path, culprit) for culprit in culprits)
        return harmed

    def _problem(self, entry: Entry) -> str:
        """What is wrong with an entry by itself; empty where nothing is."""
        if entry.kind not in KIND_NAMES:
            return f"is of a kind {entry.kind} that is not in the format"
        if entry.chunks is not None and len(entry.chunks) != DIGEST_BYTES:
            return "has a list of chunks that is not named by a digest"
        if entry.kind == REFERENCE:
            try:
                return "" if entry.reference is not None else "is a reference to nowhere"
            except DamagedError as error:
                return f"is a file elsewhere, but {plain(error)}"
        without = entry.kind == FOLDER or not entry.size
        if without and (entry.size or entry.digest != EMPTY_DIGEST or entry.chunks is not None):
            return "has no bytes, but a digest, a size or chunks as if it had"
        return ""

    def _listed(self, entry: Entry, root: bytes, holder: bytes, *, erased: bool) -> Culprits:
        found = self.metadata.chunk_list(root)
        if found.culprits:
            return found.culprits
        if found.size_bytes != entry.size:
            reason = f"{safe_spelling(entry.path)} has not the {found.size_bytes} bytes of its chunks"
            return (self.metadata.fault(holder, reason),)
        return () if erased else self._whole_file((entry.digest, root, entry.size), entry)

    def _referred(self, entry: Entry) -> Culprits:
        reference = entry.reference
        assert reference is not None
        return self._whole_file((entry.digest, reference[0].encode(), entry.size), entry)

    def _whole_file(self, key: FileKey, entry: Entry) -> Culprits:
        self.files.setdefault(key, entry)
        culprit = self._bad_files.get(key)
        return () if culprit is None else (culprit,)
