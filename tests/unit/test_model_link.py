"""What a model's files say of themselves, and their digests."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dataver.errors import BadInputError, PathNotFoundError
from dataver.format.run_record import RunInput, RunRecord
from dataver.lineage.local_model import local_model
from dataver.lineage.model_link import link_document, read_link, write_link
from dataver.lineage.small_yaml import parse_block
from tests.repositories import memory_repository

ID, TREE, HOME, OTHER = "ab" * 32, "cd" * 32, "ef" * 16, "12" * 16
RECORD = RunRecord(
    "34" * 16, "train", "Ana <ana@example.org>", 0,
    inputs=(
        RunInput("training", "iris@v3:train", "iris", ID, TREE, HOME, "az://c/p", 3, {"part": "train"}),
        RunInput("test", "iris@v3", "iris", ID, TREE, OTHER, "az://d/p", 3),
    ),
)  # fmt: skip
DOCUMENT = link_document(RECORD, HOME, "az://c/p", "churn")


@pytest.fixture(params=["folder", "file"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "file":
        (tmp_path / "m.pkl").write_bytes(b"weights")
        return tmp_path / "m.pkl"
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "m.pkl").write_bytes(b"weights")
    (folder / "MLmodel").write_text("flavors: {}\n")
    return folder


def test_a_link_is_read_back(model: Path) -> None:
    assert read_link(model) is None
    place = write_link(model, DOCUMENT)
    found = read_link(model)
    assert found is not None
    assert found.origin == place
    assert (found.run, found.model, found.repository, found.url) == (RECORD.run, "churn", HOME, "az://c/p")
    first, second = found.inputs
    assert (first.role, first.ref, first.version, first.tree) == ("training", "iris@v3:train", ID, TREE)
    assert (first.split, first.repository) == ({"part": "train"}, "")
    assert (second.split, second.repository, second.url) == (None, OTHER, "az://d/p")


@pytest.mark.parametrize("with_yaml", [True, False])
def test_a_link_in_the_file_of_mlflow(
    tmp_path: Path, with_yaml: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {
        "artifact_path": "model",
        "flavors": {"python_function": {"loader_module": "x", "env": [1, {"a": None}]}},
        "metadata": {"other": 'it\'s: "odd"', "dataver": DOCUMENT, "more": [1.5, True, []]},
        "signature": {"inputs": '[{"type": "double"}]'},
    }
    (tmp_path / "MLmodel").write_text(yaml.safe_dump(model))
    if not with_yaml:
        monkeypatch.setitem(sys.modules, "yaml", None)
    found = read_link(tmp_path)
    assert found is not None
    assert (found.run, len(found.inputs)) == (RECORD.run, 2)
    assert found.inputs[0].split == {"part": "train"}
    (tmp_path / "MLmodel").write_text(yaml.safe_dump({**model, "metadata": {"other": 1}}))
    assert read_link(tmp_path) is None
    (tmp_path / "MLmodel").write_text(yaml.safe_dump({"flavors": {}}))
    assert read_link(tmp_path) is None


@pytest.mark.parametrize(
    "text",
    [
        "[]", "{", '{"dataver": 2}', '{"run": "xy"}', '{"inputs": [{"version": "xy"}]}', '{"inputs": [3]}',
        "3", "[" * 100_000,
    ],
)  # fmt: skip
def test_a_link_that_cannot_be_understood(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataver.json").write_text(text)
    with pytest.raises(BadInputError, match=r"dataver\.json"):
        read_link(tmp_path)
    (tmp_path / "dataver.json").write_bytes(b"\xff")
    with pytest.raises(BadInputError):
        read_link(tmp_path)


plain = st.one_of(
    st.none(), st.booleans(), st.integers(-100, 100), st.text("abc xyz'\"_-.:#@/ü", max_size=12)
)
documents = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc_", min_size=1), inner, max_size=3)
    ),
)


@given(documents)
def test_the_small_reader_reads_as_pyyaml_or_refuses(value: Any) -> None:
    text = yaml.safe_dump({"first": 1, "metadata": {"it": value}, "z": []})
    try:
        found = parse_block(text, "metadata", "it")
    except BadInputError:
        return
    assert found == yaml.safe_load(text)["metadata"]


@pytest.mark.parametrize(
    "text",
    [
        "a: &x 1", "a: *x", "a: !!int 3", "a: |\n  b", "a: {b: 1}", "a: [1]", "a: b: c", "a: 'x", 'a: "x',
        "a: 1\n    b: 2", "a: 1\na: 2", "? a", "- a", "a:\n  - b\n   - c", "a: 'b''", "a: b #c",
    ],
)  # fmt: skip
def test_what_the_small_reader_refuses(text: str) -> None:
    body = "metadata:\n" + "".join(f"  {line}\n" for line in text.split("\n"))
    if text == "- a":
        assert parse_block(body, "metadata", "it") == ["a"]
        return
    with pytest.raises(BadInputError, match="PyYAML"):
        parse_block(body, "metadata", "it")


def test_deep_nesting_is_refused() -> None:
    text = "metadata:\n" + "".join(f"{' ' * (n + 1)}a:\n" for n in range(1000))
    with pytest.raises(BadInputError):
        parse_block(text, "metadata", "it")


def test_the_tree_of_a_model_is_that_of_a_version(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "empty").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "data" / "m.bin").write_bytes(b"x" * 300_000)
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("run.sh")
    (folder / "scratch.tmp").write_text("not of it")
    (folder / ".dataverignore").write_text("*.tmp\n")
    committed = memory_repository().commit("model", folder)
    found = local_model(folder)
    assert found.trees == (committed.tree,)
    assert [(file.path, file.size) for file in found.files] == [
        (".dataverignore", 6),
        ("data/m.bin", 300_000),
        ("link", 6),
        ("run.sh", 10),
    ]
    write_link(folder, DOCUMENT)
    linked = local_model(folder)
    assert linked.trees[1] == committed.tree
    assert linked.trees[0] == memory_repository().commit("model", folder).tree
    single = local_model(folder / "run.sh")
    assert single.trees == (memory_repository().commit("model", folder / "run.sh").tree,)
    with pytest.raises(PathNotFoundError):
        local_model(folder / "none")


def test_the_document_is_plain_json() -> None:
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT
