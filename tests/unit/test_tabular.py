"""The tables of versions: statistics where they are kept, what damages them, and rows that differ."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from dataver import tabular
from dataver.cli import main
from dataver.config import cache_folder
from dataver.errors import BadInputError, DamagedError, PathNotFoundError
from dataver.format.table_statistics import FileStatistics, encode, statistics_key
from dataver.keys import pack_key
from dataver.repository import Repository, init, open_repository
from dataver.tables import cache
from dataver.tables.rows import compare_rows
from dataver.tables.statistics import file_statistics
from dataver.tables.view import view
from dataver.testing.stores import CountingStore
from tests.damage import flip, place_of, the_one
from tests.repositories import memory_repository, over

NAMES = count()
Write = Callable[..., None]


@pytest.fixture
def repository() -> Repository:
    return init(f"memory://tables-{next(NAMES)}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def table(start: int = 0, rows: int = 1000) -> pa.Table:
    ids = np.arange(start, start + rows)
    return pa.table({"id": ids, "x": np.sqrt(ids), "kind": [f"k{n % 3}" for n in ids]})


def put(folder: Path, name: str, content: pa.Table, **options: Any) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    pq.write_table(content, folder / name, **options)


def never(*_: object) -> Any:
    raise AssertionError("a file was read for statistics that are at hand")


# Where statistics come from


def test_statistics_are_kept_with_the_commit_and_read_without_the_file(
    repository: Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, "a.parquet", table())
    repository.commit("t", folder, stats=True)
    monkeypatch.setattr(tabular, "_computed", never)
    found = Repository(repository.url).version("t").stats()
    assert found == view(file_statistics(io.BytesIO((folder / "a.parquet").read_bytes())))
    assert found.column("kind").distinct == 3


def test_without_them_they_are_computed_once(
    repository: Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, "a.parquet", table())
    repository.commit("t", folder)
    first = repository.version("t").stats("a.parquet")
    monkeypatch.setattr(tabular, "_computed", never)
    assert repository.version("t").stats("a.parquet") == first
    assert first.column("id").max == 999


def test_what_the_cache_holds_is_checked(repository: Repository, folder: Path) -> None:
    put(folder, "a.parquet", table())
    repository.commit("t", folder)
    version = repository.version("t")
    right, digest = version.stats(), version.entry("a.parquet").digest
    assert cache.load(digest) is not None
    (slab,) = (cache_folder() / "statistics" / "objects" / "slabs").iterdir()
    data = slab.read_bytes()
    for damaged in (b"", data[:-1], bytes([*data[:200], data[200] ^ 1, *data[201:]])):
        slab.write_bytes(damaged)
        assert cache.load(digest) is None
        assert version.stats() == right
    shutil.rmtree(cache_folder() / "statistics")
    (cache_folder() / "statistics").write_bytes(b"")
    assert version.stats() == right


def test_a_record_of_another_file_is_none(repository: Repository, folder: Path) -> None:
    """Whoever vouched for it: the record says of which file it is."""
    put(folder, "a.parquet", table())
    repository.commit("t", folder)
    version = repository.version("t")
    right, digest = version.stats(), version.entry("a.parquet").digest
    cache.save(bytes(32), encode(bytes(32), FileStatistics(rows=1)))
    cache.save(digest, encode(bytes(32), FileStatistics(rows=1)))
    assert cache.load(bytes(32)) == FileStatistics(rows=1)
    assert cache.load(digest) is None
    assert version.stats() == right


def test_the_cache_of_statistics_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is used again and again stays; of the others the last ones are there."""
    cap = 4 << 20
    monkeypatch.setattr(cache, "CACHE_BYTES_MAX", cap)
    records = {bytes([n]) * 32: FileStatistics(rows=n, reason="x" * 60_000) for n in range(150)}
    cache.save(bytes([0]) * 32, encode(bytes([0]) * 32, records[bytes([0]) * 32]))
    for digest, record in records.items():
        cache.save(digest, encode(digest, record))
    below = cache_folder() / "statistics"
    assert sum(path.stat().st_size for path in below.rglob("*") if path.is_file()) <= cap
    there = [digest[0] for digest in records if cache.load(digest) is not None]
    assert 10 < len(there) < 100
    assert there[-1] == 149
    assert there == sorted(there)


