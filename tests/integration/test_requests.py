"""How many requests a remote repository is asked: every one costs what reading 256 KiB does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from dataver import repository as repository_module
from dataver.cli import main
from dataver.readers import datasets
from dataver.store import open_store
from dataver.store.base import Store
from dataver.store.cached import with_cache
from dataver.store.memory import MemoryStore
from dataver.testing.stores import READS, CountingStore
from tests.far import FarStore, far_repository, opened
from tests.worlds import noise

FILES = 100_000


def counted(store: CountingStore) -> tuple[int, int]:
    """Reads and writes since it was asked last. A suffix counts as two: Azure must be asked for the size."""
    reads = sum(call.method in READS for call in store.calls)
    writes = len(store.calls) - reads
    reads += store.counts["get_suffix"]
    store.reset()
    return reads, writes


def write_files(folder: Path, count: int) -> None:
    for number in range(count):
        if number % 1_000 == 0:
            (folder / f"{number // 1_000:03d}").mkdir(parents=True)
        (folder / f"{number // 1_000:03d}" / f"{number:06d}").write_bytes(noise(number, 8).hex().encode())


def path_of(number: int) -> str:
    return f"{number // 1_000:03d}/{number:06d}"


def data_of(number: int) -> bytes:
    return noise(number, 8).hex().encode()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """Go to a machine whose cache is empty."""

    def go() -> None:
        monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path / uuid4().hex))

    return go


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a memory store with one version of 100,000 files, committed at once."""
    folder = tmp_path_factory.mktemp("large")
    name = uuid4().hex
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAVER_CACHE_DIR", str(folder / "cache"))
        patch.setenv("DATAVER_AUTHOR", "Test Author <test@example.org>")
        write_files(folder / "files", FILES)
        repository = far_repository(MemoryStore(name))
        repository.session.create()
        assert repository.commit("iris", folder / "files").files == FILES
    return name


def copy_of(name: str) -> MemoryStore:
    """A store with the same objects, to be changed."""
    source, target = MemoryStore(name), MemoryStore(uuid4().hex)
    for info in source.list(""):
        target.put_new(info.key, source.get(info.key))
    return target


def test_a_commit_of_ten_thousand_small_files(tmp_path: Path) -> None:
    write_files(tmp_path / "files", 10_000)
    store = CountingStore(MemoryStore(uuid4().hex))
    repository = far_repository(store)
    repository.session.create()
    counted(store)
    repository.commit("iris", tmp_path / "files")
    reads, writes = counted(store)
    assert writes <= 20
    assert reads <= 10


def test_a_commit_of_one_changed_file(tmp_path: Path) -> None:
    """The first two are by a process that begins; every 64th writes a checkpoint, merges come too."""
    write_files(tmp_path / "files", 300)
    store = CountingStore(MemoryStore(uuid4().hex))
    far_repository(store).session.create()
    opened(store).commit("iris", tmp_path / "files")
    more = 0
    for turn in range(70):
        (tmp_path / "files" / path_of(7)).write_bytes(b"change %d" % turn)
        counted(store)
        repository = opened(store)
        repository.commit("iris", tmp_path / "files")
        reads, writes = counted(store)
        assert reads <= 15
        assert writes <= 7
        more += writes > 5
    assert 1 <= more <= 12


def read_cold(store: CountingStore, path: str, data: bytes) -> None:
    counted(store)
    repository = opened(store)
    assert repository.version("iris").read(path) == data


@pytest.mark.parametrize("number", [0, 31_415, 60_000, FILES - 1])
def test_reading_a_file_of_a_large_version(large: str, elsewhere: Callable[[], None], number: int) -> None:
    store = CountingStore(MemoryStore(large))
    elsewhere()
    read_cold(store, path_of(number), data_of(number))
    assert store.read_bytes <= 4 << 20
    reads, writes = counted(store)
    assert (reads <= 12, writes) == (True, 0)

    read_cold(store, path_of(number), data_of(number))
    assert counted(store) == (2, 0), "warm: is the newest entry what it was, and still the newest"


def test_reading_a_file_of_many_chunks(tmp_path: Path, elsewhere: Callable[[], None]) -> None:
    write_files(tmp_path / "files", 20_000)
    data = noise("long", 3 << 20)
    (tmp_path / "files" / "long").write_bytes(data)
    store = CountingStore(MemoryStore(uuid4().hex))
    repository = far_repository(store)
    repository.session.create()
    repository.commit("iris", tmp_path / "files")
    elsewhere()
    counted(store)
    with opened(store).version("iris").open("long") as file:
        file.seek(1 << 20)
        assert file.read(1_000) == data[1 << 20 : (1 << 20) + 1_000]
    assert counted(store)[0] <= 12
    assert opened(store).version("iris").read("long") == data
    assert counted(store)[0] <= 8


