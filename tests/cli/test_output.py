"""What people read: sizes, columns, safe spellings, colour."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import click
import pytest

from dataver.cli import faults, output
from dataver.results import ChangeCounts, Changes, rfc3339


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (12_897_485, "12.3 MiB"),
        (40 << 20, "40 MiB"),
        ((1 << 20) - 1, "1 MiB"),
        ((1 << 30) - 1, "1 GiB"),
        (5 << 40, "5 TiB"),
        (3 << 60, "3 EiB"),
    ],
)
def test_size_text(size_bytes: int, text: str) -> None:
    assert output.size_text(size_bytes) == text


def test_size_text_never_says_1024() -> None:
    for power in range(10, 63):
        for near in (-1, 0, 1):
            assert "1024" not in output.size_text((1 << power) + near).removesuffix(" B")


def test_counts_text_leaves_out_what_is_nothing() -> None:
    assert output.counts_text(ChangeCounts(3, 1, 0, 0)) == "3 added, 1 modified"
    assert output.counts_text(ChangeCounts(0, 0, 2, 1500)) == "2 deleted, 1,500 renamed"
    assert output.counts_text(ChangeCounts()) == "nothing changed"


def test_amount_knows_one_from_many() -> None:
    assert [output.amount(count, "file") for count in (0, 1, 2, 1200)] == [
        "0 files",
        "1 file",
        "2 files",
        "1,200 files",
    ]


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "a\nb", "a\rb", "\x9b31m", "\u202etxt.exe", "\u2028", "\x7f", "\x00"]
)
def test_nothing_that_moves_a_terminal_passes(text: str) -> None:
    for spelled in (output.safe(text), output.path_text(text)):
        assert spelled.isprintable()
        assert "\\" in spelled


def test_ordinary_text_stays_as_it_is() -> None:
    for text in ("data/iris (1).csv", "größe/日本語.txt", 'it\'s "quoted"'):
        assert output.safe(text) == output.path_text(text) == text


def test_paths_are_shown_whole_and_unambiguous() -> None:
    path = "/".join(["long" * 50] * 20)
    assert output.path_text(path) == path
    odd = path + "/new\nline"
    assert output.path_text(odd) == path + "/new\\nline"
    assert output.path_text("back\\nslash") != output.path_text("back\nslash")


def test_columns_align_whatever_the_colour() -> None:
    rows = [(click.style("a", fg="red"), "1", "x"), ("bbb", "22", ""), ("", "333", "y")]
    lines = [click.unstyle(line) for line in output.columns(rows, right=(1,))]
    assert lines == ["a      1  x", "bbb   22", "     333  y"]
    assert list(output.columns([])) == []


def test_columns_align_wide_and_combining_signs() -> None:
    rows = [("\u65e5\u672c", "x"), ("e\u0301abc", "x"), ("abcd", "x"), ("a", "")]
    assert [line.rstrip("x") for line in output.columns(rows)] == [
        "\u65e5\u672c  ",
        "e\u0301abc  ",
        "abcd  ",
        "a",
    ]


def test_changes_lines_end_with_the_counts() -> None:
    changes = Changes(["new"], ["mod"], [], [("old", "re\nnamed")])
    lines = [click.unstyle(line) for line in output.changes_lines(changes)]
    assert lines == [
        "added     new",
        "modified  mod",
        "renamed   old -> re\\nnamed",
        "1 added, 1 modified, 1 renamed",
    ]


def test_times_are_utc() -> None:
    local = datetime(2026, 1, 31, 10, 30, 5, 250, tzinfo=timezone(timedelta(hours=1)))
    assert rfc3339(local) == "2026-01-31T09:30:05.000250Z"
    assert output.time_text(local) == "2026-01-31 09:30:05Z"
    assert output.time_text(datetime(1, 2, 3, tzinfo=UTC)) == "0001-02-03 00:00:00Z"
    assert datetime.fromisoformat(rfc3339(local)) == local.astimezone(UTC)


def test_json_is_ascii_and_one_line_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"path": "ö\x1b\n\udcff"}
    output.write_json(document)
    text = capsys.readouterr().out
    assert text.isascii()
    assert text.count("\n") == 1
    assert json.loads(text) == document


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_where_it_is_unwanted(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert faults.colour() is None
    monkeypatch.setenv(name, value)
    assert faults.colour() is False


def test_an_empty_no_color_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    assert faults.colour() is None
