"""The log under repair: what is put back from a copy, and a newest state that is written anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import dataver
from dataver.errors import DamagedError
from dataver.format.entry import CHECKPOINT_EVERY
from dataver.format.operations import ConfigSet
from dataver.gc import collect
from dataver.gc.prune import Retention
from dataver.keys import HINT_KEY, entry_key, pack_key
from dataver.repair import repair
from dataver.repository import Repository
from dataver.store.base import Store
from tests.damage import append, change, commit, flip, opened
from tests.worlds import noise

DATA = noise(1, 9_000)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A little more than one checkpoint of entries."""
    repository = dataver.init(str(tmp_path / "repository"))
    commit(repository, tmp_path / "data", a=DATA)
    for number in range(CHECKPOINT_EVERY + 3):
        append(repository, ConfigSet(f"k{number % 7}", f"{number}"))
    return repository


@pytest.fixture
def copy(repository: Repository, tmp_path: Path) -> Repository:
    """The same repository at another place, byte by byte."""
    shutil.copytree(tmp_path / "repository", tmp_path / "copy")
    return dataver.open(str(tmp_path / "copy"))


def state_pack(repository: Repository) -> str:
    base = repository.session.log.tail().entry.base
    assert base is not None
    return pack_key(base.pack)


def contents(store: Store) -> dict[str, bytes]:
    return {info.key: store.get(info.key) for info in store.list("")}


@pytest.mark.parametrize("number", [5, CHECKPOINT_EVERY, CHECKPOINT_EVERY + 2])
def test_missing_entries_are_put_back_from_a_copy(
    repository: Repository, copy: Repository, number: int
) -> None:
    store = repository.session.store
    before = contents(store)
    for one in (number, number - 1):
        change(store, entry_key(one), None)
    assert not repair(opened(repository).session, yes=True).ok
    forecast = repair(opened(repository).session, [copy.session])
    assert forecast.ok
    report = repair(opened(repository).session, [copy.session], yes=True)
    assert report.restored == forecast.restored == [entry_key(number), entry_key(number - 1)]
    assert report.ok
    assert contents(store) == before
    assert opened(repository).verify(deep=True).ok


@pytest.mark.parametrize("missing", [[0], [0, 1], [0, 1, 2, 3], [0, 2], [0, CHECKPOINT_EVERY]], ids=str)
def test_the_beginning_is_put_back_from_a_copy(
    repository: Repository, copy: Repository, missing: list[int]
) -> None:
    store = repository.session.store
    before = contents(store)
    for one in missing:
        change(store, entry_key(one), None)
    there = contents(store)
    forecast = repair(opened(repository).session, [copy.session])
    assert contents(store) == there
    report = repair(opened(repository).session, [copy.session], yes=True)
    assert sorted(report.restored) == sorted(forecast.restored) == [entry_key(one) for one in missing]
    assert {damage.object for damage in report.damaged} >= {entry_key(0)}
    assert report.ok
    assert contents(store) == before
    assert opened(repository).verify(deep=True).ok


@pytest.mark.parametrize("missing", [[0], [0, 1]], ids=str)
@pytest.mark.parametrize("yes", [False, True])
def test_without_a_copy_that_has_the_beginning_a_repair_says_what_to_do(
    repository: Repository, copy: Repository, tmp_path: Path, missing: list[int], *, yes: bool
) -> None:
    other = dataver.init(str(tmp_path / "other"))
    commit(other, tmp_path / "data")
    store = repository.session.store
    for one in missing:
        change(store, entry_key(one), None)
    # Another one at the beginning of the same numbers is no copy, and the copy lacks it as well.
    change(copy.session.store, entry_key(0), None)
    before = contents(store)
    for sources in ([], [other.session], [copy.session]):
        with pytest.raises(DamagedError, match="Give --from URL of a copy of this very repository"):
            repair(opened(repository).session, sources, yes=yes)
    if len(missing) == 1:
        assert contents(store) == before


def test_the_newest_entries_are_put_back_where_somebody_knows_of_them(
    repository: Repository, copy: Repository, tmp_path: Path
) -> None:
    store = repository.session.store
    commit(copy, tmp_path / "data", later=DATA)  # Not known here, so it is none that was lost.
    number = repository.session.state().number
    repository.session.log.put_hint(number)
    before = contents(store)
    for one in (number, number - 1):
        change(store, entry_key(one), None)
    assert not repair(opened(repository).session, yes=True).ok
    forecast = repair(opened(repository).session, [copy.session])
    report = repair(opened(repository).session, [copy.session], yes=True)
    assert report.restored == forecast.restored == [entry_key(number - 1), entry_key(number)]
    assert report.ok
    assert contents(store) == before


def test_an_entry_that_is_damaged_stays_and_is_told(repository: Repository, copy: Repository) -> None:
    store = repository.session.store
    flip(store, entry_key(9), 50)
    before = contents(store)
    report = repair(opened(repository).session, [copy.session], yes=True)
    assert [damage.object for damage in report.left] == [entry_key(9)]
    assert contents(store) == before
    # Taken away by hand, it can be put back.
    change(store, entry_key(9), None)
    assert repair(opened(repository).session, [copy.session], yes=True).ok


def test_an_entry_of_another_repository_is_not_put_back(repository: Repository, tmp_path: Path) -> None:
    other = dataver.init(str(tmp_path / "other"))
    commit(other, tmp_path / "data")
    change(repository.session.store, entry_key(1), None)
    report = repair(opened(repository).session, [other.session], yes=True)
    assert report.restored == []
    assert [damage.object for damage in report.left] == [entry_key(1)]


