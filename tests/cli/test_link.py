"""`dataver link` for runs of dataver, and what is said where MLflow is not installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import dataver

if TYPE_CHECKING:
    from click.testing import Result


@pytest.fixture
def ended(place: Path, ok: Callable[..., str]) -> str:
    """The id of a run that read nothing, in a repository with `iris@v1`."""
    ok("init")
    (place / "data").mkdir()
    (place / "data" / "a.csv").write_text("x\n1\n")
    ok("commit", "iris", "data")
    with dataver.run("train") as run:
        pass
    return run.id


def test_a_run_gets_an_input(
    ended: str, document: Callable[..., dict[str, Any]], ok: Callable[..., str]
) -> None:
    version = dataver.resolve("iris@v1")
    found = document("link", f"run:{ended[:8]}", "iris", "--role", "testing")
    (given,) = found["added"]
    assert (found["run"], found["created"], found["inputs"]) == (ended, False, [given])
    assert given == {
        "role": "testing",
        "ref": "iris",
        "dataset": "iris",
        "version": "v1",
        "id": version.id,
        "tree": version.tree,
        "split": None,
    }
    assert ok("link", f"run:{ended}", "iris@v1", "--role", "testing").startswith(f"run {ended[:8]}… had all")
    line = ok("link", f"run:{ended}", "iris@v1").split()
    assert line[2:] == ["training", "iris@v1", f"{version.id[:8]}…"]
    assert [one["id"] for one in document("audit", f"run:{ended}")["data"]] == [version.id] * 2


def test_without_mlflow_the_message_says_what_to_install(ended: str, run: Callable[..., Result]) -> None:
    assert find_spec("mlflow") is None, "these tests run where MLflow is not"
    for arguments in (
        ("link", "f" * 32, "iris"),
        ("audit", "models:/churn/1"),
        ("lineage", f"runs:/{'f' * 32}"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "pip install 'dataver[mlflow]'" in result.stderr
