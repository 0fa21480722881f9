"""Run records: their bytes, what is refused, and how they come into the log."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataver
from dataver.errors import BadInputError, ConflictError, DamagedError, NewerFormatError, RefNotFoundError
from dataver.format.canonical_json import DEPTH_MAX, canonical_json, parse_canonical_json
from dataver.format.operations import MADE, READ
from dataver.format.run_record import (
    Code,
    Environment,
    LockedBy,
    ModelFile,
    Process,
    RunInput,
    RunModel,
    RunOutput,
    RunRecord,
    Tracker,
    decode_run,
    part_digest,
)
from dataver.hashing import Kind, kind_digest
from dataver.lineage.plain import plain_value
from dataver.lineage.publishing import amend_run, end_run, start_run
from dataver.lineage.records import Records, find_model, find_run
from dataver.log.run_state import models_with, run_named, runs, runs_of_version, tracked

ID, TREE, REPOSITORY = "ab" * 32, "cd" * 32, "ef" * 16


def a_record(**changes: object) -> RunRecord:
    begun = RunRecord(os.urandom(16).hex(), "train", "Ana <ana@x>", 1_700_000_000_000_000)
    return dataclasses.replace(begun, **changes)  # type: ignore[arg-type]


def a_full_record() -> RunRecord:
    read = RunInput(
        "training", "iris", "iris", ID, TREE, REPOSITORY, "az://c/p", 3, {"part": "train"}, reads=(ID,)
    )
    return a_record(
        status="done",
        ended_us=1_700_000_000_000_001,
        exit_code=0,
        command=("python", "träin.py"),
        process=Process("host", "machine", "boot", 7, "9"),
        code=Code("https://h/r.git", "c" * 40, "main", dirty=True, patch=TREE, untracked=("a b",)),
        environment=Environment(
            "3.11", "CPython", "linux", ID, (LockedBy("uv.lock", ID),), {"A": "b"}, {"cores": 2}
        ),
        params={"lr": 0.1, "deep": [1, {"a": None}]},
        metrics={"f1": 0.5},
        seeds={"python": 7},
        inputs=(read,),
        outputs=(RunOutput("clean", ID, TREE, REPOSITORY, 1),),
        models=(RunModel("churn", TREE, (ModelFile("model.pkl", 3, ID),), "models/churn", {"a": 1}),),
        trackers=(Tracker("mlflow", "39a8545a", "http://h", "0"),),
    )


def test_what_is_encoded_is_read_back() -> None:
    record = a_full_record()
    assert decode_run(record.encode(), "it") == record
    assert record.digest() == kind_digest(Kind.RUN, record.encode())
    assert [str(part) for part in record.parts()] == [ID, TREE]


def test_fields_of_a_later_release_are_left_alone() -> None:
    document = dataclasses.asdict(a_record())
    data = b"DVRN\x01" + canonical_json({**document, "later": [1]})
    assert decode_run(data, "it").name == "train"


@pytest.mark.parametrize(
    "change",
    [
        {"run": "xy"}, {"name": 3}, {"started_us": True}, {"started_us": 1 << 70}, {"inputs": {}},
        {"inputs": [3]},
        {"inputs": [{"role": "r"}]}, {"status": "odd"}, {"command": [1]}, {"code": []}, {"params": None},
        {"amends": "AB" * 32}, {"environment": {"variables": {"a": 1}}}, {"ended_us": 0.5},
    ],
)  # fmt: skip
def test_fields_of_another_type_are_damage(change: dict[str, object]) -> None:
    data = b"DVRN\x01" + canonical_json({**dataclasses.asdict(a_record()), **change})
    with pytest.raises(DamagedError, match="malformed"):
        decode_run(data, "it")


def test_any_other_spelling_is_damage() -> None:
    document = dataclasses.asdict(a_record())
    with pytest.raises(DamagedError):
        decode_run(b"DVRN\x01" + json.dumps(document).encode(), "it")
    with pytest.raises(DamagedError):
        decode_run(b"DVVR\x01" + canonical_json(document), "it")
    with pytest.raises(NewerFormatError):
        decode_run(b"DVRN\x02" + canonical_json(document), "it")
    with pytest.raises(DamagedError):
        parse_canonical_json(b'{"a":1,"a":1}', "it")
    with pytest.raises(DamagedError):
        parse_canonical_json(b"NaN", "it")
    with pytest.raises(DamagedError):
        parse_canonical_json(b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1), "it")
    with pytest.raises(DamagedError):
        parse_canonical_json(b"[" * 1_000_000, "it")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_are_damage(data: bytes) -> None:
    try:
        decode_run(b"DVRN\x01" + data, "it")
    except DamagedError:
        return
    raise AssertionError("no short bytes are a record")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(json_values)
def test_canonical_json_is_read_back(value: object) -> None:
    try:
        data = canonical_json(value)
    except UnicodeEncodeError:
        return
    assert canonical_json(parse_canonical_json(data, "it")) == data


def test_what_json_cannot_say_is_bad_input() -> None:
    with pytest.raises(BadInputError):
        a_record(metrics={"loss": float("nan")}).encode()
    with pytest.raises(BadInputError, match="most"):
        a_record(params={"text": "x" * (1 << 20)}).encode()


def test_a_run_and_its_model_are_found(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a\n1\n")
    repository = dataver.init(str(tmp_path / "repository"))
    version = repository.commit("iris", tmp_path / "data.csv")
    session = repository.session
    begun = a_record()
    start_run(session, begun)
    with pytest.raises(ConflictError):
        start_run(session, begun)
    read = RunInput("training", "iris", "iris", version.id, version.tree, repository.id)
    model = RunModel("churn", TREE, (ModelFile("m", 1, ID),))
    ended = dataclasses.replace(
        begun,
        status="done",
        ended_us=begun.started_us + 1,
        inputs=(read,),
        models=(model, model),
        trackers=(Tracker("mlflow", "39a8"),),
        code=Code(patch=str(part_digest(b"patch"))),
    )
    made = end_run(session, ended, [b"patch"])
    assert [str(model) for model in made] == ["churn@v1", "churn@v2"]
    assert end_run(session, ended, [b"patch"]) == made
    with pytest.raises(ConflictError):
        end_run(session, dataclasses.replace(ended, exit_code=1))
    state = session.state()
    [run] = runs(state)
    assert find_run(state, f"run:{begun.run[:7]}") == run
    assert find_run(state, begun.run[:8].upper()) == run
    records = Records(session, state)
    assert records.of(run) == ended
    assert records.record(run.start) == begun
    assert records.part(str(part_digest(b"patch"))) == b"patch"
    assert list(runs_of_version(state, bytes.fromhex(version.id))) == [(run.id, READ)]
    assert list(tracked(state, "mlflow:39a8")) == [run.id]
    assert list(tracked(state, "mlflow:39a")) == []
    assert models_with(state, bytes.fromhex(ID)) == models_with(state, bytes.fromhex(TREE)) == made
    assert str(find_model(state, "model:churn")) == str(find_model(state, "churn@v2")) == "churn@v2"
    with pytest.raises(RefNotFoundError, match="churn@v1"):
        find_model(state, "churn@v9")
    with pytest.raises(RefNotFoundError, match="churn"):
        find_model(state, "other")
    with pytest.raises(BadInputError):
        find_model(state, "churn@prod")
    with pytest.raises(RefNotFoundError):
        find_run(state, "00000000")
    with pytest.raises(BadInputError):
        find_run(state, "zz")
    assert repository.verify().ok


def test_a_run_is_amended_once_for_each_record(tmp_path: Path) -> None:
    repository = dataver.init(str(tmp_path / "repository"))
    session = repository.session
    model = RunModel("churn", TREE)
    ended = a_record(status="failed", models=(model,))
    end_run(session, ended)
    more = dataclasses.replace(
        ended,
        models=(model, RunModel("other", TREE)),
        outputs=(RunOutput("clean", ID, TREE, REPOSITORY),),
        amends=str(ended.digest()),
    )
    assert [str(model) for model in amend_run(session, more)] == ["churn@v1", "other@v1"]
    with pytest.raises(ConflictError):
        amend_run(session, more)
    state = session.state()
    found = run_named(state, bytes.fromhex(ended.run))
    assert found is not None
    assert found.status == 1
    assert found.end == more.digest()
    assert list(runs_of_version(state, bytes.fromhex(ID))) == [(found.id, MADE)]


def test_the_state_says_the_same_when_it_is_read_from_a_checkpoint(tmp_path: Path) -> None:
    repository = dataver.init(str(tmp_path / "repository"))
    records = [a_record(status="done", models=(RunModel("m", TREE),)) for _ in range(70)]
    for record in records:
        end_run(repository.session, record)
    state = dataver.open(str(tmp_path / "repository")).session.state()
    assert [run.id.hex() for run in runs(state)] == [record.run for record in records]
    assert str(find_model(state, "m")) == "m@v70"
    assert repository.verify(deep=True).ok


def test_what_is_logged_is_as_json_holds_it() -> None:
    class Odd:
        def __str__(self) -> str:
            return "odd"

    value = {
        1: (1, 2.5, None, True),
        "numpy": np.float64(0.5),
        "array": np.int32(3),
        "path": Path("a"),
        "odd": Odd(),
    }
    assert plain_value("it", value) == {
        "1": [1, 2.5, None, True], "numpy": 0.5, "array": 3, "path": "a", "odd": "odd",
    }  # fmt: skip
    assert plain_value("it", [float("nan"), -float("inf")]) == ["nan", "-inf"]
    assert plain_value("it", np.arange(3)) == "[0 1 2]"
    deep: list[object] = []
    deep.append(deep)
    assert canonical_json(plain_value("it", deep))
    for bad in ("x" * 70_000, "\ud800"):
        with pytest.raises(BadInputError):
            plain_value("it", bad)
