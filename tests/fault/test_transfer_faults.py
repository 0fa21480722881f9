"""A push or pull that fails at any call of either store leaves both whole, and the next one goes on."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from dataver.digest import Digest
from dataver.errors import DataverError
from dataver.format.operations import GcMark
from dataver.keys import PACK_PREFIX, pack_key
from dataver.log.log import Identity, Plan
from dataver.log.state import State
from dataver.repository import Repository, init
from dataver.store.base import Store
from dataver.testing.stores import Call, CountingStore, Fault, FaultyStore
from tests.damage import append
from tests.fault.loop import Trial, each, every_call
from tests.repositories import memory_repository, over

SIDES = ["source", "target"]


@pytest.fixture
def source(tmp_path: Path) -> Repository:
    """Versions on two branches, of small files and of large ones."""
    repository, folder = memory_repository(), tmp_path / "data"
    folder.mkdir()
    for number in range(3):
        (folder / "large").write_bytes(os.urandom(150_000))
        (folder / f"{number}").write_text(f"{number}\n" * 5_000)
        repository.commit("d", folder)
    (folder / "side").write_text("side")
    repository.commit("d", folder, branch="side")
    repository.tag("d@v2", "paper")
    return repository


def same(a: Repository, b: Repository) -> bool:
    return [v.id for v in a.log("d")] == [v.id for v in b.log("d")] and a.refs("d") == b.refs("d")


def attempt(source: Store, target: Store, *, pulling: bool) -> None:
    if pulling:
        over(target).pull(source=over(source))
    else:
        over(source).push(to=over(target))


@pytest.mark.parametrize("pulling", [False, True], ids=["push", "pull"])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("fault", Fault)
def test_every_call_may_fail(source: Repository, fault: Fault, side: str, pulling: bool) -> None:
    stores: dict[str, Store] = {}

    def fresh() -> Store:
        stores.update(source=source.session.store, target=memory_repository().session.store)
        return stores[side]

    def act(faulty: Store) -> None:
        attempt(**stores | {side: faulty}, pulling=pulling)
        assert same(source, over(stores["target"]))

    def check(trial: Trial) -> None:
        trial.faulty.land()
        target = over(stores["target"])
        assert target.verify(deep=True).ok
        attempt(**stores, pulling=pulling)
        assert same(source, target)
        assert target.verify(deep=True).ok
        assert target.version("d").read("large") == source.version("d").read("large")

    # Not each: what happens between is covered by the other ways and sides.
    tally = every_call(fresh, act, check, fault, numbers=each(8, 2))
    assert tally.failures or fault in (Fault.CORRUPT, Fault.TORN)
    assert tally.calls > 7


def test_a_network_that_fails_now_and_then_gets_there_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was put before a failure is not put again."""
    monkeypatch.setattr("dataver.packs.pack_bytes_max", lambda _: 1 << 18)
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}").write_bytes(os.urandom(100_000))
    source, target = init(str(tmp_path / "source")), init(str(tmp_path / "target"))
    source.commit("d", folder)
    counting = CountingStore(target.session.store)
    failures = 0
    while not target.datasets():
        with suppress(DataverError):
            source.push(to=over(FaultyStore(counting, {3: Fault.BEFORE}, is_pack_put)))
        failures += 1
    assert 2 < failures < 10
    assert target.verify(deep=True).ok
    assert counting.written_bytes < 2_000_000 * 1.35, "most was put again"
    assert target.show("d").new_bytes == 2_000_000
    uploads = Path(os.environ["DATAVER_CACHE_DIR"], "uploads", target.id)
    assert not any(uploads.iterdir())


def is_pack_put(call: Call) -> bool:
    return call.method == "put_new" and call.key.startswith(PACK_PREFIX)


@pytest.mark.parametrize("what", ["missing", "damaged", "marked"])
@pytest.mark.parametrize("verb", ["push", "commit"])
def test_what_an_interrupted_run_left_is_looked_at_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, what: str
) -> None:
    monkeypatch.setattr("dataver.packs.pack_bytes_max", lambda _: 1 << 18)
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(10):
        (folder / f"{number}").write_bytes(os.urandom(100_000))
    source, target = init(str(tmp_path / "source")), init(str(tmp_path / "target"))
    source.commit("d", folder)
    store = target.session.store

    def run(receiver: Repository) -> None:
        if verb == "push":
            source.push(to=receiver)
        else:
            receiver.commit("d", folder)

    with pytest.raises(DataverError):
        run(over(FaultyStore(store, {3: Fault.BEFORE}, is_pack_put)))
    left = [info.key for info in store.list(PACK_PREFIX)]
    assert left
    for key in left:
        data = store.get(key)
        if what == "marked":
            append(target, GcMark((Digest(bytes.fromhex(key[-64:])),)))
            continue
        store.delete(key)
        if what == "damaged":
            store.put_new(key, data[:-1] + b"x")
    run(target)
    for key in left:
        store.delete(key)
    assert all(target.version("d").read(str(n)) == (folder / str(n)).read_bytes() for n in range(10))
    assert target.verify(deep=True).ok


@pytest.mark.parametrize("verb", ["push", "commit"])
def test_what_was_found_again_is_marked_before_the_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """An entry never relies on what is to be collected, also not on uploads of an earlier run.

    A push copies it once more, a commit takes the mark back.
    """
    monkeypatch.setattr("dataver.packs.pack_bytes_max", lambda _: 1 << 18)
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(10):
        (folder / f"{number}").write_bytes(os.urandom(100_000))
    source, target = init(str(tmp_path / "source")), init(str(tmp_path / "target"))
    source.commit("d", folder)
    store = target.session.store
    with pytest.raises(DataverError):
        source.push(to=over(FaultyStore(store, {3: Fault.BEFORE}, is_pack_put)))
    left = [info.key for info in store.list(PACK_PREFIX)]
    receiver, log = over(store), target.session.log
    appended = receiver.session.log.append

    def after_a_mark(plan: Plan, identity: Identity) -> State:
        if not log.state().marked():
            append(target, GcMark(tuple(sorted(Digest(bytes.fromhex(key[-64:])) for key in left))))
        return appended(plan, identity)

    monkeypatch.setattr(receiver.session.log, "append", after_a_mark)
    if verb == "push":
        source.push(to=receiver)
    else:
        receiver.commit("d", folder)
        assert len(log.state().marked()) < len(left)
        left = [pack_key(name) for name in log.state().marked()]
    for key in left:
        store.delete(key)
    assert all(target.version("d").read(str(n)) == (folder / str(n)).read_bytes() for n in range(10))
    assert target.verify(deep=True).ok
