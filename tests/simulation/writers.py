"""Machines that write: commits, names, copies, and all that lets versions go."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from dataver.format.run_record import RunInput, RunRecord
from dataver.gc.prune import Retention
from dataver.lineage.publishing import end_run
from dataver.results import CommitResult
from tests.simulation.contents import CONTENTS, Files, content
from tests.simulation.ledger import Attempt
from tests.simulation.someone import Someone

SAFE = "safe"
"""Nobody prunes or deletes this dataset: all its versions on `main` are kept for good."""
SHARED = (SAFE, "shared")
TOGETHER_TURNS = 120


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
        everywhere = self.draw.random() < 0.5
        done = self.repository.erase(found[0], path, reason="asked", all_holders=everywhere, yes=True)
        self.ledger.gone.update(bytes.fromhex(file.digest) for file in done.files)

    def push(self) -> None:
        """Copy a dataset, or one version, to the other repository."""
        if self.elsewhere is not None:
            self._copy(self, self.elsewhere)

    def pull(self) -> None:
        """Copy a dataset, or one version, from there."""
        if self.elsewhere is not None:
            self._copy(self.elsewhere, self)

    def _copy(self, source: Someone, target: Someone) -> None:
        """From one repository to the other; a version that a name leads to all the time arrives."""
        found = source.some_name()
        if found is None:
            return
        full, known = found
        dataset, name = full.split("@")
        before = source.ledger.moved(dataset, name), known.left
        wanted = [self.draw.choice([full, dataset])]
        if target is self:
            done = self.repository.pull(wanted, source=source.repository, jobs=1)
        else:
            done = self.repository.push(wanted, to=target.repository, jobs=1)
        there = target.ledger
        if before == (source.ledger.moved(dataset, name), known.left):
            arrived = any(key[1] == known.id for key in there.versions)
            self.expect(arrived, f"that version {known.id} was copied")
        for move in done.refs:
            told = (move.name.split("@")[1], move.id)
            named = any(one[0] == "ref" and one[2:] == told for one in there.ever)
            numbered = any(str(version) == move.id for version in there.numbers.values())
            self.expect(named or numbered or told[0] == move.id, f"that {move.name} is at {move.id}")

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


def write_files(folder: str, files: Files) -> None:
    """Make a folder with these files."""
    for path, number in files.items():
        place = os.path.join(folder, path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "xb") as file:
            file.write(content(number))
