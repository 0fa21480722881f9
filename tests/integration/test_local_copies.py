"""Local copies: what `Version.path` gives is right and read-only, whatever is done to it."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from dataver.errors import (
    BadInputError,
    DamagedError,
    NotPermittedError,
    PathNotFoundError,
    StoreError,
)
from dataver.readers import copies
from dataver.repository import Repository, init
from dataver.tree.manifest import SYMLINK, Entry
from dataver.version import Version
from tests.local_copies import BIG, WORLD, begin_again, below, commit, places
from tests.worlds import FILE, LINK, Thing, World, read, text, write


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return init(str(tmp_path / "repository"))


@pytest.fixture
def things(repository: Repository, tmp_path: Path) -> Version:
    return commit(repository, tmp_path / "data", WORLD)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The files that were hashed again."""
    found: list[bytes] = []
    compare = copies._stamp_if_right

    def noted(path: bytes, entry: Entry) -> bytes:
        found.append(entry.path)
        return compare(path, entry)

    monkeypatch.setattr(copies, "_stamp_if_right", noted)
    return found


# What is given


def test_all_files_of_a_version(things: Version) -> None:
    root = things.path()
    assert (root.name, root) == ("things", things.path(""))
    assert read(root) == WORLD
    for path in root.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        executable = path.name == "run.sh" or path.is_dir()
        assert path.is_symlink() or mode == (0o500 if executable else 0o400)
    for folder in (places(), *places().iterdir()):
        if folder.is_dir():
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [*(places() / "making").iterdir()] == []


@pytest.mark.parametrize("path", ["train", "train/", "odd", "nothing", "train/deep/er"])
def test_a_folder(things: Version, path: str) -> None:
    world = below(f"{path.rstrip('/')}/".encode())
    assert read(things.path(path)) == world
    assert things.path(path).name == path.rstrip("/").rpartition("/")[2]


def test_a_file(things: Version) -> None:
    for path, thing in WORLD.items():
        if thing.kind == FILE:
            copy = things.path(path.decode())
            assert copy.read_bytes() == thing.data
            assert os.fsencode(copy.name) == path.rpartition(b"/")[2]
            assert os.access(copy, os.X_OK) == thing.executable
    assert read(things.path("nothing/here")) == {}
    for link, name in (("train/latest", "latest"), ("train/deep/up", "up")):
        copy = things.path(link)
        assert (copy.name, copy.is_symlink(), copy.read_bytes()) == (name, False, text("part", 9_000))
    assert read(things.path("train/deep/folder")) == {b"file": Thing(FILE, b"deep")}


def test_what_is_not_there(things: Version) -> None:
    for path in ("missing", "train/nowhere", "big.bin/below"):
        with pytest.raises(PathNotFoundError, match="dataver ls"):
            things.path(path)
    for path in ("../etc", "/etc/passwd", "train/../../x"):
        with pytest.raises(BadInputError):
            things.path(path)


def test_equal_files_are_one(things: Version, repository: Repository, tmp_path: Path) -> None:
    root = things.path()
    one = (root / "train" / "part-0.csv").stat()
    for same in (
        root / "train" / "again.csv",
        things.path("train") / "again.csv",
        things.path("train/latest"),
    ):
        assert same.stat().st_ino == one.st_ino
    assert (root / "run.sh").stat().st_ino != (root / "not-run.sh").stat().st_ino
    world = {**WORLD, b"rows.csv": Thing(FILE, b"other")}
    again = commit(repository, tmp_path / "data", world).path()
    assert read(again) == world
    assert read(root) == WORLD
    assert (again / "big.bin").stat().st_ino == (root / "big.bin").stat().st_ino
    others = commit(repository, tmp_path / "others", {b"a/b": Thing(FILE, BIG)}, "others").path("a")
    assert (others / "b").stat().st_ino == (root / "big.bin").stat().st_ino


