"""Versions and splits as data sets for PyTorch: real loaders, their workers, real ranks, files and errors."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

import dataver
from dataver.errors import BadInputError, DamagedError, PathNotFoundError
from dataver.loading.rows import TorchRows
from dataver.loading.sources import FileSource, read_many
from dataver.loading.stream import TorchStream
from dataver.repository import Repository, init, open_repository
from dataver.store.memory import MemoryStore
from dataver.testing.stores import CountingStore
from tests.far import far_repository
from tests.repositories import over
from tests.worlds import noise

if TYPE_CHECKING:
    from dataver.loading.order import Numbers
    from dataver.loading.sources import Block

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),  # on a machine with one core
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork"),
]

ROWS, FILES = 300, 24
SPLITS = """
kind = "hash"
keys = ["id"]
path = "rows"
parts = {train = 0.8, test = 0.2}
"""


def write(folder: Path) -> None:
    """Three tables of ten row groups together, some files, and a split."""
    (folder / "rows").mkdir(parents=True)
    for part in range(3):
        ids = range(100 * part, 100 * part + 100)
        table = pa.table(
            {
                "id": ids,
                "x": pa.array([n / 2 for n in ids], pa.float32()),
                "word": [f"w{n % 4}" for n in ids],
                "pair": pa.array([[n, -n] for n in ids], pa.list_(pa.int16(), 2)),
            }
        )
        pq.write_table(table, folder / "rows" / f"{part}.parquet", row_group_size=30)
    (folder / "images" / "more").mkdir(parents=True)
    for number in range(FILES):
        (folder / "images" / ("more" if number % 2 else "") / f"{number:02}.bin").write_bytes(
            bytes([number]) * 9
        )
    (folder / "images" / ".hidden").write_bytes(b"")
    (folder / "images" / "notes.txt").write_bytes(b"none of them")
    (folder / "images" / "again.bin").symlink_to("00.bin")
    (folder / "images" / "folder.bin").symlink_to("more")
    (folder / "csv").mkdir()
    for part in range(2):
        lines = "".join(f"{n},t{n}\n" for n in range(5 * part, 5 * part + 5))
        (folder / "csv" / f"{part}.csv").write_text(f"n,text\n{lines}")
    pq.write_table(pa.table({"id": pa.array([], pa.int64())}), folder / "empty.parquet")
    (folder / ".dataver-splits.toml").write_text(SPLITS)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A repository with one version, which no test changes."""
    root = tmp_path_factory.mktemp("torch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAVER_CACHE_DIR", str(root / "cache"))
        patch.setenv("DATAVER_AUTHOR", "Ada <ada@example.org>")
        write(root / "data")
        init(str(root / "repository")).commit("t", root / "data")
        yield root / "repository"


@pytest.fixture
def version(place: Path) -> dataver.Version:
    return open_repository(str(place)).version("t")


def ids(samples: Sequence[Any]) -> list[int]:
    return [int(number) for sample in samples for number in sample["id"].reshape(-1)]


# At random


def test_rows_by_number(version: dataver.Version) -> None:
    data = version.to_torch("rows")
    assert isinstance(data, TorchRows)
    assert len(data) == ROWS
    row = data[207]
    assert {name: getattr(value, "dtype", str) for name, value in row.items()} == {
        "id": torch.int64,
        "x": torch.float32,
        "word": str,
        "pair": torch.int16,
    }
    assert (row["id"].item(), row["x"].item(), row["word"], row["pair"].tolist()) == (
        207,
        103.5,
        "w3",
        [207, -207],
    )
    assert ids([data[-1], data[0], *data.__getitems__([299, 0, -300, 150, 0])]) == [299, 0, 299, 0, 0, 150, 0]
    for wrong in (ROWS, -ROWS - 1):
        with pytest.raises(IndexError, match="300 samples"):
            data[wrong]
    assert set(version.to_torch("rows/1.parquet", columns=["x"])[0]) == {"x"}
    assert len(version.to_torch("empty.parquet")) == 0
    doubled = version.to_torch("rows", columns=["id"], transform=lambda row: 2 * int(row["id"]))
    assert doubled.__getitems__([3, 1]) == [6, 2]