def test_they_are_no_part_of_a_version(folder: Path) -> None:
    put(folder, "a.parquet", table())
    ids = []
    for stats in (False, True):
        repository = init(f"memory://tables-{next(NAMES)}")
        done = repository.commit("t", folder, stats=stats, time="2026-01-01T00:00:00Z")
        ids.append((done.id, done.tree))
    assert ids[0] == ids[1]


def test_an_append_computes_the_new_file_alone(
    repository: Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, "train/a.parquet", table())
    repository.commit("t", folder, stats=True)
    first = repository.version("t").entry("train/a.parquet").digest
    place = repository.session.index().find(statistics_key(first))
    put(folder, "train/b.parquet", table(1000, 500))
    repository.commit("t", folder, stats=True)
    assert repository.session.index().find(statistics_key(first)) == place
    monkeypatch.setattr(tabular, "_computed", never)
    found = repository.version("t").stats("train")
    assert (found.files, found.rows, found.column("id").max) == (2, 1500, 1499)
    assert found.column("id").mean == pytest.approx(749.5)


def test_the_same_file_elsewhere_needs_nothing_new(repository: Repository, folder: Path) -> None:
    put(folder, "a.parquet", table())
    repository.commit("t", folder, stats=True)
    before = len(list(repository.session.store.list("packs/")))
    (folder / "b.parquet").write_bytes((folder / "a.parquet").read_bytes())
    repository.commit("t", folder, stats=True)
    # One pack of nodes.
    assert len(list(repository.session.store.list("packs/"))) == before + 1
    assert repository.version("t").stats().rows == 2000


@pytest.mark.parametrize("reference", [False, True])
def test_sources_of_other_kinds(repository: Repository, folder: Path, reference: bool) -> None:
    import fsspec

    put(folder, "a.parquet", table(rows=200_000))
    name = f"/source-{next(NAMES)}"
    memory = fsspec.filesystem("memory")
    memory.pipe(f"{name}/a.parquet", (folder / "a.parquet").read_bytes())
    repository.commit("t", f"memory:/{name}", stats=True, reference=reference)
    memory.rm(name, recursive=True)
    assert repository.version("t").stats().rows == 200_000