def test_nothing_is_hashed_again_while_copies_come_and_go(
    things: Version,
    repository: Repository,
    tmp_path: Path,
    hashed: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for path in ("", "train", "big.bin", "", "rows.csv"):
        things.path(path)
    newer = commit(repository, tmp_path / "data", {**WORLD, b"run.sh": Thing(FILE, b"new")})
    newer.path()
    begin_again()
    newer.path()
    monkeypatch.setenv("DATAVER_COPIES_MAX", "1K")
    newer.path("run.sh")  # Makes room: all but what is held goes.
    assert len([*(places() / "units").iterdir()]) == 2
    assert read(newer.path("train")) == below(b"train/")
    assert hashed == []


def test_references(repository: Repository, tmp_path: Path) -> None:
    write(tmp_path / "data", {b"big": Thing(FILE, BIG), b"small": Thing(FILE, b"small")})
    repository.commit("things", tmp_path / "data", reference=True)
    root = repository.version("things").path()
    assert read(root) == {b"big": Thing(FILE, BIG), b"small": Thing(FILE, b"small")}
    (tmp_path / "data" / "big").write_bytes(b"changed")
    assert (repository.version("things").path() / "big").read_bytes() == BIG


# Links that lead out


@pytest.mark.parametrize(
    "target",
    ["/etc/passwd", "../../../../etc/passwd", "../missing", "..", "../other", "sub/../../x", "in/../../x"],
)
def test_no_link_leads_out_of_a_copy(repository: Repository, tmp_path: Path, target: str) -> None:
    world: World = {
        b"train/link": Thing(LINK, target.encode()),
        b"train/sub/file": Thing(FILE, b"1"),
        b"train/in": Thing(LINK, b"sub"),
        b"other/file": Thing(FILE, b"2"),
    }
    version = commit(repository, tmp_path / "data", world)
    with pytest.raises(BadInputError, match="train/link"):
        version.path("train")
    leads_out = target.startswith("/") or target.count("../") > 2
    if leads_out:
        with pytest.raises(BadInputError, match="out of the version"):
            version.path()
    assert not (places() / "units").exists()


def test_a_link_to_another_file_of_the_version_is_that_file(repository: Repository, tmp_path: Path) -> None:
    world: World = {
        b"train/link": Thing(LINK, b"../raw/file"),
        b"train/deep/over": Thing(LINK, b"../link"),
        b"train/back": Thing(LINK, b"../train/inside"),
        b"train/inside": Thing(FILE, b"inside"),
        b"raw/file": Thing(FILE, b"raw", executable=True),
        b"train/circle": Thing(LINK, b"circle"),
    }
    version = commit(repository, tmp_path / "data", world)
    raw = Thing(FILE, b"raw", executable=True)
    assert read(version.path("train")) == {
        b"link": raw,
        b"deep/over": raw,
        b"back": Thing(FILE, b"inside"),
        b"inside": Thing(FILE, b"inside"),
        b"circle": Thing(LINK, b"circle"),
    }
    assert read(version.path()) == world


@pytest.mark.parametrize(
    "paths",
    [[b"x/../../evil"], [b"../evil"], [b"/evil"], [b"x/.dataver/config"], [b"x/a", b"x/a/b"], [b"x/a\0b"]],
)
def test_names_of_a_hostile_manifest(things: Version, tmp_path: Path, paths: list[bytes]) -> None:
    some = things.entry("train/part-0.csv")
    link = Entry(b"", SYMLINK, False, 5, things.tree_of_files().get(b"train/latest").digest)  # type: ignore[union-attr]
    entries = [(link if path == b"x/a" else some)._replace(path=path) for path in paths]
    with pytest.raises(DamagedError):
        copies._copied(things, copies.Tree(b"x", entries))
    assert not places().exists()


def test_a_path_that_is_too_long(repository: Repository, tmp_path: Path) -> None:
    version = commit(
        repository, tmp_path / "data", {b"/".join([b"d" * 204] * 19) + b"/file": Thing(FILE, b"1")}
    )
    with pytest.raises(StoreError, match="File name too long"):
        version.path()
    deep = b"/".join([b"d"] * 300) + b"/file"
    assert read(commit(repository, tmp_path / "deep", {deep: Thing(FILE, b"1")}).path()) == {
        deep: Thing(FILE, b"1")
    }


# What was changed meanwhile


def change(path: Path, data: bytes) -> None:
    """Other bytes, with all that `utime` can set as it was."""
    before = path.stat()
    mode = stat.S_IMODE(before.st_mode)
    path.chmod(0o644)
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.chmod(mode)


def grown(path: Path) -> None:
    path.chmod(0o644)
    with path.open("ab") as file:
        file.write(b"more")


def replaced(path: Path) -> None:
    path.parent.chmod(0o755)
    path.unlink()
    path.write_bytes(b"another")


def removed(path: Path) -> None:
    path.parent.chmod(0o755)
    path.unlink()


def led_elsewhere(path: Path) -> None:
    removed(path)
    path.symlink_to("/etc/passwd")


def made_a_folder(path: Path) -> None:
    removed(path)
    path.mkdir()


def joined(path: Path) -> None:
    path.parent.chmod(0o755)
    (path.parent / "extra.csv").write_bytes(b"more rows")


def relinked(path: Path) -> None:
    removed(path.parent / "latest")
    (path.parent / "latest").symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: change(path, path.read_bytes()[:-1] + b"!"),
        grown,
        replaced,
        removed,
        led_elsewhere,
        made_a_folder,
        joined,
        relinked,
        lambda path: shutil.rmtree(path.parent),
        lambda path: shutil.rmtree(places()),
        lambda path: shutil.rmtree(places() / "files"),
        lambda path: (places() / "stamps").unlink(),
        lambda path: (places() / "stamps").write_bytes(b"rubbish" * 99),
        lambda path: os.truncate(places() / "stamps", (places() / "stamps").stat().st_size - 30),
    ],
)
def test_what_was_changed_is_not_given_out(things: Version, harm: Callable[[Path], object]) -> None:
    root, train = things.path(), things.path("train")
    harm(train / "part-0.csv")
    assert read(things.path("train")) == below(b"train/")
    assert things.path("train") == train
    assert read(things.path()) == WORLD
    assert things.path() == root
    begin_again()
    assert read(things.path("train/part-0.csv").parent) == {b"part-0.csv": WORLD[b"train/part-0.csv"]}
    assert read(things.path("train")) == below(b"train/")
    assert stat.S_IMODE((train / "part-0.csv").stat().st_mode) == 0o400


