"""The local store's system calls: their failures, and what is left after them."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.errors import (
    BadInputError,
    DamagedError,
    NotPermittedError,
    ObjectMissingError,
    StoreError,
    UnsafeStoreError,
)
from dataver.store import open_store, posix
from dataver.store.local import LocalStore
from dataver.testing.store_contract import at_once


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "repository")


def files(folder: Path) -> set[str]:
    """All files below `folder`, temporary ones too."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


# Failures


class FailingOnce:
    """Raises `code` from one system call on paths that `pattern` is found in, the first time."""

    def __init__(self, patch: pytest.MonkeyPatch, name: str, pattern: str, code: int) -> None:
        self.calls: list[str] = []
        real = getattr(os, name)

        def call(*args: object) -> object:
            path = os.readlink(f"/proc/self/fd/{args[0]}") if isinstance(args[0], int) else str(args[-1])
            if re.search(pattern, path):
                self.calls.append(path)
                if len(self.calls) == 1:
                    raise OSError(code, os.strerror(code), path)
            return real(*args)

        patch.setattr(os, name, call)


@pytest.mark.parametrize("call", ["writev", "fsync", "link"])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.EIO, StoreError),
        (errno.ENOSPC, StoreError),
        (errno.EDQUOT, StoreError),
        (errno.ESTALE, StoreError),
        (errno.EACCES, NotPermittedError),
        (errno.EROFS, NotPermittedError),
    ],
)
def test_a_failed_write_leaves_nothing(
    store: LocalStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    code: int,
    expected: type[StoreError],
) -> None:
    store.put_new("log/0", b"")
    fault = FailingOnce(monkeypatch, call, "/log/1$" if call == "link" else "/.tmp-", code)
    with pytest.raises(expected, match=r"object log/1 of .*repository") as raised:
        store.put_new("log/1", b"entry")
    assert type(raised.value) is expected
    assert os.strerror(code) in str(raised.value)
    assert len(fault.calls) == 1, "a failed call is never repeated on the same file"
    assert files(tmp_path) == {"repository/log/0"}
    assert store.put_new("log/1", b"entry") is True
    assert store.get("log/1") == b"entry"


def test_a_folder_that_cannot_be_synced_ends_this_instances_barriers(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_new("log/0", b"")
    store.put_new("packs/aa/1", b"pack", barrier=False)
    FailingOnce(monkeypatch, "fsync", "packs/aa$", errno.EIO)
    with pytest.raises(StoreError, match="Input/output error"):
        store.put_new("log/1", b"entry")
    with pytest.raises(ObjectMissingError):
        store.get("log/1")
    # The next sync would succeed, but the kernel may have dropped the name: no entry may rely on it.
    with pytest.raises(StoreError, match="could not be made durable"):
        store.put_new("log/1", b"entry")
    assert LocalStore(store.url).put_new("log/1", b"entry") is True


def test_a_file_system_that_cannot_sync_folders_is_taken_as_it_is(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    FailingOnce(monkeypatch, "fsync", "/log$", errno.EINVAL)
    assert store.put_new("log/0", b"") is True


def test_a_full_disk_in_a_child_process(tmp_path: Path) -> None:
    """A file size limit is the one shortage that every system can be given without rights."""
    script = """
import resource, sys
from dataver.errors import StoreError
from dataver.store.local import LocalStore
store = LocalStore(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for data in (b"x" * 100_001, [b"x" * 60_000] * 2):
    try:
        store.put_new("packs/aa/1", data)
    except StoreError as error:
        print(error)
print(store.put_new("packs/aa/2", b"x" * 100_000), [info.key for info in store.list("")])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    first, second, last = done.stdout.splitlines()
    assert "packs/aa/1" in first
    assert "File too large; free space" in first
    assert first == second
    assert last == "True ['packs/aa/2']"
    assert files(tmp_path) == {"packs/aa/2"}


@pytest.fixture
def powerless(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Gives up the rights to `tmp_path` when called, also for root."""
    mode = stat.S_IMODE(tmp_path.stat().st_mode)
    user = os.geteuid()

    def give_up() -> None:
        tmp_path.chmod(0)
        if user == 0:
            os.seteuid(65534)

    yield give_up
    os.seteuid(user)
    tmp_path.chmod(mode)


def test_what_the_user_may_not_do(store: LocalStore, powerless: Callable[[], None]) -> None:
    store.put_new("log/0", b"")
    powerless()
    calls: list[Callable[[], object]] = [
        lambda: store.get("log/0"),
        lambda: store.put_new("log/1", b""),
        lambda: store.put_hint("log/HINT", b""),
        lambda: store.delete("log/0"),
        lambda: list(store.list("")),
    ]
    for call in calls:
        with pytest.raises(NotPermittedError, match="check its owner and permissions"):
            call()


# Without hard links


def no_links(patch: pytest.MonkeyPatch, code: int) -> None:
    def link(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    patch.setattr(os, "link", link)


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK])
def test_without_hard_links_a_rename_that_never_replaces(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    no_links(monkeypatch, code)
    assert store.put_new("log/0", b"first") is True
    assert store.put_new("log/0", b"second") is False
    assert store.get("log/0") == b"first"
    for number in range(10):
        created = at_once(lambda me, n=number: store.put_new(f"races/{n}", bytes([me])), 16)  # type: ignore[misc]
        assert sum(created) == 1
        assert store.get(f"races/{number}") == bytes([created.index(True)])
    assert len(files(tmp_path)) == 11


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS])
def test_without_either_nothing_is_written(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    class OldLibrary:
        def renameat2(self, *_: object) -> int:
            ctypes.set_errno(code)
            return -1

    no_links(monkeypatch, errno.EPERM)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: OldLibrary())
    with pytest.raises(UnsafeStoreError, match="neither hard links"):
        store.put_new("log/0", b"entry")
    with pytest.raises(UnsafeStoreError):
        open_store(tmp_path / "opened").put_new("log/0", b"entry")
    assert files(tmp_path) == set()


