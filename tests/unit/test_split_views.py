"""Parts of a version's rows: what a view reads and gives, which definition it means, what is refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataver
from dataver.errors import BadInputError, PathNotFoundError
from dataver.parts import SPLITS_FILE, parse_node
from dataver.repository import Repository, init
from dataver.splits.definition import Split, from_document, load
from dataver.testing.stores import CountingStore
from tests.repositories import over

SPLITS = """
[default]
kind = "hash"
keys = ["id"]
path = "rows"
parts = {train = 0.8, test = 0.2}

[listed]
kind = "list"
keys = ["id"]
path = ""
parts = {gold = "lists/gold.csv", more = "lists/more.parquet"}
rest = "train"

[given]
kind = "column"
column = "word"
path = "rows"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    for part in range(3):
        (data / "rows").mkdir(parents=True, exist_ok=True)
        ids = range(100 * part, 100 * part + 100)
        table = pa.table({"id": ids, "word": [f"w{n % 4}" for n in ids], "x": [n / 2 for n in ids]})
        pq.write_table(table, data / "rows" / f"{part}.parquet")
    (data / "lists").mkdir()
    (data / "lists" / "gold.csv").write_text("note,id\na,7\nb,207\nc,9999\n")
    pq.write_table(pa.table({"id": pa.array([8, 108], pa.int16())}), data / "lists" / "more.parquet")
    (data / SPLITS_FILE).write_text(SPLITS)
    return data


@pytest.fixture
def repository(tmp_path: Path, folder: Path) -> Repository:
    repository = init(str(tmp_path / "repository"))
    repository.commit("t", folder)
    return repository


@pytest.fixture
def version(repository: Repository) -> dataver.Version:
    return repository.version("t")


def test_a_view_reads_its_rows(version: dataver.Version) -> None:
    train, test = version.split("train"), version.split("test")
    assert train.num_rows + test.num_rows == 300
    ids = train.to_arrow()["id"].to_pylist() + test.to_arrow(["id"])["id"].to_pylist()
    assert sorted(ids) == list(range(300))
    assert train.to_arrow().schema == train.schema == version.dataset("rows").schema
    assert list(train.to_pandas(["x", "word"]).columns) == ["x", "word"]
    assert [batch.schema.names for batch in train.to_batches(["x"])] == [["x"]] * 3
    assert train.name == "t@v1:train"
    again = pickle.loads(pickle.dumps(train))
    assert (again.digest, again.num_rows) == (train.digest, train.num_rows)


def test_rows_stay_in_their_part_in_later_versions(repository: Repository, folder: Path) -> None:
    before = set(repository.version("t").split("test").to_arrow()["id"].to_pylist())
    pq.write_table(
        pa.table({"id": range(300, 400), "word": ["w"] * 100, "x": [0.0] * 100}), folder / "rows/0b.parquet"
    )
    repository.commit("t", folder)
    later = set(repository.version("t").split("test").to_arrow()["id"].to_pylist())
    assert before == {id for id in later if id < 300}
    assert repository.version("t@v1").split("test").digest != repository.version("t@v2").split("test").digest


def test_digests_tell_definitions_parts_and_versions_apart(version: dataver.Version) -> None:
    half = dataver.HashSplit("id", train=0.5, test=0.5)
    views = [
        version.split("train"),
        version.split("test"),
        version.split("train", half, path="rows"),
        version.split("train", dataver.HashSplit("id", salt="s", train=0.5, test=0.5), path="rows"),
        version.split("train", half),
    ]
    assert len({view.digest for view in views}) == 5
    same = version.split("train", {"kind": "hash", "keys": ["id"], "parts": {"test": "0.50", "train": 0.5}})
    assert same.digest == version.split("train", half).digest


def test_definitions_come_from_the_version_a_file_or_an_object(
    version: dataver.Version, tmp_path: Path
) -> None:
    assert version.split("given/w1").num_rows == 75
    assert version.split("listed/gold").to_arrow(["id"])["id"].to_pylist() == [7, 207]
    assert version.split("listed/more").to_arrow(["id"])["id"].to_pylist() == [8, 108]
    assert version.split("listed/train").num_rows == 296
    one = tmp_path / "one.json"
    one.write_text('{"kind": "column", "column": "word", "path": "rows", "parts": {"a": ["w0", "w3"]}}')
    assert version.split("a", one).num_rows == version.split("a", str(one)).num_rows == 150
    many = tmp_path / "many.toml"
    many.write_text(SPLITS)
    assert version.split("default/train", many).digest == version.split("train").digest
    with pytest.raises(BadInputError, match="no part 'nothing'"):
        version.split("nothing")
    with pytest.raises(BadInputError, match="no split 'nothing'"):
        version.split("nothing/train")
    many.write_text(SPLITS.replace("[default", "[other"))
    with pytest.raises(BadInputError, match=r"has several splits, .*name one before the part, as \w+/PART"):
        version.split("train", many)
    with pytest.raises(PathNotFoundError, match=r"gone\.toml"):
        version.split("train", tmp_path / "gone.toml")


def test_a_version_without_definitions_says_so(repository: Repository, folder: Path) -> None:
    (folder / SPLITS_FILE).unlink()
    repository.commit("t", folder)
    with pytest.raises(PathNotFoundError, match=r"no file \.dataver-splits\.toml"):
        repository.version("t").split("train")
    assert repository.version("t@v1").split("train").num_rows > 0


