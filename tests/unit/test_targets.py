"""Whole files written into a folder: the compiled part and Python give the same."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3

from dataver import targets
from dataver.config import cache_folder
from dataver.errors import NotPermittedError, StoreError, WouldOverwriteError
from dataver.native import native
from dataver.repository import init, open_repository
from dataver.source import LocalSource
from dataver.source.columns import to_file
from dataver.targets import (
    OTHER_DIGEST,
    OtherBytesError,
    Target,
    WholeFile,
    target_fault,
    write_files_plainly,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

Write = Callable[..., tuple[list[bytes], int]]

WRITERS: list[Write] = [write_files_plainly]
if native is not None:

    def write_named(
        folder: int, part: bytes, files: Sequence[tuple[bytes, bool, bytes, Buffer]]
    ) -> tuple[list[bytes], int]:
        """As on a file system where each file has a name from its beginning."""
        assert native is not None
        written: tuple[list[bytes], int] = native.write_files(folder, part, files, False)
        return written

    WRITERS += [native.write_files, write_named]


KEEPERS: list[Write] = [partial(write_files_plainly, replace=False)]
"""Those that replace nothing."""
if native is not None:
    for unnamed in (True, False):

        def keep(
            folder: int,
            part: bytes,
            files: Sequence[tuple[bytes, bool, bytes, Buffer]],
            unnamed: bool = unnamed,
        ) -> tuple[list[bytes], int]:
            assert native is not None
            written: tuple[list[bytes], int] = native.write_files(folder, part, files, unnamed, False)
            return written

        KEEPERS.append(keep)


def whole(name: bytes, data: bytes, *, executable: bool = False) -> tuple[bytes, bool, bytes, Buffer]:
    return name, executable, blake3(data).digest(), memoryview(data)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("write", WRITERS)
def test_files_and_their_stamps(tmp_path: Path, folder: int, write: Write) -> None:
    contents = {b"a": b"", "é".encode(): os.urandom(70_000), b"program": b"#!/bin/sh\n"}
    (tmp_path / "a").write_bytes(b"older")
    (tmp_path / "elsewhere").write_bytes(b"safe")
    (tmp_path / "program").symlink_to("elsewhere")
    before = os.umask(0o027)
    try:
        stamps, error = write(
            folder, b".part", [whole(n, d, executable=n == b"program") for n, d in contents.items()]
        )
    finally:
        os.umask(before)
    assert error == 0
    assert {path.name for path in tmp_path.iterdir()} == {"a", "é", "program", "elsewhere"}
    assert (tmp_path / "elsewhere").read_bytes() == b"safe"
    listed = {file.path: file for file in LocalSource(tmp_path).files()}
    for (name, data), stamp in zip(contents.items(), stamps, strict=True):
        path = tmp_path / os.fsdecode(name)
        assert path.read_bytes() == data
        assert to_file(name, stamp) == listed[name]
        assert stat.S_IMODE(path.lstat().st_mode) == (0o750 if name == b"program" else 0o640)


@pytest.mark.parametrize("write", WRITERS)
def test_other_bytes_are_not_written(tmp_path: Path, folder: int, write: Write) -> None:
    wrong = (b"wrong", False, bytes(32), memoryview(b"data"))
    stamps, error = write(folder, b".part", [whole(b"first", b"1"), wrong, whole(b"last", b"3")])
    assert (len(stamps), error) == (1, OTHER_DIGEST)
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


@pytest.mark.parametrize("write", WRITERS)
def test_a_failure_leaves_what_is_complete(tmp_path: Path, folder: int, write: Write) -> None:
    (tmp_path / "taken").mkdir()
    stamps, error = write(
        folder, b".part", [whole(b"first", b"1"), whole(b"taken", b"2"), whole(b"last", b"3")]
    )
    assert (len(stamps), error) == (1, errno.EISDIR)
    assert {path.name for path in tmp_path.iterdir()} == {"first", "taken"}
    assert write(folder, b".part", [whole(b"n" * 300, b"1")]) == ([], errno.ENAMETOOLONG)
    assert {path.name for path in tmp_path.iterdir()} == {"first", "taken"}


@pytest.mark.parametrize("write", KEEPERS)
def test_what_is_there_stays_where_nothing_may_be_replaced(tmp_path: Path, folder: int, write: Write) -> None:
    (tmp_path / "taken").write_bytes(b"mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name in (b"taken", b"folder", b"link"):
        files = [whole(b"first " + name, b"1", executable=True), whole(name, b"2"), whole(b"last", b"3")]
        stamps, error = write(folder, b".part", files)
        assert (len(stamps), error) == (1, errno.EEXIST)
        first = tmp_path / os.fsdecode(b"first " + name)
        assert (first.read_bytes(), first.stat().st_nlink) == (b"1", 1)
        listed = {file.path: file for file in LocalSource(tmp_path).files()}
        assert to_file(b"first " + name, stamps[0]) == listed[b"first " + name]
    assert (tmp_path / "taken").read_bytes() == b"mine"
    assert os.readlink(tmp_path / "link") == "nowhere"
    assert {path.name for path in tmp_path.iterdir()} == {
        *("taken", "folder", "link"),
        *("first taken", "first folder", "first link"),
    }
    assert write(folder, b".part", [whole(b"n" * 300, b"1")]) == ([], errno.ENAMETOOLONG)
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links(
    number: int, tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "taken").write_bytes(b"mine")
    monkeypatch.setattr(os, "link", refuses)
    files = [whole(b"first", b"1"), whole(b"taken", b"2")]
    stamps, error = KEEPERS[0](folder, b".part", files)
    assert (len(stamps), error) == (1, errno.EEXIST)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"first": b"1", "taken": b"mine"}


@pytest.mark.parametrize("write", WRITERS)
def test_a_disk_that_takes_no_more(tmp_path: Path, folder: int, write: Write) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        stamps, error = write(folder, b".part", [whole(b"small", b"1"), whole(b"large", bytes(70_000))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert (len(stamps), error) == (1, errno.EFBIG)
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


@pytest.mark.skipif(native is None, reason="there is no compiler, so nothing compiled that could refuse")
def test_the_compiled_part_takes_no_paths(folder: int) -> None:
    assert native is not None
    for name in (b"a/b", b"a\0b"):
        with pytest.raises(ValueError, match="name in its folder"):
            native.write_files(folder, b".part", [whole(name, b"")])
    with pytest.raises(ValueError, match="digest"):
        native.write_files(folder, b".part", [(b"a", False, b"short", b"")])
    with pytest.raises(TypeError):
        native.write_files(folder, b".part", [(b"a",)])


@pytest.mark.parametrize("alone", [False, True])
def test_a_target_sorts_files_into_folders(
    tmp_path: Path, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if alone:
        monkeypatch.setattr(targets, "native", None)
    names = [b"a", b"deep/d", b"deep/er/b", b"deep/er/c", b"e"]
    files = [WholeFile(name, False, blake3(name).digest(), name) for name in names]
    with Target(os.fsencode(tmp_path)) as target:
        stamps = list(target.write_files(files))
        assert [to_file(*pair) for pair in zip(names, stamps, strict=True)] == list(
            LocalSource(tmp_path).files()
        )
        wrong = files[2]._replace(data=b"other")
        with pytest.raises(OtherBytesError) as caught:
            list(target.write_files([files[0], files[1], wrong, files[3]]))
        assert caught.value.number == 2
        (tmp_path / "taken").mkdir()
        taken = files[0]._replace(path=b"taken")
        with pytest.raises(IsADirectoryError, match="taken"):
            list(target.write_files([files[0], taken]))


@pytest.fixture
def refusing(tmp_path: Path) -> Iterator[Path]:
    """A checkout of two files in two folders, of which `locked` refuses changes, also to root."""
    repository = init(tmp_path / "repository")
    for number in range(2):
        for name in ("free/a", "locked/b"):
            (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / name).write_text(f"{name} {number}")
        repository.commit("things", tmp_path / "data")
    repository.checkout("things@v1", tmp_path / "out")
    os.chmod(tmp_path / "out" / "locked", 0o555)
    yield tmp_path
    os.chmod(tmp_path / "out" / "locked", 0o755)


def as_anybody(root: Path, act: Callable[[], object]) -> None:
    """Call `act` as a user who may not write everywhere, as root may."""
    if os.geteuid() != 0:
        act()
        return
    cache = cache_folder()
    above = [
        root,
        *(folder for folder in root.parents if folder.stat().st_uid == 0 and folder.parent != folder),
    ]
    modes = [stat.S_IMODE(folder.stat().st_mode) for folder in above]
    for folder, mode in zip(above, modes, strict=True):
        folder.chmod(mode | 0o055)
    for folder in (cache, *cache.rglob("*"), root / "out", root / "out" / "free"):
        folder.chmod(0o777)
    os.seteuid(65_534)
    try:
        act()
    finally:
        os.seteuid(0)
        for folder, mode in zip(above, modes, strict=True):
            folder.chmod(mode)


def test_what_cannot_be_written_is_named(refusing: Path) -> None:
    repository = open_repository(refusing / "repository")
    name = re.escape(str(refusing / "out" / "locked" / "b"))

    def replaced() -> None:
        with pytest.raises(NotPermittedError, match=f"^{name} cannot be written: Permission denied"):
            repository.checkout("things@v2", refusing / "out")

    as_anybody(refusing, replaced)
    assert (refusing / "out" / "locked" / "b").read_text() == "locked/b 0"


def test_what_cannot_be_removed_is_named(refusing: Path) -> None:
    repository = open_repository(refusing / "repository")
    (refusing / "data" / "locked" / "b").unlink()
    repository.commit("things", refusing / "data")
    name = re.escape(str(refusing / "out" / "locked" / "b"))

    def removed() -> None:
        with pytest.raises(NotPermittedError, match=f"^{name} cannot be written: Permission denied"):
            repository.checkout("things@v3", refusing / "out")

    as_anybody(refusing, removed)


def test_a_folder_that_cannot_be_made_is_named(refusing: Path) -> None:
    repository = open_repository(refusing / "repository")
    name = re.escape(str(refusing / "out" / "locked" / "new"))

    def made() -> None:
        with pytest.raises(NotPermittedError, match=f"^{name} cannot be written: Permission denied"):
            repository.checkout("things@v1", refusing / "out" / "locked" / "new")

    as_anybody(refusing, made)


@pytest.mark.parametrize("below", ["sub", "sub/deeper"])
def test_a_target_below_a_file_would_overwrite_it(tmp_path: Path, below: str) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_text("a")
    repository = init(tmp_path / "repository")
    repository.commit("things", tmp_path / "source")
    (tmp_path / "file").write_text("theirs")
    with pytest.raises(WouldOverwriteError, match="/file/sub cannot be made: what is above it is no folder"):
        repository.checkout("things", tmp_path / "file" / below)
    assert (tmp_path / "file").read_text() == "theirs"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_target_says_what_to_do(number: int) -> None:
    error = target_fault(OSError(number, os.strerror(number), "a"), b"/out")
    assert isinstance(error, StoreError)
    assert str(error).startswith(f"/out/a cannot be written: {os.strerror(number)}; free space or raise")
    assert "repeat the checkout" in str(error)
