"""Sources over fsspec: the same rules as on disk, with what stores tell in place of inodes."""

from __future__ import annotations

import errno
import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from dataver.errors import BadInputError, NotPermittedError, PathNotFoundError, SourceChangedError, StoreError
from dataver.source import EMPTY_FOLDER, FILE, LocalSource, Source, open_source
from dataver.source import base as source_base
from dataver.source.base import REMOTE_MTIME, REMOTE_TAG
from dataver.source.fsspec_ import FsspecSource
from dataver.source.listing import choose
from dataver.source.remote import source_file

GENESIS = "log/00000000000000000000"


@pytest.fixture
def memory() -> Iterator[str]:
    """A folder of its own in fsspec's memory file system, as a path."""
    top = f"/{uuid4().hex}"
    fs = fsspec.filesystem("memory")
    fs.makedirs(top)
    yield top
    fs.rm(top, recursive=True)


def put(top: str, **files: bytes) -> None:
    fs = fsspec.filesystem("memory")
    for path, content in files.items():
        fs.pipe_file(f"{top}/{path}", content)


def contents(source: Source) -> dict[str, bytes]:
    """What is listed, with its bytes; empty folders with a `/`."""
    files = source.files()
    assert [file.path for file in files] == sorted(file.path for file in files)
    return {
        file.path.decode() + ("/" if file.kind == EMPTY_FOLDER else ""): source.read_small(file)[0]
        for file in files
    }


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_base, "READ_PAUSES_S", (0.0, 0.001, 0.001, 0.001, 0.001))


