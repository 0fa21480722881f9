"""What versions and runs need and no place has, and what its loss harms."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from dataver.format.chunk_list import ListRow
from dataver.log.state import State
from dataver.objects import Objects
from dataver.progress import Progress
from dataver.repair.mended import MendedIndex
from dataver.results import Damage
from dataver.store.base import Store
from dataver.values import dataclass
from dataver.verify.findings import Findings
from dataver.verify.manifests import Manifests
from dataver.verify.metadata import Culprits, Metadata
from dataver.verify.runs import check_runs
from dataver.verify.versions import all_versions, check_versions


@dataclass(frozen=True, slots=True)
class Lost:
    """`missing` are the digests that no place has, with their kinds in words; `lengths` those of the chunks.

    `damage` tells what all that harms.
    """

    missing: dict[bytes, str]
    lengths: dict[bytes, int]
    damage: list[Damage]


class _Metadata(Metadata):
    """Notes how long the chunks are that are asked for and missing."""

    def __init__(self, objects: Objects, index: MendedIndex, findings: Findings) -> None:
        super().__init__(objects, index, findings)
        self.lengths: dict[bytes, int] = {}
        self._missing = index.missing

    def chunks(self, rows: Sequence[ListRow], holder: bytes) -> list[Culprits]:
        culprits = super().chunks(rows, holder)
        self.lengths.update({row.digest: row.size_bytes for row in rows if row.digest in self._missing})
        return culprits


def find_lost(store: Store, state: State, index: MendedIndex, jobs: int, progress: Progress) -> Lost:
    """Walk all versions, runs and models of a state. What was missing before and is there now is not lost."""
    index.findings = findings = Findings()
    index.missing = {}
    metadata = _Metadata(Objects(store, index), index, findings)
    manifests = Manifests(metadata)
    versions = all_versions(state, findings)
    progress.begin("looking for what is lost", len(versions))
    try:
        with ThreadPoolExecutor(jobs, thread_name_prefix="dataver-repair") as pool:
            check_versions(state, versions, manifests, metadata, findings, pool)
            check_runs(state, metadata, findings, pool, deep=False)
    finally:
        progress.end()
    return Lost(index.missing, metadata.lengths, findings.report().damaged)
