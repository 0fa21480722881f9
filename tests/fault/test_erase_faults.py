"""Erasing on a store that fails at any call: a repeat ends it, all else is there, the bytes are nowhere."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from dataver.erasure import erase
from dataver.errors import ErasedError
from dataver.repository import init, open_repository
from dataver.store.base import Store
from dataver.store.memory import MemoryStore
from dataver.testing.stores import Fault
from tests.erased import traces
from tests.fault.loop import Trial, every_call
from tests.repositories import over

NAMES = count()
SECRET = random.Random("secret").randbytes(150_000)
LABEL = b"label " * 40 + random.Random("label").randbytes(32).hex().encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir()
    (made / "secret").write_bytes(SECRET)
    (made / "label0").write_bytes(LABEL)
    for number in range(1, 4):
        (made / f"label{number}").write_bytes(b"label " * 40 + str(number).encode())
    (made / "kept").write_bytes(random.Random("kept").randbytes(90_000))
    return made


def prepared(folder: Path) -> Iterator[MemoryStore]:
    """The same repository again and again, with two files of which one is to be erased."""
    repository = init(f"memory://erase-{next(NAMES)}")
    repository.commit("d", folder)
    (folder / "later").write_bytes(b"later")
    repository.commit("d", folder)
    whole = repository.session.store
    objects = {info.key: whole.get(info.key) for info in whole.list("")}
    while True:
        store = MemoryStore(f"erase-{next(NAMES)}")
        for key, data in objects.items():
            store.put_new(key, data)
        yield store


def check(store: Store, folder: Path, path: str, canary: bytes, what: object) -> None:
    """What is there between a fault and its repeat is whole; after the repeat the bytes are nowhere."""
    between = open_repository(store.url)
    assert between.verify(deep=True).ok, what
    report = erase(between.session, "d", path, reason="law", yes=True)
    assert report.undeleted == [], what
    assert traces(store, canary) == [], what
    again = open_repository(store.url)
    found = again.verify(deep=True)
    assert (found.ok, found.erased) == (True, 1), what
    for file in folder.iterdir():
        if file.name != path:
            assert again.version("d").read(file.name) == file.read_bytes(), what
    with pytest.raises(ErasedError, match="law"):
        again.version("d@v1").read(path)
    assert [info.version for info in again.log("d")] == ["v2", "v1"]


@pytest.mark.parametrize(("path", "canary"), [("secret", SECRET), ("label0", LABEL[-64:])])
@pytest.mark.parametrize("fault", Fault)
def test_whichever_call_fails(
    folder: Path, path: str, canary: bytes, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataver.log.log.time.sleep", lambda _: None)
    stores = prepared(folder)
    incomplete = 0

    def act(store: Store) -> None:
        nonlocal incomplete
        report = erase(over(store).session, "d", path, reason="law", yes=True)
        incomplete += bool(report.undeleted or report.unread)

    def check_trial(trial: Trial) -> None:
        trial.faulty.land()
        check(trial.store, folder, path, canary, trial)

    tally = every_call(lambda: next(stores), act, check_trial, fault)
    assert tally.calls > 9
    assert tally.failures + incomplete
