"""The cache on disk: what it gives was put, it stays below its cap, and nothing on the disk breaks it."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.hashing import blake3_digest
from dataver.store import disk_cache
from dataver.store.disk_cache import DiskCache
from tests.worlds import noise

PROJECT = Path(__file__).parents[2]
CAP_BYTES = 8 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(folder: Path) -> DiskCache:
    return DiskCache(folder, CAP_BYTES)


def fill(cache: DiskCache, seed: object, count: int, length: int = 10_000) -> list[bytes]:
    """Put so many records; their digests."""
    digests: list[bytes] = []
    for number in range(count):
        data = noise((seed, number), length)
        digests.append(blake3_digest(data))
        cache.put(digests[-1], data)
    return digests


def right(cache: DiskCache, digests: list[bytes]) -> int:
    """How many are there; what is there must be right."""
    count = 0
    for digest in digests:
        data = cache.get(digest)
        if data is not None:
            assert blake3_digest(data) == digest
            count += 1
    return count


def size_of(folder: Path) -> int:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return sum(sizes)


def slabs(folder: Path) -> list[Path]:
    return sorted(folder.glob("objects/slabs/*"))


def test_it_gives_what_was_put(cache: DiskCache, folder: Path) -> None:
    digests = fill(cache, "a", 50)
    assert cache.get(blake3_digest(b"never put")) is None
    assert right(cache, digests) == 50
    assert right(DiskCache(folder, CAP_BYTES), digests) == 50
    assert right(pickle.loads(pickle.dumps(cache)), digests) == 50
    assert len(slabs(folder)) < 5, "records share files"


@pytest.mark.parametrize("length", [1, 4_095, 70_000, 200_000, CAP_BYTES // 5])
def test_records_of_all_sizes(cache: DiskCache, length: int) -> None:
    digests = fill(cache, "b", 3, length)
    assert right(cache, digests) == 3


def test_a_record_that_takes_too_much_of_the_cap_is_not_kept(cache: DiskCache) -> None:
    assert right(cache, fill(cache, "c", 1, CAP_BYTES // 3)) == 0


def test_large_records_are_mapped(cache: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_cache, "MAP_BYTES_MIN", 100_000)
    assert right(cache, fill(cache, "d", 2, 150_000)) == 2


@pytest.mark.parametrize("length", [500, 30_000, 300_000])
def test_the_cap_holds_over_everything_in_the_folder(cache: DiskCache, folder: Path, length: int) -> None:
    for part in range(6):
        fill(cache, part, min(3 * CAP_BYTES // length // 6, 5_000), length)
        assert size_of(folder) <= CAP_BYTES
    assert size_of(folder) > CAP_BYTES // 2 or length == 500


def test_what_was_used_last_stays_longest(
    cache: DiskCache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_cache, "TOUCH_S", 0.0)
    old = fill(cache, "old", 20)
    other = fill(cache, "other", 200)
    for part in range(8):
        assert right(cache, old) == 20
        fill(cache, part, 100)
        time.sleep(0.02)  # the clock of file times is coarse
    assert right(cache, old) == 20
    assert right(cache, other[20:]) == 0, "the first ones share a file with what was used"


def test_a_smaller_cap_takes_away_what_is_too_much(cache: DiskCache, folder: Path) -> None:
    fill(cache, "e", 600)
    smaller = DiskCache(folder, CAP_BYTES // 4)
    digests = fill(smaller, "f", 20)
    del cache
    assert right(smaller, digests) == 20
    fill(smaller, "g", 20, 60_000)
    assert size_of(folder) <= CAP_BYTES // 2


def test_threads_share_it(cache: DiskCache, folder: Path) -> None:
    found: list[int] = []

    def work(number: int) -> None:
        digests = fill(cache, number % 3, 100)
        found.append(right(cache, digests))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [100] * 8
    assert size_of(folder) <= CAP_BYTES


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_a_miss_and_no_more(
    tmp_path_factory: pytest.TempPathFactory, place: float, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("flips")
    cache = DiskCache(folder, 1 << 20)
    digests = fill(cache, "h", 20, 2_000)
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    at = int(place * sum(path.stat().st_size for path in files))
    for path in files:
        size = path.stat().st_size
        if at < size:
            data = bytearray(path.read_bytes())
            data[at] ^= 1 << bit
            path.write_bytes(data)
            break
        at -= size
    assert right(cache, digests) >= 19
    again = fill(cache, "h", 20, 2_000)
    assert right(cache, again) == 20
    shutil.rmtree(folder)


def test_every_byte_of_a_record_counts(cache: DiskCache, folder: Path) -> None:
    (digest,) = fill(cache, "i", 1, 300)
    (slab,) = slabs(folder)
    whole = slab.read_bytes()
    for at in range(len(whole)):
        slab.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        assert cache.get(digest) is None, at
        slab.write_bytes(whole[:at])
        assert cache.get(digest) is None, at
    slab.write_bytes(whole)
    assert right(cache, [digest]) == 1


def test_garbage_in_place_of_the_table_or_a_slab(cache: DiskCache, folder: Path) -> None:
    digests = fill(cache, "j", 20)
    (table,) = folder.glob("objects/table-*")
    table.write_bytes(os.urandom(table.stat().st_size))
    assert right(cache, digests) == 0
    table.write_bytes(b"")
    assert right(cache, digests) == 0
    assert right(cache, fill(cache, "j", 20)) == 20
    (folder / "objects/slabs/ffffffff").mkdir()
    (folder / "objects/slabs/not a slab").write_bytes(b"?")
    assert right(cache, fill(cache, "k", 20)) == 20


def test_the_folder_is_removed_while_it_is_open(cache: DiskCache, folder: Path) -> None:
    digests = fill(cache, "l", 20)
    shutil.rmtree(folder)
    assert right(cache, digests) == 0
    assert right(cache, fill(cache, "l", 20)) == 20
    assert right(DiskCache(folder, CAP_BYTES), digests) == 20, "what is put is in the new folder"


def test_the_folder_becomes_unwritable(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(tempfile.mkdtemp())  # not `tmp_path`, which another user cannot look into
    monkeypatch.setattr(disk_cache, "TOUCH_S", 0.0)
    cache = DiskCache(folder, CAP_BYTES)
    digests = fill(cache, "m", 20)
    fresh = DiskCache(folder, CAP_BYTES)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    child = os.fork()
    if not child:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)  # root may write everywhere
            fill(fresh, "n", 5)
            fill(cache, "n", 200)
            good = right(fresh, digests) == 20 and right(cache, digests) == 20
            os._exit(0 if good else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o700)
    shutil.rmtree(folder)


def test_a_place_where_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = DiskCache(tmp_path / "file" / "cache", CAP_BYTES)
    assert right(cache, fill(cache, "o", 3)) == 0


def test_a_disk_that_refuses_is_left_alone_for_a_while(
    cache: DiskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = fill(cache, "p", 5)
    calls = 0

    def full(fd: int, buffers: object) -> int:
        nonlocal calls
        calls += 1
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", full)
        lost = fill(cache, "q", 10)
    assert calls == 1
    assert right(cache, digests) == 5
    assert right(cache, lost) == 0
    monkeypatch.setattr(disk_cache, "PAUSE_S", 0.0)
    cache._silent_until = 0.0
    assert right(cache, fill(cache, "q", 10)) == 10


def test_a_large_record_that_does_not_fit_on_the_disk_leaves_nothing(
    cache: DiskCache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, buffer: object, at: int) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        assert right(cache, fill(cache, "s", 1, 300_000)) == 0
    assert slabs(folder) == []


FILLER = """
import sys
from dataver.hashing import blake3_digest
from dataver.store.disk_cache import DiskCache
from tests.worlds import noise
folder, cap, first, count, length = sys.argv[1], *map(int, sys.argv[2:])
cache = DiskCache(folder, cap)
print("begin", flush=True)
for number in range(first, first + count):
    data = noise(number % 60 if count > 10_000 else number, length)
    cache.put(blake3_digest(data), data)
