"""Croissant, loaded by its own library: what it says, and the rows that it streams from a checkout."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import mlcroissant
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataver
from dataver.exports.croissant_tables import data_type
from tests.standards.data import CANARY, World, program


def checked_out(world: World, ref: str, *options: str) -> tuple[Any, Any]:
    """The document at the root of a checkout as the library loads it, and as it is.

    There is no fault in it but that a dataset without a card has no licence.
    """
    program("checkout", ref, "out")
    program("export", "croissant", ref, "-o", "out/croissant.json", *options)
    dataset = mlcroissant.Dataset("out/croissant.json")
    issues = dataset.metadata.ctx.issues
    document = json.loads(Path("out/croissant.json").read_text())
    odd = {
        warning for warning in issues.warnings if "license" in document or "schema.org/license" not in warning
    }
    assert (set(issues.errors), odd) == (set(), set())
    return dataset, document


def rows_of(dataset: Any, name: str) -> list[dict[str, Any]]:
    """The rows of a record set, by the names of the columns, texts as such."""
    return [
        {key.rpartition("/")[2]: plain(value) for key, value in record.items()}
        for record in dataset.records(name)
    ]


def plain(value: Any) -> Any:
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, bytes):
        return value.decode()
    return value.date() if hasattr(value, "date") else value


def test_rows_are_those_of_the_version(world: World) -> None:
    dataset, document = checked_out(world, "iris@v2")
    version = world.repository.version("iris@v2")
    assert [each["@id"] for each in document["recordSet"]] == ["table/kinds.parquet", "table/train"]
    assert rows_of(dataset, "table/train") == version.to_arrow("train").to_pylist()
    assert rows_of(dataset, "table/kinds.parquet") == version.to_arrow("kinds.parquet").to_pylist()


def test_files_have_their_digests(world: World) -> None:
    _, document = checked_out(world, "iris@v1")
    files = {
        each["contentUrl"]: each for each in document["distribution"] if each["@type"] == "cr:FileObject"
    }
    assert set(files) == {entry.path for entry in world.repository.version("iris@v1").files()}
    for path, each in files.items():
        data = (Path("out") / path).read_bytes()
        assert each["sha256"] == hashlib.sha256(data).hexdigest()
        assert each["contentSize"] == f"{len(data)} B"


def test_a_changed_file_is_refused(world: World) -> None:
    dataset, _ = checked_out(world, "iris@v1")
    with Path("out/kinds.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(Exception, match=r"Download\(file/kinds.parquet\)") as found:
        list(dataset.records("table/kinds.parquet"))
    assert "is not identical with the reference" in str(found.value.__cause__)


def test_what_the_card_and_the_record_say(world: World) -> None:
    dataset, document = checked_out(world, "iris@v1")
    metadata = dataset.metadata
    assert (metadata.name, metadata.version, metadata.url) == (
        "iris",
        "1.0.0",
        "https://data.example.org/iris",
    )
    assert metadata.license == ["https://spdx.org/licenses/CC-BY-4.0.html"]
    assert metadata.creators[0].name == "Example Institute"
    assert metadata.cite_as == "Example, A. (2026). Irises."
    assert metadata.keywords == ["flowers", "botany"]
    assert metadata.description == "Sizes of sepals and petals, a row for each flower."
    assert metadata.data_collection == "measured by hand"
    assert metadata.data_preprocessing_protocol == ["duplicates removed"]
    assert metadata.data_limitations == ["three kinds only"]
    assert metadata.date_published.isoformat() == "2026-01-31T09:30:00+00:00"
    assert document["isBasedOn"] == ["https://data.example.org/raw.zip"]
    assert document["identifier"] == world.repository.version("iris@v1").id


def test_a_version_without_a_card_is_loaded_too(world: World) -> None:
    dataset, document = checked_out(world, "clean/iris")
    assert document["creator"] == {"@type": "sc:Person", "name": "Ada Example", "email": "ada@example.org"}
    assert dataset.metadata.cite_as.startswith("Ada Example (2026). clean/iris@v1. ")
    assert "recordSet" not in document


def test_rows_are_read_from_where_the_files_are_served(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlcroissant._src.core.constants.DOWNLOAD_PATH", _epath(tmp_path / "downloads"))
    program("checkout", "iris@v1", "served")
    handler = partial(Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        dataset, document = checked_out(world, "iris@v1", "--base-url", url)
        assert [each["@id"] for each in document["recordSet"]] == [
            "table/kinds.parquet", "table/train/part-0.parquet", "table/train/part-1.parquet",
        ]  # fmt: skip
        version = world.repository.version("iris@v1")
        wanted = version.to_arrow("train/part-1.parquet").to_pylist()
        assert rows_of(dataset, "table/train/part-1.parquet") == wanted
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder, and logs nothing."""

    def log_message(self, *arguments: object) -> None:
        pass


