"""Writers, a collector and erasures in any order: what a name leads to reads back, and verifies."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import dataver
from dataver.erasure import erase
from dataver.errors import (
    AlreadyExistsError,
    BadInputError,
    ConflictError,
    ErasedError,
    RefNotFoundError,
)
from dataver.gc import collect, restore
from dataver.gc.holds import hold, release
from dataver.gc.prune import Retention, prune
from dataver.version import Version
from tests.erased import traces

SEEDS = st.lists(st.integers(0, 7), min_size=1, max_size=4, unique=True)
DATASETS = st.sampled_from(["a", "b"])
BRANCHES = st.sampled_from(["main", "x", "y"])
CLIENTS = st.integers(0, 1)
REFUSED = (ConflictError, AlreadyExistsError, RefNotFoundError, BadInputError)


def contents(seed: int) -> bytes:
    """Two chunks or so, the second of which other seeds share."""
    return random.Random(100 + seed).randbytes(60_000) + random.Random(seed % 3).randbytes(300_000)


class GcMachine(RuleBasedStateMachine):
    """Two clients with states of their own age, and what each live name must lead to."""

    @initialize()
    def begin(self) -> None:
        self.place = Path(tempfile.mkdtemp())
        self.folder = self.place / "source"
        dataver.init(str(self.place / "repository"))
        self.clients = [dataver.open(str(self.place / "repository")) for _ in range(2)]
        self.expected: dict[str, dict[str, list[int]]] = {}
        self.deleted: dict[str, dict[str, list[int]]] = {}
        self.known: dict[str, list[int]] = {}
        self.dataset_of: dict[str, str] = {}
        self.holds: dict[str, str] = {}
        self.lives = {"a": 0, "b": 0}
        self.erased: set[int] = set()

    def name(self, dataset: str) -> str:
        """A name is used once: a new dataset under the name of a deleted one is another dataset."""
        return f"{dataset}{self.lives[dataset]}"

    def teardown(self) -> None:
        if hasattr(self, "place"):
            assert dataver.open(str(self.place / "repository")).verify(deep=True).ok
            shutil.rmtree(self.place)

    @rule(client=CLIENTS, dataset=DATASETS, branch=BRANCHES, seeds=SEEDS)
    def commit(self, client: int, dataset: str, branch: str, seeds: list[int]) -> None:
        if self.name(dataset) in self.deleted:
            self.lives[dataset] += 1
        dataset = self.name(dataset)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        for seed in seeds:
            (self.folder / f"{seed}").write_bytes(contents(seed))
        base = f"{dataset}@{branch}" if branch in self.expected.get(dataset, {}) else None
        if base is None and dataset in self.expected:
            base = f"{dataset}@main" if "main" in self.expected[dataset] else None
        try:
            done = self.clients[client].commit(dataset, self.folder, branch=branch, base=base)
        except REFUSED:
            return
        names = self.expected.setdefault(dataset, {})
        if done.created or branch in names:
            names[branch] = sorted(seeds)
        if done.created:
            self.known[done.id] = sorted(seeds)
            self.dataset_of[done.id] = dataset

    @rule(client=CLIENTS, dataset=DATASETS, branch=st.sampled_from(["x", "y"]))
    def delete_branch(self, client: int, dataset: str, branch: str) -> None:
        dataset = self.name(dataset)
        if branch in self.expected.get(dataset, {}):
            self.clients[client].delete_ref("branch", dataset, branch)
            del self.expected[dataset][branch]

    @rule(client=CLIENTS, pick=st.integers(0, 30), name=st.sampled_from(["t1", "t2", "t3"]))
    def tag_any_version(self, client: int, pick: int, name: str) -> None:
        if not self.known:
            return
        id = list(self.known)[pick % len(self.known)]
        dataset = self.dataset_of[id]
        try:
            self.clients[client].tag(f"{dataset}@{id}", name)
        except REFUSED:
            return
        self.expected[dataset][name] = self.known[id]

    @rule(client=CLIENTS, dataset=DATASETS, name=st.sampled_from(["t1", "t2", "t3"]))
    def delete_tag(self, client: int, dataset: str, name: str) -> None:
        dataset = self.name(dataset)
        if name in self.expected.get(dataset, {}):
            self.clients[client].delete_ref("tag", dataset, name)
            del self.expected[dataset][name]

    @rule(client=CLIENTS, dataset=DATASETS)
    def delete_dataset(self, client: int, dataset: str) -> None:
        dataset = self.name(dataset)
        if dataset in self.expected:
            self.clients[client].delete_dataset(dataset)
            self.deleted[dataset] = self.expected.pop(dataset)

    @rule(client=CLIENTS, dataset=DATASETS)
    def undelete_dataset(self, client: int, dataset: str) -> None:
        dataset = self.name(dataset)
        try:
            self.clients[client].undelete_dataset(dataset)
        except REFUSED:
            return
        self.expected[dataset] = self.deleted.pop(dataset)

    @rule(client=CLIENTS, pick=st.integers(0, 30))
    def hold_any_version(self, client: int, pick: int) -> None:
        if not self.known or "kept" in self.holds:
            return
        id = list(self.known)[pick % len(self.known)]
        try:
            hold(self.clients[client].session, f"{self.dataset_of[id]}@{id}", "kept")
        except REFUSED:
            return
        self.holds["kept"] = id

    @rule(client=CLIENTS)
    def release_hold(self, client: int) -> None:
        if self.holds.pop("kept", None) is not None:
            release(self.clients[client].session, "kept")

    @rule(client=CLIENTS, grace_s=st.sampled_from([0.0, 1e6]))
    def collect_garbage(self, client: int, grace_s: float) -> None:
        collect(self.clients[client].session, yes=True, grace_s=grace_s)

    @rule(client=CLIENTS)
    def restore_marks(self, client: int) -> None:
        restore(self.clients[client].session)

    @precondition(lambda self: bool(getattr(self, "expected", None)))
    @rule(client=CLIENTS, name=st.integers(0, 30), pick=st.integers(0, 7), everywhere=st.booleans())
    def erase_a_file(self, client: int, name: int, pick: int, everywhere: bool) -> None:
        found = [(dataset, one) for dataset, names in self.expected.items() for one in names]
        if not found:
            return
        dataset, branch = found[name % len(found)]
        seeds = self.expected[dataset][branch]
        seed = seeds[pick % len(seeds)]
        session = self.clients[client].session
        try:
            report = erase(
                session, f"{dataset}@{branch}", f"{seed}", reason="law", all_holders=everywhere, yes=True
            )
        except ConflictError:
            return  # All of it is in others.
        self.erased.update(int(file.paths[0]) for file in report.files)
        assert seed in self.erased
        assert traces(session.store, contents(seed)[:60_000]) == []

    @rule(client=CLIENTS, dataset=DATASETS, last=st.integers(1, 2))
    def prune_history(self, client: int, dataset: str, last: int) -> None:
        dataset = self.name(dataset)
        if dataset in self.expected:
            prune(self.clients[client].session, dataset, Retention(last=last), yes=True)

    @rule(client=CLIENTS)
    def verify(self, client: int) -> None:
        report = self.clients[client].verify(deep=True)
        assert report.ok, report.damaged

    @invariant()
    def every_name_reads_back(self) -> None:
        if not hasattr(self, "clients"):
            return
        for dataset, names in self.expected.items():
            for name, seeds in names.items():
                version = self.clients[0].version(f"{dataset}@{name}")
                assert [entry.path for entry in version.files()] == [str(seed) for seed in seeds]
                assert all(self.reads_back(version, seed) for seed in seeds)
        for id in self.holds.values():
            if self.dataset_of[id] in self.expected:
                version = self.clients[1].version(f"{self.dataset_of[id]}@{id}")
                assert all(self.reads_back(version, seed) for seed in self.known[id])

    def reads_back(self, version: Version, seed: int) -> bool:
        """The file is as it was, or says that it was erased."""
        if seed not in self.erased:
            return version.read(str(seed)) == contents(seed)
        try:
            version.read(str(seed))
        except ErasedError:
            return True
        return False


TestGcMachine = GcMachine.TestCase
TestGcMachine.settings = settings(
    max_examples=max(3, settings().max_examples // 5), stateful_step_count=25, deadline=None
)
