"""Reading files that others write to: what is returned was there, whole, at one moment."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dataver.errors import SourceChangedError
from dataver.source import LocalSource, SourceFile, reading
from dataver.source import base as source_base

# More than a tick of the clock that file systems take their stamps from.
TICK_S = 0.02


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long pauses between attempts."""
    monkeypatch.setattr(reading, "READ_PAUSES_S", (0.0, 0.001, 0.001, 0.001, 0.001))
    monkeypatch.setattr(source_base, "READ_PAUSES_S", (0.0, 0.001, 0.001, 0.001, 0.001))


def source_of(top: Path, content: bytes = b"content") -> tuple[LocalSource, SourceFile, Path]:
    place = top / "f"
    place.write_bytes(content)
    source = LocalSource(top)
    return source, source.files()[0], place


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], list[int]]:
    """Have something happen after each real read of a file and before its stamps are looked at again."""

    def install(event: Callable[[], None]) -> list[int]:
        reads: list[int] = []
        real = os.read

        def read(fd: int, size: int) -> bytes:
            data = real(fd, size)
            reads.append(len(data))
            event()
            return data

        monkeypatch.setattr("os.read", read)
        return reads

    return install


class TestReadSmall:
    @pytest.mark.parametrize("size", [0, 1, 100_000])
    def test_content_and_stamps(self, tmp_path: Path, size: int) -> None:
        content = os.urandom(size)
        source, file, _ = source_of(tmp_path, content)
        assert source.read_small(file) == (content, file)

    def test_a_link_gives_its_target_be_it_utf8_or_not(self, tmp_path: Path) -> None:
        os.symlink(b"nowhere/\xff", os.fsencode(tmp_path) + b"/link")
        source = LocalSource(tmp_path)
        (file,) = source.files()
        assert source.read_small(file) == (b"nowhere/\xff", file)

    def test_an_empty_folder_has_no_bytes(self, tmp_path: Path) -> None:
        (tmp_path / "d").mkdir()
        source = LocalSource(tmp_path)
        (file,) = source.files()
        assert source.read_small(file) == (b"", file)

    @pytest.mark.parametrize("content", [b"", b"shorter", b"quite a bit longer than it was", b"CONTENT"])
    def test_a_change_since_the_listing_comes_with_its_stamps(self, tmp_path: Path, content: bytes) -> None:
        source, file, place = source_of(tmp_path)
        place.write_bytes(content)
        place.chmod(0o755)
        data, found = source.read_small(file)
        assert data == content
        assert found == LocalSource(tmp_path).files()[0]
        assert found.executable

    def test_a_change_during_the_first_read_is_read_again(
        self, tmp_path: Path, quick: None, between: Callable[[Callable[[], None]], list[int]]
    ) -> None:
        source, file, place = source_of(tmp_path)
        changes = iter([b"changed"])  # as long as before, so that only the stamps tell

        def change() -> None:
            for new in changes:
                time.sleep(TICK_S)
                place.write_bytes(new)

        reads = between(change)
        data, found = source.read_small(file)
        assert data == b"changed"
        assert found == LocalSource(tmp_path).files()[0]
        assert len(reads) == 2

    @pytest.mark.parametrize("grow", [True, False])
    def test_a_file_that_never_holds_still_is_named(
        self, tmp_path: Path, quick: None, between: Callable[[Callable[[], None]], list[int]], grow: bool
    ) -> None:
        source, file, place = source_of(tmp_path)

        def change() -> None:
            time.sleep(TICK_S)
            with place.open("ab" if grow else "r+b") as opened:
                opened.write(b"x" if grow else os.urandom(7))

        reads = between(change)
        with pytest.raises(SourceChangedError, match=r"^f changed while it was read"):
            source.read_small(file)
        assert len(reads) >= 5

    def test_a_change_hidden_by_its_modification_time_is_seen(
        self, tmp_path: Path, quick: None, between: Callable[[Callable[[], None]], list[int]]
    ) -> None:
        source, file, place = source_of(tmp_path)
        changes = iter([b"changed"])

        def change() -> None:
            for new in changes:
                time.sleep(TICK_S)
                place.write_bytes(new)
                os.utime(place, ns=(file.mtime_ns, file.mtime_ns))

        between(change)
        assert source.read_small(file)[0] == b"changed"

    @pytest.mark.parametrize("instead", ["nothing", "folder", "link", "pipe"])
    def test_what_is_no_longer_a_file_is_named_and_nothing_blocks(
        self, tmp_path: Path, quick: None, instead: str
    ) -> None:
        source, file, place = source_of(tmp_path)
        place.unlink()
        if instead == "folder":
            place.mkdir()
        elif instead == "link":
            place.symlink_to("/etc/passwd")
        elif instead == "pipe":
            os.mkfifo(place)
        with pytest.raises(SourceChangedError, match=r"^f changed"):
            source.read_small(file)
        with pytest.raises(SourceChangedError, match=r"^f changed"):
            source.open_stable(file)

    @pytest.mark.parametrize("instead", ["nothing", "file"])
    def test_what_is_no_longer_a_link_is_named(self, tmp_path: Path, quick: None, instead: str) -> None:
        place = tmp_path / "f"
        place.symlink_to("x")
        source = LocalSource(tmp_path)
        (file,) = source.files()
        place.unlink()
        if instead == "file":
            place.touch()
        with pytest.raises(SourceChangedError, match=r"^f changed"):
            source.read_small(file)

    def test_a_link_that_is_replaced_meanwhile_is_read_again(
        self, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = tmp_path / "f"
        place.symlink_to("old")
        source = LocalSource(tmp_path)
        (file,) = source.files()
        real, read = os.readlink, []

        def readlink(path: bytes, *, dir_fd: int | None = None) -> bytes:
            read.append(real(path, dir_fd=dir_fd))
            if len(read) == 1:
                (tmp_path / "new").symlink_to("new target")
                (tmp_path / "new").replace(place)
            return read[-1]

        monkeypatch.setattr("os.readlink", readlink)
        assert source.read_small(file) == (b"new target", LocalSource(tmp_path).files()[0])

    def test_a_small_file_that_grew_huge_is_not_pulled_into_memory(self, tmp_path: Path, quick: None) -> None:
        source, file, place = source_of(tmp_path)
        os.truncate(place, 1 << 40)
        with pytest.raises(SourceChangedError, match=r"^f changed"):
            source.read_small(file)

    def test_a_file_that_comes_back_is_read(self, tmp_path: Path) -> None:
        source, file, place = source_of(tmp_path)
        place.rename(tmp_path / "away")
        timer = threading.Timer(0.05, lambda: (tmp_path / "away").rename(place))
        timer.start()
        try:
            assert source.read_small(file)[0] == b"content"
        finally:
            timer.join()

    def test_no_descriptor_is_left_open(self, tmp_path: Path, quick: None) -> None:
        source, file, place = source_of(tmp_path)
        before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
        for _ in range(3):
            source.read_small(file)
            source.open_stable(file).close()
        os.truncate(place, 1 << 40)
        with pytest.raises(SourceChangedError):
            source.read_small(file)
        place.unlink()
        os.mkfifo(place)
        with pytest.raises(SourceChangedError):
            source.open_stable(file)
        assert before == (len(os.listdir("/proc/self/fd")) if before else 0)


class TestOpenStable:
    def test_it_reads_seeks_and_fills_buffers(self, tmp_path: Path) -> None:
        content = os.urandom(200_000)
        source, file, _ = source_of(tmp_path, content)
        with source.open_stable(file) as reader:
            assert reader.file == file
            buffer = bytearray(150_000)
            assert reader.readinto(buffer) == 150_000
            assert buffer == content[:150_000]
            assert reader.tell() == 150_000
            assert reader.seek(-10, os.SEEK_END) == 199_990
            assert reader.read() == content[-10:]
            assert reader.read(1) == b""
            reader.check()

    def test_it_starts_from_the_state_on_opening(self, tmp_path: Path) -> None:
        source, file, place = source_of(tmp_path)
        place.write_bytes(b"new and longer")
        with source.open_stable(file) as reader:
            assert reader.read() == b"new and longer"
            assert reader.file.size == 14
            reader.check()

    @pytest.mark.parametrize("change", ["write", "append", "truncate", "touch", "chmod"])
    def test_a_change_after_opening_shows_in_the_end(self, tmp_path: Path, change: str) -> None:
        source, file, place = source_of(tmp_path)
        with source.open_stable(file) as reader:
            reader.read()
            time.sleep(TICK_S)
            if change == "write":
                place.write_bytes(b"CONTENT")
                os.utime(place, ns=(file.mtime_ns, file.mtime_ns))
            elif change == "append":
                with place.open("ab") as opened:
                    opened.write(b"!")
            elif change == "truncate":
                os.truncate(place, 0)
            elif change == "touch":
                place.touch()
            else:
                place.chmod(0o755)
            with pytest.raises(SourceChangedError, match=r"^f changed"):
                reader.check()

    def test_replacing_the_file_does_not_disturb_a_reader(self, tmp_path: Path) -> None:
        source, file, place = source_of(tmp_path)
        with source.open_stable(file) as reader:
            (tmp_path / "new").write_bytes(b"another")
            os.replace(tmp_path / "new", place)
            assert reader.read() == b"content"


def test_attempts_are_numbered_and_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_base, "READ_PAUSES_S", (0.0, 0.01, 0.02))
    started_s = time.monotonic()
    assert list(source_base.pauses()) == [0, 1, 2]
    assert time.monotonic() - started_s >= 0.03
