"""Local copies: what `Version.path` gives is right, read-only and shared, whatever others do to it."""

from __future__ import annotations

import errno
import mmap
import multiprocessing
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from dataver.config import cache_folder
from dataver.errors import (
    BadInputError,
    DamagedError,
    NotPermittedError,
    OfflineError,
    PathNotFoundError,
    StoreError,
)
from dataver.readers import copies
from dataver.readers import shelf as shelves
from dataver.readers.stamps import Known, Stamps
from dataver.repository import Repository, init
from dataver.source.columns import pack_stamp
from dataver.store.memory import MemoryStore
from dataver.testing.stores import CountingStore
from dataver.tree.manifest import FILE as FILE_KIND
from dataver.tree.manifest import SYMLINK, Entry
from dataver.version import Version
from tests.far import far_repository, opened
from tests.worlds import EMPTY, FILE, LINK, Thing, World, noise, read, text, write

BIG = noise("big", 1_500_000)
WORLD: World = {
    b"big.bin": Thing(FILE, BIG),
    b"rows.csv": Thing(FILE, text("rows", 300_000)),
    b"run.sh": Thing(FILE, b"#!/bin/sh\n", executable=True),
    b"not-run.sh": Thing(FILE, b"#!/bin/sh\n"),
    b"empty.txt": Thing(FILE),
    b"empty-too.txt": Thing(FILE),
    b"nothing/here": EMPTY,
    b"train/part-0.csv": Thing(FILE, text("part", 9_000)),
    b"train/again.csv": Thing(FILE, text("part", 9_000)),
    b"train/deep/er/file": Thing(FILE, b"deep"),
    b"train/latest": Thing(LINK, b"part-0.csv"),
    b"train/deep/up": Thing(LINK, b"../part-0.csv"),
    b"train/deep/folder": Thing(LINK, b"er"),
    b"train/nowhere": Thing(LINK, b"missing"),
    b"odd/new\nline": Thing(FILE, b"1"),
    "odd/ü@#?.csv".encode(): Thing(FILE, b"2"),
    b"odd/[1]*.csv": Thing(FILE, b"3"),
    b"odd/back\\slash": Thing(FILE, b"4"),
    b"odd/-": Thing(FILE, b"5"),
    b"odd/.hidden": Thing(FILE, b"6"),
}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return init(str(tmp_path / "repository"))


def commit(repository: Repository, folder: Path, world: World, name: str = "vision/things") -> Version:
    write(folder, world)
    repository.commit(name, folder)
    return repository.version(name)


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


def below(prefix: bytes) -> World:
    return {path[len(prefix) :]: thing for path, thing in WORLD.items() if path.startswith(prefix)}


def places() -> Path:
    return cache_folder() / "copies"


def begin_again() -> None:
    """Forget that this process uses any copy, as one that begins does."""
    for shelf in shelves._shelves.values():
        if shelf._lease >= 0:
            os.close(shelf._lease)
    shelves._shelves.clear()


# What is given


def test_all_files_of_a_version(things: Version) -> None:
    root = things.path()
    assert (root.name, root) == ("things", things.path(""))
    assert read(root) == WORLD
    for path in root.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        executable = path.name == "run.sh" or path.is_dir()
        assert path.is_symlink() or mode == (0o555 if executable else 0o444)
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
    assert stat.S_IMODE((train / "part-0.csv").stat().st_mode) == 0o444


def test_what_was_only_touched_is_hashed_and_kept(things: Version, hashed: list[bytes]) -> None:
    root = things.path()
    before = (root / "big.bin").stat()
    os.utime(root / "big.bin")
    (root / "rows.csv").chmod(0o666)
    assert things.path() == root
    assert sorted(hashed) == [b"things/big.bin", b"things/rows.csv"]
    assert (root / "big.bin").stat().st_ino == before.st_ino
    assert stat.S_IMODE((root / "rows.csv").stat().st_mode) == 0o444
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


# Room


def units() -> set[str]:
    return {path.name for unit in (places() / "units").iterdir() for path in unit.iterdir()}


def used_bytes() -> int:
    files = {path.stat().st_ino: path.stat().st_size for path in places().rglob("*") if path.is_file()}
    return sum(files.values())


