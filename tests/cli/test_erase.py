"""`erase` from the command line, and what other verbs say of what was erased."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataver.hashing import blake3_digest

if TYPE_CHECKING:
    from click.testing import Result

Document = Callable[..., dict[str, Any]]
Run = Callable[..., "Result"]
REASON = ("--reason", "request 4711")


@pytest.fixture
def secret(ok: Callable[..., str], iris: Path) -> str:
    """The digest of a file that is committed beside others."""
    (iris / "secret.csv").write_text("5.1,Ada\n")
    ok("commit", "iris", "iris", "-m", "with a secret")
    return blake3_digest(b"5.1,Ada\n").hex()


def test_the_document_of_a_report_and_of_the_deed(document: Document, secret: str) -> None:
    asked = document("erase", "iris", "secret.csv", *REASON)
    assert set(asked) == {
        "done", "dataset", "digest", "path", "reason", "files", "shared", "chunks", "bytes", "packs",
        "undeleted", "unread", "unknown", "versions", "runs", "models", "soft_delete_days",
    }  # fmt: skip
    assert (asked["done"], asked["digest"], asked["dataset"]) == (False, secret, "iris")
    assert asked["files"] == [{"digest": secret, "size": 8, "paths": ["secret.csv"], "erased": False}]
    done = document("erase", "iris", secret, *REASON, "--yes")
    assert (done["done"], done["chunks"], done["bytes"], done["packs"]) == (True, 1, 8, asked["packs"])
    assert done["versions"] == ["iris@v2"]
    verified = document("verify", "--deep")
    assert (verified["ok"], verified["erased"]) == (True, 1)
    assert document("erase", "iris@v2", "secret.csv", *REASON, "--yes")["files"][0]["erased"]


def test_names_and_digests_stay(document: Document, run: Run, ok: Callable[..., str], secret: str) -> None:
    ok("erase", "iris", "secret.csv", *REASON, "--author", "Bob <b@x>", "--yes")
    files = {file["path"]: file["digest"] for file in document("ls", "iris", "-r")["files"]}
    assert files["secret.csv"] == secret
    assert document("diff", "iris@v1", "iris@v2")["added"] == ["secret.csv"]
    for command in (["cat", "iris", "secret.csv"], ["checkout", "iris", "out"]):
        result = run(*command)
        assert result.exit_code == 3
        for part in ("Bob <b@x>", "request 4711", "secret.csv of iris", "20"):
            assert part in result.stderr
    assert document("checkout", "iris", "out", "--skip-erased")["erased_files"] == 1


def test_the_same_bytes_are_bad_input(run: Run, ok: Callable[..., str], iris: Path, secret: str) -> None:
    ok("erase", "iris", secret, *REASON, "--yes")
    (iris / "another.csv").write_text("5.1,Ada\n")
    result = run("commit", "other", str(iris))
    assert result.exit_code == 2
    assert "another.csv" in result.stderr
    assert "request 4711" in result.stderr


def test_a_reason_is_asked_for(run: Run, secret: str) -> None:
    assert secret
    assert run("erase", "iris", "secret.csv", "--yes").exit_code == 2
    assert run("erase", "iris", "secret.csv", "--reason", " ", "--yes").exit_code == 2
    assert run("erase", "iris", "nothing.csv", *REASON).exit_code == 3
    assert run("erase", "nothing", "secret.csv", *REASON).exit_code == 3
    assert run("cat", "iris", "secret.csv").exit_code == 0


def test_a_reason_is_shown_safely(run: Run, ok: Callable[..., str], secret: str) -> None:
    assert secret
    ok("erase", "iris", "secret.csv", "--reason", "one\n\x1b[31mtwo", "--yes")
    shown = run("cat", "iris", "secret.csv").stderr
    assert "\x1b" not in shown
    assert "one\\n" in shown


def test_lines_say_what_stays(ok: Callable[..., str], iris: Path, secret: str) -> None:
    assert secret
    shown = ok("erase", "iris", "secret.csv", *REASON)
    assert "would be erased  secret.csv" in shown
    assert "still named by iris@v2" in shown
    assert "--yes does it" in shown
    (Path(".dataver") / "notes.txt").write_text("mine")
    assert "unknown, not searched  notes.txt" in ok("erase", "iris", "secret.csv", *REASON, "--yes")
    assert iris.exists()
    assert "1 file erased on purpose" in ok("verify")


def test_a_push_carries_them(document: Document, ok: Callable[..., str], secret: str, tmp_path: Path) -> None:
    shared = str(tmp_path / "shared")
    ok("init", shared)
    ok("erase", "iris", secret, *REASON, "--yes")
    assert document("push", "--to", shared)["erased"] == 1
    assert document("-R", shared, "verify", "--deep")["erased"] == 1


def test_a_card_and_a_table_that_were_erased_are_told(
    ok: Callable[..., str], document: Document, iris: Path
) -> None:
    pq.write_table(pa.table({"x": range(9)}), iris / "a.parquet")
    pq.write_table(pa.table({"y": range(9)}), iris / "b.parquet")
    (iris / "README.md").write_text('+++\nlicence = "MIT"\n+++\n')
    ok("commit", "iris", "iris")
    for name in ("README.md", "a.parquet"):
        ok("erase", "iris", name, *REASON, "--yes")
    card = document("card", "iris")
    assert card["card_file"] == "README.md"
    assert "were erased by" in card["problem"]
    assert {table["path"]: table["rows"] for table in card["tables"]} == {"a.parquet": None, "b.parquet": 9}
    assert "were erased by" in ok("show", "iris", "--tables")
