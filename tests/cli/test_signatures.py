"""`sign`, `verify-signature`, `trust`, and `--require-signed` on whatever reads."""

from __future__ import annotations

import json
import os
import pickle
import pty
import re
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat

import dataver
from dataver.errors import SignatureError
from tests.signing import make_key, public, write_key
from tests.ssh_agent import Agent, framed, listening

if TYPE_CHECKING:
    from click.testing import Result

Document = Callable[..., dict[str, Any]]
Ok = Callable[..., str]
Run = Callable[..., "Result"]

ADA, BEN = make_key(1), make_key(2)
NAME = "ada@example.org"


@pytest.fixture
def key(iris: Path, place: Path, ok: Ok) -> str:
    """The file of ada's key, which the repository trusts; `iris@v1` is not signed yet."""
    path = write_key(place / "ada", ADA)
    ok("trust", "add", NAME, f"{path}.pub")
    return path


@pytest.fixture
def signed(key: str, ok: Ok) -> str:
    """The same, and `iris@v1` is signed."""
    ok("sign", "iris", "--key", key)
    return key


def test_sign(key: str, document: Document, ok: Ok, run: Run) -> None:
    id = document("show", "iris")["id"]
    expected = {
        "subject": "iris@v1",
        "kind": "version",
        "id": id,
        "key": str(public(ADA).id),
        "fingerprint": public(ADA).fingerprint,
        "name": NAME,
    }
    assert document("sign", "iris", "--key", key) == {**expected, "created": True}
    assert document("sign", "iris@v1", "--key", key) == {**expected, "created": False}
    assert ok("sign", "iris", "--key", key) == f"iris@v1  signed by {NAME}  (as before)\n"
    other = run("sign", "iris", "--key", write_key(Path("ben"), BEN))
    assert other.stdout == f"iris@v1  signed by {public(BEN).fingerprint}\n"
    assert "is not trusted here; `dataver trust add NAME KEY` lists it" in other.stderr


