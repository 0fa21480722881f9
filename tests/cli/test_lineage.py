"""`lineage`, `who-used` and `audit` as commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import dataver
from dataver.format.run_record import RunRecord
from dataver.lineage import bundle_check
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
        (("lineage", "elsewhere:/none/1"), 3),
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


AUDIT_FIELDS = {
    *("asked", "status", "exit_code", "verified", "model", "run", "code", "environment", "params", "data"),
    *("overlap", "lineage", "used_by", "drift", "evidence", "warnings", "broken", "tried"),
}


def test_audit(
    trained: RunRecord, document: Callable[..., dict[str, Any]], ok: Callable[..., str], place: Path
) -> None:
    found = document("audit", "churn@v1", "--verify", "--html", "page.html")
    assert set(found) >= AUDIT_FIELDS
    assert (found["status"], found["exit_code"], found["verified"]) == ("traced", 0, True)
    assert found["run"]["id"] == trained.run
    assert [(given["node"], given["role"], given["verified"]) for given in found["data"]] == [
        ("iris@v1", "training", True)
    ]
    assert "<svg" in (place / "page.html").read_text()
    text = ok("audit", f"run:{trained.run}")
    assert text.startswith("MODEL     model:churn@v1  tree ")
    assert text.splitlines()[-1].startswith("VERDICT   TRACED, bytes not read")


@pytest.mark.parametrize(
    ("text", "code"),
    [("none@v1", 3), ("elsewhere:/none/1", 3), ("iris", 3), ("./none", 3), ("model:no name", 2)],
)
def test_audit_of_what_nobody_recorded(iris: Path, run: Callable[..., Result], text: str, code: int) -> None:
    result = run("audit", text, "--json")
    assert result.exit_code == code
    assert json.loads(result.stderr)["error"]["code"] == code
    if text not in ("./none", "model:no name"):
        found = json.loads(result.stdout)
        assert (found["status"], found["exit_code"]) == ("not traceable", 3)
        assert found["tried"]


def test_audit_of_changed_data(trained: RunRecord, run: Callable[..., Result], place: Path) -> None:
    assert run("audit", "churn", "--fail-on", "warning").exit_code == 9
    repository = dataver.open()
    digest = repository.version("iris").entry("train/b.csv").digest
    found = repository.session.index(repository.session.state()).find(digest)
    assert found is not None
    pack = next((place / ".dataver" / "packs").rglob(found.pack.hex()))
    data = bytearray(pack.read_bytes())
    data[found.frame_offset + found.stored_bytes - 1] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    result = run("audit", "churn", "--verify", "--json")
    assert result.exit_code == 5
    document = json.loads(result.stdout)
    assert document["status"] == "broken"
    assert "iris@v1!train/b.csv" in [broken["path"] for broken in document["broken"]]
    assert document["broken"][0]["path"] in run("audit", "churn", "--verify").stderr


def test_a_bundle_is_written(trained: RunRecord, run: Callable[..., Result], place: Path) -> None:
    assert run("audit", "churn", "--bundle", "audit.zip").exit_code == 0
    assert bundle_check.main([str(place / "audit.zip")]) == 0
    assert run("audit", "none@v1", "--bundle", "none.zip").exit_code == 3
    assert not (place / "none.zip").exists()
