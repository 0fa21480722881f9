"""A version as a handle: bytes by path, by range and as files, links, tables, and life in other processes."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas
import pyarrow.compute
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from dataver.chunk_index import ChunkIndex
from dataver.errors import BadInputError, DamagedError, NotFoundError, PathNotFoundError
from dataver.reading import ListNode, StoredRanges
from dataver.repository import Repository, init, open_repository
from dataver.testing.stores import CountingStore
from dataver.tree.manifest import Entry, chunks_extra
from dataver.version import Version
from tests.worlds import EMPTY, FILE, LINK, Thing, World, noise, text, write

Use = Callable[[], object]

NOISE = noise("big", 1_500_000)
ROWS = text("rows", 1_200_000)
ODD = [
    "odd/new\nline",
    "odd/ü@#?*[1].csv",
    "odd/a b%20+",
    "odd/x::y",
    "odd/back\\slash",
    "odd/-",
    "odd/.hidden",
]

FILES: dict[str, bytes] = {
    "big.bin": NOISE,
    "rows.csv": ROWS,
    "small.txt": b"small\n",
    "empty": b"",
    "deep/er/file": b"deep",
    "deep.txt": b"sorts between deep and deep/er",
    **{name: name.encode() for name in ODD},
}
LINKS = {
    "to-file": "rows.csv",
    "to-folder": "deep/er",
    "deep/er/up": "../../small.txt",
    "to-link": "to-folder/up",
    # As POSIX says: `..` of a folder that was reached by a link is the parent of where it leads.
    "around": "to-folder/../../small.txt",
    "nowhere": "missing",
    "outside": "/etc/hostname",
    "above": "../small.txt",
    "circle-1": "circle-2",
    "circle-2": "circle-1",
}
WORLD: World = {
    **{path.encode(): Thing(FILE, data) for path, data in FILES.items()},
    **{path.encode(): Thing(LINK, target.encode()) for path, target in LINKS.items()},
    b"nothing/in/here": EMPTY,
    b"program": Thing(FILE, b"#!/bin/sh\n", executable=True),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A repository with a version of `WORLD`, which no test changes."""
    root = tmp_path_factory.mktemp("version")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAVER_CACHE_DIR", str(root / "cache"))
        patch.setenv("DATAVER_AUTHOR", "Ada <ada@example.org>")
        write(root / "data", WORLD)
        repository = init(str(root / "repository"))
        repository.commit("things", root / "data", message="all", tags=["first"], meta={"why": "tests"})
        yield root / "repository"


