"""Tokens (SAS) with few rights, against the emulator of Azure: what each is enough for, and what is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess

import fsspec
import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas
from click.testing import Result

import dataver
from dataver.repository import Repository, init
from tests.azurite import ACCOUNT, ACCOUNT_KEY, Azurite
from tests.cli.test_access import READ_ONLY, WRITES, filled, made

Run = Callable[..., Result]

LISTING = {"verify", "repair", "gc", "erase", "audit"}
"""The verbs, without --yes, that ask which objects there are."""


@pytest.fixture
def repository(azure: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """One with a run and a model, made by somebody with all rights."""
    monkeypatch.setenv("DATAVER_REPO", azure)
    return filled(init(azure), place)


@pytest.fixture
def token(
    repository: Repository, azurite: Azurite, place: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Be another user on another machine from here on, with a token of these rights."""

    def with_rights(**rights: bool) -> str:
        made = generate_container_sas(
            ACCOUNT,
            repository.url.split("/")[2],
            ACCOUNT_KEY,
            permission=ContainerSasPermissions(**rights),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        endpoint = f"BlobEndpoint=http://127.0.0.1:{azurite.port}/{ACCOUNT}"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"{endpoint};SharedAccessSignature={made}")
        monkeypatch.setenv("DATAVER_CACHE_DIR", str(place.parent / "of-the-reader"))
        monkeypatch.setenv("DATAVER_SPOOL_DIR", str(place.parent / "waiting"))
        return made

    return with_rights


def objects(repository: Repository) -> list[str]:
    return sorted(info.key for info in repository.session.store.list(""))


def test_to_read_and_list_is_enough_for_all_that_reads(
    run: Run, token: Callable[..., str], repository: Repository
) -> None:
    before = objects(repository)
    token(read=True, list=True)
    told = {verb: run(*line.split()) for verb, line in READ_ONLY.items()}
    assert {verb: result.output for verb, result in told.items() if result.exit_code} == {}
    with fsspec.open("dataver://iris@v1/1.csv", repo=repository.url) as file:
        assert file.read() == b"x\n1\n"
    assert dataver.resolve("iris@v2", repo=repository.url).to_arrow("t.parquet").num_rows == 200
    doctor = json.loads(run("doctor", "--json").stdout)
    failed = {check["name"]: check["detail"] for check in doctor["checks"] if not check["ok"]}
    assert "the right to write is lacking" in failed["write"]
    assert "create and write" in failed["write"]
    assert set(failed) <= {"write", "clock", "namespace", "soft delete"}
    assert objects(repository) == before


def test_a_run_waits_on_the_machine_of_who_may_not_write(
    run: Run, program: Callable[..., CompletedProcess[bytes]], token: Callable[..., str], place: Path
) -> None:
    token(read=True, list=True)
    (place / "train.py").write_text(
        "import dataver\nprint(dataver.resolve('iris@v1').read('1.csv'))\n", encoding="utf-8"
    )
    done = program("run", "--", sys.executable, "train.py", timeout=300)
    assert (done.returncode, done.stdout) == (0, b"b'x\\n1\\n'\n"), done.stderr
    assert b"waits in" in done.stderr
    assert len([*(place.parent / "waiting").iterdir()]) == 1
    assert run("runs", "push").exit_code == 8
    token(read=True, list=True, create=True, write=True)
    assert run("runs", "push").exit_code == 0
    assert len(json.loads(run("runs", "--json").stdout)["runs"]) == 2


def test_to_write_needs_more_and_each_verb_says_what(
    run: Run, token: Callable[..., str], repository: Repository, place: Path
) -> None:
    made(place / "data", 3)
    before = objects(repository)
    secret = token(read=True, list=True)
    lines = {**WRITES, "init": f"init {repository.url}-other", "commit": "commit iris data -m more"}
    told = {verb: run(*line.split()) for verb, line in lines.items()}
    told.pop("gc")  # There is nothing to collect, which is told without a write.
    assert {verb: result.output for verb, result in told.items() if result.exit_code != 8} == {}
    for verb, result in told.items():
        assert "the right to write is lacking" in result.stderr, (verb, result.stderr)
        assert secret not in result.output
    assert objects(repository) == before


def test_without_the_right_to_list_all_but_a_look_at_every_object_works(
    run: Run, token: Callable[..., str]
) -> None:
    token(read=True)
    told = {verb: run(*line.split()) for verb, line in READ_ONLY.items()}
    assert {verb: result.exit_code for verb, result in told.items() if result.exit_code} == dict.fromkeys(
        LISTING, 8
    )
    for verb in LISTING:
        assert "the right to list is lacking" in told[verb].stderr, told[verb].stderr


def test_without_the_right_to_read_nothing_works(run: Run, token: Callable[..., str]) -> None:
    token(list=True)
    for line in ("list", "cat iris 1.csv", "verify"):
        told = run(*line.split())
        assert told.exit_code == 8, told.output
        assert "the right to read is lacking" in told.stderr


def test_who_may_not_delete_commits_all_the_same(
    run: Run, token: Callable[..., str], repository: Repository, place: Path
) -> None:
    """A collection then says what it could not delete, and leaves it."""
    run("commit", "iris", str(made(place / "more", 4)), "--branch", "x")
    run("branch", "iris", "x", "--delete")
    token(read=True, list=True, create=True, write=True)
    assert run("commit", "iris", "data", "-m", "more", "--allow-empty").exit_code == 0
    done = run("gc", "--yes", "--grace", "0d", "--json")
    assert done.exit_code == 0
    assert len(json.loads(done.stdout)["undeleted"]) > 1
    assert run("verify", "--deep").exit_code == 0
    assert "could not be deleted" in run("gc", "--yes").output
