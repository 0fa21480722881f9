"""Texts of a repository that nobody vouches for, printed by every verb: none of them drives a terminal.

Paths, messages, authors, names of tags, runs, models, columns and settings hold what moves a cursor, sets a
title, breaks a line or turns the direction of text. All that may reach a terminal is what prints, line
breaks of ours, and colours of ours.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from dataver.cli import main
from dataver.cli.root import VERBS
from dataver.format.operations import (
    AliasSet,
    BranchSet,
    ConfigSet,
    DatasetCreate,
    Hold,
    ModelCreate,
    RunTracker,
    TagCreate,
)
from dataver.format.run_record import (
    Code,
    Environment,
    LockedBy,
    Process,
    RunInput,
    Tracker,
)
from dataver.log.run_state import runs as run_states
from dataver.repository import Repository, init
from tests import runs
from tests.damage import append, flip, opened, place_of

EVIL = "e\x1b]0;owned\x07\x1b[5;41m\x9b2J\u202e\u2066\u2028\r\x08\x7f\nFAKE"
NAME = "n\x1b]0;owned\x07\x1b[5;41m\x9b2J\u202e\u2028\r\nFAKE"
COLOURS = re.compile(r"\x1b\[(?:0|1|2|3[0-7]|9[0-7])m")
WRITES_BYTES = {"cat", "completion"}
"""What these give is not for people."""


def moves_a_terminal(text: str) -> list[str]:
    """The signs that a terminal would obey, and lines that are a text's own."""
    plain = COLOURS.sub("", text)
    signs = [sign for sign in plain if not sign.isprintable() and sign != "\n"]
    return signs + [line for line in plain.split("\n") if line.startswith("FAKE")]


