"""A repair that fails at any call harms nothing, and the next one completes; others may work meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest

from dataver.errors import ConflictError
from dataver.format.entry import CHECKPOINT_EVERY
from dataver.format.operations import ConfigSet, VersionAdd
from dataver.gc import collect
from dataver.keys import HINT_KEY, SEGMENT_PREFIX, pack_key
from dataver.repair import repair
from dataver.repository import Repository
from dataver.store.base import Store
from dataver.testing.stores import WRITES, Call, CallWrapper, Fault
from tests.damage import append, change, commit, flip, place_of
from tests.fault.loop import Trial, each, every_call
from tests.repositories import memory_repository, over
from tests.worlds import noise, text

T = TypeVar("T")
A, B, C = noise(1, 30_000), noise(2, 9_000), text(3, 90_000)


def damaged(folder: Path) -> Repository:
    """Two versions; a chunk of the first is lost, and the segment of the second is."""
    repository = memory_repository()
    commit(repository, folder, a=A, b=B)
    first = repository.session.state().segments()[0].name
    commit(repository, folder, c=C)
    flip(repository.session.store, *place_of(repository, "b"))
    for key in [info.key for info in repository.session.store.list(SEGMENT_PREFIX)]:
        if not key.endswith(first.hex()):
            change(repository.session.store, key, None)
    return repository


def has_the_rest(store: Store) -> bool:
    """Whether a repair left nothing lost but the chunk that is nowhere."""
    report = over(store).verify(deep=True)
    paths = {harm.path for damage in report.damaged for harm in damage.harms}
    assert paths == {"b"}, report.damaged
    version = over(store).version("iris")
    return (version.read("a"), version.read("c")) == (A, C)


@pytest.mark.parametrize("fault", Fault)
def test_every_call_may_fail(tmp_path: Path, fault: Fault) -> None:
    folders = count()

    def check(trial: Trial) -> None:
        if trial.failure is not None:
            trial.faulty.land()
        assert over(trial.store).version("iris@v1").read("a") == A, "what was whole is not any more"
        assert not repair(over(trial.store).session, yes=True).ok
        assert has_the_rest(trial.store)

    tally = every_call(
        lambda: damaged(tmp_path / f"{next(folders)}").session.store,
        lambda store: repair(over(store).session, yes=True),
        check,
        fault,
        numbers=each(30, 3),
    )
    assert tally.failures or fault in (Fault.CORRUPT, Fault.SHORT)
    assert tally.calls > 40


class _Meanwhile(CallWrapper):
    """Does something else at one of the calls."""

    def __init__(self, inner: Store, number: int, action: Callable[[], object]) -> None:
        super().__init__(inner)
        self.made = 0
        self._number = number
        self._action = action
        self._lock = threading.Lock()

    def around(self, call: Call, run: Callable[[], T]) -> T:
        with self._lock:
            self.made += 1
            if self.made == self._number:
                self._action()
        return run()


def commit_more(store: Store, folder: Path) -> None:
    """Another dataset, as what is lost of this one stands in the way of its next version."""
    folder.mkdir()
    (folder / "d").write_bytes(noise(4, 20_000))
    (folder / "a").write_bytes(A)
    over(store).commit("other", folder)


def repair_too(store: Store, folder: Path) -> None:
    del folder
    repair(over(store).session, yes=True)


def collect_now(store: Store) -> None:
    collect(over(store).session, yes=True, grace_s=0)


@pytest.mark.parametrize("action", [commit_more, repair_too])
def test_others_work_meanwhile(tmp_path: Path, action: Callable[[Store, Path], None]) -> None:
    number = 0
    while True:
        number += 1 if number < 10 else 4
        store = damaged(tmp_path / f"{number}").session.store
        other = tmp_path / f"other{number}"
        watched = _Meanwhile(store, number, partial(action, store, other))
        repair(over(watched).session, yes=True)
        assert has_the_rest(store)
        if action is commit_more and watched.made >= number:
            assert over(store).version("other").read("d") == noise(4, 20_000)
            assert over(store).version("other").read("a") == A
        if watched.made < number:
            break
    assert number > 40


def test_a_commit_that_found_what_is_dropped_meanwhile_stores_it_again(tmp_path: Path) -> None:
    """Its file is one that is lost: found in the damaged pack before a repair, and nowhere after it."""
    number = refused = stored = 0
    while True:
        number += 1
        store = damaged(tmp_path / f"{number}").session.store
        folder = tmp_path / f"other{number}"
        folder.mkdir()
        (folder / "b").write_bytes(B)
        watched = _Meanwhile(store, number, partial(repair, over(store).session, yes=True))
        try:
            over(watched).commit("other", folder)
        except ConflictError:
            refused += 1
            over(store).commit("other", folder)
        newest = over(store).session.log.tail().entry
        is_last = any(isinstance(operation, VersionAdd) for operation in newest.operations)
        if is_last and watched.made >= number:
            stored += 1
            assert over(store).version("other").read("b") == B
            assert over(store).verify(deep=True).ok
        if watched.made < number:
            break
    assert refused
    assert stored > refused


def test_a_collection_meanwhile_takes_nothing_that_was_saved(tmp_path: Path) -> None:
    """Where nothing is lost a collection goes through, and may mark what the repair has just put."""
    number = 0
    while True:
        number += 2
        repository = memory_repository()
        store = repository.session.store
        commit(repository, tmp_path / f"{number}", a=A, b=B)
        key = place_of(repository, "b")[0]
        change(store, key, store.get(key)[:-1] + b"x")
        watched = _Meanwhile(store, number, partial(collect_now, store))
        try:
            repair(over(watched).session, yes=True)
        except ConflictError:
            repair(over(store).session, yes=True)
        assert over(store).verify(deep=True).ok
        collect(over(store).session, yes=True, grace_s=0)
        assert over(store).verify(deep=True).ok
        assert over(store).version("iris").read("b") == B
        if watched.made < number:
            break
    assert number > 20


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.AFTER, Fault.LATE])
def test_every_write_may_fail_while_the_newest_state_is_written_anew(tmp_path: Path, fault: Fault) -> None:
    template = memory_repository()
    commit(template, tmp_path / "data", a=A)
    while template.session.state().number < 2 * CHECKPOINT_EVERY - 4:
        append(template, ConfigSet("k", "v"))
    base = template.session.log.tail().entry.base
    assert base is not None
    lost = pack_key(base.pack)

    def check(trial: Trial) -> None:
        trial.faulty.land()
        repair(over(trial.store).session, yes=True)
        assert over(trial.store).version("iris").read("a") == A
        report = over(trial.store).verify(deep=True)
        assert [(damage.object, damage.harms) for damage in report.damaged] == [(lost, [])]

    tally = every_call(
        lambda: memory_repository_of(template.session.store, without=lost),
        lambda store: repair(over(store).session, yes=True),
        check,
        fault,
        counts=lambda call: call.method in WRITES,
    )
    assert tally.calls > 7


def memory_repository_of(store: Store, without: str) -> Store:
    """A store with all that another one has, but for one object."""
    copy = Repository(f"memory://{uuid4().hex}").session.store
    for info in store.list(""):
        if info.key not in (without, HINT_KEY):
            assert copy.put_new(info.key, store.get(info.key))
    return copy
