"""What one repository knows of versions, runs and models: each is looked up once, and only when asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from dataver.digest import Digest
from dataver.errors import DataverError
from dataver.format.operations import MADE, READ
from dataver.format.run_record import RunInput, RunRecord
from dataver.format.version import VersionRecord
from dataver.lineage.nodes import (
    ABSENT,
    DELETED,
    ELSEWHERE,
    HERE,
    MISSING,
    ExternalNode,
    ModelNode,
    VersionNode,
)
from dataver.lineage.origins import derived_from
from dataver.lineage.records import Records
from dataver.log.run_state import RunState, models_of_run, run_named, runs_of_version, tracked
from dataver.log.state import VERSION, State, VersionState
from dataver.session import Session

__all__ = ["Known", "part_of"]

ID_BYTES = 16


class Known:
    """Look-ups in one state of a repository. For one thread."""

    def __init__(self, session: Session, state: State) -> None:
        self.session = session
        self.state = state
        self.records = Records(session, state)
        self.objects = session.objects(state)
        self._homes: dict[bytes, tuple[str, bool]] | None = None
        self._versions: dict[bytes, VersionNode] = {}
        self._runs: dict[bytes, RunRecord | DataverError] = {}
        self._children: dict[bytes, list[bytes]] | None = None

    # Versions

    def version(self, id: bytes, name: str = "", repository: str = "", number: int = 0) -> VersionNode:
        """The node of a version, wherever it is. The other arguments are what a record says of it."""
        found = self._versions.get(id)
        if found is None:
            found = self._find(id, name)
            if found is None:
                own = repository in ("", self.session.repository)
                return VersionNode(name or "?", id, number, MISSING if own else ELSEWHERE, b"", repository)
            self._versions[id] = found
        return found

    def _find(self, id: bytes, name: str) -> VersionNode | None:
        dataset = self.state.dataset(name) if name else None
        if dataset is not None:
            state = self.state.version(dataset, id)
            if state is not None:
                return VersionNode(name, id, state.number, HERE, dataset)
        # Renamed, deleted, or known by its id alone: every dataset there ever was is asked.
        absent = None
        for dataset, (known_as, live) in self.homes().items():
            state = self.state.version(dataset, id)
            if state is not None:
                return VersionNode(known_as, id, state.number, HERE if live else DELETED, dataset)
            if self.state.is_absent(dataset, id):
                absent = VersionNode(known_as, id, 0, ABSENT, dataset)
        return absent

    def homes(self) -> dict[bytes, tuple[str, bool]]:
        """The name of each dataset, by id, and whether it has it still."""
        if self._homes is None:
            self._homes = {id: (name, False) for id, name in self.state.deleted_datasets()}
            self._homes.update({id: (name, True) for name, id in self.state.datasets()})
        return self._homes

    def version_state(self, node: VersionNode) -> VersionState | None:
        """What the log says of a version that is here."""
        return self.state.version(node.dataset, node.version) if node.state in (HERE, DELETED) else None

    def version_record(self, node: VersionNode) -> VersionRecord | None:
        """The record of a version; None where it is not here, or cannot be read."""
        if node.state not in (HERE, DELETED):
            return None
        try:
            return self.session.record(Digest(node.version), self.state)
        except DataverError:
            return None

    def all_versions(self) -> Iterator[VersionNode]:
        """Every version of every dataset, of deleted ones too."""
        homes = self.homes()
        for key, _ in self.state.items(VERSION):
            dataset, id = key[4 : 4 + ID_BYTES], key[4 + ID_BYTES :]
            if dataset in homes:
                yield self.version(id, homes[dataset][0])

    def children(self, id: bytes) -> list[bytes]:
        """The versions that have this one as a parent, or say that they were derived from it.

        The records of all versions are read for the first answer.
        """
        if self._children is None:
            found = defaultdict(list)
            for node in self.all_versions():
                record = self.version_record(node)
                if record is not None:
                    ancestors = [ancestor.version for ancestor in derived_from(record)]
                    for parent in dict.fromkeys([*map(bytes, record.parents), *ancestors]):
                        found[parent].append(node.version)
            self._children = dict(found)
        return self._children.get(id, [])

    # Runs

    def run(self, run: bytes) -> RunRecord | None:
        """The newest record of a run; None where it is not here, or cannot be read."""
        found = self._runs.get(run)
        if found is None:
            state = run_named(self.state, run)
            if state is None:
                return None
            try:
                found = self.records.of(state)
            except DataverError as error:
                found = error
            self._runs[run] = found
        return found if isinstance(found, RunRecord) else None

    def digests(self, run: RunState) -> Iterator[str]:
        """The digests of the records that a run has had, the newest first, as far as they can be read."""
        digest: str | None = str(run.record)
        while digest is not None:
            yield digest
            try:
                digest = self.records.record(Digest.parse(digest)).amends
            except DataverError:
                return
        if run.start != run.record:
            yield str(run.start)

    def fault(self, run: bytes) -> str:
        """Why there is no record of a run."""
        self.run(run)
        found = self._runs.get(run)
        return str(found) if isinstance(found, DataverError) else "it is not recorded in this repository"

    def readers(self, version: bytes) -> list[bytes]:
        """The runs that read a version."""
        return [run for run, used in runs_of_version(self.state, version) if used & READ]

    def makers(self, node: VersionNode) -> list[bytes]:
        """The runs that made a version."""
        found = [run for run, used in runs_of_version(self.state, node.version) if used & MADE]
        state, record = self.version_state(node), self.version_record(node)
        said = (state.run if state is not None else b"", record.run_id if record is not None else b"")
        return list(dict.fromkeys([*found, *filter(None, said)]))

    def input_node(self, given: RunInput) -> VersionNode | None:
        """The version, or the part of one, that a run read; None for an input that is no version."""
        if not given.version:
            return None
        node = self.version(bytes.fromhex(given.version), given.dataset, given.repository, given.number)
        part = part_of(given.split)
        if not part:
            return node
        return VersionNode(
            node.name, node.version, node.number, node.state, node.dataset, node.repository, part
        )

    def models(self, run: bytes) -> list[ModelNode]:
        """The models that a run made."""
        return [ModelNode(model.name, model.number) for model in models_of_run(self.state, run)]

    def tracked(self, node: ExternalNode) -> list[bytes]:
        """The runs recorded here that another tool knows under a name of the node, or has a record of."""
        named = [run for name in node.tracked for run in tracked(self.state, name)]
        copied = [bytes.fromhex(run) for run, _ in node.records]
        here = [run for run in copied if run_named(self.state, run) is not None]
        return list(dict.fromkeys([*named, *here]))


def part_of(split: Mapping[str, Any] | None) -> str:
    """`PART`, or `NAME/PART` for a part of a split that has a name; empty for a whole version."""
    part = (split or {}).get("part")
    name = (split or {}).get("split") or (split or {}).get("name")
    if not isinstance(part, str) or not part:
        return ""
    return f"{name}/{part}" if isinstance(name, str) and name and "/" not in part else part