def test_a_missing_state_is_put_back_from_a_copy(repository: Repository, copy: Repository) -> None:
    store = repository.session.store
    key, before = state_pack(repository), contents(store)
    change(store, key, None)
    with pytest.raises(DamagedError):
        opened(repository).datasets()
    report = repair(opened(repository).session, [copy.session], yes=True)
    assert (report.restored, report.renewed) == ([key], 0)
    assert report.ok
    assert contents(store) == before


@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_a_newest_state_that_is_lost_is_written_anew_from_the_log(repository: Repository, how: str) -> None:
    store = repository.session.store
    key, number = state_pack(repository), repository.session.state().number
    before = contents(store)
    if how == "missing":
        change(store, key, None)
    else:
        data = store.get(key)
        change(store, key, data[:40] + bytes(len(data) - 40))
    with pytest.raises(DamagedError):
        opened(repository).datasets()
    forecast = repair(opened(repository).session)
    report = repair(opened(repository).session, yes=True)
    assert report.renewed == forecast.renewed == CHECKPOINT_EVERY - number % CHECKPOINT_EVERY
    assert {**forecast.to_json(), "done": True} == report.to_json()
    # Nothing that was there was touched, and all can be read again, but the states of then.
    assert (before.keys() - {key}) <= contents(store).keys()
    after = opened(repository)
    assert after.version("iris").read("a") == DATA
    assert after.session.state().setting("k0") == before_setting(copy_of=number)
    assert [damage.object for damage in report.left] == [key]
    assert report.left[0].harms == []
    assert after.session.log.tail().entry.number == number + report.renewed
    with pytest.raises(DamagedError):
        dataver.open(repository.url, at=str(number)).datasets()
    found = opened(repository).verify(deep=True)
    assert [(damage.object, damage.harms) for damage in found.damaged] == [(key, [])]
    # The next ones go on as ever, and a second repair has nothing to do.
    for more in range(CHECKPOINT_EVERY + 1):
        append(after, ConfigSet("more", f"{more}"))
    again = repair(opened(repository).session, yes=True)
    assert (again.renewed, again.restored, again.segments) == (0, [], 0)
    assert [damage.object for damage in opened(repository).verify(deep=True).damaged] == [key]


def before_setting(copy_of: int) -> str:
    """What the last of the entries set `k0` to."""
    last = copy_of - 2
    return str(max(number for number in range(last + 1) if number % 7 == 0))


def test_a_state_that_only_older_entries_need_is_told_and_nothing_is_done(repository: Repository) -> None:
    key = state_pack(repository)
    for more in range(CHECKPOINT_EVERY):
        append(repository, ConfigSet("k", f"{more}"))
    assert state_pack(repository) != key
    store = repository.session.store
    change(store, key, None)
    number = opened(repository).session.state().number
    report = repair(opened(repository).session, yes=True)
    assert opened(repository).session.state().number in (number, number + report.renewed)
    assert [damage.object for damage in report.left] == [key]
    assert opened(repository).version("iris").read("a") == DATA


@pytest.mark.parametrize("yes", [False, True])
@pytest.mark.parametrize("number", [0, CHECKPOINT_EVERY])
def test_a_collection_without_an_entry_that_names_a_state_says_that_it_is_damage(
    repository: Repository, number: int, *, yes: bool
) -> None:
    store = repository.session.store
    session = opened(repository).session
    newest = session.newest().number
    change(store, entry_key(number), None)
    before = contents(store)
    with pytest.raises(DamagedError, match=f"{entry_key(number)} is missing; run `dataver verify`"):
        collect(session, yes=yes, grace_s=0)
    assert session.newest().number == newest
    assert {**contents(store), HINT_KEY: b""} == {**before, HINT_KEY: b""}


def test_a_look_at_an_entry_that_is_missing_says_that_it_is_damage(repository: Repository) -> None:
    change(repository.session.store, entry_key(CHECKPOINT_EVERY), None)
    with pytest.raises(DamagedError, match="is missing; run `dataver verify`"):
        dataver.open(repository.url, at=str(CHECKPOINT_EVERY)).datasets()
    log = opened(repository).session.log
    with pytest.raises(DamagedError, match="is missing; run `dataver verify`"):
        log.number_at(log.entry(CHECKPOINT_EVERY + 1).entry.time_us - 1)
    assert dataver.open(repository.url, at=str(CHECKPOINT_EVERY + 1)).datasets()


def test_writers_go_on_where_an_old_entry_is_missing(repository: Repository, tmp_path: Path) -> None:
    """What they do needs no old state, and a copy of the log can still mend it."""
    copy = tmp_path / "copy"
    commit(repository, tmp_path / "data", a=noise(2, 9_000))
    shutil.copytree(tmp_path / "repository", copy)
    change(repository.session.store, entry_key(CHECKPOINT_EVERY), None)
    after = opened(repository)
    assert after.prune("iris", Retention(last=1), yes=True).pruned == ["v1"]
    assert after.erase("iris", "a", reason="test", yes=True).done
    assert [one.object for one in after.verify().damaged] == [entry_key(CHECKPOINT_EVERY)]
    assert after.repair(yes=True, sources=[copy]).restored == [entry_key(CHECKPOINT_EVERY)]
    assert after.gc(yes=True, grace_s=0).done
    assert after.verify(deep=True).ok
