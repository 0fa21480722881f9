"""The bundle of an audit: what it proves, and that no byte of it can be changed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

import dataver
from dataver.errors import RefNotFoundError
from dataver.format.run_record import Code, Environment, part_digest
from dataver.lineage import bundle_check
from dataver.lineage.audit import audit
from dataver.lineage.bundle import bundle
from dataver.lineage.bundle_check import Bundle, BundleError, unzip, zip_bytes
from dataver.lineage.model_link import link_document, write_link
from dataver.repository import Repository
from tests import runs
from tests.repositories import memory_repository
from tests.worlds import noise

PATCH, PACKAGES = b"--- a\n+++ b\n", b"numpy==2.0\n"
FAILURES = (BundleError, *bundle_check.FAILURES)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """iris@v1 to iris@v3; v3 was read by the run that made churn@v1."""
    made = memory_repository()
    folder = tmp_path / "data"
    (folder / "sub" / "hollow").mkdir(parents=True)
    for number in range(3):
        (folder / f"{number}.csv").write_text(f"{number}\n" * 10)
        made.commit("iris", folder, message=str(number))
    (folder / "link").symlink_to("1.csv")
    made.commit("other", folder)
    part, listed = runs.part_of_list([("0.csv", "ab" * 32, 1, None)])
    code = Code("https://example.org/r.git", "c" * 40, dirty=True, patch=str(part_digest(PATCH)))
    runs.record(
        made,
        [runs.read(made, "iris@v3", reads=(listed,)), runs.read(made, "other", "test")],
        [runs.model("churn", {"m.bin": b"1"})],
        parts=[part, PATCH, PACKAGES],
        code=code,
        environment=Environment("3.11", packages=str(part_digest(PACKAGES))),
        params={"lr": 0.1},
    )
    return made


@pytest.fixture
def data(repository: Repository) -> bytes:
    return bundle(audit(repository, "churn"))


def holds(data: bytes) -> bool:
    try:
        Bundle(unzip(data))
    except FAILURES:
        return False
    return True


def test_a_bundle_holds_and_is_the_same_each_time(repository: Repository, data: bytes) -> None:
    assert holds(data)
    again = dataver.open(repository.url)
    assert bundle(audit(again, "churn")) == data
    with zipfile.ZipFile(BytesIO(data)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names == sorted(names)
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        index = json.loads(archive.read("bundle.json"))
    names_of = {facts["name"]: facts["complete"] for facts in index["versions"].values()}
    assert names_of == {"iris@v3": True, "other@v1": True, "iris@v2": False, "iris@v1": False}


def test_no_byte_of_it_can_be_changed(data: bytes) -> None:
    survivors = []
    large: set[int] = set()
    for name in ("audit.html", "verify.py"):
        start = data.index(unzip(data)[name])
        large.update(at for at in range(start, start + len(unzip(data)[name])) if at % 29)
    assert len(large) < len(data) * 0.8
    for at in sorted(set(range(len(data))) - large):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        if holds(bytes(changed)):
            survivors.append(at)
    assert survivors == []
    assert not holds(data + b"\0")
    assert not holds(data[:-1])
    assert not holds(b"")


def sealed(members: dict[str, bytes]) -> dict[str, bytes]:
    """As somebody would do who changes a member and knows the form of a bundle."""
    index = json.loads(members["bundle.json"])
    index["members"] = {
        name: [len(data), blake3(data).hexdigest()]
        for name, data in members.items()
        if name not in ("bundle.json", "SEAL")
    }
    members["bundle.json"] = json.dumps(index).encode()
    members["SEAL"] = blake3(members["bundle.json"]).hexdigest().encode() + b"\n"
    return members


def test_records_trees_and_log_cannot_be_changed_under_a_new_seal(data: bytes) -> None:
    members = unzip(data)
    Bundle(sealed(dict(members)))
    proven = [
        name for name in members if name.split("/")[0] in ("runs", "parts", "versions", "trees", "logs")
    ]
    assert len(proven) == 2 + 3 + 4 + 2 + 3
    for name in proven:
        for at in range(len(members[name])):
            changed = bytearray(members[name])
            changed[at] ^= 1
            with pytest.raises(FAILURES):
                Bundle(sealed(members | {name: bytes(changed)}))
        without = dict(members)
        del without[name]
        with pytest.raises(FAILURES):
            Bundle(sealed(without))


Edit = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "edit",
    [
        lambda index: index["run"].update(id="12" * 16),
        lambda index: index["run"].update(end=index["run"]["start"]),
        lambda index: index["run"].update(end=None),
        lambda index: index["run"].update(start=index["run"]["end"]),
        lambda index: index["model"].update(name="other"),
        lambda index: index["model"].update(number=2),
        lambda index: index["model"].update(tree="12" * 32),
        lambda index: index["model"].update(record=index["run"]["start"]),
        lambda index: [facts.update(tree="12" * 32) for facts in index["versions"].values()],
        lambda index: [facts.update(files=7) for facts in index["versions"].values()],
        lambda index: [facts.update(bytes=7) for facts in index["versions"].values()],
        lambda index: [facts.update(name="iris@v9") for facts in index["versions"].values()],
        lambda index: [facts.update(name="none@v1") for facts in index["versions"].values()],
        lambda index: [facts.update(dataset="12" * 16) for facts in index["versions"].values()],
        lambda index: [facts.update(complete=False) for facts in index["versions"].values()],
        lambda index: index["versions"].clear(),
        lambda index: index.update(format="another"),
        lambda index: index.update(logs=[]),
    ],
)
def test_what_the_index_says_is_proven_by_the_log(data: bytes, edit: Edit) -> None:
    members = unzip(data)
    index = json.loads(members["bundle.json"])
    edit(index)
    with pytest.raises(FAILURES):
        Bundle(sealed(members | {"bundle.json": json.dumps(index).encode()}))


@pytest.mark.parametrize(
    "edit",
    [
        lambda report: report["data"].pop(),
        lambda report: report["data"][0].update(tree="12" * 32),
        lambda report: report["run"].update(id="12" * 16),
        lambda report: report["run"].update(author="Eve"),
        lambda report: report["params"].update(lr=0.2),
        lambda report: report["code"].update(commit="d" * 40),
        lambda report: report["model"].update(tree="12" * 32),
    ],
)
def test_the_report_is_that_of_the_record(data: bytes, edit: Edit) -> None:
    members = unzip(data)
    report = json.loads(members["audit.json"])
    edit(report)
    with pytest.raises(BundleError, match=r"audit\.json"):
        Bundle(sealed(members | {"audit.json": json.dumps(report).encode()}))


def test_one_file_is_proven(data: bytes, repository: Repository, tmp_path: Path) -> None:
    found = Bundle(unzip(data))
    local = str(tmp_path / "data" / "1.csv")
    digest = blake3(Path(local).read_bytes()).hexdigest()
    id = repository.version("iris@v3").id
    assert found.file("1.csv", "iris@v3", local) == digest
    assert found.file("1.csv", id, local) == found.file("1.csv", id[:8], local) == digest
    for path, version, place in (
        ("0.csv", "iris@v3", local),
        ("none.csv", "iris@v3", local),
        ("1.csv", "iris@v2", local),
        ("1.csv", "iris@v9", local),
        ("1.csv", id[:7], local),
    ):
        with pytest.raises(BundleError):
            found.file(path, version, place)


def test_the_way_through_the_state_is_proven_after_a_checkpoint(tmp_path: Path) -> None:
    repository = memory_repository()
    (tmp_path / "a.csv").write_text("a\n")
    repository.commit("iris", tmp_path / "a.csv")
    given = runs.read(repository, "iris@v1")
    runs.record(repository, [given], [runs.model("churn", {"m.bin": b"1"})])
    for _ in range(58):
        runs.record(repository, [given])
    # More keys than one node of the state can have, soon before the checkpoint.
    runs.record(repository, [given], [runs.model(f"m{number}") for number in range(1000)])
    for _ in range(4):
        runs.record(repository, [given])
    repository.rename("iris", "flowers")
    data = bundle(audit(repository, "churn"))
    members = unzip(data)
    found = Bundle(members)
    [log] = found.logs.values()
    assert log.newest.number > 64
    assert log.newest.root is not None
    assert len(log.state.nodes) > 1
    assert {facts["name"] for facts in found.index["versions"].values()} == {"flowers@v1"}
    state = next(name for name in members if name.endswith("/state"))
    step = len(members[state]) // 60
    for at in range(0, len(members[state]), step):
        changed = bytearray(members[state])
        changed[at] ^= 1
        with pytest.raises(FAILURES):
            Bundle(sealed(members | {state: bytes(changed)}))


def test_many_files_are_a_tree_of_several_nodes(tmp_path: Path) -> None:
    repository = memory_repository()
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(3000):
        (folder / f"{number:05d}.bin").write_bytes(noise(number, 10))
    repository.commit("many", folder)
    runs.record(repository, [runs.read(repository, "many@v1")], [runs.model("churn")])
    found = Bundle(unzip(bundle(audit(repository, "churn"))))
    [tree] = found.trees.values()
    assert len(tree.nodes) > 2
    assert found.file("02999.bin", "many@v1", str(folder / "02999.bin"))
    report = "\n".join(bundle_check.report(found))
    assert "3000 files, 30000 bytes" in report


def test_data_of_another_repository_are_proven_by_its_log(tmp_path: Path) -> None:
    there, here = memory_repository(), memory_repository()
    (tmp_path / "a.csv").write_text("a\n")
    there.commit("iris", tmp_path / "a.csv")
    runs.record(here, [runs.read(there, "iris@v1")], [runs.model("churn")])
    found = Bundle(unzip(bundle(audit(here, "churn"))))
    assert set(found.logs) == {here.id, there.id}


def test_what_cannot_be_proven_is_not_bundled(repository: Repository, tmp_path: Path) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(b"of nobody")
    with pytest.raises(RefNotFoundError):
        bundle(audit(repository, "none"))
    run = runs.record(repository, [runs.read(repository, "iris@v3", version="ab" * 32)])
    with pytest.raises(RefNotFoundError, match="at hand"):
        bundle(audit(repository, f"run:{run.run}"))
    write_link(model, link_document(run, repository.id, repository.url) | {"run": "12" * 16})
    with pytest.raises(RefNotFoundError):
        bundle(audit(repository, str(model)))


def test_the_one_form_of_a_zip_file() -> None:
    assert unzip(zip_bytes({})) == {}
    members = {"b": b"", "a/c": b"x" * 1000}
    assert unzip(zip_bytes(members)) == members
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", b"1")
    with pytest.raises(FAILURES):
        unzip(buffer.getvalue())


def test_the_script_says_what_came_of_it(
    data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "b.zip"
    place.write_bytes(data)
    local = str(tmp_path / "data" / "1.csv")
    assert bundle_check.main([str(place), "--file", "1.csv", "iris@v3", local]) == 0
    assert capsys.readouterr().out.endswith("OK\n")
    assert bundle_check.main([str(place), "--file", "0.csv", "iris@v3", local]) == 1
    assert "FAILED" in capsys.readouterr().out
    assert bundle_check.main([str(tmp_path / "none.zip")]) == 1
    place.write_bytes(b"PK")
    assert bundle_check.main([str(place)]) == 1
    with pytest.raises(SystemExit) as error:
        bundle_check.main(["--none"])
    assert error.value.code == 2
