"""`repair` and `verify --part` from the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dataver.keys import entry_key

if TYPE_CHECKING:
    from click.testing import Result

Document = Callable[..., dict[str, Any]]
Run = Callable[..., "Result"]


@pytest.fixture
def broken(iris: Path, place: Path) -> Path:
    """A repository whose packs have each a wrong byte; the folder that it was made from."""
    for pack in (place / ".dataver" / "packs").rglob("*"):
        if pack.is_file():
            data = bytearray(pack.read_bytes())
            data[60] ^= 1
            pack.chmod(0o644)
            pack.write_bytes(data)
    return iris


def test_repair_of_what_is_whole(document: Document, ok: Callable[..., str], iris: Path) -> None:
    assert iris.exists()
    report = document("repair")
    assert (report["done"], report["ok"], report["damaged"], report["lost"]) == (False, True, [], [])
    assert ok("repair", "--yes").splitlines() == ["all whole"]


def test_repair_without_yes_changes_nothing(run: Run, broken: Path, place: Path) -> None:
    before = {path: path.read_bytes() for path in (place / ".dataver").rglob("*") if path.is_file()}
    result = run("repair", "--folder", str(broken))
    assert "nothing was changed; `dataver repair --yes` does it" in result.stdout
    assert before == {path: path.read_bytes() for path in (place / ".dataver").rglob("*") if path.is_file()}


def test_what_is_still_lost_is_listed_and_is_exit_code_5(run: Run, broken: Path) -> None:
    assert broken.exists()
    result = run("repair", "--yes", "--json")
    assert result.exit_code == 5
    report = json.loads(result.stdout)
    assert (report["done"], report["ok"]) == (True, False)
    assert {harm["dataset"] for damage in report["lost"] for harm in damage["harms"]} == {"iris"}
    assert json.loads(result.stderr)["error"]
    text = run("repair")
    assert text.exit_code == 5
    assert "harms iris@v1" in text.stdout
    assert "--from URL" in text.stderr


def test_repair_from_another_repository(run: Run, broken: Path, place: Path) -> None:
    other = place / "other"
    run("--repo", str(other), "init")
    run("--repo", str(other), "commit", "iris", str(broken))
    # The same files, in another version: contents are the same, records are not.
    report = json.loads(run("repair", "--from", str(other), "--yes", "--json").stdout)
    assert report["healed"] > 0
    assert report["sources"][str(other)] == report["healed"]
    lost = {damage["object"].split()[0] for damage in report["lost"]}
    assert lost <= {"version"}


def test_where_the_log_is_damaged_the_way_out_is_told(run: Run, iris: Path, place: Path) -> None:
    assert iris.exists()
    entry = place / ".dataver" / "log" / f"{1:020d}"
    data = bytearray(entry.read_bytes())
    data[50] ^= 1
    entry.chmod(0o644)
    entry.write_bytes(data)
    result = run("repair", "--yes")
    assert result.exit_code == 5
    assert "not mended" in result.stdout
    assert "a copy of this repository" in result.stderr


def test_verify_of_a_part(document: Document, run: Run, iris: Path) -> None:
    assert iris.exists()
    assert document("verify", "--deep", "--part", "2/3")["part"] == "2/3"
    assert document("verify", "--deep")["part"] is None
    assert "part 1/2 read in full" in run("verify", "--deep", "--part", "1/2").stdout
    assert run("verify", "--part", "1/2").exit_code == 2
    assert run("verify", "--deep", "--part", "3/2").exit_code == 2


def test_a_log_without_its_beginning_gets_it_from_a_copy(
    run: Run, ok: Callable[..., str], document: Document, iris: Path, place: Path
) -> None:
    assert iris.exists()
    first = place / ".dataver" / entry_key(0)
    copy = place / "copy"
    shutil.copytree(place / ".dataver", copy)
    first.unlink()
    for verb in ("list", "verify", "repair"):
        refused = run(verb)
        assert refused.exit_code == 5
        assert "--from URL" in refused.stderr
    assert "would be put back  1 object of the log" in ok("repair", "--from", str(copy))
    assert not first.exists()
    report = document("repair", "--from", str(copy), "--yes")
    assert (report["ok"], report["restored"]) == (True, [entry_key(0)])
    assert [damage["object"] for damage in report["damaged"]] == [entry_key(0)]
    assert document("verify", "--deep")["ok"]


def test_where_there_is_no_repository_a_repair_says_so(run: Run, place: Path) -> None:
    missing = run("--repo", str(place / "none"), "repair")
    assert missing.exit_code == 3
    assert "there is no repository" in missing.stderr
