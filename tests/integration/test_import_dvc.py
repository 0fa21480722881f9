"""Outputs of DVC that come, change, move and go: a tag of git names what its commit has, and nothing else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import dataver
from dataver.integrations.importing.from_dvc import Asked, import_dvc
from dataver.repository import Repository
from tests.integration.test_import_hostile import Hostile

PATHS = ("a", "b", "c")


def change(outputs: dict[str, str], at_random: random.Random) -> None:
    """Put, move or remove an output. Few bytes are known, so that they come again."""
    what = at_random.choice(["put", "put", "move", "move", "remove"])
    if what == "put" or not outputs:
        outputs[at_random.choice(PATHS)] = at_random.choice("xyz")
        return
    old = at_random.choice(sorted(outputs))
    free = [path for path in PATHS if path not in outputs]
    if what == "remove":
        del outputs[old]
    elif free:
        outputs[at_random.choice(free)] = outputs.pop(old)


def commit(project: Hostile, outputs: dict[str, str], tag: str) -> None:
    for path in PATHS:
        (project.folder / f"{path}.dvc").unlink(missing_ok=True)
    for path, data in outputs.items():
        project.output(f"{path}.dvc", path, project.keep(data.encode()))
    (project.folder / "number").write_text(tag)
    project.commit()
    project.git("tag", tag)


def tagged(repository: Repository) -> dict[str, list[tuple[str, str]]]:
    """Path and bytes of what each tag names, in all datasets."""
    found: dict[str, list[tuple[str, str]]] = {}
    for dataset in repository.datasets():
        for ref in repository.refs(dataset.name):
            if ref.kind == "tag":
                version = repository.version(f"{dataset.name}@{ref.name}")
                files = [(file.path, version.read(file.path).decode()) for file in version.files()]
                found.setdefault(ref.name, []).extend(files)
    return {tag: sorted(files) for tag, files in found.items()}


@pytest.mark.parametrize("seed", range(4))
def test_each_commit_has_what_it_had_imported_at_once_or_as_it_grew(tmp_path: Path, seed: int) -> None:
    at_random = random.Random(seed)
    project = Hostile(tmp_path / "project")
    once, often = (dataver.init(str(tmp_path / name)) for name in ("once", "often"))
    outputs: dict[str, str] = {"a": "x"}
    expected: dict[str, list[tuple[str, str]]] = {}
    for number in range(8):
        commit(project, outputs, f"t{number}")
        if outputs:
            expected[f"t{number}"] = sorted(outputs.items())
        if at_random.random() < 0.5:
            import_dvc(often, Asked(str(project.folder)))
        for _ in range(at_random.choice([1, 1, 2])):
            change(outputs, at_random)
    for repository in (once, often):
        import_dvc(repository, Asked(str(project.folder)))
        assert tagged(repository) == expected
        assert import_dvc(repository, Asked(str(project.folder))).versions == []


def test_what_a_branch_has_is_imported_once_also_where_main_gets_the_same_path(
    tmp_path: Path,
) -> None:
    project = Hostile(tmp_path / "project")
    repository = dataver.init(str(tmp_path / "repository"))
    for number, outputs in enumerate(({"a": "x"}, {"b": "x"}, {"a": "x"})):
        commit(project, outputs, f"t{number}")
    project.git("checkout", "-q", "-b", "side")
    commit(project, {"a": "x", "b": "side"}, "side-tag")
    project.git("checkout", "-q", "main")
    asked = Asked(str(project.folder), every=True)
    assert [(made.dataset, made.branch) for made in import_dvc(repository, asked).versions] == [
        ("a", "main"), ("a", "main"), ("a", "main"), ("a", "side"),
    ]  # fmt: skip
    commit(project, {"a": "x", "b": "main"}, "t3")
    assert [(made.dataset, made.branch) for made in import_dvc(repository, asked).versions] == [("b", "main")]
    assert tagged(repository)["side-tag"] == [("b", "side")]