@pytest.fixture
def parts(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Version:
    monkeypatch.setenv("DATAVER_COPIES_MAX", "1M")
    return commit(
        repository, tmp_path / "data", {b"%d" % n: Thing(FILE, noise(n, 300_000)) for n in range(10)}
    )


def test_what_was_used_longest_ago_goes_first(parts: Version) -> None:
    for name in "0123401":
        time.sleep(0.01)
        begin_again()
        parts.path(name)
    assert units() == {"4", "0", "1"}
    assert used_bytes() < (1 << 20) + 50_000
    for name in "4", "0", "1":
        assert parts.path(name).read_bytes() == noise(int(name), 300_000)


def test_what_this_process_uses_stays(parts: Version) -> None:
    given = [parts.path(str(number)) for number in range(10)]
    assert [path.read_bytes() for path in given] == [noise(number, 300_000) for number in range(10)]
    begin_again()
    parts.path("0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAVER_COPIES_MAX", "0")
        shutil.rmtree(places() / "units" / parts.path("3").parent.name)
        parts.path("3")
    assert units() == {"0", "3"}


def test_files_that_are_shared_count_once_and_stay(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashed: list[bytes]
) -> None:
    monkeypatch.setenv("DATAVER_COPIES_MAX", "1M")
    world: World = {b"base": Thing(FILE, noise("base", 600_000))}
    versions = [
        commit(repository, tmp_path / "data", {**world, b"n": Thing(FILE, noise(n, 50_000))})
        for n in range(12)
    ]
    for version in versions:
        begin_again()
        assert len(read(version.path())) == 2
    assert 5 < len([*(places() / "units").iterdir()]) < 12
    assert hashed == []
    assert versions[-1].path("base").stat().st_nlink > 5


def test_what_is_open_goes_on_after_its_removal(parts: Version) -> None:
    path = parts.path("0")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        begin_again()
        for name in "123":
            parts.path(name)
        assert not path.exists()
        assert mapped[:] == file.read() == noise(0, 300_000)


HOLDER = """
import sys
from dataver.repository import open_repository
path = open_repository(sys.argv[1]).version("vision/things").path("0")
print(path, flush=True)
sys.stdin.read()
"""


def test_what_another_process_uses_stays_until_it_ends(parts: Version) -> None:
    arguments = [sys.executable, "-c", HOLDER, parts.repository.url]
    holder = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    path = Path(holder.stdout.readline().strip())
    for name in "123":
        begin_again()
        parts.path(name)
    assert path.read_bytes() == noise(0, 300_000)
    assert parts.path("0") == path
    holder.kill()
    holder.communicate()
    for name in "456":
        begin_again()
        parts.path(name)
    assert not path.exists()
    assert len([*(places() / "leases").iterdir()]) == 1


# Many at once


def spawned(version: Version, path: str, ready: Any) -> tuple[str, int]:
    ready.wait()
    found = version.path(path)
    return str(found), (found / "big.bin").stat().st_ino


@pytest.mark.parametrize("way", ["spawn", "fork"])
def test_processes_at_once_make_one_copy(things: Version, way: str) -> None:
    if way == "fork":
        things.path("rows.csv")  # The parent has a lease and locks by then.
    context = multiprocessing.get_context(way)
    with context.Manager() as manager:
        ready = manager.Barrier(4)
        with warnings.catch_warnings(), context.Pool(4) as pool:
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads that a fork leaves behind
            found = pool.starmap(spawned, [(things, "", ready)] * 4)
    assert len(set(found)) == 1
    assert read(Path(found[0][0])) == WORLD
    assert [*(places() / "making").iterdir()] == []


def test_threads_at_once(things: Version, hashed: list[bytes]) -> None:
    paths = ["", "train", "big.bin", "rows.csv", "odd", "train/part-0.csv"] * 4
    random.Random(1).shuffle(paths)
    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(things.path, paths)]
    assert len(set(found)) == 6
    assert read(things.path()) == WORLD


