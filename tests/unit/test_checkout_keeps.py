"""What a checkout must not lose: files of the user's, and what it knows of its own."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dataver import folding, targets, writing
from dataver.errors import ConflictError, NotPermittedError, StoreError, WouldOverwriteError
from dataver.hashing import blake3_digest
from dataver.repository import Repository, init
from dataver.stat_cache import StatCache
from dataver.targets import Target, write_files_plainly
from dataver.writing import EntryWriter
from tests.permissions import permissions_hold_for_root
from tests.worlds import noise, read


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """`x@v1` of `train/a` and `test/b`; in `x@v2` the first is another, and `test/c` is there as well."""
    repository = init(tmp_path / "repository")
    source = tmp_path / "source"
    for name, text in [("train/a", "1\n"), ("test/b", "b\n")]:
        (source / name).parent.mkdir(parents=True)
        (source / name).write_text(text)
    repository.commit("x", source)
    (source / "train" / "a").write_text("two\n")
    (source / "test" / "c").write_text("c\n")
    repository.commit("x", source)
    return repository


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def test_a_filter_leaves_what_it_does_not_look_at(repository: Repository, target: Path) -> None:
    repository.checkout("x@v2", target)
    done = repository.checkout("x@v1", target, include=["train/**"])
    assert (done.written_files, done.removed_files) == (1, 0)
    assert (target / "train" / "a").read_text() == "1\n"
    assert (target / "test" / "c").read_text() == "c\n"
    assert repository.checkout("x@v1", target, include=["test/**"]).removed_files == 1
    assert not (target / "test" / "c").exists()


def test_an_executable_bit_is_the_users_where_the_user_changed_it(
    repository: Repository, target: Path, tmp_path: Path
) -> None:
    (tmp_path / "source" / "train" / "a").chmod(0o755)
    repository.commit("x", tmp_path / "source")
    repository.checkout("x@v2", target)
    changed = target / "train" / "a"
    repository.checkout("x@v3", target)
    assert changed.stat().st_mode & 0o111, "v3 differs from v2 in the bit, and nobody changed it here"
    changed.chmod(0o644)
    with pytest.raises(WouldOverwriteError, match="train/a"):
        repository.checkout("x@v3", target)
    assert not changed.stat().st_mode & 0o111
    assert repository.checkout("x@v2", target).written_files == 0
    changed.chmod(0o755)
    repository.checkout("x@v2", target, overwrite=True)
    assert not changed.stat().st_mode & 0o111


def test_what_could_not_be_removed_is_still_the_checkouts_own(repository: Repository, target: Path) -> None:
    repository.checkout("x@v2", target)
    (target / "test").chmod(0o500)
    try:
        with permissions_hold_for_root(), pytest.raises(NotPermittedError, match="test/c"):
            repository.checkout("x@v1", target)
    finally:
        (target / "test").chmod(0o700)
    assert (target / "test" / "c").exists()
    assert repository.checkout("x@v1", target).removed_files == 1
    assert not (target / "test" / "c").exists()
    assert repository.commit("x", target, base="x@v1").changed.deleted == 0


def test_a_file_that_differs_in_case_alone_is_not_replaced(
    repository: Repository, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (target / "train").mkdir(parents=True)
    (target / "train" / "A").write_text("mine\n")
    with monkeypatch.context() as folding:
        folding.setattr(Target, "folds_case", lambda _: True)
        with pytest.raises(WouldOverwriteError, match="train/a is one name on this file system with train/A"):
            repository.checkout("x@v1", target)
        assert [path.name for path in target.rglob("*") if path.is_file()] == ["A"]
        # An earlier spelling that goes away is in nobody's way.
        (target / "train" / "A").unlink()
        assert repository.checkout("x@v1", target).written_files == 2
        assert repository.checkout("x@v2", target).written_files == 2
    (target / "train" / "A").write_text("mine\n")
    assert repository.checkout("x@v1", target).written_files == 1


def test_a_repository_in_the_target_is_not_written_into(
    repository: Repository, target: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    (source / "store").mkdir()
    (source / "store" / "README").write_text("of the version\n")
    repository.commit("x", source)
    target.mkdir()
    init(target / "store")
    before = {path: path.read_bytes() for path in (target / "store").rglob("*") if path.is_file()}
    with pytest.raises(WouldOverwriteError, match="store is a repository, and store/README belongs there"):
        repository.checkout("x@v3", target, overwrite=True)
    assert repository.checkout("x@v2", target).written_files == 3
    assert repository.checkout("x@v3", target, exclude=["store/**"]).written_files == 0
    assert {path: path.read_bytes() for path in (target / "store").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("leads_to", ["folder", "link", "dangling link"])
def test_a_folder_that_holds_a_repository_alone_is_not_empty(
    repository: Repository, target: Path, tmp_path: Path, leads_to: str, overwrite: bool
) -> None:
    """`hollow`, which is an empty folder in `x@v3`, not there in `x@v4`, and a file in `x@v5`."""
    source = tmp_path / "source"
    (source / "hollow").mkdir()
    repository.commit("x", source)
    (source / "hollow").rmdir()
    repository.commit("x", source)
    (source / "hollow").write_text("a file\n")
    repository.commit("x", source)
    repository.checkout("x@v3", target)
    inner, outside = target / "hollow" / ".dataver", tmp_path / "outside"
    outside.mkdir()
    if leads_to == "folder":
        init(inner)
    else:
        inner.symlink_to(outside if leads_to == "link" else "nowhere")
    assert repository.checkout("x@v4", target, overwrite=overwrite).removed_files == 0
    assert os.path.lexists(inner)
    with pytest.raises(WouldOverwriteError, match=r"hollow.*Nothing was written"):
        repository.checkout("x@v5", target, overwrite=overwrite)
    assert os.path.lexists(inner)
    assert not list(outside.iterdir())
    assert repository.checkout("x@v3", target).written_files == 0


@pytest.mark.parametrize("place", ["", "train"])
@pytest.mark.parametrize("kind", ["folder", "link"])
def test_a_file_of_a_repositorys_name_replaces_none(
    repository: Repository, target: Path, tmp_path: Path, kind: str, place: str
) -> None:
    """A version may hold a file `.dataver`; nothing is written through a symlink of that name."""
    source, outside = tmp_path / "source", tmp_path / "outside"
    (source / place / ".dataver").write_text("a file\n")
    repository.commit("x", source)
    outside.mkdir()
    repository.checkout("x@v2", target)
    there = target / place / ".dataver"
    if kind == "folder":
        init(there)
    else:
        there.symlink_to(outside)
    assert repository.checkout("x@v1", target).removed_files == 1
    with pytest.raises(WouldOverwriteError, match=r"\.dataver.*Nothing was written"):
        repository.checkout("x@v3", target)
    assert (target / "train" / "a").read_text() == "1\n"
    assert there.is_symlink() == (kind == "link")
    if kind == "link":
        repository.checkout("x@v3", target, overwrite=True)
        assert there.read_text() == "a file\n"
    assert not list(outside.iterdir())


@pytest.fixture
def unfinished(repository: Repository, target: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The target, with what a checkout of `x@v2` on a full disk left of it."""

    def fails(*_: Any) -> None:
        raise OSError(28, "No space left on device", "test/b")

    with monkeypatch.context() as full:
        full.setattr(EntryWriter, "_write_files", fails)
        with pytest.raises(StoreError, match="free space"):
            repository.checkout("x@v2", target)
    return target


