"""Local copies of many processes: what goes when room is short, who makes one, what the killed leave."""

from __future__ import annotations

import mmap
import multiprocessing
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from dataver.config import cache_folder
from dataver.errors import (
    OfflineError,
)
from dataver.readers import copies
from dataver.repository import Repository, init
from dataver.store.memory import MemoryStore
from dataver.testing.stores import CountingStore
from dataver.tree.manifest import Entry
from dataver.version import Version
from tests.far import far_repository, opened
from tests.local_copies import WORLD, begin_again, below, commit, places
from tests.worlds import FILE, Thing, World, noise, read, write


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return init(str(tmp_path / "repository"))


@pytest.fixture
def things(repository: Repository, tmp_path: Path) -> Version:
    return commit(repository, tmp_path / "data", WORLD)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The files that were hashed again."""
    found: list[bytes] = []
    compare = copies._stamp_if_right

    def noted(path: bytes, entry: Entry) -> bytes:
        found.append(entry.path)
        return compare(path, entry)

    monkeypatch.setattr(copies, "_stamp_if_right", noted)
    return found


# Room


def units() -> set[str]:
    return {path.name for unit in (places() / "units").iterdir() for path in unit.iterdir()}


def used_bytes() -> int:
    files = {path.stat().st_ino: path.stat().st_size for path in places().rglob("*") if path.is_file()}
    return sum(files.values())


@pytest.fixture
def parts(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Version:
    monkeypatch.setenv("DATAVER_COPIES_MAX", "1M")
    return commit(
        repository, tmp_path / "data", {b"%d" % n: Thing(FILE, noise(n, 300_000)) for n in range(10)}
    )


def test_what_was_used_longest_ago_goes_first(parts: Version) -> None:
    for name in "0123401":
        time.sleep(0.01)
        begin_again()
        parts.path(name)
    assert units() == {"4", "0", "1"}
    assert used_bytes() < (1 << 20) + 50_000
    for name in "4", "0", "1":
        assert parts.path(name).read_bytes() == noise(int(name), 300_000)


def test_what_this_process_uses_stays(parts: Version) -> None:
    given = [parts.path(str(number)) for number in range(10)]
    assert [path.read_bytes() for path in given] == [noise(number, 300_000) for number in range(10)]
    begin_again()
    parts.path("0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAVER_COPIES_MAX", "0")
        shutil.rmtree(places() / "units" / parts.path("3").parent.name)
        parts.path("3")
    assert units() == {"0", "3"}


def test_files_that_are_shared_count_once_and_stay(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashed: list[bytes]
) -> None:
    monkeypatch.setenv("DATAVER_COPIES_MAX", "1M")
    world: World = {b"base": Thing(FILE, noise("base", 600_000))}
    versions = [
        commit(repository, tmp_path / "data", {**world, b"n": Thing(FILE, noise(n, 50_000))})
        for n in range(12)
    ]
    for version in versions:
        begin_again()
        assert len(read(version.path())) == 2
    assert 5 < len([*(places() / "units").iterdir()]) < 12
    assert hashed == []
    assert versions[-1].path("base").stat().st_nlink > 5


def test_what_is_open_goes_on_after_its_removal(parts: Version) -> None:
    path = parts.path("0")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        begin_again()
        for name in "123":
            parts.path(name)
        assert not path.exists()
        assert mapped[:] == file.read() == noise(0, 300_000)


HOLDER = """
import sys
from dataver.repository import open_repository
path = open_repository(sys.argv[1]).version("vision/things").path("0")
print(path, flush=True)
sys.stdin.read()
"""


def test_what_another_process_uses_stays_until_it_ends(parts: Version) -> None:
    arguments = [sys.executable, "-c", HOLDER, parts.repository.url]
    holder = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    path = Path(holder.stdout.readline().strip())
    for name in "123":
        begin_again()
        parts.path(name)
    assert path.read_bytes() == noise(0, 300_000)
    assert parts.path("0") == path
    holder.kill()
    holder.communicate()
    for name in "456":
        begin_again()
        parts.path(name)
    assert not path.exists()
    assert len([*(places() / "leases").iterdir()]) == 1


# Many at once


def spawned(version: Version, path: str, ready: Any) -> tuple[str, int]:
    ready.wait()
    found = version.path(path)
    return str(found), (found / "big.bin").stat().st_ino


@pytest.mark.parametrize("way", ["spawn", "fork"])
def test_processes_at_once_make_one_copy(things: Version, way: str) -> None:
    if way == "fork":
        things.path("rows.csv")  # The parent has a lease and locks by then.
    context = multiprocessing.get_context(way)
    with context.Manager() as manager:
        ready = manager.Barrier(4)
        with warnings.catch_warnings(), context.Pool(4) as pool:
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads that a fork leaves behind
            found = pool.starmap(spawned, [(things, "", ready)] * 4)
    assert len(set(found)) == 1
    assert read(Path(found[0][0])) == WORLD
    assert [*(places() / "making").iterdir()] == []


def test_threads_at_once(things: Version, hashed: list[bytes]) -> None:
    paths = ["", "train", "big.bin", "rows.csv", "odd", "train/part-0.csv"] * 4
    random.Random(1).shuffle(paths)
    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(things.path, paths)]
    assert len(set(found)) == 6
    assert read(things.path()) == WORLD


def test_a_forked_process_of_a_busy_one(things: Version) -> None:
    script = """
