"""The probe: stores that break the rule are caught, and what passed is remembered."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from dataver.errors import NotPermittedError, UnsafeStoreError
from dataver.store import open_store, probe
from dataver.store.base import as_views
from dataver.store.fsspec_ import FsspecStore
from dataver.store.local import LocalStore
from dataver.store.memory import MemoryStore
from dataver.store.probe import GuardedStore
from dataver.testing.store_contract import at_once


class Fresh(MemoryStore):
    """A sound store, and the base of the unsound ones: each has objects of its own."""

    def __init__(self) -> None:
        super().__init__(str(uuid4()))
        self.puts = 0

    def put_new(self, key: str, data: Any, *, barrier: bool = True) -> bool:
        self.puts += 1
        return self.create(key, b"".join(as_views(data)))

    def create(self, key: str, data: bytes) -> bool:
        return super().put_new(key, data)

    def probe_subject(self) -> str:
        return "test"


class LooksFirst(Fresh):
    """As fsspec emulates it: correct for one writer at a time."""

    def create(self, key: str, data: bytes) -> bool:
        if any(info.key == key for info in self.list(key)):
            return False
        time.sleep(0.01)
        self.put_hint(key, data)
        return True


class IgnoresTheMode(Fresh):
    def create(self, key: str, data: bytes) -> bool:
        self.put_hint(key, data)
        return True


class OverwritesAndSaysItDidNot(Fresh):
    def create(self, key: str, data: bytes) -> bool:
        created = super().create(key, data)
        self.put_hint(key, data)
        return created


class ShowsHalves(Fresh):
    """As a file created exclusively and then written to."""

    def create(self, key: str, data: bytes) -> bool:
        if not super().create(key, data[: len(data) // 2]):
            return False
        time.sleep(0.01)
        self.put_hint(key, data)
        return True


class NeverCreates(Fresh):
    def create(self, key: str, data: bytes) -> bool:
        return False


class LosesObjects(Fresh):
    def create(self, key: str, data: bytes) -> bool:
        created = super().create(key, data)
        self.delete(key)
        return created


@pytest.mark.parametrize(
    ("unsound", "why"),
    [
        (LooksFirst, "racing writers were told"),
        (IgnoresTheMode, "created one key twice"),
        (OverwritesAndSaysItDidNot, "changed an object"),
        (ShowsHalves, "readers saw other bytes"),
        (NeverCreates, "which nobody can have used exists"),
        (LosesObjects, "(created one key twice|could not be read back)"),
    ],
)
def test_an_unsound_store_is_not_written_to(unsound: type[Fresh], why: str) -> None:
    bare = unsound()
    store = GuardedStore(bare)
    for _ in range(2):  # a failure is not remembered as a pass
        with pytest.raises(UnsafeStoreError, match=why) as raised:
            store.put_new("log/0", b"entry")
        assert raised.value.exit_code == 8
        assert bare.url in str(raised.value)
    with pytest.raises(UnsafeStoreError):
        store.put_hint("log/HINT", b"")
    with pytest.raises(UnsafeStoreError):
        store.delete("log/0")
    assert list(store.list("")) == [], "neither the entry nor what the probe put is there"


def test_fsspecs_local_files_are_read_and_never_written(tmp_path: Path) -> None:
    LocalStore(tmp_path).put_new("log/0", b"entry")
    bare = FsspecStore(f"file://{tmp_path}", {"auto_mkdir": True})
    store = GuardedStore(bare)
    assert store.get("log/0") == b"entry"
    assert [info.key for info in store.list("")] == ["log/0"]
    for write in (
        lambda: store.put_new("log/1", b""),
        lambda: store.delete("log/0"),
        lambda: bare.put_new("a", b""),
    ):
        with pytest.raises(UnsafeStoreError, match="LocalFileSystem"):
            write()
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["0"]


def records() -> list[Path]:
    folder = Path(os.environ["DATAVER_CACHE_DIR"]) / "probes"
    return sorted(folder.iterdir()) if folder.exists() else []


@pytest.fixture
def new_process(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Forget what this process knows: called, it stands for a new process."""

    def forget() -> None:
        monkeypatch.setattr(probe, "_passed", set[str]())

    forget()
    return forget


