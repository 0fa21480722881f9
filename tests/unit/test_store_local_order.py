"""What is durable when: the order of the local store's system calls, recorded from real ones."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dataver.errors import StoreError
from dataver.store import posix
from dataver.store.local import LocalStore
from dataver.testing.store_contract import at_once


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "repository")


class Trace:
    """Records what becomes durable, and holds every new name to the write order.

    A name may show up on disk at any time from its `link` on, whatever was synced. So at each link
    of a barrier put, and again when it returns, all that was put before must be durable: the bytes
    of each object, its name, and the name of every folder above.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple[str, str]] = []
        self.durable_bytes: set[str] = set()
        self.durable_names: set[str] = set()
        self.names: dict[str, set[str]] = {}
        self.objects: dict[str, str] = {}
        self.before_link: Callable[[], None] = lambda: None
        self._fsync, self._link, self._mkdir = os.fsync, os.link, os.mkdir
        patch.setattr(os, "fsync", self.fsync)
        patch.setattr(os, "link", self.link)
        patch.setattr(os, "mkdir", self.mkdir)

    def fsync(self, fd: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")
        self._fsync(fd)
        self.events.append(("fsync", path))
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            self.durable_names |= self.names.get(path, set())
        else:
            self.durable_bytes.add(path)

    def link(self, source: str, target: str) -> None:
        self.before_link()
        self._link(source, target)
        self.events.append(("link", target))
        self.objects[target] = source
        self._named(target)

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        self._mkdir(path, mode)
        self.events.append(("mkdir", path))
        self._named(path)

    def _named(self, path: str) -> None:
        self.names.setdefault(os.path.dirname(path), set()).add(path)

    def lost_by_a_crash_now(self) -> set[str]:
        """The objects that might be gone, or torn, after a power cut at this moment."""
        return {target for target, source in self.objects.items() if not self._is_safe(target, source)}

    def _is_safe(self, target: str, source: str) -> bool:
        made = set().union(*self.names.values())
        above = [target, *(str(folder) for folder in Path(target).parents)]
        return source in self.durable_bytes and {name for name in above if name in made} <= self.durable_names


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch) -> Trace:
    return Trace(monkeypatch)


def test_a_barrier_makes_all_before_it_durable_and_then_shows_its_object(
    tmp_path: Path, trace: Trace
) -> None:
    store = LocalStore(tmp_path / "made" / "with" / "parents")
    for number in range(6):
        store.put_new(f"packs/{number % 3:02x}/{number}", [b"pack"] * number, barrier=False)
    assert len(trace.lost_by_a_crash_now()) == 6, "without a barrier, names are not synced one by one"
    at_link: list[set[str]] = []
    trace.before_link = lambda: at_link.append(trace.lost_by_a_crash_now())
    assert store.put_new("index/1", b"segment", barrier=True)
    assert store.put_new("log/1", b"entry", barrier=True)
    assert at_link == [set(), set()]
    assert trace.lost_by_a_crash_now() == set()


def test_names_that_another_process_put_are_durable_before_what_relies_on_them(
    tmp_path: Path, trace: Trace
) -> None:
    other = LocalStore(tmp_path / "made" / "with" / "parents")
    other.put_new("log/0", b"entry")
    for number in range(4):
        other.put_new(f"packs/{number % 2:02x}/{number}", b"pack", barrier=False)
    store = LocalStore(tmp_path / "made" / "with" / "parents")
    for number in range(4):
        store.rely_on(f"packs/{number % 2:02x}/{number}")
    assert len(trace.lost_by_a_crash_now()) == 4
    at_link: list[set[str]] = []
    trace.before_link = lambda: at_link.append(trace.lost_by_a_crash_now())
    assert store.put_new("log/1", b"entry")
    assert at_link == [set()]


