"""Events of OpenLineage, checked by its own classes, written to a file and sent by its own client."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

import dataver
from tests import runs
from tests.standards.data import CANARY, World, program
from tests.standards.ol import check
from tests.standards.receiver import Receiver


def events_of(*arguments: str) -> list[Any]:
    """The events that the verb prints, each checked."""
    events = [json.loads(line) for line in program("export", "openlineage", *arguments).splitlines()]
    for event in events:
        check(event)
    return events


def own(event: Any) -> Any:
    """The event without what the client adds: its own release, as a tag."""
    if "run" in event:
        (tag,) = event["run"]["facets"].pop("tags")["tags"]
        assert tag["key"] == "openlineage_client_version"
    return event


def test_of_a_version(world: World) -> None:
    (event,) = events_of("iris@v1")
    version = world.repository.version("iris@v1")
    dataset, facets = event["dataset"], event["dataset"]["facets"]
    assert event["eventTime"] == "2026-01-31T09:30:00.000000Z"
    assert (dataset["namespace"], dataset["name"]) == (f"dataver://{world.repository.id}", "iris")
    assert facets["version"]["datasetVersion"] == version.id
    assert facets["dataver_version"]["tree"] == version.tree
    assert facets["dataver_version"]["sources"][0]["url"] == "https://data.example.org/raw.zip"
    assert facets["lifecycleStateChange"]["lifecycleStateChange"] == "CREATE"
    assert facets["storage"]["storageLayer"] == "dataver"
    assert facets["ownership"]["owners"][0] == {"name": "Example Institute", "type": "OWNER"}
    assert facets["documentation"]["description"] == "Sizes of sepals and petals, a row for each flower."
    tables = {each["name"]: each for each in facets["schema"]["fields"]}
    columns = [(each["name"], each["type"], each["ordinal_position"]) for each in tables["train"]["fields"]]
    assert columns[:3] == [("id", "int64", 1), ("length", "double", 2), ("kind", "string", 3)]
    (later,) = events_of("iris@v2")
    assert later["dataset"]["facets"]["lifecycleStateChange"]["lifecycleStateChange"] == "ALTER"


def test_statistics_are_those_of_the_rows(world: World) -> None:
    (event,) = events_of("iris@v1")
    metrics = event["dataset"]["facets"]["dataQualityMetrics"]
    table = world.repository.version("iris@v1").to_arrow("train")
    lengths = table["length"].drop_null().to_pylist()
    column = metrics["columnMetrics"]["train.length"]
    assert (column["nullCount"], column["count"]) == (table["length"].null_count, len(table))
    assert (column["min"], column["max"]) == (min(lengths), max(lengths))
    assert column["distinctCount"] == len(set(lengths))
    assert metrics["rowCount"] == len(table) + 3
    assert "min" not in metrics["columnMetrics"]["train.day"]  # A day is no number to others.


def test_of_a_run(world: World) -> None:
    start, end = events_of(f"run:{world.run}")
    assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
    assert {each["run"]["runId"] for each in (start, end)} == {str(uuid.UUID(world.run))}
    assert start["inputs"] == start["outputs"] == []
    inputs = {each["inputFacets"]["dataver_input"]["role"]: each for each in end["inputs"]}
    assert set(inputs) == {"training", "test", "input"}
    training, read = inputs["training"]["inputFacets"], inputs["input"]["inputFacets"]
    (partition,) = training["subset"]["inputCondition"]["partitions"]
    assert partition["identifier"] == "train"
    assert training["dataver_input"]["split"]["part"] == "train"
    assert inputs["training"]["facets"]["version"]["datasetVersion"] == world.repository.version("iris@v1").id
    assert read["subset"]["inputCondition"] == {"type": "location", "locations": ["notes.txt"]}
    assert read["inputStatistics"]["size"] == len("irises\n")
    assert read["dataQualityMetrics"]["rowCount"] == 203
    outputs = {each["name"]: each for each in end["outputs"]}
    assert set(outputs) == {"predictions", "model:churn"}
    model = outputs["model:churn"]["facets"]
    assert model["datasetType"]["datasetType"] == "MODEL"
    assert model["version"]["datasetVersion"] == "v1"
    assert model["symlinks"]["identifiers"] == [
        {"namespace": "https://models.example.org", "name": "churn/1", "type": "MODEL"}
    ]
    parameters = {
        each["key"]: each["value"] for each in end["run"]["facets"]["executionParameters"]["parameters"]
    }
    assert parameters == {"lr": "0.1", "layers": "[8, 8]", "api_key": "***"}
    said = end["run"]["facets"]["dataver_run"]
    assert (said["id"], said["metrics"], said["status"]) == (world.run, {"auc": 0.9}, "done")
    code = end["job"]["facets"]["sourceCodeLocation"]
    assert (code["type"], code["repoUrl"]) == ("git", "https://git.example/iris.git")


@pytest.mark.parametrize(("status", "kind"), [("failed", "FAIL"), ("cancelled", "ABORT")])
def test_ends_that_are_none_of_success(world: World, status: str, kind: str) -> None:
    record = runs.record(
        world.repository, [runs.read(world.repository, "iris@v1")], status=status, reason="no"
    )
    end = events_of(f"run:{record.run}")[1]
    assert end["eventType"] == kind
    assert ("errorMessage" in end["run"]["facets"]) == (kind == "FAIL")


def test_a_run_within_another_names_it(world: World) -> None:
    with (
        dataver.run("outer", repo=world.repository) as outer,
        dataver.run("inner", repo=world.repository) as inner,
    ):
        pass
    start, _ = events_of(f"run:{inner.id}")
    parent = start["run"]["facets"]["parent"]
    assert (parent["run"]["runId"], parent["job"]["name"]) == (str(uuid.UUID(outer.id)), "outer")


def test_a_version_that_is_elsewhere_is_named(world: World) -> None:
    given = runs.read(world.repository, "iris@v1", repository="a" * 32, dataset="other", number=4)
    record = runs.record(world.repository, [given])
    (told,) = events_of(f"run:{record.run}")[1]["inputs"]
    assert (told["namespace"], told["name"]) == (f"dataver://{'a' * 32}", "other")
    assert told["facets"]["version"]["datasetVersion"] == given.version


def test_into_a_file_and_to_a_url(world: World, receiver: Receiver) -> None:
    printed = program("export", "openlineage", world.model)
    answer = json.loads(program("export", "openlineage", world.model, "--to", "events.ndjson", "--json"))
    assert answer == {"to": "events.ndjson", "events": 2}
    assert (world.folder / "events.ndjson").read_text() == printed
    program("export", "openlineage", world.model, "--to", receiver.url)
    assert [path for path, _ in receiver.received] == ["/api/v1/lineage"] * 2
    assert [own(event) for _, event in receiver.received] == list(map(json.loads, printed.splitlines()))
    program("export", "openlineage", "iris@v1", "--to", f"{receiver.url}/custom/place")
    assert receiver.received[-1][0] == "/custom/place"
    program("export", "openlineage", "iris@v1", "--to", f"{receiver.url}/?code=a&b=c")
    assert receiver.received[-1][0] == "/api/v1/lineage?code=a&b=c"
    assert receiver.keys == [""] * 4


def test_what_is_named(world: World) -> None:
    assert events_of("churn@v1") == events_of(world.model) == events_of(f"run:{world.run}")
    assert "no dataset 'nobody'" in program("export", "openlineage", "nobody@v1", code=3)
    assert "no model" in program("export", "openlineage", "model:nobody", code=3)
    assert "no run" in program("export", "openlineage", "run:ffffffff", code=3)


def test_names_are_as_they_were_then(world: World) -> None:
    (then,) = events_of("iris", "--at", "1")
    assert then == events_of("iris@v1")[0] != events_of("iris")[0]


def test_a_receiver_that_refuses_is_told(world: World, receiver: Receiver) -> None:
    receiver.status = 403
    url = receiver.url.replace("://", f"://me:{CANARY}@")
    for there in (receiver.url, f"{url}/place?code={CANARY}", f"http://me:{CANARY}@127.0.0.1:1/?a={CANARY}"):
        said = program("export", "openlineage", "iris@v1", "--to", there, code=7)
        assert "were not delivered" in said
        assert CANARY not in said


def test_the_same_events_always_and_no_secret(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for subject in ("iris@v2", world.model):
        first = program("export", "openlineage", subject)
        program("tag", "iris@v2", "paper")
        # Statistics that are computed anew are those that were at hand.
        monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path / f"another cache of {subject[:4]}"))
        assert program("export", "openlineage", subject) == first
        assert CANARY not in first


@pytest.mark.parametrize(
    "change", ["another field", "another type", "no field", "another condition", "own field"]
)
def test_the_check_refuses_what_the_standard_does_not_have(world: World, change: str) -> None:
    end = events_of(f"run:{world.run}")[1]
    subset = end["inputs"][0]["inputFacets"]["subset"]["inputCondition"]
    if change == "another field":
        end["inputs"][0]["facets"]["version"]["number"] = 1
    elif change == "another type":
        end["inputs"][0]["facets"]["version"]["datasetVersion"] = 1
    elif change == "no field":
        del end["inputs"][0]["facets"]["version"]["datasetVersion"]
    elif change == "another condition":
        subset["type"] = "whatever"
    else:
        end["run"]["facets"]["dataver_run"]["more"] = 1
    with pytest.raises((AssertionError, KeyError)):
        check(end)
