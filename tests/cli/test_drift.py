"""`dataver drift` on the command line, and the page that it writes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataver
from dataver.cli import output

if TYPE_CHECKING:
    from click.testing import Result

Document = Callable[..., dict[str, Any]]
Ok = Callable[..., str]
Run = Callable[..., "Result"]

HOSTILE = "<script>alert('1')</script>\x1b[2J\u202e\"&\n"


@pytest.fixture
def rows(place: Path, ok: Ok) -> Path:
    """Two versions of a table, in which two of five columns drift."""
    folder = place / "rows"
    folder.mkdir()
    ok("init")
    for version in range(2):
        random = np.random.default_rng(version)
        content = {
            "age": random.normal(40 + 6 * version, 10, 4000),
            "kind": random.choice(["a", "b", HOSTILE] if version else ["a", "b"], 4000),
            HOSTILE: random.normal(size=4000),
            "a column with a long name, such as nobody likes to read": random.integers(0, 9, 4000),
            "nothing": pa.nulls(4000, pa.int32()),
        }
        pq.write_table(pa.table(content), folder / "t.parquet")
        ok("commit", "t", "rows", "--stats")
    return folder


def test_json(rows: Path, document: Document) -> None:
    found = document("drift", "t@v1", "t@v2", "--metric", "auto,ks", "--threshold", "0.2")
    assert (found["drift"], found["drifted"], found["undecided"], found["exact"]) == (
        True, ["age", "kind"], [], False,
    )  # fmt: skip
    assert (found["baseline"]["ref"], found["target"]["ref"]) == ("t@v1", "t@v2")
    assert len(found["baseline"]["id"]) == 64
    assert found["dataver"] == dataver.__version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", found["time"])
    assert found["thresholds"] == {
        "NormalizedWassersteinDistance": 0.2,
        "JensenShannonDistance": 0.2,
        "TwoSampleKolmogorovSmirnovTest": 0.2,
        "missing": 0.1,
    }
    age, kind, _, few, nothing = found["columns"]
    assert [measure["metric"] for measure in age["measures"]] == [
        "missing", "NormalizedWassersteinDistance", "TwoSampleKolmogorovSmirnovTest",
    ]  # fmt: skip
    distance = age["measures"][1]
    assert 0.5 < distance["value"] < 0.7
    assert 0 < distance["error"] < 0.05
    assert distance["certain"]
    assert kind["new"]["values"][0][0] == HOSTILE
    assert (few["drift"], few["measures"][2]["p_value"] is not None) == (False, True)
    assert (nothing["drift"], nothing["reason"]) == (False, "neither side has values")
    exact = document("drift", "t@v1", "t@v2", "--exact", "--columns", "age")
    assert exact["exact"]
    assert abs(exact["columns"][0]["measures"][1]["value"] - distance["value"]) <= distance["error"]


def test_an_infinite_figure_is_text_in_json(rows: Path, document: Document) -> None:
    found = document("drift", "t@v1", "t@v2", "--metric", "chi2", "--columns", "kind")
    measure = found["columns"][0]["measures"][1]
    assert (measure["value"], measure["p_value"], measure["drift"]) == ("inf", 0.0, True)


def test_checks_end_with_9_and_the_report_is_printed(rows: Path, run: Run, ok: Ok) -> None:
    failed = run("drift", "t@v1", "t@v2", "--fail-on", "drift")
    assert failed.exit_code == 9
    assert "2 of 5 columns drifted: age, kind" in failed.stdout
    assert "error: age, kind drifted from t@v1" in failed.stderr
    as_json = run("drift", "t@v1", "t@v2", "--fail-on", "drift", "--json")
    assert (as_json.exit_code, json.loads(as_json.stdout)["drift"]) == (9, True)
    assert json.loads(as_json.stderr)["error"]["code"] == 9
    ok("drift", "t@v1", "t@v1", "--fail-on", "drift", "--fail-on", "schema", "--fail-on", "undecided")
    ok("drift", "t@v1", "t@v2", "--columns", "nothing", "--fail-on", "drift")
    ok(
        "drift",
        "t@v1",
        "t@v2",
        "--threshold",
        "wasserstein=0.9",
        "--threshold",
        "js=0.9",
        "--fail-on",
        "drift",
    )
    pq.write_table(pa.table({"age": ["young"]}), rows / "t.parquet")
    ok("commit", "t", "rows")
    assert run("drift", "t@v1", "t", "--fail-on", "schema").exit_code == 9
    assert run("drift", "t@v1", "t", "--fail-on", "undecided").exit_code == 9
    open_ = run("drift", "t@v1", "t", "--fail-on", "drift")
    assert (open_.exit_code, "could not be decided" in open_.stderr) == (0, True)


def test_what_is_read_is_said(rows: Path, run: Run, ok: Ok) -> None:
    pq.write_table(pa.table({"age": [1.0, 2.0]}), rows / "t.parquet")
    ok("commit", "t", "rows")
    refused = run("drift", "t@v1", "t", "--no-compute")
    assert (refused.exit_code, "no statistics at hand" in refused.stderr) == (2, True)
    first = run("drift", "t@v1", "t", "--json")
    assert "note: read 1 file whose statistics were not at hand" in first.stderr
    json.loads(first.stdout)
    assert run("drift", "t@v1", "t", "--no-compute").stderr == ""


@pytest.mark.parametrize(
    "wrong",
    [
        ["--metric", "emd"],
        ["--threshold", "x"],
        ["--threshold", "-1"],
        ["--threshold", "psi=0.1"],
        ["--threshold", "0.1", "--threshold", "0.2"],
        ["--threshold", "js="],
        ["--by", "nowhere.toml"],
        ["--fail-on", "nothing"],
    ],
)
def test_bad_input(rows: Path, run: Run, wrong: list[str]) -> None:
    result = run("drift", "t@v1", "t@v2", *wrong)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_what_is_not_there(rows: Path, run: Run) -> None:
    assert run("drift", "t@v1", "t@v9").exit_code == 3
    assert run("drift", "t@v1", "t@v2", "nowhere").exit_code == 3
    assert run("drift", "t@v1", "t@v2", "--columns", "nowhere").exit_code == 3


@pytest.mark.parametrize("width", [40, 80, 120, 200])
@pytest.mark.parametrize("more", [[], ["--metric", "auto,psi,ks,js,chi2"]])
def test_lines_fit(rows: Path, ok: Ok, width: int, more: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = ok("drift", "t@v1", "t@v2", *more).splitlines()
    assert max(map(output.width, lines)) <= width
    assert all(line.isprintable() for line in lines)
    text = " ".join(" ".join(lines).split())
    assert "4,000 rows" in text
    assert "2 of 5 columns drifted: age, kind" in text or "3 of 5" in text


def test_colour_only_where_it_is_wanted(rows: Path, program: Callable[..., Any], monkeypatch: Any) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert b"\x1b" not in program("drift", "t@v1", "t@v2").stdout


# The page


class Checked(HTMLParser):
    """Balanced elements, and nothing that loads or runs anything."""

    VOID = frozenset({"meta", "br", "path", "rect", "line"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text: list[str] = []
        self.anchors: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe", "object", "base", "form")
        for name, value in attrs:
            assert not name.startswith("on")
            assert name not in ("src", "srcset", "action", "xlink:href")
            if name == "href":
                assert (value or "").startswith("#")
                self.links.add((value or "")[1:])
            if name == "id":
                assert value not in self.anchors
                self.anchors.add(value or "")
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_holds_all_and_loads_nothing(rows: Path, place: Path, ok: Ok, document: Document) -> None:
    said = ok("drift", "t@v1", "t@v2", "--html", "page.html")
    page = (place / "page.html").read_text(encoding="utf-8")
    assert "drifted" in said
    checked = Checked()
    checked.feed(page)
    checked.close()
    assert checked.open == []
    assert checked.links == checked.anchors
    assert checked.seen.count("article") == 5
    assert checked.seen.count("figure") == 4, "one for each column with values"
    assert "http" not in page.replace("http-equiv", "")
    assert "url(" not in page
    assert HOSTILE not in page
    assert "<script" not in page
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]", page)
    text = " ".join("".join(checked.text).split())
    ids = document("drift", "t@v1", "t@v2")
    for wanted in (
        "Drift from t@v1 to t@v2", ids["baseline"]["id"], ids["target"]["id"],
        f"dataver {dataver.__version__}",
        "NormalizedWassersteinDistance 0.1", "<script>alert('1')</script>", "neither side has values",
    ):  # fmt: skip
        assert wanted in text, wanted
    assert re.search(r"made\s*\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", text)
    assert "prefers-color-scheme: dark" in page
    assert not list(place.glob("*.part"))


def test_the_page_takes_the_place_of_an_old_one_or_none(rows: Path, place: Path, run: Run) -> None:
    page = place / "page.html"
    page.write_text("old")
    assert run("drift", "t@v1", "t@v9", "--html", "page.html").exit_code == 3
    assert page.read_text() == "old"
    failed = run("drift", "t@v1", "t@v2", "--html", "page.html", "--fail-on", "drift", "--json")
    assert failed.exit_code == 9
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    json.loads(failed.stdout)
    assert run("drift", "t@v1", "t@v2", "--html", "no/folder.html").exit_code == 3
    assert run("drift", "t@v1", "t@v2", "--html", "rows").exit_code == 2
    assert sorted(path.name for path in place.iterdir()) == [".dataver", "page.html", "rows"]
