"""`lineage` and `who-used` as commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import dataver
from dataver.format.run_record import RunRecord
from tests import runs

if TYPE_CHECKING:
    from click.testing import Result


@pytest.fixture
def trained(iris: Path) -> RunRecord:
    """A run that read `iris@v1` and made `model:churn@v1`."""
    repository = dataver.open()
    return runs.record(
        repository, [runs.read(repository, "iris@v1")], [runs.model("churn", {"m": b"1"})], name="fit"
    )


def test_lineage_of_a_model(
    trained: RunRecord, document: Callable[..., dict[str, Any]], ok: Callable[..., str]
) -> None:
    found = document("lineage", "model:churn@v1", "--up")
    run = f"run:{trained.run}"
    assert {(node["id"], node["kind"]) for node in found["nodes"]} == {
        ("model:churn@v1", "model"),
        (run, "run"),
        ("iris@v1", "version"),
    }
    assert {"from": run, "to": "model:churn@v1", "kind": "made"} in found["edges"]
    assert {
        "from": "iris@v1",
        "to": run,
        "kind": "read",
        "role": "training",
        "ref": "iris@v1",
    } in found["edges"]
    text = ok("lineage", "iris")
    assert "came from:\n  nothing that is recorded\nused by:\n  read by as training: run:" in text
    assert "\n    made model:churn@v1" in text
    assert ok("lineage", "iris", "--up").startswith("iris@v1  4 files")


def test_lineage_as_graphs_and_as_a_page(trained: RunRecord, ok: Callable[..., str], place: Path) -> None:
    assert ok("lineage", "iris", "--dot").startswith("digraph lineage {\n")
    assert ok("lineage", "iris", "--mermaid", "--html", "page.html").startswith("flowchart LR\n")
    assert "<svg" in (place / "page.html").read_text()


def test_lineage_says_where_it_stops(trained: RunRecord, run: Callable[..., Result]) -> None:
    result = run("lineage", "iris", "--max", "1", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["complete"] is False
    assert "--max" in result.stderr
    assert "--max" not in run("lineage", "iris", "--depth", "1").stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("lineage", "none"), 3),
        (("lineage", "model:none"), 3),
        (("lineage", "models:/none/1"), 3),
        (("lineage", "file:iris"), 2),
        (("lineage", "iris", "--depth", "-1"), 2),
        (("who-used", "none"), 3),
        (("who-used", "ab" * 32), 3),
        (("who-used", "run:" + "ab" * 16), 3),
    ],
)
def test_what_is_not_there(
    iris: Path, run: Callable[..., Result], arguments: tuple[str, ...], code: int
) -> None:
    result = run(*arguments, "--json")
    assert (result.exit_code, result.stdout) == (code, "")
    assert json.loads(result.stderr)["error"]["code"] == code


def test_who_used(
    trained: RunRecord, document: Callable[..., dict[str, Any]], ok: Callable[..., str]
) -> None:
    found = document("who-used", "iris@v1")
    [use] = found["runs"]
    assert (use["run"], use["how"], use["models"]) == (trained.run, "read", ["model:churn@v1"])
    assert found["models"] == ["model:churn@v1"]
    assert document("who-used", "iris/a.csv")["versions"][0]["paths"] == ["a.csv"]
    text = ok("who-used", "iris@v1!train/b.csv")
    assert text.startswith("in iris@v1  train/b.csv\nhad access  run:")
    assert text.endswith("\n1 run, 1 model\n")