@pytest.fixture(scope="module")
def things(place: Path) -> Version:
    return open_repository(str(place)).version("things@v1")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository for one test."""
    return init(str(tmp_path / "repository"))


def commit(repository: Repository, folder: Path, world: dict[str, bytes]) -> Version:
    write(folder, {path.encode(): Thing(FILE, data) for path, data in world.items()})
    repository.commit("things", folder)
    return repository.version("things")


# What it is


def test_says_what_it_is(place: Path, things: Version) -> None:
    shown = open_repository(str(place)).show("things@first")
    assert (things.name, things.dataset_name) == ("things@v1", "things")
    assert (things.id, things.tree, things.time) == (shown.id, shown.tree, shown.time)
    assert things.info == shown
    assert (shown.message, shown.tags, shown.meta) == ("all", ["first"], {"why": "tests"})
    assert things.id[:16] in repr(things)
    assert str(place) in repr(things)


def test_equal_versions_are_equal(place: Path, things: Version) -> None:
    again = open_repository(str(place)).version(f"things@{things.id[:12]}")
    assert again == things
    assert len({again, things}) == 1


def test_stays_what_it_is_when_its_branch_moves(repository: Repository, tmp_path: Path) -> None:
    old = commit(repository, tmp_path / "data", {"a": b"1"})
    new = commit(repository, tmp_path / "data", {"a": b"2"})
    assert (old.name, new.name) == ("things@v1", "things@v2")
    assert (old.read("a"), new.read("a")) == (b"1", b"2")


def test_outlives_the_name_of_its_dataset(repository: Repository, tmp_path: Path) -> None:
    version = commit(repository, tmp_path / "data", {"a": NOISE})
    repository.rename("things", "others")
    assert version.read("a") == NOISE
    assert pickle.loads(pickle.dumps(version)).read("a") == NOISE


# Names


def test_files_are_listed_by_path_without_reading_them(place: Path) -> None:
    repository = open_repository(str(place))
    counting = CountingStore(repository.session.store)
    repository.session.store = counting
    files = list(repository.version("things").files())
    assert [file.path.encode() for file in files] == sorted(WORLD)
    assert counting.read_bytes < len(NOISE) / 10
    found = {file.path: file for file in files}
    for path, data in FILES.items():
        file = found[path]
        assert (file.kind, file.size, file.digest) == ("file", len(data), blake3(data).hexdigest())
    assert (found["nothing/in/here"].kind, found["to-file"].kind) == ("folder", "symlink")
    assert found["to-file"].size == len(LINKS["to-file"])
    assert found["program"].executable
    assert not found["small.txt"].executable


@pytest.mark.parametrize("prefix", ["deep", "deep/", "odd/", "deep/er/file", "zzz", "odd/new\n"])
def test_files_of_a_prefix(things: Version, prefix: str) -> None:
    expected = sorted(path for path in WORLD if path.startswith(prefix.encode()))
    assert [file.path.encode() for file in things.files(prefix)] == expected


def test_listing_of_folders(things: Version) -> None:
    top = things.listing()
    assert top.folders == ["deep", "nothing", "odd"]
    assert [f.path for f in top.files] == sorted(p for p in (*FILES, *LINKS, "program") if "/" not in p)
    assert things.listing("deep").folders == ["deep/er"]
    assert [f.path for f in things.listing("odd/").files] == sorted(ODD)
    assert things.listing("nothing/in").folders == ["nothing/in/here"]
    assert things.listing("nothing/in/here") == things.listing("nothing/in/here", recursive=True)
    assert things.listing("nothing/in/here").files == []
    assert [f.path for f in things.listing("deep", recursive=True).files] == ["deep/er/file", "deep/er/up"]
    assert [f.path for f in things.listing("to-folder").files] == ["deep/er/file", "deep/er/up"]
    assert [f.kind for f in things.listing("to-file").files] == ["symlink"]


@pytest.mark.parametrize("path", ["missing", "dee", "deep/er/file/below", "small.txt/x", "nothing/in/here/x"])
def test_what_is_not_there(things: Version, path: str) -> None:
    for look in (things.read, things.open, things.listing, things.entry, things.dataset):
        with pytest.raises(PathNotFoundError, match=path.partition("/")[0]):
            look(path)


@pytest.mark.parametrize("path", ["../small.txt", "/small.txt", "deep//er", "./small.txt", "a\0b", "\udcff"])
def test_paths_that_cannot_be(things: Version, path: str) -> None:
    for look in (things.read, things.open, things.listing):
        with pytest.raises(BadInputError):
            look(path)


@pytest.mark.parametrize("path", ["", "deep", "deep/", "nothing/in", "nothing/in/here", "to-folder"])
def test_a_folder_is_not_read(things: Version, path: str) -> None:
    for look in (things.read, things.open):
        with pytest.raises(BadInputError, match="folder"):
            look(path)


# Bytes


@pytest.mark.parametrize("path", FILES)
def test_reads_any_file(things: Version, path: str) -> None:
    assert things.read(path) == FILES[path]
    with things.open(path) as file:
        assert file.read() == FILES[path]
    with things.open(path) as file:
        assert b"".join(iter(lambda: file.read(50_000), b"")) == FILES[path]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("to-file", "rows.csv"),
        ("to-folder/file", "deep/er/file"),
        ("deep/er/up", "small.txt"),
        ("to-folder/up", "small.txt"),
        ("to-link", "small.txt"),
        ("around", "small.txt"),
    ],
)
def test_follows_links_within_the_version(things: Version, path: str, target: str) -> None:
    assert things.read(path) == FILES[target]
    assert things.open(path).read(7) == FILES[target][:7]
    assert things.read_ranges(path, [(1, 3)]) == [FILES[target][1:4]]


def test_links_that_lead_nowhere(things: Version) -> None:
    with pytest.raises(PathNotFoundError, match="leads to nothing"):
        things.read("nowhere")
    for path in ("outside", "above"):
        with pytest.raises(BadInputError, match="check it out to follow it"):
            things.read(path)
    with pytest.raises(BadInputError, match="circle"):
        things.read("circle-1")


RANGE = st.tuples(st.integers(0, len(NOISE) + 1000), st.integers(0, 400_000))


@given(st.sampled_from(["big.bin", "rows.csv", "small.txt", "empty", "to-file"]), st.lists(RANGE, max_size=6))
def test_ranges_are_slices(things: Version, path: str, ranges: list[tuple[int, int]]) -> None:
    data = FILES[LINKS.get(path, path)]
    assert things.read_ranges(path, ranges) == [data[start : start + length] for start, length in ranges]


OPERATION: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    st.tuples(st.just("seek"), st.integers(0, len(NOISE) + 100), st.just(io.SEEK_SET)),
    st.tuples(st.just("seek"), st.integers(-len(ROWS), 100), st.just(io.SEEK_END)),
    st.tuples(st.just("read"), st.one_of(st.integers(0, 300_000), st.just(-1))),
    st.tuples(st.just("read1"), st.integers(1, 1000)),
    st.tuples(st.just("readline")),
    st.tuples(st.just("readlines"), st.integers(1, 200)),
    st.tuples(st.just("tell")),
)


@given(st.sampled_from(["big.bin", "rows.csv", "small.txt", "empty"]), st.lists(OPERATION, max_size=12))
def test_a_file_behaves_as_buffered_files_do(
    things: Version, path: str, operations: list[tuple[object]]
) -> None:
    data = FILES[path]
    with things.open(path) as file:
        memory = io.BufferedReader(io.BytesIO(data))
        for operation in operations:
            name = str(operation[0])
            arguments: list[Any] = list(operation[1:])
            if name == "seek" and arguments[1] == io.SEEK_END:
                arguments = [max(arguments[0], -len(data)), io.SEEK_END]
            if name == "read1":
                # It may give less than is asked for, but only at the end nothing.
                got = file.read1(*arguments)
                assert got == memory.read(len(got))
                assert got or memory.tell() >= len(data)
                continue
            assert getattr(file, name)(*arguments) == getattr(memory, name)(*arguments)
        buffer, other = bytearray(70_000), bytearray(70_000)
        assert file.readinto(buffer) == memory.readinto(other)
        assert buffer == other


def test_a_file_says_what_it_is(things: Version) -> None:
    file = things.open("rows.csv")
    assert (file.name, file.mode, file.size) == ("rows.csv", "rb", len(ROWS))
    assert file.readable()
    assert file.seekable()
    assert not file.writable()
    with pytest.raises(io.UnsupportedOperation):
        file.write(b"x")
    with pytest.raises(ValueError, match="negative"):
        file.seek(-1)
    with pytest.raises(ValueError, match="whence"):
        file.seek(0, 9)


@pytest.mark.parametrize("path", ["rows.csv", "small.txt", "empty"])
def test_a_closed_file_is_closed(things: Version, path: str) -> None:
    file = things.open(path)
    file.read(3)
    file.close()
    file.close()
    assert file.closed
    uses: list[Use] = [file.read, file.tell, file.seekable, lambda: file.seek(0), lambda: next(file)]
    for use in uses:
        with pytest.raises(ValueError, match="closed"):
            use()


def test_text_and_lines(things: Version) -> None:
    with io.TextIOWrapper(things.open("rows.csv"), encoding="utf-8", newline="") as file:
        assert list(file) == ROWS.decode().splitlines(keepends=True)


def test_only_what_is_asked_for_is_read(place: Path) -> None:
    repository = open_repository(str(place))
    counting = CountingStore(repository.session.store)
    repository.session.store = counting
    version = repository.version("things")
    with version.open("big.bin") as file:
        file.read(1)
        counting.reset()
        for position in (700_000, 1_400_000, 100_000):
            file.seek(position)
            assert file.read(1000) == NOISE[position : position + 1000]
        # A chunk is 64 KiB on average and 256 KiB at most, and is read whole to be verified.
        assert counting.read_bytes < 3 * (256 << 10) + (64 << 10)
        counting.reset()
        file.seek(0)
        while file.read(10_000):
            pass
        # Nothing twice, however small the pieces are, and in a few large reads.
        assert counting.read_bytes < 1.2 * len(NOISE)
        assert len(counting.calls) < 12


def test_no_wrong_byte_is_ever_read(repository: Repository, tmp_path: Path) -> None:
    version = commit(repository, tmp_path / "data", {"big": NOISE})
    for pack in (tmp_path / "repository" / "packs").glob("*/*"):
        data = bytearray(pack.read_bytes())
        at = data.find(NOISE[800_000:800_100])
        if at >= 0:
            data[at + 50] ^= 1
            pack.chmod(0o644)
            pack.write_bytes(data)
    version = open_repository(repository.url).version("things")
    with version.open("big") as file:
        assert file.read(100_000) == NOISE[:100_000]
        file.seek(800_000)
        with pytest.raises(DamagedError, match="digest"):
            file.read(100)
        # Where nothing is wrong it still reads.
        file.seek(1_400_000)
        assert file.read() == NOISE[1_400_000:]
    reads: list[Use] = [
        lambda: version.read("big"),
        lambda: version.open("big").read(),
        lambda: version.open("big").read(1_000_000),
        lambda: version.read_ranges("big", [(0, 10), (800_010, 1)]),
        lambda: version.read_ranges("big", [(0, 1_500_000)]),
    ]
    for read in reads:
        with pytest.raises(DamagedError):
            read()
    assert version.read_ranges("big", [(0, 10), (1_400_000, 5)]) == [NOISE[:10], NOISE[1_400_000:1_400_005]]


def test_packs_that_were_written_anew_are_found(repository: Repository, tmp_path: Path) -> None:
    """A reader that is open while its packs are replaced by others reads on."""
    files = {"big": NOISE, "small": b"small"}
    commit(repository, tmp_path / "data", files)
    newer = commit(init(str(tmp_path / "newer")), tmp_path / "data", files)._reader.objects.index
    old_packs = list((tmp_path / "repository" / "packs").glob("*/*"))
    for folder in ("packs", "index"):
        shutil.copytree(tmp_path / "newer" / folder, tmp_path / "repository" / folder, dirs_exist_ok=True)
    for pack in old_packs:
        pack.unlink()
    reads: list[Callable[[Version, str], bytes]] = [
        lambda version, path: version.read(path),
        lambda version, path: version.open(path).read(800_000),
        lambda version, path: version.read_ranges(path, [(0, 9)])[0],
    ]
    for read in reads:
        for path, data in files.items():
            version = repository.version("things")
            with pytest.raises(DamagedError, match="missing"):
                read(version, path)
            index = ChunkIndex(repository.session.store, newer.names)
            version._reader.objects._refresh = lambda index=index: index
            found = read(version, path)
            assert found
            assert data.startswith(found)


def test_a_list_of_chunks_that_does_not_cover_the_file_is_damage(things: Version) -> None:
    objects = things._reader.objects
    digests = bytes(32) + bytes([1]) * 32
    inner = ListNode(1, [100, 300], digests)
    leaves = {bytes(32): ListNode(0, [60, 100], digests), bytes([1]) * 32: ListNode(0, [50], digests[32:])}
    lists = {**leaves, b"r" * 32: inner}
    entry = Entry(b"x", 0, False, 300, bytes(32), chunks_extra(b"r" * 32))
    ranges = StoredRanges(entry, objects, lists.__getitem__)
    for start, stop in ((120, 200), (0, 300), (90, 160), (250, 300)):
        with pytest.raises(DamagedError, match=r"cover|no index segment"):
            ranges.chunks(start, stop)
    deeper = {**lists, bytes(32): ListNode(1, [100], digests[32:])}
    with pytest.raises(DamagedError, match="level"):
        StoredRanges(entry, objects, deeper.__getitem__).chunks(0, 10)


def test_referenced_files(repository: Repository, tmp_path: Path) -> None:
    write(tmp_path / "data", {b"big": Thing(FILE, NOISE), b"small": Thing(FILE, b"small")})
    repository.commit("things", tmp_path / "data", reference=True)
    version = repository.version("things")
    assert version.read("big") == NOISE
    assert version.read_ranges("big", [(5, 10), (700_000, 3)]) == [NOISE[5:15], NOISE[700_000:700_003]]
    with version.open("big") as file:
        file.seek(1_000_000)
        assert file.read(10) == NOISE[1_000_000:1_000_010]
        file.seek(0)
        assert file.read() == NOISE
    (tmp_path / "data" / "big").write_bytes(NOISE[:-1] + b"!")
    reads: list[Use] = [lambda: version.read("big"), lambda: version.open("big").read(1)]
    for read in reads:
        with pytest.raises(DamagedError, match="changed"):
            read()


# Many at once, and elsewhere


def test_many_threads(things: Version) -> None:
    paths = [*FILES, "to-file", "to-folder/file"] * 6
    random.Random(3).shuffle(paths)

    def read(path: str) -> bool:
        data = FILES[{"to-file": "rows.csv", "to-folder/file": "deep/er/file"}.get(path, path)]
        start = len(data) // 3
        with things.open(path) as file:
            file.seek(start)
            part = file.read(1000)
        return things.read(path) == data and part == data[start : start + 1000]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, paths))


def test_one_file_in_many_threads(things: Version) -> None:
    """Each read gives bytes that stand together in the file, and all of them give all of it."""
    with things.open("big.bin") as file, ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda _: file.read(10_000), range(len(NOISE) // 10_000)))
    assert sorted(parts) == sorted(NOISE[at : at + 10_000] for at in range(0, len(NOISE), 10_000))


def test_pickles_carry_the_id(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commit(repository, tmp_path / "data", {"a": b"1"})
    version = open_repository("repository").version("things@latest")
    commit(repository, tmp_path / "data", {"a": b"2"})
    data = pickle.dumps(version)
    monkeypatch.chdir("/")
    again = pickle.loads(data)
    assert (again, again.name, again.read("a")) == (version, "things@v1", b"1")


def test_pickles_of_files_keep_their_position(things: Version) -> None:
    with things.open("rows.csv") as file:
        file.seek(123_456)
        again = pickle.loads(pickle.dumps(file))
        assert again.tell() == 123_456
        assert again.read(1000) == file.read(1000)


def test_another_process(things: Version) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        assert pool.apply(things.read, ("small.txt",)) == b"small\n"
        assert pool.apply(things.read_ranges, ("rows.csv", [(9, 20)])) == [ROWS[9:29]]


def test_a_forked_process(things: Version) -> None:
    """Also where another thread of the parent held the locks when it was forked."""
    script = """
