"""PROV, read back by its own library: the same records in each of the three forms."""

from __future__ import annotations

import pytest
from prov.model import ProvDocument, ProvRecord

from tests.standards.data import CANARY, World, program


def read(text: str, kind: str) -> ProvDocument:
    return ProvDocument.deserialize(content=text, format=kind)


def labels(document: ProvDocument) -> dict[str, str]:
    """What people call the elements, by their ids."""
    return {
        str(record.identifier): str(record.label) for record in document.get_records() if record.identifier
    }


def said(document: ProvDocument) -> set[tuple[str, ...]]:
    """The relations, by labels."""
    names = labels(document)
    return {
        (
            record.get_type().localpart,
            *(names.get(str(value), "") for _, value in record.formal_attributes[:2]),
        )
        for record in document.get_records()
        if not record.identifier
    }


@pytest.mark.parametrize("subject", ["iris@v2", "clean/iris", "model:churn@v1", "run"])
def test_all_forms_say_the_same(world: World, subject: str) -> None:
    subject = f"run:{world.run}" if subject == "run" else subject
    forms = {kind: program("export", "prov", subject, "--format", kind) for kind in ("json", "provn", "xml")}
    documents = {kind: read(text, kind) for kind, text in forms.items()}
    records: list[ProvRecord] = documents["json"].get_records()
    assert len(records) > 3
    assert documents["json"] == documents["provn"] == documents["xml"]
    # What the library writes of it is read as the same again.
    assert read(documents["json"].serialize(format="provn"), "provn") == documents["json"]
    assert CANARY not in "".join(forms.values())
    program("tag", "iris@v1", "paper")
    assert program("export", "prov", subject) == forms["json"]


def test_of_a_model(world: World) -> None:
    document = read(program("export", "prov", world.model), "json")
    relations = said(document)
    author = "Ada Example <ada@example.org>"
    assert relations >= {
        ("Generation", "model:churn@v1", "train"),
        ("Usage", "train", "iris@v1:train"),
        ("Usage", "train", "iris@v1:test"),
        ("Usage", "train", "iris@v2"),
        ("Derivation", "iris@v1:train", "iris@v1"),
        ("Derivation", "iris@v2", "iris@v1"),
        ("Derivation", "iris@v1", "source:https://data.example.org/raw.zip"),
        ("Association", "train", author),
        ("Attribution", "iris@v1", author),
    }
    run = next(record for record in document.get_records() if "run-" in str(record.identifier))
    assert {"lr=0.1", "layers=[8, 8]", "api_key=***"} == {
        value for name, value in run.attributes if str(name) == "dataver:parameter"
    }


def test_a_version_that_a_run_made_is_generated_by_it(world: World) -> None:
    assert ("Generation", "predictions@v1", "train") in said(
        read(program("export", "prov", "predictions"), "json")
    )


def test_hostile_texts_are_texts(world: World) -> None:
    evil = 'a"b\\c\n<d>&amp;\x1b[31m\u202e\x00\ttab \u00a0 \U0001f338'.replace("\x00", "")
    world.repository.commit("iris", world.folder / "data", message=evil, author="E'vil", allow_empty=True)
    forms = {
        kind: read(program("export", "prov", "iris", "--format", kind), kind)
        for kind in ("json", "provn", "xml")
    }
    assert forms["json"] == forms["provn"] == forms["xml"]
    assert any(
        "\\x1b[31m" in str(value) for record in forms["xml"].get_records() for _, value in record.attributes
    )
