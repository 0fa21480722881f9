"""Files listed, read and hashed in batches: the compiled part and Python give the same."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from dataver.compression import looks_incompressible
from dataver.source import LocalSource, SourceFile, batch
from dataver.source.base import NOISY, READ, Batch
from dataver.source.columns import to_file
from dataver.source.walk import Walk

Read = Callable[[bytes, Sequence[SourceFile], memoryview], Batch]
List = Callable[[int], batch.Folder]

READERS: list[Read] = [batch.read_files_plainly, batch.read_files]
LISTERS: list[List] = [batch.list_folder_plainly, batch.list_folder]


def files_of(folder: Path) -> list[SourceFile]:
    return list(LocalSource(folder).files())


def read(reader: Read, folder: Path, files: Sequence[SourceFile], size: int = 1 << 20) -> tuple[Batch, bytes]:
    buffer = bytearray(size)
    return reader(os.fsencode(folder) + b"/", files, memoryview(buffer)), bytes(buffer)


def replace(path: Path, make: Callable[[], None]) -> None:
    path.unlink()
    make()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "data"
    for name in ("a", "deep/er/b", "deep/c", "é", "deep/er/empty"):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name.endswith("empty") else os.urandom(3_000) + name.encode())
    (place / "text").write_bytes(b"words " * 1_000)
    (place / "program").write_bytes(b"#!/bin/sh\n")
    (place / "program").chmod(0o755)
    (place / "link").symlink_to("a")
    (place / "nothing").mkdir()
    return place


def test_it_is_built_where_there_is_a_compiler() -> None:
    built = importlib.util.find_spec("dataver._native") is not None
    assert built or shutil.which("cc") is None
    assert built == (batch.native is not None)


@pytest.mark.parametrize("reader", READERS)
def test_what_is_as_listed_is_read_one_after_the_other(folder: Path, reader: Read) -> None:
    files = files_of(folder)
    done, buffer = read(reader, folder, files)
    start = 0
    for number, file in enumerate(files):
        digest = done.digests[32 * number : 32 * number + 32]
        if file.path in (b"link", b"nothing"):
            assert (done.flags[number], digest) == (0, bytes(32))
            continue
        content = (folder / os.fsdecode(file.path)).read_bytes()
        assert buffer[start : start + file.size] == content
        assert digest == blake3(content).digest()
        assert done.flags[number] == READ | NOISY * looks_incompressible(content)
        start += file.size
    assert not any(buffer[start:])


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        lambda path: os.truncate(path, 1),
        lambda path: os.utime(path, ns=(1, 1)),
        lambda path: path.chmod(0o755),
        lambda path: path.unlink(),
        lambda path: replace(path, lambda: path.symlink_to("c")),
        lambda path: replace(path, lambda: os.mkfifo(path)),
        lambda path: replace(path, path.mkdir),
        lambda path: shutil.rmtree(path.parent),
    ],
)
def test_what_is_not_as_listed_is_left_to_others(
    folder: Path, reader: Read, change: Callable[[Path], object]
) -> None:
    files = files_of(folder)
    change(folder / "deep/er/b")
    done, buffer = read(reader, folder, files)
    left = {file.path for file, flags in zip(files, done.flags, strict=True) if not flags}
    gone = {b"deep/er/empty"} if not (folder / "deep/er").exists() else set()
    assert left == {b"deep/er/b", b"link", b"nothing"} | gone
    good = [f.path for f, flags in zip(files, done.flags, strict=True) if flags]
    want = b"".join((folder / os.fsdecode(path)).read_bytes() for path in good)
    assert buffer[: len(want)] == want


@pytest.mark.parametrize("reader", READERS)
def test_what_does_not_fit_is_left_out(folder: Path, reader: Read) -> None:
    files = files_of(folder)
    done, _ = read(reader, folder, files, size=3_005)
    assert [f.path for f, flags in zip(files, done.flags, strict=True) if flags] == [
        b"a",
        b"deep/er/empty",
    ]
    long = [files[0]._replace(path=b"n" * batch.CALL_PATH_BYTES_MAX)]
    assert read(reader, folder, long)[0].flags == b"\0"
    assert read(reader, folder, [])[0] == Batch(b"", b"")
    assert reader(b"/" + b"n" * 5_000 + b"/", files, memoryview(bytearray(10))).flags == bytes(len(files))


@pytest.mark.parametrize("reader", READERS)
def test_stamps_beyond_64_bits_are_no_files(folder: Path, reader: Read) -> None:
    files = [files_of(folder)[0]._replace(mtime_ns=2**80), files_of(folder)[0]]
    assert read(reader, folder, files)[0].flags[0] == 0
    assert read(reader, folder, files)[0].flags[1] & READ


@pytest.mark.parametrize("lister", LISTERS)
def test_a_folder_is_listed_in_the_order_of_its_names(folder: Path, lister: List) -> None:
    os.mkfifo(folder / "pipe")
    descriptor = os.open(folder, batch.FOLDER_FLAGS)
    try:
        once, again = lister(descriptor), lister(descriptor)
    finally:
        os.close(descriptor)
    assert once == again
    assert once.names == [b"a", b"program", b"text", "é".encode()]
    assert (once.folders, once.others) == ([b"deep", b"nothing"], [b"link", b"pipe"])
    (folder / "pipe").unlink()
    listed = {file.path: file for file in files_of(folder)}
    assert [to_file(*pair) for pair in zip(once.names, once.stamps, strict=True)] == [
        listed[name] for name in once.names
    ]


@pytest.mark.parametrize("lister", LISTERS)
def test_what_is_no_folder_is_an_error(folder: Path, lister: List) -> None:
    descriptor = os.open(folder / "a", os.O_RDONLY)
    try:
        with pytest.raises(NotADirectoryError):
            lister(descriptor)
    finally:
        os.close(descriptor)


def test_a_folder_of_many_names(tmp_path: Path) -> None:
    for number in range(3_000):
        (tmp_path / f"{number * 7919 % 3_000}").touch(mode=0o600 | stat.S_IXUSR * (number % 2))
    listings = []
    for lister in LISTERS:
        descriptor = os.open(tmp_path, batch.FOLDER_FLAGS)
        listings.append(lister(descriptor))
        os.close(descriptor)
    assert listings[0] == listings[1]
    assert listings[0].names == sorted(str(number).encode() for number in range(3_000))


def test_threads_read_side_by_side(folder: Path) -> None:
    files = files_of(folder)
    want = read(batch.read_files_plainly, folder, files)
    found: list[tuple[Batch, bytes]] = []
    threads = [
        threading.Thread(
            target=lambda: found.extend(read(batch.read_files, folder, files) for _ in range(20))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [want] * 160


def test_python_alone_commits_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = files_of(folder)
    monkeypatch.setattr(batch, "native", None)
    assert files_of(folder) == compiled
    prefix = os.fsencode(folder) + b"/"
    assert list(Walk(prefix, None, ignore=True).run()) == compiled


SIZES = [
    0,
    1,
    63,
    64,
    65,
    1023,
    1024,
    1025,
    2048,
    3072,
    3073,
    4096,
    8191,
    8192,
    8193,
    9216,
    31_744,
    65_536,
    99_999,
]


@pytest.mark.skipif(batch.native is None, reason="there is no compiler, so nothing compiled to be compared")
class TestBlake3:
    @pytest.mark.parametrize("size", SIZES)
    def test_of_sizes_around_blocks_chunks_and_lanes(self, size: int) -> None:
        assert batch.native is not None
        data = os.urandom(size)
        assert batch.native.digests([data]) == blake3(data).digest()
        assert batch.native.digests([memoryview(b"x" + data)[1:]]) == blake3(data).digest()

    @given(st.integers(0, 150_000), st.integers(0, 255))
    def test_of_any_size(self, size: int, value: int) -> None:
        assert batch.native is not None
        data = bytes([value]) * size
        assert batch.native.digests([data]) == blake3(data).digest()

    def test_of_every_size_up_to_five_chunks(self) -> None:
        assert batch.native is not None
        data = os.urandom(5_200)
        beginnings = [data[:size] for size in range(5_200)]
        assert batch.native.digests(beginnings) == b"".join(blake3(one).digest() for one in beginnings)

    @given(st.lists(st.integers(0, 9_000) | st.sampled_from(SIZES), max_size=40), st.integers(0, 2**32))
    def test_of_many_side_by_side(self, sizes: list[int], seed: int) -> None:
        """Lanes are shared by what is of different length, and at different heights of its tree."""
        assert batch.native is not None
        random = Random(seed)
        buffers = [random.randbytes(size) for size in sizes]
        expected = b"".join(blake3(buffer).digest() for buffer in buffers)
        assert batch.native.digests(buffers) == expected
        assert batch.native.digests(tuple(buffers)) == expected

    def test_of_what_is_no_list_of_buffers(self) -> None:
        assert batch.native is not None
        for wrong in (5, ["text"], [b"good", None]):
            with pytest.raises(TypeError):
                batch.native.digests(wrong)
