"""Commits and checkouts whose columns do not stay in memory: the same versions, files and answers."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dataver.repository import Repository, init
from tests.worlds import noise


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Small files, some that are equal, one of several chunks, folders, links and odd names."""
    source = tmp_path / "source"
    for number in range(300):
        file = source / f"folder {number % 7}" / f"{number:03}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(noise(f"{number % 250}", 10 + number))
    (source / "large").write_bytes(noise("large", 3_000_000))
    (source / "middle").write_bytes(noise("middle", 150_000))
    (source / "été\n").write_text("odd\n")
    (source / "empty").mkdir()
    (source / "link").symlink_to("large")
    (source / "folder 1" / "001").chmod(0o755)
    for path in source.rglob("*"):
        os.utime(path, ns=(10**18 + 5, 10**18 + 5), follow_symlinks=False)
    return source


@pytest.fixture(params=["memory", "a file", "a file, a block at a time", "no room"])
def columns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where columns go on past some bytes, and segments are sorted in parts."""
    if request.param != "memory":
        monkeypatch.setattr("dataver.column.HELD_BYTES_MAX", 1_000)
        monkeypatch.setattr("dataver.stat_file.HELD_BYTES_MAX", 1_000)
        monkeypatch.setattr("dataver.segments.SORTED_TOGETHER", 50)
    if request.param == "a file, a block at a time":
        monkeypatch.setattr("dataver.column.BLOCK_BYTES", 64)
    if request.param == "no room":
        monkeypatch.setattr("dataver.column._nameless", lambda: None)
    return str(request.param)


def change(source: Path) -> None:
    """An edit of each kind."""
    (source / "folder 0" / "007").write_text("changed\n")
    (source / "folder 2" / "002").unlink()
    shutil.move(source / "folder 3", source / "moved")
    (source / "new").write_text("new\n")
    (source / "folder 1" / "001").chmod(0o644)


def differences(a: Path, b: Path) -> list[str]:
    """The paths at which two folders differ."""

    def all_of(folder: Path) -> dict[str, tuple[bytes, bool]]:
        return {
            os.path.relpath(path, folder): (
                os.readlink(path).encode() if path.is_symlink() else path.read_bytes(),
                not path.is_symlink() and os.access(path, os.X_OK),
            )
            for path in folder.rglob("*")
            if path.is_symlink() or path.is_file()
        }

    one, other = all_of(a), all_of(b)
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


def commit(repository: Repository, source: Path) -> tuple[str, int, int]:
    done = repository.commit("d", source)
    assert done.created
    return done.tree, done.files, done.new_bytes


def test_all_is_as_it_would_be_in_memory(tmp_path: Path, source: Path, columns: str) -> None:
    repository = init(tmp_path / "repository")
    before = tmp_path / "before"
    shutil.copytree(source, before, symlinks=True)
    forecast = repository.commit("d", source, dry_run=True)
    first = commit(repository, source)
    assert (forecast.files, forecast.new_bytes) == first[1:], columns
    assert not repository.status("d", source)
    assert not repository.commit("d", source).created
    assert repository.checkout("d@v1", tmp_path / "one").written_files == first[1]
    assert differences(before, tmp_path / "one") == []
    change(source)
    changes = repository.status("d", source)
    assert (changes.added, changes.modified, changes.deleted) == (
        ["new"],
        ["folder 0/007", "folder 1/001"],
        ["folder 2/002"],
    )
    second = commit(repository, source)
    assert not repository.status("d", source)
    done = repository.checkout("d@v2", tmp_path / "one")
    assert done.removed_files == 1 + len(changes.renamed)
    assert differences(source, tmp_path / "one") == []
    assert repository.checkout("d@v1", tmp_path / "one").written_files == 2 + len(changes.renamed)
    assert differences(before, tmp_path / "one") == []
    assert repository.verify(deep=True).ok
    assert repository.version("d@v2").read("new") == b"new\n"
    elsewhere = init(tmp_path / "elsewhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dataver.column.HELD_BYTES_MAX", 8 << 20)
        assert commit(elsewhere, before) == first
        assert commit(elsewhere, source)[:2] == second[:2]
