"""A repository whose history went back, or another way: whoever saw the newer one is told, by every verb."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from click.testing import Result

import dataver
from dataver.cli.root import VERBS
from dataver.errors import DamagedError, RollbackError
from dataver.repository import init, open_repository

Run = Callable[..., Result]

OPENS_NOTHING = {"init", "completion", "rewrite-parquet", "telemetry"}
"""These read no history."""

LINES = {
    "commit": "commit iris iris --allow-empty",
    "status": "status iris iris",
    "list": "list",
    "log": "log iris",
    "show": "show iris",
    "card": "card iris",
    "ls": "ls iris",
    "cat": "cat iris a.csv",
    "stats": "stats iris",
    "diff": "diff iris@v1 iris",
    "drift": "drift iris@v1 iris",
    "checkout": "checkout iris out",
    "tag": "tag iris paper",
    "alias": "alias iris prod",
    "branch": "branch iris side",
    "merge": "merge iris@v1 --branch main",
    "revert": "revert iris@v1",
    "rename": "rename iris roses",
    "delete": "delete iris",
    "runs": "runs",
    "repro": "repro churn@v1",
    "models": "models",
    "push": "push --to elsewhere",
    "pull": "pull --from elsewhere",
    "import": "import dvc .",
    "sign": "sign iris --key key",
    "verify-signature": "verify-signature iris",
    "trust": "trust list",
    "link": "link 00000000 iris",
    "lock": "lock add iris",
    "split": "split list iris",
    "overlap": "overlap iris@v1 iris",
    "lineage": "lineage iris",
    "who-used": "who-used iris",
    "config": "config",
    "served": "served iris --commit",
    "audit": "audit churn@v1",
    "export": "export cyclonedx iris",
    "verify": "verify",
    "repair": "repair",
    "gc": "gc",
    "prune": "prune iris --keep-last 1",
    "hold": "hold iris keep",
    "erase": "erase iris a.csv --reason asked",
    "azureml": "azureml pipeline iris -o pipeline.yml",
}
OTHERWISE = {"run", "doctor"}
"""A run goes on and waits; the doctor says what is the matter. See below."""


@pytest.fixture(params=["rolled back", "forked"])
def changed(
    request: pytest.FixtureRequest, iris: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Path:
    """This machine saw more of the history than there is, or another one."""
    place = iris.parent
    init(place / "elsewhere")
    shutil.copytree(place / ".dataver", tmp_path / "older")
    (iris / "new.csv").write_text("2")
    assert run("commit", "iris", "iris").exit_code == 0
    shutil.rmtree(place / ".dataver")
    shutil.copytree(tmp_path / "older", place / ".dataver")
    if request.param == "forked":
        with monkeypatch.context() as other_machine:
            other_machine.setenv("DATAVER_CACHE_DIR", str(tmp_path / "other-cache"))
            assert run("commit", "iris", "iris", "-m", "another").exit_code == 0
    return place


def test_every_verb_is_tried() -> None:
    assert set(LINES) | OTHERWISE == set(VERBS) - OPENS_NOTHING


def test_no_verb_takes_another_history(changed: Path, run: Run) -> None:
    before = {path: path.read_bytes() for path in (changed / ".dataver").rglob("*") if path.is_file()}
    told = {verb: run(*line.split()) for verb, line in LINES.items()}
    wrong = {verb: result.output for verb, result in told.items() if result.exit_code != 5}
    assert not wrong
    assert all("--accept-rollback" in result.output for result in told.values())
    assert {path: path.read_bytes() for path in (changed / ".dataver").rglob("*") if path.is_file()} == before
    # It is adopted where that is said, once for all.
    assert run("log", "iris", "--accept-rollback").exit_code == 0
    assert run("log", "iris").exit_code == 0


def test_the_doctor_tells_of_it(changed: Path, run: Run) -> None:
    result = run("doctor")
    assert result.exit_code != 0
    assert "accept-rollback" in result.output


def test_a_run_goes_on_and_waits(changed: Path, run: Run) -> None:
    result = run("run", "--", "touch", "ran")
    assert "accept-rollback" in result.output
    assert len(list((changed / ".dataver" / "log").rglob("*"))) < 6


def test_python_fsspec_and_the_other_side_notice_too(changed: Path, run: Run) -> None:
    url = str(changed / ".dataver")
    for way_in in (
        lambda: dataver.open(url).log("iris"),
        lambda: open_repository(url).datasets(),
        lambda: dataver.resolve("iris", repo=url),
        lambda: fsspec.open("dataver://iris/a.csv", repo=url, skip_instance_cache=True).open(),
    ):
        with pytest.raises(RollbackError):
            way_in()
    for line in (("push", "--to", url, "-R", "elsewhere"), ("pull", "--from", url, "-R", "elsewhere")):
        assert run(*line).exit_code == 5


def test_a_handle_that_was_open_notices(iris: Path, run: Run, tmp_path: Path) -> None:
    place = iris.parent / ".dataver"
    shutil.copytree(place, tmp_path / "older")
    (iris / "new.csv").write_text("2")
    repository = open_repository(place)
    assert repository.commit("iris", iris).created
    shutil.rmtree(place)
    shutil.copytree(tmp_path / "older", place)
    # Whichever it misses first: objects that it relies on, or the entries.
    with pytest.raises(DamagedError):
        repository.commit("iris", iris, allow_empty=True)
    with pytest.raises(DamagedError):
        list(repository.log("iris"))


def test_a_copy_under_another_name_is_told_apart_by_its_place(iris: Path, run: Run, tmp_path: Path) -> None:
    """What was seen is remembered for a place: an older copy elsewhere is an older copy, no rollback."""
    shutil.copytree(iris.parent / ".dataver", tmp_path / "older")
    (iris / "new.csv").write_text("2")
    assert run("commit", "iris", "iris").exit_code == 0
    assert run("-R", os.fspath(tmp_path / "older"), "log", "iris").exit_code == 0
