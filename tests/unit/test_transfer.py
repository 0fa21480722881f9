"""What push and pull carry, what they refuse, and what they say."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from dataver.digest import Digest
from dataver.errors import (
    AlreadyExistsError,
    BadInputError,
    ConflictError,
    DamagedError,
    RefNotFoundError,
    RepositoryNotFoundError,
)
from dataver.format.operations import GcMark, GcSweep, Hold, Shallow, VersionNumber
from dataver.gc.prune import Retention
from dataver.keys import PACK_PREFIX, pack_key
from dataver.repository import Repository, init
from dataver.results import RefKept, RefMove, TransferResult
from dataver.testing.stores import CountingStore
from tests.damage import append
from tests.repositories import memory_repository, over


class Person:
    """Somebody with a repository and a folder for commits."""

    def __init__(self, folder: Path) -> None:
        self.repository = memory_repository()
        self.folder = folder
        folder.mkdir()

    def commit(self, name: str, text: str, **options: str) -> str:
        (self.folder / name).write_text(text)
        return self.repository.commit("d", self.folder, message=f"{name} {text}", **options).id  # type: ignore[arg-type]

    def numbers(self, ref: str = "d") -> list[str | None]:
        return [version.version for version in self.repository.log(ref)]

    def head(self) -> str:
        return self.repository.show("d").id

    def entries(self) -> int:
        return self.repository.session.log.tail().entry.number


@pytest.fixture
def ada(tmp_path: Path) -> Person:
    return Person(tmp_path / "ada")


@pytest.fixture
def ben(tmp_path: Path) -> Person:
    return Person(tmp_path / "ben")


@pytest.fixture
def apart(ada: Person, ben: Person) -> Iterator[tuple[Person, Person]]:
    """Both have v1 and v2; then ada made v3, and ben another v3 and v4."""
    ada.commit("a", "1")
    ada.commit("b", "1")
    ada.repository.push(to=ben.repository)
    ben.repository.checkout("d", ben.folder)
    ada.commit("a", "ada's")
    ben.commit("b", "ben's")
    ben.commit("c", "ben's")
    yield ada, ben
    for person in (ada, ben):
        assert person.repository.verify(deep=True).ok


def contents(repository: Repository, ref: str = "d") -> dict[str, str]:
    version = repository.version(ref)
    return {file.path: version.read(file.path).decode() for file in version.files()}


# What travels


def test_versions_names_and_numbers_travel(ada: Person, ben: Person) -> None:
    first = ada.commit("a", "1")
    second = ada.commit("a", "2")
    side = ada.commit("b", "1", branch="side")
    ada.repository.tag("d@v1", "paper")
    ada.repository.alias("d@v2", "prod")
    done = ada.repository.push(to=ben.repository)
    assert done.refs == [
        RefMove("d@main", None, second),
        RefMove("d@paper", None, first),
        RefMove("d@prod", None, second),
        RefMove("d@side", None, side),
    ]
    assert (done.versions, done.kept) == (3, [])
    assert ben.repository.refs("d") == ada.repository.refs("d")
    assert next(ben.repository.log("d@side")).id == side
    assert ben.numbers() == ["v2", "v1"]
    for ref in ("d@v1", "d@paper", "d@main", "d@prod", "d@side"):
        assert contents(ben.repository, ref) == contents(ada.repository, ref)
        here, there = ada.repository.show(ref), ben.repository.show(ref)
        assert (here.id, here.tree, here.new_bytes) == (there.id, there.tree, there.new_bytes)
    assert ben.repository.verify(deep=True).ok
    assert ben.entries() == 1, "a push is one entry"


def test_what_is_there_is_not_copied_again(ada: Person, ben: Person) -> None:
    ada.commit("a", "1" * 100_000)
    ada.repository.push(to=ben.repository)
    entries, store = ben.entries(), CountingStore(ben.repository.session.store)
    assert ada.repository.push(to=over(store)) == TransferResult([], 0, 0, 0)
    assert ben.entries() == entries
    assert not store.counts["put_new"]
    assert not store.counts["put_hint"]
    ada.commit("b", "2")
    done = ada.repository.push(to=over(store))
    assert (done.versions, done.objects) == (1, 3)
    assert done.bytes < 2_000
    assert contents(ben.repository) == contents(ada.repository)


def test_chunks_of_another_dataset_are_there_already(ada: Person, ben: Person) -> None:
    data = os.urandom(500_000)
    (ada.folder / "large").write_bytes(data)
    ada.repository.commit("one", ada.folder)
    ada.repository.push(to=ben.repository)
    ada.repository.commit("two", ada.folder)
    done = ada.repository.push(["two"], to=ben.repository)
    assert done.bytes < 2_000
    assert ben.repository.show("two").new_bytes == 0
    assert ben.repository.version("two").read("large") == data


def test_frames_travel_as_they_are_stored(ada: Person, ben: Person) -> None:
    for number in range(40):
        (ada.folder / f"{number}").write_text(f"{number} and more text\n" * 500)
    (ada.folder / "noise").write_bytes(os.urandom(400_000))
    ada.repository.commit("d", ada.folder)
    ada.repository.push(to=ben.repository)
    assert frames(ben.repository) == frames(ada.repository)
    assert packs(ben.repository).isdisjoint(packs(ada.repository)), "names are never created again"


def packs(repository: Repository) -> set[str]:
    return {info.key for info in repository.session.store.list(PACK_PREFIX)}


def frames(repository: Repository) -> set[tuple[int, int, int, bytes]]:
    from dataver.packs import read_footer

    store = repository.session.store
    found = set()
    for key in packs(repository):
        footer, _ = read_footer(store, bytes.fromhex(key[-64:]))
        for frame in footer.frames:
            stored = bytes(store.get_ranges(key, [(frame.offset, frame.stored_bytes)])[0])
            found.add((frame.codec, frame.raw_bytes, frame.xxh3, stored))
    return found


def test_of_a_raw_frame_only_what_is_wanted_travels(ada: Person, ben: Person) -> None:
    noise = {name: os.urandom(20_000) for name in "abcd"}
    for name, data in noise.items():
        (ada.folder / name).write_bytes(data)
    ada.repository.commit("d", ada.folder)
    (ada.folder / "b").unlink()
    ada.repository.commit("d", ada.folder, into="", branch="main")
    done = ada.repository.push(["d@v2"], to=ben.repository)
    assert 60_000 < done.bytes < 63_000
    assert ben.repository.version("d@v2").read("d") == noise["d"]
    assert ben.repository.verify(deep=True).ok


def test_only_what_changed_is_read_of_a_large_version(ada: Person, ben: Person) -> None:
    for number in range(1_500):
        (ada.folder / f"{number:05}").write_text(str(number))
    ada.repository.commit("d", ada.folder)
    ada.repository.push(to=ben.repository)
    (ada.folder / "00007").write_text("changed")
    ada.repository.commit("d", ada.folder)
    source = CountingStore(ada.repository.session.store)
    done = over(source).push(to=ben.repository)
    assert done.versions == 1
    assert source.read_bytes < 300_000
    assert contents(ben.repository)["00007"] == "changed"


def test_a_renamed_dataset_is_the_same_one(ada: Person, ben: Person) -> None:
    ada.commit("a", "1")
    ada.repository.push(to=ben.repository)
    ben.repository.rename("d", "theirs")
    head = ada.commit("a", "2")
    done = ada.repository.push(["d"], to=ben.repository)
    assert [ref.name for ref in done.refs] == ["theirs@main"]
    assert ben.repository.show("theirs").id == head


def test_datasets_that_were_made_apart_are_a_conflict(ada: Person, ben: Person) -> None:
    ada.commit("a", "1")
    ben.commit("a", "1")
    with pytest.raises(ConflictError, match=r"made apart.*dataver rename d NEWNAME"):
        ada.repository.push(to=ben.repository)
    assert ben.entries() == 1
    ben.repository.rename("d", "theirs")
    ada.repository.push(to=ben.repository)
    assert [info.name for info in ben.repository.datasets()] == ["d", "theirs"]


def test_a_dataset_that_was_deleted_there_is_a_conflict(ada: Person, ben: Person) -> None:
    ada.commit("a", "1")
    ada.repository.push(to=ben.repository)
    ben.repository.delete_dataset("d")
    with pytest.raises(ConflictError, match=r"was deleted.*--undo"):
        ada.repository.push(to=ben.repository)
    ben.repository.undelete_dataset("d")
    ada.commit("a", "2")
    assert ada.repository.push(to=ben.repository).versions == 1


def test_words_that_mean_nothing(ada: Person, ben: Person, tmp_path: Path) -> None:
    ada.commit("a", "1")
    for wanted, error in (("x", RefNotFoundError), ("d@x", RefNotFoundError), ("-", BadInputError)):
        with pytest.raises(error):
            ada.repository.push([wanted], to=ben.repository)
        with pytest.raises(error):
            ben.repository.pull([wanted], source=ada.repository)
    with pytest.raises(RepositoryNotFoundError):
        ada.repository.push(to=str(tmp_path / "nothing"))
    with pytest.raises(BadInputError):
        ada.repository.push(to="")
    with pytest.raises(BadInputError):
        ben.repository.pull(source=ada.repository, depth=0)
    assert ben.entries() == 0


# Names


def test_an_alias_moves_only_when_it_is_named(ada: Person, ben: Person) -> None:
    first, second = ada.commit("a", "1"), ada.commit("a", "2")
    ada.repository.alias("d@v1", "prod")
    ada.repository.push(to=ben.repository)
    ada.repository.alias("d@v2", "prod")
    done = ada.repository.push(to=ben.repository)
    assert (done.refs, done.kept) == ([], [RefKept("d@prod", first, second)])
    assert ben.repository.show("d@prod").id == first
    assert ada.repository.push(["d@prod"], to=ben.repository).refs == [RefMove("d@prod", first, second)]
    assert ben.repository.show("d@prod").id == second


def test_tags_never_move(ada: Person, ben: Person) -> None:
    ada.commit("a", "1")
    ada.commit("a", "2")
    ada.repository.push(to=ben.repository)
    ada.repository.tag("d@v1", "paper")
    ben.repository.tag("d@v2", "paper")
    entries = ben.entries()
    said = r"tag d@paper .*tags never move; nothing was copied"
    with pytest.raises(AlreadyExistsError, match=said):
        ada.repository.push(to=ben.repository)
    with pytest.raises(AlreadyExistsError, match=said):
        ada.repository.pull(source=ben.repository)
    assert ben.entries() == entries
    # Deleted there, its name may still only come back where it was.
    ben.repository.delete_ref("tag", "d", "paper")
    done = ada.repository.push(to=ben.repository)
    assert done.kept == [RefKept("d@paper", None, ada.repository.show("d@v1").id)]
    with pytest.raises(AlreadyExistsError, match="may only come back there"):
        ada.repository.push(["d@paper"], to=ben.repository)


def test_a_name_that_is_something_else_there(ada: Person, ben: Person) -> None:
    ada.commit("a", "1")
    ada.repository.push(to=ben.repository)
    ada.repository.alias("d", "x")
    ben.repository.tag("d", "x")
    with pytest.raises(AlreadyExistsError, match=r"d@x is a tag where it is copied to.*alias"):
        ada.repository.push(to=ben.repository)


def test_deletions_do_not_travel(ada: Person, ben: Person) -> None:
    ada.commit("a", "1")
    ada.repository.tag("d", "paper")
    ada.repository.branch("d", "side")
    ada.repository.push(to=ben.repository)
    for kind, name in (("tag", "paper"), ("branch", "side")):
        ada.repository.delete_ref(kind, "d", name)
    assert not ada.repository.push(to=ben.repository).refs
    assert {ref.name for ref in ben.repository.refs("d")} == {"main", "paper", "side"}
    assert {ref.name for ref in ada.repository.pull(source=ben.repository).refs} == {"d@paper", "d@side"}


def test_a_receiver_that_is_ahead_lacks_nothing(ada: Person, ben: Person) -> None:
    ada.commit("a", "1")
    ada.repository.push(to=ben.repository)
    ben.repository.checkout("d", ben.folder)
    head = ben.commit("a", "2")
    assert ada.repository.push(to=ben.repository) == TransferResult([], 0, 0, 0)
    assert ben.head() == head
    assert ada.repository.pull(source=ben.repository).versions == 1
    assert ada.head() == head


# Lines that parted


def test_a_push_of_a_line_that_parted_copies_nothing(apart: tuple[Person, Person]) -> None:
    ada, ben = apart
    entries, there = ben.entries(), packs(ben.repository)
    with pytest.raises(ConflictError) as caught:
        ada.repository.push(to=ben.repository)
    message = str(caught.value)
    url = ben.repository.url
    assert ada.head() in message
    assert f"`dataver merge d@{ben.head()}`" in message
    assert f"`dataver pull d --from {url}`" in message
    assert f"`dataver pull d --from {url} --rebase`" in message
    assert (ben.entries(), packs(ben.repository)) == (entries, there)


def test_merge_after_a_pull_that_was_refused(apart: tuple[Person, Person]) -> None:
    ada, ben = apart
    mine, theirs = ada.head(), ben.head()
    with pytest.raises(ConflictError, match=f"dataver merge d@{theirs}"):
        ada.repository.pull(source=ben.repository)
    assert ada.head() == mine
    done = ada.repository.merge(f"d@{theirs}")
    assert (done.version, done.parents) == ("v5", [mine, theirs])
    assert contents(ada.repository) == {"a": "ada's", "b": "ben's", "c": "ben's"}
    pushed = ada.repository.push(to=ben.repository)
    assert pushed.refs == [RefMove("d@main", theirs, done.id)]
    # Each keeps what its own v3 means, and says so.
    assert pushed.kept == [RefKept("d@v3", ben.repository.show("d@v3").id, mine)]
    assert ada.repository.show("d@v3").id == mine
    assert ben.repository.show("d").version == "v5"
    assert not ada.repository.push(to=ben.repository).refs
    assert not ada.repository.pull(source=ben.repository).refs


def test_rebase_puts_the_versions_of_here_on_top(apart: tuple[Person, Person]) -> None:
    ada, ben = apart
    mine, theirs = ada.repository.show("d"), ben.head()
    second = ada.commit("e", "ada's")
    done = ada.repository.pull(source=ben.repository, rebase=True)
    assert done.refs == [RefMove("d@main", second, ada.head())]
    log = list(ada.repository.log("d"))
    assert [version.message for version in log] == [
        "e ada's", "a ada's", "c ben's", "b ben's", "b 1", "a 1",
    ]  # fmt: skip
    assert all(len(version.parents) == 1 for version in log[:-1])
    assert log[2].id == theirs
    assert (log[1].author, log[1].time, log[1].message) == (mine.author, mine.time, mine.message)
    assert contents(ada.repository) == {"a": "ada's", "b": "ben's", "c": "ben's", "e": "ada's"}
    # Numbers that were given stay with what they were given to; new ones follow all of them.
    assert [version.version for version in log] == ["v6", "v5", None, None, "v2", "v1"]
    assert ada.repository.show("d@v3").id == mine.id
    ada.repository.push(to=ben.repository)
    assert ben.numbers() == ["v6", "v5", "v4", "v3", "v2", "v1"]
    assert ben.head() == ada.head()


def test_a_rebase_over_the_same_paths_changes_nothing(apart: tuple[Person, Person]) -> None:
    ada, ben = apart
    ada.commit("b", "ada's too")
    entries = ada.entries()
    with pytest.raises(ConflictError, match=r"both changed b; nothing was changed"):
        ada.repository.pull(source=ben.repository, rebase=True)
    assert ada.entries() == entries
    with pytest.raises(RefNotFoundError):
        ada.repository.show(f"d@{ben.head()}")


def test_a_rebase_of_what_is_there_too_leaves_nothing_of_it(apart: tuple[Person, Person]) -> None:
    ada, ben = apart
    ben.commit("a", "ada's")
    ada.repository.pull(source=ben.repository, rebase=True)
    assert ada.head() == ben.head()
    assert not ada.repository.push(to=ben.repository).refs


def test_a_branch_beside_main_is_rebased_and_merged(ada: Person, ben: Person) -> None:
    ada.commit("a", "1")
    ada.commit("b", "1", branch="side")
    ada.repository.push(to=ben.repository)
    ben.repository.checkout("d@side", ben.folder)
    theirs = ben.commit("c", "ben's", branch="side")
    ada.commit("e", "ada's", branch="side")
    with pytest.raises(ConflictError, match=f"dataver merge d@{theirs} --branch side"):
        ada.repository.pull(source=ben.repository)
    ada.repository.pull(source=ben.repository, rebase=True)
    assert [v.message for v in ada.repository.log("d@side")] == ["e ada's", "c ben's", "b 1", "a 1"]
    assert ada.numbers() == ["v1"]
    ada.repository.push(to=ben.repository)
    assert ben.repository.show("d@side").id == ada.repository.show("d@side").id


def test_a_merge_of_here_is_one_change_of_the_rebased_line(apart: tuple[Person, Person]) -> None:
    ada, ben = apart
    ada.commit("s1", "side", branch="side", base="d@v2")
    ada.commit("s2", "side", branch="side")
    ada.repository.merge("d@side", message="sides")
    ada.repository.pull(["d@main"], source=ben.repository, rebase=True)
    log = list(ada.repository.log("d"))
    assert [version.message for version in log][:4] == ["sides", "a ada's", "c ben's", "b ben's"]
    assert all(len(version.parents) <= 1 for version in log)
    assert contents(ada.repository) == {
        "a": "ada's", "b": "ben's", "c": "ben's", "s1": "side", "s2": "side",
    }  # fmt: skip
    assert ada.repository.push(to=ben.repository).versions == 4


def test_a_pull_moves_what_can_move(apart: tuple[Person, Person]) -> None:
    ada, ben = apart
    ben.repository.tag("d@v2", "paper")
    ben.repository.commit("other", ben.folder)
    with pytest.raises(ConflictError, match="what could move has moved, this has not"):
        ada.repository.pull(source=ben.repository)
    assert ada.repository.show("d@paper").version == "v2"
    assert ada.repository.show("other").id == ben.repository.show("other").id


# Histories in part


@pytest.fixture
def five(ada: Person) -> list[str]:
    """Ids of v1 to v5."""
    return [ada.commit("a", str(number)) for number in range(1, 6)]


def test_a_ref_is_that_one_version(ada: Person, ben: Person, five: list[str]) -> None:
    ada.repository.alias("d@v3", "prod")
    done = ben.repository.pull(["d@prod", "d@v2"], source=ada.repository)
    assert done.refs == [RefMove("d@v2", None, five[1]), RefMove("d@prod", None, five[2])]
    assert ben.numbers("d@prod") == ["v3", "v2"]
    assert contents(ben.repository, "d@v3") == {"a": "3"}
    assert [v.absent for v in ben.repository.log("d@v3")] == [[], [five[0]]]
    assert ben.repository.verify(deep=True).ok
    for ref in ("d", "d@v1", "d@v5", f"d@{five[0]}"):
        with pytest.raises(RefNotFoundError):
            ben.repository.show(ref)
    with pytest.raises(RefNotFoundError, match=f"whose parent {five[0]} is not here"):
        ben.repository.show("d@v3~2")
    assert ben.repository.show("d@v3~1").id == five[1]


def test_a_branch_that_is_there_goes_on_without_a_gap(ada: Person, ben: Person, five: list[str]) -> None:
    ben.repository.pull(["d@main"], source=ada.repository)
    assert ben.numbers() == ["v5"]
    ada.commit("a", "6")
    last = ada.commit("a", "7")
    assert ben.repository.pull(["d@main"], source=ada.repository).refs == [RefMove("d@main", five[4], last)]
    assert ben.numbers() == ["v7", "v6", "v5"]


def test_the_last_versions_alone(ada: Person, ben: Person, five: list[str]) -> None:
    ada.repository.tag("d@v1", "first")
    done = ben.repository.pull(source=ada.repository, depth=2)
    assert done.versions == 2
    assert ben.numbers() == ["v5", "v4"]
    assert [ref.name for ref in ben.repository.refs("d")] == ["main"]
    shown = ben.repository.show("d@v4")
    assert (shown.absent, shown.changed) == ([five[2]], None)
    assert ben.repository.verify(deep=True).ok
    # It is a history like any other: commits go on, and go back.
    ben.repository.checkout("d", ben.folder)
    head = ben.commit("b", "1")
    assert ben.repository.push(to=ada.repository).refs == [RefMove("d@main", five[4], head)]
    assert ada.numbers() == ["v6", "v5", "v4", "v3", "v2", "v1"]
    filled = ben.repository.pull(source=ada.repository)
    assert filled.versions == 3
    assert ben.numbers() == ["v6", "v5", "v4", "v3", "v2", "v1"]
    assert not any(version.absent for version in ben.repository.log("d"))
    assert ben.repository.refs("d") == ada.repository.refs("d")
    assert ben.repository.verify(deep=True).ok


def test_a_part_is_copied_on_as_a_part(ada: Person, ben: Person, five: list[str], tmp_path: Path) -> None:
    ben.repository.pull(source=ada.repository, depth=1)
    third = init(str(tmp_path / "third"))
    assert ben.repository.push(to=third).versions == 1
    assert [version.absent for version in third.log("d")] == [[five[3]]]
    assert third.verify(deep=True).ok
    assert third.pull(source=ada.repository).versions == 4
    assert ben.repository.pull(source=third).versions == 4
    assert ben.numbers() == ["v5", "v4", "v3", "v2", "v1"]


def test_versions_that_have_numbers_alone_travel_on(
    ada: Person, ben: Person, five: list[str], tmp_path: Path
) -> None:
    ben.repository.pull(["d@v2", "d@v4"], source=ada.repository)
    third = init(str(tmp_path / "third"))
    done = ben.repository.push(to=third)
    assert done.refs == [RefMove("d@v2", None, five[1]), RefMove("d@v4", None, five[3])]
    assert contents(third, "d@v4") == {"a": "4"}
    assert third.verify(deep=True).ok
    # The next version on main comes after all that have numbers.
    third.checkout("d@v2", tmp_path / "copy")
    (tmp_path / "copy" / "b").write_text("1")
    assert third.commit("d", tmp_path / "copy").version == "v5"
    ben.commit("b", "1")
    assert ben.numbers("d") == ["v5"]


def test_what_a_prune_has_left_travels_on_both_sides_of_the_gap(
    ada: Person, ben: Person, five: list[str]
) -> None:
    """No parent leads from `main` to v2 any more, which a hold keeps: it is a version of the dataset yet."""
    ada.repository.hold("d@v2", "paper")
    ada.repository.prune("d", Retention(last=2), yes=True)
    assert ada.numbers() == ["v5", "v4"]
    done = ben.repository.pull(["d"], source=ada.repository)
    assert done.versions == 3
    assert done.refs == [RefMove("d@v2", None, five[1]), RefMove("d@main", None, five[4])]
    assert contents(ben.repository, "d@v2") == {"a": "2"}
    assert ben.numbers() == ["v5", "v4"]
    with pytest.raises(RefNotFoundError):
        ben.repository.show("d@v3")
    assert ben.repository.verify(deep=True).ok
    assert ben.repository.pull(["d"], source=ada.repository).versions == 0
    # The last versions alone are those of its branches.
    third = memory_repository()
    assert third.pull(["d"], source=ada.repository, depth=9).versions == 2


def pruned_and_collected(person: Person) -> None:
    person.repository.prune("d", Retention(last=1), yes=True)
    for _ in range(2):
        person.repository.gc(yes=True, grace_s=0)


def test_versions_that_come_back_have_their_numbers_again(ada: Person, ben: Person, five: list[str]) -> None:
    ada.repository.push(to=ben.repository)
    pruned_and_collected(ben)
    assert ben.numbers() == ["v5"]
    ada.commit("a", "6")
    done = ada.repository.push(to=ben.repository)
    assert (done.versions, done.kept) == (5, [])
    assert ben.numbers() == ada.numbers() == ["v6", "v5", "v4", "v3", "v2", "v1"]
    assert ben.repository.prune("d", Retention(last=3)).pruned == ["v1", "v2", "v3"]
    assert ben.repository.verify(deep=True).ok
    third = memory_repository()
    ben.repository.push(to=third)
    assert [third.show(f"d@v{number}").id for number in range(1, 6)] == five
    # They go again, and come again.
    pruned_and_collected(ben)
    assert ben.repository.pull(["d@v2"], source=ada.repository).versions == 1
    assert ben.numbers("d@v2") == ["v2"]
    assert ada.repository.push(["d"], to=ben.repository).versions == 4
    assert ben.numbers() == ada.numbers()


def test_versions_that_were_condemned_have_their_numbers_when_they_come(
    ada: Person, ben: Person, five: list[str]
) -> None:
    assert len(five) == 5
    ada.repository.push(to=ben.repository)
    ben.repository.prune("d", Retention(last=1), yes=True)
    ada.repository.push(to=ben.repository)
    assert ben.numbers() == ada.numbers()
    pruned_and_collected(ben)
    ada.commit("a", "6")
    assert ada.repository.push(["d@main"], to=ben.repository).versions == 1
    assert ben.numbers() == ["v6", "v5"], "what a branch alone leads on to, and nothing else, comes"


def test_pruned_versions_that_are_restored_keep_their_numbers(ada: Person, five: list[str]) -> None:
    ada.repository.prune("d", Retention(last=1), yes=True)
    ada.repository.gc(yes=True)
    ada.repository.gc_restore()
    assert [version.id for version in ada.repository.log("d")] == five[::-1]
    assert ada.numbers() == ["v5", "v4", "v3", "v2", "v1"]


def test_a_commit_that_makes_a_pruned_version_again_gives_it_its_number(tmp_path: Path) -> None:
    """The same change at the same time is the same version, wherever it is committed."""
    ada = Person(tmp_path / "ada")
    ada.commit("a", "1")
    ada.repository.tag("d@v1", "first")
    second = ada.commit("a", "2", time="2025-01-01T00:00:00Z")
    ada.commit("a", "3")
    pruned_and_collected(ada)
    ada.repository.checkout("d@v1", ada.folder, overwrite=True)
    again = ada.commit("a", "2", branch="again", base="d@first", time="2025-01-01T00:00:00Z")
    assert again == second
    assert ada.numbers("d@again") == ["v2", "v1"]
    assert ada.repository.show("d@v2").id == second
    assert ada.repository.verify(deep=True).ok


def test_a_gap_between_parts(ada: Person, ben: Person, five: list[str]) -> None:
    ben.repository.pull(["d@v1"], source=ada.repository)
    ben.repository.pull(["d"], source=ada.repository, depth=1)
    assert ben.numbers() == ["v5"]
    assert ben.numbers("d@v1") == ["v1"]
    ada.commit("a", "6")
    assert ben.repository.pull(["d"], source=ada.repository, depth=1).refs[0].previous == five[4]
    ben.repository.pull(source=ada.repository)
    assert ben.numbers() == ["v6", "v5", "v4", "v3", "v2", "v1"]
    assert ben.repository.verify(deep=True).ok


def test_lines_of_which_nobody_knows_where_they_parted(ada: Person, ben: Person, five: list[str]) -> None:
    assert len(five) == 5
    ben.repository.pull(source=ada.repository, depth=1)
    ben.repository.checkout("d", ben.folder)
    ben.commit("b", "1")
    ada.commit("c", "1")
    with pytest.raises(ConflictError):
        ben.repository.push(to=ada.repository)
    ben.repository.pull(source=ada.repository, rebase=True)
    assert ben.repository.push(to=ada.repository).versions == 1
    assert contents(ada.repository) == {"a": "5", "b": "1", "c": "1"}


def test_a_parent_that_is_nowhere_is_damage(ada: Person, ben: Person, five: list[str]) -> None:
    """Absent on purpose is what the log says; absent otherwise is lost."""
    ben.repository.pull(source=ada.repository, depth=2)
    state = ben.repository.session.newest()
    dataset = state.dataset("d")
    assert dataset is not None
    assert state.is_absent(dataset, Digest.parse(five[2]))
    log, who = ben.repository.session.log, ben.repository.session.who(None)
    here, gone = Digest.parse(five[3]), Digest.parse(five[2])
    with pytest.raises(ConflictError, match="is not here"):
        log.append(lambda _: (Shallow(dataset, (), (gone,)),), who)
    with pytest.raises(ConflictError, match="is here"):
        log.append(lambda _: (Shallow(dataset, (here,)),), who)
    with pytest.raises(ConflictError, match="is not here"):
        log.append(lambda _: (VersionNumber(dataset, 3, (gone,)),), who)
    append(ben.repository, Shallow(dataset, (), (gone,)))
    report = ben.repository.verify()
    assert not report.ok
    harms = [harm for damage in report.damaged if five[2] in damage.reason for harm in damage.harms]
    assert "v4" in {harm.version for harm in harms}
    with pytest.raises(DamagedError):
        list(ben.repository.log("d"))


# What is not to be relied on


def test_damage_in_the_source_goes_no_further(ada: Person, ben: Person) -> None:
    (ada.folder / "noise").write_bytes(os.urandom(300_000))
    ada.commit("a", "text " * 10_000)
    store = ada.repository.session.store
    for key in sorted(packs(ada.repository)):
        data = store.get(key)
        for position in range(40, len(data), max(1, len(data) // 23)):
            flipped = bytearray(data)
            flipped[position] ^= 0x10
            store.delete(key)
            store.put_new(key, bytes(flipped))
            receiver = memory_repository()
            try:
                over(store).push(to=receiver)
            except DamagedError:
                assert receiver.session.log.tail().entry.number == 0
            # Where the flip is between frames, or in what is not copied, all that arrived is right.
            assert receiver.verify(deep=True).ok
        store.delete(key)
        store.put_new(key, data)
    ada.repository.push(to=ben.repository)
    assert ben.repository.verify(deep=True).ok


def test_chunks_that_are_to_be_collected_are_copied_again(ada: Person, ben: Person) -> None:
    data = os.urandom(100_000)
    (ada.folder / "noise").write_bytes(data)
    (ben.folder / "noise").write_bytes(data)
    ada.repository.commit("d", ada.folder)
    ben.repository.commit("gone", ben.folder)
    ben.repository.delete_dataset("gone")
    old = {Digest(bytes.fromhex(key[-64:])) for key in packs(ben.repository)}
    append(ben.repository, GcMark(tuple(sorted(old))))
    done = ada.repository.push(to=ben.repository)
    assert done.bytes > 100_000
    sweep(ben.repository, old)
    assert ben.repository.version("d").read("noise") == data


def test_others_may_commit_meanwhile(ada: Person, ben: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    ada.commit("a", "1" * 50_000)
    ada.repository.push(to=ben.repository)
    ada.commit("b", "2" * 50_000)
    counting = CountingStore(ben.repository.session.store)
    receiver = over(counting)
    meddle(receiver, lambda: append(ben.repository, Hold("other", None)), monkeypatch)
    ada.repository.push(to=receiver)
    puts = [call.key for call in counting.calls if call.method == "put_new" and call.key.startswith("packs/")]
    assert len(puts) == 2, "one pack of data and one of records"
    assert ben.head() == ada.head()
    assert ben.repository.verify(deep=True).ok


def test_what_was_relied_on_is_marked_meanwhile(
    ada: Person, ben: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(100_000)
    for person in (ada, ben):
        (person.folder / "noise").write_bytes(data)
    ada.repository.commit("d", ada.folder)
    ben.repository.commit("gone", ben.folder)
    ben.repository.delete_dataset("gone")
    old = tuple(sorted(Digest(bytes.fromhex(key[-64:])) for key in packs(ben.repository)))
    receiver = over(ben.repository.session.store)
    meddle(receiver, lambda: append(ben.repository, GcMark(old)), monkeypatch)
    done = ada.repository.push(to=receiver)
    assert done.bytes > 100_000
    sweep(ben.repository, old)
    assert ben.repository.version("d").read("noise") == data


def sweep(repository: Repository, names: Iterable[Digest]) -> None:
    append(repository, GcSweep(tuple(sorted(names))))
    for name in names:
        repository.session.store.delete(pack_key(name))


def meddle(receiver: Repository, change: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do `change` once, right before the receiver's next entry is planned."""
    log = receiver.session.log
    append_as_ever = log.append
    todo = [change]

    def first_change(plan: object, identity: object) -> object:
        if todo:
            todo.pop()()  # type: ignore[operator]
        return append_as_ever(plan, identity)  # type: ignore[arg-type]

    monkeypatch.setattr(log, "append", first_change)
