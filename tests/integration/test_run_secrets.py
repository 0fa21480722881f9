"""No secret is recorded: canaries in every place that a run looks at, and every byte searched for them."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard

import dataver
from dataver.lineage.masking import (
    MASK,
    is_secret_name,
    mask_command,
    mask_source,
    mask_text,
    mask_value,
)

PROJECT = Path(__file__).parents[2]
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEcanaryKEYBLOCK\nabc\n-----END RSA PRIVATE KEY-----"


def canary(name: str) -> str:
    """A text that is found nowhere else."""
    return f"cAnArY{name}7x9q"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with canaries in its remote, and in changes to tracked files."""
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setenv("DATAVER_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("SERVICE_API_KEY", canary("variable"))
    monkeypatch.setenv("HARMLESS", canary("harmless"))
    folder = tmp_path / "place"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "a.csv").write_text("x\n1\n")
    (folder / "settings.py").write_text("debug = True\n")
    (folder / ".gitignore").write_text("/.dataver\n/data\n")
    monkeypatch.chdir(folder)
    for arguments in (
        ["init", "-q"],
        ["config", "user.name", "A"],
        ["config", "user.email", "a@example.org"],
        ["remote", "add", "origin", f"https://user:{canary('remote')}@host.example/repo.git"],
        ["add", "settings.py", ".gitignore"],
        ["commit", "-qm", "first"],
    ):
        subprocess.run(["git", *arguments], check=True)
    (folder / "settings.py").write_text(
        f'debug = False\npassword = "{canary("patch")}"\n'
        f"config = {{'api_key': '{canary('patchdict')}'}}\n"
        f"DB_PASSWORD={canary('patchenv')}\nsecret: {canary('patchyaml')}\n"
        f"get(url, auth=('me', '{canary('patchtuple')}'))\n"
        f"token = os.environ.get('TOKEN', '{canary('patchdefault')}')\n"
        f'url = "https://me:{canary("patchurl")}@host/x?sig={canary("patchsig")}"\n'
        + "\n".join(f"# {line}" for line in KEY.splitlines())
        + "\n"
    )
    return folder


SCRIPT = f"""
import dataver, os, sys
params = {{
    "lr": 0.1, "password": "{canary("param")}", "url": "https://host/container?sv=1&sig={canary("sig")}&se=2",
    "deep": {{"token": "{canary("deep")}", "list": ["a", {{"secret": 7654321}}]}},
    "connection": "DefaultEndpointsProtocol=https;AccountName=a;AccountKey={canary("account")}==;X=x",
    "from_environment": os.environ["SERVICE_API_KEY"],
}}
tracker = "https://user:{canary("tracker")}@host/api?token={canary("trackertoken")}"
with dataver.run("train", params=params) as run:
    dataver.resolve("iris").read("a.csv")
    run.add_tracker("mlflow", "1", uri=tracker)
    open("model", "w").write("model")
    meta = {{"auth_token": "{canary("meta")}"}}
    run.log_model("churn", "model", uri="s3://k:{canary("modeluri")}@b/m", meta=meta)
    raise RuntimeError("cannot log in with password={canary("message")} as Bearer {canary("bearer")}")
"""


