"""Versions that nobody honest made, and targets that somebody prepared: a checkout stays below its target."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from dataver.checkout import Checkout
from dataver.errors import BadInputError, DamagedError, DataverError, WouldOverwriteError
from dataver.fs import DataverFileSystem
from dataver.repository import Repository, init
from dataver.tree.manifest import REFERENCE, SYMLINK, Entry, to_entry, to_row
from dataver.tree.schema import Link, NodeStore
from dataver.tree.update import Edits, update
from tests.damage import opened
from tests.worlds import FILE, LINK, Thing, World, noise, read, write

OUTSIDE = "nobody wrote to it"


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder beside the target that holds one file; neither may change, and nothing may be added."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text(OUTSIDE)
    before = stat.S_IMODE((folder / "file").stat().st_mode)
    yield folder
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").read_text() == OUTSIDE
    assert stat.S_IMODE((folder / "file").stat().st_mode) == before


def forged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: Callable[[Entry], Entry], world: World
) -> Repository:
    """A repository with a version whose manifest lists what `lie` makes of its entries."""

    def lying(nodes: NodeStore, root: Link, edits: Edits) -> Link:
        rows = [to_row(lie(to_entry(row))) for row in edits.values() if row is not None]
        return update(nodes, root, {row.key: row for row in rows})

    repository = init(tmp_path / "repository")
    write(tmp_path / "data", world)
    with monkeypatch.context() as forger:
        forger.setattr("dataver.publish.update", lying)
        # Honest writers look at paths as they build a tree.
        forger.setattr("dataver.tree.manifest.check_paths", lambda paths: None)
        repository.commit("d", tmp_path / "data")
    return opened(repository)


BAD_PATHS = [
    b"/tmp/evil",
    b"../evil",
    b"a/../../evil",
    b"a/./evil",
    b"a//evil",
    b"evil/",
    b"..",
    b"a/..",
    b".dataver/config",
    b"a/.dataver/log/0",
    b"a\0b",
    b"\xff\xfe",
]


@pytest.mark.parametrize("path", BAD_PATHS, ids=repr)
def test_a_path_that_leads_elsewhere_is_damage(
    path: bytes, tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world: World = {b"honest": Thing(FILE, b"1"), b"victim": Thing(FILE, b"2")}

    def lie(entry: Entry) -> Entry:
        return entry._replace(path=path) if entry.path == b"victim" else entry

    repository = forged(tmp_path, monkeypatch, lie, world)
    before = sorted(tmp_path.rglob("*"))
    version = repository.version("d")
    fs = DataverFileSystem(repo=repository.url, skip_instance_cache=True)
    for way_out in (
        lambda: repository.checkout("d", tmp_path / "target"),
        lambda: version.checkout(tmp_path / "target"),
        lambda: list(version.files()),
        version.path,
        lambda: fs.get("d@v1/", str(tmp_path / "got"), recursive=True),
        lambda: repository.revert("d@v1"),
    ):
        with pytest.raises(DataverError):
            way_out()
        assert not list((tmp_path / "target").rglob("*"))
    assert not repository.verify().ok
    assert [place for place in sorted(tmp_path.rglob("*")) if place.name == "evil"] == []
    assert set(before) <= set(tmp_path.rglob("*"))


@pytest.mark.parametrize("beside", [True, False])
def test_a_reference_to_nowhere_is_damage_and_not_left_out(
    beside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world: World = {b"honest": Thing(FILE, b"1"), b"victim": Thing(FILE, b"2")}

    def lie(entry: Entry) -> Entry:
        return entry._replace(kind=REFERENCE) if entry.path == b"victim" else entry

    repository = forged(tmp_path, monkeypatch, lie, world)
    target = tmp_path / "target"
    target.mkdir()
    if beside:
        (target / "mine").write_text("mine")
    with pytest.raises(DamagedError):
        repository.checkout("d", target)
    assert not (target / "victim").exists()


def test_a_symlink_that_cannot_be_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world: World = {b"honest": Thing(FILE, b"1"), b"victim": Thing(FILE, b"a\0b")}

    def lie(entry: Entry) -> Entry:
        return entry._replace(kind=SYMLINK) if entry.path == b"victim" else entry

    repository = forged(tmp_path, monkeypatch, lie, world)
    with pytest.raises(DamagedError, match=r"victim is a symlink to 'a\\x00b', which .*--exclude"):
        repository.checkout("d", tmp_path / "target")
    with pytest.raises(DataverError):
        repository.version("d").path()
    assert not os.path.lexists(tmp_path / "target" / "victim")
    repository.checkout("d", tmp_path / "target", exclude=["victim"])
    assert (tmp_path / "target" / "honest").read_bytes() == b"1"


def test_a_symlink_of_the_version_is_no_folder_for_another_file(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world: World = {b"a": Thing(LINK, os.fsencode(outside)), b"victim": Thing(FILE, b"2")}

    def lie(entry: Entry) -> Entry:
        return entry._replace(path=b"a/file") if entry.path == b"victim" else entry

    repository = forged(tmp_path, monkeypatch, lie, world)
    with pytest.raises(DataverError):
        repository.checkout("d", tmp_path / "target")
    with pytest.raises(DataverError):
        repository.version("d").path()


def test_symlinks_of_a_version_are_made_and_never_followed(tmp_path: Path, outside: Path) -> None:
    world: World = {b"a": Thing(LINK, os.fsencode(outside)), b"b": Thing(LINK, b"/dev/zero")}
    repository = init(tmp_path / "repository")
    write(tmp_path / "data", world)
    repository.commit("d", tmp_path / "data")
    repository.checkout("d", tmp_path / "target")
    assert read(tmp_path / "target") == world
    write(tmp_path / "data", {b"a/file": Thing(FILE, b"1"), b"b": Thing(FILE, b"2")})
    repository.commit("d", tmp_path / "data")
    # What it made itself it may replace; still nothing is written through it.
    repository.checkout("d", tmp_path / "target")
    assert read(tmp_path / "target") == {b"a/file": Thing(FILE, b"1"), b"b": Thing(FILE, b"2")}
    with pytest.raises(DataverError):
        repository.version("d@v1").open("a").close()
    with pytest.raises(BadInputError, match="out of the version"):
        repository.version("d@v1").path()


# Targets that somebody prepared


def planted(tmp_path: Path, world: World) -> Repository:
    repository = init(tmp_path / "repository")
    write(tmp_path / "data", world)
    repository.commit("d", tmp_path / "data")
    (tmp_path / "target").mkdir()
    return repository


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_planted_symlink_is_replaced_or_refused_and_never_written_through(
    tmp_path: Path, outside: Path, overwrite: bool
) -> None:
    repository = planted(tmp_path, {b"file": Thing(FILE, b"new"), b"deep/er/file": Thing(FILE, b"new")})
    (tmp_path / "target" / "file").symlink_to(outside / "file")
    (tmp_path / "target" / "deep").symlink_to(outside)
    if not overwrite:
        with pytest.raises(WouldOverwriteError):
            repository.checkout("d", tmp_path / "target")
        return
    repository.checkout("d", tmp_path / "target", overwrite=True)
    assert read(tmp_path / "target") == read(tmp_path / "data")


def test_a_hard_link_is_replaced_and_never_written_through(tmp_path: Path, outside: Path) -> None:
    repository = planted(
        tmp_path, {b"file": Thing(FILE, b"new"), b"same": Thing(FILE, OUTSIDE.encode(), True)}
    )
    os.link(outside / "file", tmp_path / "target" / "file")
    os.link(outside / "file", tmp_path / "target" / "same")
    with pytest.raises(WouldOverwriteError):
        repository.checkout("d", tmp_path / "target")
    repository.checkout("d", tmp_path / "target", overwrite=True)
    assert read(tmp_path / "target") == read(tmp_path / "data")


@pytest.mark.parametrize("overwrite", [False, True])
def test_pipes_in_the_way_are_not_opened(tmp_path: Path, overwrite: bool) -> None:
    repository = planted(tmp_path, {b"file": Thing(FILE, b"new"), b"folder/file": Thing(FILE, b"new")})
    os.mkfifo(tmp_path / "target" / "file")
    os.mkfifo(tmp_path / "target" / "folder")
    if not overwrite:
        with pytest.raises(WouldOverwriteError):
            repository.checkout("d", tmp_path / "target")
        return
    repository.checkout("d", tmp_path / "target", overwrite=True)
    assert read(tmp_path / "target") == read(tmp_path / "data")


def test_no_special_bits_are_recorded_or_written(tmp_path: Path) -> None:
    write(tmp_path / "data", {b"tool": Thing(FILE, b"#!/bin/sh\n", True), b"plain": Thing(FILE, b"1")})
    for name in ("tool", "plain"):
        path = tmp_path / "data" / name
        path.chmod(0o7000 | stat.S_IMODE(path.stat().st_mode))
    repository = init(tmp_path / "repository")
    repository.commit("d", tmp_path / "data")
    repository.checkout("d", tmp_path / "target")
    assert stat.S_IMODE((tmp_path / "target" / "tool").stat().st_mode) & 0o7111 == 0o0111
    # Somebody's own file loses them too, where its executable bit is set right.
    (tmp_path / "target" / "tool").chmod(0o6644)
    repository.checkout("d", tmp_path / "target", overwrite=True)
    assert stat.S_IMODE((tmp_path / "target" / "tool").stat().st_mode) == 0o755


class Swap:
    """At the `moment`-th call of the file system that Python makes, a symlink that leads out takes a place.

    The folder that was there goes aside.
    """

    now: Swap | None = None

    def __init__(self, moment: int, place: Path, outside: Path) -> None:
        self._left, self._place, self._outside = moment, place, outside
        self._lock = threading.Lock()
        self.done = False

    def __enter__(self) -> Self:
        Swap.now = self
        return self

    def __exit__(self, *_: object) -> None:
        Swap.now = None

    def call(self) -> None:
        with self._lock:
            self._left -= 1
            if self.done or self._left >= 0:
                return
            self.done = True
        with suppress(FileNotFoundError):
            self._place.rename(self._place.with_name("aside"))
        with suppress(FileNotFoundError):
            self._place.symlink_to(self._outside)


CALLS = {"open", "os.mkdir", "os.rename", "os.symlink", "os.remove", "os.rmdir", "os.scandir", "os.listdir"}


def on_call(event: str, arguments: tuple[object, ...]) -> None:
    if Swap.now is not None and event in CALLS:
        Swap.now.call()


sys.addaudithook(on_call)  # It stays; where nobody swaps it does nothing.


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("swapped", ["", "folder", "folder/deep"])
def test_symlinks_swapped_in_at_every_moment(
    tmp_path: Path, outside: Path, swapped: str, there: bool
) -> None:
    world: World = {b"folder/a": Thing(FILE, b"a"), b"folder/deep/b": Thing(FILE, b"b")}
    world[b"folder/deep/large"] = Thing(FILE, noise(0, 1 << 20))
    world[b"folder/link"] = Thing(LINK, b"a")
    repository = planted(tmp_path, world)
    (outside / "deep").mkdir()
    for moment in range(10_000):
        target = tmp_path / f"target-{moment}"
        if there:
            write(target, {b"folder/a": Thing(FILE, b"old"), b"folder/deep/old": Thing(FILE, b"old")})
        # Where the target is, through symlinks or not, was settled when it was named.
        checkout = Checkout(repository.session, repository.session.resolve("d"), target, overwrite=True)
        with Swap(moment, target / swapped, outside) as swap, suppress(DataverError):
            checkout.run()
        assert sorted(path.name for path in outside.rglob("*")) == ["deep", "file"], moment
        shutil.rmtree(target.parent / "aside", ignore_errors=True)
        if not swap.done:
            break
    assert moment > 5, "it was over before anything was swapped"
    (outside / "deep").rmdir()
