"""Names pinned by a lock file: who reads through it, who does not, and what is wrong with a bad one."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

import dataver
from dataver.errors import BadInputError, LockMismatchError, RefNotFoundError
from dataver.pins import Lock, Pin, lock_text, quoted, read_lock

if TYPE_CHECKING:
    from click.testing import Result

Document = Callable[..., dict[str, Any]]
Ok = Callable[..., str]
Run = Callable[..., "Result"]


@pytest.fixture
def pinned(iris: Path, ok: Ok, place: Path) -> Path:
    """`iris` is pinned to its first version, and its head is the second; the lock file."""
    ok("lock", "add", "iris")
    (iris / "a.csv").write_text("another\n")
    ok("commit", "iris", "iris", "-m", "second")
    return place / "dataver.lock"


def version_of(document: Document, ref: str) -> Any:
    return document("show", ref)["version"]


def test_what_reads_gets_the_pinned_version(pinned: Path, document: Document, ok: Ok, place: Path) -> None:
    assert [version_of(document, ref) for ref in ("iris", "iris@latest", "iris@main")] == ["v1"] * 3
    assert version_of(document, "iris@v2") == "v2"
    assert [entry["version"] for entry in document("log", "iris")["versions"]] == ["v1"]
    assert ok("cat", "iris", "a.csv") == "sepal,petal\n1,2\n"
    assert document("diff", "iris", "iris@v2")["modified"] == ["a.csv"]
    assert document("verify", "iris")["ok"]
    ok("checkout", "iris", "out")
    assert (place / "out" / "a.csv").read_text() == "sepal,petal\n1,2\n"
    assert dataver.resolve("iris").name == "iris@v1"
    with fsspec.open("dataver://iris@latest/a.csv", "rt") as file:
        assert file.read() == "sepal,petal\n1,2\n"
    assert pickle.loads(pickle.dumps(dataver.resolve("iris"))).name == "iris@v1"


def test_what_writes_or_looks_back_does_not(pinned: Path, document: Document, ok: Ok, iris: Path) -> None:
    (iris / "a.csv").write_text("a third\n")
    assert document("commit", "iris", "iris")["version"] == "v3"
    head = document("show", "iris@v3")["id"]
    assert document("tag", "iris", "paper")["id"] == head
    assert document("branch", "iris", "side")["id"] == head
    assert document("revert", "iris")["created"] is False
    assert document("list")["datasets"][0]["head"] == "v3"
    entry = dataver.open().session.log.tail().entry.number
    assert document("show", "iris", "--at", str(entry))["version"] == "v3"


def test_a_handle_stays_where_it_was_opened(pinned: Path, ok: Ok) -> None:
    version = dataver.resolve("iris")
    ok("lock", "update")
    assert dataver.resolve("iris").name == "iris@v2"
    assert pickle.loads(pickle.dumps(version)).name == version.name == "iris@v1"


def test_the_nearest_file_above_counts(
    pinned: Path, document: Document, monkeypatch: pytest.MonkeyPatch, place: Path, ok: Ok
) -> None:
    below = place / "deep" / "er"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert version_of(document, "iris") == "v1"
    monkeypatch.setenv("DATAVER_LOCK", str(place / "other.lock"))
    ok("lock", "add", "iris")
    assert version_of(document, "iris") == "v2"
    monkeypatch.setenv("DATAVER_LOCK", str(pinned))
    assert version_of(document, "iris") == "v1"
    monkeypatch.setenv("DATAVER_LOCK", "")
    assert version_of(document, "iris") == "v2"


def test_a_named_file_that_is_not_there_is_not_passed_over(
    pinned: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAVER_LOCK", "nowhere.lock")
    assert run("show", "iris").exit_code == 3
    assert run("lock", "check").exit_code == 3


def test_a_process_whose_folder_was_deleted_still_reads(
    iris: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = dataver.open()
    (place / "gone").mkdir()
    monkeypatch.chdir(place / "gone")
    (place / "gone").rmdir()
    assert repository.version("iris").name == "iris@v1"
    monkeypatch.chdir(place)


def test_steps_back_count_from_the_pin(iris: Path, ok: Ok, document: Document) -> None:
    for number in range(2, 5):
        (iris / "a.csv").write_text(f"{number}\n")
        ok("commit", "iris", "iris")
        if number == 3:
            ok("lock", "add", "iris@main")
    assert [version_of(document, f"iris@latest{steps}") for steps in ("", "~1", "~2")] == ["v3", "v2", "v1"]
    assert version_of(document, "iris@v4~1") == "v3"


def test_add_update_remove(pinned: Path, ok: Ok, document: Document, run: Run) -> None:
    first, second = document("show", "iris@v1"), document("show", "iris@v2")
    found = document("lock", "add", "iris@v2", "iris@v2")
    assert found["lock"] == str(pinned)
    assert found["pins"][0] == {
        "ref": "iris@v2",
        "version": "v2",
        "id": second["id"],
        "tree": second["tree"],
        "previous": None,
    }
    assert tomllib.loads(pinned.read_text())["pins"]["iris"] == {
        "version": "v1",
        "id": first["id"],
        "tree": first["tree"],
    }
    taken = run("lock", "add", "iris@latest")
    assert taken.exit_code == 4
    assert "dataver lock update iris" in taken.stderr
    assert run("lock", "update", "iris@nothing").exit_code == 3
    moved = document("lock", "update", "iris@main")["pins"]
    assert [(pin["ref"], pin["previous"], pin["id"]) for pin in moved] == [
        ("iris", first["id"], second["id"])
    ]
    assert document("lock", "add", "iris")["pins"][0]["previous"] == second["id"]
    ok("lock", "remove", "iris")
    assert list(tomllib.loads(pinned.read_text())["pins"]) == ["iris@v2"]
    ok("lock", "remove", "iris@v2")
    assert document("lock", "check")["pins"] == []
    assert run("lock", "add").exit_code == 2
    assert run("lock", "add", "iris@nothing").exit_code == 3


def test_the_file_is_sorted_and_stays_as_it_is(iris: Path, ok: Ok, place: Path) -> None:
    for name in ("zoo", "a/b", "iris-2"):
        ok("commit", name, "iris")
    ok("alias", "iris@v1", "prod")
    ok("lock", "add", "zoo", "iris@prod", "a/b", "iris", "iris-2")
    path = place / "dataver.lock"
    before = path.read_bytes()
    headings = [line for line in before.decode().splitlines() if line.startswith("[pins.")]
    names = ['"a/b"', "iris", "iris-2", '"iris@prod"', "zoo"]
    assert headings == [f"[pins.{name}]" for name in names]
    assert 'url = ".dataver"' in before.decode()
    path.chmod(0o640)
    ok("lock", "update")
    assert path.read_bytes() == before
    ok("lock", "remove", "zoo")
    ok("lock", "add", "zoo")
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(os.listdir(place)) == [".dataver", "dataver.lock", "iris"]


def test_many_editors_lose_no_pin(iris: Path, ok: Ok, place: Path) -> None:
    names = [f"set-{number}" for number in range(4)]
    for name in names:
        ok("commit", name, "iris")
    ok("lock", "add", "iris")
    command = (sys.executable, "-m", "dataver.cli", "lock", "add")
    editors = [subprocess.Popen([*command, name]) for name in names]
    assert [editor.wait(60) for editor in editors] == [0] * 4
    assert sorted(read_lock(str(place / "dataver.lock")).pins) == ["iris", *names]


# What does not hold


def test_check_tells_which_pins_hold(pinned: Path, run: Run, document: Document, ok: Ok) -> None:
    ok("lock", "add", "iris@v2")
    found = document("lock", "check")
    assert found["ok"] is True
    assert [(pin["ref"], pin["ok"], pin["problem"]) for pin in found["pins"]] == [
        ("iris", True, None),
        ("iris@v2", True, None),
    ]
    text = pinned.read_text()
    tree = document("show", "iris@v1")["tree"]
    pinned.write_text(text.replace(tree, "0" * 64))
    result = run("lock", "check", "--json")
    assert result.exit_code == 5
    found = json.loads(result.stdout)
    assert found["ok"] is False
    assert [(pin["ref"], pin["ok"]) for pin in found["pins"]] == [("iris", False), ("iris@v2", True)]
    assert tree in found["pins"][0]["problem"]
    assert json.loads(result.stderr)["error"]["code"] == 5
    assert run("lock", "check", "iris@v2").exit_code == 0
    for arguments in (
        ("show", "iris"),
        ("cat", "iris", "a.csv"),
        ("verify", "iris"),
        ("checkout", "iris", "o"),
    ):
        result = run(*arguments)
        assert result.exit_code == 5, arguments
        assert "dataver lock update iris" in result.stderr


def test_check_is_aligned(pinned: Path, ok: Ok) -> None:
    ok("lock", "add", "iris@v1")
    lines = ok("lock", "check").splitlines()
    assert len(lines) > 1
    assert len({line.rindex("  ") for line in lines}) == 1


def test_a_number_that_is_another_version_is_no_silent_change(
    pinned: Path, run: Run, ok: Ok, document: Document
) -> None:
    ok("lock", "add", "iris@v2")
    text = pinned.read_text()
    first, second = document("show", "iris@v1")["id"], document("show", "iris@v2")["id"]
    pinned.write_text(text.replace(second, first))
    result = run("show", "iris@v2")
    assert result.exit_code == 5
    assert second in result.stderr


def test_a_replaced_repository_shows(pinned: Path, run: Run, ok: Ok, place: Path, iris: Path) -> None:
    old = dataver.open().id
    shutil.rmtree(place / ".dataver")
    ok("init")
    ok("commit", "iris", "iris", "-m", "not the same")
    for arguments in (("lock", "check"), ("show", "iris")):
        assert run(*arguments).exit_code == 5
    problem = json.loads(run("lock", "check", "--json").stdout)["pins"][0]["problem"]
    assert old in problem
    ok("commit", "other", "iris")
    assert run("lock", "add", "other").exit_code == 4
    ok("lock", "update")
    assert tomllib.loads((place / "dataver.lock").read_text())["repository"]["id"] != old
    ok("lock", "check")


def test_a_copy_of_the_repository_holds_the_same(pinned: Path, ok: Ok, place: Path) -> None:
    (place / ".dataver").rename(place / "moved")
    before = pinned.read_text()
    ok("-R", "moved", "lock", "check")
    ok("-R", "moved", "lock", "add", "iris@v2")
    assert "v1" in ok("-R", "moved", "show", "iris")
    assert read_lock(str(pinned)).url == ".dataver"
    ok("-R", "moved", "lock", "remove", "iris@v2")
    assert pinned.read_text() == before
    ok("-R", "moved", "lock", "update")
    assert read_lock(str(pinned)).url == "moved"


def test_a_name_that_is_gone_is_still_its_pin(pinned: Path, ok: Ok, run: Run, document: Document) -> None:
    ok("alias", "iris@v1", "prod")
    ok("lock", "add", "iris@prod")
    ok("alias", "iris@v2", "prod")
    assert version_of(document, "iris@prod") == "v1"
    ok("alias", "iris", "prod", "--delete")
    assert version_of(document, "iris@prod") == "v1"
    ok("rename", "iris", "flowers")
    assert run("show", "iris").exit_code == 5
    assert run("lock", "check").exit_code == 5


# Frozen


def test_frozen_lets_through_what_cannot_change(
    pinned: Path, run: Run, ok: Ok, document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    ok("alias", "iris@v1", "prod")
    ok("tag", "iris@v1", "paper")
    id = document("show", "iris@v2")["id"]
    monkeypatch.setenv("DATAVER_FROZEN", "1")
    for ref in ("iris", "iris@v2", "iris@paper", "iris@paper~0", f"iris@{id[:12]}", "iris@v2~1"):
        assert run("show", ref).exit_code == 0, ref
    result = run("show", "iris@prod")
    assert result.exit_code == 2
    assert "dataver lock add iris@prod" in result.stderr
    assert run("show", "iris", "--at", "1").exit_code == 2
    assert run("show", "iris@nothing").exit_code == 3
    with pytest.raises(BadInputError, match="FROZEN"):
        dataver.resolve("iris@prod")
    ok("lock", "add", "iris@prod")
    ok("show", "iris@prod")
    monkeypatch.setenv("DATAVER_LOCK", "")
    assert run("show", "iris").exit_code == 2
    monkeypatch.setenv("DATAVER_FROZEN", "0")
    ok("show", "iris")


# The file


GOOD = """format = 1