def test_a_forked_process_of_a_busy_one(things: Version) -> None:
    script = """
import os, sys
from dataver.readers import shelf
from dataver.repository import open_repository

version = open_repository(sys.argv[1]).version("vision/things")
first = version.path("rows.csv").read_bytes()
place = shelf.shelf()
with place._thread_lock, shelf._shelves_lock:
    child = os.fork()
    if child == 0:
        same = version.path("rows.csv").read_bytes() == first
        os._exit(0 if same and version.path("big.bin").stat().st_size == 1_500_000 else 1)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    url = things.repository.url
    subprocess.run([sys.executable, "-W", "ignore", "-c", script, url], check=True, timeout=60)


KILLED = """
import sys
import dataver.readers.copies
from dataver.repository import open_repository
version = open_repository(sys.argv[1]).version("vision/things")
print("ready", flush=True)
version.path()
print("done", flush=True)
"""


def attack(repository: Repository, tmp_path: Path, kills: int) -> None:
    """Kill the one who makes a copy; the next makes it, and nothing of the others is left."""
    world = {**WORLD, **{b"many/%03d" % n: Thing(FILE, noise(n, 3_000)) for n in range(300)}}
    version = commit(repository, tmp_path / "data", world)
    rng = random.Random(kills)
    done = 0
    for _ in range(kills):
        arguments = [sys.executable, "-c", KILLED, repository.url]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0, 0.15))
            child.send_signal(signal.SIGKILL)
            done += child.stdout.readline() == b"done\n"
        if rng.random() < 0.3:
            assert read(version.path()) == world
            begin_again()
        if rng.random() < 0.5:
            for unit in (places() / "units").glob("*"):
                unit.rename(places() / "making" / f"killed-{uuid4().hex}")
    assert done < kills
    assert read(version.path()) == world
    assert [*(places() / "making").iterdir()] == []
    assert len([*(places() / "leases").iterdir()]) == 1


def test_a_killed_process(repository: Repository, tmp_path: Path) -> None:
    attack(repository, tmp_path, 8)


@pytest.mark.soak
def test_many_killed_processes(repository: Repository, tmp_path: Path) -> None:
    attack(repository, tmp_path, 200)


# Far away


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    store = CountingStore(MemoryStore(uuid4().hex))
    write(tmp_path / "source", WORLD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAVER_CACHE_MAX", "0")
        repository = far_repository(store)
        repository.session.create()
        repository.commit("iris", tmp_path / "source")
    return store


def test_a_copy_of_what_is_far_away_is_there_offline(store: CountingStore) -> None:
    root = opened(store).version("iris").path("odd")
    shutil.rmtree(cache_folder() / "objects")  # Whatever it had of the files.
    [*opened(store).version("iris").files()]
    store.calls.clear()
    offline = opened(store, offline=True).version("iris")
    assert offline.path("odd") == root
    assert read(root) == below(b"odd/")
    with pytest.raises(OfflineError):
        offline.path("big.bin")
    assert store.calls == []


# What is remembered


def known(inode: int, size: int = 1, digest: int = 0) -> Known:
    return Known(pack_stamp(FILE_KIND, size, 5, 6, inode), bytes([digest]) * 32)


@pytest.fixture
def stamps(tmp_path: Path) -> Callable[[], Stamps]:
    def make() -> Stamps:
        found = Stamps(str(tmp_path / "stamps"))
        found.refresh()
        return found

    return make


def noted(stamps: Stamps, *rows: Known) -> None:
    for row in rows:
        stamps.note(row)
    stamps.save()


def test_stamps_are_seen_by_others(stamps: Callable[[], Stamps]) -> None:
    one, other = stamps(), stamps()
    assert one.get(1) is None
    noted(one, known(1, 10), known(2, 20))
    other.refresh()
    assert (other.get(1), other.get(2), other.size_bytes) == (known(1, 10), known(2, 20), 30)
    noted(other, known(1, 11, 7))
    one.refresh()
    assert (one.get(1), one.size_bytes) == (known(1, 11, 7), 31)
    one.keep([2])
    other.refresh()
    assert (other.get(1), other.get(2), other.size_bytes) == (None, known(2, 20), 20)
    noted(other, known(3))
    one.refresh()
    assert one.get(3) == stamps().get(3) == known(3)


def test_stamps_that_are_torn(stamps: Callable[[], Stamps], tmp_path: Path) -> None:
    noted(stamps(), known(1), known(2), known(3))
    path = tmp_path / "stamps"
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        again = stamps()
        assert again.get(3) is None
        noted(again, known(4))
        assert stamps().get(4) == known(4)
    for at in range(0, len(data), 5):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        for inode in (1, 2, 3):
            assert stamps().get(inode) in (None, known(inode))


def test_stamps_do_not_grow_for_ever(stamps: Callable[[], Stamps], tmp_path: Path) -> None:
    one = stamps()
    for number in range(40):
        noted(one, *(known(inode, number) for inode in range(1000)))
    assert (tmp_path / "stamps").stat().st_size < 20_000 * 80
    assert stamps().size_bytes == 1000 * 39
