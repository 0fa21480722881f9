"""What the page about importing shows of DVC, on a project of real DVC."""

from __future__ import annotations

from pathlib import Path

from tests.dvc.conftest import Project
from tests.integration.test_docs import run, section


def test_commands_do_what_the_page_shows(project: Project, tmp_path: Path) -> None:
    project.write("data/raw.csv", b"1,2\n3,4\n")
    project.write("images/a.png", b"12345")
    project.write("images/b.png", b"67890")
    project.dvc("add", "data/raw.csv", "images")
    project.commit("the first rows", tag="paper")
    project.write("data/raw.csv", b"1,2\n3,4\n5,6\n")
    project.write("images/c.png", b"abcde")
    project.dvc("add", "data/raw.csv", "images")
    project.commit("more rows")
    project.dvc("move", "data/raw.csv", "rows.csv")
    project.commit("a better place", tag="release/1")
    folder, ids = tmp_path / "here", dict[str, str]()
    folder.mkdir()
    found = section("howto/import.md", "DVC")
    assert len(found) == 5
    for step in found:
        wrong = run(step, folder, ids)
        assert wrong is None, wrong
