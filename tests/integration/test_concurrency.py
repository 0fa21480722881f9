"""Many processes on one repository: nobody loses anything, and who conflicts is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dataver.errors import ConflictError
from dataver.repository import init, open_repository

PROCESSES = 8

COMMIT = """
import sys
from dataver.errors import DataverError
from dataver.repository import open_repository

place, dataset, source, base = sys.argv[1:5]
try:
    done = open_repository(place).commit(dataset, source, base=base or None, add=not base)
    print(done.version, done.id, done.rebased_onto)
except DataverError as error:
    print("error", type(error).__name__, error.exit_code)
"""

TAG = """
import sys
from dataver.errors import DataverError
from dataver.repository import open_repository

try:
    print("done", open_repository(sys.argv[1]).tag(sys.argv[2], "paper").id)
except DataverError as error:
    print("error", type(error).__name__, error.exit_code)
"""


def together(program: str, calls: list[list[str]]) -> list[str]:
    """The output of one process a call, all at once."""
    children = [
        subprocess.Popen([sys.executable, "-c", program, *call], stdout=subprocess.PIPE, text=True)
        for call in calls
    ]
    outputs = [child.communicate(timeout=120)[0].strip() for child in children]
    assert all(child.returncode == 0 for child in children), outputs
    return outputs


def folder(path: Path, **files: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name).write_text(text)
    return path


@pytest.fixture
def place(tmp_path: Path) -> str:
    where = str(tmp_path / "repository")
    init(where)
    return where


def test_commits_of_other_files_are_all_in_one_line(place: str, tmp_path: Path) -> None:
    sources = [folder(tmp_path / f"s{n}", **{f"file{n}": f"of process {n}"}) for n in range(PROCESSES)]
    outputs = together(COMMIT, [[place, "d", str(source), ""] for source in sources])
    assert sorted(output.split()[0] for output in outputs) == [f"v{n}" for n in range(1, PROCESSES + 1)]
    repository = open_repository(place)
    versions = list(repository.log("d"))
    assert {version.id for version in versions} == {output.split()[1] for output in outputs}
    assert all(len(version.parents) == 1 for version in versions[:-1])
    assert {file.path for file in repository.version("d").files()} == {f"file{n}" for n in range(PROCESSES)}
    assert all(repository.version("d").read(f"file{n}") == b"of process %d" % n for n in range(PROCESSES))
    assert repository.verify(deep=True).ok


def test_commits_to_many_datasets_do_not_disturb_each_other(place: str, tmp_path: Path) -> None:
    source = folder(tmp_path / "s", a="a")
    outputs = together(COMMIT, [[place, f"set{n}", str(source), ""] for n in range(PROCESSES)])
    assert all(output.startswith("v1 ") for output in outputs)
    assert len(open_repository(place).datasets()) == PROCESSES


def test_of_commits_of_one_file_one_wins_and_the_others_are_told(place: str, tmp_path: Path) -> None:
    repository = open_repository(place)
    repository.commit("d", folder(tmp_path / "first", shared="before"))
    sources = [folder(tmp_path / f"s{n}", shared=f"by {n}") for n in range(PROCESSES)]
    outputs = together(COMMIT, [[place, "d", str(source), "d@v1"] for source in sources])
    winners = [number for number, output in enumerate(outputs) if not output.startswith("error")]
    assert len(winners) == 1
    assert all(output == "error ConflictError 4" for n, output in enumerate(outputs) if n not in winners)
    assert repository.version("d@v2").read("shared") == f"by {winners[0]}".encode()
    assert [info.version for info in repository.log("d")] == ["v2", "v1"]


def test_of_many_tags_of_one_name_one_wins(place: str, tmp_path: Path) -> None:
    repository = open_repository(place)
    for number in range(PROCESSES):
        repository.commit("d", folder(tmp_path / "s", number=str(number)))
    outputs = together(TAG, [[place, f"d@v{n + 1}"] for n in range(PROCESSES)])
    winners = [output.split()[1] for output in outputs if output.startswith("done")]
    assert len(winners) == 1
    assert [ref.id for ref in repository.refs("d") if ref.name == "paper"] == winners
    assert outputs.count("error AlreadyExistsError 4") == PROCESSES - 1


def test_an_overtaken_folder_brings_only_its_own_changes(place: str, tmp_path: Path) -> None:
    repository = open_repository(place)
    mine = folder(tmp_path / "mine", a="1", b="1", c="1")
    repository.commit("d", mine)
    theirs = tmp_path / "theirs"
    repository.checkout("d", theirs)
    (theirs / "b").write_text("theirs")
    (theirs / "c").unlink()
    overtaken_by = repository.commit("d", theirs)
    (mine / "a").write_text("mine")
    done = repository.commit("d", mine)
    assert done.rebased_onto == overtaken_by.id
    assert done.parents == [overtaken_by.id]
    assert (done.changed.modified, done.changed.added, done.changed.deleted) == (1, 0, 0)
    head = repository.version("d")
    assert {file.path for file in head.files()} == {"a", "b"}
    assert (head.read("a"), head.read("b")) == (b"mine", b"theirs")
    # And again: what the folder lacks of others is still not taken for its change.
    (mine / "new").write_text("more")
    assert repository.commit("d", mine).changed.added == 1
    assert repository.version("d").read("b") == b"theirs"


def test_an_overlap_is_a_conflict_that_names_both_sides(place: str, tmp_path: Path) -> None:
    repository = open_repository(place)
    mine = folder(tmp_path / "mine", a="1")
    first = repository.commit("d", mine)
    theirs = tmp_path / "theirs"
    repository.checkout("d", theirs)
    (theirs / "a").write_text("theirs")
    second = repository.commit("d", theirs)
    (mine / "a").write_text("mine")
    with pytest.raises(ConflictError) as caught:
        repository.commit("d", mine)
    assert caught.value.exit_code == 4
    assert all(word in str(caught.value) for word in (first.id, second.id, "a"))
    assert repository.show("d").id == second.id
    # The same change on both sides is none.
    (mine / "a").write_text("theirs")
    assert not repository.commit("d", mine).created


def test_a_file_and_a_folder_of_one_name_are_a_conflict(place: str, tmp_path: Path) -> None:
    repository = open_repository(place)
    mine = folder(tmp_path / "mine", keep="1")
    repository.commit("d", mine)
    theirs = tmp_path / "theirs"
    repository.checkout("d", theirs)
    folder(theirs / "x", inside="theirs")
    repository.commit("d", theirs)
    (mine / "x").write_text("a file")
    with pytest.raises(ConflictError):
        repository.commit("d", mine)


def test_the_program_ends_with_4_and_one_json_error(place: str, tmp_path: Path) -> None:
    repository = open_repository(place)
    mine = folder(tmp_path / "mine", a="1")
    repository.commit("d", mine)
    theirs = tmp_path / "theirs"
    repository.checkout("d", theirs)
    (theirs / "a").write_text("theirs")
    repository.commit("d", theirs)
    (mine / "a").write_text("mine")
    command = [sys.executable, "-m", "dataver.cli", "-R", place, "commit", "d", str(mine), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 4
    assert result.stdout == ""
    assert json.loads(result.stderr)["error"]["code"] == 4


def test_a_commit_that_dies_before_its_base_is_remembered_does_not_conflict_with_itself(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = open_repository(place)
    mine = folder(tmp_path / "mine", a="1")
    repository.commit("d", mine)
    (mine / "a").write_text("2")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dataver.commit.Committer._remember_base", die)
        with pytest.raises(KeyboardInterrupt):
            repository.commit("d", mine)
    assert repository.show("d").version == "v2"
    (mine / "a").write_text("3")
    done = repository.commit("d", mine)
    assert (done.version, done.rebased_onto) == ("v3", None)