def test_what_a_batch_needs_is_read_once(place: Path) -> None:
    repository = open_repository(str(place))
    counting = CountingStore(repository.session.store)
    data = over(counting).version("t").to_torch("rows", columns=["id"], cache_bytes_max=2 * 30 * 8)
    loads: list[int] = []
    load = data._source.load

    def noted(groups: Numbers) -> Block:
        loads.extend(groups.tolist())
        return load(groups)

    data._source.load = noted  # type: ignore[method-assign]
    assert ids(data.__getitems__([5, 295, 7, 31, 3, 290])) == [5, 295, 7, 31, 3, 290]
    assert sorted(loads) == [0, 1, 11]
    assert len(data._blocks) == 2, "as many as the bound holds"
    counting.reset()
    data.__getitems__([299, 30])
    assert len(loads) == 3
    assert counting.calls == []


@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("spawn", 1)])
def test_a_loader_by_number_with_workers(version: dataver.Version, method: str, workers: int) -> None:
    data = version.to_torch("rows")
    assert data[0]["word"] == "w0", "so that a fork finds open what was read before"
    loader = DataLoader(data, 32, shuffle=True, num_workers=workers, multiprocessing_context=method)
    batches = list(loader)
    assert sorted(ids(batches)) == list(range(ROWS))
    assert batches[0]["pair"].shape == (32, 2)
    assert batches[0]["word"] == [f"w{int(n) % 4}" for n in batches[0]["id"]]


# One after the other


def test_a_stream_in_order(version: dataver.Version) -> None:
    stream = version.to_torch("rows", iterable=True)
    assert isinstance(stream, TorchStream)
    assert len(stream) == ROWS
    assert [int(row["id"]) for row in stream] == list(range(ROWS))
    batches = list(version.to_torch("rows", iterable=True, batch_size=128, columns=["id", "word"]))
    assert [batch["id"].tolist() for batch in batches] == [
        [*range(128)],
        [*range(128, 256)],
        [*range(256, 300)],
    ]
    assert batches[2]["word"][:2] == ["w0", "w1"]
    assert list(version.to_torch("empty.parquet", iterable=True, shuffle=True)) == []
    sums = version.to_torch("rows", iterable=True, batch_size=150, transform=lambda b: int(b["id"].sum()))
    assert list(sums) == [sum(range(150)), sum(range(150, 300))]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_loader_in_turn_with_workers(version: dataver.Version, method: str) -> None:
    stream = version.to_torch("rows", iterable=True, shuffle=True, seed=3, batch_size=16, window_rows=64)
    alone = ids(list(stream))
    loader = DataLoader(stream, None, num_workers=2, multiprocessing_context=method)
    batches = list(loader)
    assert [len(batch["id"]) for batch in batches] == [16] * 18 + [12]
    assert ids(batches) == alone
    assert sorted(alone) == list(range(ROWS))
    assert alone != list(range(ROWS))


def test_workers_that_stay_see_the_epoch(version: dataver.Version) -> None:
    stream = version.to_torch("rows", iterable=True, shuffle=True, batch_size=50)
    loader = DataLoader(stream, None, num_workers=1, persistent_workers=True)
    seen = []
    for epoch in (0, 1, 0):
        stream.set_epoch(epoch)
        seen.append(ids(list(loader)))
    assert seen[0] == seen[2] != seen[1]
    assert sorted(seen[1]) == list(range(ROWS))
    with pytest.raises(BadInputError, match="0 or more"):
        stream.set_epoch(-1)


def test_a_loader_with_workers_resumes(version: dataver.Version) -> None:
    def make() -> TorchStream:
        return version.to_torch("rows", iterable=True, shuffle=True, seed=5, batch_size=32)

    first = make()
    first.set_epoch(2)
    batches = list(DataLoader(first, None, num_workers=2))
    with pytest.raises(BadInputError, match=r"state_dict\(passed=N\)"):
        first.state_dict()
    state = first.state_dict(passed=3)
    assert pickle.loads(pickle.dumps(state)) == state
    for workers in (0, 1, 2):
        again = make()
        again.load_state_dict(state)
        again.set_epoch(2)
        assert ids(list(DataLoader(again, None, num_workers=workers))) == ids(batches[3:])
        again.set_epoch(3)
        assert len(ids(list(DataLoader(again, None, num_workers=workers)))) == ROWS
    again = make()
    again.load_state_dict(state)
    taken = iter(again)
    next(taken)
    assert again.state_dict() == {**first.state_dict(passed=4), "start": 3, "passed": 1}
    assert ids(list(taken)) == ids(batches[4:])
    assert len(ids(list(again))) == ROWS, "the next iteration begins at the start"


