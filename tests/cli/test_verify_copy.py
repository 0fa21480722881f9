"""`verify --at PATH` from the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from dataver.repository import open_repository

Run = Callable[..., Result]
Document = Callable[..., dict[str, Any]]


@pytest.fixture
def mount(iris: Path, ok: Callable[..., str], place: Path) -> Path:
    """A copy of `iris@v1`, and far from its repository, with the list of its files."""
    folder = place.parent / "mount"
    ok("checkout", "iris@v1", str(folder))
    (folder / ".dataver.json").write_bytes(open_repository(".dataver").version("iris@v1").list_file())
    return folder


@pytest.fixture
def elsewhere(mount: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A current folder that is in no repository. The id of the version."""
    id = open_repository(place / ".dataver").version("iris@v1").id
    folder = place.parent / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return id


def first_file(folder: Path) -> Path:
    return next(path for path in sorted(folder.rglob("*")) if path.is_file() and path.name[0] != ".")


def test_a_copy_is_compared(document: Document, run: Run, mount: Path) -> None:
    found = document("verify", "iris@v1", "--at", str(mount))
    assert found["ok"] is True
    assert (found["missing"], found["changed"], found["extra"], found["manifest"]) == ([], [], [], None)
    assert (found["ref"], found["path"]) == ("iris@v1", str(mount))
    place = first_file(mount)
    data = bytearray(place.read_bytes())
    data[0] ^= 1
    place.write_bytes(data)
    (mount / "new\x1b").touch()
    result = run("verify", "--at", str(mount), "iris@v1", "--json")
    assert result.exit_code == 5
    name = place.relative_to(mount).as_posix()
    assert json.loads(result.stdout)["changed"] == [{"path": name, "reason": "its bytes are others"}]
    assert json.loads(result.stderr)["error"]["code"] == 5
    result = run("verify", "--at", str(mount), "iris@v1")
    assert result.exit_code == 5
    assert f"changed  {name}" in result.stdout
    assert "extra    new\\x1b" in result.stdout
    place.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    assert run("verify", "--at", str(mount), "iris@v1").exit_code == 5
    assert "every byte as in iris@v1" in run("verify", "--at", str(mount), "iris@v1", "--allow-extra").stdout


def test_at_is_a_time_or_an_entry_where_it_can_be(document: Document, run: Run, mount: Path) -> None:
    assert "objects" in document("verify", "iris", "--at", "1")
    assert "objects" in document("verify", "iris", "--at", "2999-01-01T00:00:00Z")
    shutil.move(mount, "2999-01-01")
    assert "objects" in document("verify", "iris", "--at", "2999-01-01")
    assert document("verify", "iris@v1", "--at", "./2999-01-01")["missing"] == []


def test_no_repository_is_needed_where_the_id_is_whole(
    elsewhere: str, mount: Path, document: Document, run: Run
) -> None:
    found = document("verify", f"iris@{elsewhere}", "--at", str(mount))
    assert (found["ok"], found["manifest"]) == (True, str(mount / ".dataver.json"))
    result = run("verify", "iris@v1", "--at", str(mount))
    assert result.exit_code == 2
    assert "64 hex digits" in result.stderr
    assert run("verify", f"iris@{'0' * 64}", "--at", str(mount)).exit_code == 5
    first_file(mount).unlink()
    assert run("verify", f"iris@{elsewhere}", "--at", str(mount)).exit_code == 5
    (mount / ".dataver.json").unlink()
    result = run("verify", f"iris@{elsewhere}", "--at", str(mount))
    assert result.exit_code == 3
    assert "no repository" in result.stderr


def test_a_list_that_came_with_the_data_gives_them_no_name(
    elsewhere: str, mount: Path, document: Document, ok: Callable[..., str], run: Run
) -> None:
    place = mount / ".dataver.json"
    listed = json.loads(place.read_text())
    place.write_text(json.dumps({**listed, "dataset": "others", "version": "v9"}))
    ref = f"iris@{elsewhere}"
    assert document("verify", ref, "--at", str(mount))["ref"] == ref
    assert ok("verify", ref, "--at", str(mount)).endswith(f"every byte as in {ref}\n")
    first_file(mount).unlink()
    assert f"is not {ref}: 1 missing" in run("verify", ref, "--at", str(mount)).stderr


def test_a_list_that_somebody_chose_may_be_named(
    elsewhere: str, mount: Path, document: Document, run: Run
) -> None:
    listed = ["--manifest", str(mount / ".dataver.json")]
    for ref in ("iris", "iris@v1", f"iris@{elsewhere}", f"roses@{elsewhere[:12]}"):
        assert document("verify", ref, "--at", str(mount), *listed)["ok"] is True
    for ref in ("iris@v2", "roses@v1", "iris@00000000", "iris@prod"):
        assert run("verify", ref, "--at", str(mount), *listed).exit_code == 5
    assert run("verify", "iris@v1~1", "--at", str(mount), *listed).exit_code == 2
    assert run("verify", "iris@v1", "--at", str(mount), "--manifest", "none").exit_code == 3
    assert run("verify", "iris@v1", "--at", str(mount), "--manifest", ".").exit_code == 2
    Path("other.json").write_text("[]")
    assert run("verify", "iris@v1", "--at", str(mount), "--manifest", "other.json").exit_code == 2


def test_what_makes_no_sense_is_said(run: Run, mount: Path) -> None:
    at = ["--at", str(mount)]
    for line in (
        ["verify", *at],
        ["verify", "iris@v1", *at, "--deep"],
        ["verify", "iris@v1", *at, "--deep", "--part", "1/2"],
        ["verify", "iris@v1:train", *at],
        ["verify", "iris@v1", "--path", "a"],
        ["verify", "iris@v1", "--allow-extra"],
        ["verify", "iris@v1", "--manifest", "a"],
    ):
        assert run(*line).exit_code == 2, line
    assert run("verify", "iris@v1", "--at", "nothing").exit_code == 3
    assert run("verify", "iris@v9", *at).exit_code == 3
    assert run("verify", "iris@v1", *at, "--path", "nothing").exit_code == 3


def test_a_run_that_compares_its_inputs_has_read_them(
    document: Document, ok: Callable[..., str], mount: Path
) -> None:
    import sys

    ok("run", "--", sys.executable, "-m", "dataver.cli", "verify", "iris@v1", "--at", str(mount))
    (run,) = document("runs")["runs"]
    assert run["inputs"] == ["iris@v1"]
