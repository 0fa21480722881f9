"""The audit of a model: what is found, what is compared, and what is missing or changed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataver
from dataver.errors import BadInputError, PathNotFoundError, RefNotFoundError
from dataver.format.run_record import Code, Environment, LockedBy, Process, RunInput, Tracker, part_digest
from dataver.lineage.audit import BROKEN, NOT_TRACEABLE, TRACED, TRACKED_RUNS, AuditReport, audit
from dataver.lineage.audit_page import page
from dataver.lineage.audit_sections import sections
from dataver.lineage.model_link import link_document, write_link
from dataver.repository import Repository
from tests import runs
from tests.unit.test_lineage import HOSTILE, install

PATCH, PACKAGES = b"--- a\n+++ b\n", b"numpy==2.0\n"
CODE = Code("https://example.org/r.git", "c" * 40, "main")
ENVIRONMENT = Environment(
    "3.11.7", "CPython", "linux", str(part_digest(PACKAGES)), (LockedBy("uv.lock", "ab" * 32),)
)
CLEAN: dict[str, Any] = {"code": CODE, "environment": ENVIRONMENT}


def table(first: int, stop: int) -> pa.Table:
    return pa.table({"id": list(range(first, stop)), "x": [float(n % 7) for n in range(first, stop)]})


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """train@v1 and test@v1, which share no file, and train@v2."""
    made = dataver.init(str(tmp_path / "repository"))
    for name, span in (("train", (0, 300)), ("test", (300, 400))):
        folder = tmp_path / name
        folder.mkdir()
        pq.write_table(table(*span), folder / "part.parquet")
        made.commit(name, folder, message=name, stats=True)
    return made


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"weights")
    (folder / "conf.json").write_text("{}")
    return folder


def trained(repository: Repository, model: Path, **changes: Any) -> Any:
    inputs = [runs.read(repository, "train@v1"), runs.read(repository, "test@v1", "test")]
    settings = {"inputs": inputs, "models": [runs.model_at("churn", model)], "parts": [PACKAGES], **CLEAN}
    return runs.record(repository, **(settings | changes))


def agreements(report: AuditReport) -> dict[str, bool | None]:
    return {one.source: one.agrees for one in report.evidence}


def test_a_model_is_traced_to_its_data(repository: Repository, model: Path, tmp_path: Path) -> None:
    record = trained(repository, model, params={"lr": 0.1}, command=("python", "train.py"))
    other = runs.record(repository, [runs.read(repository, "train@v1")], [runs.model("rival")])
    for text in ("model:churn@v1", "churn@v1", "model:churn", "churn", f"run:{record.run}", str(model)):
        report = audit(repository, text)
        assert (report.status, report.exit_code, report.name) == (TRACED, 0, "model:churn@v1"), text
        assert report.warnings == []
        assert [(found.name, found.rows, found.verified) for found in report.inputs] == [
            ("train@v1", 300, None),
            ("test@v1", 100, None),
        ]
    document = json.loads(json.dumps(audit(repository, str(model)).to_json()))
    assert document["run"]["id"] == record.run
    assert document["run"]["command"] == ["python", "train.py"]
    assert document["code"]["commit"] == "c" * 40
    assert document["params"] == {"lr": 0.1}
    assert document["used_by"] == {"runs": 1, "models": ["model:rival@v1"], "complete": True}
    assert [pair["overlap"] for pair in document["overlap"]] == [False]
    assert [found["reason"] for found in document["drift"]] == ["it is the head"] * 2
    assert {node["id"] for node in document["lineage"]["nodes"]} >= {"train@v1", "test@v1"}
    assert document["model"]["found_by"] == "files"
    assert document["verified"] is None
    assert audit(repository, f"run:{other.run}").warnings


def test_verify_reads_every_byte_and_names_the_file(
    repository: Repository, model: Path, tmp_path: Path
) -> None:
    trained(repository, model)
    report = audit(repository, "churn", verify=True)
    assert report.verified
    assert agreements(report)["model files"] is True
    digest = repository.version("train@v1").entry("part.parquet").digest
    session = repository.session
    place = session.index(session.state()).find(digest)
    assert place is not None
    pack = next((tmp_path / "repository" / "packs").rglob(place.pack.hex()))
    data = bytearray(pack.read_bytes())
    data[place.frame_offset + place.stored_bytes // 2] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    again = dataver.open(str(tmp_path / "repository"))
    assert audit(again, "churn").status == TRACED
    report = audit(again, "churn", verify=True)
    assert (report.status, report.exit_code, report.verified) == (BROKEN, 5, False)
    assert [path for path, _ in report.broken] == ["train@v1!part.parquet"]
    assert [found.verified for found in report.inputs] == [False, True]


def test_a_model_that_nobody_recorded(repository: Repository, model: Path, tmp_path: Path) -> None:
    for text in (str(model), "none@v1", "run:abcd1234", "elsewhere:/churn/1"):
        report = audit(repository, text)
        assert (report.status, report.exit_code) == (NOT_TRACEABLE, 3)
        assert report.subject.tried
        assert page(report)
    run = runs.record(repository, [], [runs.model("empty")])
    assert audit(repository, f"run:{run.run}").status == NOT_TRACEABLE
    with pytest.raises(PathNotFoundError):
        audit(repository, "./none")
    with pytest.raises(BadInputError):
        audit(repository, "model:no name")
    with pytest.raises(BadInputError):
        audit(repository, "none", depth=-1)


def test_a_copy_is_found_by_its_bytes_and_one_file_by_its_digest(
    repository: Repository, model: Path, tmp_path: Path
) -> None:
    trained(repository, model)
    shutil.copytree(model, tmp_path / "elsewhere")
    assert audit(repository, str(tmp_path / "elsewhere")).status == TRACED
    report = audit(repository, str(model / "weights.bin"))
    assert (report.name, report.subject.found_by) == ("model:churn@v1", "some of its files")
    assert report.broken[0][0] == "conf.json"


def test_a_changed_model_is_found_by_its_link_and_is_broken(
    repository: Repository, model: Path, tmp_path: Path
) -> None:
    record = trained(repository, model)
    write_link(model, link_document(record, repository.id, repository.url, "churn"))
    report = audit(repository, str(model))
    assert (report.status, report.subject.found_by) == (TRACED, "files")
    assert agreements(report)["model metadata"] is True
    (model / "weights.bin").write_bytes(b"WEIGHTS")
    report = audit(repository, str(model))
    assert (report.status, report.subject.found_by, report.name) == (BROKEN, "metadata", "model:churn@v1")
    assert [path for path, _ in report.broken] == ["weights.bin"]
    (model / "weights.bin").unlink()
    assert "missing" in audit(repository, str(model)).broken[0][1]


def test_a_link_that_contradicts_the_record(repository: Repository, model: Path) -> None:
    record = trained(repository, model)
    lie = replace(record, inputs=(runs.read(repository, "train@v1", version="ab" * 32),))
    write_link(model, link_document(lie, repository.id, repository.url))
    report = audit(repository, str(model))
    assert (report.status, agreements(report)["model metadata"]) == (BROKEN, False)
    write_link(model, link_document(replace(record, run="12" * 16), repository.id, repository.url))
    assert agreements(audit(repository, str(model)))["model metadata"] is False
    (model / "dataver.json").write_text("{")
    report = audit(repository, str(model))
    assert "JSON" in report.subject.tried[0]


def test_without_a_record_the_files_own_word_is_said_to_be_all(repository: Repository, model: Path) -> None:
    record = replace(runs.record(repository), inputs=(runs.read(repository, "train@v1"),), run="12" * 16)
    write_link(model, link_document(record, repository.id, repository.url))
    report = audit(repository, str(model), verify=True)
    assert report.status == TRACED
    assert report.verified
    assert "no run is recorded here" in report.warnings[0]
    assert agreements(report)["run record"] is None


def test_a_models_folder_needs_no_integration_that_can_be_loaded(
    repository: Repository, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(repository, model)
    install(tmp_path, monkeypatch, "raise ImportError('it lacks a library')\n")
    report = audit(repository, str(model))
    assert (report.status, report.subject.found_by) == (TRACED, "files")
    with pytest.raises(BadInputError, match="it lacks a library"):
        audit(repository, "toys:/good")


def test_what_the_tracker_says_is_compared(
    repository: Repository, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = repository.version("train@v1").id
    install(
        tmp_path,
        monkeypatch,
        "from dataver.errors import RefNotFoundError\n"
        "from dataver.lineage.nodes import ClaimedInput, ExternalNode\n"
        "def resolve(text):\n"
        f"    ids = {{'good': '{version}', 'bad': {'ab' * 32!r}}}\n"
        "    name = text.removeprefix('toys:/')\n"
        "    if name == text: return None\n"
        "    if name == 'gone': raise RefNotFoundError('the tracker has no such model')\n"
        "    inputs = (ClaimedInput(ids[name]),) if name in ids else None\n"
        f"    folder = {str(model)!r} if name == 'files' else ''\n"
        "    names = ('toy:7',) if name != 'new' else ()\n"
        "    return ExternalNode(text, 'model', names, inputs, ('frame',), folder)\n",
    )
    report = audit(repository, "toys:/good")
    assert report.status == TRACED
    assert "what the tracker says" in report.warnings[0]
    trained(repository, model, trackers=(Tracker("toy", "7"),))
    report = audit(repository, "toys:/good")
    assert (report.status, report.subject.found_by, report.name) == (TRACED, "tracker", "model:churn@v1")
    assert agreements(report)["tracker"] is True
    assert report.warnings == ["the tracker has an input that is no version: frame"]
    monkeypatch.setitem(TRACKED_RUNS, "toy", "toys:/bad")
    assert "not asked" in next(
        one.detail for one in audit(repository, "churn").evidence if one.source == "tracker"
    )
    asked = audit(repository, "churn", tracker=True)
    assert (asked.status, agreements(asked)["tracker"]) == (BROKEN, False)
    monkeypatch.setitem(TRACKED_RUNS, "toy", "toys:/gone")
    assert "in vain" in audit(repository, "churn", tracker=True).warnings[0]
    report = audit(repository, "toys:/bad")
    assert (report.status, agreements(report)["tracker"]) == (BROKEN, False)
    assert audit(repository, "toys:/silent").status == TRACED
    assert agreements(audit(repository, "toys:/files"))["model files"] is True
    assert audit(repository, "toys:/new").status == NOT_TRACEABLE
    with pytest.raises(RefNotFoundError, match="no such model"):
        audit(repository, "toys:/gone")
    trained(repository, model, trackers=(Tracker("toy", "7"),))
    assert any("2 runs" in warning for warning in audit(repository, "toys:/good").warnings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"code": None}, "code is not known"),
        ({"code": Code(reason="no git")}, "no git"),
        ({"code": replace(CODE, dirty=True)}, "not kept"),
        ({"code": replace(CODE, dirty=True, patch=str(part_digest(PATCH)))}, "patch was kept"),
        ({"code": replace(CODE, dirty=True, patch=str(part_digest(PATCH)), masked=True)}, "does not apply"),
        ({"code": replace(CODE, untracked=("a", "b"))}, "2 files"),
        ({"environment": None}, "packages"),
        ({"status": "failed", "reason": "boom"}, "failed: boom"),
    ],
)
def test_what_one_should_know(
    repository: Repository, model: Path, changes: dict[str, Any], words: str
) -> None:
    trained(repository, model, parts=[PACKAGES, PATCH], **changes)
    report = audit(repository, "churn")
    assert report.status == TRACED
    assert words in "\n".join(report.warnings)


def test_a_floating_ref_and_a_tag(repository: Repository, model: Path) -> None:
    repository.tag("train@v1", "paper")
    floating = [runs.read(repository, ref, f"role {ref}") for ref in ("train", "train@main", "train@main~0")]
    fixed = [
        runs.read(repository, ref, f"role {ref}")
        for ref in ("train@paper", "train@v1", f"train@{repository.version('train').id}")
    ]
    trained(repository, model, inputs=[*floating, *fixed])
    report = audit(repository, "churn")
    assert [found.floating for found in report.inputs] == [True] * 3 + [False] * 3
    assert len([warning for warning in report.warnings if "today" in warning]) == 3


def test_data_that_are_not_here(repository: Repository, model: Path, tmp_path: Path) -> None:
    gone = runs.read(repository, "train@v1", version="ab" * 32)
    changed = runs.read(repository, "train@v1", "changed", tree="cd" * 32)
    far = runs.read(repository, "train@v1", "far", version="ef" * 32, repository="12" * 16, url="")
    trained(repository, model, inputs=[gone, changed, far])
    report = audit(repository, "churn", verify=True)
    assert report.exit_code == 5
    assert [path for path, _ in report.broken] == [f"train@{'ab' * 32}", "train@v1", f"train@{'ef' * 32}"]
    copy = dataver.init(str(tmp_path / "copy"))
    runs.record(copy, [runs.read(repository, "train@v1", repository=copy.id)], [runs.model("m")])
    assert audit(copy, "m").exit_code == 5


def test_data_of_a_deleted_dataset(repository: Repository, model: Path) -> None:
    trained(repository, model)
    repository.delete_dataset("test")
    report = audit(repository, "churn")
    assert report.status == TRACED
    assert "the dataset test was deleted since" in report.warnings
    report = audit(repository, "churn", verify=True)
    assert report.status == BROKEN
    assert "--undo" in report.broken[0][1]


def test_data_in_another_repository(repository: Repository, model: Path, tmp_path: Path) -> None:
    runs_only = dataver.init(str(tmp_path / "runs"))
    given = runs.read(repository, "train@v1")
    runs.record(runs_only, [given], [runs.model_at("churn", model)], [], [PACKAGES], **CLEAN)
    report = audit(runs_only, "churn", verify=True)
    assert (report.status, report.verified) == (TRACED, True)
    assert [(found.name, found.rows) for found in report.inputs] == [("train@v1", 300)]
    shutil.move(tmp_path / "repository", tmp_path / "moved")
    report = audit(runs_only, "churn")
    assert report.exit_code == 5
    assert "another repository" in report.broken[0][1]
    dataver.init(str(tmp_path / "repository"))
    assert "is the repository" in audit(runs_only, "churn").broken[0][1]


def split(part: str, rows: int | None = None) -> dict[str, Any]:
    definition = dataver.HashSplit("id", parts={"train": 0.8, "test": 0.2})
    document = definition.to_document()
    found: dict[str, Any] = {"part": part, "definition": document, "name": "", "digest": definition.digest}
    return found | ({} if rows is None else {"rows": rows})


def test_parts_are_counted_and_compared_where_asked(repository: Repository, model: Path) -> None:
    inputs = [
        runs.read(repository, "train@v1:train", split=split("train", 111)),
        runs.read(repository, "train@v1:test", "test", split=split("test")),
    ]
    trained(repository, model, inputs=inputs)
    report = audit(repository, "churn")
    assert [found.rows for found in report.inputs] == [111, None]
    assert report.overlaps[0]["overlap"] is False
    assert "by key" in report.overlaps[0]["reason"]
    assert (report.inputs[0].to_json()["part"], report.inputs[0].name) == ("train", "train@v1:train")
    report = audit(repository, "churn", rows=True)
    counted = [found.rows for found in report.inputs]
    assert sum(counted) == 300  # type: ignore[arg-type]
    assert report.overlaps[0]["overlap"] is False
    assert report.overlaps[0]["rows"]["a_rows"] == counted[0]


def test_parts_of_splits_that_versions_have_themselves(
    repository: Repository, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "train" / ".dataver-splits.toml").write_text(
        '[fold]\nkind = "hash"\nkeys = ["id"]\nparts = { train = 0.8, test = 0.2 }\n'
    )
    repository.commit("train", tmp_path / "train")
    view = repository.version("train@v2").split("fold/train")
    named = {"part": "train", "name": "fold", "definition": view.definition.to_document()}
    inputs = [
        runs.read(repository, "train@v2:fold/train", split=named),
        runs.read(repository, "train@v2:fold/test", "test", split={"part": "test", "name": "fold"}),
        runs.read(repository, "test@v1", "other"),
    ]
    trained(repository, model, inputs=inputs)
    report = audit(repository, "churn", rows=True)
    assert [found.name for found in report.inputs] == ["train@v2:fold/train", "train@v2:fold/test", "test@v1"]
    assert sum(found.rows or 0 for found in report.inputs) == 400
    assert [pair["overlap"] for pair in report.overlaps] == [None, False, False]
    assert "different splits" in report.overlaps[0]["reason"]


def test_training_data_that_are_test_data_too(repository: Repository, model: Path, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "train" / "part.parquet", tmp_path / "test" / "leak.parquet")
    repository.commit("test", tmp_path / "test")
    inputs = [
        runs.read(repository, "train@v1"),
        runs.read(repository, "test@v2", "test"),
        runs.read(repository, "train@v1", "again"),
    ]
    trained(repository, model, inputs=inputs)
    report = audit(repository, "churn")
    assert [pair["overlap"] for pair in report.overlaps] == [True, True, True]
    assert report.overlaps[0]["files"] == [["part.parquet", "leak.parquet"]]
    assert len([warning for warning in report.warnings if "share data" in warning]) == 3
    assert report.status == TRACED


def test_drift_since(repository: Repository, model: Path, tmp_path: Path) -> None:
    trained(repository, model)
    rows = table(0, 300)
    pq.write_table(rows.set_column(1, "x", pa.array([50.0] * 300)), tmp_path / "train" / "part.parquet")
    repository.commit("train", tmp_path / "train", stats=True)
    drift = {found["node"]: found for found in audit(repository, "churn").drift}
    assert (drift["train@v1"]["head"], drift["train@v1"]["behind"]) == ("train@v2", 1)
    assert drift["train@v1"]["drifted"] == ["x"]
    pq.write_table(rows.slice(0, 10), tmp_path / "train" / "part.parquet")
    repository.commit("train", tmp_path / "train")
    drift = {found["node"]: found for found in audit(repository, "churn").drift}
    assert drift["train@v1"]["drift"] is None
    assert "no statistics at hand" in drift["train@v1"]["reason"]


def test_a_record_or_a_part_that_is_damaged(repository: Repository, model: Path, tmp_path: Path) -> None:
    record = trained(repository, model, parts=[])
    report = audit(repository, "churn")
    assert [path for path, _ in report.broken] == [f"part {part_digest(PACKAGES)} of run:{record.run}"]
    session = repository.session
    place = session.index(session.state()).find(record.digest())
    assert place is not None
    pack = next((tmp_path / "repository" / "packs").rglob(place.pack.hex()))
    data = bytearray(pack.read_bytes())
    data[place.frame_offset + 2] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    report = audit(dataver.open(str(tmp_path / "repository")), "churn")
    assert report.exit_code == 5
    assert report.broken[0][0] == f"run:{record.run}"


def test_numbers_of_models_follow_the_record(repository: Repository, model: Path) -> None:
    first = runs.model("twin", {"a": b"1"})
    second = runs.model("twin", {"a": b"2"})
    record = trained(repository, model, models=[first, runs.model("other"), second])
    assert audit(repository, "twin@v1").recorded == first
    assert audit(repository, "twin@v2").recorded == second
    report = audit(repository, f"run:{record.run}")
    assert report.subject.model is None
    assert report.name == f"run:{record.run}"


def test_two_models_with_the_same_files(repository: Repository, model: Path) -> None:
    trained(repository, model)
    second = trained(repository, model)
    report = audit(repository, str(model))
    assert report.name == "model:churn@v1"
    assert "churn@v2" in report.warnings[0]
    write_link(model, link_document(second, repository.id, repository.url))
    assert audit(repository, str(model)).name == "model:churn@v2"


def test_the_page_says_it_all_and_has_no_sign_of_theirs(repository: Repository, model: Path) -> None:
    given: RunInput = runs.read(repository, "train@v1", HOSTILE)
    trained(
        repository, model, inputs=[given], name=HOSTILE, params={HOSTILE: HOSTILE}, reason=HOSTILE,
        command=(HOSTILE,), process=Process(host=HOSTILE), seeds={"python": 7}, metrics={"f1": 1.0},
        trackers=(Tracker("toy", "8", HOSTILE),),
    )  # fmt: skip
    report = audit(repository, "churn", verify=True)
    text = page(report)
    assert "<script" not in text
    assert "\x1b" not in text
    titles = [section.title for section in sections(report)]
    assert titles == [
        "MODEL", "RUN", "CODE", "ENV", "PARAMS", "METRICS", "DATA", "LINEAGE", "DRIFT", "EVIDENCE", "VERDICT",
    ]  # fmt: skip