def all_bytes(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file, and every zstd frame in it decoded."""
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        data = path.read_bytes()
        yield path, data
        at = data.find(b"\x28\xb5\x2f\xfd")
        while at >= 0:
            with suppress(zstandard.ZstdError):  # The four bytes of something else.
                yield path, zstandard.ZstdDecompressor().decompressobj().decompress(data[at:])
            at = data.find(b"\x28\xb5\x2f\xfd", at + 4)


@pytest.mark.parametrize("waits", [False, True], ids=["recorded", "waiting"])
def test_no_canary_is_found_anywhere(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    repository = dataver.init(str(place / ".dataver"))
    repository.commit("iris", place / "data")
    if waits:
        monkeypatch.setenv("DATAVER_RUNS_REPO", "az://nobody/nowhere")
        monkeypatch.setenv("DATAVER_OFFLINE", "1")
    (place.parent / "train.py").write_text(SCRIPT)
    script = str(place.parent / "train.py")
    printed = b""
    for arguments in (
        [sys.executable, script, "--password", canary("argument"), f"--api-token={canary('assigned')}"],
        [sys.executable, "-m", "dataver.cli", "run", "--param", f"db_password={canary('option')}",
         "--", sys.executable, "-c", "pass", "--secret", canary("command"), f"PGPASSWORD={canary('pg')}",
         f"curl -H 'Authorization: Bearer {canary('header')}' --token {canary('inner')}", KEY],
        [sys.executable, "-m", "dataver.cli", "runs", "--json"],
    ):  # fmt: skip
        done = subprocess.run(arguments, capture_output=True, check=False, timeout=60)
        printed += b"" if script in arguments else done.stdout + done.stderr
    found = {place / "printed": printed}
    searched = [
        *all_bytes(place / ".dataver"),
        *all_bytes(tmp_path / "spool"),
        *all_bytes(tmp_path / "cache"),
    ]
    assert any(b'"lr":0.1' in data for _, data in searched), "the run is nowhere"
    assert any(b"debug = False" in data for _, data in searched), "the patch is nowhere"
    for path, data in [*found.items(), *searched]:
        for line in data.splitlines():
            assert b"cAnArY" not in line, f"{path}: {line[:300]!r}"
            assert b"7654321" not in line
            assert b"MIIEcanary" not in line


@pytest.mark.parametrize(
    "name",
    [
        "password", "DB_PASSWORD", "dbpassword", "apiKey", "api-key", "HF_TOKEN", "token", "A_SAS",
        "sig", "GITHUB_PAT",
        "AccountKey", "client_secret", "aws_key", "MYSQL_PWD", "private_key", "connectionString",
    ],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)
    assert mask_value({name: "x"}, ()) == {name: MASK}


@pytest.mark.parametrize(
    "name",
    ["lr", "max_tokens", "tokenizer", "passes", "keyboard", "design", "author", "compass", "num_tokens"],
)
def test_other_names(name: str) -> None:
    assert not is_secret_name(name)
    assert mask_value({name: "x"}, ()) == {name: "x"}


def test_what_is_no_secret_stays() -> None:
    text = "train.py --lr 0.1 --epochs=3 data/tokens.txt git@github.com:me/repo.git https://host/path?page=2"
    assert mask_text(text, ()) == text
    assert mask_command(["python", "train.py", "--max-tokens", "128"]) == (
        "python", "train.py", "--max-tokens", "128",
    )  # fmt: skip
    assert mask_value({"token_dim": 128, "pass_rate": 0.5}, ()) == {"token_dim": 128, "pass_rate": 0.5}
    assert mask_text("pip install PyJWT==2.8 google-auth==2.1 Token::next") == (
        "pip install PyJWT==2.8 google-auth==2.1 Token::next"
    )
    source = "token = tokenizer.next(text)\npassword: str = os.environ['X']\nself.token = token\n"
    assert mask_source(source) == source


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://me:p@ss:w@host/x", "https://***@host/x"),
        ("postgresql://u:p@h/db?sslmode=on", "postgresql://***@h/db?sslmode=on"),
        ("Server=s;Password=a b;User=u", "Server=s;Password=*** b;User=u"),
        ("curl --token abc https://h?sig=a%2Bb&x=1", "curl --token *** https://h?sig=***&x=1"),
        ("export AWS_SECRET_ACCESS_KEY=abc", "export AWS_SECRET_ACCESS_KEY=***"),
        ('{"api_key": "a, b"}', '{"api_key": ***}'),
        ("AKIAABCDEFGHIJKLMNOP", "***"),
        ("Authorization: Bearer abcdefghi", "Authorization: *** ***"),
    ],
)
def test_shapes_of_secrets(text: str, masked: str) -> None:
    assert mask_text(text, ()) == masked


def test_a_long_text_is_masked_in_time() -> None:
    text = ("x" * 200 + " token" * 50 + "\n") * 2000 + "a" * 200_000 + "_" * 100_000
    assert zlib.crc32(mask_text(text, ()).encode())
    assert mask_source(text)


def test_values_of_the_environment_are_found_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "abcdef0123")
    assert mask_text("it is abcdef0123.") == f"it is {MASK}."
    monkeypatch.setenv("SSH_AUTH_SOCK", os.getcwd())
    assert os.getcwd() in mask_text(f"in {os.getcwd()}")
