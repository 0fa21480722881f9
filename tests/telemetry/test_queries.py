"""The queries that come with dataver are right by Microsoft's parser, and answer on what was really sent."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb_kql
import pytest

from dataver.integrations.telemetry.pack import queries, workbook
from tests.telemetry.tables import TABLES, database, schema

if TYPE_CHECKING:
    from tests.telemetry.conftest import Program
    from tests.telemetry.receivers import Ingestion

PROJECT = Path(__file__).parents[2]
PARSER = PROJECT / ".kusto" / "node_modules" / "@kusto" / "language-service-next"
ALL = sorted(queries())
Rows = list[dict[str, Any]]


def diagnosed(texts: dict[str, str]) -> dict[str, list[str]]:
    """What Microsoft's parser has to say of queries."""
    assert PARSER.is_dir(), "make test installs the parser"
    asked = {"package": str(PARSER), "tables": {name: schema(name) for name in TABLES}, "queries": texts}
    done = subprocess.run(
        ["node", str(Path(__file__).with_name("analyze.js"))],
        input=json.dumps(asked), capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    answer: dict[str, list[str]] = json.loads(done.stdout)
    return answer


def test_every_query_is_right_by_microsofts_parser() -> None:
    texts = {name: query.kql for name, query in queries().items()}
    assert diagnosed(texts) == {name: [] for name in ALL}


def test_the_parser_finds_what_is_wrong() -> None:
    found = diagnosed(
        {"operator": "customEvents | whre name == 'x'", "column": "customMetrics | where values > 1"}
    )
    assert found["operator"]
    assert "values" in found["column"][0]


def test_the_query_for_power_bi_is_right_as_well() -> None:
    page = (PROJECT / "docs" / "howto" / "application-insights.md").read_text(encoding="utf-8")
    (query,) = re.findall(r'Query = "(.*)",\n', page)
    assert diagnosed({"page": query}) == {"page": []}


def test_the_workbook_has_every_query_as_it_is() -> None:
    items = workbook()["items"]
    assert {item["name"]: item["content"]["query"] for item in items if item["type"] == 3} == {
        name: query.kql for name, query in queries().items()
    }


@pytest.fixture(scope="module")
def sent(life_at_application_insights: Ingestion) -> Any:
    """A database with what a life of some datasets sent."""
    return database(life_at_application_insights.envelopes)


def answer(sent: Any, name: str) -> Rows:
    """The rows that a query gives."""
    relation = duckdb_kql.kql(sent, queries()[name].kql)
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def test_who_used_which_version(sent: Any) -> None:
    rows = answer(sent, "who-used-which-version")
    assert {(r["dataset"], r["version"], r["role"], r["run_name"]) for r in rows} == {
        ("iris", "v1", "training", "train ***"), ("iris", "v2", "testing", "train ***")
    }  # fmt: skip
    assert {r["machine"] for r in rows} == {os.uname().nodename}
    assert len({r["run"] for r in rows}) == 1


def test_readers_of_versions(sent: Any) -> None:
    reads = {
        (r["dataset"], r["version"]): (r["reads"], r["machines"]) for r in answer(sent, "readers-of-versions")
    }
    assert reads["iris", "v1"][0] >= 4  # two lists, the run, the comparison
    assert reads["iris", "v1"][1] == 1


def test_models_by_version(sent: Any) -> None:
    rows = answer(sent, "models-by-version")
    assert {(r["model"], r["version"], r["role"]) for r in rows} == {
        ("churn@v1", "v1", "training"), ("churn@v1", "v2", "testing")
    }  # fmt: skip


def test_drift_over_threshold(sent: Any) -> None:
    rows = answer(sent, "drift-over-threshold")
    assert {(r["dataset"], r["version"], r["column"]) for r in rows} == {("iris", "v2", "moving")}
    assert all(r["score"] > r["threshold"] > 0 for r in rows)
    tested = "select value from customMetrics where customDimensions::varchar like '%PearsonsChiSquaredTest%'"
    assert max(value for (value,) in sent.execute(tested).fetchall()) > 0.05, (
        "a statistic, and no probability"
    )


def test_failed_verifications(sent: Any) -> None:
    whole, copy = sorted(answer(sent, "failed-verifications"), key=lambda row: row["dataset"] or "")
    for row in (whole, copy):
        assert row["damaged"] > 0
        assert len(row["repository"]) == 32
    assert (copy["dataset"], copy["version"], copy["damaged"]) == ("iris", "v1", 1)
    assert [str(row["copy"]).lower() for row in (whole, copy)] == ["false", "true"]


def test_bytes_saved(sent: Any, life_at_application_insights: Ingestion) -> None:
    events = life_at_application_insights.of("EventData", "dataver.version.committed")
    told = [one["properties"] for one in events]
    assert sorted((one["dataver.dataset.name"], one["dataver.version.name"]) for one in told) == [
        ("iris", "v1"), ("iris", "v2"), ("iris", "v3"), ("made", "v1"), ("made", "v2"), ("other", "v1")
    ]  # fmt: skip
    rows = {row["dataset"]: row for row in answer(sent, "bytes-saved")}
    assert rows["iris"]["versions"] == 3
    assert rows["iris"]["saved"] >= 2000  # a.csv, at the second time
    assert rows["other"]["saved"] == rows["other"]["bytes"] > 2000  # all of it was there


def test_slow_and_failed_commands(sent: Any) -> None:
    rows = {row["command"]: row for row in answer(sent, "slow-and-failed-commands")}
    assert (rows["ls"]["calls"], rows["ls"]["failed"]) == (4, 2)
    assert (rows["verify"]["calls"], rows["verify"]["failed"]) == (4, 3)
    assert 0 < rows["commit"]["mean_ms"] <= rows["commit"]["max_ms"]


def test_erased_and_deleted(sent: Any) -> None:
    rows = answer(sent, "erased-and-deleted")
    assert {(r["event"], r["dataset"]) for r in rows} == {
        ("dataver.file.erased", "other"), ("dataver.version.deleted", "other")
    }  # fmt: skip


def test_the_program_prints_them(program: Program) -> None:
    listed = program("telemetry", "queries").stdout
    for name, query in queries().items():
        assert f"{name}  " in listed
        assert program("telemetry", "queries", name).stdout == query.kql
    assert json.loads(program("telemetry", "queries", "--workbook").stdout) == workbook()
    assert "there are bytes-saved" in program("telemetry", "queries", "no", code=3).stderr