def test_a_checkout_that_did_not_end_makes_no_deletions(repository: Repository, unfinished: Path) -> None:
    with pytest.raises(ConflictError, match=r"checkout of x@\w+ into the source did not come to its end"):
        repository.commit("x", unfinished)
    assert repository.version("x").name == "x@v2"
    repository.checkout("x@v2", unfinished)
    (unfinished / "test" / "c").unlink()
    assert repository.commit("x", unfinished).changed.deleted == 1


def test_a_base_says_that_all_is_meant(repository: Repository, unfinished: Path) -> None:
    (unfinished / "new").write_text("new\n")
    assert repository.commit("x", unfinished, base="x@v2").changed.deleted == 3
    (unfinished / "newer").write_text("newer\n")
    assert repository.commit("x", unfinished).changed.added == 1


def test_what_a_killed_checkout_left_stays_the_users(
    repository: Repository, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be told from an equal file that the user put there."""
    with monkeypatch.context() as killed:
        killed.setattr(StatCache, "update_written", lambda *_: False)
        repository.checkout("x@v1", target)
    assert repository.checkout("x@v1", target).written_files == 0
    with pytest.raises(WouldOverwriteError, match="train/a"):
        repository.checkout("x@v2", target)
    assert (target / "train" / "a").read_text() == "1\n"
    assert repository.checkout("x@v2", target, overwrite=True).written_files == 2
    assert repository.checkout("x@v1", target).written_files == 1, "by now it is the checkout's own"


def test_an_edit_meanwhile_is_not_taken_for_the_versions_bytes(
    repository: Repository, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bit alone differs when it is looked at; when the bit is set, the bytes do as well."""
    repository.checkout("x@v1", target)
    (target / "test" / "b").chmod(0o755)
    with pytest.raises(WouldOverwriteError, match="test/b"):
        repository.checkout("x@v1", target)
    real = Target.set_executable

    def edited(self: Target, path: bytes, executable: bool) -> os.stat_result | None:
        (target / "test" / "b").write_text("B\n")
        found = real(self, path, executable)
        time.sleep(0.3)  # Longer than the grain by which a stamp is trusted.
        return found

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Target, "set_executable", edited)
        repository.checkout("x@v1", target, overwrite=True)
    assert repository.commit("x", target, dry_run=True).changed.modified == 1
    with pytest.raises(WouldOverwriteError, match="test/b"):
        repository.checkout("x@v1", target)
    assert (target / "test" / "b").read_text() == "B\n"


