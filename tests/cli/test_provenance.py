"""Where data came from, and cards, on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from click.testing import Result

Document = Callable[..., dict[str, Any]]
Ok = Callable[..., str]
Run = Callable[..., "Result"]

CANARY = "canary7f3a"
ORIGIN = (
    *(
        "--origin",
        "https://h.example/iris",
        "--licence",
        "CC-BY-4.0",
        "--collected",
        "2026-01-31T10:00+02:00",
    ),
    *("--collected-by", "Ada", "--method", "by hand", "--legal-basis", "Art. 6(1)(f)"),
)
SOURCE = {
    "url": "https://h.example/iris",
    "licence": "CC-BY-4.0",
    "collected_at": "2026-01-31T08:00:00Z",
    "collected_by": "Ada",
    "method": "by hand",
    "legal_basis": "Art. 6(1)(f)",
    "digest": None,
    "note": None,
}


def change(folder: Path, text: str) -> None:
    (folder / "a.csv").write_text(text)


def test_one_source_by_options(document: Document, iris: Path, ok: Ok) -> None:
    assert document("show", "iris")["sources"] == []
    change(iris, "1")
    done = document("commit", "iris", "iris", *ORIGIN)
    found = document("show", "iris")
    assert (found["sources"], found["sources_of"], found["sources_whole"]) == ([SOURCE], [done["id"]], True)
    change(iris, "2")
    ok("commit", "iris", "iris")
    found = document("show", "iris")
    assert (found["sources"], found["sources_of"]) == ([SOURCE], [done["id"]])
    shown = ok("show", "iris")
    assert "https://h.example/iris; CC-BY-4.0; 2026-01-31T08:00:00Z; Ada; by hand" in shown
    assert f"said by   {done['id']}" in shown
    assert "sources" not in document("log", "iris")["versions"][0]


@pytest.mark.parametrize("kind", ["toml", "json"])
def test_many_sources_in_a_file(kind: str, document: Document, iris: Path, place: Path) -> None:
    rows = [{"url": "https://a.example/x"}, {"note": "measured", "digest": "sha256:" + "ab" * 32}]
    file = place / f"sources.{kind}"
    if kind == "json":
        file.write_text(json.dumps({"sources": rows, "derived_from": ["iris@v1"]}))
    else:
        tables = ("\n".join(f"{key} = {value!r}" for key, value in row.items()) for row in rows)
        file.write_text("derived_from = ['iris@v1']\n" + "".join(f"[[sources]]\n{t}\n" for t in tables))
    change(iris, "1")
    document("commit", "iris", "iris", "--sources", str(file), "--licence", "CC0-1.0")
    found = document("show", "iris")
    assert [source["url"] for source in found["sources"]] == ["https://a.example/x", None, None]
    assert [source["licence"] for source in found["sources"]] == [None, None, "CC0-1.0"]
    assert [entry["dataset"] for entry in found["derived_from"]] == ["iris"]


def test_derived_from(document: Document, iris: Path, ok: Ok, run: Run) -> None:
    first = document("show", "iris")
    document("commit", "clean", "iris", "--derived-from", "iris@v1", "--derived-from", ".dataver#iris")
    found = document("show", "clean")["derived_from"]
    assert [(entry["id"], entry["tree"]) for entry in found] == [(first["id"], first["tree"])]
    assert len(found[0]["repository"]) == 32
    assert f"made from  iris@{first['id']}" in ok("show", "clean")
    for ref in ("iris@v9", "nothing", ".dataver#iris@v9", "nowhere#iris"):
        result = run("commit", "other", "iris", "--derived-from", ref)
        assert result.exit_code == 3
        assert result.stderr.startswith("error: ")
    assert [one["name"] for one in document("list")["datasets"]] == ["clean", "iris"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--collected", "soon"], 2),
        (["--origin", f"https://u:{CANARY}/x@h.example/p"], 2),
        (["--sources", "none.toml"], 3),
        (["--sources", "iris/a.csv"], 2),
        (["--derived-from", "no such name"], 2),
    ],
)
def test_what_cannot_be_recorded(options: list[str], code: int, run: Run, iris: Path) -> None:
    change(iris, "1")
    for more in ([], ["--json"]):
        result = run("commit", "iris", "iris", *options, *more)
        assert result.exit_code == code, result.output
        assert CANARY not in result.output


def test_secrets_are_left_out_and_that_is_said(iris: Path, run: Run, place: Path, ok: Ok) -> None:
    change(iris, "1")
    secret = f"https://me:{CANARY}@h.example/x?sv=1&sig={CANARY}"
    result = run("commit", "iris", "iris", "--origin", secret, "--method", f"curl '{secret}'")
    assert result.exit_code == 0
    assert "https://h.example/x" in result.stderr
    assert "note:" in result.stderr
    outputs = [result.output, ok("show", "iris"), ok("show", "iris", "--json"), ok("card", "iris")]
    assert all(CANARY not in text for text in outputs)
    files = [file for file in (place / ".dataver").rglob("*") if file.is_file()]
    assert all(CANARY.encode() not in file.read_bytes() for file in files)


def test_show_says_where_it_did_not_look(
    iris: Path, ok: Ok, document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataver.origins.QUICK_VERSIONS_MAX", 1)
    for text in "12":
        change(iris, text)
        ok("commit", "iris", "iris")
    assert (document("show", "iris")["sources"], document("show", "iris")["sources_whole"]) == ([], False)
    assert "none said by the last versions" in ok("show", "iris")
    assert document("card", "iris")["sources_whole"]


def test_nothing_changed_says_that_no_sources_were_recorded(iris: Path, run: Run, document: Document) -> None:
    result = run("commit", "iris", "iris", *ORIGIN)
    assert result.exit_code == 0
    assert "--allow-empty" in result.stderr
    assert document("show", "iris")["sources"] == []
    document("commit", "iris", "iris", *ORIGIN, "--allow-empty")
    assert document("show", "iris")["sources"] == [SOURCE]


def test_sources_do_not_drive_the_terminal(iris: Path, ok: Ok) -> None:
    change(iris, "1")
    ok("commit", "iris", "iris", "--origin", "x\x1b[31m\ny", "--method", "\x9b\u202e")
    shown = ok("show", "iris")
    assert not set("\x1b\x9b\u202e") & set(shown)
    assert "\ny" not in shown


def test_a_card(iris: Path, ok: Ok, document: Document, place: Path) -> None:
    ok("card", "--new", "--out", "iris/DATASET.md")
    file = iris / "DATASET.md"
    file.write_text(file.read_text().replace('""', '"said"', 9))
    ok("commit", "iris", "iris", *ORIGIN, "-m", "with a card")
    found = document("card", "iris")
    assert (found["filled"], found["of"], found["version"]) == (9, 11, "v2")
    assert (found["sources"], found["problem"]) == ([SOURCE], None)
    assert found["before"][0]["version"] == "v1"
    assert found["text"].startswith("# iris\n")
    page = ok("card", "iris")
    assert "9 of 11 fields" in page
    assert "<https://h.example/iris>" in page
    assert "9 of 11" in ok("card", "iris", "--out", "page.md")
    assert (place / "page.md").read_text() == page
    assert "0 of 11 fields" in ok("card", "iris@v1")


def test_the_template_is_never_written_over_a_file(run: Run, place: Path, document: Document) -> None:
    assert document("card", "--new") == {"file": "DATASET.md"}
    before = (place / "DATASET.md").read_bytes()
    for arguments, code in (
        (["--new"], 4),
        (["--new", "--out", "none/DATASET.md"], 3),
        (["--new", "iris"], 2),
        ([], 2),
    ):
        assert run("card", *arguments).exit_code == code
    assert (place / "DATASET.md").read_bytes() == before


def test_fields_that_cannot_be_read_are_a_warning(iris: Path, run: Run, ok: Ok) -> None:
    (iris / "README.md").write_text("+++\nlicence\n+++\nText.\n")
    ok("commit", "iris", "iris")
    result = run("card", "iris")
    assert result.exit_code == 0
    assert "warning: the TOML at the top of README.md cannot be read" in result.stderr
    assert result.stdout.endswith("Text.\n")
    result = run("card", "iris", "--json")
    assert "TOML" in json.loads(result.stdout)["problem"]
