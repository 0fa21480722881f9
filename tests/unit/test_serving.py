"""Requests to a model as rows, rows as tables, and what is kept of them."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy
import pandas
import pyarrow as pa
import pytest

from dataver.errors import BadInputError, RepositoryNotFoundError
from dataver.serving import Capture
from dataver.serving.bodies import NotUnderstoodError, as_rows, parse
from dataver.serving.capture import window_of
from dataver.serving.privacy import make_privacy
from dataver.serving.spool import Spool, SpoolFile, held, is_free, read, waiting
from dataver.serving.tables import schema_of, table_of, timed, types_of

ROWS = [{"age": 41, "country": "DE"}, {"age": 7, "country": "FR"}]
JSON = "application/json; charset=utf-8"


@pytest.mark.parametrize(
    "document",
    [
        {"dataframe_split": {"columns": ["age", "country"], "data": [[41, "DE"], [7, "FR"]]}},
        {"dataframe_split": {"data": [[41, "DE"], [7, "FR"]]}},
        {"dataframe_records": ROWS},
        {"instances": ROWS, "params": {"temperature": 1}},
        {"instances": [[41, "DE"], [7, "FR"]]},
        {"inputs": {"age": [41, 7], "country": ["DE", "FR"]}},
        {"inputs": [[41, "DE"], [7, "FR"]]},
        ROWS,
    ],
    ids=lambda document: json.dumps(document)[:40],
)
def test_what_invocations_take_are_rows(document: object) -> None:
    assert parse(JSON, json.dumps(document).encode(), ["age", "country"]) == ROWS


def test_other_bodies_are_rows_too() -> None:
    assert parse("text/csv", b"age,country\r\n41,DE\r\n\r\n") == [{"age": 41, "country": "DE"}]
    assert parse("text/csv", b"a,b,c,d,e,f\n-1.50,1e3,007,,True,12 x") == [
        {"a": -1.5, "b": 1000.0, "c": "007", "d": None, "e": True, "f": "12 x"}
    ]
    assert parse("text/csv", b"") == parse("text/csv", b"age,country\n") == []
    assert parse("application/vnd.x+json", b'{"age": 41}') == [{"age": 41}]
    assert parse(JSON, b'{"instances": [[1, 2], [3, 4]]}') == [{"0": 1, "1": 2}, {"0": 3, "1": 4}]
    assert parse(JSON, b'{"instances": [1, 2]}', ["x"]) == [{"x": 1}, {"x": 2}]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, b"{"),
        (JSON, b"\xff"),
        (JSON, b"3"),
        (JSON, b'"text"'),
        (JSON, b'{"inputs": {"a": [1], "b": [1, 2]}}'),
        (JSON, b'{"inputs": {}}'),
        (JSON, b'{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}'),
        (JSON, b"[" * 100_000),
        ("text/csv", b"a,b\n1,2,3\n"),
        ("text/csv", b"a,b\n1\n"),
        ("image/png", b"{}"),
        ("", b"{}"),
    ],
)
def test_what_holds_no_rows_is_told(kind: str, body: bytes) -> None:
    with pytest.raises(NotUnderstoodError):
        parse(kind, body)


@pytest.mark.parametrize(
    "given",
    [
        ROWS,
        {"age": [41, 7], "country": ["DE", "FR"]},
        {"age": numpy.array([41, 7]), "country": ("DE", "FR")},
        pandas.DataFrame(ROWS),
        pa.Table.from_pylist(ROWS),
    ],
    ids=["rows", "lists", "arrays", "pandas", "pyarrow"],
)
def test_rows_come_as_people_have_them(given: object) -> None:
    assert as_rows(given) == ROWS


def test_columns_have_the_type_of_most_values_and_nothing_is_lost() -> None:
    rows: list[dict[str, Any]] = [
        {"n": 1, "b": True, "t": "x", "list": [1, 2], "none": None, "big": 1 << 60},
        {"n": 2.5, "b": False, "t": 3, "list": [], "none": None, "served_time": "mine", "other": 1},
        {"n": "three", "t": "y", "late": None},
    ]
    schema = schema_of(enumerate(rows), {"none": "double", "n": "string"})
    assert schema == {
        "n": "double", "b": "bool", "t": "string", "list": "string", "none": "double", "big": "string",
        "late": "string",
    }  # fmt: skip
    table = table_of(enumerate([*rows, {"new": {"a": 1}}]), schema)
    assert table.schema.names == ["served_time", *schema, "other"]
    found = table.drop_columns(["served_time"]).to_pylist()
    assert [row["n"] for row in found] == [1.0, 2.5, None, None]
    assert found[0]["list"] == "[1, 2]"
    assert found[0]["big"] == str(1 << 60)
    others = [row["other"] and json.loads(row["other"]) for row in found]
    assert others == [None, {"t": 3, "served_time": "mine", "other": 1}, {"n": "three"}, {"new": {"a": 1}}]
    assert table["served_time"].to_pylist()[1] == datetime.fromtimestamp(1e-6, UTC)
    assert {name: kind for name, kind in types_of(table.schema).items() if name in schema} == schema


def test_one_request_of_many_columns_does_not_make_them_all() -> None:
    odd = {f"odd{number}": number for number in range(3000)}
    schema = schema_of(enumerate([odd, {"age": 1, "rare": None}, {"age": 2}]), {"rare": "double"})
    assert len(schema) == 2000
    assert (schema["age"], schema["rare"]) == ("double", "double")
    row = table_of([(0, odd)], schema).to_pylist()[0]
    assert sorted(
        {**json.loads(row["other"]), **{name: row[name] for name in odd if name in schema}}
    ) == sorted(odd)


def test_types_of_a_models_data() -> None:
    schema = pa.schema(
        [
            ("a", pa.int8()),
            ("b", pa.decimal128(5, 2)),
            ("c", pa.bool_()),
            ("d", pa.date32()),
            ("e", pa.string()),
        ]
    )
    assert types_of(schema) == {"a": "double", "b": "double", "c": "bool", "d": "string", "e": "string"}


def test_columns_are_left_out_or_hashed() -> None:
    kept = make_privacy(["age", "user", "name"], ["name"], ["user"], "k" * 16).kept
    first, again = (kept({"age": 1, "user": "ada", "name": "Ada", "more": 2}) for _ in range(2))
    assert first == again
    assert first.keys() == {"age", "user"}
    assert len(first["user"]) == 32
    assert "ada" not in str(first)
    other = make_privacy([], [], ["user"], b"K" * 100).kept({"user": "ada", "age": None})
    assert other["user"] != first["user"]
    assert kept({"user": None}) == {"user": None}


def test_what_is_left_out_is_so_inside_of_values_too() -> None:
    kept = make_privacy([], ["name"], ["user"], "k" * 16).kept
    person = {"name": "Ada", "user": "ada", "age": 41}
    found = kept({"person": person, "all": [person, {"of": (person,)}]})
    assert "ada" not in json.dumps(found).lower()
    assert found["person"]["age"] == found["all"][1]["of"][0]["age"] == 41
    assert found["person"]["user"] == found["all"][0]["user"] == kept({"user": "ada"})["user"]


def test_columns_without_names_are_not_taken_where_names_are_to_be_left_out() -> None:
    (row,) = as_rows([["Ada", 41]])
    with pytest.raises(NotUnderstoodError, match="no names"):
        make_privacy([], ["name"], [], None).kept(row)
    assert make_privacy([], ["0"], [], None).kept(row) == {"1": 41}
    assert make_privacy(["age"], [], [], None).kept(row) == {}
    (row,) = as_rows([["Ada", 41]], ["name", "age"])
    assert make_privacy([], ["name"], [], None).kept(row) == {"age": 41}


def test_equal_values_have_equal_digests() -> None:
    kept = make_privacy([], [], ["id"], "k" * 16).kept
    given = (41, 41.0, numpy.int64(41), numpy.float32(41))
    assert len({kept({"id": value})["id"] for value in given}) == 1
    assert len({kept({"id": value})["id"] for value in (41, "41", 41.5, True)}) == 4


def test_digests_need_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInputError, match="DATAVER_SERVED_KEY"):
        make_privacy([], [], ["user"], "short")
    monkeypatch.setenv("DATAVER_SERVED_KEY", "k" * 16)
    by_variable = make_privacy([], [], ["user"], None).kept({"user": 1})
    assert by_variable == make_privacy([], [], ["user"], "k" * 16).kept({"user": 1})
    with pytest.raises(BadInputError, match="a list of names"):
        make_privacy([], "user", [], None)


@pytest.mark.parametrize(
    ("window", "found"), [("15m", (900, 0)), ("1h", (3600, 0)), ("1d", (86400, 0)), (5, (0, 5))]
)
def test_windows(window: str | int, found: tuple[int, int]) -> None:
    assert window_of(window) == found


@pytest.mark.parametrize("window", ["", "1", "0h", "2d", "1w", "h", 0, -1, True])
def test_what_is_no_window(window: str | int) -> None:
    with pytest.raises(BadInputError, match="no window"):
        window_of(window)


def test_a_capture_that_makes_no_sense_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInputError, match="fraction"):
        Capture("served", repo=tmp_path, fraction=0)
    with pytest.raises(BadInputError):
        Capture("-served", repo=tmp_path)
    with pytest.raises(BadInputError, match="queue_max"):  # which a queue takes for no limit
        Capture("served", repo=tmp_path, queue_max=0)
    with pytest.raises(BadInputError, match="body_bytes_max"):
        Capture("served", repo=tmp_path, body_bytes_max=-1)
    with pytest.raises(BadInputError, match="spool_bytes_max"):
        Capture("served", repo=tmp_path, spool_bytes_max=0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATAVER_REPO", raising=False)
    with pytest.raises(RepositoryNotFoundError, match="DATAVER_REPO"):
        Capture("served")


def test_a_repository_has_one_folder_however_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "repo")
    names: list[str | Path] = [
        tmp_path / "repo",
        f"{tmp_path}/repo/",
        f"file://{tmp_path}/repo",
        tmp_path / "link",
    ]
    assert len({Capture("served", repo=name).folder for name in names}) == 1
    plain, secret = "az://data/ml", "az://data/ml/?sig=secret"
    assert Capture("served", repo=plain).folder == Capture("served", repo=secret).folder
    assert Capture("served", repo=plain).folder != Capture("other", repo=plain).folder
    (tmp_path / ".dataver").mkdir()
    with pytest.raises(RepositoryNotFoundError, match="holds one"):
        Capture("served", repo=tmp_path)


def test_no_secret_of_a_url_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVER_SERVED_DIR", str(tmp_path / "served"))
    capture = Capture("served", repo="az://user:word@data/ml?sig=secret")
    capture.rows([{"a": 1}])
    capture.close()
    written = b"".join(path.read_bytes() for path in Path(capture.folder).iterdir())
    assert b"az://user@data/ml" in written
    assert b"secret" not in written
    assert b"word" not in written


def test_a_file_is_nobodys_once_it_is_closed(tmp_path: Path) -> None:
    file = SpoolFile(str(tmp_path), 3600, 7200, {"model": "m"})
    file.add(5, [{"a": numpy.int64(3), "b": numpy.float32(0.5), "c": date(2026, 1, 2), "d": float("nan")}])
    file.dropped({"too long": 2})
    assert not is_free(file.path)
    with held(file.path) as ours:
        assert not ours
    file.close()
    assert is_free(file.path)
    with open(file.path, "ab") as cut_short:
        cut_short.write(b'{"t": 6, "rows": [{"a"')
    head, *lines = read(file.path)
    assert (head["start"], head["end"], head["model"]) == (3600, 7200, "m")
    ((time_us, row),) = timed(lines)
    assert time_us == 5
    assert (row["a"], row["b"], row["c"], row["d"] != row["d"]) == (3, 0.5, "2026-01-02", True)
    assert lines[-1] == {"dropped": {"too long": 2}}
    assert [one.path for one in waiting(str(tmp_path))] == [file.path]


def test_rows_go_to_the_file_of_their_window(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "spool"), {}, 3600, 0, 1 << 20)
    hour = 3_600_000_000
    for time_us in (hour, hour + 1, 2 * hour, 2 * hour - 1):  # the last as the clock was set back
        spool.add(time_us, [{"a": 1}], {})
    assert not spool.due(3600)
    assert spool.due(7200)
    spool.close()
    files = waiting(spool.folder)
    assert [(file.start, file.end, len(list(timed(read(file.path))))) for file in files] == [
        (3600, 7200, 2),
        (3600, 7200, 1),
        (7200, 10800, 1),
    ] or [(file.start, len(list(timed(read(file.path))))) for file in files] == [
        (3600, 1),
        (3600, 2),
        (7200, 1),
    ]


def test_half_a_character_is_replaced(tmp_path: Path) -> None:
    file = SpoolFile(str(tmp_path), 0, 0, {})
    file.add(5, [{"a\ud800": "\udfff", "b": ["\ud83d\ude00", "\U0001f600", "\\ud800", "é"]}])
    file.close()
    (row,) = list(timed(read(file.path)))
    table_of([row], schema_of([row], {}))
    assert row[1]["a?"] == "?"
    assert row[1]["b"][1:] == ["\U0001f600", "\\ud800", "é"]


def test_a_spool_goes_on_where_others_remove_what_it_looks_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(str(tmp_path / "spool"), {}, 0, 1, 1 << 20)
    spool.add(1, [{"a": 1}], {})
    gone = waiting(spool.folder)
    with monkeypatch.context() as patch:
        patch.setattr(
            "dataver.serving.spool.waiting", lambda _: [*gone, gone[0].__class__("/gone", 0, 0, "x")]
        )
        spool.add(2, [{"a": 2}], {})
    shutil.rmtree(spool.folder)
    spool.add(3, [{"a": 3}], {})
    spool.close()
    (file,) = waiting(spool.folder)
    assert [time_us for time_us, _ in timed(read(file.path))] == [3]