@pytest.mark.parametrize("name", ["train/a", "test/c", "large"])
def test_an_edit_while_a_checkout_runs_is_not_lost(
    repository: Repository, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What is to be replaced, or to go, is looked at once more right before."""
    source = tmp_path / "source"
    for version in range(2):
        (source / "large").write_bytes(noise(f"large {version}", 2_000_000))
        repository.commit("x", source)
    (source / "test" / "c").unlink()
    (source / "train" / "a").write_text("three\n")
    repository.commit("x", source)
    repository.checkout("x@v3", target)
    real = folding.check_folding

    def meanwhile(*arguments: Any) -> None:
        (target / name).write_text("mine\n")
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("dataver.checkout.check_folding", meanwhile)
        with pytest.raises(WouldOverwriteError, match=f"{name} was changed while the checkout ran"):
            repository.checkout("x@v5", target)
    assert (target / name).read_text() == "mine\n"
    if name == "test/c":
        repository.checkout("x@v5", target)
        assert (target / name).read_text() == "mine\n", "it is in nobody's way"
        return
    with pytest.raises(WouldOverwriteError, match=name):
        repository.checkout("x@v5", target)
    with monkeypatch.context() as patch:
        patch.setattr("dataver.checkout.check_folding", meanwhile)
        repository.checkout("x@v5", target, overwrite=True)
    assert (target / "large").read_bytes() == (source / "large").read_bytes()
    assert (target / "train" / "a").read_text() == "three\n"


@pytest.fixture
def various(repository: Repository, target: Path, tmp_path: Path) -> Path:
    """Of `x@v3`, of which `target` has all but `small`, `large`, `link` and `folder/file`: the source."""
    source = tmp_path / "source"
    (source / "folder").mkdir()
    (source / "folder" / "file").write_text("file\n")
    (source / "small").write_text("small\n")
    (source / "small").chmod(0o755)
    (source / "large").write_bytes(noise("large", 2_000_000))
    (source / "link").symlink_to("small")
    repository.commit("x", source)
    repository.checkout("x@v2", target)
    return source


def in_between(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Act when a checkout has looked at its target, and written nothing yet."""
    real = folding.check_folding

    def meanwhile(*arguments: Any) -> None:
        act()
        real(*arguments)

    monkeypatch.setattr("dataver.checkout.check_folding", meanwhile)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("name", ["small", "large", "link", "folder/file"])
def test_a_file_that_appears_while_a_checkout_runs_is_not_lost(
    repository: Repository,
    target: Path,
    various: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    compiled: bool,
) -> None:
    """Where there was none when the checkout looked."""

    def appear() -> None:
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_text("mine\n")

    if not compiled:
        monkeypatch.setattr(targets, "native", None)
    with monkeypatch.context() as patch:
        in_between(patch, appear)
        with pytest.raises(WouldOverwriteError, match=f"^{name} came to be there while the checkout ran"):
            repository.checkout("x@v3", target)
    assert (target / name).read_text() == "mine\n"
    assert not list(target.rglob(".dataver*"))
    with pytest.raises(WouldOverwriteError, match=name):
        repository.checkout("x@v3", target)
    with monkeypatch.context() as patch:
        in_between(patch, appear)
        repository.checkout("x@v3", target, overwrite=True)
    assert read(target) == read(various)


@pytest.mark.parametrize("name", ["small", "large", "link", "folder/file"])
def test_the_right_file_may_appear_while_a_checkout_runs(
    repository: Repository, target: Path, various: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As by another checkout of the same version: it stays, and is not this checkout's own."""

    def appear() -> None:
        (target / name).parent.mkdir(exist_ok=True)
        shutil.copy2(various / name, target / name, follow_symlinks=False)

    with monkeypatch.context() as patch:
        in_between(patch, appear)
        repository.checkout("x@v3", target)
    assert read(target) == read(various)
    assert repository.checkout("x@v2", target).removed_files == 3
    assert [path.name for path in target.rglob("*") if path.name == name.rpartition("/")[2]], (
        "it is the user's"
    )


def test_checkouts_side_by_side_come_to_their_ends(
    repository: Repository, target: Path, various: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in target.iterdir():
        shutil.rmtree(path)
    together = threading.Barrier(2, timeout=10)
    with monkeypatch.context() as patch, ThreadPoolExecutor(2) as pool:
        in_between(patch, together.wait)
        for done in [pool.submit(repository.checkout, "x@v3", target) for _ in range(2)]:
            assert done.result().files == 7
    assert read(target) == read(various)
    assert repository.checkout("x@v2", target).removed_files == 4, "all are the checkouts' own"


def test_a_file_of_two_names_is_looked_at_before_it_is_replaced(
    repository: Repository, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the bit alone is to change, and cannot without that of the other name."""
    (tmp_path / "source" / "train" / "a").chmod(0o755)
    repository.commit("x", tmp_path / "source")
    repository.checkout("x@v2", target)
    os.link(target / "train" / "a", tmp_path / "other")
    with monkeypatch.context() as patch:
        in_between(patch, lambda: (target / "train" / "a").write_text("mine\n"))
        with pytest.raises(WouldOverwriteError, match="train/a was changed while the checkout ran"):
            repository.checkout("x@v3", target)
    assert (target / "train" / "a").read_text() == "mine\n"


def test_a_file_that_could_not_be_closed_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, closed = os.close, 0

    def close(fd: int) -> None:
        nonlocal closed
        real(fd)
        closed += 1
        if closed == 2:
            raise OSError(122, "Disk quota exceeded")

    files = [(name, False, blake3_digest(name), name) for name in (b"a", b"b", b"c")]
    folder = os.open(tmp_path, os.O_RDONLY)
    with monkeypatch.context() as patch:
        patch.setattr(os, "close", close)
        stamps, error = write_files_plainly(folder, b".part", files)
    os.close(folder)
    assert (len(stamps), error) == (1, 122)


def test_large_files_wait_for_their_turn_as_batches_do(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, few are handed to the threads at a time."""
    source = tmp_path / "many"
    source.mkdir()
    for number in range(40):
        (source / f"{number:02}").write_bytes(noise(f"{number}", 300_000))
    repository = init(tmp_path / "large")
    repository.commit("x", source)
    assert all(repository.version("x").entry(f"{number:02}").chunks for number in range(40))
    waiting = most = 0
    lock = threading.Lock()

    class Pool(ThreadPoolExecutor):
        def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            nonlocal waiting, most
            with lock:
                waiting += 1
                most = max(most, waiting)
            future = super().submit(function, *args, **kwargs)
            future.add_done_callback(self.ended)
            return future

        @staticmethod
        def ended(_: Future[Any]) -> None:
            nonlocal waiting
            with lock:
                waiting -= 1

    monkeypatch.setattr(writing, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(writing, "WAITING_MAX", 5)
    assert repository.checkout("x", target).written_files == 40
    assert 1 <= most <= 5
    assert all((target / path.name).read_bytes() == path.read_bytes() for path in source.iterdir())