class TestListing:
    def test_files_and_empty_folders(self, memory: str) -> None:
        put(memory, **{"b": b"1", "a/c": b"22", "a.b": b"", "é/x\ny": b"4"})
        fsspec.filesystem("memory").makedirs(f"{memory}/empty/inner")
        source = open_source(f"memory:/{memory}")
        assert isinstance(source, FsspecSource)
        assert contents(source) == {"a.b": b"", "a/c": b"22", "b": b"1", "empty/inner/": b"", "é/x\ny": b"4"}
        assert [(f.kind, f.size) for f in source.files() if f.path == b"a/c"] == [(FILE, 2)]
        assert not any(file.executable for file in source.files())

    def test_a_single_file_is_its_base_name(self, memory: str) -> None:
        put(memory, **{"d/x.csv": b"data"})
        assert contents(open_source(f"memory:/{memory}/d/x.csv")) == {"x.csv": b"data"}
        assert contents(open_source(f"memory:/{memory}/d/x.csv", exclude=["*.csv"])) == {}

    def test_what_is_not_there(self, memory: str) -> None:
        with pytest.raises(PathNotFoundError, match="absent does not exist"):
            open_source(f"memory:/{memory}/absent").files()

    @pytest.mark.parametrize("url", ["nonsense://x", "nonsense::"])
    def test_a_url_that_nobody_knows(self, url: str) -> None:
        with pytest.raises(BadInputError):
            open_source(url)

    def test_filters(self, memory: str) -> None:
        put(memory, **{"a.csv": b"", "tmp/b.csv": b"", "c.md": b""})
        assert list(contents(open_source(f"memory:/{memory}", include=["*.csv"], exclude=["tmp"]))) == [
            "a.csv"
        ]

    def test_ignore_files(self, memory: str) -> None:
        put(memory, **{".dataverignore": b"*.tmp\n/d/\n", "a.tmp": b"", "b": b"", "d/x": b"", "e/f.tmp": b""})
        put(memory, **{"g/.dataverignore": b"!k.tmp\n", "g/k.tmp": b"", "g/l.tmp": b""})
        url = f"memory:/{memory}"
        assert list(contents(open_source(url))) == [
            ".dataverignore",
            "b",
            "e/",
            "g/.dataverignore",
            "g/k.tmp",
        ]
        assert "d/x" in contents(open_source(url, ignore=False))

    def test_repositories_are_left_out(self, memory: str) -> None:
        put(
            memory,
            **{".dataver/x": b"", "a": b"", f"r/{GENESIS}": b"", "r/packs/x": b"", "p/.dataver/x": b""},
        )
        assert list(contents(open_source(f"memory:/{memory}"))) == ["a", "p/"]

    def test_a_repository_is_no_source(self, memory: str) -> None:
        put(memory, **{GENESIS: b""})
        with pytest.raises(BadInputError, match="repository"):
            open_source(f"memory:/{memory}").files()

    def test_archives(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("d/x.txt", "hello")
            archive.writestr("y", "")
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            (tmp_path / "x").write_text("tarred")
            tar.add(tmp_path / "x", "d/x")
        assert contents(open_source(f"zip://::{tmp_path}/a.zip")) == {"d/x.txt": b"hello", "y": b""}
        assert contents(open_source(f"zip://d::{tmp_path}/a.zip")) == {"x.txt": b"hello"}
        assert contents(open_source(f"zip://d/x.txt::{tmp_path}/a.zip")) == {"x.txt": b"hello"}
        assert contents(open_source(f"tar://::{tmp_path}/a.tar")) == {"d/x": b"tarred"}

    def test_a_folder_that_cannot_be_listed_is_an_error_and_not_empty(
        self, memory: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(memory, **{"a": b"", "locked/x": b""})
        real = MemoryFileSystem.ls

        def ls(self: MemoryFileSystem, path: str, detail: bool = True, **options: Any) -> Any:
            if "locked" in path:
                raise PermissionError(path)
            return real(self, path, detail=detail, **options)

        monkeypatch.setattr(MemoryFileSystem, "find", AbstractFileSystem.find)
        monkeypatch.setattr(MemoryFileSystem, "ls", ls)
        with pytest.raises(NotPermittedError):
            open_source(f"memory:/{memory}").files()


class TestNames:
    def test_no_credentials_show(self) -> None:
        source = FsspecSource("memory://user:secret@host/x?sig=abc")
        for text in (source.name, source.key.decode()):
            assert "secret" not in text
            assert "sig" not in text

    def test_errors_of_clients_are_redacted(self, memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def info(self: MemoryFileSystem, path: str, **options: Any) -> Any:
            raise RuntimeError("GET https://host/x?sig=verysecret failed")

        monkeypatch.setattr(MemoryFileSystem, "info", info)
        with pytest.raises(StoreError) as caught:
            open_source(f"memory:/{memory}").files()
        assert "verysecret" not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_a_file_can_be_found_again(self, memory: str, tmp_path: Path) -> None:
        put(memory, **{"d/x": b"data"})
        source = open_source(f"memory:/{memory}")
        url, tag = source.locate(source.files()[0])
        assert (contents(open_source(url)), tag) == ({"x": b"data"}, "")
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("x", "hello")
        inside = open_source(f"zip://::{tmp_path}/a.zip")
        with pytest.raises(BadInputError, match="referred"):
            inside.locate(inside.files()[0])


class TestStamps:
    def of(self, **info: Any) -> tuple[int, int, int]:
        file = source_file(b"x", {"name": "x", "type": "file", "size": 3, **info})
        return file.mtime_ns, file.ctime_ns, file.inode

    def test_a_change_tag_is_all_that_counts(self) -> None:
        one = self.of(ETag='"abc"', LastModified=datetime(2026, 1, 1, tzinfo=UTC))
        assert one == self.of(ETag='"abc"', LastModified=datetime(2026, 1, 2, tzinfo=UTC))
        assert one != self.of(ETag='"abd"')
        assert one[2] == REMOTE_TAG
        assert 0 <= one[1] < 2**63
        assert self.of(content_md5=bytearray(b"x"))[2] == REMOTE_TAG

    @pytest.mark.parametrize(
        "info",
        [
            {"mtime": 1_700_000_000},
            {"created": 1_700_000_000.0},
            {"LastModified": datetime.fromtimestamp(1_700_000_000, UTC)},
            {"updated": datetime.fromtimestamp(1_700_000_000, UTC).replace(tzinfo=None)},
            {"last_modified": "2023-11-14T22:13:20Z"},
        ],
    )
    def test_else_the_time_of_the_last_change(self, info: Mapping[str, Any]) -> None:
        assert self.of(**info) == (1_700_000_000_000_000_000, 0, REMOTE_MTIME)

    @pytest.mark.parametrize("info", [{}, {"mtime": None}, {"mtime": "soon"}, {"etag": ""}])
    def test_else_a_time_that_is_never_trusted(self, info: Mapping[str, Any]) -> None:
        assert self.of(**info) == (2**63 - 1, 0, REMOTE_MTIME)

    def test_what_is_no_file_is_refused(self) -> None:
        with pytest.raises(BadInputError, match="x is no regular file but a link"):
            self.of(type="link")


class Stream(io.RawIOBase):
    """What cannot be read but from its start to its end."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._inner = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return self._inner.readinto(buffer)


class TestReading:
    def test_big_files_are_seekable_and_checked(self, memory: str) -> None:
        content = os.urandom(100_000)
        put(memory, x=content)
        source = open_source(f"memory:/{memory}")
        (file,) = source.files()
        with source.open_stable(file) as reader:
            assert reader.file == file
            buffer = bytearray(60_000)
            assert reader.readinto(buffer) == 60_000
            assert buffer == content[:60_000]
            assert reader.tell() == 60_000
            assert reader.seek(-8, os.SEEK_END) == 99_992
            assert reader.read() == content[-8:]
            assert reader.readinto(buffer) == 0
            reader.check()
            put(memory, x=content[::-1])
            with pytest.raises(SourceChangedError, match=r"^x changed"):
                reader.check()
        with source.open_stable(file) as reader:
            assert reader.read() == content[::-1]
            reader.check()

    @pytest.mark.parametrize("new", [b"other and longer", b"DATA", b""])
    def test_a_change_since_the_listing_comes_with_its_stamps(self, memory: str, new: bytes) -> None:
        put(memory, x=b"data")
        source = open_source(f"memory:/{memory}")
        (file,) = source.files()
        put(memory, x=new)
        assert source.read_small(file) == (new, source.files()[0])

    def test_a_file_that_never_holds_still_is_named(
        self, memory: str, quick: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(memory, x=b"data")
        source = open_source(f"memory:/{memory}")
        (file,) = source.files()
        real = MemoryFileSystem.cat_file

        def cat_file(self: MemoryFileSystem, path: str, **options: Any) -> Any:
            data = real(self, path, **options)
            self.pipe_file(path, data + b"!")
            return data

        monkeypatch.setattr(MemoryFileSystem, "cat_file", cat_file)
        with pytest.raises(SourceChangedError, match=r"^x changed"):
            source.read_small(file)

    def test_a_web_server_that_cannot_be_reached_is_no_missing_file(self, memory: str) -> None:
        source = open_source(f"memory:/{memory}")
        assert isinstance(source, FsspecSource)
        source._web = True  # its file system needs a package that need not be there

        def answer(cause: Exception) -> None:
            with source.errors("list", "it"):
                raise FileNotFoundError("it") from cause  # as fsspec does, whatever was wrong

        class StatusError(Exception):
            def __init__(self, status: int) -> None:
                super().__init__(status)
                self.status = status

        with pytest.raises(StoreError, match="refused"):
            answer(ConnectionRefusedError(errno.ECONNREFUSED, "refused"))
        with pytest.raises(NotPermittedError):
            answer(StatusError(403))
        for absent in (FileNotFoundError("it"), StatusError(404)):
            with pytest.raises(PathNotFoundError):
                answer(absent)

    def test_an_archive_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(PathNotFoundError):
            open_source(f"zip://::{tmp_path}/none.zip")

    def test_a_file_that_went_away(self, memory: str) -> None:
        put(memory, x=b"data", y=b"")
        source = open_source(f"memory:/{memory}")
        file = source.files()[0]
        fsspec.filesystem("memory").rm(f"{memory}/x")
        with pytest.raises(PathNotFoundError, match=r"^x does not exist"):
            source.read_small(file)
        with pytest.raises(PathNotFoundError, match=r"^x does not exist"):
            source.open_stable(file)

    def test_with_a_change_tag_one_request_will_do(
        self, memory: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(memory, x=b"data")
        real = MemoryFileSystem.ls
        asked: list[str] = []

        def ls(self: MemoryFileSystem, path: str, detail: bool = True, **options: Any) -> Any:
            return [{**info, "etag": "one"} for info in real(self, path, detail=True, **options)]

        def info(self: MemoryFileSystem, path: str, **options: Any) -> Any:
            asked.append(path)
            return {"name": path, "size": 0, "type": "directory"}

        monkeypatch.setattr(MemoryFileSystem, "find", AbstractFileSystem.find)
        monkeypatch.setattr(MemoryFileSystem, "ls", ls)
        monkeypatch.setattr(MemoryFileSystem, "info", info)
        source = open_source(f"memory:/{memory}")
        (file,) = source.files()
        assert file.inode == REMOTE_TAG
        assert source.locate(file)[1] == "one"
        asked.clear()
        assert source.read_small(file) == (b"data", file)
        assert asked == []

    def test_a_server_that_tells_no_size_and_only_streams(
        self, memory: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(memory, x=b"data" * 1000)
        real_info, real_open = MemoryFileSystem.info, MemoryFileSystem.open

        def info(self: MemoryFileSystem, path: str, **options: Any) -> Any:
            return {**real_info(self, path, **options), "size": None}

        def open_(self: MemoryFileSystem, path: str, *args: Any, **options: Any) -> Any:
            return Stream(real_open(self, path, *args, **options).read())

        monkeypatch.setattr(MemoryFileSystem, "info", info)
        monkeypatch.setattr(MemoryFileSystem, "open", open_)
        source = open_source(f"memory:/{memory}/x")
        (file,) = source.files()
        assert file.size == 4000
        with source.open_stable(file) as reader:
            assert reader.seek(-4, os.SEEK_END) == 3996
            assert reader.read() == b"data"
            reader.check()

    def test_many_threads_read_one_source(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for number in range(40):
                archive.writestr(f"{number:02d}", bytes([number]) * 50_000)
        source = open_source(f"zip://::{tmp_path}/a.zip")
        files = source.files()
        wrong: list[bytes] = []

        def read() -> None:
            wrong.extend(
                file.path for file in files if source.read_small(file)[0] != bytes([int(file.path)]) * 50_000
            )

        threads = [threading.Thread(target=read) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


class TestChoose:
    """The rules of a walk, over names alone."""

    def test_a_name_cannot_be_a_file_and_a_folder(self) -> None:
        with pytest.raises(BadInputError, match="a/b is both a file and a folder"):
            choose([b"a/b", b"a/b/c"], [], None)
        with pytest.raises(BadInputError, match="d is both"):
            choose([b"d"], [b"d"], None)

    def test_deep_empty_folders_and_their_parents(self) -> None:
        files, empty = choose([b"a/x"], [b"a", b"b", b"c/d/e", b"c"], None)
        assert (files, sorted(empty)) == ([b"a/x"], [b"b", b"c/d/e"])

    def test_it_agrees_with_the_walk_on_disk(self, tmp_path: Path) -> None:
        paths = [
            "a/b/c",
            "a/b/d.tmp",
            "e/f.tmp",
            "g/.dataver/x",
            f"h/{GENESIS}",
            "i/j/k",
            "i/l/k",
            "m",
            "n.tmp/o",
        ]
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text("")
        (tmp_path / "p/q").mkdir(parents=True)
        (tmp_path / ".dataverignore").write_text("*.tmp\n/i/*\n!/i/l\n")
        (tmp_path / "i/.dataverignore").write_text("!j\n")
        every = [os.fsencode(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")]
        files = [path for path in every if (tmp_path / os.fsdecode(path)).is_file()]
        folders = [path for path in every if path not in files]
        chosen, empty = choose(files, folders, lambda path: (tmp_path / os.fsdecode(path)).read_bytes())
        walked = LocalSource(tmp_path).files()
        assert sorted(chosen) == [file.path for file in walked if file.kind == FILE]
        assert sorted(empty) == [file.path for file in walked if file.kind == EMPTY_FOLDER]
        assert b"e" in empty
