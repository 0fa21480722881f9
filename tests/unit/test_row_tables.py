"""Splits and overlaps of tables that are no Parquet."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pytest

import dataver
from dataver.errors import BadInputError
from dataver.repository import Repository
from dataver.row_tables import tables_at

USERS = dataver.HashSplit(keys=["user"], train=0.7, test=0.3)


def rows(start: int, stop: int) -> pa.Table:
    return pa.table(
        {"user": [n * 37 % 101 for n in range(start, stop)], "x": [n / 2 for n in range(start, stop)]}
    )


def write(table: pa.Table, path: Path) -> None:
    match path.suffix:
        case ".csv":
            pyarrow.csv.write_csv(table, path)
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
        case ".feather":
            pyarrow.feather.write_feather(table, path)
        case ".orc":
            pyarrow.orc.write_table(table, path)
        case _:
            pq.write_table(table, path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "data"
    found.mkdir()
    return found


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return dataver.init(str(tmp_path / "repository"))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".feather", ".orc", ".parquet"])
def test_parts_are_the_same_rows_when_rows_are_appended(
    repository: Repository, folder: Path, suffix: str
) -> None:
    write(rows(0, 500), folder / f"a{suffix}")
    repository.commit("t", folder)
    before = repository.version("t").split("train", USERS).to_arrow()
    write(rows(500, 800), folder / f"b{suffix}")
    repository.commit("t", folder)
    after = repository.version("t").split("train", USERS).to_arrow()
    assert 250 < before.num_rows < 450
    assert after.num_rows > before.num_rows
    assert after.slice(0, before.num_rows).to_pylist() == before.to_pylist()
    found = repository.overlap("t:train", "t:test", by=USERS)
    assert found.rows is not None
    assert (found.rows.keys, found.rows.a_rows) == (0, after.num_rows)


def test_keys_of_csv_are_what_is_written_whatever_is_appended(repository: Repository, folder: Path) -> None:
    """With types that are guessed, one text among numbers would make all keys others."""
    write(rows(0, 500), folder / "a.csv")
    repository.commit("t", folder)
    before = repository.version("t").split("train", USERS).to_arrow()["user"].to_pylist()
    with open(folder / "a.csv", "a", encoding="utf-8") as file:
        file.write("guest,1\n1.5,2\n,3\n")
    repository.commit("t", folder)
    after = repository.version("t").split("train", USERS).to_arrow()["user"].to_pylist()
    assert after[: len(before)] == before
    assert set(before) <= {str(n) for n in range(101)}


def test_times_and_values_of_csv(repository: Repository, folder: Path) -> None:
    (folder / "a.csv").write_text("day,fold\n2024-01-01,a\n2024-02-01,\n,b\n2024-03-01,a\n")
    repository.commit("t", folder)
    version = repository.version("t")
    time = dataver.TimeSplit("day", past="..2024-02-15", future="2024-02-15..")
    assert [version.split(part, time).num_rows for part in ("past", "future")] == [2, 1]
    fold = dataver.ColumnSplit("fold")
    assert version.split("a", fold).num_rows == 2
    from dataver.parts import count_parts

    assert count_parts(version, fold) == {"a": 2, "b": 1, "": 1}


def test_lists_lie_beside_the_rows(repository: Repository, folder: Path) -> None:
    write(rows(0, 300), folder / "a.csv")
    (folder / "gold.csv").write_text("user\n5\n7\n")
    repository.commit("t", folder)
    split = dataver.ListSplit(keys=["user"], gold="gold.csv", mine=[9], rest="other")
    version = repository.version("t")
    counts = {part: version.split(part, split).num_rows for part in ("gold", "mine", "other")}
    users = rows(0, 300)["user"].to_pylist()
    assert counts["gold"] == sum(user in (5, 7) for user in users)
    assert counts["mine"] == users.count(9)
    assert sum(counts.values()) == 300


def test_a_folder_has_the_tables_of_its_first_format(repository: Repository, folder: Path) -> None:
    write(rows(0, 10), folder / "a.csv")
    write(rows(0, 20), folder / "a.parquet")
    repository.commit("t", folder)
    version = repository.version("t")
    assert tables_at(version, "") == ("", "parquet", ["a.parquet"])
    assert tables_at(version, "a.csv") == ("a.csv", "csv", ["a.csv"])
    split = dataver.HashSplit(keys=["user"], path="a.csv", all=1)
    assert version.split("all", split).num_rows == 10


@pytest.mark.parametrize("suffix", [".csv", ".feather", ".jsonl"])
def test_rows_of_csv_are_found_in_tables_with_types(
    repository: Repository, folder: Path, tmp_path: Path, suffix: str
) -> None:
    write(rows(0, 100), folder / f"a{suffix}")
    repository.commit("a", folder)
    other = tmp_path / "other"
    other.mkdir()
    write(rows(90, 200), other / "b.parquet")
    repository.commit("b", other)
    for pair in (("a", "b"), ("b", "a")):
        found = repository.overlap(*pair, key=["user", "x"])
        assert found.rows is not None
        assert (found.rows.keys, found.rows.a_shared, found.rows.b_shared) == (10, 10, 10)


def test_csv_beside_csv_and_equal_files(repository: Repository, folder: Path, tmp_path: Path) -> None:
    write(rows(0, 100), folder / "a.csv")
    repository.commit("a", folder)
    other = tmp_path / "other"
    other.mkdir()
    write(rows(50, 150), other / "b.csv")
    repository.commit("b", other)
    found = repository.overlap("a", "b", key="x")
    assert found.rows is not None
    assert found.rows.keys == 50
    same = repository.overlap("a", "a", key="x")
    assert bool(same)
    assert same.tables == 1


def test_malformed_tables_say_so(repository: Repository, folder: Path) -> None:
    (folder / "a.jsonl").write_text("{]\n")
    repository.commit("t", folder)
    with pytest.raises(BadInputError, match="cannot be read"):
        _ = repository.version("t").split("train", USERS).num_rows
