"""Metadata objects and chunk lists through the index: read, compared, and blamed on what keeps them away."""

from __future__ import annotations

from collections.abc import Sequence

from dataver.digest import Digest
from dataver.errors import DamagedError, NewerFormatError, ObjectMissingError
from dataver.format.chunk_list import ListRow, decode
from dataver.format.segment import Place
from dataver.hashing import Kind
from dataver.keys import pack_key
from dataver.objects import Objects
from dataver.values import NamedTuple
from dataver.verify.findings import Findings, plain
from dataver.verify.index import BlamingIndex

NAMES = {
    Kind.VERSION: "version",
    Kind.MANIFEST_NODE: "manifest node",
    Kind.CHUNK_LIST: "chunk list",
    Kind.RUN: "run record",
    Kind.RUN_PART: "part of a run",
}

Culprits = tuple[str, ...]
"""The damaged objects that keep something from being read; none where nothing does."""


class CheckedList(NamedTuple):
    """A chunk list, or a part of one: its level, the bytes it stands for, and who damages it."""

    level: int
    size_bytes: int
    culprits: Culprits


class Metadata:
    """Reads records, and checks chunk lists, each distinct node once. Safe for several threads.

    `packs` are all that anything led to.
    """

    def __init__(self, objects: Objects, index: BlamingIndex, findings: Findings) -> None:
        self.objects = objects
        self.packs: set[bytes] = set()
        self._index = index
        self._findings = findings
        self._lists: dict[bytes, CheckedList] = {}

    def record(self, kind: Kind, digest: bytes) -> tuple[bytes, Culprits]:
        """The bytes of a metadata object, or empty ones and who is to blame."""
        place = self._index.find(digest)
        if place is None:
            return b"", tuple(self._index.blame(digest, NAMES[kind]))
        self.packs.add(place.pack)
        culprit = self._index.culprit(place, digest)
        if culprit is not None:
            return b"", (culprit,)
        try:
            return self.objects.record(kind, digest), ()
        except (DamagedError, NewerFormatError, ObjectMissingError):
            return b"", (self.fault(digest, f"{NAMES[kind]} {Digest(digest)} in it cannot be read"),)

    def present(self, kind: Kind, digest: bytes) -> Culprits:
        """Who is to blame where a metadata object has no place; it is not read."""
        place = self._index.find(digest)
        if place is None:
            return tuple(self._index.blame(digest, NAMES[kind]))
        self.packs.add(place.pack)
        culprit = self._index.culprit(place, digest)
        return () if culprit is None else (culprit,)

    def is_erased(self, digest: bytes) -> bool:
        """Whether a file was erased, which is no damage."""
        if digest not in self._index.erasures:
            return False
        self._findings.note_erased(digest)
        return True

    def fault(self, digest: bytes, reason: str) -> str:
        """Blame the pack that holds a metadata object; gives its key."""
        place = self._index.find(digest)
        assert place is not None
        return self._findings.add(pack_key(place.pack), reason)

    def chunks(self, rows: Sequence[ListRow], holder: bytes) -> list[Culprits]:
        """Whether each chunk has a place of the right length; `holder` is the object that names them."""
        found = self._index.find_many(b"".join([row.digest for row in rows]))
        return [self._chunk(row, place, holder) for row, place in zip(rows, found, strict=True)]

    def _chunk(self, row: ListRow, place: Place | None, holder: bytes) -> Culprits:
        if place is None and row.digest in self._index.erasures:
            return ()
        if place is None:
            return tuple(self._index.blame(row.digest, "chunk"))
        self.packs.add(place.pack)
        culprit = self._index.culprit(place, row.digest)
        if culprit is not None:
            return (culprit,)
        if place.length != row.size_bytes:
            reason = f"chunk {Digest(row.digest)} has {place.length} bytes, not the {row.size_bytes} it says"
            return (self.fault(holder, reason),)
        return ()

    def chunk_list(self, root: bytes) -> CheckedList:
        """Check a list of chunks down to the places of the chunks."""
        known = self._lists.get(root)
        if known is None:
            known = self._lists[root] = self._chunk_list(root)
        return known

    def _chunk_list(self, root: bytes) -> CheckedList:
        data, culprits = self.record(Kind.CHUNK_LIST, root)
        if culprits:
            return CheckedList(-1, 0, culprits)
        try:
            level, rows = decode(data, f"chunk list {Digest(root)}")
        except (DamagedError, NewerFormatError) as error:
            return CheckedList(-1, 0, (self.fault(root, plain(error)),))
        total = sum(row.size_bytes for row in rows)
        if not level:
            found = self.chunks(rows, root)
            return CheckedList(level, total, _distinct(found))
        parts: list[Culprits] = []
        for row in rows:
            child = self.chunk_list(row.digest)
            parts.append(child.culprits)
            if not child.culprits and (child.level, child.size_bytes) != (level - 1, row.size_bytes):
                parts.append((self.fault(root, f"chunk list {Digest(root)} does not fit what is below it"),))
        return CheckedList(level, total, _distinct(parts))


def _distinct(found: Sequence[Culprits]) -> Culprits:
    return tuple(dict.fromkeys(culprit for culprits in found for culprit in culprits))
