"""Where two lines parted may be pruned, or never have come: then what one deleted must not come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataver.errors import ConflictError
from dataver.gc.prune import Retention
from dataver.repository import Repository
from tests.repositories import memory_repository


class Person:
    """Somebody with a repository and a folder for the files of each branch."""

    def __init__(self, folder: Path) -> None:
        self.repository = memory_repository()
        self.folder = folder

    def commit(self, branch: str = "main", /, **files: str | None) -> str:
        """Write these files, or remove them, in the newest version of a branch."""
        work = self.folder / branch
        if work.exists():
            self.repository.checkout(f"d@{branch}", work)
        work.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            if text is None:
                (work / name).unlink()
            else:
                (work / name).write_text(text)
        return self.repository.commit("d", work, branch=branch).id

    def branch(self, ref: str, name: str) -> None:
        self.repository.branch(ref, name)
        self.repository.checkout(ref, self.folder / name)

    def names(self, ref: str = "d") -> list[str]:
        return [file.path for file in self.repository.version(ref).files()]

    def prune(self) -> None:
        self.repository.prune("d", Retention(last=1), yes=True)

    def collect(self) -> None:
        for _ in range(2):
            self.repository.gc(yes=True, grace_s=0)


@pytest.fixture
def ada(tmp_path: Path) -> Person:
    """`side` began at v1 and added z; `main` went on, deleted what is bad and added m."""
    ada = Person(tmp_path / "ada")
    ada.commit(bad="bad", k="k")
    ada.branch("d@v1", "side")
    ada.commit("side", z="z")
    ada.commit(bad=None)
    ada.commit(m="m")
    return ada


@pytest.fixture
def ben(tmp_path: Path) -> Person:
    return Person(tmp_path / "ben")


def entries(repository: Repository) -> int:
    return repository.session.newest().number


def test_a_merge_where_both_pasts_are_here(ada: Person) -> None:
    ada.repository.merge("d@side")
    assert ada.names() == ["k", "m", "z"]


def test_a_merge_whose_base_was_pruned_is_a_conflict_until_it_is_restored(ada: Person) -> None:
    ada.prune()
    before = entries(ada.repository)
    with pytest.raises(ConflictError, match=r"parted.*pruned.*`dataver gc --restore`"):
        ada.repository.merge("d@side")
    with pytest.raises(ConflictError):
        ada.repository.merge("d", branch="side")
    assert entries(ada.repository) == before
    assert ada.names() == ["k", "m"]
    ada.repository.gc_restore()
    ada.repository.merge("d@side")
    assert ada.names() == ["k", "m", "z"]


def test_a_merge_whose_base_was_collected_is_a_conflict_until_it_comes_back(ada: Person, ben: Person) -> None:
    ada.repository.push(to=ben.repository)
    ada.prune()
    ada.collect()
    with pytest.raises(ConflictError, match=r"`dataver pull d --from URL` without --depth") as error:
        ada.repository.merge("d@side")
    assert "--restore" not in str(error.value)
    ada.repository.pull(["d"], source=ben.repository)
    ada.repository.merge("d@side")
    assert ada.names() == ["k", "m", "z"]


@pytest.mark.parametrize("wanted", [["d"], ["d@main", "d@side"]], ids=str)
def test_a_merge_in_a_copy_without_the_base_is_a_conflict(
    ada: Person, ben: Person, wanted: list[str]
) -> None:
    ben.repository.pull(wanted, source=ada.repository, depth=1)
    with pytest.raises(ConflictError, match=r"`dataver pull d --from URL` without --depth"):
        ben.repository.merge("d@side")
    ben.repository.pull(["d"], source=ada.repository)
    ben.repository.merge("d@side")
    assert ben.names() == ["k", "m", "z"]


def test_one_line_whose_past_is_here_is_not_enough(ada: Person) -> None:
    """The tag keeps v1, from which no parent leads to `main`."""
    ada.repository.tag("d@v1", "paper")
    ada.prune()
    with pytest.raises(ConflictError, match="parted"):
        ada.repository.merge("d@side")


def test_an_older_base_does_not_stand_for_one_that_was_pruned(ada: Person) -> None:
    """Both lines have v4, which is gone, and v1, which is here: what v4 added and main deleted stays so."""
    ada.repository.tag("d@v1", "paper")
    ada.branch("d@v1", "topic")
    ada.commit("topic", t="t")
    ada.commit(f="f")
    ada.repository.merge("d@v4", branch="side")
    ada.repository.merge("d@topic")
    ada.commit(f=None)
    ada.repository.tag("d@v5", "kept")
    ada.prune()
    with pytest.raises(ConflictError, match="parted"):
        ada.repository.merge("d@side")
    ada.repository.gc_restore()
    ada.repository.merge("d@side")
    assert ada.names() == ["k", "m", "t", "z"]


def test_what_is_absent_below_the_base_is_no_matter(ada: Person) -> None:
    ada.repository.merge("d@side")
    ada.prune()
    ada.commit("side", z="changed", y="y")
    ada.commit(m=None)
    ada.repository.merge("d@side")
    assert ada.names() == ["k", "y", "z"]
    assert not ada.repository.merge("d@side").created


def test_a_folder_whose_base_was_pruned_is_not_measured_against_the_head(ada: Person) -> None:
    """It has what others deleted, and lacks what they added: to it, that is no change."""
    old = ada.folder / "old"
    ada.repository.checkout("d@v1", old)
    ada.prune()
    (old / "new").write_text("new")
    with pytest.raises(ConflictError, match=r"was made from.*pruned.*Nothing was committed.*--base"):
        ada.repository.commit("d", old)
    assert ada.names() == ["k", "m"]
    ada.repository.commit("d", old, base="d@latest")
    assert ada.names() == ["bad", "k", "new"]


def test_nothing_is_put_on_top_of_a_line_whose_past_is_not_known(ada: Person, ben: Person) -> None:
    """Ben has v1 and a version of his own; where his line parted from what ada kept, nobody can tell."""
    ben.repository.pull(["d@v1"], source=ada.repository)
    ben.repository.checkout("d@v1", ben.folder / "work")
    (ben.folder / "work" / "own").write_text("own")
    ben.repository.commit("d", ben.folder / "work")
    ada.prune()
    before = ben.repository.show("d").id
    with pytest.raises(ConflictError, match=r"cannot be put on top"):
        ben.repository.pull(["d@main"], source=ada.repository, rebase=True)
    assert ben.repository.show("d").id == before
