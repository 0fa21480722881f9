"""Where repositories and files are: as text, and as the path objects that Python has for it."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import fsspec
import pytest

import dataver
from dataver.errors import AlreadyExistsError, BadInputError


class Folder:
    """A path object that is not one of `pathlib`'s."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return str(self._path)


@pytest.mark.parametrize("kind", [str, Path, Folder])
def test_a_repository_is_named_by_any_path(tmp_path: Path, kind: type) -> None:
    here, there, source = (tmp_path / name for name in ("here", "there", "source"))
    source.mkdir()
    (source / "file").write_bytes(b"data")
    made = dataver.init(kind(here))
    with pytest.raises(AlreadyExistsError):
        dataver.init(kind(here))
    dataver.init(kind(there))
    repository = dataver.open(kind(here))
    assert repository.id == made.id == dataver.Repository(kind(here)).id
    repository.commit("iris", kind(source))
    assert not repository.status("iris", kind(source)).added
    repository.push(to=kind(there))
    assert dataver.open(kind(there)).pull(source=kind(here)).objects == 0
    iris = dataver.resolve("iris@v1", repo=kind(there))
    assert iris.read("file") == b"data"
    iris.checkout(kind(tmp_path / "out"))
    assert (tmp_path / "out" / "file").read_bytes() == b"data"
    assert fsspec.filesystem("dataver", repo=kind(here)).cat("iris@v1/file") == b"data"


def test_a_relative_path_object_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    repository = dataver.init(Path("here"))
    open_again, arguments = repository.__reduce__()
    monkeypatch.chdir("/")
    assert open_again(*arguments).id == repository.id


def test_nothing_is_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unset variable of a script must not mean the repository that happens to be near."""
    monkeypatch.chdir(tmp_path)
    dataver.init()
    with pytest.raises(BadInputError, match="is empty"):
        dataver.open("")
    with pytest.raises(BadInputError, match="is empty"):
        dataver.resolve("iris", repo="")
    with pytest.raises(BadInputError, match="is empty"):
        dataver.init("")
    with pytest.raises(BadInputError, match="is empty"):
        fsspec.filesystem("dataver", repo="")
    assert dataver.open().url.endswith(".dataver")


def test_a_path_object_within_a_version_says_what_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    repository = dataver.init(tmp_path / "repository")
    repository.commit("iris", tmp_path / "file")
    with pytest.raises(BadInputError, match=r"PurePosixPath\('file'\) is no text; a path in a version is"):
        repository.version("iris").read(PurePosixPath("file"))  # type: ignore[arg-type]
    assert repository.version("iris").read(os.fspath(PurePosixPath("file"))) == b"data"
