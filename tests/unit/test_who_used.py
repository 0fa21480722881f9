"""From a file, a chunk, a version or a digest to the runs and models that saw it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from blake3 import blake3

import dataver
from dataver.chunking import ChunkerParameters
from dataver.errors import BadInputError, PathNotFoundError, RefNotFoundError
from dataver.lineage.who_used import HAD_ACCESS, MADE_IT, READ_IT, WhoUsed, who_used
from dataver.reading import file_rows
from dataver.repository import Repository
from tests import runs
from tests.repositories import memory_repository
from tests.worlds import noise

A, B, LARGE = b"a\n1\n", b"b\n2\n", noise("large", 200_000)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """iris@v1 has a.csv, v2 b.csv as well, v3 large.bin of several chunks as well."""
    made = memory_repository(ChunkerParameters(min_bytes=4096, average_bytes=16384, max_bytes=65536))
    folder = tmp_path / "data"
    folder.mkdir()
    for name, data in (("a.csv", A), ("b.csv", B), ("large.bin", LARGE)):
        (folder / name).write_bytes(data)
        made.commit("iris", folder, message=name)
    return made


def answers(found: WhoUsed) -> set[tuple[str, str, str]]:
    return {(use.run, use.how, use.version) for use in found.uses}


def digest(data: bytes) -> str:
    return blake3(data).hexdigest()


def test_a_version_its_id_its_tree_and_a_part(repository: Repository) -> None:
    version = repository.version("iris@v2")
    whole = runs.record(repository, [runs.read(repository, "iris@v2")], [runs.model("churn")])
    split = runs.record(repository, [runs.read(repository, "iris@v2:t", "test", split={"part": "t"})])
    made = runs.record(repository, outputs=["iris@v2"])
    expected = {
        (whole.run, READ_IT, "iris@v2"),
        (split.run, READ_IT, "iris@v2:t"),
        (made.run, MADE_IT, "iris@v2"),
    }
    for text in ("iris@v2", version.id, version.tree):
        found = who_used(repository.session, text)
        assert answers(found) == expected
        assert found.models == ["model:churn@v1"]
        assert [held.node.id for held in found.versions] == ["iris@v2"]
    assert answers(who_used(repository.session, "iris@v2:t")) == {(split.run, READ_IT, "iris@v2:t")}
    assert answers(who_used(repository.session, "iris@v1")) == set()


def test_a_file_by_itself_by_its_place_and_by_its_digest(repository: Repository, tmp_path: Path) -> None:
    first = runs.record(repository, [runs.read(repository, "iris@v1")])
    second = runs.record(repository, [runs.read(repository, "iris@v2", whole=True)])
    copy = tmp_path / "copy"
    copy.write_bytes(A)
    for text in (str(copy), "iris@v1!a.csv", "file:iris@v3!a.csv", digest(A)):
        found = who_used(repository.session, text)
        assert found.digest == digest(A)
        assert [(held.node.id, held.paths) for held in found.versions] == [
            ("iris@v1", ("a.csv",)),
            ("iris@v2", ("a.csv",)),
            ("iris@v3", ("a.csv",)),
        ]
        assert answers(found) == {(first.run, HAD_ACCESS, "iris@v1"), (second.run, HAD_ACCESS, "iris@v2")}
    assert answers(who_used(repository.session, digest(B))) == {(second.run, HAD_ACCESS, "iris@v2")}
    repository.delete_dataset("iris")
    found = who_used(repository.session, digest(B))
    assert [held.node.state for held in found.versions] == ["deleted", "deleted"]
    assert {use.run for use in found.uses} == {second.run}


def test_a_run_that_listed_what_it_read_counts_only_for_that(repository: Repository) -> None:
    part, listed = runs.part_of_list([("b.csv", digest(B), 4, None)])
    given = runs.read(repository, "iris@v2", reads=(listed,))
    run = runs.record(repository, [given], parts=[part])
    assert answers(who_used(repository.session, digest(B))) == {(run.run, READ_IT, "iris@v2")}
    assert answers(who_used(repository.session, digest(A))) == set()


@pytest.mark.parametrize(("size_bytes", "how"), [(0, HAD_ACCESS), (1, READ_IT)])
def test_all_files_were_read_or_handed_out(repository: Repository, size_bytes: int, how: str) -> None:
    given = runs.read(repository, "iris@v2", whole=True, bytes_read=size_bytes)
    run = runs.record(repository, [given])
    assert answers(who_used(repository.session, digest(B))) == {(run.run, how, "iris@v2")}


def test_a_chunk_counts_where_its_bytes_were_read(repository: Repository) -> None:
    version = repository.version("iris@v3")
    rows = list(file_rows(version.entry("large.bin"), version.objects()))
    assert len(rows) > 3
    at, row = rows[1]
    chunk = row.digest.hex()

    def reading(ranges: object) -> str:
        part, listed = runs.part_of_list([("large.bin", digest(LARGE), len(LARGE), ranges)])
        return runs.record(repository, [runs.read(repository, "iris@v3", reads=(listed,))], parts=[part]).run

    inside, whole = reading([[0, 10], [at + 5, at + 6]]), reading(None)
    before, nothing = reading([[0, at]]), reading([])
    found = who_used(repository.session, chunk)
    assert [(held.node.id, held.paths) for held in found.versions] == [("iris@v3", ("large.bin",))]
    assert {use.run for use in found.uses} == {inside, whole}
    everybody = who_used(repository.session, digest(LARGE))
    assert {use.run for use in everybody.uses} == {inside, whole, before}
    assert nothing not in {use.run for use in everybody.uses}


def test_a_list_that_cannot_be_read_is_said(repository: Repository) -> None:
    part = b'["a.csv", "' + digest(A).encode() + b'"\n'
    from dataver.format.run_record import part_digest

    given = runs.read(repository, "iris@v1", reads=(str(part_digest(part)),))
    run = runs.record(repository, [given], parts=[part])
    found = who_used(repository.session, digest(A))
    assert answers(found) == {(run.run, HAD_ACCESS, "iris@v1")}
    assert list(found.unread) == [f"part {part_digest(part)}"]


def test_a_file_of_a_model_and_its_tree_lead_to_who_made_it(repository: Repository) -> None:
    model = runs.model("churn", {"m.bin": b"weights"})
    run = runs.record(repository, [], [model])
    for text in (digest(b"weights"), model.tree):
        found = who_used(repository.session, text)
        assert [(use.run, use.how, use.models) for use in found.uses] == [
            (run.run, MADE_IT, ("model:churn@v1",))
        ]


def test_a_version_of_another_repository_that_runs_here_read(repository: Repository) -> None:
    far = replace(runs.read(repository, "iris@v1"), version="ab" * 32, dataset="far", repository="cd" * 16)
    run = runs.record(repository, [far])
    found = who_used(repository.session, "ab" * 32)
    assert [use.run for use in found.uses] == [run.run]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("ef" * 32, RefNotFoundError),
        ("nothing", RefNotFoundError),
        ("iris@v1!none", PathNotFoundError),
        ("iris@v1!", BadInputError),
        ("model:m@v1", BadInputError),
    ],
)
def test_what_is_no_data_here(repository: Repository, text: str, error: type[Exception]) -> None:
    runs.record(repository, [], [runs.model("m")])
    with pytest.raises(error):
        who_used(repository.session, text)


def test_damage_is_told_and_the_rest_is_found(tmp_path: Path) -> None:
    repository = dataver.init(str(tmp_path / "repository"))
    (tmp_path / "a.csv").write_bytes(A)
    repository.commit("a", tmp_path / "a.csv")
    run = runs.record(repository, [runs.read(repository, "a")])
    state = repository.session.state()
    from dataver.lineage.records import find_run

    record = find_run(state, run.run).record
    place = repository.session.objects(state).index.find(record)
    assert place is not None
    pack = next((tmp_path / "repository" / "packs").rglob(place.pack.hex()))
    data = bytearray(pack.read_bytes())
    data[place.frame_offset + 3] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    found = who_used(dataver.open(str(tmp_path / "repository")).session, "a")
    assert {use.run for use in found.uses} == {run.run}
    assert list(found.unread) == [f"run:{run.run}"]
