"""`dataver served`: what services have captured on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dataver.serving import Capture
from dataver.serving.spool import LOCK, held

if TYPE_CHECKING:
    from click.testing import Result

Document = Callable[..., dict[str, Any]]
Ok = Callable[..., str]
Run = Callable[..., "Result"]


@pytest.fixture
def capture(place: Path, ok: Ok, monkeypatch: pytest.MonkeyPatch) -> Capture:
    """A service that has captured a row, and has ended."""
    monkeypatch.setenv("DATAVER_SERVED_DIR", str(place / "state"))
    ok("init")
    found = Capture("served", repo=place / ".dataver")
    found.body("application/json", b"no json")
    found.rows([{"age": 41}])
    found.close()
    return found


def test_what_waits_is_listed_and_committed(capture: Capture, ok: Ok, document: Document) -> None:
    assert "waits for its window to end" in ok("served", "served")
    listed = document("served", "served")
    assert listed["folder"] == capture.folder
    (file,) = listed["waiting"]
    assert (file["over"], file["written"]) == (False, False)
    capture.rows([{"age": 7}])
    done = document("served", "served", "--commit", "--author", "me")
    assert (done["version"], done["dropped"]) == ("v1", {"not understood": 1})
    capture.close()
    document("served", "served", "--commit")
    assert "nothing waits" in ok("served", "served")
    assert "nothing waits" in ok("served", "served", "--commit")


def test_people_see_what_was_committed(capture: Capture, ok: Ok) -> None:
    shown = ok("served", "served", "--commit").splitlines()
    assert shown[0].startswith("served@v1  ")
    assert shown[0].endswith("1 row")
    assert shown[1] == "not captured: not understood 1"
    assert "1 row served" in ok("log", "served")


def test_two_do_not_commit_at_once(capture: Capture, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataver.serving.capture.COMMIT_S", 0.1)
    with held(f"{capture.folder}/{LOCK}", make=True) as ours:
        assert ours
        result = run("served", "served", "--commit")
    assert result.exit_code == 4
    assert "another process commits" in result.stderr
