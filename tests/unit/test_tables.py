"""What Parquet footers say, and how two of them differ."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner

import dataver
from dataver.cli import main
from dataver.tables.changes import compare_footers
from dataver.tables.footer import TableFooter, read_footer


def parquet(**columns: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def test_rows_and_columns_are_read() -> None:
    footer = read_footer(io.BytesIO(parquet(a=[1, 2, 3], b=["x", "y", "z"])))
    assert footer == TableFooter(3, (("a", "int64"), ("b", "string")))


def test_what_is_not_parquet_is_none() -> None:
    whole = parquet(a=[1])
    for data in (b"", b"PAR1", b"PAR1PAR1", b"no table" * 10, whole[:-1], whole[1:-4] + b"PARX"):
        assert read_footer(io.BytesIO(data)) is None


def test_a_footer_that_claims_a_million_columns_costs_nothing() -> None:
    claim = b"\x19\xfc\xc0\x84\x3d\x00"
    data = b"PAR1" + bytes(64) + claim + struct.pack("<I", len(claim)) + b"PAR1"
    assert read_footer(io.BytesIO(data)) is None


def test_every_truncated_footer_is_none_or_right() -> None:
    whole = parquet(a=[1, 2], b=[1.0, 2.0])
    right = read_footer(io.BytesIO(whole))
    for cut in range(len(whole)):
        assert read_footer(io.BytesIO(whole[:cut])) in (None, right)


def test_compare_names_columns_by_what_happened_to_them() -> None:
    old = TableFooter(10, (("kept", "int64"), ("gone", "string"), ("wider", "int32")))
    new = TableFooter(12, (("kept", "int64"), ("wider", "int64"), ("new", "double")))
    change = compare_footers("t.parquet", old, new)
    assert change.rows == (10, 12)
    assert (change.added, change.dropped) == (("new",), ("gone",))
    assert change.retyped == (("wider", "int32", "int64"),)


def test_diff_tables_on_the_command_line(tmp_path: Path) -> None:
    data, place = tmp_path / "data", str(tmp_path / "repository")
    data.mkdir()
    repository = dataver.init(place)
    (data / "t.parquet").write_bytes(parquet(a=[1, 2], b=["x", "y"]))
    (data / "same.parquet").write_bytes(parquet(a=[1]))
    repository.commit("t", data)
    (data / "t.parquet").write_bytes(parquet(a=[1.5, 2.5, 3.5], c=[1, 2, 3]))
    repository.commit("t", data)
    result = CliRunner().invoke(main, ["-R", place, "diff", "t@v1", "t@v2", "--tables", "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["modified"] == ["t.parquet"]
    assert document["tables"] == [
        {
            "path": "t.parquet",
            "rows": [2, 3],
            "columns": {"added": ["c"], "dropped": ["b"], "retyped": [["a", "int64", "double"]]},
            "moved": None,
        }
    ]
    text = CliRunner().invoke(main, ["-R", place, "diff", "t@v1", "t@v2", "--tables"]).stdout
    assert "2 -> 3 rows" in text
    assert "dropped column  b" in text