def _epath(path: Path) -> Any:
    from etils import epath

    return epath.Path(path)


def test_odd_names_and_columns(world: World) -> None:
    odd = world.folder / "odd"
    (odd / "a b").mkdir(parents=True)
    table = pa.table({
        "a/b c%": [1, 2], "größe": [1.5, None], "d": pa.array(["x", "y"]).dictionary_encode(),
        "s": [{"x": 1}, {"x": 2}], "n": pa.array([[1], [2, 3]], pa.large_list(pa.int32())),
    })  # fmt: skip
    for name in ("p[1].parquet", "p2.parquet", "p*.parquet"):
        pq.write_table(table, odd / "a b" / name)
    (odd / "no.parquet").write_bytes(b"PAR1 is no table")
    world.repository.commit("odd", odd)
    dataset, document = checked_out(world, "odd")
    (found,) = document["recordSet"]
    assert found["description"].endswith("cannot have: s (struct<x: int64>)")
    names = {each["@id"]: each["name"] for each in found["field"]}
    assert list(names.values()) == ["a/b c%", "größe", "d", "n"]
    records = [
        {names[key]: plain(value) for key, value in each.items()} for each in dataset.records(found["@id"])
    ]
    assert records == world.repository.version("odd").to_arrow("a b").drop_columns("s").to_pylist()


@pytest.mark.parametrize(
    "served", [(), ("--base-url", "https://data.example.org/linked")], ids=["beside", "served"]
)
def test_a_symlink_to_a_table_is_no_table_of_its_own(world: World, served: tuple[str, ...]) -> None:
    linked = world.folder / "linked"
    (linked / "latest").mkdir(parents=True)
    pq.write_table(pa.table({"a": [1, 2]}), linked / "real.parquet")
    (linked / "beside.parquet").symlink_to("real.parquet")
    (linked / "latest" / "x.parquet").symlink_to("../real.parquet")
    world.repository.commit("linked", linked)
    dataset, document = checked_out(world, "linked", *served)
    assert [each["@id"] for each in document["distribution"]] == ["file/real.parquet"]
    assert [each["@id"] for each in document["recordSet"]] == ["table/real.parquet"]
    if not served:
        assert rows_of(dataset, "table/real.parquet") == [{"a": 1}, {"a": 2}]


def test_columns_that_no_name_tells_apart_are_left_out(world: World) -> None:
    columns = [pa.array([number]) for number in range(4)]
    odd = world.folder / "odd"
    odd.mkdir()
    pq.write_table(pa.Table.from_arrays(columns, ["a", "", "twice", "twice"]), odd / "t.parquet")
    world.repository.commit("odd", odd)
    _, document = checked_out(world, "odd")
    (found,) = document["recordSet"]
    assert found["description"].endswith("cannot have:  (int64), twice (int64), twice (int64)")
    assert [each["name"] for each in found["field"]] == ["a"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.int8(), "cr:Int8"), (pa.uint64(), "cr:UInt64"), (pa.float16(), "cr:Float16"),
        (pa.float32(), "cr:Float32"), (pa.large_string(), "sc:Text"), (pa.date64(), "sc:Date"),
        (pa.timestamp("ns", "UTC"), "sc:DateTime"), (pa.time64("us"), "sc:Time"),
        (pa.decimal128(9, 2), "sc:Float"), (pa.dictionary(pa.int8(), pa.string()), "sc:Text"),
        (pa.binary(), None), (pa.struct([("x", pa.int8())]), None), (pa.map_(pa.string(), pa.int8()), None),
        (pa.list_(pa.list_(pa.int8())), None), (pa.duration("s"), None), (pa.null(), None),
    ],
    ids=str,
)  # fmt: skip
def test_types(kind: pa.DataType, expected: str | None) -> None:
    assert data_type(str(kind)) == (None if expected is None else (expected, False))


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.int8()),
        pa.large_list(pa.int8()),
        pa.list_(pa.int8(), 3),
        pa.list_(pa.field("x", pa.int8(), False)),
    ],
    ids=str,
)
def test_types_of_lists(kind: pa.DataType) -> None:
    assert data_type(str(kind)) == ("cr:Int8", True)


def test_the_same_bytes_always_and_no_secret(world: World) -> None:
    first = program("export", "croissant", "iris@v2")
    program("tag", "iris@v2", "paper")
    assert program("export", "croissant", "iris@paper") == first
    assert CANARY not in first
    assert json.loads(program("export", "croissant", "iris@v2", "--json")) == json.loads(first)


def test_a_url_that_is_none_is_refused(world: World) -> None:
    assert "is no URL" in program("export", "croissant", "iris", "--base-url", "s3://bucket", code=2)
    with pytest.raises(dataver.errors.RefNotFoundError):
        world.repository.version("iris@v9")