"""


def filler(folder: Path, cap: int, first: int, count: int, length: int) -> subprocess.Popen[bytes]:
    arguments = [str(folder), *map(str, (cap, first, count, length))]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(
        [sys.executable, "-c", FILLER, *arguments], env=environment, stdout=subprocess.PIPE, cwd=PROJECT
    )


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def numbered(numbers: range, length: int) -> list[bytes]:
    return [blake3_digest(noise(number, length)) for number in numbers]


def test_two_processes_fill_it_at_once(folder: Path, started: list[subprocess.Popen[bytes]]) -> None:
    started += [filler(folder, CAP_BYTES, first, 100, 20_000) for first in (0, 50)]
    for process in started:
        assert process.wait(60) == 0
    cache = DiskCache(folder, CAP_BYTES)
    assert right(cache, numbered(range(150), 20_000)) == 150


def test_the_cap_holds_under_several_processes(folder: Path, started: list[subprocess.Popen[bytes]]) -> None:
    started += [filler(folder, CAP_BYTES, 10_000 * first, 1_200, 20_000) for first in range(4)]
    most = 0
    while any(process.poll() is None for process in started):
        try:
            most = max(most, size_of(folder))
        except FileNotFoundError:
            continue  # a slab went while it was looked at
        time.sleep(0.005)
    assert [process.returncode for process in started] == [0] * 4
    assert CAP_BYTES // 2 < most <= CAP_BYTES
    assert size_of(folder) <= CAP_BYTES


@pytest.mark.parametrize("length", [700, 100_000])
def test_a_kill_in_the_middle_of_filling(
    folder: Path, started: list[subprocess.Popen[bytes]], length: int
) -> None:
    for turn in range(4):
        process = filler(folder, CAP_BYTES, 0, 100_000, length)
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.05 * (turn + 1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        cache = DiskCache(folder, CAP_BYTES)
        assert right(cache, numbered(range(60), length)) > 0
        fill(cache, turn, 20, length)
        assert right(cache, fill(cache, turn, 20, length)) == 20
        assert size_of(folder) <= CAP_BYTES


def test_a_forked_process_fills_a_slab_of_its_own(cache: DiskCache, folder: Path) -> None:
    fill(cache, "r", 5)
    child = os.fork()
    if not child:
        try:
            good = right(cache, fill(cache, "child", 50)) == 50 and right(cache, fill(cache, "r", 5)) == 5
            os._exit(0 if good else 1)
        finally:
            os._exit(2)
    mine = fill(cache, "parent", 50)
    assert os.waitpid(child, 0)[1] == 0
    assert right(cache, mine) == 50
    assert right(cache, [blake3_digest(noise(("child", number), 10_000)) for number in range(50)]) == 50