def test_a_c_library_without_the_call(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    no_links(monkeypatch, errno.EPERM)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    with pytest.raises(UnsafeStoreError):
        store.put_new("log/0", b"entry")


# Bytes


@given(st.lists(st.binary(max_size=60), max_size=50), st.lists(st.integers(1, 100), min_size=1))
def test_short_writes_lose_nothing(parts: list[bytes], steps: list[int]) -> None:
    real = os.writev
    turn = 0

    def writev(fd: int, views: list[memoryview]) -> int:
        nonlocal turn
        turn += 1
        return real(fd, [memoryview(b"".join(views))[: steps[turn % len(steps)]]])

    fd = os.memfd_create("test")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "writev", writev)
            patch.setattr(posix, "_IOV_MAX", 7)
            posix.write_all(fd, [memoryview(part) for part in parts if part])
        assert os.pread(fd, 10_000, 0) == b"".join(parts)
    finally:
        os.close(fd)


def test_huge_buffers_are_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posix, "_WRITE_BYTES_MAX", 10)
    fd = os.memfd_create("test")
    try:
        posix.write_all(fd, [memoryview(b"0123456789abcdefghijklmno"), memoryview(b"pq"), memoryview(b"rst")])
        assert os.pread(fd, 100, 0) == b"0123456789abcdefghijklmnopqrst"
    finally:
        os.close(fd)


def test_a_file_cut_short_is_damage_not_fewer_bytes(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_new("a", b"0123456789")
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n, at: real(fd, min(n, max(0, 5 - at)), at))
    for read in (
        lambda: store.get("a"),
        lambda: store.get_ranges("a", [(4, 2)]),
        lambda: store.get_suffix("a", 6),
    ):
        with pytest.raises(DamagedError, match="object a of"):
            read()
    assert store.get_ranges("a", [(0, 5)]) == [b"01234"]


def test_short_reads_are_continued(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put_new("a", b"0123456789")
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n, at: real(fd, min(n, 3), at))
    assert store.get("a") == b"0123456789"


# The folder


def test_objects_are_read_only_files(store: LocalStore, tmp_path: Path) -> None:
    store.put_new("log/0", b"")
    store.put_hint("log/HINT", b"1")
    store.put_hint("log/HINT", b"2")
    assert stat.S_IMODE((tmp_path / "repository/log/0").stat().st_mode) & 0o222 == 0


