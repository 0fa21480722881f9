"""Events while runs and commits happen, by OpenLineage's own client: to a file and to a receiver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

import dataver
from tests.standards.data import CANARY, World, write_iris
from tests.standards.ol import check
from tests.standards.receiver import Receiver

pytestmark = pytest.mark.usefixtures("hooked")


@pytest.fixture
def hooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry points are found anew, as in a process that begins."""
    from dataver import events

    monkeypatch.setattr(events, "_loaded", None)


def checked(event: Any) -> Any:
    """The event as it was sent, which is as the standard has it."""
    check(event)
    return event


def lines(path: Path) -> list[Any]:
    return [checked(json.loads(line)) for line in path.read_text().splitlines()]


def train(world: World, **options: Any) -> str:
    """A run that reads two versions, one in part, and makes a model and a version. Its id."""
    with dataver.run("train", params={"lr": 0.1, "token": CANARY}, repo=world.repository, **options) as run:
        run.use("iris@v1", "training", split="train")
        world.repository.version("iris@v2").read("notes.txt")
        run.log_model("churn", world.folder / "model")
        world.repository.commit("predictions", world.folder / "clean", allow_empty=True)
    return run.id


def test_a_run_is_told_to_a_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVER_OPENLINEAGE", "events.ndjson")
    run = train(world)
    start, committed, end = lines(Path("events.ndjson"))
    assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
    assert {each["run"]["runId"] for each in (start, end)} == {str(uuid.UUID(run))}
    assert committed["dataset"]["name"] == "predictions"
    inputs = {each["inputFacets"]["dataver_input"]["role"]: each["inputFacets"] for each in end["inputs"]}
    assert inputs["training"]["subset"]["inputCondition"]["partitions"][0]["identifier"] == "train"
    assert inputs["input"]["subset"]["inputCondition"]["locations"] == ["notes.txt"]
    outputs = {each["name"]: each["facets"]["version"]["datasetVersion"] for each in end["outputs"]}
    assert outputs["model:churn"] == "v2"
    assert outputs["predictions"] == world.repository.version("predictions").id
    assert CANARY not in Path("events.ndjson").read_text()
    record = world.repository.run(run).record
    assert {given.dataset for given in record.inputs} == {"iris"}  # To be told of is not to be read.
    # What is exported later says the same, and what was not at hand then besides.
    from tests.standards.data import program

    exported = json.loads(program("export", "openlineage", f"run:{run}").splitlines()[1])
    assert exported["eventTime"] == end["eventTime"]
    assert [each["name"] for each in exported["inputs"]] == [each["name"] for each in end["inputs"]]