@pytest.mark.parametrize(
    ("definition", "problem"),
    [
        (dataver.HashSplit("nothing", a=1), "no column 'nothing'"),
        (dataver.TimeSplit("word", a="..2026-01-01"), "timestamp or date"),
        (dataver.ListSplit("id", a=["seven"]), "no int64"),
        (dataver.ListSplit("word", a="lists/more.parquet"), "cannot be read"),
        (dataver.ListSplit("id", a="lists/gold.csv", b=[7]), "in both"),
        (dataver.ListSplit("x", a="rows/0.parquet", b=[7.0]), "in both"),
    ],
)
def test_definitions_that_do_not_fit_the_tables(
    version: dataver.Version, definition: Split, problem: str
) -> None:
    with pytest.raises(BadInputError, match=problem):
        _ = version.split("a", definition, path="rows").num_rows


def test_a_list_of_another_type_is_refused(repository: Repository, folder: Path) -> None:
    pq.write_table(pa.table({"id": ["7"]}), folder / "lists" / "more.parquet")
    repository.commit("t", folder)
    with pytest.raises(BadInputError, match="never the same"):
        _ = repository.version("t").split("listed/more").num_rows


def test_only_the_columns_that_decide_are_read(repository: Repository, folder: Path) -> None:
    ids = range(2000)
    pq.write_table(
        pa.table({"id": ids, "word": ["w"] * 2000, "x": [os.urandom(2000) for _ in ids]}),
        folder / "rows" / "0.parquet",
        use_dictionary=False,
    )
    (folder / "rows" / "1.parquet").unlink()
    (folder / "rows" / "2.parquet").unlink()
    repository.commit("t", folder)
    store = CountingStore(repository.session.store)
    view = over(store).version("t").split("train")
    store.reset()
    assert 1500 < view.num_rows < 1700
    assert store.read_bytes < 1_000_000, "the column x has 4 MB"


def test_tables_that_are_none(repository: Repository, folder: Path) -> None:
    (folder / "rows" / "0.parquet").write_bytes(b"PAR1 is not enough PAR1")
    repository.commit("t", folder)
    view = repository.version("t").split("train")
    with pytest.raises(BadInputError, match="cannot be read"):
        _ = view.num_rows
    with pytest.raises(BadInputError, match="cannot be read"):
        view.to_arrow()
    with pytest.raises(BadInputError, match="cannot be read"):
        repository.overlap("t", "t@v1", key="id")


def test_columns_that_are_not_there(version: dataver.Version) -> None:
    with pytest.raises(BadInputError, match="no column 'y'"):
        version.split("train").to_arrow(["y"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: dataver.HashSplit("id"),
        lambda: dataver.HashSplit([], a=1),
        lambda: dataver.HashSplit(["id", "id"], a=1),
        lambda: dataver.HashSplit("id", a=0.5, b=0.4),
        lambda: dataver.HashSplit("id", a=0, b=1),
        lambda: dataver.HashSplit("id", a=True),
        lambda: dataver.HashSplit("id", a="x"),
        lambda: dataver.HashSplit("id", a="nan"),
        lambda: dataver.HashSplit("id", parts={"a b": 1}),
        lambda: dataver.HashSplit("id", parts={"a": "0.1234567890123456789", "b": "0.8765432109876543211"}),
        lambda: dataver.HashSplit("id", salt="\udcff", a=1),
        lambda: dataver.TimeSplit("t"),
        lambda: dataver.TimeSplit("t", a="2026-01-01"),
        lambda: dataver.TimeSplit("t", a="2026-02-01..2026-01-01"),
        lambda: dataver.TimeSplit("t", a="..tomorrow"),
        lambda: dataver.TimeSplit("t", a="..2026-02-01", b="2026-01-01.."),
        lambda: dataver.TimeSplit("t", a="..2026-02-01", b=".."),
        lambda: dataver.ColumnSplit("s", a="x", b=["x", "y"]),
        lambda: dataver.ColumnSplit("s", a=[1]),  # type: ignore[list-item]
        lambda: dataver.ListSplit("id"),
        lambda: dataver.ListSplit("id", a=[1], rest="a"),
        lambda: dataver.ListSplit(["id", "k"], a=[1]),
        lambda: dataver.ListSplit("id", a=[float("nan")]),
        lambda: dataver.ListSplit("id", a=[None]),
        lambda: from_document({"kind": "hash", "keys": "id", "parts": {"a": 1}, "more": 1}),
        lambda: from_document({"kind": "magic"}),
        lambda: from_document({"kind": "hash"}),
        lambda: from_document({"kind": "column", "column": "s", "format": 2}),
        lambda: from_document([]),
        lambda: load(b"x = ", "x.toml"),
        lambda: load(b"[1]", "x.json"),
        lambda: load(b"\xff", "x.toml"),
        lambda: load(b"x = 1", "x.toml"),
        lambda: parse_node("iris:"),
    ],
)
def test_what_is_no_definition(make: Any) -> None:
    with pytest.raises(BadInputError):
        make()


def test_thirds_are_fine_and_the_last_part_has_the_rest() -> None:
    thirds = dataver.HashSplit("id", a=1 / 3, b=1 / 3, c=1 / 3)
    assert len(thirds.bounds) == 2
    assert dataver.HashSplit("id", only=1).bounds == ()
    halves = dataver.HashSplit("id", b=0.5, a="0.50")
    assert halves.bounds == (2**63,)
    assert halves == dataver.HashSplit(["id"], a=0.5, b=0.5)
    assert halves.canonical == (
        b'{"format":1,"keys":["id"],"kind":"hash","parts":{"a":"0.5","b":"0.5"},"path":"","salt":""}'
    )


def test_nodes() -> None:
    assert parse_node("iris@v3") == ("iris@v3", None)
    assert parse_node("a/b@main~2:when/train") == ("a/b@main~2", "when/train")
