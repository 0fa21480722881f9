"""What machines do: writers, readers and collectors, each with a repository object of its own.

What a machine is told is held against the ledger: what was acknowledged is in the log, what was
refused is not, and what a reader gets is what was committed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dataver.errors import (
    AlreadyExistsError,
    BadInputError,
    ConflictError,
    DamagedError,
    ErasedError,
    NotFoundError,
    StoreError,
)
from dataver.forgetting import forget
from dataver.format.run_record import RunInput, RunRecord
from dataver.gc.prune import Retention
from dataver.lineage.publishing import end_run
from dataver.log.log import Log
from dataver.repository import Repository
from dataver.results import CommitResult
from dataver.session import Session
from dataver.store.base import Store
from dataver.store.cached import CachedStore
from dataver.store.disk_cache import DiskCache
from dataver.testing.machines import Machine
from dataver.testing.simulated import SimulatedStore
from dataver.version import Version
from tests.simulation.contents import CONTENTS, Files, content, digest
from tests.simulation.ledger import Attempt, Known, Ledger

if TYPE_CHECKING:
    from tests.simulation.world import World

REFUSED = (ConflictError, AlreadyExistsError, NotFoundError, BadInputError)
SAFE = "safe"
"""Nobody prunes or deletes this dataset: all its versions on `main` are kept for good."""
SHARED = (SAFE, "shared")
DAY_S = 86_400.0
CACHE_BYTES = 16 << 20
TOGETHER_TURNS = 120


class Reached(Repository):
    """A repository over this very store, also where it is opened once more by what it was made of."""

    def __init__(self, store: Store) -> None:
        super().__init__("memory://simulation")
        log = Log(store)
        log.forget = forget
        self.session = Session(store, log, jobs=1)

    def __reduce__(self) -> tuple[Any, ...]:
        return Reached, (self.session.store,)


class Someone:
    """An actor: what it can do in one repository, and how often it does each."""

    def __init__(self, world: World, machine: Machine, store: SimulatedStore, ledger: Ledger) -> None:
        self.world = world
        self.machine = machine
        self.store = store
        self.draw = world.draw
        self.ledger = ledger
        self.elsewhere: Someone | None = None
        """The same one, in the other repository."""
        self.cache = DiskCache(machine.folder, CACHE_BYTES) if world.plan.cached else None
        self.repository = self._opened()

    @property
    def deeds(self) -> dict[Callable[[], object], int]:
        """What this one does, with weights."""
        raise NotImplementedError

    def live(self, count: int) -> None:
        """Do so many things, and now and then begin with nothing in memory."""
        for _ in range(count):
            if self.draw.random() < 0.1:
                self.machine.clock.set(self.world.wrong_by(), self.world.scheduler.now_us)
            away = self.elsewhere is not None and self.draw.random() < 0.3
            (self.elsewhere if away and self.elsewhere else self).do_something()

    def do_something(self) -> None:
        """One thing, by its weight."""
        if self.draw.random() < 0.3:
            self.repository = self._opened()
        deeds = self.deeds
        self._do(self.draw.choices(list(deeds), list(deeds.values()))[0])

    def _do(self, deed: Callable[[], object]) -> None:
        name = getattr(deed, "__name__", "")
        self.world.note(self.machine.name, f"begins {name}")
        try:
            deed()
            outcome = "done"
        except DamagedError as error:
            outcome = f"damaged: {error}"
            self.world.alarmed(self.machine.name, name, error)
        except (*REFUSED, StoreError) as error:
            outcome = f"{type(error).__name__}: {str(error)[:200]}"
        self.world.note(self.machine.name, f"ends {name}: {outcome}")

    def _opened(self) -> Repository:
        """A repository object as a new process has it, over the store as this machine reaches it."""
        return Reached(self.store if self.cache is None else CachedStore(self.store, self.cache))

    def expect(self, holds: bool, what: str) -> None:
        """Whether the ledger agrees with what this machine was told."""
        if not holds:
            self.ledger.found(f"{self.machine.name} was told {what}, and the log has it not so")

    def dataset_id(self, name: str) -> str:
        """The id of a dataset, of one that is deleted too."""
        found = self.ledger.names.get(name)
        return (found or next(id for id, old in self.ledger.deleted.items() if old == name)).hex()

    def some_name(self, among: Callable[[str], bool] = lambda _: True) -> tuple[str, Known] | None:
        """A ref that leads to something now, and the version."""
        found = [pair for pair in self.ledger.named() if among(pair[0])]
        return self.draw.choice(found) if found else None


class Writer(Someone):
    """Commits, names, lets go."""

    @property
    def deeds(self) -> dict[Callable[[], object], int]:
        deeds: dict[Callable[[], object], int] = {
            self.add: 30,
            self.replace_own: 15,
            self.commit_aside: 14,
            self.start_dataset: 6,
            self.start_together: 8,
            self.revert: 3,
            self.merge: 4,
            self.tag: 12,
            self.move_alias: 5,
            self.delete_name: 14,
            self.hold: 4,
            self.release: 3,
            self.record_run: 3,
            self.delete_dataset: 6,
            self.undelete_dataset: 3,
            self.prune: 8,
        }
        if self.world.plan.erases:
            deeds[self.erase] = 1
        if self.elsewhere is not None:
            deeds |= {self.push: 15, self.pull: 5}
        return deeds

    def begin_dataset(self, dataset: str) -> None:
        """The first version of a dataset."""
        self._commit(dataset, "main", Attempt(None, {"common/0": 0, "common/1": 1}))

    def add(self) -> None:
        """Files beside what others have, or over it."""
        dataset = self.draw.choice(SHARED)
        folders = (f"{self.machine.name}/add", "common")
        puts = {
            f"{self.draw.choice(folders)}/{self.draw.randrange(6)}": self.draw.randrange(CONTENTS)
            for _ in range(self.draw.randrange(1, 5))
        }
        self._commit(dataset, "main", Attempt(self._base(dataset), puts))

    def replace_own(self) -> None:
        """All files of a folder of this machine's own."""
        dataset = self.draw.choice(SHARED)
        puts = {
            f"{self.machine.name}/{n}": self.draw.randrange(CONTENTS)
            for n in range(self.draw.randrange(1, 7))
        }
        self._commit(dataset, "main", Attempt(self._base(dataset), puts, below=self.machine.name))

    def commit_aside(self) -> None:
        """A branch that may be deleted."""
        name = f"side-{self.draw.randrange(3)}"
        puts = {f"common/{self.draw.randrange(6)}": self.draw.randrange(CONTENTS)}
        base = self._base("shared", name) or self._base("shared")
        self._commit("shared", name, Attempt(base, puts))

    def start_dataset(self) -> None:
        """A dataset that others may delete."""
        name = f"own/{self.machine.name}-{self.world.number()}"
        puts = {f"{n}": self.draw.randrange(CONTENTS) for n in range(self.draw.randrange(1, 5))}
        self._commit(name, "main", Attempt(None, puts))

    def start_together(self) -> None:
        """A dataset that others begin at the same time, on the same branch or another one."""
        name = f"own/together-{self.world.scheduler.turns // TOGETHER_TURNS}"
        puts = {f"{self.machine.name}/{self.world.number()}": self.draw.randrange(CONTENTS)}
        self._commit(name, self.draw.choice(["main", "side-0", "side-1"]), Attempt(None, puts))

    def revert(self) -> None:
        """A new version with the files of an old one."""
        found = self.some_name(lambda ref: ref.startswith("shared@v"))
        if found is None:
            return
        attempt = Attempt(None, as_version=str(found[1].id))
        with self.world.attempting(attempt) as message:
            done = self.repository.revert(f"shared@{found[1].id}", message=message)
            self._check(done, "shared", "main", message)

    def merge(self) -> None:
        """What a branch changed, onto `main`."""
        found = self.some_name(lambda ref: ref.startswith("shared@side-"))
        if found is None:
            return
        attempt = Attempt(None, as_version=str(found[1].id))
        with self.world.attempting(attempt) as message:
            done = self.repository.merge(f"shared@{found[1].id}", message=message)
            self._check(done, "shared", "main", message)

    def tag(self) -> None:
        """Name a version, one that nothing may keep any more too."""
        by_id = {id: name for name, id in self.ledger.names.items()}
        keys = [key for key, known in self.ledger.versions.items() if key[0] in by_id and not known.forgotten]
        if not keys:
            return
        dataset, version = self.draw.choice(keys)
        name = f"tag-{self.draw.randrange(12)}"
        done = self.repository.tag(f"{by_id[dataset]}@{version.hex()}", name)
        self.expect(("ref", dataset.hex(), name, done.id) in self.ledger.ever, f"that {name} is at {done.id}")

    def move_alias(self) -> None:
        """Have an alias lead to another version."""
        found = self.some_name(lambda ref: "own/" not in ref)
        if found is not None:
            dataset = found[0].split("@")[0]
            self.repository.alias(found[0], "prod")
            self.expect(
                any(one[:3] == ("ref", self.dataset_id(dataset), "prod") for one in self.ledger.ever),
                "that prod was set",
            )

    def delete_name(self) -> None:
        """Delete a tag or a branch, not `main`."""
        found = self.some_name(lambda ref: "@tag-" in ref or "@side-" in ref)
        if found is not None:
            dataset, name = found[0].split("@")
            kind = "tag" if name.startswith("tag-") else "branch"
            done = self.repository.delete_ref(kind, dataset, name)
            gone = ("gone", self.dataset_id(dataset), name, str(done.previous))
            self.expect(gone in self.ledger.ever, f"that {name} was deleted")

    def hold(self) -> None:
        """Keep a version."""
        found = self.some_name()
        if found is not None:
            name = f"hold-{self.draw.randrange(4)}"
            done = self.repository.hold(found[0], name)
            self.expect(("hold", name, str(done.id)) in self.ledger.ever, f"that {name} keeps {done.id}")

    def release(self) -> None:
        """Let a hold go."""
        if self.ledger.holds:
            self.repository.release(self.draw.choice(sorted(self.ledger.holds)))

    def record_run(self) -> None:
        """Record a run that read a version."""
        found = self.some_name()
        if found is None:
            return
        ref, known = found
        version = self.repository.version(f"{ref.split('@')[0]}@{known.id}")
        given = RunInput("data", ref, version.dataset_name, version.id, version.tree, self.repository.id)
        run = self.draw.randbytes(16).hex()
        end_run(
            self.repository.session, RunRecord(run, "train", "A <a@x>", 0, status="done", inputs=(given,))
        )
        self.expect(("run", run) in self.ledger.ever, f"that run {run} is recorded")

    def delete_dataset(self) -> None:
        """Take the name of a dataset of somebody's own away."""
        names = sorted(name for name in self.ledger.names if name.startswith("own/"))
        if names:
            self.repository.delete_dataset(self.draw.choice(names))

    def undelete_dataset(self) -> None:
        """Bring a dataset back."""
        if self.ledger.deleted:
            self.repository.undelete_dataset(self.draw.choice(sorted(self.ledger.deleted.values())))

    def prune(self) -> None:
        """Let all but the newest versions of a dataset go."""
        self.repository.prune("shared", Retention(last=self.draw.randrange(1, 4)), yes=True)

    def erase(self) -> None:
        """Erase the bytes of a file."""
        found = self.some_name()
        if found is None or not found[1].files:
            return
        path = self.draw.choice(sorted(found[1].files))
        self.repository.erase(found[0], path, reason="asked", all_holders=self.draw.random() < 0.5, yes=True)

    def push(self) -> None:
        """Copy a dataset, or one version, to the other repository."""
        found = self.some_name()
        if found is not None and self.elsewhere is not None:
            ref = self.draw.choice([found[0], found[0].split("@")[0]])
            self.repository.push([ref], to=self.elsewhere.repository, jobs=1)
            self._arrived(found, self.elsewhere.ledger)

    def pull(self) -> None:
        """Copy a dataset, or one version, from there."""
        found = None if self.elsewhere is None else self.elsewhere.some_name()
        if found is not None and self.elsewhere is not None:
            ref = self.draw.choice([found[0], found[0].split("@")[0]])
            self.repository.pull([ref], source=self.elsewhere.repository, jobs=1)
            self._arrived(found, self.ledger)

    def _arrived(self, found: tuple[str, Known], there: Ledger) -> None:
        """A version that was kept here all the time has been there."""
        _, known = found
        self.expect(any(key[1] == known.id for key in there.versions), f"that version {known.id} was copied")

    def _base(self, dataset: str, branch: str = "main") -> str | None:
        """What to measure a change against: the head, or an older version now and then."""
        id = self.ledger.names.get(dataset)
        head = None if id is None else self.ledger.refs.get((id, branch))
        if id is None or head is None:
            return None
        known = self.ledger.versions[id, bytes(head)]
        parents = [parent for parent in known.parents if (id, bytes(parent)) in self.ledger.versions]
        if parents and self.draw.random() < 0.3:
            return str(parents[0])
        return str(head)

    def _commit(self, dataset: str, branch: str, attempt: Attempt) -> None:
        with self.world.attempting(attempt) as message:
            folder = os.path.join(self.world.folder, f"source-{message}")
            below = attempt.below or ""
            write_files(folder, {path.removeprefix(f"{below}/"): n for path, n in attempt.puts.items()})
            try:
                done = self.repository.commit(
                    dataset,
                    folder,
                    branch=branch,
                    message=message,
                    add=attempt.below is None,
                    into=below,
                    base=None if attempt.base is None else f"{dataset}@{attempt.base}",
                    tags=[f"tag-{self.draw.randrange(12)}"] if self.draw.random() < 0.1 else [],
                    jobs=1,
                )
            finally:
                shutil.rmtree(folder)
            self._check(done, dataset, branch, message)

    def _check(self, done: CommitResult, dataset: str, branch: str, message: str) -> None:
        id = self.dataset_id(dataset)
        known = self.ledger.versions.get((bytes.fromhex(id), bytes.fromhex(done.id)))
        self.expect(known is not None, f"that version {done.id} of {dataset} is there")
        if done.created:
            self.expect(known is not None and known.message == message, f"that {message} made {done.id}")
            moved = ("ref", id, branch, done.id)
            self.expect(moved in self.ledger.ever, f"that {branch} of {dataset} is at {done.id}")