def test_a_pass_is_remembered_on_disk(new_process: Any) -> None:
    first, second, third = Fresh(), Fresh(), Fresh()
    assert records() == []
    GuardedStore(first).put_new("log/0", b"")
    assert first.puts > 16
    assert len(records()) == 1
    GuardedStore(second).put_new("log/0", b"")
    new_process()
    GuardedStore(third).put_new("log/0", b"")
    assert (second.puts, third.puts) == (1, 1)
    assert json.loads(records()[0].read_bytes())["subject"] == "test"


def test_other_software_or_another_place_is_probed_anew(
    new_process: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    GuardedStore(Fresh()).put_new("log/0", b"")
    monkeypatch.setattr(Fresh, "probe_subject", lambda _: "test 2.0")
    other = Fresh()
    GuardedStore(other).put_new("log/0", b"")
    assert other.puts > 16


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"subject": "test"}'])
def test_a_malformed_record_is_no_record(new_process: Any, content: bytes) -> None:
    GuardedStore(Fresh()).put_new("log/0", b"")
    records()[0].write_bytes(content)
    new_process()
    store = Fresh()
    GuardedStore(store).put_new("log/0", b"")
    assert store.puts > 16


def test_without_a_cache_folder_each_process_probes_once(
    new_process: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path / "file"))
    first, second = Fresh(), Fresh()
    GuardedStore(first).put_new("log/0", b"")
    GuardedStore(second).put_new("log/0", b"")
    assert first.puts > 16
    assert second.puts == 1


def test_without_a_home_folder_too(new_process: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("no home")

    for name in ("DATAVER_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    store = Fresh()
    GuardedStore(store).put_new("log/0", b"")
    GuardedStore(store).put_new("log/1", b"")
    assert store.puts == 2 + 2 + probe.ROUNDS * probe.RACERS


def test_reading_does_not_probe(new_process: Any) -> None:
    bare = Fresh()
    bare.put_hint("log/0", b"entry")
    store = GuardedStore(bare)
    assert store.get("log/0") == b"entry"
    assert store.get_suffix("log/0", 2) == (b"ry", 5)
    assert store.get_ranges("log/0", [(0, 2)]) == [b"en"]
    assert len(list(store.list(""))) == 1
    assert bare.puts == 0
    assert records() == []


def test_racing_first_writes_probe_once(new_process: Any) -> None:
    bare = Fresh()
    store = GuardedStore(bare)
    at_once(lambda me: store.put_new(f"log/{me}", b""), 8)
    probing = 2 + probe.ROUNDS * probe.RACERS
    assert bare.puts == 8 + probing


def test_a_writer_that_may_not_delete_passes(new_process: Any) -> None:
    class AppendOnly(Fresh):
        def delete(self, key: str) -> None:
            raise NotPermittedError(key)

    store = GuardedStore(AppendOnly())
    assert store.put_new("log/0", b"")
    assert len(list(store.list(probe.PROBE_PREFIX))) == 1 + probe.ROUNDS


def test_a_store_that_refuses_says_so_itself(new_process: Any) -> None:
    class ReadOnly(Fresh):
        def create(self, key: str, data: bytes) -> bool:
            raise NotPermittedError("this container is read-only")

    with pytest.raises(NotPermittedError, match="read-only") as raised:
        GuardedStore(ReadOnly()).put_new("log/0", b"")
    assert type(raised.value) is NotPermittedError


def test_the_probe_leaves_no_trace_in_a_local_repository(new_process: Any, tmp_path: Path) -> None:
    store = open_store(tmp_path / "repository")
    assert store.put_new("log/0", b"entry")
    assert store.put_new("log/1", b"entry")
    found: Sequence[str] = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*"))
    assert found == ["repository", "repository/log", "repository/log/0", "repository/log/1"]


def test_the_subject_of_a_local_store_is_its_file_system(tmp_path: Path) -> None:
    one, other = LocalStore(tmp_path / "one"), LocalStore(tmp_path / "not" / "there")
    assert one.probe_subject() == other.probe_subject()
    assert LocalStore("/proc/none").probe_subject() != one.probe_subject()