def test_what_was_only_touched_is_hashed_and_kept(things: Version, hashed: list[bytes]) -> None:
    root = things.path()
    before = (root / "big.bin").stat()
    os.utime(root / "big.bin")
    (root / "rows.csv").chmod(0o666)
    assert things.path() == root
    assert sorted(hashed) == [b"things/big.bin", b"things/rows.csv"]
    assert (root / "big.bin").stat().st_ino == before.st_ino
    assert stat.S_IMODE((root / "rows.csv").stat().st_mode) == 0o400
    hashed.clear()
    things.path()
    things.path("big.bin")
    assert hashed == []


def test_a_damaged_repository_leaves_nothing_behind(repository: Repository, tmp_path: Path) -> None:
    version = commit(
        repository, tmp_path / "data", {b"a/big": Thing(FILE, BIG), b"a/small": Thing(FILE, b"1")}
    )
    for pack in (tmp_path / "repository" / "packs").glob("*/*"):
        data = bytearray(pack.read_bytes())
        at = data.find(BIG[-1000:])
        if at >= 0:
            data[at + 5] ^= 1
            pack.chmod(0o644)
            pack.write_bytes(data)
    with pytest.raises(DamagedError):
        version.path("a")
    assert version.path("a/small").read_bytes() == b"1"
    assert len([*(places() / "units").iterdir()]) == 1
    assert [*(places() / "making").iterdir()] == []


def test_a_cache_folder_that_cannot_be(
    things: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(StoreError, match="DATAVER_CACHE_DIR"):
        things.path()
    monkeypatch.setenv("DATAVER_CACHE_DIR", "/proc/cache")
    with pytest.raises((NotPermittedError, StoreError), match="DATAVER_CACHE_DIR"):
        things.path()


@pytest.mark.parametrize("why", [errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP])
def test_a_file_system_without_links(
    things: Version, monkeypatch: pytest.MonkeyPatch, hashed: list[bytes], why: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(why, os.strerror(why))

    monkeypatch.setattr(os, "link", refuse)
    assert read(things.path()) == WORLD
    assert read(things.path("train")) == below(b"train/")
    begin_again()
    assert read(things.path()) == WORLD
    assert hashed == []