import os, sys, threading
from dataver.repository import open_repository

version = open_repository(sys.argv[1]).version("things")
file = version.open("rows.csv")
file.read(1)
first = version.read("rows.csv")
objects = version._reader.objects
with objects._lock, objects.index._lock:
    child = os.fork()
    if child == 0:
        done = version.read("rows.csv") == first and version.read("big.bin")[:1] and version.info.files
        os._exit(0 if done else 1)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    url = things.repository.url
    subprocess.run([sys.executable, "-W", "ignore", "-c", script, url], check=True, timeout=60)


# Tables


@pytest.fixture
def tables(repository: Repository, tmp_path: Path) -> Version:
    root = tmp_path / "tables"
    for number in range(3):
        part = root / "train" / f"part-{number}.parquet"
        part.parent.mkdir(parents=True, exist_ok=True)
        rows = range(number * 1000, number * 1000 + 1000)
        pandas.DataFrame({"id": rows, "name": [f"row {n}" for n in rows]}).to_parquet(part)
    for name in ("_delta_log/1.checkpoint.parquet", ".tmp/a.parquet", "_metadata"):
        (root / "train" / name).parent.mkdir(exist_ok=True)
        (root / "train" / name).write_bytes(b"not a table")
    for year in (2024, 2025):
        (root / "by-year" / f"year={year}").mkdir(parents=True)
        pandas.DataFrame({"x": [year, year]}).to_parquet(root / "by-year" / f"year={year}" / "a.parquet")
    (root / "csv").mkdir()
    (root / "csv" / "a.csv").write_text("a,b\n1,2\n")
    os.symlink("train", root / "link")
    (root / "empty").mkdir()
    repository.commit("things", root)
    return repository.version("things")