class Keeper(Writer):
    """Names and lets go in the other repository, which gets its versions from the first."""

    @property
    def deeds(self) -> dict[Callable[[], object], int]:
        return {self.tag: 5, self.delete_name: 5, self.hold: 2, self.release: 2, self.delete_dataset: 2}


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
        try:
            version = self.repository.version(ref)
        except NotFoundError:
            if known is not None and self.ledger.names.get(name) == there:
                self.expect(known.left != left, f"that {ref} is not there")
            return
        self._compare(version, self._known(version))

    def _known(self, version: Version) -> Known:
        id = bytes.fromhex(self.dataset_id(version.dataset_name))
        return self.ledger.versions[id, bytes.fromhex(version.id)]

    def _compare(self, version: Version, known: Known) -> None:
        kept, left = self.ledger.keeps(known), known.left
        erased = set(self.ledger.erased)
        try:
            paths = [entry.path for entry in version.files()]
            self.expect(sorted(paths) == sorted(known.files), f"that {version.id} has {paths}")
            for path, number in sorted(known.files.items()):
                self._compare_file(version, path, number, erased)
        except (NotFoundError, DamagedError) as error:
            if kept and known.left == left:
                self.ledger.found(f"{self.machine.name} cannot read {version.id}, which is kept: {error!r}")
            raise

    def _compare_file(self, version: Version, path: str, number: int, erased: set[bytes]) -> None:
        try:
            data = version.read(path)
        except ErasedError:
            self.expect(digest(number) in self.ledger.erased, f"that {path} of {version.id} was erased")
            return
        self.expect(data == content(number), f"other bytes for {path} of {version.id}")


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


def write_files(folder: str, files: Files) -> None:
    """Make a folder with these files."""
    for path, number in files.items():
        place = os.path.join(folder, path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "xb") as file:
            file.write(content(number))
