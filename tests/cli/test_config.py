"""`dataver config`: what is set for a repository, shown and changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from click.testing import Result

OFF = {"key": "commit.stats", "value": "off", "default": "off", "set": False}


@pytest.fixture
def made(ok: Callable[..., str]) -> None:
    ok("init")


def test_listed_set_and_unset(made: None, ok: Callable[..., str]) -> None:
    assert ok("config").startswith("commit.stats  off  (default)  whether commits record")
    assert ok("config", "commit.stats") == "off\n"
    assert ok("config", "commit.stats", "on") == "commit.stats = on  (was not set)\n"
    assert ok("config", "commit.stats", "on") == "commit.stats = on  (as before)\n"
    assert ok("config", "commit.stats") == "on\n"
    assert ok("config", "--at", "0", "commit.stats") == "off\n"
    assert "(default)" not in ok("config")
    unset = ok("config", "commit.stats", "--unset")
    assert unset == "commit.stats is not set, the default is off  (was on)\n"
    assert ok("config", "--unset", "commit.stats").endswith("(as before)\n")


def test_documents(made: None, document: Callable[..., dict[str, Any]]) -> None:
    assert document("config") == {"settings": [OFF]}
    assert document("config", "commit.stats") == OFF
    assert document("config", "commit.stats", "on") == OFF | {"value": "on", "set": True, "previous": None}
    assert document("config", "commit.stats", "off") == OFF | {"set": True, "previous": "on"}
    assert document("config", "commit.stats", "--unset") == OFF | {"previous": "off"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("commit.stats", "sometimes"), "commit.stats is on or off, not 'sometimes'"),
        (("commit.stats", ""), "commit.stats is on or off, not ''"),
        (("comit.stats",), "'comit.stats' is no setting; commit.stats is one"),
        (("colour", "red"), "'colour' is no setting; there is commit.stats"),
        (("--unset",), "--unset takes a KEY and no VALUE"),
        (("commit.stats", "on", "--unset"), "--unset takes a KEY and no VALUE"),
        (("commit.stats", "on", "--at", "0"), "writing needs the newest"),
    ],
)
def test_bad_input(made: None, run: Callable[..., Result], arguments: tuple[str, ...], message: str) -> None:
    result = run("config", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_without_a_repository(run: Callable[..., Result], place: Path) -> None:
    assert run("config").exit_code == 3


def test_what_the_commit_was_told_wins(made: None, ok: Callable[..., str], place: Path) -> None:
    ok("config", "commit.stats", "on")
    pq.write_table(pa.table({"a": range(10)}), place / "t.parquet")
    ok("commit", "a", "t.parquet")
    assert "0 of 1 column drifted" in ok("drift", "a", "a", "--no-compute")
    ok("config", "commit.stats", "off")
    pq.write_table(pa.table({"c": range(10)}), place / "t.parquet")
    ok("commit", "c", "t.parquet", "--stats")
    assert "0 of 1 column drifted" in ok("drift", "c", "c", "--no-compute")


def test_no_stats_leaves_none(
    made: None, ok: Callable[..., str], run: Callable[..., Result], place: Path
) -> None:
    ok("config", "commit.stats", "on")
    pq.write_table(pa.table({"b": range(10)}), place / "t.parquet")
    ok("commit", "b", "t.parquet", "--no-stats")
    assert run("drift", "b", "b", "--no-compute").exit_code == 2