def test_temporary_files_are_not_listed_and_removed_when_old(store: LocalStore, tmp_path: Path) -> None:
    store.put_new("packs/aa/1", b"pack")
    old, new = tmp_path / "repository/packs/aa/.tmp-old", tmp_path / "repository/.tmp-new"
    old.write_bytes(b"12345")
    new.write_bytes(b"1")
    os.utime(old, (0, 0))
    assert [info.key for info in store.list("")] == ["packs/aa/1"]
    assert store.remove_leftovers(age_s_min=3600) == (1, 5)
    assert files(tmp_path / "repository") == {"packs/aa/1", ".tmp-new"}


def test_a_writer_whose_temporary_file_is_taken_away_publishes_nothing(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_new("log/0", b"")
    publish = posix.publish

    def late_publish(temporary: str, final: str) -> bool:
        assert store.remove_leftovers(age_s_min=-1)[0] == 1
        return publish(temporary, final)

    monkeypatch.setattr(posix, "publish", late_publish)
    with pytest.raises(StoreError, match="cannot write object log/1"):
        store.put_new("log/1", b"entry")
    assert [info.key for info in store.list("")] == ["log/0"]


def test_foreign_files_are_listed_as_they_are(store: LocalStore, tmp_path: Path) -> None:
    store.put_new("packs/aa/1", b"pack")
    (tmp_path / "repository/packs/notes of mine.txt").write_bytes(b"12")
    (tmp_path / "repository/packs/link").symlink_to("/etc")
    assert [(info.key, info.size_bytes) for info in store.list("packs/")] == [
        ("packs/aa/1", 4),
        ("packs/link", 4),
        ("packs/notes of mine.txt", 2),
    ]


def test_a_store_that_is_not_there_is_not_an_empty_one(store: LocalStore) -> None:
    for prefix in ("", "packs/", "packs/aa/x"):
        with pytest.raises(StoreError, match="cannot list"):
            list(store.list(prefix))
    with pytest.raises(ObjectMissingError):
        store.get("log/0")


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_new("packs/aa/1", b"pack")
    real = os.scandir
    for code, expected in (
        (errno.EIO, StoreError),
        (errno.EACCES, NotPermittedError),
        (errno.ENOENT, StoreError),
    ):

        def scandir(path: str, code: int = code) -> object:
            if path.endswith("/aa"):
                raise OSError(code, os.strerror(code))
            return real(path)

        monkeypatch.setattr(os, "scandir", scandir)
        with pytest.raises(expected):
            list(store.list("packs/"))


def test_folders_removed_while_the_store_is_open_are_made_again(store: LocalStore, tmp_path: Path) -> None:
    store.put_new("packs/aa/1", b"pack")
    os.unlink(tmp_path / "repository/packs/aa/1")
    os.rmdir(tmp_path / "repository/packs/aa")
    assert store.put_new("packs/aa/1", b"pack", barrier=False)
    assert store.put_new("log/0", b"entry")


def test_a_pipe_in_an_objects_place_does_not_block(store: LocalStore, tmp_path: Path) -> None:
    store.put_new("log/0", b"")
    os.mkfifo(tmp_path / "repository/log/1")
    with pytest.raises(ObjectMissingError):
        store.get("log/1")
    assert store.put_new("log/1", b"") is False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="a file system of Linux")
def test_a_place_where_no_folder_can_be_made() -> None:
    """mkdir answers there that the folder above is missing, however often one asks."""
    with pytest.raises(StoreError, match="No such file or directory"):
        LocalStore("/proc/no/such").put_new("index/a", b"x")


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = LocalStore(tmp_path / "file")
    with pytest.raises(ObjectMissingError):
        store.get("log/0")
    with pytest.raises(StoreError, match="Not a directory"):
        store.put_new("log/0", b"")


def test_the_url_is_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert LocalStore("here").url == str(tmp_path / "here")
    assert open_store(f"file://{tmp_path}/here/").url == str(tmp_path / "here")
    with pytest.raises(BadInputError):
        LocalStore("nul\0")
