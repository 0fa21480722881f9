"""Who is told of versions, and when entry points are looked for."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver import events
from dataver.integrations.openlineage_plugins import RunHook, is_on
from dataver.repository import Repository
from dataver.results import CommitResult


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository, and a folder as the working one in which nobody is told of anything."""
    for name in list(os.environ):
        if "OPENLINEAGE" in name:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(events, "_loaded", None)
    monkeypatch.setattr(events, "_registered", [])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("x\n")
    return dataver.init("repository")


class Listener:
    """Takes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, CommitResult]] = []

    def version_committed(self, repository: Repository, result: CommitResult) -> None:
        self.told.append((repository.id, result))


def test_who_is_registered_is_told_of_new_versions_alone(repository: Repository) -> None:
    listener = Listener()
    events.register(listener)
    first = repository.commit("iris", "data")
    assert not repository.commit("iris", "data").created
    repository.commit("iris", "data", allow_empty=True, dry_run=True)
    reverted = repository.revert("iris")
    assert listener.told == [(repository.id, first)] + [(repository.id, reverted)] * reverted.created


def test_a_commit_looks_for_no_entry_points_unless_something_asks(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit("iris", "data")
    found: Any = events._loaded
    assert found is None
    monkeypatch.setenv("DATAVER_OPENLINEAGE", "off")
    repository.commit("roses", "data")
    found = events._loaded
    assert found is not None


def test_what_switches_it_on(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_on()
    Path("openlineage.yml").write_text("")
    assert is_on()
    monkeypatch.setenv("DATAVER_OPENLINEAGE", "OFF")
    assert not is_on()
    monkeypatch.delenv("DATAVER_OPENLINEAGE")
    Path("openlineage.yml").unlink()
    monkeypatch.setenv("OPENLINEAGE_URL", "http://127.0.0.1:9")
    assert is_on()


def test_without_the_client_only_who_asked_for_it_is_told(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("openlineage", "openlineage.client"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(events, "_loaded", [RunHook()])
    monkeypatch.setenv("OPENLINEAGE_URL", "http://127.0.0.1:9")
    repository.commit("iris", "data")
    monkeypatch.setenv("DATAVER_OPENLINEAGE", "events.ndjson")
    with pytest.warns(UserWarning, match=r"pip install 'dataver\[openlineage\]'"):
        repository.commit("roses", "data")
    assert not Path("events.ndjson").exists()


def test_a_hook_that_fails_fails_no_commit(repository: Repository) -> None:
    class Failing:
        def version_committed(self, *_: object) -> None:
            raise RuntimeError("no")

    events.register(Failing())
    with pytest.warns(UserWarning, match=r"Failing, failed at version_committed: no"):
        assert repository.commit("iris", "data").created
