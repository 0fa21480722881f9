"""`push` and `pull` as people and scripts see them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess

    from click.testing import Result

Run = Callable[..., "Result"]
Ok = Callable[..., str]
Document = Callable[..., dict[str, Any]]
Program = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def shared(iris: Path, ok: Ok) -> str:
    """A repository beside the one with `iris@v1` and `iris@v2`, with nothing in it yet."""
    (iris / "a.csv").write_text("changed")
    ok("commit", "iris", "iris", "-m", "second")
    ok("-R", "shared", "init")
    return "shared"


def test_push_says_what_it_did(ok: Ok, shared: str) -> None:
    ok("alias", "iris@v1", "prod")
    first, second, third = ok("push", "--to", shared).splitlines()
    assert re.fullmatch(r"iris@main -> [0-9a-f]{8}…", first)
    assert re.fullmatch(r"iris@prod -> [0-9a-f]{8}…", second)
    assert re.fullmatch(r"2 versions, \d+ objects copied, [\d.]+ KiB", third)
    assert ok("push", "--to", shared) == "nothing to copy\n"
    ok("alias", "iris@v2", "prod")
    stays = r"iris@prod stays at [0-9a-f]{8}… there; the other is [0-9a-f]{8}…\nnothing to copy\n"
    assert re.fullmatch(stays, ok("push", "--to", shared))
    moved = ok("push", "iris@prod", "--to", shared)
    assert re.match(r"iris@prod -> [0-9a-f]{8}…  \(was [0-9a-f]{8}…\)\n", moved)


def test_documents(document: Document, ok: Ok, shared: str) -> None:
    head = document("show", "iris")["id"]
    found = document("push", "--to", shared)
    assert found["refs"] == [{"name": "iris@main", "from": None, "to": head}]
    assert set(found) == {
        "refs", "versions", "objects", "bytes", "kept", "signatures", "erased", "not_erased",
    }  # fmt: skip
    assert found["versions"] == 2
    assert found["objects"] > 0 < found["bytes"]
    empty = {"refs": [], "versions": 0, "objects": 0, "bytes": 0, "kept": [], "signatures": 0}
    empty |= {"erased": 0, "not_erased": []}
    assert document("push", "iris", "--to", shared) == empty
    assert document("pull", "iris", "--from", shared) == empty
    ok("-R", "part", "init")
    part = document("-R", "part", "pull", "iris@v1", "--from", shared)
    assert [ref["name"] for ref in part["refs"]] == ["iris@v1"]


def test_a_history_in_part(document: Document, ok: Ok, run: Run, shared: str) -> None:
    ok("push", "--to", shared)
    ok("-R", "part", "init")
    ok("-R", "part", "pull", "--from", shared, "--depth", "1")
    parent = document("show", "iris@v1")["id"]
    log = ok("-R", "part", "log", "iris").splitlines()
    assert len(log) == 2
    assert log[1] == (
        f"{parent[:8]}… and what it descends from are not here; `dataver pull iris --from URL` brings them"
    )
    (version,) = document("-R", "part", "log", "iris")["versions"]
    assert version["absent"] == version["parents"] == [parent]
    assert f"parent    {parent} (not here)" in ok("-R", "part", "show", "iris")
    gone = run("-R", "part", "show", "iris~1")
    assert gone.exit_code == 2  # No ref: `~` follows a selector.
    gone = run("-R", "part", "show", "iris@main~1")
    assert gone.exit_code == 3
    assert parent in gone.stderr
    assert ok("-R", "part", "verify", "--deep").endswith("all whole\n")
    ok("-R", "part", "pull", "--from", shared)
    assert len(ok("-R", "part", "log", "iris").splitlines()) == 2
    assert document("-R", "part", "show", "iris@main~1")["id"] == parent


def test_the_commands_that_an_error_names_work(
    document: Document, ok: Ok, run: Run, shared: str, place: Path
) -> None:
    """Word for word, as somebody would copy them."""
    ok("push", "--to", shared)
    ok("-R", shared, "checkout", "iris", "theirs")
    (place / "theirs" / "new").write_text("theirs")
    ok("-R", shared, "commit", "iris", "theirs")
    (place / "iris" / "mine").write_text("mine")
    ok("commit", "iris", "iris")
    refused = run("push", "--to", shared)
    assert refused.exit_code == 4
    pull, merge, rebase = re.findall(r"`dataver ([^`]+)`", refused.stderr)
    assert run(*pull.split()).exit_code == 4
    assert json.loads(run(*pull.split(), "--json").stderr)["error"]["code"] == 4
    ok(*merge.split())
    ok("push", "--to", shared)
    assert {file["path"] for file in document("-R", shared, "ls", "iris")["files"]} >= {"new", "mine"}
    # The other way out, in a copy of what was there before.
    assert rebase.endswith("--rebase")
    assert ok(*rebase.split()) == "nothing to copy\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("push",), 2),
        (("pull",), 2),
        (("push", "--to", ""), 2),
        (("push", "--to", "nowhere"), 3),
        (("pull", "--from", "nowhere"), 3),
        (("pull", "none", "--from", "shared"), 3),
        (("push", "iris@none", "--to", "shared"), 3),
        (("push", "../x", "--to", "shared"), 2),
        (("pull", "--depth", "0", "--from", "shared"), 2),
        (("push", "--to-option", "x", "--to", "shared"), 2),
    ],
)
def test_what_cannot_be(run: Run, shared: str, arguments: tuple[str, ...], code: int) -> None:
    assert shared == "shared"
    assert run(*arguments).exit_code == code


def test_progress_is_on_standard_error_alone(program: Program, ok: Ok, shared: str) -> None:
    done = program("--progress", "push", "--to", shared, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["versions"] == 2


def test_a_folder_that_holds_a_repository_is_told_from_one(run: Run, iris: Path) -> None:
    run("-R", "other/.dataver", "init")
    for arguments in (("push", "--to", "other"), ("pull", "--from", "other"), ("-R", "other", "list")):
        result = run(*arguments)
        assert result.exit_code == 3
        assert "other is no repository, but holds one; name other/.dataver\n" in result.stderr


def test_where_no_repository_is_the_advice_makes_one_there(run: Run, iris: Path, place: Path) -> None:
    for arguments in (("push", "--to", "no where"), ("-R", "no where", "list"), ("-R", "no where", "verify")):
        result = run(*arguments)
        assert result.exit_code == 3
        assert f"`dataver init '{place}/no where'`" in result.stderr