def test_a_file_that_changes_meanwhile_has_none(
    repository: Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is recorded is of the very bytes that were committed, or nothing is."""
    from dataver.tables import collect

    put(folder, "a.parquet", table())
    real = collect._record

    def changing(*arguments: Any) -> bytes | None:
        put(folder, "a.parquet", table(5))
        return real(*arguments)

    monkeypatch.setattr(collect, "_record", changing)
    repository.commit("t", folder, stats=True)
    version = repository.version("t")
    assert repository.session.index().find(statistics_key(version.entry("a.parquet").digest)) is None
    assert version.stats().column("id").min == 0


# Damage


@pytest.mark.parametrize("pulling", [False, True])
def test_a_copy_of_a_version_has_its_statistics_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, pulling: bool
) -> None:
    here, there = memory_repository(), memory_repository()
    put(folder, "a.parquet", table())
    put(folder, "below/b.PARQUET", table(5))
    here.commit("t", folder, stats=True)
    put(folder, "c.parquet", table(9))
    here.commit("t", folder)  # without
    _ = there.pull(source=here) if pulling else here.push(to=there)
    monkeypatch.setattr(tabular, "_computed", never)
    version = Repository(there.url).version("t")
    assert tabular.file_statistics(version, ["c.parquet"], compute=False) == [None]
    for path in ("a.parquet", "below/b.PARQUET"):
        assert version.stats(path) == here.version("t").stats(path)
    assert there.verify(deep=True).ok
    index = there.session.index()
    of_statistics = index.find(statistics_key(version.entry("a.parquet").digest))
    of_version = index.find(bytes.fromhex(version.id))
    assert of_statistics is not None
    assert of_version is not None
    assert of_statistics.pack != of_version.pack


def test_a_copy_asks_for_statistics_once_and_where_there_are_some(folder: Path) -> None:
    def requests(stats: bool) -> tuple[int, int]:
        here, there = memory_repository(), memory_repository()
        for number in range(30):
            put(folder, f"{number}.parquet", table(number))
        here.commit("t", folder, stats=stats)
        source, target = CountingStore(here.session.store), CountingStore(there.session.store)
        over(source).push(to=over(target))
        return len(source.calls), len(target.calls)

    plain, kept = requests(stats=False), requests(stats=True)
    assert kept[0] - plain[0] <= 3
    assert kept[1] - plain[1] <= 2


def test_damaged_statistics_do_not_stop_a_copy(folder: Path) -> None:
    here, there = memory_repository(), memory_repository()
    put(folder, "a.parquet", table())
    here.commit("t", folder, stats=True)
    version = here.version("t")
    right = version.stats()
    place = here.session.index().find(statistics_key(version.entry("a.parquet").digest))
    assert place is not None
    flip(here.session.store, pack_key(place.pack), place.frame_offset + 40)
    here.push(to=there)
    assert there.verify(deep=True).ok
    assert Repository(there.url).version("t").stats() == right
    here.session.store.delete(pack_key(place.pack))
    another = memory_repository()
    another.pull(source=here)
    assert another.version("t").read("a.parquet") == (folder / "a.parquet").read_bytes()
    assert another.verify(deep=True).ok


def test_damage_of_statistics_harms_no_file(repository: Repository, folder: Path) -> None:
    put(folder, "a.parquet", table())
    repository.commit("t", folder, stats=True)
    assert repository.verify(deep=True).ok
    version = repository.version("t")
    right = version.stats()
    place = repository.session.index().find(statistics_key(version.entry("a.parquet").digest))
    assert place is not None
    flip(repository.session.store, pack_key(place.pack), place.frame_offset + 300)
    report = repository.verify(deep=True)
    damage = the_one(report)
    assert damage.object == pack_key(place.pack)
    assert damage.harms == []
    assert Repository(repository.url).version("t").stats() == right


def test_statistics_under_a_wrong_digest_are_damage(repository: Repository, folder: Path) -> None:
    """As somebody may write them who wants a table to look like another one."""
    from dataver.format.pack import PackBuilder, PackKind
    from dataver.tables.statistics import encode_bounded
    from dataver.verify.packs import check_bytes

    put(folder, "a.parquet", table())
    found = file_statistics(io.BytesIO((folder / "a.parquet").read_bytes()))
    record = encode_bounded(bytes(32), found)
    for digest, problems in ((statistics_key(bytes(32)), 0), (statistics_key(b"\1" * 32), 1)):
        builder = PackBuilder(PackKind.META, bytes(16))
        builder.add(0, [record], len(record), digest, [len(record)])
        name, parts = builder.finish()
        check = check_bytes(name, b"".join(parts))
        assert len(check.problems) == problems
        assert all("table statistics" in problem for problem in check.problems)


def test_reading_a_damaged_file_for_statistics_is_damage(repository: Repository, folder: Path) -> None:
    put(folder, "a.parquet", table(rows=100))
    repository.commit("t", folder)
    flip(repository.session.store, *place_of(repository, "a.parquet", "t"))
    with pytest.raises(DamagedError):
        Repository(repository.url).version("t").stats()


# What is no table


def test_bad_files_are_committed_and_read_as_bytes(repository: Repository, folder: Path) -> None:
    put(folder, "good.parquet", table())
    whole = (folder / "good.parquet").read_bytes()
    wide = io.BytesIO()
    pq.write_table(pa.table({f"c{n}": [n] for n in range(10_000)}), wide)
    files = {
        "good.parquet": whole,
        "liar.parquet": b"a,b\n1,2\n",
        "short.parquet": whole[:-100],
        "secret.parquet": b"PARE" + whole[4:-4] + b"PARE",
        "wide.parquet": wide.getvalue(),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    repository.commit("t", folder, stats=True)
    version = repository.version("t")
    assert {name: version.read(name) for name in files} == files
    for name, reason in (("liar", "not Parquet"), ("short", "truncated"), ("secret", "encrypted")):
        for ask in (version.stats, version.schema, version.num_rows):
            with pytest.raises(BadInputError, match=rf"{name}\.parquet.*{reason}"):
                ask(f"{name}.parquet")
    assert version.stats("wide.parquet").column("c9999").max == 9999
    shown = dict(tabular.all_footers(version))
    reasons = {name.partition(".")[0]: shown[name] for name in files if isinstance(shown[name], str)}
    assert reasons == {
        "liar": "it is not Parquet",
        "short": "it is truncated",
        "secret": "it is encrypted",
    }
    assert repository.verify(deep=True).ok


def test_links_that_lead_nowhere_are_no_tables(repository: Repository, folder: Path) -> None:
    put(folder, "a.parquet", table())
    (folder / "b.parquet").symlink_to("a.parquet")
    (folder / "c.parquet").symlink_to("nothing")
    repository.commit("t", folder, stats=True)
    version = repository.version("t")
    rows = [
        (name, footer if isinstance(footer, str) else footer.rows)
        for name, footer in tabular.all_footers(version)
    ]
    lost = "it is a symlink that leads to no file of the version"
    assert rows == [("a.parquet", 1000), ("b.parquet", 1000), ("c.parquet", lost)]
    assert version.stats("b.parquet") == version.stats("a.parquet")


def test_rows_of_damaged_pages_are_refused(repository: Repository, folder: Path) -> None:
    put(folder, "a.parquet", table(), compression="zstd")
    repository.commit("t", folder)
    data = bytearray((folder / "a.parquet").read_bytes())
    data[30:300] = bytes(270)
    (folder / "a.parquet").write_bytes(data)
    repository.commit("t", folder)
    with pytest.raises(BadInputError, match=r"a\.parquet in t@v2 is no table that can be read"):
        repository.diff_rows("t@v1", "t@v2", key="id")


def test_a_folder_is_one_table_or_none(repository: Repository, folder: Path) -> None:
    put(folder, "one/a.parquet", table())
    put(folder, "one/b.parquet", table(7))
    put(folder, "two.parquet", pa.table({"id": ["x"]}))
    (folder / "notes.txt").write_text("no table")
    repository.commit("t", folder)
    version = repository.version("t")
    assert version.num_rows() == 2001
    assert version.num_rows("one") == version.stats("one/").rows == 2000
    assert version.schema("one").names == ["id", "x", "kind"]
    assert version.schema("two.parquet") == pa.schema([("id", pa.string())])
    for ask in (version.schema, version.stats):
        with pytest.raises(BadInputError, match=r"one/a\.parquet and two\.parquet have different columns"):
            ask()
    with pytest.raises(PathNotFoundError):
        version.stats("three")
    with pytest.raises(PathNotFoundError, match="no column 'y'; there are id, x, kind"):
        version.stats("one").column("y")


# What moved


def test_what_moved_is_told_where_statistics_are_at_hand(repository: Repository, folder: Path) -> None:
    put(folder, "a.parquet", table())
    repository.commit("t", folder, stats=True)
    changed = table().to_pylist()
    changed[0]["x"], changed[5]["kind"], changed[6]["id"] = 99.5, None, 10**6
    put(folder, "a.parquet", pa.Table.from_pylist(changed))
    repository.commit("t", folder)
    [change] = repository.diff_tables("t@v1", "t@v2")
    assert change.moved is None
    [change] = repository.diff_tables("t@v1", "t@v2", compute=True)
    assert change.moved is not None
    moved = {(move.column, move.what): (move.before, move.after) for move in change.moved}
    assert moved["kind", "nulls"] == (0.0, 0.001)
    assert moved["id", "max"] == (999, 10**6)
    assert moved["x", "min"] == (0.0, 1.0)
    assert set(moved) == {
        *(("kind", "nulls"), ("id", "max"), ("id", "mean")),
        *(("x", "min"), ("x", "max"), ("x", "mean")),
    }
    assert repository.diff_tables("t@v1", "t@v2") == [change], "now they are in the cache"


# Rows


def rows_of(found: pa.Table) -> list[tuple[str, Any, list[str]]]:
    return [(row["change"], row["id"], row["columns"]) for row in found.to_pylist()]


def test_rows_that_differ_and_no_others_are_read(
    repository: Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = pa.table({"id": np.arange(200_000), "x": np.random.default_rng(1).normal(size=200_000)})
    put(folder, "a.parquet", old, row_group_size=20_000)
    put(folder, "same.parquet", old)
    put(folder, "gone.parquet", pa.table({"id": [-1], "x": [0.5]}))
    repository.commit("t", folder)
    rows = old.slice(0, 199_999).to_pylist()
    rows[70_000]["x"] = None
    put(folder, "a.parquet", pa.Table.from_pylist(rows, old.schema), row_group_size=20_000)
    (folder / "gone.parquet").unlink()
    put(folder, "new.parquet", pa.table({"id": [10**6], "x": [1.0]}))
    repository.commit("t", folder)
    read: list[int] = []
    real = pq.ParquetFile.read_row_groups

    def counting(self: Any, groups: list[int], *arguments: Any, **options: Any) -> Any:
        read.extend(groups)
        return real(self, groups, *arguments, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counting)
    found = repository.diff_rows("t@v1", "t@v2", key="id")
    assert rows_of(found) == [
        ("removed", -1, []), ("changed", 70_000, ["x"]), ("removed", 199_999, []), ("added", 10**6, []),
    ]  # fmt: skip
    assert sorted(set(read)) in ([3, 9], [2, 3, 4, 9], [3, 4, 9], [2, 3, 9])
    assert found.schema.names == ["change", "id", "columns", "before", "after"]
    changed = found.to_pylist()[1]
    assert (changed["after"], changed["before"]["x"]) == ({"x": None}, old["x"][70_000].as_py())
    only = repository.diff_rows("t@v1", "t@v2", key=["id"], path="new.parquet")
    assert rows_of(only) == [("added", 10**6, [])]
    none = repository.diff_rows("t@v1", "t@v2", key=["id"], path="same.parquet")
    assert (none.num_rows, none.column_names) == (0, found.column_names)
    assert repository.diff_rows("t@v2", "t@v2", key="id").num_rows == 0
    with pytest.raises(PathNotFoundError):
        repository.diff_rows("t@v1", "t@v2", key=["id"], path="nowhere")
    for key in ([], ["id", "id"]):
        with pytest.raises(BadInputError):
            repository.diff_rows("t@v1", "t@v2", key=key)


def test_bad_keys_say_what_is_wrong() -> None:
    good = pa.table({"id": [1, 2], "x": [1.0, 2.0], "l": [[1], [2]]})

    def error(table: pa.Table, *key: str) -> str:
        with pytest.raises(BadInputError) as caught:
            compare_rows([good], [table], key, ("t@v1", "t@v2"))
        return str(caught.value)

    assert "id=1 stands 2 times in t@v2" in error(pa.table({"id": [1, 1, 2], "x": [1.0, 2.0, 3.0]}), "id")
    assert "1 of the changed rows of t@v2 have none" in error(pa.table({"id": [None, 1]}), "id")
    assert "NaN" in error(pa.table({"x": [float("nan")]}), "x")
    assert "'y' is no column" in error(good, "y")
    assert "cannot be a key" in error(good, "l")
    assert "do not fit together" in error(pa.table({"id": [1], "x": ["text"]}), "id")
    assert "one of its own" in error(pa.table({"change": [1]}), "change")


ROWS = st.dictionaries(
    st.tuples(st.integers(0, 4), st.sampled_from(["a", "b"])),
    st.tuples(
        st.one_of(st.none(), st.sampled_from([0.0, 1.5, float("nan")])),
        st.one_of(st.none(), st.text(max_size=2)),
        st.one_of(st.none(), st.lists(st.integers(0, 2), max_size=2)),
    ),
    max_size=8,
)
SCHEMA = pa.schema(
    [
        ("n", pa.int32()),
        ("x", pa.float64()),
        ("k", pa.string()),
        ("s", pa.string()),
        ("l", pa.list_(pa.int64())),
    ]
)


@given(ROWS, ROWS, st.integers(0, 8))
@settings(max_examples=60)
def test_rows_against_python(
    old: dict[tuple[int, str], Any], new: dict[tuple[int, str], Any], split: int
) -> None:
    def tables(rows: dict[tuple[int, str], Any]) -> list[pa.Table]:
        lines = [{"n": n, "k": k, **dict(zip("xsl", row, strict=True))} for (n, k), row in rows.items()]
        return [pa.Table.from_pylist(part, SCHEMA) for part in (lines[:split], lines[split:])]

    found = compare_rows(tables(old), tables(new), ["n", "k"], ("a", "b"))
    expected: dict[tuple[int, str], tuple[str, list[str]]] = {}
    for key in old.keys() | new.keys():
        if key not in old or key not in new:
            expected[key] = ("added" if key in new else "removed", [])
            continue
        names = [
            name
            for name, a, b in zip("xsl", old[key], new[key], strict=True)
            if a != b and not (a != a and b != b)
        ]
        if names:
            expected[key] = ("changed", names)
    rows = found.to_pylist()
    assert {(row["n"], row["k"]): (row["change"], row["columns"]) for row in rows} == expected
    assert [(row["n"], row["k"]) for row in rows] == sorted(expected)
    for row in rows:
        for side, values in (("before", old), ("after", new)):
            kept = values.get((row["n"], row["k"]))
            assert repr(row[side]) == repr(None if kept is None else dict(zip("xsl", kept, strict=True)))


def test_columns_that_came_and_types_that_grew() -> None:
    old = pa.table({"id": pa.array([1, 2], pa.int32()), "c": pa.array(["a", "b"]).dictionary_encode()})
    new = pa.table({"id": [1, 2], "c": ["a", "x"], "more": [1, None]})
    found = compare_rows([old], [new], ["id"], ("a", "b"))
    assert rows_of(found) == [("changed", 1, ["more"]), ("changed", 2, ["c"])]


# On the command line


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def place(tmp_path: Path, folder: Path) -> str:
    where = str(tmp_path / "repository")
    repository = init(where)
    put(folder, "a.parquet", table())
    repository.commit("t", folder)
    put(folder, "a.parquet", pa.concat_tables([table(1), table(5000, 1)]))
    repository.commit("t", folder, stats=True)
    return where


def test_show_tables(place: str) -> None:
    found = json.loads(run("-R", place, "show", "t", "--tables", "--json").stdout)
    columns = [("id", "int64"), ("x", "double"), ("kind", "string")]
    assert found["tables"] == [
        {"path": "a.parquet", "rows": 1001, "columns": [{"name": n, "type": t} for n, t in columns]}
    ]
    assert "tables" not in json.loads(run("-R", place, "show", "t", "--json").stdout)
    text = run("-R", place, "show", "t", "--tables").stdout
    assert "a.parquet  1,001 rows, 3 columns\n  id    int64\n" in text


def test_stats_verb(place: str) -> None:
    found = json.loads(run("-R", place, "stats", "t", "--json").stdout)
    assert (found["files"], found["rows"]) == (1, 1001)
    by_name = {column["name"]: column for column in found["columns"]}
    assert (by_name["id"]["min"], by_name["id"]["max"]) == (1, 5000)
    assert by_name["kind"]["top"][0] == ["k1", 334]
    one = json.loads(run("-R", place, "stats", "t@v1", "a.parquet", "--column", "x", "--json").stdout)
    assert [column["name"] for column in one["columns"]] == ["x"]
    text = run("-R", place, "stats", "t").stdout
    assert "1 file, 1,001 rows" in text
    assert "kind" in text
    assert "k1" in run("-R", place, "stats", "t", "-c", "kind").stdout
    assert run("-R", place, "stats", "t", "-c", "nothing").exit_code == 3
    assert run("-R", place, "stats", "t", "nowhere").exit_code == 3


def test_diff_rows_verb(place: str) -> None:
    arguments = ("-R", place, "diff", "t@v1", "t@v2")
    found = json.loads(run(*arguments, "--rows", "--key", "id", "--json").stdout)
    assert [(row["change"], row["key"]) for row in found["rows"]] == [
        ("removed", {"id": 0}), ("added", {"id": 1000}), ("added", {"id": 5000}),
    ]  # fmt: skip
    assert found["rows"][0]["before"] == {"x": 0.0, "kind": "k0"}
    text = run(*arguments, "--rows", "--key", "id,kind").stdout
    assert "removed  0" in text
    assert "2 added, 1 removed" in text
    twice = run(*arguments, "--rows", "--key", "kind")
    assert (twice.exit_code, "is no key" in twice.output) == (2, True)
    for wrong in (
        ["--rows"],
        ["--key", "id"],
        ["--path", "a"],
        ["--rows", "--key", "id", "--tables"],
        ["--compute"],
    ):
        assert run(*arguments, *wrong).exit_code == 2, wrong
    tables = run(*arguments, "--tables", "--compute").stdout
    assert "moved column    id: min 0 -> 1, max 999 -> 5000" in tables


def test_rows_of_files_that_are_not_parquet_are_not_said_to_be_equal(place: str, folder: Path) -> None:
    repository = open_repository(place)
    (folder / "b").mkdir()
    (folder / "b" / "x.csv").write_text("id,x\n1,2\n")
    (folder / "b" / "mode.csv").write_text("id\n1\n")
    repository.commit("t", folder)
    (folder / "b" / "x.csv").write_text("id,x\n1,3\n")
    (folder / "b" / "mode.csv").chmod(0o755)
    (folder / "hollow").mkdir()
    repository.commit("t", folder)
    arguments = ("-R", place, "diff", "t@v3", "t@v4", "--rows", "--key", "id")
    text = run(*arguments)
    assert "no row differs" not in text.stdout
    assert text.stdout.endswith("no row of a Parquet file differs\n")
    assert text.stderr == "note: 1 changed file is not Parquet and was not compared: b/x.csv\n"
    assert json.loads(run(*arguments, "--json").stdout) == {"rows": [], "left_out": ["b/x.csv"]}
    assert run(*arguments, "--path", "b/").stdout.endswith("no row of a Parquet file differs\n")
    one = run(*arguments, "--path", "b/x.csv")
    assert (one.exit_code, one.stdout) == (2, "")
    assert "b/x.csv in t@v4 is no table that can be read: it is not Parquet" in one.stderr
    # Its bytes are the same.
    assert run(*arguments, "--path", "b/mode.csv").stdout.endswith("no row differs\n")


def test_files_that_are_not_parquet_are_named_beside_the_rows_that_differ(place: str, folder: Path) -> None:
    repository = open_repository(place)
    (folder / "old.csv").write_text("id\n-1\n")
    repository.commit("t", folder)
    (folder / "old.csv").unlink()
    for number in range(6):
        (folder / f"{number}.csv").write_text(f"id\n{number}\n")
    put(folder, "a.parquet", table(2))
    repository.commit("t", folder)
    found = run("-R", place, "diff", "t@v3", "t@v4", "--rows", "--key", "id")
    assert found.stdout.endswith("removed\n")
    assert found.stderr == (
        "note: 7 changed files are not Parquet and were not compared: "
        "0.csv, 1.csv, 2.csv, 3.csv, 4.csv and 2 more\n"
    )
    gone = run("-R", place, "diff", "t@v3", "t@v4", "--rows", "--key", "id", "--path", "old.csv")
    assert (gone.exit_code, "old.csv in t@v3 is no table" in gone.stderr) == (2, True)
