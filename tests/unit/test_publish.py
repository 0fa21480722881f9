"""What a version may say of itself, and how changes of two sides meet."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dataver.errors import BadInputError, ConflictError, DamagedError, NotFoundError
from dataver.format.limits import TIME_US_MAX, TIME_US_MIN, VERSION_TEXTS_BYTES_MAX
from dataver.format.version import VersionRecord, decode_version
from dataver.hashing import blake3_digest
from dataver.keys import LOG_PREFIX
from dataver.paths import PATH_BYTES_MAX
from dataver.publish import Published, Publisher
from dataver.repository import Repository, open_repository
from dataver.store.base import Wrapper
from tests.repositories import memory_repository

if TYPE_CHECKING:
    from dataver.store.base import Data


@pytest.fixture
def repository() -> Repository:
    return memory_repository()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "file").write_text("1")
    return folder


# What a version says of itself


@pytest.mark.parametrize(
    "label",
    [
        {"message": "\udcff"},
        {"message": b"bytes"},
        {"message": None},
        {"meta": {"key": "\ud800"}},
        {"meta": {"\udcff": "value"}},
        {"meta": {"key": 1}},
        {"meta": {1: "value", "key": "value"}},
        {"message": "x" * (VERSION_TEXTS_BYTES_MAX + 1)},
        {"message": "\u2603" * (VERSION_TEXTS_BYTES_MAX // 3 + 1)},
        {"meta": {"key": "x" * VERSION_TEXTS_BYTES_MAX}},
        {"time": "yesterday"},
        {"time": "0001-01-01T00:00:00+00:01"},
        {"time": "9999-12-31T23:59:59-00:01"},
        {"time": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))},
        {"author": "two\nlines"},
        {"author": "\udcff"},
        {"tags": ["v1"]},
        {"tags": ["same", "same"]},
        {"tags": ["main"]},
        {"tags": "paper"},
        {"include": "*.csv"},
        {"exclude": "a"},
        {"branch": "latest"},
        {"branch": "../x"},
        {"base": "other@v1"},
        {"into": "/absolute"},
        {"into": "../x"},
        {"into": "a/.dataver/b"},
        {"into": ".dataver"},
        {"into": "a/.dataver/"},
        {"into": "x" * (PATH_BYTES_MAX - 3)},
        {"jobs": 0},
    ],
)
def test_labels_that_no_version_can_have(
    repository: Repository, data: Path, label: dict[str, object]
) -> None:
    with pytest.raises(BadInputError):
        repository.commit("d", data, **label)  # type: ignore[arg-type]
    assert repository.datasets() == []
    assert repository.session.log.tail().entry.number == 0
    repository.commit("d", data)


def test_into_may_end_with_a_slash(repository: Repository, data: Path) -> None:
    repository.commit("d", data, into="deep/er/")
    assert [entry.path for entry in repository.version("d").files()] == ["deep/er/file"]
    assert not repository.commit("d", data, into="deep/er").created


def test_labels_come_back_as_they_were_given(repository: Repository, data: Path) -> None:
    message = "two\nlines \u2603\0" + "x" * (VERSION_TEXTS_BYTES_MAX - 100)
    meta = {"b": "2", "a": "", "": "no key", "\u2603": "\n"}
    time = datetime(1, 1, 1, tzinfo=UTC)
    done = repository.commit(
        "d", data, message=message, meta=meta, time=time, author="Zo\u00eb <z@e>", tags=["t"]
    )
    info = repository.show("d@t")
    assert (info.id, info.message, info.meta, info.time) == (done.id, message, meta, time)
    assert info.author == "Zo\u00eb <z@e>"
    (data / "file").write_text("2")
    last = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    repository.commit("d", data, time="9999-12-31T23:59:59.999999Z")
    assert [version.time for version in repository.log("d")] == [last, time]


@pytest.mark.parametrize("time_us", [TIME_US_MIN - 1, TIME_US_MAX + 1, -(2**63), 2**63 - 1])
def test_a_time_that_no_calendar_has_is_damage(time_us: int) -> None:
    record = VersionRecord(blake3_digest(b""), (), time_us, "a", "m")
    with pytest.raises(DamagedError, match="years"):
        decode_version(record.encode(), "it")


@pytest.mark.parametrize("at", ["-1", "\u00b2", "", "0001-01-01T00:00:00+23:59", "1e3"])
def test_what_is_no_moment(repository: Repository, data: Path, at: str) -> None:
    repository.commit("d", data)
    with pytest.raises(BadInputError):
        open_repository(repository.url, at=at)


@pytest.mark.parametrize("at", ["2", "9" * 30, "9" * 5_000])
def test_moments_that_the_log_does_not_have(repository: Repository, data: Path, at: str) -> None:
    repository.commit("d", data)
    with pytest.raises(NotFoundError, match="no log entry"):
        open_repository(repository.url, at=at)


def test_a_moment_shows_what_was_then(repository: Repository, data: Path) -> None:
    repository.commit("d", data)
    before = datetime.now(UTC).isoformat()
    (data / "file").write_text("2")
    repository.commit("d", data, tags=["new"])
    for at in ("1", before):
        then = open_repository(repository.url, at=at)
        assert [version.version for version in then.log("d")] == ["v1"]
        assert then.refs("d")[0].name == "main"
        assert len(then.refs("d")) == 1
        assert then.version("d").read("file") == b"1"
        writes: list[Callable[[Repository], object]] = [
            lambda it: it.commit("d", data),
            lambda it: it.tag("d", "t"),
            lambda it: it.rename("d", "e"),
            lambda it: it.revert("d"),
            lambda it: it.delete_dataset("d"),
        ]
        for write in writes:
            with pytest.raises(BadInputError):
                write(then)
    assert open_repository(repository.url, at="0").datasets() == []


# What a folder's changes are measured against


def folder(place: Path, **files: str) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name).write_text(text)
    return place


def contents(repository: Repository, ref: str = "d") -> dict[str, str]:
    version = repository.version(ref)
    return {file.path: version.read(file.path).decode() for file in version.files()}


def test_a_folder_that_was_overtaken_may_change_its_own_files_again(
    repository: Repository, tmp_path: Path
) -> None:
    mine = folder(tmp_path / "mine", a="1", b="1", c="1")
    first = repository.commit("d", mine)
    theirs = tmp_path / "theirs"
    repository.checkout("d", theirs)
    for number in range(3):
        folder(theirs, b=f"theirs {number}", **{f"new{number}": "theirs"})
        overtaken_by = repository.commit("d", theirs, base=None)
        folder(mine, a=f"mine {number}", **{f"own{number}": "mine"})
        done = repository.commit("d", mine)
        assert done.rebased_onto == overtaken_by.id
        folder(mine, a=f"mine {number} again")
        again = repository.commit("d", mine)
        assert again.parents == [done.id]
        assert (again.changed.modified, again.changed.added, again.changed.deleted) == (1, 0, 0)
        repository.checkout("d", theirs, overwrite=True)
    assert contents(repository) == {
        "a": "mine 2 again",
        "b": "theirs 2",
        "c": "1",
        **{f"new{number}": "theirs" for number in range(3)},
        **{f"own{number}": "mine" for number in range(3)},
    }
    (mine / "own0").unlink()
    folder(mine, c="mine")
    repository.commit("d", mine)
    assert "own0" not in contents(repository)
    assert contents(repository)["c"] == "mine"
    # What others did to the same file since is still theirs.
    repository.checkout("d", theirs)
    folder(theirs, a="theirs now")
    repository.commit("d", theirs)
    assert not repository.commit("d", mine).created
    folder(mine, a="mine now")
    with pytest.raises(ConflictError, match=r"both sides changed a\."):
        repository.commit("d", mine)
    # A branch made from the folder begins where it began, with all that it brought.
    side = repository.commit("d", mine, branch="side")
    assert side.parents == [first.id]
    assert contents(repository, "d@side") == {path.name: path.read_text() for path in mine.iterdir()}
    assert repository.commit("d", folder(mine, a="and on"), branch="side").parents == [side.id]


def overtaken(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """Let something happen once, when the next commit has read its files and its entry is not put yet."""
    publish = Publisher.publish

    def late(publisher: Publisher) -> Published:
        monkeypatch.setattr(Publisher, "publish", publish)
        meanwhile()
        return publish(publisher)

    monkeypatch.setattr(Publisher, "publish", late)


def test_two_first_commits_of_a_dataset_keep_what_each_brought(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = folder(tmp_path / "mine", a="1"), folder(tmp_path / "theirs", b="1")
    overtaken(monkeypatch, lambda: open_repository(repository.url).commit("d", theirs))
    done = repository.commit("d", mine)
    assert done.version == "v2"
    assert done.rebased_onto == repository.show("d@v1").id
    # Neither folder has the other's file, and neither means to delete it.
    repository.commit("d", folder(mine, a="2"))
    repository.commit("d", folder(theirs, b="2"))
    repository.commit("d", folder(mine, a="3"))
    assert contents(repository) == {"a": "3", "b": "2"}


def test_the_same_first_commit_twice_is_one(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = folder(tmp_path / "mine", a="1")
    overtaken(monkeypatch, lambda: open_repository(repository.url).commit("d", mine))
    done = repository.commit("d", mine)
    assert (done.created, done.version) == (False, "v1")


def overtaken_at_its_entry(repository: Repository, meanwhile: Callable[[], object]) -> None:
    """Let something happen once, when the next change is ready and its entry is about to be put."""

    class Late(Wrapper):
        def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
            if key.startswith(LOG_PREFIX):
                repository.session.log.store = self.inner
                meanwhile()
            return self.inner.put_new(key, data, barrier=barrier)

    repository.session.log.store = Late(repository.session.log.store)


def test_first_commits_of_a_dataset_to_two_branches_are_of_one_dataset(
    repository: Repository, tmp_path: Path
) -> None:
    theirs = folder(tmp_path / "theirs", b="1")
    overtaken_at_its_entry(repository, lambda: open_repository(repository.url).commit("d", theirs))
    done = repository.commit("d", folder(tmp_path / "mine", a="1"), branch="side")
    assert contents(repository, "d@side") == {"a": "1"}
    assert repository.version("d@side").id == done.id
    assert contents(repository) == {"b": "1"}


def test_a_commit_to_a_branch_that_is_deleted_meanwhile_makes_it_again(
    repository: Repository, tmp_path: Path
) -> None:
    mine = folder(tmp_path / "mine", a="1")
    repository.commit("d", mine)
    side = repository.commit("d", folder(mine, a="2"), branch="side")
    overtaken_at_its_entry(
        repository, lambda: open_repository(repository.url).delete_ref("branch", "d", "side")
    )
    done = repository.commit("d", folder(mine, a="3"), branch="side")
    assert done.parents == [side.id]
    assert contents(repository, "d@side") == {"a": "3"}


@pytest.mark.parametrize("swept", [False, True])
@pytest.mark.parametrize("verb", ["merge", "revert"])
def test_what_is_taken_from_a_version_that_is_collected_meanwhile_is_not_recorded(
    repository: Repository, tmp_path: Path, verb: str, swept: bool
) -> None:
    mine = folder(tmp_path / "mine", a="1")
    repository.commit("d", mine)
    side = repository.commit("d", folder(mine, b="of this line alone"), branch="side")
    repository.commit("d", folder(tmp_path / "more", c="3"), add=True)

    def let_go() -> None:
        other = open_repository(repository.url)
        other.delete_ref("branch", "d", "side")
        other.gc(yes=True, grace_s=0 if swept else 3600)

    overtaken_at_its_entry(repository, let_go)
    with pytest.raises(ConflictError, match="collected"):
        getattr(repository, verb)(f"d@{side.id}")
    repository.gc(yes=True, grace_s=0)
    assert contents(repository) == {"a": "1", "c": "3"}
    assert open_repository(repository.url).verify(deep=True).ok


def die(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("others", [False, True])
def test_a_commit_that_dies_when_it_is_recorded_is_known_to_its_folder(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: bool
) -> None:
    mine = folder(tmp_path / "mine", a="1")
    repository.commit("d", mine)
    if others:
        repository.commit("d", folder(tmp_path / "more", b="1"), add=True)
    with monkeypatch.context() as patch:
        patch.setattr("dataver.commit.Committer._remember_base", die)
        with pytest.raises(KeyboardInterrupt):
            repository.commit("d", folder(mine, a="2"))
    done = repository.commit("d", folder(mine, a="3"))
    assert contents(repository) == {"a": "3", **({"b": "1"} if others else {})}
    assert done.changed.modified == 1


def test_a_checkout_counts_more_than_a_commit_that_died_before(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = folder(tmp_path / "mine", a="1")
    repository.commit("d", mine)
    repository.checkout("d", tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr("dataver.commit.Committer._remember_base", die)
        with pytest.raises(KeyboardInterrupt):
            repository.commit("d", folder(tmp_path / "out", a="2"))
    repository.checkout("d@v1", tmp_path / "out", overwrite=True)
    done = repository.commit("d", tmp_path / "out")
    assert not done.created, "the folder is what it was checked out as: nothing is to be undone"
    assert contents(repository) == {"a": "2"}


def test_a_commit_that_was_never_recorded_is_no_base(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = folder(tmp_path / "mine", a="1")
    repository.commit("d", mine)
    with monkeypatch.context() as patch:
        patch.setattr("dataver.log.log.Log._put", die)
        with pytest.raises(KeyboardInterrupt):
            repository.commit("d", folder(mine, a="2"))
    assert repository.commit("d", mine).version == "v2"
    assert contents(repository) == {"a": "2"}


def test_another_dataset_under_the_name_is_not_committed_to(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = folder(tmp_path / "mine", a="1")
    repository.commit("d", mine)

    def meanwhile() -> None:
        other = open_repository(repository.url)
        other.rename("d", "old")
        other.commit("d", folder(tmp_path / "other", b="1"))

    overtaken(monkeypatch, meanwhile)
    with pytest.raises(ConflictError, match="renamed or deleted"):
        repository.commit("d", folder(mine, a="2"))
    assert contents(repository) == {"b": "1"}
    assert repository.commit("old", mine).version == "v2"


def test_a_merge_that_somebody_else_made_meanwhile_is_made_once(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit("d", folder(tmp_path / "mine", a="1"))
    repository.branch("d", "side")
    repository.commit("d", folder(tmp_path / "side", b="1"), add=True, branch="side")
    overtaken(monkeypatch, lambda: open_repository(repository.url).merge("d@side"))
    assert not repository.merge("d@side").created
    assert repository.show("d").version == "v2"
    assert len(repository.show("d").parents) == 2


def test_a_merge_of_equal_files_still_joins_the_lines(repository: Repository, tmp_path: Path) -> None:
    repository.commit("d", folder(tmp_path / "mine", a="1"))
    repository.branch("d", "side")
    repository.commit("d", folder(tmp_path / "side", b="1"), add=True, branch="side", message="there")
    repository.commit("d", folder(tmp_path / "side", b="1"), add=True, message="here")
    done = repository.merge("d@side")
    assert done.created
    assert len(done.parents) == 2
    assert not done.changed
    assert not repository.merge("d@side").created


# How changes of two sides meet

SIDES: list[tuple[dict[str, str | None], dict[str, str | None], dict[str, str] | None]] = [
    ({"a": "ours"}, {"b": "theirs"}, {"a": "ours", "b": "theirs"}),
    ({"a": "ours"}, {"a": "theirs"}, None),
    ({"a": "same"}, {"a": "same", "b": "theirs"}, {"a": "same", "b": "theirs"}),
    ({"a": None}, {"b": "theirs"}, {"b": "theirs"}),
    ({"a": None}, {"a": "theirs"}, None),
    ({"a": "ours"}, {"a": None}, None),
    ({"a": None}, {"a": None, "n": "theirs"}, {"b": "base", "n": "theirs"}),
    ({"n/x": "ours"}, {"n": "theirs"}, None),
    ({"n": "ours"}, {"n/x": "theirs"}, None),
    ({"n/x": "ours"}, {"n/y": "theirs"}, {"a": "base", "b": "base", "n/x": "ours", "n/y": "theirs"}),
    ({"a": None, "a/x": "ours"}, {"b": "theirs"}, {"a/x": "ours", "b": "theirs"}),
    ({"a": None, "a/x": "ours"}, {"a": "theirs"}, None),
    ({"n.": "ours"}, {"n/x": "theirs"}, {"a": "base", "b": "base", "n.": "ours", "n/x": "theirs"}),
    ({"n0": "ours"}, {"n/x": "theirs"}, {"a": "base", "b": "base", "n0": "ours", "n/x": "theirs"}),
]


def edit(place: Path, edits: dict[str, str | None]) -> None:
    for name, text in edits.items():
        if text is None:
            (place / name).unlink()
    for name, text in edits.items():
        if text is not None:
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_text(text)


@pytest.mark.parametrize(("ours", "theirs", "expected"), SIDES)
@pytest.mark.parametrize("way", ["commit", "merge"])
def test_where_changes_do_not_touch_both_are_kept(
    repository: Repository,
    tmp_path: Path,
    way: str,
    ours: dict[str, str | None],
    theirs: dict[str, str | None],
    expected: dict[str, str] | None,
) -> None:
    mine = folder(tmp_path / "mine", a="base", b="base")
    repository.commit("d", mine)
    repository.checkout("d", tmp_path / "theirs")
    edit(tmp_path / "theirs", theirs)
    their_version = repository.commit("d", tmp_path / "theirs")
    edit(mine, ours)

    def bring() -> object:
        if way == "commit":
            return repository.commit("d", mine)
        repository.commit("d", mine, branch="side", base="d@v1")
        return repository.merge("d@side")

    if expected is None:
        with pytest.raises(ConflictError):
            bring()
        assert repository.show("d").id == their_version.id
        return
    bring()
    assert contents(repository) == expected
    assert repository.verify(deep=True).ok
