"""Files that do not hold still while a commit reads them, and buffers that are used again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from dataver import Repository, init
from dataver.errors import SourceChangedError, StoreError
from dataver.ingest import WINDOW_BYTES
from dataver.source import LocalSource
from dataver.source.base import Batch, SourceFile
from dataver.source.reading import LocalReader

LARGE_BYTES = 3 * WINDOW_BYTES + 12_345


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return init(tmp_path / "repository")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def before_batches(monkeypatch: pytest.MonkeyPatch, step: Callable[[], None]) -> None:
    """Have something happen between the listing and the reading of small files."""
    read = LocalSource.read_batch

    def read_batch(self: LocalSource, files: list[SourceFile], buffer: memoryview) -> Batch:
        step()
        return read(self, files, buffer)

    monkeypatch.setattr(LocalSource, "read_batch", read_batch)


@pytest.mark.parametrize("large_files", [0, 1, 3])
def test_a_small_file_that_goes_away_is_told_whatever_else_is_read(
    repository: Repository, folder: Path, monkeypatch: pytest.MonkeyPatch, large_files: int
) -> None:
    """Its neighbours may not be left out of the version with it."""
    for name in ("a", "aa"):
        (folder / name).write_text(name)
    for number in range(large_files):
        (folder / f"large-{number}").write_bytes(Random(number).randbytes(LARGE_BYTES))
    before_batches(monkeypatch, lambda: (folder / "a").unlink(missing_ok=True))
    with pytest.raises(SourceChangedError, match=r"\ba changed while it was read"):
        repository.commit("d", folder)
    assert repository.datasets() == []


class Growing:
    """A reader under whose hands a file is written to, so many times."""

    def __init__(self, path: Path, times: int) -> None:
        self.path, self.left = path, times

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        check = LocalReader.check

        def checked(reader: LocalReader) -> None:
            if self.left and os.fsdecode(reader.file.path) == self.path.name:
                self.left -= 1
                with self.path.open("ab") as file:
                    file.write(b"more")
            check(reader)

        monkeypatch.setattr(LocalReader, "check", checked)


@pytest.mark.parametrize("noise", [True, False])
def test_a_large_file_that_changes_is_read_again_and_again(
    repository: Repository, folder: Path, monkeypatch: pytest.MonkeyPatch, noise: bool
) -> None:
    """Each time with buffers that the reading before has given back."""
    monkeypatch.setattr("dataver.source.base.READ_PAUSES_S", [0] * 30)
    for name in ("first", "second"):
        data = Random(name).randbytes(LARGE_BYTES) if noise else (name * LARGE_BYTES)[:LARGE_BYTES].encode()
        (folder / name).write_bytes(data)
    Growing(folder / "first", 25).install(monkeypatch)
    done = repository.commit("d", folder, jobs=1)
    assert done.files == 2
    version = repository.version("d")
    for name in ("first", "second"):
        assert version.read(name) == (folder / name).read_bytes()
    assert (folder / "first").stat().st_size == LARGE_BYTES + 100


def test_a_large_file_that_never_holds_still_is_told(
    repository: Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "large").write_bytes(bytes(LARGE_BYTES))
    Growing(folder / "large", 1_000).install(monkeypatch)
    with pytest.raises(SourceChangedError, match="large changed while it was read"):
        repository.commit("d", folder)


def test_a_pack_that_cannot_be_written_ends_the_commit(
    repository: Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where reading waits for a buffer that the pack has."""
    (folder / "large").write_bytes(Random(1).randbytes(20 * WINDOW_BYTES))
    writes = 0

    def write(_upload: object, _data: object) -> None:
        nonlocal writes
        writes += 1
        raise StoreError("no space")

    monkeypatch.setattr("dataver.store.local.LocalUpload.write", write)
    with pytest.raises(StoreError, match="no space"):
        repository.commit("d", folder)
    assert writes == 1