def test_after_two_hundred_commits(large: str, tmp_path: Path, elsewhere: Callable[[], None]) -> None:
    store = CountingStore(copy_of(large))
    elsewhere()
    repository = opened(store)
    for turn in range(200):
        (tmp_path / "change").write_bytes(b"change %d" % turn)
        repository.commit("iris", tmp_path / "change", add=True, into=f"050/{turn % 90}")
    wanted = {
        path_of(31_415): data_of(31_415),
        "050/19/change": b"change 199",
        path_of(50_500): data_of(50_500),
    }
    for path, data in wanted.items():
        elsewhere()
        read_cold(store, path, data)
        assert store.read_bytes <= 6 << 20
        reads, writes = counted(store)
        assert (reads <= 24, writes) == (True, 0)
        read_cold(store, path, data)
        assert counted(store) == (2, 0)


def test_cat_on_the_command_line(
    large: str, elsewhere: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CountingStore(MemoryStore(large))

    def open_far(*_: object, offline: bool = False, **__: object) -> Store:
        return with_cache(FarStore(store), offline=offline)

    monkeypatch.setattr(repository_module, "open_store", open_far)
    elsewhere()
    result = CliRunner().invoke(main, ["-R", "far://x", "cat", "iris", path_of(70_000)])
    assert result.stdout_bytes == data_of(70_000)
    assert store.read_bytes <= 4 << 20
    assert counted(store)[0] <= 12

    result = CliRunner().invoke(main, ["-R", "far://x", "--offline", "cat", "iris", path_of(70_000)])
    assert result.stdout_bytes == data_of(70_000)
    assert counted(store) == (0, 0)


def test_listing_all_files_reads_on_in_few_requests(large: str, elsewhere: Callable[[], None]) -> None:
    store = CountingStore(MemoryStore(large))
    elsewhere()
    assert sum(1 for _ in opened(store).version("iris").files()) == FILES
    size = store.read_bytes
    assert counted(store)[0] <= 18
    assert size <= 8 << 20
    assert sum(1 for _ in opened(store).version("iris").files()) == FILES
    assert counted(store) == (2, 0)


def test_another_checkout_is_from_the_cache(tmp_path: Path, elsewhere: Callable[[], None]) -> None:
    write_files(tmp_path / "files", 1_000)
    store = CountingStore(MemoryStore(uuid4().hex))
    repository = far_repository(store)
    repository.session.create()
    repository.commit("iris", tmp_path / "files")
    elsewhere()
    opened(store).checkout("iris", tmp_path / "one")
    counted(store)
    opened(store).checkout("iris", tmp_path / "two")
    assert counted(store)[0] <= 3
    assert (tmp_path / "two" / path_of(321)).read_bytes() == data_of(321)


def test_a_checkout_that_would_fill_the_cache_passes_it_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: Callable[[], None]
) -> None:
    monkeypatch.setenv("DATAVER_CACHE_MAX", "2M")
    (tmp_path / "files").mkdir()
    for number in range(20):
        (tmp_path / "files" / str(number)).write_bytes(noise(number, 100_000))
    store = CountingStore(MemoryStore(uuid4().hex))
    far_repository(store).session.create()
    opened(store).commit("iris", tmp_path / "files")
    elsewhere()
    assert opened(store).version("iris").read("0") == noise(0, 100_000)
    opened(store).checkout("iris", tmp_path / "out")
    assert (tmp_path / "out" / "19").read_bytes() == noise(19, 100_000)
    assert opened(store).version("iris").read("0") == noise(0, 100_000)
    counted(store)
    opened(store, offline=True).version("iris").read("0")
    opened(store).version("iris").read("19")
    assert counted(store)[0] > 2


def test_what_may_change_is_never_kept(tmp_path: Path) -> None:
    """Another process's commit is seen at once, though all that was before it is in the cache."""
    (tmp_path / "file").write_bytes(b"one")
    store = CountingStore(MemoryStore(uuid4().hex))
    far_repository(store).session.create()
    reader = opened(store)
    assert reader.datasets() == []
    for text in (b"one", b"two"):
        (tmp_path / "file").write_bytes(text)
        opened(store).commit("iris", tmp_path / "file")
        store.reset()
        assert reader.version("iris").read("file") == text
        assert any(call.key.startswith("log/") for call in store.calls)


def test_stores_on_this_machine_have_no_cache(tmp_path: Path) -> None:
    for url in (str(tmp_path / "repository"), f"memory://{uuid4().hex}"):
        assert type(open_store(url)).__name__ == "GuardedStore"


def test_neighbouring_columns_of_a_table_take_few_requests(
    tmp_path: Path, elsewhere: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file that is not too large to be held, all that a scan needs is asked for at once."""
    rng = np.random.default_rng(1)
    columns = {name: rng.random(1 << 18) for name in "abcde"}
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "data" / "t.parquet", row_group_size=1 << 16)
    store = CountingStore(MemoryStore(uuid4().hex))
    far_repository(store).session.create()
    opened(store).commit("t", tmp_path / "data")

    def scan() -> int:
        elsewhere()
        version = opened(store).version("t")
        counted(store)
        rows = sum(batch.num_rows for batch in version.dataset().to_batches(columns=["b", "c", "d"]))
        assert rows == 1 << 18
        return counted(store)[0]

    at_once = scan()
    monkeypatch.setattr(datasets, "AHEAD_BYTES_MAX", 0)
    assert at_once < scan()