def test_tables_of_a_folder(tables: Version) -> None:
    for path in ("train", "train/", "link/"):
        table = tables.to_arrow(path)
        assert table.num_rows == 3000
        assert sorted(table["id"].to_pylist()) == list(range(3000))
    assert tables.to_arrow("train/part-1.parquet")["id"].to_pylist() == list(range(1000, 2000))


def test_some_columns_of_tables(tables: Version) -> None:
    names = tables.to_arrow("train/").column_names
    for read in (tables.to_arrow, tables.to_pandas, tables.to_polars):
        for one in ("id", ["id"]):
            assert read("train/", columns=one).shape == (3000, 1)
        with pytest.raises(BadInputError, match=f"no column 'nothing'; its columns are {', '.join(names)}$"):
            read("train/", columns=["id", "nothing"])
    assert tables.to_polars("train/", columns="id", lazy=True).collect().shape == (3000, 1)
    assert tables.to_arrow("csv", columns="b", format="csv").to_pydict() == {"b": [2]}


def test_what_is_no_table_is_bad_input(repository: Repository, tmp_path: Path) -> None:
    version = commit(repository, tmp_path / "data", {"no.parquet": b"no table", "empty.parquet": b""})
    for path in ("no.parquet", "empty.parquet", ""):
        for read in (version.dataset, version.to_arrow, version.to_pandas):
            with pytest.raises(
                BadInputError, match=r"the tables of things@v1 cannot be read: .*'\w+\.parquet'"
            ):
                read(path)