[repository]
id = "{repository}"
url = ".dataver"

[pins.iris-2]
id = "{id}"
tree = "{id}"

[pins."iris"]
version = "v1"
id = "{id}"
tree = "{id}"
""".format(repository="ab" * 16, id="cd" * 32)


def test_a_good_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "dataver.lock"
    path.write_text(GOOD)
    lock = read_lock(str(path))
    assert lock.pins["iris"] == Pin("iris", "v1", "cd" * 32, "cd" * 32)
    assert lock.pins["iris-2"].version is None


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("format = 1", "format = 2", 1),
        ("format = 1", "", 1),
        ('url = ".dataver"', "url = 5", 5),
        ('id = "abab', 'id = "zbab', 4),
        ('[pins."iris"]', '[pins."iris@v1 x"]', 11),
        ('[pins."iris"]', '[pins."iris-2@main"]', 11),
        ('[pins."iris"]', "[pins.iris-2]", 11),
        ('version = "v1"', 'version = "v01"', 12),
        ('version = "v1"\nid = "cd', 'version = "v1"\nid = "CD', 13),
        ('[pins."iris"]', "<<<<<<< ours", 11),
    ],
)
def test_a_malformed_file_is_named_with_its_line(
    old: str, new: str, line: int, run: Run, iris: Path, place: Path
) -> None:
    assert GOOD.count(old) == 1
    (place / "dataver.lock").write_text(GOOD.replace(old, new))
    for arguments in (("show", "iris"), ("lock", "add", "iris"), ("lock", "check")):
        result = run(*arguments)
        assert result.exit_code == 2
        assert f"line {line}" in result.stderr, result.stderr
    assert (place / "dataver.lock").read_text() == GOOD.replace(old, new)


def test_bytes_that_are_no_text_are_named_with_their_line(run: Run, iris: Path, place: Path) -> None:
    (place / "dataver.lock").write_bytes(b"format = 1\n# \xff\n")
    result = run("show", "iris")
    assert (result.exit_code, "line 2" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    "text", ["", "plain", 'a"b\\c', "tab\t\n\r\b\f\x00\x1f\x7f", "ü 漢 \U0001f600", "'''"]
)
def test_texts_are_escaped_right(text: str) -> None:
    assert tomllib.loads(f"x = {quoted(text)}")["x"] == text
    lock = Lock("somewhere", "ab" * 16, text, {})
    assert tomllib.loads(lock_text(lock))["repository"]["url"] == text


def test_what_unicode_cannot_hold_does_not_break_the_file() -> None:
    assert tomllib.loads(f"x = {quoted('bad' + chr(0xDCFF))}")["x"] == "bad?"


def test_no_credentials_are_written(ok: Ok, iris: Path, place: Path) -> None:
    ok("-R", ".dataver", "--storage-option", "auto_mkdir=secret-value", "lock", "add", "iris")
    assert "secret-value" not in (place / "dataver.lock").read_text()


def test_errors_are_of_their_class(pinned: Path) -> None:
    text = pinned.read_text()
    pinned.write_text(text.replace('id = "', 'id = "0', 1).replace('"\nurl', '"\nurl'))
    with pytest.raises(BadInputError):
        dataver.resolve("iris")
    pinned.write_text(text.replace(read_lock_id(text), "0" * 64))
    with pytest.raises(LockMismatchError):
        dataver.resolve("iris")
    pinned.unlink()
    with pytest.raises(RefNotFoundError):
        read_lock(str(pinned))


def read_lock_id(text: str) -> str:
    return str(tomllib.loads(text)["pins"]["iris"]["id"])
