"""A folder, or a file, on disk: what is listed, what is left out, what is refused."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dataver.errors import BadInputError, NotPermittedError, PathNotFoundError
from dataver.source import EMPTY_FOLDER, FILE, SYMLINK, LocalSource, SourceFile, open_source

GENESIS = "log/00000000000000000000"


def make(top: Path, *paths: str) -> None:
    """Files with their own path as content; a path that ends with `/` is a folder."""
    for path in paths:
        place = top / path
        if path.endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(path)


def listed(top: Path, **options: object) -> list[str]:
    """Paths; those of empty folders with a `/`."""
    files = LocalSource(top, **options).files()  # type: ignore[arg-type]
    return [os.fsdecode(file.path) + ("/" if file.kind == EMPTY_FOLDER else "") for file in files]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account can reach, unlike `tmp_path`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


class TestListing:
    def test_sorted_by_the_bytes_of_the_whole_path(self, tmp_path: Path) -> None:
        make(tmp_path, "b", "a/c", "a.b", "a-b", "a/B", "é", "a/c.d/x", "a\n", "Z")
        assert listed(tmp_path) == ["Z", "a\n", "a-b", "a.b", "a/B", "a/c", "a/c.d/x", "b", "é"]

    def test_kind_size_and_stamps(self, tmp_path: Path) -> None:
        make(tmp_path, "file", "run.sh", "empty/")
        (tmp_path / "nothing").touch()
        (tmp_path / "run.sh").chmod(0o755)
        (tmp_path / "link").symlink_to("some where/élse")
        found = {file.path: file for file in LocalSource(tmp_path).files()}
        for path, kind, executable, size in (
            (b"file", FILE, False, 4),
            (b"nothing", FILE, False, 0),
            (b"run.sh", FILE, True, 6),
            (b"link", SYMLINK, False, len("some where/élse".encode())),
            (b"empty", EMPTY_FOLDER, False, 0),
        ):
            stamps = os.lstat(os.fsencode(tmp_path) + b"/" + path)
            expected = (path, kind, executable, size, stamps.st_mtime_ns, stamps.st_ctime_ns, stamps.st_ino)
            assert found[path] == SourceFile(*expected)

    @pytest.mark.parametrize(
        ("mode", "executable"), [(0o744, True), (0o655, False), (0o100, True), (0o11, False)]
    )
    def test_the_executable_bit_is_the_owners(self, tmp_path: Path, mode: int, executable: bool) -> None:
        make(tmp_path, "f")
        (tmp_path / "f").chmod(mode)
        assert LocalSource(tmp_path).files()[0].executable is executable

    def test_symlinks_are_not_followed_below_the_source(self, tmp_path: Path) -> None:
        make(tmp_path, "top/real/x", "outside/secret")
        (tmp_path / "top/inner").symlink_to("real")
        (tmp_path / "top/outer").symlink_to("../outside")
        (tmp_path / "top/dangling").symlink_to("nowhere")
        (tmp_path / "top/self").symlink_to("self")
        found = LocalSource(tmp_path / "top").files()
        assert [file.path for file in found] == [b"dangling", b"inner", b"outer", b"real/x", b"self"]
        assert [file.kind for file in found] == [SYMLINK, SYMLINK, SYMLINK, FILE, SYMLINK]

    def test_the_source_itself_may_be_a_symlink(self, tmp_path: Path) -> None:
        make(tmp_path, "real/x")
        (tmp_path / "link").symlink_to("real")
        assert listed(tmp_path / "link") == ["x"]
        assert LocalSource(tmp_path / "link").key == LocalSource(tmp_path / "real").key

    def test_hard_links_are_files(self, tmp_path: Path) -> None:
        make(tmp_path, "a")
        os.link(tmp_path / "a", tmp_path / "b")
        assert [file.kind for file in LocalSource(tmp_path).files()] == [FILE, FILE]

    def test_an_empty_source_has_no_entries(self, tmp_path: Path) -> None:
        assert list(LocalSource(tmp_path).files()) == []

    def test_only_the_innermost_empty_folder_is_an_entry(self, tmp_path: Path) -> None:
        make(tmp_path, "a/b/c/", "a/d/x", "e/")
        assert listed(tmp_path) == ["a/b/c/", "a/d/x", "e/"]

    def test_unfinished_files_of_a_checkout_are_nobodys(self, tmp_path: Path) -> None:
        make(tmp_path, "a/.dataver-part-0123", "b")
        assert listed(tmp_path) == ["a/", "b"]

    def test_a_folder_deeper_than_one_call_can_name(self, tmp_path: Path) -> None:
        name = "n" * 200
        fd = os.open(tmp_path, os.O_RDONLY)
        for _ in range(30):
            os.mkdir(name, dir_fd=fd)
            below = os.open(name, os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.symlink("target", "link", dir_fd=fd)
        os.mkdir("empty", dir_fd=fd)
        os.close(fd)
        source = LocalSource(tmp_path)
        empty, file, link = source.files()
        folder = b"/".join([name.encode()] * 30) + b"/"
        assert [empty.path, file.path, link.path] == [folder + b"empty", folder + b"file", folder + b"link"]
        assert source.read_small(file)[0] == b""
        assert source.read_small(link) == (b"target", link)
        with source.open_stable(file) as reader:
            assert reader.read() == b""
            reader.check()


class TestSingleFile:
    def test_its_base_name_is_its_path(self, tmp_path: Path) -> None:
        make(tmp_path, "d/data.csv")
        source = LocalSource(tmp_path / "d" / "data.csv")
        (file,) = source.files()
        assert file.path == b"data.csv"
        assert source.read_small(file) == (b"d/data.csv", file)
        assert source.key == os.fsencode(os.path.realpath(tmp_path / "d/data.csv"))

    def test_a_symlink_gives_the_name_and_its_target_the_bytes(self, tmp_path: Path) -> None:
        make(tmp_path, "real.csv")
        (tmp_path / "latest.csv").symlink_to("real.csv")
        source = LocalSource(tmp_path / "latest.csv")
        (file,) = source.files()
        assert (file.path, file.kind) == (b"latest.csv", FILE)
        assert source.read_small(file)[0] == b"real.csv"
        with source.open_stable(file) as reader:
            assert reader.read() == b"real.csv"

    def test_filters_hold_for_it_too(self, tmp_path: Path) -> None:
        make(tmp_path, "a.csv")
        assert listed(tmp_path / "a.csv", include=["*.csv"]) == ["a.csv"]
        assert listed(tmp_path / "a.csv", exclude=["*.csv"]) == []

    def test_a_file_inside_a_repositorys_folder_name(self, tmp_path: Path) -> None:
        make(tmp_path, ".dataver")
        assert listed(tmp_path / ".dataver") == [".dataver"]


class TestLeftOut:
    def test_folders_named_dataver(self, tmp_path: Path) -> None:
        make(tmp_path, ".dataver/config", "a/.dataver/x", "a/b", "only/.dataver/x")
        assert listed(tmp_path) == ["a/b", "only/"]

    def test_a_file_of_that_name_is_data_but_a_symlink_would_be_a_repository(self, tmp_path: Path) -> None:
        make(tmp_path, "a/.dataver", "b/c")
        (tmp_path / "b/.dataver").symlink_to("/elsewhere")
        assert listed(tmp_path) == ["a/.dataver", "b/c"]

    def test_folders_that_hold_a_repository(self, tmp_path: Path) -> None:
        make(tmp_path, f"backup/{GENESIS}", "backup/packs/ab/x", "data/x", "log/x", f"p/q/{GENESIS}")
        assert listed(tmp_path) == ["data/x", "log/x", "p/"]

    def test_a_source_beside_its_repository(self, tmp_path: Path) -> None:
        make(tmp_path, f".dataver/{GENESIS}", "data/x")
        assert listed(tmp_path) == ["data/x"]
        assert listed(tmp_path / "data") == ["x"]

    @pytest.mark.parametrize(
        "source",
        [".", "log", "packs/ab", ".dataver", "packs/ab/x", ".dataver/x", ".dataver/d", ".dataver/d/x"],
    )
    def test_a_repository_is_no_source(self, tmp_path: Path, source: str) -> None:
        make(tmp_path, GENESIS, "packs/ab/x", ".dataver/x", ".dataver/d/x")
        with pytest.raises(BadInputError, match="repository"):
            LocalSource(tmp_path / source)

    def test_data_in_a_project_that_is_a_repository_can_be_committed(self, tmp_path: Path) -> None:
        make(tmp_path, GENESIS, "data/x")
        assert listed(tmp_path / "data") == ["x"]

    def test_include_and_exclude(self, tmp_path: Path) -> None:
        make(tmp_path, "a.csv", "a.md", "d/b.csv", "d/tmp/c.csv", "docs/x.md", "none/")
        assert listed(tmp_path, include=["*.csv"], exclude=["tmp"]) == ["a.csv", "d/b.csv"]
        assert listed(tmp_path, exclude=["*.md", "d/"]) == ["a.csv", "none/"]
        assert listed(tmp_path, include=["none/"]) == ["none/"]

    def test_what_a_filter_hides_does_not_make_a_folder_empty(self, tmp_path: Path) -> None:
        make(tmp_path, "docs/x.md", "a.csv")
        assert listed(tmp_path, exclude=["*.md"]) == ["a.csv"]


class TestRefused:
    def test_names_that_are_not_utf8(self, tmp_path: Path) -> None:
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))).write_text("x")
        with pytest.raises(BadInputError, match=r"'caf\\xe9' .* UTF-8; rename it"):
            LocalSource(tmp_path).files()
        assert listed(tmp_path, exclude=["caf?"]) == []
        make(tmp_path, ".dataverignore")
        (tmp_path / ".dataverignore").write_bytes(b"caf\xe9\n")
        assert listed(tmp_path) == [".dataverignore"]

    def test_the_path_to_the_source_need_not_be_utf8(self, tmp_path: Path) -> None:
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
        make(folder, "x")
        source = LocalSource(folder)
        assert source.name.endswith("/caf\\xe9")
        assert source.read_small(source.files()[0])[0] == b"x"
        with pytest.raises(BadInputError, match="refer"):
            source.locate(source.files()[0])

    def test_pipes_sockets_and_devices(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        os.mkfifo(tmp_path / "a pipe")
        with pytest.raises(BadInputError, match=r"a pipe is a named pipe.*--exclude"):
            LocalSource(tmp_path).files()
        assert listed(tmp_path, exclude=["a pipe"]) == []
        (tmp_path / ".dataverignore").write_text("a*\n")
        assert listed(tmp_path) == [".dataverignore"]
        (tmp_path / "a pipe").unlink()
        monkeypatch.chdir(tmp_path)  # the name of a socket is short
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("s")
            with pytest.raises(BadInputError, match="/s is a socket"):
                LocalSource(tmp_path).files()
        with pytest.raises(BadInputError, match="character device"):
            LocalSource("/dev/null")

    def test_a_pipe_as_the_source(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "p")
        with pytest.raises(BadInputError, match="named pipe"):
            LocalSource(tmp_path / "p")

    @pytest.mark.parametrize("path", ["absent", "file/below", "dangling"])
    def test_what_is_not_there(self, tmp_path: Path, path: str) -> None:
        make(tmp_path, "file")
        (tmp_path / "dangling").symlink_to("nowhere")
        with pytest.raises(PathNotFoundError, match=path):
            LocalSource(tmp_path / path)

    def test_a_source_that_went_away(self, tmp_path: Path) -> None:
        make(tmp_path, "d/x")
        source = LocalSource(tmp_path / "d")
        (tmp_path / "d/x").unlink()
        (tmp_path / "d").rmdir()
        with pytest.raises(PathNotFoundError):
            source.files()

    def test_a_circle_of_symlinks(self, tmp_path: Path) -> None:
        (tmp_path / "a").symlink_to("b")
        (tmp_path / "b").symlink_to("a")
        with pytest.raises(BadInputError, match="circle"):
            LocalSource(tmp_path / "a")

    def test_an_unreadable_folder_is_named(self, open_folder: Path) -> None:
        make(open_folder, "a/x", "b")
        (open_folder / "a").chmod(0)
        with as_nobody(), pytest.raises(NotPermittedError, match=r"/a/? cannot be read"):
            LocalSource(open_folder).files()
        with as_nobody():
            assert listed(open_folder, exclude=["/a"]) == ["b"]
        (open_folder / "a").chmod(0o755)

    @pytest.mark.parametrize("size", [1, 1 << 20])
    def test_an_unreadable_file_is_named(self, open_folder: Path, size: int) -> None:
        (open_folder / "x").write_bytes(b"x" * size)
        (open_folder / "x").chmod(0)
        with as_nobody():
            source = LocalSource(open_folder)
            (file,) = source.files()
            with pytest.raises(NotPermittedError, match=r"^x cannot be read"):
                source.read_small(file)
            with pytest.raises(NotPermittedError, match=r"^x cannot be read"):
                source.open_stable(file)

    def test_an_unreadable_ignore_file_is_named(self, open_folder: Path) -> None:
        make(open_folder, "d/.dataverignore", "d/x")
        (open_folder / "d/.dataverignore").chmod(0)
        with as_nobody(), pytest.raises(NotPermittedError, match=r"d/\.dataverignore cannot be read"):
            LocalSource(open_folder).files()


class TestOpenSource:
    @pytest.mark.parametrize("form", ["{}", "file://{}", "local://{}"])
    def test_paths_and_file_urls_are_local(self, tmp_path: Path, form: str) -> None:
        make(tmp_path, "with space/x")
        source = open_source(form.format(tmp_path / "with space"))
        assert isinstance(source, LocalSource)
        assert [file.path for file in source.files()] == [b"x"]

    def test_a_name_on_disk_is_no_url(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make(tmp_path, "memory:/x", "a::b")
        monkeypatch.chdir(tmp_path)
        for name in ("memory://x", "a::b"):
            assert isinstance(open_source(name), LocalSource)

    def test_a_path_object_is_never_a_url(self) -> None:
        with pytest.raises(PathNotFoundError):
            open_source(Path("memory://nowhere"))

    def test_what_it_is_given_arrives(self, tmp_path: Path) -> None:
        make(tmp_path, "a", "b", ".dataverignore")
        (tmp_path / ".dataverignore").write_text("b")
        assert [f.path for f in open_source(tmp_path, include=["?"]).files()] == [b"a"]
        assert [f.path for f in open_source(tmp_path, exclude=[".*"], ignore=False).files()] == [b"a", b"b"]

    def test_a_file_can_be_found_again(self, tmp_path: Path) -> None:
        make(tmp_path, "d/x y")
        source = LocalSource(tmp_path / "d")
        url, tag = source.locate(source.files()[0])
        assert tag == ""
        again = open_source(url)
        assert again.read_small(again.files()[0])[0] == b"d/x y"


def test_listing_many_files_does_not_open_them(tmp_path: Path) -> None:
    make(tmp_path, "a", "b")
    for name in ("a", "b"):
        os.utime(tmp_path / name, ns=(0, time.time_ns()))  # an access time that a read would replace
    LocalSource(tmp_path).files()
    assert [os.stat(tmp_path / name).st_atime_ns for name in ("a", "b")] == [0, 0]
