"""A store that fails at any call, or at several: what is done succeeds, or fails and a repeat succeeds."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from dataver.errors import DamagedError, StoreError
from dataver.repository import Repository, init, open_repository
from dataver.store.base import Store
from dataver.store.memory import MemoryStore
from dataver.testing.stores import Fault
from tests.fault.loop import Trial, every_call
from tests.repositories import over
from tests.worlds import noise, text

NAMES = count()
STORM_CALLS = 4

Operation = Callable[[Repository, Path], object]


def commit(repository: Repository, place: Path) -> object:
    return repository.commit("d", place / "data")


def checkout(repository: Repository, place: Path) -> object:
    return repository.checkout("d", place / "out")


def read(repository: Repository, place: Path) -> object:
    version = repository.version("d@v1")
    assert version.read("noise") == (place / "data" / "noise").read_bytes()
    return [version.read(entry.path) for entry in version.files()]


def merge(repository: Repository, _: Path) -> object:
    return repository.merge("d@side")


def tag(repository: Repository, _: Path) -> object:
    return repository.tag("d@v1", "paper")


def show(repository: Repository, _: Path) -> object:
    return repository.show("d@v1"), list(repository.log("d")), repository.diff("d@v1", "d")


OPERATIONS: list[Operation] = [commit, checkout, read, merge, tag, show]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    (data / "noise").write_bytes(noise("n", 400_000))
    (data / "text").write_bytes(text("t", 50_000))
    (data / "small").write_bytes(b"small")
    return tmp_path


def prepared(place: Path) -> Iterator[MemoryStore]:
    """The same repository again and again: two versions, a side branch, and something to commit."""
    repository = init(f"memory://faulty-{next(NAMES)}")
    repository.commit("d", place / "data")
    (place / "side").mkdir()
    (place / "side" / "new").write_bytes(b"new")
    repository.branch("d@v1", "side")
    repository.commit("d", place / "side", branch="side", add=True)
    (place / "data" / "more").write_bytes(noise("m", 200_000))
    repository.commit("d", place / "data")
    (place / "data" / "more").write_bytes(noise("other", 200_000))
    whole = repository.session.store
    objects = {info.key: whole.get(info.key) for info in whole.list("")}
    while True:
        name = f"faulty-{next(NAMES)}"
        store = MemoryStore(name)
        for key, data in objects.items():
            store.put_new(key, data)
        yield store


def check_after(store: Store, operation: Operation, place: Path, what: object) -> None:
    """A repeat succeeds, and nothing is damaged."""
    again = open_repository(store.url)
    if not (operation is merge and len(again.show("d").parents) == 2):
        operation(again, place)
    assert again.verify(deep=True).ok, what
    versions = [info.version for info in again.log("d") if info.version]
    assert versions == [f"v{number}" for number in range(len(versions), 0, -1)]
    assert again.version("d@v1").read("noise") == noise("n", 400_000)
    shutil.rmtree(place / "out", ignore_errors=True)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
@pytest.mark.parametrize("fault", Fault)
def test_whichever_call_fails(
    place: Path, operation: Operation, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataver.log.log.time.sleep", lambda _: None)
    stores = prepared(place)
    damage = fault in (Fault.CORRUPT, Fault.SHORT)

    def check(trial: Trial) -> None:
        trial.faulty.land()
        assert trial.failure is None or isinstance(trial.failure, DamagedError if damage else StoreError)
        check_after(trial.store, operation, place, trial)

    tally = every_call(lambda: next(stores), lambda store: operation(over(store), place), check, fault)
    assert tally.calls > 3, "the operation makes calls"
    assert tally.failures, "some fault matters"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_storms(place: Path, operation: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataver.log.log.time.sleep", lambda _: None)
    kinds = [Fault.BEFORE, Fault.AFTER, Fault.LATE]
    stores = prepared(place)

    def check(trial: Trial) -> None:
        trial.faulty.land()
        assert trial.failure is None or isinstance(trial.failure, StoreError), trial
        check_after(trial.store, operation, place, trial)

    def storm(number: int) -> dict[int, Fault]:
        return {number + n: kinds[(number + n) % 3] for n in range(STORM_CALLS)}

    every_call(lambda: next(stores), lambda store: operation(over(store), place), check, storm)
