"""`dataver split` and `dataver overlap` on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from click.testing import Result

Document = Callable[..., dict[str, Any]]
Ok = Callable[..., str]
Run = Callable[..., "Result"]

SPLITS = """
[default]
kind = "hash"
keys = ["id"]
parts = {train = 0.8, test = 0.2}

[young]
kind = "time"
column = "day"
parts = {old = "..1970-02-01", new = "1970-02-01..1970-03-01"}
"""


@pytest.fixture
def rows(place: Path, ok: Ok) -> Path:
    """A version with splits of its own."""
    folder = place / "rows"
    folder.mkdir()
    days = pa.array([n * 86_400 for n in range(100)], pa.timestamp("s"))
    pq.write_table(
        pa.table({"id": range(100), "day": days, "odd\x1b": [n % 2 for n in range(100)]}),
        folder / "t.parquet",
    )
    (folder / ".dataver-splits.toml").write_text(SPLITS)
    ok("init")
    ok("commit", "t", "rows")
    return folder


def test_show_a_part(rows: Path, document: Document, ok: Ok) -> None:
    found = document("split", "show", "t@v1:young/new")
    assert (found["part"], found["rows"], found["parts"], found["unassigned"]) == (
        "new",
        28,
        {"new": 28, "old": 31},
        41,
    )
    assert (found["ref"], found["version"], found["definition"]["kind"]) == ("t@v1", "v1", "time")
    assert len(found["digest"]) == len(found["definition_digest"]) == len(found["id"]) == 64
    assert "28  rows" in ok("split", "show", "t:young/new")


def test_show_all_parts(rows: Path, document: Document, ok: Ok, place: Path) -> None:
    found = document("split", "show", "t")
    assert sum(found["parts"].values()) == 100
    assert not {"part", "rows", "digest"} & set(found)
    own = place / "own.json"
    own.write_text(json.dumps({"kind": "column", "column": "odd\x1b", "parts": {"even": ["0"]}}))
    found = document("split", "show", "t", "--by", str(own), "--path", "t.parquet")
    assert (found["parts"], found["unassigned"], found["definition"]["path"]) == (
        {"even": 50},
        50,
        "t.parquet",
    )
    assert "in no part  50  rows" in ok("split", "show", "t", "--by", str(own))
    assert "\x1b" not in ok("split", "show", "t", "--by", str(own))


def test_list_definitions(rows: Path, document: Document, ok: Ok) -> None:
    found = document("split", "list", "t")["splits"]
    assert [split["name"] for split in found] == ["default", "young"]
    assert found[1]["digest"] in ok("split", "list", "t@v1")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("split", "show", "t:nothing"), 2),
        (("split", "show", "t:"), 2),
        (("split", "show", "t:no/train"), 2),
        (("split", "show", "t@v9:train"), 3),
        (("split", "show", "t:train", "--by", "gone.toml"), 3),
        (("split", "show", "t:train", "--path", "gone"), 3),
        (("split", "frob", "t"), 2),
        (("overlap", "t", "t", "--key", "nothing", "--path", "x"), 3),
        (("overlap", "t:young/old", "t:young/new"), 2),
        (("overlap", "t:train", "t:test", "--key", "id,,day"), 2),
        (("diff", "t", "t", "--rows", "--key", ""), 2),
        (("drift", "t", "t", "rows", "--columns", ""), 2),
        (("overlap", "t:train"), 2),
    ],
)
def test_what_fails(arguments: tuple[str, ...], code: int, rows: Path, run: Run) -> None:
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""


def test_a_version_without_splits(iris: Path, run: Run) -> None:
    for arguments in (
        ("split", "list", "iris"),
        ("split", "show", "iris:train"),
        ("overlap", "iris:a", "iris"),
    ):
        result = run(*arguments)
        assert result.exit_code == 3
        assert ".dataver-splits.toml" in result.stderr


def test_overlap_of_parts(rows: Path, document: Document, run: Run) -> None:
    found = document("overlap", "t:train", "t:test", "--fail-on", "overlap")
    assert found["overlap"] is False
    assert (found["files"], found["chunks"], found["rows"]["keys"]) == (None, None, 0)
    result = run("overlap", "t:train", "t:young/old", "--json", "--fail-on", "overlap")
    assert result.exit_code == 9
    assert json.loads(result.stdout)["overlap"] is True
    assert json.loads(result.stderr)["error"]["code"] == 9
    assert run("overlap", "t:train", "t:young/old").exit_code == 0
    (rows / "own.toml").write_text('kind = "list"\nkeys = "id"\nrest = "train"\nparts = {gold = [1, 2]}\n')
    found = document("overlap", "t:gold", "t:train", "--by", str(rows / "own.toml"))
    assert (found["overlap"], found["rows"]["a_rows"], found["rows"]["b_rows"]) == (False, 2, 98)


def test_overlap_of_versions(rows: Path, ok: Ok, document: Document, run: Run) -> None:
    days = pa.array([86_400_000 * 50], pa.timestamp("ms"))
    pq.write_table(pa.table({"day": days, "id": pa.array([50], pa.int8())}), rows / "t.parquet")
    (rows / "big").write_bytes(b"x" * 100)
    ok("commit", "t", "rows")
    found = document("overlap", "t@v1", "t@v2", "--key", "id,day")
    assert found["files"] == []
    assert found["rows"] == {
        "key": ["id", "day"],
        "a_rows": 100,
        "b_rows": 1,
        "keys": 1,
        "a_shared": 1,
        "b_shared": 1,
        "examples": [[50, "1970-02-20 00:00:00"]],
    }
    assert "1 key in both" in ok("overlap", "t@v1", "t@v2", "--key", "id,day")
    assert run("overlap", "t@v1", "t@v2", "--fail-on", "overlap").exit_code == 0
    assert run("overlap", "t@v2", "t", "--fail-on", "overlap").exit_code == 9


def test_parts_of_pinned_names(rows: Path, ok: Ok, document: Document) -> None:
    ok("lock", "add", "t")
    (rows / ".dataver-splits.toml").unlink()
    ok("commit", "t", "rows")
    assert document("split", "show", "t:train")["version"] == "v1"


def test_add_a_definition(rows: Path, ok: Ok, document: Document) -> None:
    found = document(
        "split", "add", "users", "--key", "id", "--part", "a=0.5", "--part", "b=0.5", "--into", "rows"
    )
    assert found["file"] == "rows/.dataver-splits.toml"
    assert found["definition"]["parts"] == {"a": "0.5", "b": "0.5"}
    assert found["digest"] in ok(
        "split", "add", "users", "--by", "rows/.dataver-splits.toml", "--into", "rows"
    )
    ok(
        "split",
        "add",
        "days",
        "--time",
        "day",
        "--part",
        "old=..1970-02-01",
        "--into",
        "rows",
        "--path",
        "t.parquet",
    )
    ok("split", "add", "odd", "--column", "odd\x1b", "--part", "yes=1", "--part", "no=0,2", "--into", "rows")
    ok(
        "split",
        "add",
        "listed",
        "--key",
        "id",
        "--part",
        "gold=gold.csv",
        "--rest",
        "other",
        "--into",
        "rows",
    )
    (rows / "gold.csv").write_text("id\n3\n5\n")
    ok("commit", "t", "rows")
    listed = document("split", "list", "t")["splits"]
    assert [one["name"] for one in listed] == ["days", "default", "listed", "odd", "users", "young"]
    assert found["digest"] == listed[4]["digest"]
    assert document("split", "show", "t:users/a")["definition_digest"] == found["digest"]
    assert document("split", "show", "t:listed/gold")["rows"] == 2
    assert document("split", "show", "t:odd/no")["rows"] == 50
    assert document("split", "show", "t:days/old")["rows"] == 31


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["add", "x"], 2, "give one of --key, --time, --column and --by"),
        (["add", "x", "--key", "id", "--time", "day"], 2, "give one of"),
        (["add", "x", "--key", "id"], 2, "has no parts"),
        (["add", "x", "--key", "", "--part", "a=1"], 2, "one of the names is empty"),
        (["add", "x", "--key", "id,", "--part", "a=1"], 2, "one of the names is empty"),
        (["add", "x", "--key", "id", "--part", "a"], 2, "--part takes KEY=VALUE"),
        (["add", "x", "--column", "c", "--salt", "s"], 2, "has no 'salt'"),
        (["add", "x", "--by", "rows/.dataver-splits.toml", "--rest", "r"], 2, "--by names a whole"),
        (["add", "x", "--by", "rows/.dataver-splits.toml"], 2, "has no definition 'x'"),
        (["add", "-x/y", "--column", "c"], 2, "See `dataver split --help`"),
        (["add", "x/y", "--column", "c"], 2, "is not a name for a split"),
        (["add", "default", "--column", "c", "--into", "rows"], 4, "defines 'default' otherwise"),
        (["add", "x", "--column", "c", "--into", "none"], 3, "there is no folder"),
        (["show", "t:train", "--part", "a=1"], 2, "--part is for `split add`"),
    ],
)
def test_definitions_that_cannot_be_added(
    rows: Path, run: Run, arguments: list[str], code: int, message: str
) -> None:
    before = (rows / ".dataver-splits.toml").read_bytes()
    result = run("split", *arguments)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert (rows / ".dataver-splits.toml").read_bytes() == before
