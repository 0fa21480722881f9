"""Histories that came from elsewhere, all in one entry, in parts or late, are walked and merged as any."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataver.errors import ConflictError, DamagedError
from dataver.format.operations import BRANCH, BranchSet, DatasetCreate, RefDelete, TagCreate
from dataver.history import merge_base
from dataver.repository import Repository
from tests.damage import append
from tests.repositories import memory_repository


@pytest.fixture
def here() -> Repository:
    return memory_repository()


@pytest.fixture
def there() -> Repository:
    return memory_repository()


class Line:
    """Commits to branches, each with a file of its own, at times that mean nothing."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        self.repository = repository
        self.folder = folder
        self.count = 0

    def commit(self, branch: str, base: str | None = None, time: str | None = None) -> str:
        self.count += 1
        source = self.folder / f"source-{self.count}"
        source.mkdir(parents=True)
        (source / f"file{self.count}").write_text(str(self.count))
        done = self.repository.commit("d", source, branch=branch, base=base, add=True, time=time)
        return done.id


def parents_come_later(repository: Repository, ref: str) -> bool:
    seen: set[str] = set()
    for version in repository.log(ref):
        if seen & set(version.parents):
            return False
        seen.add(version.id)
    return True


def test_of_lines_in_one_entry_children_come_first(
    here: Repository, there: Repository, tmp_path: Path
) -> None:
    line = Line(here, tmp_path)
    root = line.commit("main")
    for branch, count in (("left", 3), ("right", 1)):
        here.branch(f"d@{root}", branch)
        for _ in range(count):
            line.commit(branch, f"d@{branch}")
    here.merge("d@left", branch="right")
    here.push(["d"], to=there)
    for repository in (here, there):
        assert parents_come_later(repository, "d@right")
    assert [v.id for v in there.log("d@right")] == [v.id for v in here.log("d@right")]


def test_what_was_filled_in_later_is_still_older(here: Repository, there: Repository, tmp_path: Path) -> None:
    line = Line(here, tmp_path)
    for _ in range(4):
        line.commit("main")
    there.pull(["d"], source=here, depth=1)
    there.pull(["d"], source=here)
    there.checkout("d", tmp_path / "work")
    (tmp_path / "work" / "new").write_text("new")
    there.commit("d", tmp_path / "work")
    assert [v.version for v in there.log("d")] == ["v5", "v4", "v3", "v2", "v1"]
    assert parents_come_later(there, "d")


def test_the_base_of_lines_that_crossed(here: Repository, there: Repository, tmp_path: Path) -> None:
    """Of several common versions one that descends from the others is taken, wherever it came from."""
    line = Line(here, tmp_path)
    line.commit("main")
    here.branch("d", "side")
    ours = line.commit("main")
    theirs = line.commit("side", "d@side")
    here.merge(f"d@{theirs}")
    here.merge(f"d@{ours}", branch="side")
    line.commit("main")
    line.commit("side", "d@side")
    there.pull(source=here)
    for repository in (here, there):
        state = repository.session.state()
        dataset = state.dataset("d")
        assert dataset is not None
        heads = [ref.target for ref in state.refs(dataset)]
        base = merge_base(repository.session, state, dataset, *heads)
        assert base is not None
        assert str(base.id) in (ours, theirs)
    merged = there.merge("d@side")
    assert merged.files == 5
    assert there.verify(deep=True).ok


def test_a_merge_where_the_common_past_is_absent(here: Repository, there: Repository, tmp_path: Path) -> None:
    line = Line(here, tmp_path)
    line.commit("main")
    here.branch("d", "side")
    line.commit("main")
    line.commit("side", "d@side")
    there.pull(["d@main", "d@side"], source=here)
    # Whether main deleted the other line's file3, or never had it, only the common past can tell.
    with pytest.raises(ConflictError, match="`dataver pull d --from URL` without --depth"):
        there.merge("d@side")
    there.pull(["d"], source=here)
    # Both lines have the same file1, so it is no conflict.
    done = there.merge("d@side")
    assert done.files == 3
    assert there.push(to=here).versions == 1
    assert there.verify(deep=True).ok
    assert here.verify(deep=True).ok


def test_a_merge_that_was_made_elsewhere_is_not_made_again(
    here: Repository, there: Repository, tmp_path: Path
) -> None:
    line = Line(here, tmp_path)
    line.commit("main")
    here.branch("d", "side")
    line.commit("side", "d@side")
    line.commit("main")
    here.merge("d@side")
    there.pull(["d"], source=here, depth=1)
    there.pull(["d@side"], source=here)
    assert there.merge("d@side").created is False


@pytest.mark.parametrize("name", ["latest", "v7", "\x1b[31m", "../x", "0123456789abcdef"])
def test_names_that_no_writer_makes_go_no_further(
    here: Repository, there: Repository, tmp_path: Path, name: str
) -> None:
    Line(here, tmp_path).commit("main")
    state = here.session.state()
    dataset = state.dataset("d")
    assert dataset is not None
    head = next(iter(state.refs(dataset))).target
    append(here, TagCreate(dataset, name, head))
    with pytest.raises(DamagedError):
        here.push(to=there)
    with pytest.raises(DamagedError):
        there.pull(source=here)
    assert there.datasets() == []


def test_a_dataset_name_that_no_writer_makes_goes_no_further(here: Repository, there: Repository) -> None:
    append(here, DatasetCreate(bytes(16), "\x1b[2J"))
    with pytest.raises(DamagedError):
        there.pull(source=here)
    assert there.datasets() == []


def test_main_that_went_back_there_is_told_from_one_that_went_on(
    here: Repository, there: Repository, tmp_path: Path
) -> None:
    """Nobody moves main back; a repository in which somebody did is behind, not ahead."""
    line = Line(here, tmp_path)
    first, _ = line.commit("main"), line.commit("main")
    here.push(to=there)
    state = here.session.state()
    dataset = state.dataset("d")
    assert dataset is not None
    head = next(iter(state.refs(dataset))).target
    append(
        here,
        RefDelete(dataset, BRANCH, "main", head),
        BranchSet(dataset, "main", None, type(head).parse(first)),
    )
    assert not there.pull(source=here).refs
    assert not here.push(to=there).refs
    assert there.show("d").version == "v2"
    # Going on from there is another line.
    line.commit("main", f"d@{first}")
    with pytest.raises(ConflictError):
        here.push(to=there)