def test_sign_with_the_key_of_the_environment(
    key: str, ok: Ok, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("sign", "iris").exit_code == 2
    monkeypatch.setenv("DATAVER_SIGNING_KEY", key)
    assert ok("sign", "iris") == f"iris@v1  signed by {NAME}\n"


def test_sign_by_the_agent(key: str, ok: Ok, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    assert run("sign", "iris", "--key", "agent").exit_code == 2
    with listening(framed(Agent([(BEN, "other"), (ADA, NAME)]))) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        assert run("sign", "iris", "--key", "agent").exit_code == 2
        assert ok("sign", "iris", "--key", f"agent:{NAME}") == f"iris@v1  signed by {NAME}\n"
    with listening(framed(Agent([(ADA, NAME)], refuses=True))) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        ok("commit", "iris", "iris", "--allow-empty")
        assert run("sign", "iris", "--key", "agent").exit_code == 8


def test_a_key_with_a_passphrase_is_never_asked_for_where_nobody_sits(
    iris: Path, program: Callable[..., subprocess.CompletedProcess[bytes]]
) -> None:
    path = write_key(Path("hidden"), ADA, PrivateFormat.PKCS8, passphrase="opensesame")
    answer = program("sign", "iris", "--key", path, stdin=subprocess.DEVNULL)
    assert answer.returncode == 2
    assert b"hidden is encrypted: set DATAVER_SIGNING_PASSPHRASE" in answer.stderr


@pytest.mark.parametrize(("typed", "code"), [("opensesame", 0), ("another", 2), ("", 2)])
def test_who_sits_at_a_terminal_is_asked(iris: Path, typed: str, code: int) -> None:
    """On a real terminal, which shows nothing of what is typed."""
    path = write_key(Path("hidden"), ADA, PrivateFormat.PKCS8, passphrase="opensesame")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "dataver.cli", "sign", "iris", "--key", path]
    with subprocess.Popen(command, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE) as process:
        shown = read_until(ours, b"Passphrase of the key: ")
        type_line(ours, typed)
        assert process.stdout is not None
        said = process.stdout.read()
        shown += drain(ours)
    assert process.returncode == code, shown
    assert (b"iris@v1  signed by SHA256:" in said) == (code == 0)
    assert b"opensesame" not in shown + said


def read_until(descriptor: int, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        data += os.read(descriptor, 1024)
    return data


def type_line(descriptor: int, text: str) -> None:
    os.write(descriptor, text.encode() + b"\n")


def drain(descriptor: int) -> bytes:
    data = b""
    while select.select([descriptor], [], [], 0.2)[0]:
        data += os.read(descriptor, 1024)
    return data


def test_verify_signature(signed: str, document: Document, ok: Ok, run: Run) -> None:
    id = document("show", "iris")["id"]
    one = {
        "key": str(public(ADA).id),
        "fingerprint": public(ADA).fingerprint,
        "name": NAME,
        "trusted": True,
        "valid": True,
        "problem": None,
    }
    assert document("verify-signature", "iris") == {
        "subject": "iris@v1",
        "kind": "version",
        "id": id,
        "ok": True,
        "trust": None,
        "signatures": [one],
    }
    lines = ok("verify-signature", "iris").splitlines()
    assert lines == [f"iris@v1  {id[:8]}…", f"good  {NAME}  {public(ADA).fingerprint}"]
    ok("trust", "remove", NAME)
    result = run("verify-signature", "iris", "--json")
    assert result.exit_code == 9
    assert json.loads(result.stdout)["signatures"] == [
        {**one, "name": None, "trusted": False, "problem": "the key is not trusted"}
    ]
    assert json.loads(result.stderr)["error"]["code"] == 9


def test_what_nobody_signed(key: str, run: Run) -> None:
    result = run("verify-signature", "iris")
    assert result.exit_code == 9
    assert "iris@v1 has no valid signature by a key that this repository trusts" in result.stderr
    assert run("verify-signature", "iris@v7").exit_code == 3
    assert run("verify-signature", "run:7").exit_code == 2


def test_show_tells_who_signed(signed: str, document: Document, ok: Ok, run: Run) -> None:
    assert re.search(rf"^signed +{NAME}$", ok("show", "iris"), re.MULTILINE)
    (one,) = document("show", "iris")["signatures"]
    assert (one["name"], one["valid"]) == (NAME, True)
    run("sign", "iris", "--key", write_key(Path("ben"), BEN))
    fingerprint = re.escape(public(BEN).fingerprint)
    assert re.search(rf"^signed +{fingerprint} \(the key is not trusted\)$", ok("show", "iris"), re.MULTILINE)
    ok("commit", "iris", "iris", "--allow-empty")
    assert "signed" not in ok("show", "iris")


def test_trust(key: str, document: Document, ok: Ok, run: Run) -> None:
    (one,) = document("trust", "list")["keys"]
    assert one == {
        "name": NAME,
        "key": str(public(ADA).id),
        "fingerprint": public(ADA).fingerprint,
        "public_key": public(ADA).line,
    }
    ok("trust", "add", "ben", *public(BEN).line.split(), "a", "comment")
    assert ok("trust", "list").splitlines() == [
        f"{NAME}  {public(ADA).fingerprint}",
        f"ben              {public(BEN).fingerprint}",
    ]
    assert document("trust", "remove", "ben", public(ADA).fingerprint)["keys"] == [
        {**one, "name": "ben", **key_of(BEN)},
        one,
    ]
    assert ok("trust", "list") == ""
    assert run("trust", "remove", "ben").exit_code == 3
    for arguments in (["add"], ["add", "ben"], ["remove"], ["list", "ben"], ["forget"], []):
        assert run("trust", *arguments).exit_code == 2
    assert run("trust", "add", "ben", "no-such-file").exit_code == 3
    assert run("trust", "add", "ben", key).exit_code == 2


def key_of(key: Any) -> dict[str, str]:
    found = public(key)
    return {"key": str(found.id), "fingerprint": found.fingerprint, "public_key": found.line}


def test_a_file_of_trusted_keys(
    signed: str, document: Document, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("trusted").write_text(f"ben {public(BEN).line}\n")
    monkeypatch.setenv("DATAVER_TRUSTED_KEYS", "trusted")
    found = document("trust", "list")
    assert (found["trust"], [one["name"] for one in found["keys"]]) == ("trusted", ["ben"])
    result = run("verify-signature", "iris")
    assert result.exit_code == 9
    assert "by a key that trusted trusts" in result.stderr
    assert "the keys in trusted count here" in run("trust", "add", "carl", f"{signed}.pub").stderr
    assert run("verify-signature", "iris").exit_code == 9, "a hostile writer added a key"


READING = [
    ["show", "iris"],
    ["log", "iris"],
    ["ls", "iris"],
    ["cat", "iris", "a.csv"],
    ["diff", "iris", "iris"],
    ["checkout", "iris", "out"],
]


@pytest.mark.parametrize("arguments", READING, ids=lambda arguments: arguments[0])
def test_nothing_is_read_that_nobody_signed(
    arguments: list[str], key: str, ok: Ok, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ok(*arguments)
    before = {path for path in Path().rglob("*") if ".dataver" not in path.parts}
    for result in (run(*arguments, "--require-signed"), run("--require-signed", *arguments)):
        assert result.exit_code == 9
        assert (
            "has no valid signature by a key that this repository trusts (it is not signed)" in result.stderr
        )
        assert result.stdout == ""
    monkeypatch.setenv("DATAVER_REQUIRE_SIGNED", "1")
    assert run(*arguments).exit_code == 9
    assert {path for path in Path().rglob("*") if ".dataver" not in path.parts} == before
    ok("sign", "iris", "--key", key)
    ok(*arguments)


def test_a_checkout_that_is_refused_writes_nothing(key: str, run: Run) -> None:
    assert run("checkout", "iris", "fresh", "--require-signed").exit_code == 9
    assert not Path("fresh").exists()


def test_python_reads_nothing_that_nobody_signed(key: str, ok: Ok, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SignatureError):
        dataver.resolve("iris", require_signed=True)
    with pytest.raises(SignatureError):
        dataver.open(require_signed=True).version("iris")
    with pytest.raises(SignatureError):
        dataver.open().version("iris", require_signed=True)
    with pytest.raises(SignatureError):
        fsspec.open("dataver://iris@v1/a.csv", require_signed=True).open()
    with fsspec.open("dataver://iris@v1/a.csv") as file:
        assert file.read() == b"sepal,petal\n1,2\n"
    monkeypatch.setenv("DATAVER_REQUIRE_SIGNED", "1")
    with pytest.raises(SignatureError):
        fsspec.open("dataver://iris@v1/a.csv").open()
    with pytest.raises(SignatureError):
        dataver.resolve("iris")
    ok("sign", "iris", "--key", key)
    with fsspec.open("dataver://iris@v1/a.csv") as file:
        assert file.read() == b"sepal,petal\n1,2\n"
    assert dataver.resolve("iris").read("a.csv") == b"sepal,petal\n1,2\n"


def test_what_is_pinned_must_be_signed_too(signed: str, iris: Path, ok: Ok, run: Run) -> None:
    (iris / "a.csv").write_text("another\n")
    ok("commit", "iris", "iris")
    ok("lock", "add", "iris@v2")
    assert run("cat", "iris", "a.csv", "--require-signed").exit_code == 9
    Path("dataver.lock").unlink()
    ok("lock", "add", "iris@v1")
    assert run("cat", "iris@v1", "a.csv", "--require-signed").exit_code == 0


def test_push_and_pull_say_what_they_carry(signed: str, ok: Ok, document: Document, tmp_path: Path) -> None:
    there = str(tmp_path / "there")
    ok("init", there)
    assert document("push", "--to", there)["signatures"] == 1
    ok("sign", "iris", "--key", write_key(Path("ben"), BEN))
    assert ok("push", "--to", there) == "1 signature copied\n"
    assert ok("push", "--to", there) == "nothing to copy\n"


def test_commands_that_need_no_signature_load_no_cryptography(iris: Path) -> None:
    script = (
        "import atexit, sys\n"
        "from dataver.cli import main\n"
        "atexit.register(lambda: print('LOADED', *sys.modules))\n"
        "main(sys.argv[1:])"
    )
    for arguments in (["show", "iris"], ["log", "iris"], ["sign", "--help"], ["trust", "list"]):
        answer = subprocess.run(
            [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True, timeout=60
        )
        loaded = set(answer.stdout.partition("LOADED ")[2].split())
        assert "dataver.cli.root" in loaded
        assert "cryptography" not in loaded


def test_a_file_system_keeps_what_it_requires(key: str, ok: Ok) -> None:
    strict = fsspec.filesystem("dataver", require_signed=True)
    again = pickle.loads(pickle.dumps(strict))
    same = fsspec.filesystem("dataver", **strict.storage_options)
    for system in (strict, again, same):
        with pytest.raises(SignatureError):
            system.cat("iris@v1/a.csv")
    assert strict != fsspec.filesystem("dataver")
    ok("sign", "iris", "--key", key)
    assert again.cat("iris@v1/a.csv") == b"sepal,petal\n1,2\n"
