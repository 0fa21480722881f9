"""A checkout into a folder in which something may not be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dataver.errors import NotPermittedError, WouldOverwriteError
from dataver.repository import Repository, init
from dataver.tree.files import FileColumns
from dataver.tree.manifest import Entry
from tests.permissions import permissions_hold_for_root


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """`x@v1` of `a` and `sub/b`; `x@v2` lacks `sub/b`."""
    repository = init(tmp_path / "repository")
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a").write_text("a\n")
    (source / "sub" / "b").write_text("b\n")
    repository.commit("x", source)
    (source / "sub" / "b").unlink()
    (source / "sub").rmdir()
    repository.commit("x", source)
    return repository


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


@contextmanager
def closed(folder: Path, mode: int = 0) -> Iterator[None]:
    """A folder that may not be read meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(mode)
    try:
        with permissions_hold_for_root():
            yield
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize("mode", [0o000, 0o400, 0o100])
def test_a_closed_folder_of_somebody_elses_is_passed_over(
    mode: int, repository: Repository, target: Path
) -> None:
    (target / "private").mkdir(parents=True)
    (target / "private" / "theirs").write_text("theirs\n")
    with closed(target / "private", mode):
        assert repository.checkout("x@v1", target).written_files == 2
        assert repository.checkout("x@v1", target).written_files == 0
        assert repository.checkout("x@v2", target).removed_files == 1
    assert (target / "a").read_text() == "a\n"
    assert not (target / "sub").exists()
    assert (target / "private" / "theirs").read_text() == "theirs\n"


def test_a_closed_folder_beside_files_of_the_version_is_passed_over(
    repository: Repository, target: Path
) -> None:
    with closed(target / "sub" / "private"):
        repository.checkout("x@v1", target)
        repository.checkout("x@v2", target)
    assert (target / "sub" / "private").is_dir()
    assert not (target / "sub" / "b").exists()


def test_a_closed_folder_where_files_of_the_version_belong_is_named(
    repository: Repository, target: Path
) -> None:
    with closed(target / "sub"):
        with pytest.raises(
            NotPermittedError, match=r"target/sub cannot be read.*sub/b belongs there"
        ) as caught:
            repository.checkout("x@v1", target)
        assert ".dataverignore" not in str(caught.value)
        assert not (target / "a").exists()
        repository.checkout("x@v1", target, exclude=["sub/*"])  # as the message says
    assert (target / "a").exists()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("inner", ["", "deeper"])
def test_a_closed_folder_in_the_place_of_a_file_stays(
    inner: str, overwrite: bool, repository: Repository, target: Path
) -> None:
    with closed(target / "a" / inner):
        with pytest.raises(WouldOverwriteError, match="Nothing was written"):
            repository.checkout("x@v1", target, overwrite=overwrite)
        assert not (target / "sub").exists()
    assert (target / "a" / inner).is_dir()


def test_what_an_earlier_checkout_wrote_in_a_closed_folder_is_not_forgotten(
    repository: Repository, target: Path
) -> None:
    repository.checkout("x@v1", target)
    with (
        closed(target / "sub"),
        pytest.raises(NotPermittedError, match=r"An earlier checkout wrote sub/b there"),
    ):
        repository.checkout("x@v2", target)
    repository.checkout("x@v2", target)
    assert not (target / "sub").exists()


def test_a_target_that_may_not_be_read_is_named(repository: Repository, target: Path) -> None:
    with (
        closed(target),
        pytest.raises(NotPermittedError, match=r"/target cannot be read.*name another target"),
    ):
        repository.checkout("x@v1", target)


def test_an_empty_folder_of_the_version_that_is_closed_is_named(
    repository: Repository, target: Path, tmp_path: Path
) -> None:
    (tmp_path / "source" / "hollow").mkdir()
    repository.commit("x", tmp_path / "source")
    with closed(target / "hollow"), pytest.raises(NotPermittedError, match="hollow belongs there"):
        repository.checkout("x@v3", target)


def test_many_folders_that_are_passed_over_cost_no_pass_over_all_files_each(
    repository: Repository, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = 0
    real = FileColumns.__iter__

    def counted(self: FileColumns) -> Iterator[Entry]:
        nonlocal passes
        passes += 1
        return real(self)

    monkeypatch.setattr(FileColumns, "__iter__", counted)
    found = []
    for number in range(20):
        init(target / f"inner {number}" / ".dataver")
        with closed(target / f"private {number}"):
            passes = 0
            repository.checkout("x@v1", target)
            found.append(passes)
    assert len(set(found[1:])) == 1, "as many with two repositories as with twenty"


@pytest.mark.parametrize("around", [[], ["s", "sub!", "sub.csv"], ["sub-", "sub0", "t"], ["a/sub/x"]])
def test_a_closed_folder_is_found_among_its_neighbours(
    around: list[str], repository: Repository, target: Path, tmp_path: Path
) -> None:
    """Names that sort between a folder and what is in it."""
    source = tmp_path / "around"
    for name in around:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    source.mkdir(exist_ok=True)
    repository.commit("y", source, allow_empty=True)
    (source / "sub").mkdir()
    (source / "sub" / "b").write_text("b\n")
    repository.commit("y", source)
    with closed(target / "sub"):
        assert repository.checkout("y@v1", target).files == len(around)
        with pytest.raises(NotPermittedError, match="sub/b belongs there"):
            repository.checkout("y@v2", target)