@pytest.fixture
def hostile(place: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository all of whose texts are hostile, in `.dataver` here, with its sources beside it."""
    data = place / "data"
    (data / NAME).mkdir(parents=True)
    (data / NAME / f"{NAME}.csv").write_text("a,b\n1,2\n")
    pq.write_table(pa.table({NAME: [EVIL, "x"], "key": [1, 2]}), data / "t.parquet")
    (data / "DATASET.md").write_text(f"+++\nowner = {json.dumps(EVIL)}\n+++\ntext\n")
    (data / ".dataver-splits.toml").write_text(f"[users]\nrule = 'hash'\n{json.dumps(EVIL)} = 1\n")
    repository = init(place / ".dataver")
    with monkeypatch.context() as forger:
        forger.setattr("dataver.session.default_author", lambda explicit=None: EVIL)
        repository = opened(repository)
        repository.commit(
            "iris", data, message=EVIL, meta={EVIL: EVIL}, sources=[{"note": EVIL, "method": EVIL}]
        )
        pq.write_table(pa.table({NAME: [EVIL, "y"], "key": [1, 3], EVIL: [1, 2]}), data / "t.parquet")
        (data / f"{NAME}.new").write_text("new")
        repository.commit("iris", data, message=EVIL)
        run_of(repository, place)
    dataset = repository.session.state().dataset("iris")
    assert dataset is not None
    version = repository.session.resolve("iris@v1").version.id
    run = next(run_states(repository.session.state()))
    append(
        repository,
        TagCreate(dataset, EVIL, version),
        AliasSet(dataset, f"a{EVIL}", None, version),
        BranchSet(dataset, f"b{EVIL}", None, version),
        DatasetCreate(os.urandom(16), EVIL),
        ConfigSet(EVIL, EVIL),
        Hold(EVIL, version),
        ModelCreate(EVIL, 1, run.id, run.record),
        RunTracker(run.id, EVIL),
    )
    return opened(repository)


def run_of(repository: Repository, place: Path) -> None:
    """A run and a model, all of whose texts are hostile where the format takes them."""
    model = place / "model"
    model.mkdir()
    (model / NAME).write_bytes(b"weights")
    read = runs.read(repository, "iris@v1", role=NAME, url=EVIL, split={"part": EVIL, "name": EVIL})
    abroad = RunInput(NAME, EVIL, EVIL, "0" * 64, "1" * 64, "2" * 32, EVIL, 7)
    runs.record(
        repository,
        [read, abroad],
        [runs.model_at("churn", model, uri=EVIL, meta={EVIL: EVIL})],
        ["iris@v2"],
        name=EVIL, author=EVIL, reason=EVIL, command=(EVIL, EVIL),
        process=Process(EVIL, EVIL, EVIL, 1, EVIL),
        code=Code(EVIL, EVIL, EVIL, dirty=True, folder=EVIL, untracked=(EVIL,), reason=EVIL),
        environment=Environment(
            EVIL, EVIL, EVIL, locks=(LockedBy(EVIL, "0" * 64),),
            variables={EVIL: EVIL}, hardware={EVIL: EVIL}, dataver=EVIL,
        ),
        params={EVIL: EVIL}, metrics={EVIL: EVIL}, seeds={EVIL: EVIL},
        trackers=(Tracker(EVIL, EVIL, EVIL, EVIL),), options={EVIL: EVIL},
    )  # fmt: skip


def lines_of(repository: Repository, place: Path) -> dict[str, list[list[str]]]:
    """For each verb the command lines that print what the repository says."""
    run = next(run_states(repository.session.state())).id.hex()
    copy = str(place / "copy")
    file = f"iris@v1!{NAME}/{NAME}.csv"
    return {
        "init": [["init", EVIL]],
        "commit": [["commit", "iris", "data", "-m", EVIL, "--allow-empty"], ["commit", EVIL, "data"]],
        "status": [["status", "iris", "data"], ["status", EVIL]],
        "list": [["list"]],
        "log": [["log", "iris"], ["log", EVIL]],
        "show": [["show", "iris@v1", "--tables"], ["show", "iris@v2", "--tables"], ["show", EVIL]],
        "card": [["card", "iris@v1", "--compute"], ["card", "iris@v2"]],
        "ls": [["ls", "iris@v1", "-r", "-l"], ["ls", "iris@v1"], ["ls", "iris", EVIL]],
        "stats": [["stats", "iris@v1"], ["stats", "iris@v2"], ["stats", "iris@v2", EVIL]],
        "diff": [
            ["diff", "iris@v1", "iris@v2"],
            ["diff", "iris@v1", "iris@v2", "--tables"],
            ["diff", "iris@v1", "iris@v2", "--rows", "--key", "key"],
        ],
        "drift": [["drift", "iris@v1", "iris@v2"], ["drift", "iris@v1", "iris@v2", "--columns", EVIL]],
        "checkout": [
            ["checkout", "iris@v1", "out"],
            ["checkout", "iris@v1", "data"],
            ["checkout", "iris", f"o{NAME}"],
        ],
        "tag": [["tag", "iris@v1", EVIL]],
        "alias": [["alias", "iris@v1", EVIL]],
        "branch": [["branch", "iris@v1", EVIL], ["branch", "iris@v1", "side"]],
        "merge": [["branch", "iris@v1", "side"], ["merge", "iris@side"], ["merge", f"iris@{EVIL}"]],
        "revert": [["revert", "iris@v1"], ["revert", EVIL]],
        "rename": [["rename", "iris", EVIL], ["rename", EVIL, "iris"]],
        "delete": [["delete", EVIL]],
        "run": [["run", "--name", EVIL, "--", "true", EVIL], ["run", "--", EVIL]],
        "runs": [["runs"], ["runs", "show", run], ["runs", "diff", run, "churn@v1"], ["runs", "show", EVIL]],
        "repro": [["repro", run], ["repro", "churn@v1"], ["repro", EVIL]],
        "models": [["models"], ["models", EVIL]],
        "push": [["init", copy], ["push", "--to", copy], ["push", EVIL, "--to", copy]],
        "pull": [["init", copy], ["pull", "--from", ".dataver", "-R", copy], ["pull", "--from", EVIL]],
        "import": [["import", "dvc", EVIL], ["import", "dvc", "."], ["import", EVIL]],
        "sign": [["sign", "iris@v1", "--key", EVIL]],
        "verify-signature": [["verify-signature", "iris@v1"], ["verify-signature", EVIL]],
        "trust": [["trust", "list"], ["trust", "add", EVIL, EVIL]],
        "link": [["link", run, "iris@v2"], ["link", EVIL, "iris@v2"]],
        "lock": [["lock", "add", "iris@v1"], ["lock", "check"], ["lock", "add", EVIL]],
        "split": [["split", "list", "iris"], ["split", "show", "iris"], ["split", "show", f"iris:{EVIL}"]],
        "overlap": [["overlap", "iris@v1", "iris@v2"], ["overlap", "iris@v1", "iris@v2", "--key", "key"]],
        "rewrite-parquet": [["rewrite-parquet", given, "--in-place"] for given in ("data", EVIL)],
        "lineage": [
            *(["lineage", node] for node in ("iris@v1", "iris@v2", "model:churn@v1", f"run:{run}")),
            ["lineage", f"file:{file}"],
            ["lineage", EVIL],
            ["lineage", "model:churn@v1", "--dot"],
            ["lineage", "model:churn@v1", "--mermaid"],
        ],
        "who-used": [["who-used", "iris@v1"], ["who-used", file], ["who-used", EVIL]],
        "config": [["config"], ["config", EVIL], ["config", EVIL, EVIL]],
        "audit": [
            ["audit", "churn@v1"],
            ["audit", "model", "--verify", "--tracker"],
            ["audit", f"run:{run}"],
            ["audit", EVIL],
        ],
        "export": [
            ["export", "azureml", "iris@v1", "--to", "exported", "--yaml", "iris.yml"],
            ["export", "azureml", "iris@v1", "--to", EVIL, "--yaml", EVIL],
            ["export", "azureml", "iris@v1", "--to", "exported", "--name", EVIL, "--yaml", "iris.yml"],
            ["export", "azureml", "iris@v1", "--to", f"az://{EVIL}"],
            ["export", "croissant", "iris@v1"],
            ["export", "croissant", "iris@v2", "--base-url", EVIL],
            ["export", "cyclonedx", "iris@v1"],
            ["export", "cyclonedx", "churn@v1"],
            ["export", "openlineage", "iris@v1"],
            ["export", "openlineage", f"run:{run}"],
            ["export", "openlineage", EVIL],
            *(["export", "prov", "iris@v1", "--format", kind] for kind in ("json", "provn", "xml")),
            ["export", "prov", EVIL],
            ["export", "prov", "iris@v1", "-o", f"o{NAME}"],
        ],
        "verify": [
            ["verify"],
            ["verify", "iris@v1", "--deep"],
            ["verify", EVIL],
            ["verify", "iris@v2", "--at", "data"],
            ["verify", "iris@v1", "--at", EVIL],
        ],
        "repair": [["repair"], ["repair", "--from", EVIL]],
        "gc": [["gc"]],
        "prune": [["prune", "iris", "--keep-last", "1"], ["prune", EVIL, "--keep-last", "1"]],
        "erase": [
            ["erase", "iris", f"{NAME}/{NAME}.csv", "--reason", EVIL],
            ["erase", "iris", f"{NAME}.new", "--reason", EVIL, "--yes"],
            ["checkout", "iris@v2", "without"],
            ["erase", EVIL, EVIL, "--reason", EVIL],
        ],
        "hold": [["hold", "iris@v1", EVIL], ["hold", "iris@v1"]],
        "served": [["served", "iris"], ["served", "iris", "--commit"], ["served", EVIL]],
        "azureml": [
            ["azureml", "pipeline", "iris@v1", "--name", EVIL, "--code", EVIL],
            ["azureml", "component", EVIL],
            ["azureml", "bump", EVIL, "iris@v1"],
        ],
        "doctor": [["doctor"]],
        "telemetry": [["telemetry", "check"], ["telemetry", "queries"], ["telemetry", "queries", EVIL]],
    }  # fmt: skip


def test_every_verb_is_tried(hostile: Repository, place: Path) -> None:
    assert set(lines_of(hostile, place)) == set(VERBS) - WRITES_BYTES


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in WRITES_BYTES])
def test_no_text_of_a_repository_drives_a_terminal(verb: str, hostile: Repository, place: Path) -> None:
    found = {}
    for line in lines_of(hostile, place)[verb]:
        result = CliRunner().invoke(main, line, color=True)
        if result.exit_code == 1 or moves_a_terminal(result.output):
            found[" ".join(line)] = result.output
    assert not found


def test_no_path_that_is_harmed_drives_a_terminal(hostile: Repository) -> None:
    flip(hostile.session.store, *place_of(hostile, f"{NAME}/{NAME}.csv"))
    printed = ""
    for line in (["verify", "--deep"], ["repair"], ["repair", "--yes"]):
        result = CliRunner().invoke(main, line, color=True)
        assert result.exit_code == 5, result.output
        printed += result.output
    assert "FAKE" in printed
    assert not moves_a_terminal(printed), printed
