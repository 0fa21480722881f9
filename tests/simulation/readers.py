"""Machines that read, and those that collect, verify and repair while others are at work."""

from __future__ import annotations

from collections.abc import Callable, Collection

from dataver.errors import DamagedError, ErasedError, NotFoundError
from dataver.version import Version
from tests.simulation.contents import content, digest
from tests.simulation.ledger import Known
from tests.simulation.someone import Someone

DAY_S = 86_400.0


class Reader(Someone):
    """Resolves and reads every byte of what is promised, and compares."""

    @property
    def deeds(self) -> dict[Callable[[], object], int]:
        return {self.read_name: 4, self.read_version: 4, self.read_again: 2}

    def read_name(self) -> None:
        """What a name leads to by now."""
        found = self.some_name()
        if found is not None:
            self._read(found[0], None)

    def read_version(self) -> None:
        """A version by its id."""
        by_id = {id: name for name, id in self.ledger.names.items()}
        required = [(key, known) for key, known in self.ledger.required().items() if key[0] in by_id]
        if required:
            (dataset, _), known = self.draw.choice(required)
            self._read(f"{by_id[dataset]}@{known.id}", known)

    def read_again(self) -> None:
        """A version as a process that has had it for long reads it: its handle is from before."""
        found = self.some_name()
        if found is None:
            return
        version = self.repository.version(found[0])
        self.world.scheduler.sleep(self.draw.uniform(0, 60))
        self._compare(version, self._known(version))

    def _read(self, ref: str, known: Known | None) -> None:
        left = None if known is None else known.left
        name = ref.split("@", maxsplit=1)[0]
        there = self.ledger.names.get(name)
        gone = self._gone()
        try:
            version = self.repository.version(ref)
        except NotFoundError:
            if known is not None and self.ledger.names.get(name) == there:
                self.expect(known.left != left, f"that {ref} is not there")
            return
        self._compare(version, self._known(version), gone)

    def _gone(self) -> frozenset[bytes]:
        """What may not be read any more. A cache may have it from a repository that did not erase it."""
        has_others = self.cache is not None and self.ledger.twin is not self.ledger
        return frozenset() if has_others else frozenset(self.ledger.gone)

    def _known(self, version: Version) -> Known:
        id = bytes.fromhex(self.dataset_id(version.dataset_name))
        return self.ledger.versions[id, bytes.fromhex(version.id)]

    def _compare(self, version: Version, known: Known, gone: Collection[bytes] = ()) -> None:
        """`gone` is what was erased, and somebody was told so, before the version was looked up."""
        kept, left = self.ledger.keeps(known), known.left
        try:
            paths = [entry.path for entry in version.files()]
            self.expect(sorted(paths) == sorted(known.files), f"that {version.id} has {paths}")
            for path, number in sorted(known.files.items()):
                self._compare_file(version, path, number, gone)
        except (NotFoundError, DamagedError) as error:
            if kept and known.left == left:
                self.ledger.found(f"{self.machine.name} cannot read {version.id}, which is kept: {error!r}")
            raise

    def _compare_file(self, version: Version, path: str, number: int, gone: Collection[bytes]) -> None:
        try:
            data = version.read(path)
        except ErasedError:
            self.expect(digest(number) in self.ledger.erased, f"that {path} of {version.id} was erased")
            return
        self.expect(data == content(number), f"other bytes for {path} of {version.id}")
        self.expect(digest(number) not in gone, f"the bytes of {path} of {version.id}, which were erased")


class Collector(Someone):
    """Marks, sweeps, takes marks back, and verifies while others are at work."""

    @property
    def deeds(self) -> dict[Callable[[], object], int]:
        return {
            self.collect: 12,
            self.collect_later: 6,
            self.restore: 2,
            self.look: 1,
            self.verify: 2,
            self.repair: 1,
        }

    def collect(self) -> None:
        """Without a grace: what is marked is swept at once."""
        self.repository.gc(yes=True, grace_s=0)

    def collect_later(self) -> None:
        """With a grace of seconds, or of days."""
        self.repository.gc(yes=True, grace_s=self.draw.choice([2.0, 30.0, DAY_S, 7 * DAY_S]))

    def restore(self) -> None:
        """Take all marks back."""
        self.repository.gc_restore()

    def repair(self) -> None:
        """Mend what is not damaged: nothing is there to do."""
        report = self.repository.repair(yes=True, deep=self.draw.random() < 0.5)
        self.expect(not report.damaged, f"that {report.damaged} was damaged")

    def look(self) -> None:
        """Only say what there is."""
        self.repository.gc()

    def verify(self) -> None:
        """Read all there is while others write."""
        entry = self.ledger.entry
        report = self.repository.verify(deep=True)
        if not report.ok:
            self.world.alarmed(self.machine.name, "verify", DamagedError(str(report.damaged)))
        self.world.note(self.machine.name, f"verified from entry {entry}")