def test_states_of_other_streams_are_refused(version: dataver.Version) -> None:
    def make(path: str = "rows", **options: Any) -> TorchStream:
        return version.to_torch(path, iterable=True, **{"shuffle": True, "seed": 1, **options})

    state = make().state_dict()
    for other, name in (
        (make(seed=2), "seed=1"),
        (make(shuffle=False), "shuffle=True"),
        (make(batch_size=2), "batch_size=None"),
        (make("rows/0.parquet"), "source="),
        (make(window_rows=7), "window_rows=16384"),
    ):
        with pytest.raises(BadInputError, match=name):
            other.load_state_dict(state)
    malformed: list[tuple[str, Any]] = [("epoch", -1), ("lanes", 0), ("passed", "many"), ("ranks", None)]
    for name, value in malformed:
        with pytest.raises(BadInputError, match=f"malformed: {name}"):
            make().load_state_dict({**state, name: value})


def test_pickles_carry_the_id(tmp_path: Path) -> None:
    write(tmp_path / "data")
    repository = init(str(tmp_path / "repository"))
    repository.commit("t", tmp_path / "data")
    latest = repository.version("t@latest")
    kinds = (
        latest.to_torch("rows"),
        latest.to_torch("rows", iterable=True),
        latest.to_torch("images", format="files"),
    )
    data = [pickle.dumps(kind) for kind in kinds]
    for part in range(3):
        pq.write_table(pa.table({"id": [9]}), tmp_path / "data" / "rows" / f"{part}.parquet")
    for path in (tmp_path / "data" / "images").glob("*.bin"):
        path.unlink()
    repository.commit("t", tmp_path / "data")
    rows, stream, files = (pickle.loads(pickled) for pickled in data)
    assert (len(rows), int(rows[250]["id"])) == (ROWS, 250)
    assert ids(list(stream)) == list(range(ROWS))
    assert files[1]["bytes"] == bytes([2]) * 9 or files[0]["bytes"] == bytes(9)


# Ranks

RANK = """
import sys
import torch.distributed as dist
from torch.utils.data import DataLoader
import dataver

if __name__ == "__main__":
    place, rank, port, method = sys.argv[1:]
    stream = dataver.open(place).version("t").to_torch(
        "rows", iterable=True, shuffle=True, seed=8, batch_size=16, even="pad"
    )
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=int(rank), world_size=2)
    try:
        loader = DataLoader(stream, None, num_workers=1, multiprocessing_context=method)
        mine = [batch["id"].tolist() for batch in loader]
        found = [None, None]
        dist.all_gather_object(found, mine)
        if rank == "0":
            print(found)
    finally:
        dist.destroy_process_group()
"""


