"""Every failure is one paragraph on standard error and the contract's exit code."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import click
import pytest

from dataver import errors
from dataver.cli import faults

if TYPE_CHECKING:
    from click.testing import Result

CONTRACT_CODES = {
    errors.DataverError: 1,
    errors.EnvironmentFaultError: 1,
    errors.BadInputError: 2,
    errors.NewerFormatError: 2,
    errors.ErasedDataError: 2,
    errors.SourceChangedError: 2,
    errors.MissingExtraError: 2,
    errors.NotFoundError: 3,
    errors.RepositoryNotFoundError: 3,
    errors.RefNotFoundError: 3,
    errors.PathNotFoundError: 3,
    errors.ErasedError: 3,
    errors.ObjectMissingError: 3,
    errors.OfflineError: 7,
    errors.AlreadyExistsError: 4,
    errors.ConflictError: 4,
    errors.DamagedError: 5,
    errors.RollbackError: 5,
    errors.LockMismatchError: 5,
    errors.WouldOverwriteError: 6,
    errors.StoreError: 7,
    errors.NotPermittedError: 8,
    errors.UnsafeStoreError: 8,
    errors.CheckFailedError: 9,
    errors.SignatureError: 9,
}


def test_every_error_class_has_a_code_of_the_contract() -> None:
    assert {cls.__name__ for cls in CONTRACT_CODES} == set(errors.__all__)
    for cls, code in CONTRACT_CODES.items():
        assert faults.explain(cls("the paragraph"), []) == (code, "the paragraph")
        assert code in faults.EXIT_CODES


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (MemoryError(), 1),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 7),
        (OSError(errno.EDQUOT, "Quota exceeded"), 7),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 8),
        (OSError(errno.EROFS, "Read-only file system", "x"), 8),
        (RecursionError("too deep"), 1),
        (KeyError("x"), 1),
        (AssertionError(), 1),
    ],
)
def test_foreign_errors_have_a_code_too(error: BaseException, code: int) -> None:
    found, message = faults.explain(error, [])
    assert found == code
    assert message
    assert "\n" not in message


def test_an_unexpected_error_points_at_debug() -> None:
    assert "--debug" in faults.explain(KeyError("x"), [])[1]


USAGE = [
    (),
    ("nonsense",),
    ("lgo", "iris"),
    ("commit",),
    ("commit", "iris"),
    ("commit", "iris", "folder", "--no-such-option"),
    ("commit", "iris", "folder", "--jobs", "0"),
    ("commit", "iris", "folder", "--jobs", "many"),
    ("commit", "iris", "folder", "--meta", "no-equals-sign"),
    ("commit", "iris", "folder", "extra"),
    ("commit", "iris", ""),
    ("--repo", "", "list"),
    ("checkout", "iris", ""),
    ("checkout", "iris"),
    ("tag", "iris@v1"),
    ("tag", "iris", "--delete"),
    ("completion", "csh"),
    ("--storage-option", "=value", "list"),
    ("--no-such-option", "list"),
]


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
def test_usage_errors_are_2(arguments: tuple[str, ...], run: Callable[..., Result]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    if arguments:
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [line for line in USAGE if line], ids=" ".join)
def test_usage_errors_are_json_with_json(arguments: tuple[str, ...], run: Callable[..., Result]) -> None:
    result = run(*arguments, "--json")
    assert result.exit_code == 2
    assert result.stdout == ""
    error = json.loads(result.stderr)["error"]
    assert error["code"] == 2
    assert error["message"]


def test_a_likely_verb_is_offered(run: Callable[..., Result]) -> None:
    assert "log" in run("lgo").stderr


def test_a_secret_is_not_repeated(run: Callable[..., Result]) -> None:
    result = run("--storage-option", "hunter2", "list")
    assert result.exit_code == 2
    assert "hunter2" not in result.output


def test_no_repository_is_3_before_and_after_the_verb(run: Callable[..., Result]) -> None:
    for arguments in (("list",), ("--repo", "nowhere", "list"), ("list", "-R", "nowhere"), ("log", "iris")):
        result = run(*arguments)
        assert result.exit_code == 3, result.output
        assert result.stderr.startswith("error: ")
        assert "dataver init" in result.stderr or "nowhere" in result.stderr


def test_the_folder_around_a_repository_is_3_and_the_repository_is_named(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("init", "project/.dataver")
    result = run("-R", "project", "list")
    assert (result.exit_code, "name project/.dataver" in result.stderr) == (3, True)
    monkeypatch.setenv("DATAVER_REPO", "project")
    assert "name project/.dataver" in run("list").stderr


def test_debug_prints_the_traceback_and_json_carries_it(run: Callable[..., Result]) -> None:
    result = run("list", "--debug")
    assert result.exit_code == 3
    assert "Traceback" in result.stderr
    assert "error: " in result.stderr
    body = json.loads(run("--debug", "list", "--json").stderr)["error"]
    assert body["code"] == 3
    assert "Traceback" in body["traceback"]
