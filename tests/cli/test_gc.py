"""`gc`, `hold` and `prune` from the command line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from click.testing import Result

Document = Callable[..., dict[str, Any]]


def test_gc_document(document: Document, iris: Path) -> None:
    (iris / "b.csv").write_text("9\n" * 50_000)
    document("commit", "iris", "iris", "--branch", "x")
    document("branch", "iris", "x", "--delete")
    report = document("gc")
    assert set(report) >= {"marked", "swept", "bytes", "kept_by", "unknown"}
    assert (report["done"], report["swept"]) == (False, 0)
    assert report["marked"] >= 2
    assert [version["dataset"] for version in report["versions"]] == ["iris"]
    done = document("gc", "--yes")
    assert (done["done"], done["marked"], done["swept"]) == (True, report["marked"], 0)
    assert document("gc", "--restore")["spared"] == report["marked"]
    swept = document("gc", "--yes", "--grace", "0")
    assert swept["swept"] == report["marked"]
    assert swept["bytes"] > 0
    assert document("verify", "--deep")["ok"]


def test_gc_says_what_keeps_a_version(run: Callable[..., Result], iris: Path) -> None:
    (iris / "b.csv").write_text("9\n")
    run("commit", "iris", "iris", "--branch", "x")
    run("tag", "iris@x", "paper")
    run("branch", "iris", "x", "--delete")
    assert "kept by tag paper" in run("gc").stdout


def test_gc_says_which_runs_and_holds_pin_what(run: Callable[..., Result], iris: Path) -> None:
    """Also where a branch leads there: `prune` lets such a version be."""
    assert iris.exists()
    run("run", "--input", "iris@v1", "--", "true")
    lines = run("gc").stdout.splitlines()
    assert [line.split()[:3] for line in lines if line.startswith("pinned")] == [["pinned", "by", "run"]]
    assert lines[0].split()[-2] == "iris@v1"
    run("hold", "iris@v1", "audit")
    run("hold", "iris@v1", "more")
    assert run("gc").stdout.startswith("pinned by hold audit and 2 more  iris@v1  ")


def test_gc_shows_some_of_many_that_are_pinned(run: Callable[..., Result], iris: Path) -> None:
    for number in range(22):
        (iris / "b.csv").write_text(f"{number}\n")
        run("commit", "iris", "iris")
        run("hold", "iris", f"h{number}")
    lines = run("gc").stdout.splitlines()
    assert len([line for line in lines if line.startswith("pinned by hold")]) == 20
    assert lines[20] == "  and 2 more"


@pytest.mark.parametrize("grace", ["7", "x", "7y", "-1d", "", "1.5d"])
def test_a_grace_that_is_none_is_bad_input(run: Callable[..., Result], iris: Path, grace: str) -> None:
    assert iris.exists()
    result = run("gc", "--grace", grace)
    assert result.exit_code == 2
    assert "duration" in result.stderr or "unit" in result.stderr


def test_marks_are_made_or_taken_back(run: Callable[..., Result], iris: Path) -> None:
    assert iris.exists()
    assert run("gc", "--yes", "--restore").exit_code == 2


def test_what_killed_writers_left_is_removed_after_an_hour(
    document: Document, ok: Callable[..., str], place: Path, iris: Path
) -> None:
    assert iris.exists()
    old, fresh = place / ".dataver/packs/.tmp-old", place / ".dataver/log/.tmp-fresh"
    for path in (old, fresh):
        path.write_bytes(b"half of a pack")
    os.utime(old, (time.time() - 3_700,) * 2)
    report = document("gc")
    assert (report["leftovers"], report["leftover_bytes"]) == (1, 14)
    assert old.exists()
    assert "removed  1 unfinished file of writers that were killed, 14 B" in ok("gc", "--yes")
    assert (old.exists(), fresh.exists()) == (False, True)
    assert document("gc", "--yes")["leftovers"] == 0


def test_hold_documents(document: Document, iris: Path) -> None:
    assert iris.exists()
    id = document("show", "iris")["id"]
    assert document("hold", "iris@v1", "audit") == {"name": "audit", "id": id, "previous": None}
    assert document("hold", "iris@v1", "audit")["previous"] == id
    assert document("hold") == {"holds": [{"name": "audit", "dataset": "iris", "id": id}]}
    assert document("hold", "--release", "audit") == {"name": "audit", "id": None, "previous": id}
    assert document("hold") == {"holds": []}


def test_holds_that_cannot_be(run: Callable[..., Result], iris: Path) -> None:
    (iris / "b.csv").write_text("9\n")
    run("commit", "iris", "iris")
    assert run("hold", "iris@v1", "audit").exit_code == 0
    assert run("hold", "iris@v2", "audit").exit_code == 4
    assert run("hold", "iris@v9", "other").exit_code == 3
    assert run("hold", "iris@v1").exit_code == 2
    assert run("hold", "iris@v1", "not a name").exit_code == 2
    assert run("hold", "--release", "none").exit_code == 3
    assert run("hold", "iris@v1", "--release", "audit").exit_code == 2


def test_prune_document(document: Document, run: Callable[..., Result], iris: Path) -> None:
    for number in range(3):
        (iris / "b.csv").write_text(f"{number}\n")
        document("commit", "iris", "iris")
    report = document("prune", "iris", "--keep-last", "2")
    assert report == {
        "dataset": "iris",
        "done": False,
        "pruned": ["v1", "v2"],
        "kept": {"v3": "one of the last", "v4": "head of main"},
    }
    assert "would be pruned: v1, v2" in run("prune", "iris", "--keep-last", "2").stdout
    assert document("prune", "iris", "--keep-last", "2", "--yes")["done"]
    gone = run("show", "iris@v1")
    assert gone.exit_code == 3
    assert "pruned" in gone.stderr
    assert run("prune", "iris").exit_code == 2
    assert run("prune", "none", "--keep-last", "1").exit_code == 3


def test_a_merge_past_what_was_pruned_is_a_conflict(
    document: Document, run: Callable[..., Result], iris: Path
) -> None:
    document("branch", "iris", "side")
    (iris / "side.csv").write_text("1\n")
    document("commit", "iris", "iris", "--branch", "side")
    document("checkout", "iris@v1", "main")
    Path("main/a.csv").unlink()
    document("commit", "iris", "main")
    document("prune", "iris", "--keep-last", "1", "--yes")
    conflict = run("merge", "iris@side")
    assert conflict.exit_code == 4
    assert "parted is not known" in conflict.stderr
    document("gc", "--restore")
    document("merge", "iris@side")
    paths = [file["path"] for file in document("ls", "iris")["files"]]
    assert "side.csv" in paths
    assert "a.csv" not in paths
