"""Collection: what goes, what stays, and that no interleaving with writers loses anything."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import dataver
from dataver.errors import ConflictError, DamagedError, NotPermittedError, RefNotFoundError, StoreError
from dataver.format.run_record import RunInput, RunModel, RunRecord
from dataver.gc import collect, restore
from dataver.gc.holds import hold, holds, release
from dataver.gc.prune import Retention, prune
from dataver.keys import PACK_PREFIX, pack_key
from dataver.lineage.publishing import end_run
from dataver.repository import Repository
from dataver.store.base import Wrapper

if TYPE_CHECKING:
    from dataver.store.base import Data

WEEK = 7 * 86_400.0


class World:
    """A repository and a folder beside it that is committed from."""

    def __init__(self, place: Path) -> None:
        self.folder = place / "source"
        self.folder.mkdir()
        self.url = str(place / "repository")
        self.repository = dataver.init(self.url)

    def fill(self, seeds: range | list[int], size_bytes: int = 200_000) -> None:
        """One file a seed, and no other."""
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        for seed in seeds:
            (self.folder / f"f{seed}").write_bytes(random.Random(seed).randbytes(size_bytes))

    def commit(self, dataset: str, seeds: range | list[int], **options: object) -> str:
        self.fill(seeds)
        return self.repository.commit(dataset, self.folder, **options).id  # type: ignore[arg-type]

    def another(self) -> Repository:
        """As another machine would open it."""
        return dataver.open(self.url)

    def is_whole(self) -> bool:
        report = self.another().verify(deep=True)
        assert report.ok, report.damaged
        return True

    def holds_bytes(self, dataset: str, seeds: range | list[int]) -> bool:
        version = self.another().version(dataset)
        for seed in seeds:
            assert version.read(f"f{seed}") == random.Random(seed).randbytes(200_000)
        return [entry.path for entry in version.files()] == sorted(f"f{seed}" for seed in seeds)

    def packs(self) -> set[str]:
        return {info.key for info in self.repository.session.store.list(PACK_PREFIX)}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_nothing_goes_where_all_is_named(world: World) -> None:
    world.commit("d", range(2))
    world.commit("d", range(4), tags=["paper"])
    report = collect(world.repository.session, yes=True, grace_s=0)
    assert (report.marked, report.swept, report.versions, report.unknown) == (0, 0, [], [])
    assert world.is_whole()


def test_a_report_changes_nothing(world: World) -> None:
    world.commit("d", range(2))
    world.repository.delete_dataset("d")
    before = world.packs(), world.repository.session.log.tail().entry.number
    report = collect(world.repository.session, grace_s=WEEK)
    assert not report.done
    assert report.marked >= 2
    assert report.marked_bytes > 400_000
    assert [version.number for version in report.versions] == [1]
    assert (world.packs(), world.repository.session.log.tail().entry.number) == before


def test_a_deleted_branch_goes_after_the_grace_and_main_stays(world: World) -> None:
    world.commit("d", range(2))
    lost = world.commit("d", range(5), branch="x")
    world.repository.delete_ref("branch", "d", "x")
    session = world.repository.session
    first = collect(session, yes=True, grace_s=WEEK)
    assert first.marked
    assert first.swept == 0
    again = collect(session, yes=True, grace_s=WEEK)
    assert (again.marked, again.swept) == (0, 0)
    assert again.waiting == first.marked
    with pytest.raises(RefNotFoundError):
        world.another().version(f"d@{lost}")
    swept = collect(session, yes=True, grace_s=0)
    assert swept.swept == first.marked
    assert swept.bytes > 3 * 200_000
    assert world.is_whole()
    assert world.holds_bytes("d", range(2))
    last = collect(session, yes=True, grace_s=0)
    assert (last.marked, last.swept, last.bytes) == (0, 0, 0)


def test_a_restore_before_the_sweep_brings_all_back(world: World) -> None:
    world.commit("d", range(2))
    lost = world.commit("d", range(5), branch="x")
    world.repository.delete_ref("branch", "d", "x")
    collect(world.repository.session, yes=True, grace_s=WEEK)
    with pytest.raises(RefNotFoundError):
        world.repository.tag(f"d@{lost}", "back")
    assert restore(world.repository.session).spared
    world.repository.tag(f"d@{lost}", "back")
    report = collect(world.repository.session, yes=True, grace_s=0)
    assert report.swept == 0
    assert [kept.by for kept in report.kept_by] == ["tag back"]
    assert world.is_whole()
    assert world.holds_bytes("d@back", range(5))


def test_a_deleted_dataset_comes_back_until_it_is_swept(world: World) -> None:
    world.commit("d", range(2))
    world.repository.delete_dataset("d")
    collect(world.repository.session, yes=True, grace_s=WEEK)
    world.repository.undelete_dataset("d")
    assert collect(world.repository.session, yes=True, grace_s=0).swept == 0
    assert world.holds_bytes("d", range(2))
    world.repository.delete_dataset("d")
    collect(world.repository.session, yes=True, grace_s=0)
    assert world.is_whole()
    with pytest.raises(RefNotFoundError, match="collected"):
        world.repository.undelete_dataset("d")


def test_what_two_datasets_share_stays_and_a_pack_of_mostly_dead_bytes_is_rewritten(world: World) -> None:
    world.commit("d", range(20))
    world.commit("e", range(3))
    world.repository.delete_dataset("d")
    before = world.packs()
    report = collect(world.repository.session, yes=True, grace_s=0)
    assert report.rewritten == 1
    assert report.bytes > 16 * 200_000
    assert not before <= world.packs()
    assert world.is_whole()
    assert world.holds_bytes("e", range(3))
    stored = sum(info.size_bytes for info in world.repository.session.store.list(PACK_PREFIX))
    assert stored < 5 * 200_000


def test_tags_holds_runs_and_models_keep_versions(world: World) -> None:
    ids: dict[str, str] = {}
    world.commit("d", [1])
    for name in ("tagged", "held", "read", "lost"):
        ids[name] = world.commit("d", [10 + len(ids)], branch=name, base="d@main")
    repository, session = world.repository, world.repository.session
    repository.tag("d@tagged", "paper")
    hold(session, "d@held", "audit")
    found = repository.version("d@read")
    given = RunInput("training", "d@read", "d", found.id, found.tree, repository.id)
    model = RunModel("churn", found.tree)
    run = RunRecord("ab" * 16, "train", "Ana <a@x>", 0, status="done", inputs=(given,), models=(model,))
    end_run(session, run)
    for name in ids:
        repository.delete_ref("branch", "d", name)
    report = collect(session, yes=True, grace_s=0)
    assert {kept.by for kept in report.kept_by} == {"tag paper", "hold audit", "model churn@v1"}
    assert [version.version for version in report.versions] == [ids["lost"]]
    assert world.is_whole()
    assert holds(session) == [("audit", "d", ids["held"])]
    release(session, "audit")
    with pytest.raises(RefNotFoundError):
        release(session, "audit")
    after = collect(session, yes=True, grace_s=0)
    assert [version.version for version in after.versions] == [ids["held"]]
    assert world.is_whole()


def test_what_a_crashed_writer_left_goes_and_foreign_files_stay(world: World) -> None:
    world.commit("d", range(2))
    world.fill(range(2, 6))
    stopped = world.another()
    store = _Failing(stopped.session.store, lambda key: key.startswith("index/"))
    stopped.session.store = store
    with pytest.raises(StoreError):
        stopped.commit("d", world.folder)
    (Path(world.url) / "notes.txt").write_text("mine")
    report = collect(world.repository.session, yes=True, grace_s=0)
    assert report.swept >= 1
    assert report.bytes > 4 * 200_000
    assert report.unknown == ["notes.txt"]
    assert (Path(world.url) / "notes.txt").read_text() == "mine"
    # What is left of the journal names a pack that is gone: the bytes are stored again.
    world.repository.commit("d", world.folder)
    assert world.is_whole()


class _Failing(Wrapper):
    """A store that does not take some keys."""

    def __init__(self, inner: object, fails: Callable[[str], bool]) -> None:
        super().__init__(inner)  # type: ignore[arg-type]
        self._fails = fails

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
        if self._fails(key):
            raise StoreError(f"{key} was not taken")
        return self.inner.put_new(key, data, barrier=barrier)


class _Keeping(Wrapper):
    """A store that lets nothing be deleted."""

    def delete(self, key: str) -> None:
        raise NotPermittedError(f"{key} may not be deleted")


def test_a_store_that_deletes_nothing_is_told_again(world: World) -> None:
    world.commit("d", range(2))
    world.repository.delete_dataset("d")
    session = world.repository.session
    session.store, real = _Keeping(session.store), session.store
    report = collect(session, yes=True, grace_s=0)
    assert report.swept
    assert report.bytes == 0
    assert len(report.undeleted) == report.swept
    session.store = real
    assert world.is_whole()
    again = collect(session, yes=True, grace_s=0)
    assert again.bytes > 400_000
    assert again.undeleted == []
    assert world.is_whole()


def test_damage_stops_a_collection_before_it_begins(world: World) -> None:
    world.commit("d", range(2))
    world.commit("e", range(2, 4))
    world.repository.delete_dataset("e")
    session = world.repository.session
    version = session.resolve("d").version
    place = session.index(session.state()).find(version.manifest)
    assert place is not None
    (Path(world.url) / pack_key(place.pack)).unlink()
    before = world.packs()
    with pytest.raises(DamagedError):
        collect(world.another().session, yes=True, grace_s=0)
    assert world.packs() == before


# Beside writers


class _Before(Wrapper):
    """A store that does something once, before a log entry is put."""

    def __init__(self, inner: object, do: Callable[[], object]) -> None:
        super().__init__(inner)  # type: ignore[arg-type]
        self._do: Callable[[], object] | None = do

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
        if re.fullmatch(r"log/\d{20}", key) and self._do is not None:
            do, self._do = self._do, None
            do()
        return self.inner.put_new(key, data, barrier=barrier)


def _before_entry(repository: Repository, do: Callable[[], object]) -> None:
    """Have something done right before the next entry of this repository is put."""
    log = repository.session.log
    log.store = _Before(log.store, do)


@pytest.mark.parametrize("times", [1, 2])
def test_a_commit_spares_what_it_found_and_was_marked_meanwhile(world: World, times: int) -> None:
    """The bytes of a deleted dataset are found by a commit, and marked before that has its entry."""
    world.commit("old", range(4))
    world.commit("d", [9])
    world.repository.delete_dataset("old")
    world.fill([*range(4), 9])
    writer = world.another()
    collector = world.another().session

    def mark() -> None:
        for _ in range(times):
            assert collect(collector, yes=True, grace_s=WEEK).versions or times == 2

    _before_entry(writer, mark)
    done = writer.commit("d", world.folder)
    assert done.new_bytes == 0
    report = collect(collector, yes=True, grace_s=0)
    assert world.is_whole()
    assert world.holds_bytes("d", [*range(4), 9])
    assert report.swept <= 2  # The metadata of the deleted dataset.


def test_a_commit_is_refused_where_what_it_found_was_deleted_meanwhile(world: World) -> None:
    world.commit("old", range(4))
    world.commit("d", [9])
    world.repository.delete_dataset("old")
    world.fill([*range(4), 9])
    writer = world.another()
    _before_entry(writer, lambda: collect(world.another().session, yes=True, grace_s=0))
    with pytest.raises(ConflictError, match="repeat"):
        writer.commit("d", world.folder)
    assert world.is_whole()
    writer.commit("d", world.folder)
    assert world.is_whole()
    assert world.holds_bytes("d", [*range(4), 9])


def test_the_upload_of_a_slow_writer_is_spared(world: World) -> None:
    world.commit("d", [9])
    world.fill(range(4))
    writer = world.another()
    _before_entry(writer, lambda: collect(world.another().session, yes=True, grace_s=WEEK))
    writer.commit("d", world.folder)
    assert world.holds_bytes("d", range(4))
    collect(world.another().session, yes=True, grace_s=0)
    assert world.is_whole()


def test_the_upload_of_a_writer_slower_than_the_grace_is_refused_and_stored_again(world: World) -> None:
    world.commit("d", [9])
    world.fill(range(4))
    writer = world.another()
    _before_entry(writer, lambda: collect(world.another().session, yes=True, grace_s=0))
    with pytest.raises(ConflictError):
        writer.commit("d", world.folder)
    writer.commit("d", world.folder)
    assert world.holds_bytes("d", range(4))
    assert world.is_whole()


def test_a_commit_made_from_a_version_that_was_condemned_meanwhile_is_refused(world: World) -> None:
    world.commit("d", [9])
    lost = world.commit("d", range(4), branch="x")
    writer = world.another()
    world.fill(range(3))

    def condemn() -> None:
        world.another().delete_ref("branch", "d", "x")
        collect(world.another().session, yes=True, grace_s=WEEK)

    _before_entry(writer, condemn)
    with pytest.raises(ConflictError):
        writer.commit("d", world.folder, base=f"d@{lost}", branch="y")
    assert world.is_whole()


@pytest.mark.parametrize("grace_s", [0.0, WEEK])
def test_a_tag_that_comes_during_the_trace_is_seen(world: World, grace_s: float) -> None:
    world.commit("d", [9])
    lost = world.commit("d", range(4), branch="x")
    world.repository.delete_ref("branch", "d", "x")
    collector = world.another()
    _before_entry(collector, lambda: world.another().tag(f"d@{lost}", "paper"))
    report = collect(collector.session, yes=True, grace_s=grace_s)
    assert report.swept == 0
    assert world.holds_bytes("d@paper", range(4))
    assert world.is_whole()


def test_a_push_spares_what_it_found(world: World, tmp_path: Path) -> None:
    """The receiver has the bytes in a deleted dataset, which is marked while the push comes."""
    (tmp_path / "there").mkdir()
    there = World(tmp_path / "there")
    there.commit("mine", range(4))
    world.commit("old", range(4))
    world.repository.delete_dataset("old")
    target = world.another()
    _before_entry(target, lambda: collect(world.another().session, yes=True, grace_s=0))
    there.repository.push(to=target)
    assert world.is_whole()
    assert world.holds_bytes("mine", range(4))
    collect(world.another().session, yes=True, grace_s=0)
    assert world.is_whole()


def test_merged_segments_keep_the_place_that_is_not_marked(world: World) -> None:
    """Of two packs with the same chunks one is marked; merging must not keep that one's place."""
    world.commit("old", range(3))
    world.repository.delete_dataset("old")
    collect(world.repository.session, yes=True, grace_s=WEEK)
    world.commit("d", range(3))  # Stored once more, as the first copy is marked.
    for number in range(20):  # Enough segments to be merged, several times.
        world.commit("e", [100 + number])
    assert len(world.repository.session.state().segments()) < 12
    report = collect(world.repository.session, yes=True, grace_s=0)
    assert report.bytes > 3 * 200_000
    assert world.is_whole()
    assert world.holds_bytes("d", range(3))


