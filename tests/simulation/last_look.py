"""The last look at a simulated repository, when all is quiet: is all there, and has the rest gone?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import ErasedError
from dataver.gc.trace import state_packs
from dataver.keys import PACK_PREFIX, SEGMENT_PREFIX
from dataver.packs import read_footer
from dataver.testing.machines import Machine
from dataver.testing.simulated import SimulatedStore
from tests.simulation.contents import content, digest
from tests.simulation.ledger import Known, Ledger
from tests.simulation.someone import Someone

if TYPE_CHECKING:
    from tests.simulation.world import World

COLLECTIONS_MAX = 6


class LastLook:
    """A machine that never saw the repository before."""

    def __init__(self, world: World, machine: Machine, store: SimulatedStore, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger
        self._repository = Someone(world, machine, store, ledger).repository

    def look(self) -> None:
        """Read, verify and collect; then once more, with what is left."""
        self._read_all("before the last collection", self._ledger.gone)
        self._collect()
        self._nothing_is_left()
        self._read_all("after the last collection", self._ledger.erased)

    def _expect(self, holds: bool, what: str) -> None:
        if not holds:
            self._ledger.found(what)

    def _read_all(self, when: str, gone: set[bytes]) -> None:
        """`gone` is what nobody may read: a collection carries through what an erasure left undone."""
        ledger = self._ledger
        repository = self._repository
        for ref, known in ledger.named():
            self._expect(repository.version(ref).id == str(known.id), f"{ref} is another version {when}")
        by_id = {id: name for name, id in ledger.names.items()}
        for (dataset, _), known in ledger.required().items():
            if dataset in by_id:
                self._read(f"{by_id[dataset]}@{known.id}", known, when, gone)
        report = repository.verify(deep=True)
        self._expect(report.ok, f"verify finds damage {when}: {report.damaged}")

    def _read(self, ref: str, known: Known, when: str, gone: set[bytes]) -> None:
        version = self._repository.version(ref)
        paths = sorted(entry.path for entry in version.files())
        self._expect(paths == sorted(known.files), f"{ref} has {paths} {when}, not {sorted(known.files)}")
        for path, number in sorted(known.files.items()):
            try:
                right = version.read(path) == content(number)
            except ErasedError:
                right = digest(number) in self._ledger.erased
            else:
                self._expect(
                    digest(number) not in gone,
                    f"{path} of {ref} was erased and is read {when}",
                )
            self._expect(right, f"{path} of {ref} is not as it was {when}")

    def _collect(self) -> None:
        report = self._repository.gc()
        for _ in range(COLLECTIONS_MAX):
            report = self._repository.gc(yes=True, grace_s=0)
            if not (report.marked or report.swept or report.waiting or report.undeleted or report.rewritten):
                return
        self._expect(False, f"{COLLECTIONS_MAX} collections have not come to an end: {report}")

    def _nothing_is_left(self) -> None:
        """No pack without anything that is needed, nothing that was erased, no segment that is not valid."""
        ledger, session = self._ledger, self._repository.session
        needed: set[bytes] = set(ledger.records)
        for known in ledger.versions.values():
            if not known.condemned:
                needed |= known.needs
        states = state_packs(session)
        for info in self._store.inner.list(PACK_PREFIX):
            name = Digest.parse(info.key[-64:])
            digests = read_footer(self._store.inner, name)[0].digests
            found = {digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)}
            self._expect(
                bool(found & needed) or name in states, f"{info.key} is needed for nothing, and is there"
            )
            self._expect(not found & ledger.erased, f"{info.key} has bytes that were erased")
        valid = {segment.name for segment in session.state().segments()}
        there = {Digest.parse(info.key[-64:]) for info in self._store.inner.list(SEGMENT_PREFIX)}
        self._expect(there == valid, f"{len(there - valid)} segments are there and not valid")