import os, sys
from dataver.readers import shelf
from dataver.repository import open_repository

version = open_repository(sys.argv[1]).version("vision/things")
first = version.path("rows.csv").read_bytes()
place = shelf.shelf()
with place._thread_lock, shelf._shelves_lock:
    child = os.fork()
    if child == 0:
        same = version.path("rows.csv").read_bytes() == first
        os._exit(0 if same and version.path("big.bin").stat().st_size == 1_500_000 else 1)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    url = things.repository.url
    subprocess.run([sys.executable, "-W", "ignore", "-c", script, url], check=True, timeout=60)


KILLED = """
import sys
import dataver.readers.copies
from dataver.repository import open_repository
version = open_repository(sys.argv[1]).version("vision/things")
print("ready", flush=True)
version.path()
print("done", flush=True)
"""


def attack(repository: Repository, tmp_path: Path, kills: int) -> None:
    """Kill the one who makes a copy; the next makes it, and nothing of the others is left."""
    world = {**WORLD, **{b"many/%03d" % n: Thing(FILE, noise(n, 3_000)) for n in range(300)}}
    version = commit(repository, tmp_path / "data", world)
    rng = random.Random(kills)
    done = 0
    for _ in range(kills):
        arguments = [sys.executable, "-c", KILLED, repository.url]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0, 0.15))
            child.send_signal(signal.SIGKILL)
            done += child.stdout.readline() == b"done\n"
        if rng.random() < 0.3:
            assert read(version.path()) == world
            begin_again()
        if rng.random() < 0.5:
            for unit in (places() / "units").glob("*"):
                unit.rename(places() / "making" / f"killed-{uuid4().hex}")
    assert done < kills
    assert read(version.path()) == world
    assert [*(places() / "making").iterdir()] == []
    assert len([*(places() / "leases").iterdir()]) == 1


def test_a_killed_process(repository: Repository, tmp_path: Path) -> None:
    attack(repository, tmp_path, 8)


@pytest.mark.soak
def test_many_killed_processes(repository: Repository, tmp_path: Path) -> None:
    attack(repository, tmp_path, 200)


# Far away


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    store = CountingStore(MemoryStore(uuid4().hex))
    write(tmp_path / "source", WORLD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAVER_CACHE_MAX", "0")
        repository = far_repository(store)
        repository.session.create()
        repository.commit("iris", tmp_path / "source")
    return store


def test_a_copy_of_what_is_far_away_is_there_offline(store: CountingStore) -> None:
    root = opened(store).version("iris").path("odd")
    shutil.rmtree(cache_folder() / "objects")  # Whatever it had of the files.
    [*opened(store).version("iris").files()]
    store.calls.clear()
    offline = opened(store, offline=True).version("iris")
    assert offline.path("odd") == root
    assert read(root) == below(b"odd/")
    with pytest.raises(OfflineError):
        offline.path("big.bin")
    assert store.calls == []
