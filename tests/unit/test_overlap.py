"""What two versions have in common, and how little of them is read to tell."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataver.overlap as module
from dataver.errors import BadInputError
from dataver.hashing import xxh3_64
from dataver.repository import Repository, init
from dataver.results import OverlapResult
from dataver.splits import xxh3
from dataver.splits.keys import KeyRows
from dataver.streams import VersionFile
from dataver.testing.stores import CountingStore
from dataver.tree.manifest import Entry
from dataver.version import Version
from tests.repositories import over


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return init(str(tmp_path / "repository"))


def commit(repository: Repository, name: str, folder: Path, files: dict[str, Any]) -> None:
    for path, content in files.items():
        place = folder / name / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pa.Table):
            pq.write_table(content, place, compression="none", use_dictionary=False)
        else:
            place.write_bytes(content)
    repository.commit(name, folder / name)


def table(ids: Any, **columns: Any) -> pa.Table:
    return pa.table({"id": pa.array(ids), **columns})


def test_files_and_chunks(repository: Repository, tmp_path: Path) -> None:
    big, tail = os.urandom(900_000), os.urandom(200_000)
    commit(repository, "a", tmp_path, {"same": b"1" * 10, "here": b"22", "big": big, ".dataverignore": b"x"})
    commit(
        repository,
        "b",
        tmp_path,
        {"same": b"1" * 10, "there": b"22", "big": big + tail, ".dataverignore": b"x", "e": b""},
    )
    found = repository.overlap("a", "b")
    assert found.files == [("here", "there"), ("same", "same")]
    assert found.chunks is not None
    a, b, a_shared, b_shared = found.chunks
    assert (a, b) == (900_012, 1_100_012)
    assert a_shared == b_shared
    assert 600_000 < a_shared < 900_012
    assert found.rows is None
    assert found


def test_nothing_in_common(repository: Repository, tmp_path: Path) -> None:
    commit(repository, "a", tmp_path, {"x": b"1", "e": b"", "t.parquet": table([1, 2])})
    commit(repository, "b", tmp_path, {"x": b"2", "e": b"", "t.parquet": table([3])})
    found = repository.overlap("a", "b", key="id")
    assert found.files == []
    assert found.chunks is not None
    assert found.chunks[2:] == (0, 0)
    assert found.rows is not None
    assert (found.rows.a_rows, found.rows.b_rows, found.rows.keys, found.rows.examples) == (2, 1, 0, [])
    assert not found
    assert not repository.overlap("a", "b")


def test_rows_by_key(repository: Repository, tmp_path: Path) -> None:
    a = table([1, 2, 2, 3, None], day=["x", "x", "x", "y", "y"])
    b = table(pa.array([2, 3, 3, None, 9], pa.int16()), day=["x", "z", "y", "y", "y"])
    commit(repository, "a", tmp_path, {"t.parquet": a})
    commit(repository, "b", tmp_path, {"t.parquet": b})
    rows = repository.overlap("a", "b", key=["id", "day"]).rows
    assert rows is not None
    assert (rows.keys, rows.a_shared, rows.b_shared) == (3, 4, 3)
    assert rows.examples == [[2, "x"], [3, "y"], [None, "y"]]
    rows = repository.overlap("a", "b", key="id").rows
    assert rows is not None
    assert (rows.keys, rows.a_shared, rows.b_shared) == (3, 4, 4)


def test_equal_hashes_are_no_false_alarm(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def weak(self: KeyRows, seed: int = 0) -> Any:
        return xxh3.hashes(self.data, self.starts, seed) & np.uint64(7)

    monkeypatch.setattr(KeyRows, "hashes", weak)
    commit(repository, "a", tmp_path, {"t.parquet": table(range(1000))})
    commit(repository, "b", tmp_path, {"t.parquet": table(range(1000, 2000))})
    commit(repository, "c", tmp_path, {"t.parquet": table(range(990, 1010))})
    rows = repository.overlap("a", "b", key="id").rows
    assert rows is not None
    assert (rows.keys, rows.a_shared, rows.b_shared) == (0, 0, 0)
    rows = repository.overlap("a", "c", key="id").rows
    assert rows is not None
    assert (rows.keys, rows.a_shared, rows.b_shared) == (10, 10, 10)
    assert xxh3_64(b"") & 7 == weak(KeyRows(np.empty(0, np.uint8), np.zeros(2, np.int64)))[0]


def test_keys_beyond_the_memory_for_them_are_read_again(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(
        repository, "a", tmp_path, {f"{n}.parquet": table(range(n * 100, n * 100 + 100)) for n in range(5)}
    )
    commit(repository, "b", tmp_path, {"t.parquet": table(range(450, 550))})
    expected = repository.overlap("a", "b", key="id")
    monkeypatch.setattr(module, "KEPT_BYTES_MAX", 3000)
    assert repository.overlap("a", "b", key="id") == expected
    assert expected.rows is not None
    assert expected.rows.keys == 50


def test_parts_are_compared_by_their_own_key(repository: Repository, tmp_path: Path) -> None:
    splits = b'kind = "hash"\nkeys = ["id"]\nparts = {train = 0.7, test = 0.3}\n'
    ids = [n % 700 for n in range(1000)]
    commit(
        repository, "a", tmp_path, {".dataver-splits.toml": splits, "t.parquet": table(ids, n=range(1000))}
    )
    found = repository.overlap("a:train", "a:test")
    assert not found
    assert (found.files, found.chunks) == (None, None)
    assert found.rows is not None
    assert found.rows.key == ("id",)
    assert found.rows.a_rows + found.rows.b_rows == 1000
    both = repository.overlap("a:train", "a", key="id").rows
    assert both is not None
    assert both.a_shared == both.a_rows == both.b_shared == found.rows.a_rows
    by_row = repository.overlap("a:train", "a:test", key="n").rows
    assert by_row is not None
    assert by_row.keys == 0


def test_a_split_by_rows_leaks_what_a_split_by_user_does_not(repository: Repository, tmp_path: Path) -> None:
    splits = b'kind = "hash"\nkeys = ["n"]\nparts = {train = 0.7, test = 0.3}\n'
    ids = [n % 100 for n in range(1000)]
    commit(
        repository, "a", tmp_path, {".dataver-splits.toml": splits, "t.parquet": table(ids, n=range(1000))}
    )
    assert not repository.overlap("a:train", "a:test")
    assert repository.overlap("a:train", "a:test", key="id")


def test_nulls_are_equal_whatever_their_type(repository: Repository, tmp_path: Path) -> None:
    commit(repository, "a", tmp_path, {"t.parquet": table(pa.nulls(3), x=[1, 2, 3])})
    commit(repository, "b", tmp_path, {"t.parquet": table([None, 1.5, math.nan])})
    rows = repository.overlap("a", "b", key="id").rows
    assert rows is not None
    assert (rows.keys, rows.a_shared, rows.b_shared, rows.examples) == (1, 3, 1, [[None]])


def test_examples_are_json(repository: Repository, tmp_path: Path) -> None:
    values = [0.5, math.nan, math.inf]
    for name in ("a", "b"):
        commit(repository, name, tmp_path, {"t.parquet": table(values, name=[name] * 3)})
    rows = repository.overlap("a", "b", key="id").rows
    assert rows is not None
    assert json.loads(json.dumps(rows.to_json(), allow_nan=False))["examples"] == [[0.5], ["nan"], ["inf"]]


@pytest.mark.parametrize(
    ("a", "b", "key", "problem"),
    [
        ("a", "b", "nothing", "no column"),
        ("a", "b", "", "columns of a key"),
        ("a", "b", ["id", "id"], "columns of a key"),
        ("a", "b", "word", "never the same"),
        ("a:w", "b", None, "by a key"),
    ],
)
def test_what_cannot_be_compared(
    a: str, b: str, key: Any, problem: str, repository: Repository, tmp_path: Path
) -> None:
    splits = b'kind = "column"\ncolumn = "word"\n'
    commit(repository, "a", tmp_path, {"t.parquet": table([1], word=["w"]), ".dataver-splits.toml": splits})
    commit(repository, "b", tmp_path, {"t.parquet": table([1], word=[b"w"])})
    with pytest.raises(BadInputError, match=problem):
        repository.overlap(a, b, key=key)


# How little is read


def counted(repository: Repository, a: str, b: str, **options: Any) -> tuple[CountingStore, OverlapResult]:
    store = CountingStore(repository.session.store)
    fresh = over(store)
    fresh.version(a), fresh.version(b)
    store.reset()
    return store, fresh.overlap(a, b, **options)


def test_chunks_are_counted_without_reading_one(repository: Repository, tmp_path: Path) -> None:
    big = os.urandom(3_000_000)
    commit(repository, "a", tmp_path, {"big": big, "x": os.urandom(500_000)})
    commit(repository, "b", tmp_path, {"big": big, "y": os.urandom(500_000)})
    store, found = counted(repository, "a", "b")
    assert found.chunks == (3_500_000, 3_500_000, 3_000_000, 3_000_000)
    assert store.read_bytes < 100_000


def test_only_the_key_of_tables_that_differ_is_read(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(ids: Any) -> pa.Table:
        return table(ids, blob=[os.urandom(2000) for _ in ids])

    same = rows(range(1000))
    commit(repository, "a", tmp_path, {"same.parquet": same, "t.parquet": rows(range(1000, 2000))})
    commit(repository, "b", tmp_path, {"copy.parquet": same, "t.parquet": rows(range(1990, 2990))})
    opened: list[str] = []
    whole = Version.open_entry

    def watched(self: Version, entry: Entry, path: str) -> VersionFile:
        opened.append(path)
        return whole(self, entry, path)

    monkeypatch.setattr(Version, "open_entry", watched)
    store, found = counted(repository, "a", "b", key="id")
    assert found.files == [("same.parquet", "copy.parquet")]
    assert found.rows is not None
    assert (found.rows.a_rows, found.rows.b_rows, found.rows.keys) == (1000, 1000, 10)
    assert set(opened) == {"t.parquet"}
    assert store.read_bytes < 1_500_000, "the blobs of both tables are 4 MB"


def test_equal_versions_are_told_without_reading_a_table(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(repository, "a", tmp_path, {"t.parquet": table(range(1000))})
    monkeypatch.setattr(Version, "open", None)
    found = repository.overlap("a", "a@v1", key="id")
    assert found
    assert found.files == [("t.parquet", "t.parquet")]
    assert found.rows is not None
    assert found.rows.a_rows == 0
