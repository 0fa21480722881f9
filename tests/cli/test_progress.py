"""How progress is counted and drawn."""

from __future__ import annotations

import io
import re
import sys
from typing import TYPE_CHECKING

from dataver.cli import progress
from dataver.progress import Progress

if TYPE_CHECKING:
    import pytest


def test_lines_say_how_far_it_is_and_end_with_the_total() -> None:
    stream = io.StringIO()
    lines = progress.Lines(stream)
    watcher: Progress = lines
    watcher.begin("hashing", files=3, size_bytes=4096)
    watcher.advance(files=1, size_bytes=1024)
    assert stream.getvalue() == ""
    lines._next_s = 0
    watcher.advance(files=1, size_bytes=1024)
    watcher.advance(files=1, size_bytes=2048)
    watcher.end()
    first, last = stream.getvalue().splitlines()
    assert re.fullmatch(r"hashing: 2/3 files, 2 KiB/4 KiB, .*/s, \d+ s left", first)
    assert re.fullmatch(r"hashing: 3/3 files, 4 KiB/4 KiB, .*/s, done in [\d.]+ s", last)
    watcher.end()
    assert stream.getvalue().count("\n") == 2


def test_lines_without_totals_say_what_is_known() -> None:
    stream = io.StringIO()
    lines = progress.Lines(stream)
    lines.begin("listing")
    lines.advance(files=1200)
    lines.end()
    assert re.fullmatch(r"listing: 1,200 files, [\d,]+ files/s, done in [\d.]+ s\n", stream.getvalue())


def test_what_is_no_file_is_not_called_one() -> None:
    stream = io.StringIO()
    lines = progress.Lines(stream)
    lines.begin("verifying packs", files=11)
    lines.advance(files=4)
    lines.end()
    assert re.fullmatch(r"verifying packs: 4/11, [\d,]+/s, done in [\d.]+ s\n", stream.getvalue())


def test_a_second_piece_of_work_ends_the_first() -> None:
    stream = io.StringIO()
    lines = progress.Lines(stream)
    lines.begin("one")
    lines.begin("two")
    lines.end()
    assert [line.partition(":")[0] for line in stream.getvalue().splitlines()] == ["one", "two"]


def test_quick_work_draws_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    bars = progress.Bars()
    bars.begin("hashing", files=1000)
    for _ in range(1000):
        bars.advance(files=1)
    bars.end()
    assert capsys.readouterr() == ("", "")


def test_bars_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    bars = progress.Bars()
    bars.begin("[hashing]", files=2, size_bytes=2048)
    bars._next_s = 0
    bars.advance(files=1, size_bytes=1024)
    assert bars._rich is not None
    task = bars._rich.tasks[0]
    assert (task.completed, task.total) == (1024, 2048)
    assert task.fields["detail"].startswith("1/2 files  1 KiB/2 KiB  ")
    bars.end()
    assert bars._rich is None
    assert capsys.readouterr().out == ""


def test_a_watcher_may_be_advanced_a_million_times() -> None:
    """`advance` draws at intervals only: what it costs beside that is two additions."""
    drawn = 0

    class Counting(progress.Lines):
        def draw(self, what: str) -> None:
            nonlocal drawn
            drawn += 1

    lines = Counting(sys.stderr)
    lines.begin("hashing")
    for _ in range(200_000):
        lines.advance(1, 10)
    assert drawn <= 2
