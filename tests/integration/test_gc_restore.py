"""What was pruned or let go comes back until it is swept, whenever it is asked for, and after that not."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

import dataver
from dataver.digest import Digest
from dataver.errors import RefNotFoundError
from dataver.gc.prune import Retention
from dataver.gc.report import GcReport
from dataver.keys import LOG_PREFIX

WEEK = 7 * 86_400.0
FILE_BYTES = 50_000


class World:
    """A repository on a disk, the times of whose log entries can be put back."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.repository = dataver.init(str(place / "repository"))

    def commit(self, dataset: str = "ds", branch: str = "main", *, size_bytes: int = FILE_BYTES) -> str:
        (self.place / "file").write_bytes(random.randbytes(size_bytes))
        return self.repository.commit(dataset, self.place / "file", branch=branch).id

    def age(self, seconds: float = WEEK + 86_400) -> None:
        """All entries are so much older."""
        for entry in (self.place / "repository" / LOG_PREFIX).iterdir():
            then = entry.stat().st_mtime - seconds
            os.utime(entry, (then, then))

    def prune(self, last: int = 1) -> None:
        self.repository.prune("ds", Retention(last=last), yes=True)

    def gc(self, grace_s: float = WEEK) -> GcReport:
        return self.repository.gc(yes=True, grace_s=grace_s)

    def entries(self) -> int:
        return self.repository.session.log.tail().entry.number

    def condemned(self) -> int:
        state = self.repository.session.newest()
        deleted = [dataset for dataset, _ in state.deleted_datasets()]
        return sum(
            len(list(state.condemned(dataset))) for dataset in [*dict(state.datasets()).values(), *deleted]
        )

    def comes_back(self, ref: str = "ds@v1") -> bool:
        """Restored, the version is there with all its bytes."""
        self.repository.gc_restore()
        after = dataver.open(self.repository.url)
        assert list(after.version(ref).files())
        report = after.verify(deep=True)
        assert report.ok, report.damaged
        return True

    def is_gone(self, ref: str = "ds@v1") -> bool:
        """It does not come back, and nothing is damaged by trying."""
        self.repository.gc_restore()
        after = dataver.open(self.repository.url)
        with pytest.raises(RefNotFoundError):
            after.version(ref)
        report = after.verify(deep=True)
        assert report.ok, report.damaged
        return True


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Three versions, of which two were pruned."""
    world = World(tmp_path)
    for _ in range(3):
        world.commit()
    world.prune()
    return world


def nothing(world: World) -> None:
    del world


def collected_late(world: World) -> None:
    world.age()
    report = world.gc()
    assert (report.marked > 0, report.swept) == (True, 0)


def collected_at_once(world: World) -> None:
    assert world.gc().marked


def collected_often(world: World) -> None:
    for day in range(6):
        world.commit("other", f"b{day}")
        world.repository.delete_ref("branch", "other", f"b{day}")
        world.gc()
        world.age(86_400)
    assert world.repository.session.newest().marks()


def pruned_while_others_wait(world: World) -> None:
    """What was marked before the prune is swept, and nothing that the pruned version needs."""
    world.repository.gc_restore()
    world.commit("other")
    world.repository.delete_dataset("other")
    world.gc()
    world.age()
    world.prune()
    assert world.gc().swept


def pruned_and_old_while_others_wait(world: World) -> None:
    world.repository.gc_restore()
    world.commit("other")
    world.repository.delete_dataset("other")
    world.gc()
    world.prune()
    world.age()
    report = world.gc()
    assert (report.swept > 0, report.waiting > 0) == (True, True)


def restored_and_pruned_again(world: World) -> None:
    world.gc()
    world.age()
    world.repository.gc_restore()
    world.prune()
    assert world.gc().marked


@pytest.mark.parametrize(
    "before",
    [
        nothing,
        collected_late,
        collected_at_once,
        collected_often,
        pruned_while_others_wait,
        pruned_and_old_while_others_wait,
        restored_and_pruned_again,
    ],
)
def test_what_was_pruned_comes_back_until_it_is_swept(world: World, before: Callable[[World], None]) -> None:
    before(world)
    assert world.comes_back()


@pytest.mark.parametrize("before", [collected_late, collected_at_once, restored_and_pruned_again])
def test_what_was_swept_is_gone(world: World, before: Callable[[World], None]) -> None:
    before(world)
    world.age()
    assert world.gc().swept
    assert world.condemned() == 0
    assert world.is_gone()


def copied(world: World, place: Path) -> World:
    """The versions in a copy, in which all share the same packs."""
    world.repository.gc_restore()
    place.mkdir()
    copy = World(place)
    copy.repository.pull(["ds"], source=world.repository)
    copy.prune()
    return copy


def test_a_version_of_which_nothing_is_marked_comes_back_however_old_it_is(
    world: World, tmp_path: Path
) -> None:
    copy = copied(world, tmp_path / "copy")
    copy.age()
    entries = copy.entries()
    for _ in range(3):
        assert copy.gc().marked == 0
    assert (copy.entries(), copy.condemned()) == (entries, 2)
    assert copy.comes_back()


def test_a_version_of_which_nothing_is_marked_goes_where_there_is_no_grace(
    world: World, tmp_path: Path
) -> None:
    copy = copied(world, tmp_path / "copy")
    assert copy.gc(0).marked == 0
    assert copy.condemned() == 0
    assert copy.is_gone()


def test_without_a_grace_all_is_forgotten_and_collections_come_to_an_end(world: World) -> None:
    world.commit("lost", "x")
    world.repository.delete_dataset("lost")
    for _ in range(2):
        world.gc(0)
    assert world.condemned() == 0
    entries = world.entries()
    for _ in range(3):
        world.gc(0)
    assert world.entries() == entries
    assert world.is_gone()


def test_with_a_grace_collections_come_to_an_end(world: World) -> None:
    for _ in range(2):
        world.age()
        world.gc()
    entries = world.entries()
    for _ in range(3):
        world.age()
        world.gc()
    assert world.entries() == entries
    assert world.condemned() == 0


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happened_what_is_condemned_comes_back_whole(tmp_path: Path, seed: int) -> None:
    chosen = random.Random(seed)
    world = World(tmp_path)
    for _ in range(3):
        world.commit()
    for _ in range(14):
        step = chosen.randrange(6)
        if step == 0:
            world.commit(size_bytes=chosen.choice([10, FILE_BYTES]))
        elif step == 1:
            world.prune(chosen.randint(1, 3))
        elif step == 2:
            world.age(chosen.choice([86_400.0, WEEK + 1]))
        elif step == 3:
            world.commit("other", "x")
            world.repository.delete_ref("branch", "other", "x")
        elif step == 4:
            world.gc()
        else:
            world.gc(chosen.choice([0.0, WEEK]))
        condemned = world.condemned()
        before = len(versions(world))
        if chosen.random() < 0.3:
            world.repository.gc_restore()
            assert len(versions(world)) == before + condemned
            report = dataver.open(world.repository.url).verify(deep=True)
            assert report.ok, report.damaged


def versions(world: World) -> list[Digest]:
    state = world.repository.session.newest()
    return [one.id for _, dataset in state.datasets() for one in state.versions(dataset)]
