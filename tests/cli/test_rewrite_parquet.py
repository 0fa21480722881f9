"""`dataver rewrite-parquet` on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from click.testing import Result


@pytest.fixture
def data(place: Path) -> Path:
    folder = place / "data"
    folder.mkdir()
    pq.write_table(pa.table({"id": range(5000)}), folder / "a.parquet")
    (folder / "notes\x1b.txt").write_text("hi")
    return folder


def test_in_place(data: Path, ok: Callable[..., str], document: Callable[..., dict[str, Any]]) -> None:
    lines = ok("rewrite-parquet", "data", "--in-place", "--dry-run").splitlines()
    assert lines[0].split()[:3] == ["rewritten", "data/a.parquet", "5,000"]
    assert lines[1].startswith("left       data/notes")
    assert lines[1].endswith("it is not Parquet")
    assert lines[2].endswith("would be rewritten")
    found = document("rewrite-parquet", "data", "--in-place")
    assert {k: v for k, v in found.items() if k != "files"} == {
        "source": "data",
        "target": None,
        "dry_run": False,
    }
    assert [(one["status"], one["rows"], one["reason"]) for one in found["files"]] == [
        ("rewritten", 5000, ""),
        ("left", 0, "it is not Parquet"),
    ]
    assert found["files"][0]["new_bytes"] == (data / "a.parquet").stat().st_size
    assert "same" in ok("rewrite-parquet", "data", "--in-place").split()


def test_another_place(data: Path, ok: Callable[..., str]) -> None:
    assert " -> " in ok("rewrite-parquet", "data", "new", "--byte-stream-split")
    assert pq.read_table("new/a.parquet").num_rows == 5000


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["data"], 2, "name a TARGET, or give --in-place"),
        (["data", "new", "--in-place"], 2, "name a TARGET, or give --in-place"),
        (["none", "--in-place"], 3, "there is no file or folder"),
        (["data", "data/new"], 2, "--in-place replaces"),
        (["data/notes\x1b.txt", "--in-place"], 2, "was left as it is: it is not Parquet"),
        (["data/a.parquet", "data/a.parquet"], 2, "--in-place replaces"),
    ],
)
def test_what_fails(
    data: Path, run: Callable[..., Result], arguments: list[str], code: int, message: str
) -> None:
    result = run("rewrite-parquet", *arguments)
    assert result.exit_code == code
    assert message in result.stderr