# Retention


def test_prune_keeps_what_is_asked_for_and_what_is_named(world: World) -> None:
    for number in range(1, 9):
        time = f"2026-0{(number + 1) // 2}-1{number}T00:00:00Z"
        world.repository.commit("d", _one(world, number), time=time)
    world.repository.tag("d@v2", "paper")
    session = world.repository.session
    report = prune(session, "d", Retention(last=2))
    assert report.pruned == ["v1", "v3", "v4", "v5", "v6"]
    assert report.kept == {"v2": "paper", "v7": "one of the last", "v8": "head of main"}
    assert not report.done
    assert prune(session, "d", Retention(monthly=3)).pruned == ["v1", "v3", "v5", "v7"]
    assert prune(session, "d", Retention(last=2), yes=True).done
    assert [info.version for info in world.repository.log("d")] == ["v8", "v7"]
    with pytest.raises(RefNotFoundError, match="pruned"):
        world.repository.version("d@v3")
    assert world.another().version("d@paper").read("f2") == random.Random(2).randbytes(200_000)
    collect(session, yes=True, grace_s=WEEK)
    assert world.is_whole()
    restore(session)
    assert len(list(world.repository.log("d"))) == 8
    assert world.is_whole()
    prune(session, "d", Retention(last=2), yes=True)
    assert collect(session, yes=True, grace_s=0).bytes > 5 * 200_000
    assert world.is_whole()
    assert [info.version for info in world.repository.log("d")] == ["v8", "v7"]
    assert world.repository.commit("d", _one(world, 9)).version == "v9"
    assert world.is_whole()


def _one(world: World, seed: int) -> Path:
    world.fill([seed])
    return world.folder


def test_a_pruned_history_is_pushed_as_it_is(world: World, tmp_path: Path) -> None:
    for number in range(1, 6):
        world.repository.commit("d", _one(world, number))
    prune(world.repository.session, "d", Retention(last=1), yes=True)
    collect(world.repository.session, yes=True, grace_s=0)
    other = dataver.init(str(tmp_path / "other"))
    world.repository.push(to=other)
    assert [info.version for info in other.log("d")] == ["v5"]
    assert other.verify(deep=True).ok
    # And back into what was pruned, from one that has all of it.
    assert world.is_whole()


def test_the_environment_may_lie_about_the_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is a month ahead deletes nothing early: the store's own clock is asked."""
    world.commit("d", range(2))
    world.repository.delete_dataset("d")
    session = world.repository.session
    collect(session, yes=True, grace_s=WEEK)
    import time

    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 30 * 86_400)
    assert collect(session, yes=True, grace_s=WEEK).swept == 0
    key = next(iter(sorted(Path(world.url, "log").glob("0*"))))
    assert os.path.getmtime(key) <= real() + 1