def test_a_run_is_told_to_a_url(world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVER_OPENLINEAGE", receiver.url)
    monkeypatch.setenv("OPENLINEAGE_API_KEY", CANARY)
    train(world)
    assert [checked(event).get("eventType") for _, event in receiver.received] == ["START", None, "COMPLETE"]
    assert receiver.keys == [f"Bearer {CANARY}"] * 3
    assert CANARY not in json.dumps(receiver.received)


@pytest.mark.parametrize("by", ["variable", "file", "named file", "file of the user"])
def test_the_clients_own_configuration_counts(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    configuration = f"transport:\n  type: http\n  url: {receiver.url}\n"
    if by == "variable":
        # The client writes what it understood back into the environment.
        monkeypatch.setattr(os, "environ", os.environ.copy())
        monkeypatch.setenv("OPENLINEAGE_URL", receiver.url)
    elif by == "named file":
        Path("named.yml").write_text(configuration)
        monkeypatch.setenv("OPENLINEAGE_CONFIG", "named.yml")
    else:
        place = Path() if by == "file" else Path("~/.openlineage").expanduser()
        place.mkdir(parents=True, exist_ok=True)
        (place / "openlineage.yml").write_text(configuration)
    train(world)
    assert [event.get("eventType") for _, event in receiver.received] == ["START", None, "COMPLETE"]
    assert CANARY not in json.dumps(receiver.received)
    monkeypatch.setenv("DATAVER_OPENLINEAGE", "off")
    train(world)
    assert len(receiver.received) == 3


def test_without_a_word_nothing_is_told(world: World, receiver: Receiver) -> None:
    train(world)
    assert receiver.received == []


def test_failed_and_cancelled_runs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVER_OPENLINEAGE", "events.ndjson")
    with pytest.raises(RuntimeError), dataver.run("a", repo=world.repository):
        raise RuntimeError(f"password={CANARY}")
    with pytest.raises(KeyboardInterrupt), dataver.run("b", repo=world.repository):
        raise KeyboardInterrupt
    _, failed, _, cancelled = lines(Path("events.ndjson"))
    assert (failed["eventType"], cancelled["eventType"]) == ("FAIL", "ABORT")
    assert failed["run"]["facets"]["errorMessage"]["message"] == "RuntimeError: password=***"


def test_commits_merges_and_reverts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVER_OPENLINEAGE", "events.ndjson")
    repository = world.repository
    repository.commit("iris", world.folder / "data")  # Nothing changed: nothing to tell.
    repository.branch("iris@v1", "side")
    (world.folder / "more").mkdir()
    (world.folder / "more" / "more.txt").write_text("more\n")
    repository.commit("iris", world.folder / "more", branch="side", add=True)
    repository.merge("iris@side")
    repository.revert("iris@v1")
    told = [event["dataset"]["facets"] for event in lines(Path("events.ndjson"))]
    assert [each["dataver_version"].get("version") for each in told] == [None, "v3", "v4"]
    ids = [version.id for version in repository.log("iris")]
    assert [each["version"]["datasetVersion"] for each in told[1:]] == [ids[1], ids[0]]
    assert {each["lifecycleStateChange"]["lifecycleStateChange"] for each in told} == {"ALTER"}


def test_statistics_that_are_at_hand_are_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVER_OPENLINEAGE", "events.ndjson")
    write_iris(world.folder / "known", 30)
    world.repository.commit("known", world.folder / "known", stats=True)
    write_iris(world.folder / "unknown", 40)
    world.repository.commit("unknown", world.folder / "unknown")
    known, unknown = (event["dataset"]["facets"] for event in lines(Path("events.ndjson")))
    assert known["dataQualityMetrics"]["rowCount"] == 33
    assert "dataQualityMetrics" not in unknown
    assert known["schema"] == unknown["schema"]


def test_parents(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVER_OPENLINEAGE", "events.ndjson")
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "lab")
    parent, root = str(uuid.uuid4()), str(uuid.uuid4())
    monkeypatch.setenv("OPENLINEAGE_PARENT_ID", f"flow://host/daily/train/{parent}")
    monkeypatch.setenv("OPENLINEAGE_ROOT_PARENT_ID", f"flow://host/nightly/{root}")
    with dataver.run("outer", repo=world.repository) as outer, dataver.run("inner", repo=world.repository):
        pass
    told = [event["run"]["facets"]["parent"] for event in lines(Path("events.ndjson"))]
    assert told[0]["job"] == {"namespace": "flow://host/daily", "name": "train"}
    assert told[0]["run"] == {"runId": parent}
    assert told[0]["root"] == {"run": {"runId": root}, "job": {"namespace": "flow://host", "name": "nightly"}}
    assert [each["run"]["runId"] for each in told] == [parent, *[str(uuid.UUID(outer.id))] * 2, parent]
    monkeypatch.setenv("OPENLINEAGE_PARENT_ID", "nobody")
    monkeypatch.delenv("OPENLINEAGE_ROOT_PARENT_ID")
    with (
        pytest.warns(UserWarning, match="is not NAMESPACE/NAME/RUN"),
        dataver.run("x", repo=world.repository),
    ):
        pass
    assert "parent" not in lines(Path("events.ndjson"))[-1]["run"]["facets"]


def test_nobody_there_is_a_warning(world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver.status = 500
    monkeypatch.setenv("DATAVER_OPENLINEAGE", receiver.url)
    with pytest.warns(UserWarning, match="were not delivered to http://127.0.0.1"):
        run = train(world)
    assert world.repository.run(run).record.status == "done"


def test_a_receiver_that_does_not_answer_is_waited_for_so_long(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.hold.clear()
    monkeypatch.setenv("DATAVER_OPENLINEAGE", receiver.url)
    monkeypatch.setenv("DATAVER_OPENLINEAGE_TIMEOUT", "0.2")
    with pytest.warns(UserWarning, match=r"not delivered within 0\.2 s"):
        result = world.repository.commit("clean/iris", world.folder / "model")
    assert result.created
    assert receiver.received == []
    receiver.hold.set()
    deadline = time.monotonic() + 60
    while not receiver.received and time.monotonic() < deadline:
        time.sleep(0.01)
    assert receiver.received  # It went on in the background.


def test_the_program_tells_too(world: World) -> None:
    environment = os.environ | {
        "DATAVER_OPENLINEAGE": "events.ndjson",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    command = [
        "run",
        "--name",
        "look",
        "--",
        sys.executable,
        "-c",
        "import dataver; dataver.resolve('iris').read('notes.txt')",
    ]
    for arguments in (command, ["commit", "more", "clean"]):
        subprocess.run(
            [sys.executable, "-m", "dataver.cli", *arguments], env=environment, check=False, timeout=120
        )
    start, end, committed = lines(Path("events.ndjson"))
    assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
    assert end["inputs"][0]["name"] == "iris"
    assert committed["dataset"]["name"] == "more"
