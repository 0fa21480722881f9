"""One of the two repositories of a transfer, as it is at one entry of its log."""

from __future__ import annotations

from dataver.digest import Digest
from dataver.format.version import VersionRecord, decode_version
from dataver.hashing import Kind
from dataver.log.state import State
from dataver.objects import Objects
from dataver.session import Session
from dataver.tree.manifest import ManifestNodes


class Side:
    """A state, and verified reads of what it names. Safe for several threads, save for the state."""

    def __init__(self, session: Session, state: State) -> None:
        self.session = session
        self.state = state
        self.objects: Objects = session.objects(state)
        self.nodes = ManifestNodes(self.objects)
        self._records: dict[Digest, VersionRecord] = {}

    @property
    def url(self) -> str:
        """Where the repository is."""
        return self.session.store.url

    def at(self, state: State) -> Side:
        """The same repository after another entry."""
        other = Side(self.session, state)
        other._records = self._records
        return other

    def look_again(self) -> None:
        """Read the log again: packs may have been replaced by others with the same contents."""
        self.objects.index = self.session.index()

    def record(self, version: Digest) -> VersionRecord:
        """A version's record, read once."""
        record = self._records.get(version)
        if record is None:
            data = self.objects.record(Kind.VERSION, version)
            record = self._records[version] = decode_version(data, f"version {version}")
        return record
