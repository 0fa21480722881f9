"""A repository that is far away, read through the cache: nothing wrong is given, whatever happens to it."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest
from click.testing import CliRunner, Result
from fsspec import AbstractFileSystem

import dataver
from dataver import metadata_packs
from dataver.cli import main
from dataver.errors import DamagedError, OfflineError, RepositoryNotFoundError, RollbackError
from dataver.repository import Repository
from dataver.store import open_store
from dataver.store.cached import CachedStore, cache_of
from dataver.store.local import LocalStore
from dataver.store.memory import MemoryStore
from dataver.testing import bucket
from dataver.testing.stores import CountingStore, Fault, FaultyStore
from tests.far import FarStore, cache_in_front, far_repository, opened
from tests.worlds import Thing, World, noise, read, text, write

bucket.register()
PROJECT = Path(__file__).parents[2]

WORLD: World = {
    b"large": Thing("file", noise("large", 700_000)),
    b"text": Thing("file", text("text", 300_000)),
    b"empty": Thing("file", b""),
    b"folder/link": Thing("symlink", b"../text"),
    **{b"small/%03d" % number: Thing("file", text(number, 900)) for number in range(40)},
    **{b"images/%03d" % number: Thing("file", noise(number, 3_000)) for number in range(20)},
}


@pytest.fixture(autouse=True)
def small_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are written again and again here."""
    monkeypatch.setenv("DATAVER_CACHE_MAX", "64M")


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    """A store with one version of `WORLD`; nothing of it is in the cache."""
    store = CountingStore(MemoryStore(uuid4().hex))
    write(tmp_path / "source", WORLD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAVER_CACHE_MAX", "0")
        repository = far_repository(store)
        repository.session.create()
        repository.commit("iris", tmp_path / "source")
    return store


def check_all(repository: Repository) -> None:
    version = repository.version("iris")
    for path, thing in WORLD.items():
        if thing.kind == "file":
            assert version.read(path.decode()) == thing.data


def cache_files() -> list[Path]:
    root = Path(os.environ["DATAVER_CACHE_DIR"], "objects")
    return sorted(path for path in root.rglob("*") if path.is_file() and path.stat().st_size)


def test_the_second_time_only_the_log_is_asked(store: CountingStore) -> None:
    check_all(opened(store))
    store.reset()
    check_all(opened(store))
    assert {call.key.partition("/")[0] for call in store.calls} == {"log"}
    assert len(store.calls) == 2


def test_small_files_of_one_frame_are_fetched_together(store: CountingStore) -> None:
    """Each read is by a process that begins: what is in memory cannot help."""
    opened(store).version("iris").read("small/000")
    store.reset()
    for number in range(1, 20):
        opened(store).version("iris").read(f"small/{number:03d}")
    assert not [call for call in store.calls if call.key.startswith("packs/")]


def test_without_a_cache_all_is_as_right(store: CountingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVER_CACHE_MAX", "0")
    repository = opened(store)
    assert cache_of(repository.session.store) is None
    check_all(repository)
    assert cache_files() == []


@pytest.mark.parametrize("change", ["flip", "cut", "empty", "gone"])
def test_cached_files_that_were_changed(store: CountingStore, change: str) -> None:
    """Never given out, and read again from the store."""
    check_all(opened(store))
    for path in cache_files():
        whole = path.read_bytes()
        for at in range(0, len(whole), max(1, len(whole) // 4)):
            if change == "flip":
                path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
            elif change == "cut":
                path.write_bytes(whole[:at])
            elif change == "empty":
                path.write_bytes(b"")
            else:
                path.unlink()
            check_all(opened(store))
            path.write_bytes(whole)


def test_all_of_it_flipped_while_it_is_open(store: CountingStore) -> None:
    repository = opened(store)
    check_all(repository)
    for path in cache_files():
        path.write_bytes(path.read_bytes().translate(bytes(range(255, -1, -1))))
    check_all(repository)
    check_all(opened(store))


def test_the_folder_is_removed_while_it_is_open(store: CountingStore) -> None:
    repository = opened(store)
    check_all(repository)
    shutil.rmtree(os.environ["DATAVER_CACHE_DIR"])
    check_all(repository)
    store.reset()
    check_all(opened(store))
    assert len(store.calls) < 12, "it fills again"


def test_a_range_that_comes_wrong_once(store: CountingStore) -> None:
    """It is asked for again, and what is wrong never enters the cache."""
    probe = CountingStore(store)
    far = opened(probe)
    check_all(far)
    calls = len(probe.calls)
    for number in range(1, calls + 1):
        shutil.rmtree(os.environ["DATAVER_CACHE_DIR"], ignore_errors=True)
        with suppress(DamagedError):
            check_all(opened(FaultyStore(store, {number: Fault.CORRUPT})))
        check_all(opened(store))


@pytest.mark.parametrize("cap", ["64M", "0"])
@pytest.mark.parametrize(("end_bytes", "block_bytes"), [(60, 1), (100, 4_000), (300, 100_000)])
def test_metadata_read_in_other_portions(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch, cap: str, end_bytes: int, block_bytes: int
) -> None:
    monkeypatch.setenv("DATAVER_CACHE_MAX", cap)
    monkeypatch.setattr(metadata_packs, "END_READ_BYTES", end_bytes)
    monkeypatch.setattr(metadata_packs, "READ_BYTES_MIN", block_bytes)
    monkeypatch.setattr(metadata_packs, "BLOCKS_KEPT_BYTES", 4 * block_bytes)
    check_all(opened(store))


def test_a_damaged_footer_keeps_nobody_from_reading(store: CountingStore) -> None:
    """It saves requests; the index says the same."""
    for info in [*store.list("packs/")]:
        data = bytearray(store.get(info.key))
        data[-30] ^= 1  # in the trailer
        data[-200] ^= 1
        store.inner.delete(info.key)
        store.put_new(info.key, bytes(data))
    check_all(opened(store))


def test_a_small_cap_holds_and_all_is_right(
    store: CountingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAVER_CACHE_MAX", "512KiB")
    repository = opened(store)
    for turn in range(3):
        check_all(repository)
        opened(store).checkout("iris", tmp_path / f"out{turn}")
        assert sum(path.stat().st_size for path in cache_files()) <= 512 << 10
        assert read(tmp_path / f"out{turn}") == WORLD
    assert cache_in_front(repository).cap_bytes == 512 << 10


def test_forked_processes_read_and_fill(store: CountingStore) -> None:
    version = opened(store).version("iris")
    version.read("small/000")
    children = []
    for _ in range(3):
        child = os.fork()
        if not child:
            try:
                # The store is in memory, so the child's own handle is over what it has of it.
                check_all(opened(store))
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    check_all(opened(store))
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    check_all(opened(store))


READER = """
import sys
from dataver.store.local import LocalStore
from tests.far import opened
version = opened(LocalStore(sys.argv[1])).version("iris")
print("begin", flush=True)
for _ in range(100):
    for entry in version.files():
        if entry.kind == "file":
            version.read(entry.path)
"""


def test_readers_that_are_killed(tmp_path: Path) -> None:
    local = LocalStore(tmp_path / "repository")
    write(tmp_path / "source", WORLD)
    repository = far_repository(local)
    repository.session.create()
    repository.commit("iris", tmp_path / "source")
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "DATAVER_CACHE_MAX": "1M"}
    for turn in range(3):
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", READER, str(tmp_path / "repository")],
                env=environment, cwd=PROJECT, stdout=subprocess.PIPE,
            )
            for _ in range(2)
        ]  # fmt: skip
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        time.sleep(0.03 * (turn + 1))
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        check_all(opened(local))


# Offline


def test_offline_reads_what_is_in_the_cache(store: CountingStore, tmp_path: Path) -> None:
    online = opened(store)
    online.version("iris").read("small/001")
    online.version("iris").read("large")
    store.reset()
    offline = opened(store, offline=True)
    version = offline.version("iris")
    assert version.name == "iris@v1"
    assert version.read("small/001") == WORLD[b"small/001"].data
    assert version.read("large") == WORLD[b"large"].data
    assert [info.name for info in offline.datasets()] == ["iris"]
    with pytest.raises(OfflineError, match=r"not in this machine's cache.*without --offline") as caught:
        version.read("images/001")
    assert caught.value.exit_code == 7
    assert store.calls == []


def test_offline_after_a_checkout_all_can_be_read(store: CountingStore, tmp_path: Path) -> None:
    opened(store).checkout("iris", tmp_path / "one")
    store.reset()
    check_all(opened(store, offline=True))
    opened(store, offline=True).checkout("iris", tmp_path / "two")
    assert read(tmp_path / "two") == WORLD
    assert store.calls == []


def test_offline_sees_the_newest_entry_that_was_seen(store: CountingStore, tmp_path: Path) -> None:
    reader = opened(store)
    reader.version("iris").read("large")
    (tmp_path / "more").write_bytes(b"more")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAVER_CACHE_DIR", str(tmp_path / "another machine"))
        opened(store).commit("iris", tmp_path / "more", add=True)
    assert opened(store, offline=True).version("iris").name == "iris@v1"
    reader.version("iris").read("more")
    assert opened(store, offline=True).version("iris").name == "iris@v2"
    assert opened(store, offline=True).version("iris").read("more") == b"more"


def test_offline_sees_what_was_committed_from_here(store: CountingStore, tmp_path: Path) -> None:
    (tmp_path / "more").write_bytes(b"more")
    opened(store).commit("iris", tmp_path / "more", add=True)
    assert opened(store, offline=True).version("iris").name == "iris@v2"


def test_offline_the_first_and_the_newest_entry_are_known(store: CountingStore) -> None:
    check_all(opened(store))
    store.reset()
    log = opened(store, offline=True).session.log
    assert [log.entry(number).entry.number for number in (0, 1)] == [0, 1]
    assert log.number_at(1 << 62) == log.tail().entry.number == 1
    assert list(log.state_at(0).datasets()) == []
    assert store.calls == []


def test_offline_nothing_is_written(store: CountingStore, tmp_path: Path) -> None:
    check_all(opened(store))
    store.reset()
    (tmp_path / "more").write_bytes(b"more")
    writes: list[Callable[[Repository], object]] = [
        lambda repository: repository.commit("iris", tmp_path / "more", add=True),
        lambda repository: repository.tag("iris", "paper"),
        lambda repository: repository.delete_dataset("iris"),
        lambda repository: repository.session.create(),
    ]
    for change in writes:
        with pytest.raises(OfflineError, match="cannot be written to offline"):
            change(opened(store, offline=True))
    assert store.calls == []


def test_offline_on_a_machine_that_knows_nothing(
    store: CountingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path / "another machine"))
    store.reset()
    with pytest.raises(OfflineError, match="log/0"):
        opened(store, offline=True)
    assert store.calls == []


def test_a_repository_that_was_removed_or_rolled_back(store: CountingStore, tmp_path: Path) -> None:
    check_all(opened(store))
    (tmp_path / "more").write_bytes(b"more")
    opened(store).commit("iris", tmp_path / "more", add=True)
    store.inner.delete("log/" + "2".zfill(20))
    with pytest.raises(RollbackError):
        opened(store).version("iris")
    for info in [*store.list("log/")]:
        store.inner.delete(info.key)
    with pytest.raises(RepositoryNotFoundError):
        opened(store)


# Over fsspec, as users have it


@pytest.fixture
def url(tmp_path: Path) -> str:
    write(tmp_path / "source", WORLD)
    url = f"bucket://{tmp_path}/repository"
    dataver.init(url).commit("iris", tmp_path / "source", message="first")
    return url


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_stores_of_fsspec_have_the_cache(url: str, tmp_path: Path) -> None:
    assert isinstance(open_store(url), CachedStore)
    check_all(dataver.open(url))
    shutil.move(tmp_path / "repository", tmp_path / "away")
    check_all(dataver.open(url, offline=True))
    check_all(pickle.loads(pickle.dumps(dataver.open(url, offline=True))))
    with pytest.raises(OfflineError):
        dataver.open(url + "-other", offline=True)


def test_offline_on_the_command_line(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("-R", url, "cat", "iris", "small/001").exit_code == 0
    shutil.move(tmp_path / "repository", tmp_path / "away")
    assert run("-R", url, "--offline", "cat", "iris", "small/001").stdout_bytes == WORLD[b"small/001"].data
    assert run("-R", url, "cat", "iris", "small/001", "--offline").exit_code == 0
    monkeypatch.setenv("DATAVER_OFFLINE", "1")
    assert run("-R", url, "cat", "iris", "small/001").stdout_bytes == WORLD[b"small/001"].data
    missing = run("-R", url, "cat", "iris", "large")
    assert missing.exit_code == 7
    assert "not in this machine's cache" in missing.stderr
    assert "without --offline" in missing.stderr
    refused = run("-R", url, "tag", "iris", "paper")
    assert refused.exit_code == 7
    assert "cannot be written to offline" in refused.stderr
    assert run("init", url + "-new").exit_code == 7
    assert not (tmp_path / "repository").exists()
    assert not (tmp_path / "repository-new").exists()


def test_offline_means_nothing_to_stores_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    dataver.init(str(tmp_path / "repository"))
    repository = dataver.open(str(tmp_path / "repository"), offline=True)
    repository.commit("iris", tmp_path / "file")
    assert repository.version("iris").read("file") == b"data"


def test_offline_through_fsspec(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_all(dataver.open(url))
    shutil.move(tmp_path / "repository", tmp_path / "away")
    monkeypatch.setenv("DATAVER_OFFLINE", "1")
    with fsspec.open("dataver://iris@v1/text", repo=url) as file:
        assert file.read() == WORLD[b"text"].data


def test_offline_as_an_option_of_fsspec(url: str, tmp_path: Path) -> None:
    check_all(dataver.open(url))
    shutil.move(tmp_path / "repository", tmp_path / "away")
    with fsspec.open("dataver://iris@v1/text", repo=url, offline=True) as file:
        assert file.read() == WORLD[b"text"].data
    offline = fsspec.filesystem("dataver", repo=url, offline=True)
    for system in (pickle.loads(pickle.dumps(offline)), AbstractFileSystem.from_json(offline.to_json())):
        assert system.cat("iris@v1/text") == WORLD[b"text"].data
    assert offline.storage_options["offline"] is True
    # One that may ask is none of those that are open offline.
    with pytest.raises(RepositoryNotFoundError):
        fsspec.filesystem("dataver", repo=url).cat("iris@v1/text")


def test_the_store_under_the_cache_keeps_the_probe(url: str) -> None:
    store = open_store(url)
    assert isinstance(store, CachedStore)
    assert type(store.inner).__name__ == "GuardedStore"
    assert not isinstance(FarStore(store), CachedStore)