def test_ranks_of_torch_distributed(place: Path, version: dataver.Version, tmp_path: Path) -> None:
    """Each with a worker, one of which was forked and one spawned."""
    (tmp_path / "rank.py").write_text(RANK)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = Path(dataver.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), "RANK": "7", "WORLD_SIZE": "8"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "rank.py"), str(place), str(rank), str(port), method],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank, method in enumerate(["fork", "spawn"])
    ]
    output = [process.communicate(timeout=90)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    ranks: list[list[list[int]]] = eval(output[0])
    alone = [
        batch["id"].tolist()
        for batch in version.to_torch("rows", iterable=True, shuffle=True, seed=8, batch_size=16, lanes=8)
    ]
    assert ranks[0] == alone[::2]
    assert ranks[1] == [*alone[1::2], alone[0]]


def test_ranks_of_arguments_and_of_the_environment(
    version: dataver.Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [version.to_torch("rows", iterable=True, rank=rank, world_size=3) for rank in range(3)]
    assert [len(stream) for stream in given] == [100, 100, 100]
    assert sorted(ids([row for stream in given for row in stream])) == list(range(ROWS))
    plain = version.to_torch("rows", iterable=True)
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert len(plain) == ROWS, "one of the two is no rank"
    monkeypatch.setenv("RANK", "1")
    assert ids(list(plain)) == ids(list(given[1]))
    assert ids(list(given[2])) != ids(list(plain)), "what was given counts first"
    for rank, size in (("3", "3"), ("-1", "3"), ("one", "3")):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", size)
        with pytest.raises(BadInputError, match="RANK="):
            iter(plain)
    wrong_ones: list[dict[str, Any]] = [{"rank": 0}, {"world_size": 2}, {"rank": 2, "world_size": 2}]
    for wrong in wrong_ones:
        with pytest.raises(BadInputError, match="both are needed"):
            version.to_torch("rows", iterable=True, **wrong)


# Splits, files and other tables


def test_rows_of_a_split(version: dataver.Version) -> None:
    train, test = version.split("train"), version.split("test")
    expected = train.to_arrow(["id"])["id"].to_pylist()
    rows = train.to_torch(columns=["id", "x"])
    assert (len(rows), set(rows[0])) == (train.num_rows, {"id", "x"})
    assert ids(rows.__getitems__(range(len(rows)))) == expected
    assert ids(list(train.to_torch(iterable=True))) == expected
    streams = [
        view.to_torch(iterable=True, shuffle=True, batch_size=7, columns=["id"]) for view in (train, test)
    ]
    loaded = [ids(list(DataLoader(stream, None, num_workers=2))) for stream in streams]
    assert sorted(loaded[0]) == expected
    assert sorted(loaded[0] + loaded[1]) == list(range(ROWS))
    with pytest.raises(BadInputError, match="source="):
        train.to_torch(iterable=True).load_state_dict(test.to_torch(iterable=True).state_dict())
    with pytest.raises(BadInputError, match="no 'format'"):
        train.to_torch(format="csv")  # type: ignore[call-overload]


def test_files(version: dataver.Version) -> None:
    data = version.to_torch("images", format="files", include=["*.bin"])
    samples = data.__getitems__(range(len(data)))
    paths = [sample["path"] for sample in samples]
    assert len(paths) == FILES + 1
    assert paths == sorted(paths)
    for sample in samples:
        assert sample["bytes"] == version.read(sample["path"])
    assert "images/again.bin" in paths
    assert len(version.to_torch("images", format="files", exclude=["*.bin"])) == 1
    assert version.to_torch("images/00.bin", format="files")[0] == {
        "path": "images/00.bin",
        "bytes": bytes(9),
    }
    stream = version.to_torch(
        "images/more",
        iterable=True,
        format="files",
        shuffle=True,
        transform=lambda sample: sample["bytes"][0],
    )
    (batch,) = DataLoader(stream, 100)
    assert batch.tolist() != sorted(batch.tolist()) == list(range(1, FILES, 2))
    whole = version.to_torch("images/more", iterable=True, format="files", batch_size=5)
    assert [len(batch["bytes"]) for batch in DataLoader(whole, None, num_workers=2)] == [5, 5, 2]
    with pytest.raises(PathNotFoundError, match="no such files"):
        version.to_torch("images", format="files", include=["*.png"])
    with pytest.raises(BadInputError, match="'columns'"):
        version.to_torch("images", format="files", columns=["id"])
    with pytest.raises(BadInputError, match="'partitioning'"):
        version.to_torch("images", format="files", partitioning="hive")


def test_files_of_other_shapes_from_far_away(tmp_path: Path) -> None:
    """Small ones together, large ones and referenced ones each by itself; a damaged one is an error."""
    store = CountingStore(MemoryStore("far-files"))
    repository = far_repository(store)
    init_far(repository, tmp_path)
    version = repository.version("t")
    entries = [entry for _, entry in FileSource(version, "", (), ())._entries]
    data = read_many(version, entries)
    assert data == [(tmp_path / "data" / entry.path.decode()).read_bytes() for entry in entries]
    store.reset()
    small = [entry for entry in entries if entry.path.startswith(b"small")]
    fresh = far_repository(store.inner)
    assert read_many(fresh.version("t"), small) == [
        (tmp_path / "data" / entry.path.decode()).read_bytes() for entry in small
    ]
    assert len(store.calls) < len(small)


def init_far(repository: Repository, folder: Path) -> None:
    rng = np.random.Generator(np.random.SFC64(1))
    (folder / "data").mkdir()
    for number in range(40):
        (folder / "data" / f"small-{number}").write_bytes(str(number).encode() * 100)
    (folder / "data" / "large").write_bytes(rng.bytes(1 << 20))
    (folder / "data" / "nothing").write_bytes(b"")
    repository.session.create()
    repository.commit("t", folder / "data")


def test_damage_is_an_error_in_the_loader(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in "ab":
        (tmp_path / "data" / name).write_bytes(noise(name, 10_000))
    repository = init(str(tmp_path / "repository"))
    repository.commit("t", tmp_path / "data")
    for pack in (tmp_path / "repository" / "packs").glob("*/*"):
        data = bytearray(pack.read_bytes())
        at = data.find(noise("b", 10_000))
        if at >= 0:
            data[at] ^= 1
            pack.chmod(0o644)
            pack.write_bytes(data)
    files = open_repository(repository.url).version("t").to_torch(format="files")
    # Without workers: torch waits 5 s for one that met an error.
    loader = iter(DataLoader(files))
    assert next(loader)["bytes"] == [noise("a", 10_000)]
    with pytest.raises(DamagedError, match="digest"):
        next(loader)


def test_tables_that_are_not_parquet(version: dataver.Version) -> None:
    data = version.to_torch("csv", format="csv")
    assert len(data) == 10
    assert data[7] == {"n": torch.tensor(7), "text": "t7"}
    stream = version.to_torch("csv", iterable=True, format="csv", shuffle=True, batch_size=4)
    assert sorted(n for batch in stream for n in batch["n"].tolist()) == list(range(10))


def test_partitions_are_columns(tmp_path: Path) -> None:
    for year in (2024, 2025):
        (tmp_path / "data" / f"year={year}").mkdir(parents=True)
        pq.write_table(pa.table({"x": [year % 100] * 3}), tmp_path / "data" / f"year={year}" / "a.parquet")
    repository = init(str(tmp_path / "repository"))
    repository.commit("t", tmp_path / "data")
    data = repository.version("t").to_torch(partitioning="hive")
    assert [(int(row["x"]), int(row["year"])) for row in data.__getitems__(range(6))] == [
        *[(24, 2024)] * 3,
        *[(25, 2025)] * 3,
    ]


# What is refused


def test_options_that_do_not_fit(version: dataver.Version) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"shuffle": True}, "iterable=True; it has no 'shuffle'"),
        ({"columns": ["nothing"]}, "no column 'nothing'; its columns are id"),
        ({"columns": []}, "no column was asked for"),
        ({"colums": ["id"]}, "there is no option 'colums'"),
        ({"iterable": True, "seed": "x"}, "seed='x' is no whole number"),
        ({"iterable": True, "batch_size": 0}, "batch_size=0"),
        ({"iterable": True, "window_rows": -1}, "window_rows=-1"),
        ({"iterable": True, "lanes": 0}, "lanes=0"),
        ({"iterable": True, "even": "odd"}, "even='odd'"),
        ({"iterable": True, "drop_last": True}, "batch_size"),
        ({"fill": {"nothing": 0}}, "'nothing'"),
    ]
    for options, problem in wrong:
        with pytest.raises(BadInputError, match=problem):
            version.to_torch("rows", **options)
    with pytest.raises(PathNotFoundError, match="no parquet files"):
        version.to_torch("images")


