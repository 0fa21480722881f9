from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

import dataver.hashing
from dataver import doctor
from dataver.errors import NotPermittedError
from dataver.keys import HINT_KEY, entry_key
from dataver.log.log import Log
from dataver.repository import Repository, init
from dataver.results import Check
from dataver.session import Session
from dataver.store.base import ObjectInfo, Store, Wrapper
from dataver.store.memory import MemoryStore
from dataver.testing.stores import Fault, FaultyStore

NAMES = count()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = init(str(tmp_path / "repository"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_bytes(b"one")
    made.commit("iris", tmp_path / "data")
    return made


def over(store: Store) -> Session:
    return Session(store, Log(store))


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def failed(checks: list[Check]) -> set[str]:
    return {check.name for check in checks if not check.ok}


def test_all_is_well_on_this_machine_in_a_moment(repository: Repository) -> None:
    started = time.monotonic()
    checks = repository.doctor()
    assert time.monotonic() - started < 10
    assert failed(checks) == set()
    assert [check.name for check in checks] == [
        "python", "blake3", "xxhash", "zstandard", "compiled part", "pyfastcdc", "cache",
        "repository", "format", "history", "read", "index", "write", "clock", "space",
    ]  # fmt: skip
    assert all(check.detail for check in checks)


def test_it_tells_where_the_compiled_part_is_absent(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataver.native.native", None)
    check = by_name(repository.doctor())["compiled part"]
    assert check.ok
    assert "install a C compiler" in check.detail


def test_it_leaves_nothing_behind(repository: Repository, tmp_path: Path) -> None:
    before = sorted(os.walk(tmp_path / "repository"))
    repository.doctor()
    assert sorted(os.walk(tmp_path / "repository")) == before


def test_an_empty_repository_in_memory_is_fit(tmp_path: Path) -> None:
    checks = init(f"memory://doctor-{next(NAMES)}").doctor()
    assert failed(checks) == set()
    assert by_name(checks)["read"].detail == "there is no version yet"
    assert "space" not in by_name(checks)


def test_without_a_repository_the_machine_alone_is_checked() -> None:
    assert [check.name for check in doctor.checks(None)][-1] == "cache"


def test_where_there_is_no_repository_the_checks_say_so(tmp_path: Path) -> None:
    checks = doctor.checks(over(MemoryStore(f"doctor-{next(NAMES)}")))
    assert {"repository", "format", "history", "read", "index"} <= failed(checks)
    assert "dataver init" in by_name(checks)["repository"].advice


def test_a_kernel_with_wrong_answers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataver.hashing, "xxh3_64", lambda *_: 7)
    assert failed(doctor.checks(None)) == {"xxhash"}


def test_a_kernel_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> object:
        raise ImportError("no module named zstandard")

    monkeypatch.setattr("dataver.compression.compress_frame", absent)
    check = by_name(doctor.checks(None))["zstandard"]
    assert not check.ok
    assert "pip install" in check.advice


def test_a_chunker_that_fell_back_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyfastcdc

    from dataver.chunking import fastcdc

    class Slow(pyfastcdc.FastCDC):
        pass

    fastcdc._kernel.cache_clear()
    monkeypatch.setattr(fastcdc, "native", None)
    monkeypatch.setattr(pyfastcdc, "FastCDC", Slow)
    check = by_name(doctor.checks(None))["pyfastcdc"]
    fastcdc._kernel.cache_clear()
    assert not check.ok
    assert "slower" in check.detail


def test_a_cache_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path / "file" / "cache"))
    check = by_name(doctor.checks(None))["cache"]
    assert not check.ok
    assert "DATAVER_CACHE_DIR" in check.advice


class _ReadOnly(Wrapper):
    def put_new(self, key: str, data: object, *, barrier: bool = True) -> bool:
        raise NotPermittedError(f"cannot write {key}: read-only; ask for more")


def test_a_store_to_read_from_alone_fails_in_writing_alone(repository: Repository) -> None:
    checks = doctor.checks(over(_ReadOnly(repository.session.store)))
    assert failed(checks) == {"write", "clock"}
    assert "reading goes without" in by_name(checks)["write"].advice


class _NoDelete(Wrapper):
    def delete(self, key: str) -> None:
        raise NotPermittedError(f"cannot delete {key}")


def test_a_store_that_never_deletes_will_do(repository: Repository) -> None:
    checks = doctor.checks(over(_NoDelete(repository.session.store)))
    assert failed(checks) == set()
    assert "may not be deleted" in by_name(checks)["write"].detail


class _Late(Wrapper):
    def __init__(self, inner: Store, apart_s: float) -> None:
        super().__init__(inner)
        self.apart_s = apart_s

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for info in self.inner.list(prefix):
            yield info._replace(stored_at=info.stored_at + self.apart_s)


@pytest.mark.parametrize(("apart_s", "ok"), [(-3600.0, False), (-30.0, True), (30.0, True), (3600.0, False)])
def test_clocks_that_are_apart(repository: Repository, apart_s: float, ok: bool) -> None:
    check = by_name(doctor.checks(over(_Late(repository.session.store, apart_s))))["clock"]
    assert check.ok is ok
    assert str(round(abs(apart_s)) - 1) in check.detail or str(round(abs(apart_s))) in check.detail


def test_a_store_that_fails_is_a_failing_check_and_no_error(repository: Repository) -> None:
    for number in range(1, 12):
        checks = doctor.checks(over(FaultyStore(repository.session.store, {number: Fault.BEFORE})))
        assert len(checks) == len(repository.doctor())
    every = dict.fromkeys(range(1, 100), Fault.BEFORE)
    checks = doctor.checks(over(FaultyStore(repository.session.store, every)))
    assert {"repository", "format", "history", "read", "index", "write", "clock"} == failed(checks)
    assert all(check.advice for check in checks if not check.ok)


def test_history_that_went_back_is_noticed(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "repository" / entry_key(1)).unlink()
    (tmp_path / "repository" / HINT_KEY).unlink()
    checks = by_name(Repository(repository.url).doctor())
    assert not checks["history"].ok
    assert "rolled back" in checks["history"].detail


def test_damage_on_the_way_to_a_head_is_noticed(repository: Repository) -> None:
    for info in list(repository.session.store.list("packs/")):
        repository.session.store.delete(info.key)
    checks = Repository(repository.url).doctor()
    assert failed(checks) == {"read"}
    assert "verify" in by_name(checks)["read"].advice


def test_a_disk_that_is_nearly_full(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "FREE_BYTES_MIN", 1 << 80)
    assert failed(repository.doctor()) == {"space"}


def test_an_index_that_is_scattered(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SEGMENTS_MAX", 0)
    assert failed(repository.doctor()) == {"index"}