def test_a_dataset_is_lazy(tables: Version) -> None:
    dataset = tables.dataset("train/")
    assert len(dataset.files) == 3
    assert dataset.schema.names == ["id", "name"]
    condition = pyarrow.compute.field("id") >= 2998
    assert dataset.to_table(columns=["name"], filter=condition).to_pydict() == {
        "name": ["row 2998", "row 2999"]
    }
    assert pickle.loads(pickle.dumps(dataset)).count_rows() == 3000


def test_datasets_of_other_kinds(tables: Version) -> None:
    by_year = tables.dataset("by-year", partitioning="hive").to_table()
    assert sorted(by_year["year"].to_pylist()) == [2024, 2024, 2025, 2025]
    assert tables.dataset("csv", format="csv").to_table().to_pydict() == {"a": [1], "b": [2]}


@pytest.mark.parametrize("path", ["empty", "csv", "missing", "train/missing"])
def test_no_tables(tables: Version, path: str) -> None:
    with pytest.raises(NotFoundError, match=path):
        tables.to_arrow(path)


def test_no_tables_at_all(repository: Repository, tmp_path: Path) -> None:
    version = commit(repository, tmp_path / "data", {"note.txt": b"no table"})
    for read in (version.to_arrow, version.to_pandas, version.num_rows, version.stats):
        with pytest.raises(PathNotFoundError, match=r"^things@v1 has no [Pp]arquet files$"):
            read()


def test_checkout(tables: Version, tmp_path: Path) -> None:
    result = tables.checkout(tmp_path / "out", include=["csv/**"])
    assert result.files == 1
    assert (tmp_path / "out" / "csv" / "a.csv").read_text() == "a,b\n1,2\n"