def test_nulls_are_told_when_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    table = pa.table({"n": [1, 2, 3, None], "x": [None, 1.5, 2.5, 3.5]})
    pq.write_table(table, tmp_path / "data" / "a.parquet", row_group_size=2)
    repository = init(str(tmp_path / "repository"))
    repository.commit("t", tmp_path / "data")
    data = repository.version("t").to_torch()
    assert bool(data[0]["x"].isnan())
    with pytest.raises(BadInputError, match="'n' has nulls"):
        data[2]
    assert repository.version("t").to_torch(fill={"n": -1}, columns=["n"])[3] == {"n": torch.tensor(-1)}


def test_a_file_that_is_no_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.parquet").write_bytes(b"this claims to be a table")
    repository = init(str(tmp_path / "repository"))
    repository.commit("t", tmp_path / "data")
    with pytest.raises(BadInputError, match="cannot be read"):
        repository.version("t").to_torch()


def test_torch_is_imported_when_it_is_needed_and_named_when_it_is_missing(place: Path) -> None:
    script = """
import sys
sys.modules["torch"] = None  # what an import of it then meets is that it is not there
import dataver
from dataver.errors import BadInputError
version = dataver.open(sys.argv[1]).version("t")
assert version.num_rows("rows") == 300
for make in (lambda: version.to_torch("rows"), lambda: version.split("train").to_torch(iterable=True)):
    try:
        make()
    except BadInputError as error:
        print(error)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(dataver.__file__).parents[1])}
    command = [sys.executable, "-c", script, str(place)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("pip install 'dataver[torch]'" in line for line in lines)
    lazy = """
import sys, dataver
dataver.open(sys.argv[1]).version("t").split("train").num_rows
print("torch" in sys.modules)
"""
    command = [sys.executable, "-c", lazy, str(place)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"