def test_a_barrier_is_not_paid_twice(store: LocalStore, trace: Trace) -> None:
    store.put_new("packs/aa/1", b"pack", barrier=False)
    store.put_new("log/0", b"entry")
    trace.events.clear()
    store.put_new("log/1", b"entry")
    assert [event for event, _ in trace.events] == ["fsync", "link", "fsync"]


def test_many_packs_cost_one_sync_each_and_one_for_each_folder(store: LocalStore, trace: Trace) -> None:
    store.put_new("log/0", b"entry")
    trace.events.clear()
    for number in range(40):
        store.put_new(f"packs/{number % 2:02x}/{number}", b"pack", barrier=False)
    assert sum(event == "fsync" for event, _ in trace.events) == 40
    store.put_new("log/1", b"entry")
    # The entry, its folder, two folders of packs, the folder above those, the root and what it is in.
    assert sum(event == "fsync" for event, _ in trace.events) == 40 + 2 + 2 + 3


def test_a_folder_made_by_another_process_is_synced_too(tmp_path: Path, trace: Trace) -> None:
    first, second = LocalStore(tmp_path / "r"), LocalStore(tmp_path / "r")
    first.put_new("packs/aa/1", b"pack", barrier=False)
    second.put_new("packs/aa/2", b"pack", barrier=False)
    second.put_new("log/0", b"entry")
    lost = {os.path.basename(path) for path in trace.lost_by_a_crash_now()}
    assert lost == set(), "the second's names rest on folders that the first made and never synced"


@pytest.mark.parametrize("barrier", [True, False])
def test_an_object_that_exists_is_durable_after_the_next_barrier(
    tmp_path: Path, trace: Trace, barrier: bool
) -> None:
    first, second = LocalStore(tmp_path / "r"), LocalStore(tmp_path / "r")
    first.put_new("packs/aa/1", b"pack", barrier=False)
    assert second.put_new("packs/aa/1", b"pack", barrier=barrier) is False
    if not barrier:
        second.put_new("log/0", b"entry")
    assert trace.lost_by_a_crash_now() == set()


def test_a_barrier_waits_for_the_sync_of_another_thread(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second barrier finds nothing to sync, as the first took it, and must wait all the same."""
    store.put_new("log/0", b"", barrier=True)
    store.put_new("packs/aa/1", b"pack", barrier=False)
    syncing, go_on, order = threading.Event(), threading.Event(), list[str]()
    sync, publish = posix.sync_folder, posix.publish

    def slow_sync(fd: int) -> None:
        if os.readlink(f"/proc/self/fd/{fd}").endswith("packs/aa"):
            syncing.set()
            assert go_on.wait(10)
            order.append("synced")
        sync(fd)

    def noting_publish(temporary: str, final: str) -> bool:
        order.append(final[-5:])
        return publish(temporary, final)

    monkeypatch.setattr(posix, "sync_folder", slow_sync)
    monkeypatch.setattr(posix, "publish", noting_publish)

    def run(me: int) -> None:
        if me == 0:
            store.put_new("log/1", b"")
        elif me == 1:
            assert syncing.wait(10)
            store.put_new("log/2", b"")
        else:
            assert syncing.wait(10)
            threading.Event().wait(0.1)  # time in which a barrier that does not wait would be through
            go_on.set()

    at_once(run, 3)
    assert order[0] == "synced"
    assert set(order[1:]) == {"log/1", "log/2"}


def test_a_folder_that_cannot_be_opened_is_synced_by_the_next_barrier(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_new("log/0", b"")
    store.put_new("packs/aa/1", b"pack", barrier=False)
    opened = posix.open_folder
    busy = iter([True])

    def open_folder(folder: str) -> int:
        if folder.endswith("packs/aa") and next(busy, False):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opened(folder)

    monkeypatch.setattr(posix, "open_folder", open_folder)
    trace = Trace(monkeypatch)
    with pytest.raises(StoreError, match="ulimit"):
        store.put_new("log/1", b"entry")
    assert store.put_new("log/1", b"entry") is True
    assert any(path.endswith("packs/aa") for event, path in trace.events if event == "fsync")
