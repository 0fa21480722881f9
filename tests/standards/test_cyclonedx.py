"""The bill of materials, by the schema that the library of CycloneDX ships."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest
from blake3 import blake3
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from dataver.exports.cyclonedx import SPDX_LICENCES
from dataver.format.run_record import RunInput
from tests import runs
from tests.standards.data import CANARY, World, program
from tests.standards.ol import check


def valid(text: str) -> Any:
    """The document, which the strict schema takes, and whose references lead somewhere, each once."""
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert fault is None, fault
    document = json.loads(text)
    named = list(values(document, "bom-ref"))
    assert len(set(named)) == len(named)
    assert set(values(document, "ref")) <= set(named)
    return document


def values(value: Any, key: str) -> Any:
    """All values of a key, however deep."""
    if isinstance(value, dict):
        yield from (inner for name, inner in value.items() if name == key)
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        yield from values(inner, key)


def properties(component: Any) -> dict[str, str]:
    return {each["name"]: each["value"] for each in component["properties"]}


def test_of_a_model(world: World) -> None:
    document = valid(program("export", "cyclonedx", world.model))
    subject = document["metadata"]["component"]
    assert (subject["type"], subject["name"], subject["version"]) == ("machine-learning-model", "churn", "v1")
    assert subject["components"][0]["hashes"] == [
        {"alg": "BLAKE3", "content": blake3(b"weights").hexdigest()}
    ]
    card = subject["modelCard"]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [{"type": "auc", "value": "0.9"}]
    assert properties(card)["dataver:param:lr"] == "0.1"
    components = {each["bom-ref"]: each for each in document["components"]}
    data = [components[each["ref"]] for each in card["modelParameters"]["datasets"]]
    said = [
        (
            each["name"],
            each["version"],
            properties(each).get("dataver:role"),
            properties(each).get("dataver:part"),
        )
        for each in data
    ]
    assert sorted(said, key=str) == [
        ("iris", "v1", "test", "test"), ("iris", "v1", "training", "train"), ("iris", "v2", "input", None),
    ]  # fmt: skip
    first = next(each for each in data if each["version"] == "v1")
    assert first["licenses"] == [{"license": {"id": "CC-BY-4.0"}}]
    assert first["data"][0]["governance"]["owners"] == [{"organization": {"name": "Example Institute"}}]
    assert first["data"][0]["classification"] == "internal"
    reference = first["externalReferences"][0]
    assert reference["url"] == "https://data.example.org/raw.zip"
    assert reference["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    packages = [each for each in document["components"] if each["type"] == "library"]
    assert any(each["purl"].startswith("pkg:pypi/pyarrow@") for each in packages)
    workflow = document["formulation"][0]["workflows"][0]
    assert workflow["uid"] == world.run
    assert workflow["resourceReferences"][0]["externalReference"]["url"] == "https://git.example/iris.git"


def test_of_a_run_that_made_no_single_model(world: World) -> None:
    import dataver

    with dataver.run("look", repo=world.repository) as run:
        run.use("iris@v1")
    document = valid(program("export", "cyclonedx", f"run:{run.id}"))
    assert document["metadata"]["component"]["version"] == run.id


def test_of_a_version_has_its_files_and_where_it_came_from(world: World) -> None:
    document = valid(program("export", "cyclonedx", "iris@v2"))
    subject = document["metadata"]["component"]
    assert document["metadata"]["timestamp"] == "2026-02-28T09:30:00.000000Z"
    v1 = world.repository.version("iris@v1").id
    assert properties(subject["pedigree"]["ancestors"][0]) == {"dataver:version:id": v1}
    hashes = {each["name"]: each["hashes"][0]["content"] for each in document["components"]}
    assert hashes == {each.path: each.digest for each in world.repository.version("iris@v2").files()}


def test_a_symlink_has_the_hash_of_the_bytes_that_it_leads_to(world: World) -> None:
    linked = world.folder / "linked"
    (linked / "folder").mkdir(parents=True)
    (linked / "folder" / "rows.csv").write_bytes(b"x\n1\n")
    for name, target in (("latest.csv", "folder/rows.csv"), ("all", "folder"), ("gone", "nowhere")):
        (linked / name).symlink_to(target)
    world.repository.commit("linked", linked)
    document = valid(program("export", "cyclonedx", "linked"))
    found = {each["name"]: each for each in document["components"]}
    hashes = [{"alg": "BLAKE3", "content": blake3(b"x\n1\n").hexdigest()}]
    assert found["latest.csv"]["hashes"] == found["folder/rows.csv"]["hashes"] == hashes
    assert properties(found["latest.csv"]) == {"dataver:size": "4", "dataver:kind": "symlink"}
    for name in ("all", "gone"):  # these have no bytes
        assert "hashes" not in found[name]
        assert properties(found[name]) == {"dataver:kind": "symlink"}


def test_what_a_version_was_made_from_is_its_ancestor(world: World) -> None:
    document = valid(program("export", "cyclonedx", "clean/iris"))
    (ancestor,) = document["metadata"]["component"]["pedigree"]["ancestors"]
    first = world.repository.version("iris@v1")
    assert (ancestor["name"], properties(ancestor)["dataver:version:id"]) == ("iris", first.id)
    described = json.loads(program("export", "croissant", "clean/iris"))
    assert described["isBasedOn"] == [f"dataver://iris@{first.id}"]
    told = json.loads(program("export", "openlineage", "clean/iris"))
    check(told)
    assert told["dataset"]["facets"]["dataver_version"]["derivedFrom"][0]["id"] == first.id


@pytest.mark.parametrize("subject", ["iris@v1", "model:churn@v1"])
def test_the_same_bytes_always_and_no_secret(world: World, subject: str) -> None:
    first = program("export", "cyclonedx", subject)
    program("tag", "iris@v1", "paper")
    program("alias", "iris@v1", "prod")
    assert program("export", "cyclonedx", subject, "-R", str(world.folder / ".dataver")) == first
    assert CANARY not in first + program("export", "cyclonedx", "iris@v2")
    program("export", "cyclonedx", subject, "-o", "bom.json", "--json")
    assert (world.folder / "bom.json").read_text() == first


def test_what_is_missing_has_no_document(world: World) -> None:
    given = RunInput("training", "iris@v9", "iris", "0" * 64, "1" * 64, world.repository.id)
    runs.record(world.repository, [given], [runs.model("lost", {"weights": b"1"})])
    assert "the version is not here" in program("export", "cyclonedx", "model:lost@v1", code=5)
    assert "there is no" in program("export", "cyclonedx", "model:nobody@v1", code=3)
    assert "nothing" in program("export", "cyclonedx", "nothing@v1", code=3)


def test_licences_are_those_of_spdx() -> None:
    schema = json.loads(files("cyclonedx.schema").joinpath("_res", "spdx.SNAPSHOT.schema.json").read_text())
    assert set(schema["enum"]) >= SPDX_LICENCES
