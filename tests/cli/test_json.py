"""The `--json` documents, field by field as the contract has them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from blake3 import blake3

if TYPE_CHECKING:
    from click.testing import Result

Document = Callable[..., dict[str, Any]]
Run = Callable[..., "Result"]

ID = re.compile(r"[0-9a-f]{64}")
COMMIT_FIELDS = {
    *("dataset", "version", "id", "parents", "tree", "files", "bytes", "new_bytes", "stored_bytes"),
    *("changed", "created", "rebased_onto"),
}
SHOW_FIELDS = {
    *("dataset", "version", "id", "parents", "tree", "files", "bytes", "new_bytes", "stored_bytes"),
    *("message", "author", "time", "tags", "aliases", "meta"),
}


def is_id(value: object) -> bool:
    return isinstance(value, str) and ID.fullmatch(value) is not None


def test_init(document: Document, place: Path) -> None:
    found = document("init")
    assert set(found) >= {"repository", "url"}
    assert re.fullmatch(r"[0-9a-f]{32,64}", found["repository"])
    assert str(place) in found["url"]


def test_commit(document: Document, iris: Path) -> None:
    (iris / "new.csv").write_text("1\n")
    (iris / "a.csv").write_text("2\n")
    (iris / "train" / "b.csv").rename(iris / "c.csv")
    first = document("show", "iris@v1")
    found = document("commit", "iris", "iris", "-m", "second", "--tag", "paper", "--meta", "k=v")
    assert set(found) >= COMMIT_FIELDS
    assert "dry_run" not in found
    assert (found["dataset"], found["version"], found["created"]) == ("iris", "v2", True)
    assert is_id(found["id"])
    assert is_id(found["tree"])
    assert found["parents"] == [first["id"]]
    assert found["changed"] == {"added": 1, "modified": 1, "deleted": 0, "renamed": 1}
    assert found["rebased_onto"] is None
    assert found["new_bytes"] == 4
    assert found["stored_bytes"] > 0
    files = [path for path in iris.rglob("*") if path.is_file() and not path.is_symlink()]
    assert found["bytes"] == sum(path.stat().st_size for path in files) + len("a.csv")


def test_commit_of_nothing_new(document: Document, iris: Path) -> None:
    head = document("show", "iris")
    found = document("commit", "iris", "iris", "-m", "again")
    assert found["created"] is False
    assert (found["id"], found["version"], found["tree"]) == (head["id"], "v1", head["tree"])
    assert not any(found["changed"].values())
    made = document("commit", "iris", "iris", "--allow-empty")
    assert (made["created"], made["version"], made["tree"]) == (True, "v2", head["tree"])


def test_commit_off_main_has_no_version(document: Document, iris: Path) -> None:
    (iris / "new").write_text("x")
    found = document("commit", "iris", "iris", "--branch", "side")
    assert found["version"] is None
    assert document("show", "iris@side")["version"] is None


def test_dry_run_forecasts_and_commits_nothing(document: Document, iris: Path) -> None:
    (iris / "new").write_bytes(bytes(range(256)) * 40)
    before = document("log", "iris")
    found = document("commit", "iris", "iris", "--dry-run")
    assert found["created"] is False
    assert found["changed"]["added"] == 1
    assert found["dry_run"]["new_bytes"] == 256 * 40
    assert found["dry_run"]["requests"] > 0
    assert "cost_usd" in found["dry_run"]
    assert document("log", "iris") == before


def test_commit_on_top_of_somebody_elses(document: Document, iris: Path, place: Path) -> None:
    other = place / "other"
    document("checkout", "iris", "other")
    (other / "theirs").write_text("theirs")
    theirs = document("commit", "iris", "other")
    (iris / "ours").write_text("ours")
    found = document("commit", "iris", "iris")
    assert found["rebased_onto"] == theirs["id"]
    assert found["parents"] == [theirs["id"]]
    assert found["changed"]["added"] == 1
    assert {entry["path"] for entry in document("ls", "iris", "-r")["files"]} >= {"ours", "theirs"}


def test_show(document: Document, iris: Path) -> None:
    document(
        "commit",
        "iris",
        "iris",
        "--allow-empty",
        "--tag",
        "paper",
        "--meta",
        "k=v=w",
        "--time",
        "2020-02-02T02:02:02Z",
    )
    document("alias", "iris@v2", "prod")
    found = document("show", "iris@paper")
    assert set(found) >= SHOW_FIELDS
    assert (found["dataset"], found["version"]) == ("iris", "v2")
    assert (found["tags"], found["aliases"], found["meta"]) == (["paper"], ["prod"], {"k": "v=w"})
    assert found["author"] == "Test Author <test@example.org>"
    assert datetime.fromisoformat(found["time"]) == datetime.fromisoformat("2020-02-02T02:02:02+00:00")
    first = document("show", "iris@v1")
    assert first["message"] == "first\n\nin full"
    assert first["parents"] == []
    assert found["parents"] == [first["id"]]
    assert datetime.fromisoformat(first["time"]).utcoffset() == timedelta(0)
    assert first["time"].endswith("Z")


def test_log(document: Document, iris: Path) -> None:
    document("commit", "iris", "iris", "--allow-empty")
    found = document("log", "iris")
    assert [version["version"] for version in found["versions"]] == ["v2", "v1"]
    for version in found["versions"]:
        assert set(version) >= SHOW_FIELDS
    shown = document("show", "iris")
    listed = {**shown, "changed": None}
    for name in ("sources", "derived_from", "sources_of", "sources_whole"):
        del listed[name]
    assert {**found["versions"][0], "changed": None, "signatures": []} == listed
    assert shown["changed"] == {"added": 0, "modified": 0, "deleted": 0, "renamed": 0}
    assert len(document("log", "iris", "-n", "1")["versions"]) == 1


def test_list(document: Document, iris: Path) -> None:
    head = document("show", "iris")
    assert document("list") == {
        "datasets": [
            {"name": "iris", "head": "v1", "id": head["id"], "files": head["files"], "bytes": head["bytes"]}
        ]
    }


def test_list_of_an_empty_repository(document: Document) -> None:
    document("init")
    assert document("list") == {"datasets": []}


def test_ls(document: Document, iris: Path) -> None:
    top = document("ls", "iris")
    assert [entry["path"] for entry in top["files"]] == ["a.csv", "link"]
    assert top["folders"] == ["hollow", "train"]
    below = document("ls", "iris", "-r")
    assert [entry["path"] for entry in below["files"]] == ["a.csv", "link", "train/b.csv", "train/run.sh"]
    for entry in below["files"]:
        assert set(entry) >= {"path", "size", "digest"}
    by_path = {entry["path"]: entry for entry in below["files"]}
    content = (iris / "train" / "b.csv").read_bytes()
    assert by_path["train/b.csv"]["size"] == len(content)
    assert by_path["train/b.csv"]["digest"] == blake3(content).hexdigest()
    assert by_path["link"]["digest"] == blake3(b"a.csv").hexdigest()
    assert by_path["link"]["kind"] == "symlink"
    assert by_path["train/run.sh"]["executable"] is True
    assert [entry["path"] for entry in document("ls", "iris", "train")["files"]] == [
        "train/b.csv",
        "train/run.sh",
    ]


def test_ls_is_sorted_by_path_as_bytes(document: Document, place: Path) -> None:
    folder = place / "odd"
    folder.mkdir()
    names = ["\U0001f600", "\uff5e", "z", "é", "a b", "B"]
    for name in names:
        (folder / name).write_text(name)
    document("init")
    document("commit", "odd", "odd")
    found = [entry["path"] for entry in document("ls", "odd")["files"]]
    assert found == sorted(names, key=str.encode)


@pytest.mark.parametrize("verb", ["status", "diff"])
def test_changes(verb: str, document: Document, iris: Path) -> None:
    (iris / "new").write_text("new")
    (iris / "a.csv").write_text("changed")
    (iris / "train" / "b.csv").rename(iris / "moved.csv")
    (iris / "link").unlink()
    if verb == "status":
        found = document("status", "iris", "iris")
        assert found == document("status", "iris")
    else:
        document("commit", "iris", "iris")
        found = document("diff", "iris@v1", "iris@v2")
    assert found == {
        "added": ["new"],
        "modified": ["a.csv"],
        "deleted": ["link"],
        "renamed": [["train/b.csv", "moved.csv"]],
    }


def test_checkout(document: Document, iris: Path, place: Path) -> None:
    version = document("show", "iris")
    found = document("checkout", "iris", "out")
    assert set(found) >= {"files", "bytes", "written_files", "written_bytes"}
    assert found["bytes"] == found["written_bytes"] == version["bytes"]
    assert found["files"] == found["written_files"]
    again = document("checkout", "iris", "out")
    assert (again["written_files"], again["written_bytes"]) == (0, 0)
    assert (place / "out" / "train" / "b.csv").read_bytes() == (iris / "train" / "b.csv").read_bytes()


@pytest.mark.parametrize("kind", ["tag", "alias", "branch"])
def test_names(kind: str, document: Document, iris: Path) -> None:
    one = document("show", "iris")["id"]
    assert document(kind, "iris@v1", "name") == {"name": "name", "id": one, "previous": None}
    assert document("show", "iris@name")["id"] == one
    assert document(kind, "iris")["names"][-1] == {"kind": kind, "name": "name", "id": one}
    assert document(kind, "iris", "name", "--delete") == {"name": "name", "id": None, "previous": one}


def test_an_alias_moves(document: Document, iris: Path) -> None:
    one = document("show", "iris")["id"]
    two = document("commit", "iris", "iris", "--allow-empty")["id"]
    document("alias", "iris@v1", "prod")
    assert document("alias", "iris@v2", "prod") == {"name": "prod", "id": two, "previous": one}


def test_merge_and_revert(document: Document, iris: Path, place: Path) -> None:
    document("checkout", "iris@v1", "side")
    (place / "side" / "from-side").write_text("side")
    side = document("commit", "iris", "side", "--branch", "side")
    (iris / "from-main").write_text("main")
    main = document("commit", "iris", "iris")
    merged = document("merge", "iris@side", "-m", "both")
    assert set(merged) >= COMMIT_FIELDS
    assert merged["parents"] == [main["id"], side["id"]]
    assert merged["rebased_onto"] is None
    assert merged["version"] == "v3"
    assert merged["new_bytes"] == 0
    reverted = document("revert", "iris@v1")
    assert set(reverted) >= COMMIT_FIELDS
    assert reverted["version"] == "v4"
    assert reverted["tree"] == document("show", "iris@v1")["tree"]
    assert reverted["parents"] == [merged["id"]]


def test_rename_and_delete(document: Document, iris: Path) -> None:
    head = document("show", "iris")["id"]
    assert document("rename", "iris", "flowers/iris") == {"dataset": "flowers/iris", "previous": "iris"}
    assert document("show", "flowers/iris")["id"] == head
    assert document("delete", "flowers/iris") == {"dataset": "flowers/iris", "deleted": True}
    assert document("list") == {"datasets": []}
    assert document("delete", "flowers/iris", "--undo") == {"dataset": "flowers/iris", "deleted": False}
    assert document("show", "flowers/iris@v1")["id"] == head


@pytest.mark.parametrize("deep", [[], ["--deep"]])
def test_verify(deep: list[str], document: Document, iris: Path) -> None:
    found = document("verify", *deep)
    assert found["ok"] is True
    assert found["damaged"] == []
    assert found["objects"] > 0
    assert found["bytes"] > 0
    assert document("verify", "iris@v1", *deep)["ok"] is True


def test_verify_of_damage(run: Callable[..., Result], iris: Path, place: Path) -> None:
    packs = sorted((place / ".dataver" / "packs").rglob("*"), key=lambda path: -path.stat().st_size)
    content = (iris / "train" / "b.csv").read_bytes()
    harmed = set()
    for pack in packs:
        if pack.is_dir():
            continue
        raw = bytearray(pack.read_bytes())
        raw[len(raw) // 2] ^= 1
        pack.chmod(0o644)
        pack.write_bytes(raw)
    assert content
    result = run("verify", "--deep", "--json")
    assert result.exit_code == 5
    found = json.loads(result.stdout)
    assert found["ok"] is False
    for damage in found["damaged"]:
        assert set(damage) >= {"object", "reason", "harms"}
        for harm in damage["harms"]:
            assert set(harm) >= {"dataset", "version", "path"}
            harmed.add(harm["dataset"])
    assert harmed == {"iris"}
    assert json.loads(result.stderr)["error"]["code"] == 5


def test_doctor(document: Document, iris: Path) -> None:
    checks = document("doctor")["checks"]
    assert checks
    for check in checks:
        assert set(check) >= {"name", "ok", "detail", "advice"}
        assert check["ok"] is True, check


def test_completion(document: Document) -> None:
    found = document("completion", "bash")
    assert found["shell"] == "bash"
    assert "complete " in found["script"]


def test_telemetry(document: Document) -> None:
    assert document("telemetry", "check") == {
        "exporter": "none", "endpoint": None, "arrived": None, "status": None, "answer": None,
        "seconds": None, "columns": False, "traceparent": None,
    }  # fmt: skip
    for query in document("telemetry", "queries")["queries"]:
        assert query["kql"].startswith(f"// {query['about']}\n")


def test_at_answers_as_it_was(document: Document, run: Run, iris: Path) -> None:
    one = document("show", "iris")["id"]
    (iris / "new").write_text("x")
    entries = [entry for entry in sorted(Path(".dataver/log").iterdir()) if entry.name.isdigit()]
    last = str(int(entries[-1].name))
    two = document("commit", "iris", "iris")["id"]
    assert document("show", "iris")["id"] == two
    assert document("show", "iris", "--at", last)["id"] == one
    assert [v["id"] for v in document("log", "iris", "--at", last)["versions"]] == [one]
    assert document("list", "--at", last)["datasets"][0]["id"] == one
    for arguments in (("log", "iris"), ("list",), ("show", "iris")):
        missing = run(*arguments, "--at", "99999")
        assert missing.exit_code == 3
        assert "there is no log entry 99999; the newest is " in missing.stderr
    assert document("ls", "iris", "--at", last)["files"] == document("ls", "iris@v1")["files"]
    assert document("verify", "iris", "--at", last)["ok"] is True
