"""Cards: what people wrote is read whatever it is, and shown as text beside what is known."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataver.cards.card import TABLES_MAX, Card
from dataver.cards.fields import CARD_BYTES_MAX, FIELDS, FRONT_CHARACTERS_MAX, read_written, template
from dataver.cards.page import cell, printable
from dataver.format.provenance import Source
from dataver.repository import Repository
from tests.repositories import memory_repository

TOML = """+++
licence = "CC-BY-4.0"
personal_data = false
annotators = ["Ada", "Ben"]
collected = 2026-01-31
+++

# Iris

Flowers.
"""
YAML = TOML.replace("+++", "---").replace(" =", ":")


def written(text: str | bytes) -> Any:
    return read_written("DATASET.md", text if isinstance(text, bytes) else text.encode())


def card(folder: Path, repository: Repository | None = None, **options: Any) -> Card:
    repository = repository or memory_repository()
    repository.commit("d", folder, **options)
    return repository.version("d").card()


# What people wrote


@pytest.mark.parametrize("text", [TOML, YAML, "\ufeff" + TOML, TOML.replace("\n", "\r\n")])
def test_fields_are_read(text: str) -> None:
    found = written(text)
    assert found.problem is None
    assert {name: value for name, value in found.fields.items() if value is not None} == {
        "licence": "CC-BY-4.0",
        "personal_data": False,
        "annotators": ["Ada", "Ben"],
    }
    assert found.other == {"collected": date(2026, 1, 31).isoformat()}
    assert found.text == "# Iris\n\nFlowers.\n"


def test_other_names_of_fields() -> None:
    found = written(
        '+++\nlicense = "MIT"\n"Known limits" = "few"\n"rai:dataUseCases" = ["x"]\nlicence = ""\n'
        'limitations = "second"\nretention = [""]\nextra = ""\n+++\n'
    )
    assert (found.fields["licence"], found.fields["known_limits"], found.fields["intended_use"]) == (
        "MIT",
        "few",
        ["x"],
    )
    assert found.fields["retention"] is None
    assert found.other == {"limitations": "second", "extra": ""}


@pytest.mark.parametrize(
    "text", ["", "# Title\n", "+++\nlicence = 1\n", "---\n\n# A line above\n", "text\n+++\na = 1\n+++\n"]
)
def test_a_file_without_fields_is_text(text: str) -> None:
    found = written(text)
    assert (found.text, found.problem, dict(found.other)) == (text, None, {})
    assert not any(value is not None for value in found.fields.values())


@pytest.mark.parametrize(
    ("front", "problem"),
    [
        ("+++\nlicence\n+++\n", "cannot be read"),
        ("+++\na = 1\na = 2\n+++\n", "cannot be read"),
        ("+++\nx = " + "[" * 30_000 + "]" * 30_000 + "\n+++\n", "nested"),
        ("+++\nx = " + "9" * 5_000 + "\n+++\n", "cannot be read"),
        ("+++\n#" + "x" * FRONT_CHARACTERS_MAX + "\n+++\n", "more than"),
        ("---\n- a\n- b\n---\n", "no table"),
        ("---\njust text\n---\n", "no table"),
        ("---\na: [\n---\n", "cannot be read"),
        ("---\nx: " + "[" * 30_000 + "]" * 30_000 + "\n---\n", "nested"),
        ("---\na: &a [x, x]\nb: [*a, *a]\n---\n", "alias"),
        ("---\na: &a [*a]\n---\n", "alias"),
        ("---\na: !!python/object/apply:os.system [exit]\n---\n", "cannot be read"),
        ("---\na: !!int x\n---\n", "cannot be read"),
        ("---\na: !!timestamp x\n---\n", "what its tag says"),
        ("---\na: 2026-13-45\n---\n", "cannot be read"),
        ("---\na: \x07\n---\n", "cannot be read"),
    ],
)
def test_fields_that_cannot_be_read_are_a_problem_and_the_text_is_there(front: str, problem: str) -> None:
    found = written(front + "text\n")
    assert problem in found.problem
    assert len(found.problem) < 500
    assert found.text == "text\n"
    assert dict(found.other) == {}


def test_values_are_as_json_has_them() -> None:
    found = written(
        '---\n1: {2: 3}\na: .nan\nb: !!set {y, x}\nc: !!binary aGk=\nd: "\\ud800"\ne: 12:30:00\nf: ~\n'
        "g: 99999999999999999999\nh: 2026-01-31T09:30:00Z\n---\n"
    )
    assert found.problem is None
    text = json.dumps(found.other, allow_nan=False, ensure_ascii=False).encode().decode()
    assert found.other["1"] == {"2": 3}
    assert '"x", "y"' in text
    assert found.other["g"] == "9" * 20


def test_a_file_that_is_not_utf8() -> None:
    assert "UTF-8" in written(b"\xff").problem


def test_yaml_without_pyyaml_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    found = written(YAML)
    assert "dataver[card]" in found.problem
    assert found.text.startswith("# Iris")
    assert written(TOML).problem is None


def test_the_template_has_all_fields_and_says_nothing() -> None:
    found = written(template("Iris"))
    assert (found.problem, dict(found.other)) == (None, {})
    assert not any(value is not None for value in found.fields.values())
    filled = written(template("Iris").replace('""', '"said"'))
    assert set(filled.fields.values()) == {"said"}
    assert found.text.startswith("# Iris\n")


# Of a version


def test_a_card_has_what_is_known(tmp_path: Path) -> None:
    repository = memory_repository()
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(2):
        table = pa.table({"id": range(10), "odd|name": ["x"] * 10})
        pq.write_table(table, folder / f"part-{number}.parquet")
    (folder / "broken.parquet").write_bytes(b"PAR1")
    (folder / ".dataver-splits.toml").write_text('[half]\nkind = "hash"\nkeys = ["id"]\nparts = {a = 1}\n')
    (folder / "DATASET.md").write_text(TOML)
    (folder / "README.md").write_text("not this one")
    repository.commit("d", folder, sources=[Source(url="https://a.example/x", licence="CC0-1.0")])
    (folder / "more").write_text("1")
    repository.commit("e", folder)
    repository.commit("d", folder, message="second", derived_from=["e"], add=True)
    found = repository.version("d").card()
    assert (found.name, found.filled, found.fields, found.table_count) == ("d@v2", 3, 11, 3)
    assert [one.version for one in found.before] == ["v1"]
    assert [name for name, _ in found.splits] == ["half"]
    assert repository.version("d").sources == list(found.origins.sources)
    document = found.to_json()
    json.dumps(document, allow_nan=False)
    assert [(one["path"], one["rows"]) for one in document["tables"]] == [
        ("broken.parquet", None),
        ("part-0.parquet", 10),
        ("part-1.parquet", 10),
    ]
    assert document["tables"][1]["columns"][1] == {"name": "odd|name", "type": "string"}
    assert document["tables"][1]["statistics"] is None, "nothing is computed unless asked for"
    page = str(found)
    assert "3 of 11 fields" in page
    assert "part-0.parquet and 1 more of the same columns" in page
    assert "20 rows, 2 columns." in page
    assert r"odd\|name" in page
    assert page.endswith("# Iris\n\nFlowers.\n")
    assert "not this one" not in page
    computed = repository.version("d").card(compute=True)
    statistics = computed.to_json()["tables"][1]["statistics"]
    assert (statistics[0]["min"], statistics[0]["max"]) == (0, 9)
    assert str(computed).count("| id | int64 | 0 | 0 | 9 | 10 |") == 1, "of both files together"


def test_a_version_with_nothing_to_say(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    found = card(tmp_path)
    assert (found.filled, found.written.file, found.table_count) == (0, None, 0)
    assert "1 file, 1 byte" in str(found)
    assert "No sources were recorded." in str(found)
    assert "Not said: licence, owner" in str(found)


@pytest.mark.parametrize("kind", ["folder", "out", "nowhere", "large", "splits"])
def test_what_is_odd_is_said(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "DATASET.md"
    (tmp_path / "a").write_text("1")
    if kind == "folder":
        place.mkdir()
        (place / "b").write_text("1")
    elif kind == "out":
        place.symlink_to("/etc/hosts")
    elif kind == "nowhere":
        place.symlink_to("nothing")
    elif kind == "large":
        place.write_bytes(b"x" * (CARD_BYTES_MAX + 1))
    else:
        (tmp_path / ".dataver-splits.toml").write_text("[")
    found = card(tmp_path)
    if kind == "nowhere":
        assert found.written.file is None
    elif kind == "splits":
        assert found.splits_problem
        assert "## Splits" in str(found)
    else:
        assert found.written.problem
        assert "DATASET.md" in str(found)


def test_of_many_tables_some_are_shown(tmp_path: Path) -> None:
    for number in range(TABLES_MAX + 5):
        (tmp_path / f"{number:03}.parquet").write_bytes(b"no table")
    found = card(tmp_path)
    assert (len(found.tables), found.table_count) == (TABLES_MAX, TABLES_MAX + 5)
    assert "5 more tables are not shown." in str(found)


# Hostile values


HOSTILE = (
    "<script>alert(1)</script> [x](javascript:y) ![z](w) | `a` **b** \x1b[31m \u202eevil\x9b\n# no heading"
)


@pytest.mark.parametrize("mark", ["<", "\x1b", "\x9b", "\u202e", "\n"])
def test_a_cell_is_text(mark: str) -> None:
    found = cell(HOSTILE).replace("<br>", "")
    assert mark not in found
    assert "[x](" not in found
    assert " | " not in found


def test_links_are_links_and_nothing_more() -> None:
    assert cell("https://a.example/x_y?z=1") == "<https://a.example/x_y?z=1>"
    for text in ("javascript:alert(1)", "https://a.example/>x", "https://a.example/ x", "https://a|b"):
        assert not cell(text).startswith("<")


def test_what_people_wrote_cannot_drive_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "DATASET.md").write_text(f"+++\nowner = {json.dumps(HOSTILE)}\n+++\n{HOSTILE}\n\tend\u200d")
    odd = pa.table({HOSTILE: [1], "ok": ["\x1b]0;title\x07"]})
    pq.write_table(odd, tmp_path / "t.parquet")
    found = card(tmp_path, message=HOSTILE, sources=[{"note": HOSTILE}], stats=True)
    page = str(found)
    assert not set("\x1b\x07\x9b\u202e") & set(page)
    assert "\n\tend\u200d" in page, "tabs and joiners stay"
    assert [line for line in page.split("\n") if line == "# no heading"] == ["# no heading"]
    above = page.partition("## From DATASET.md")[0]
    assert "<script" not in above
    assert "# no heading" not in [line.strip() for line in above.split("\n")]


def test_what_prints_stays() -> None:
    text = "Zo\u00eb \u96ea \u00a0 \U0001f468\u200d\U0001f469\ttab\nline"
    assert printable(text) == text


def test_the_fields_have_names_of_their_own() -> None:
    names = [name for field in FIELDS for name in (field.name, *field.aliases)]
    assert len({name.lower() for name in names}) == len(names)
    assert len(FIELDS) == 11
