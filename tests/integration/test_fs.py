"""`dataver://` as fsspec, pandas, pyarrow and others use it, on real repositories."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pandas
import pyarrow.dataset
import pyarrow.fs
import pytest
from blake3 import blake3
from fsspec.implementations.local import LocalFileSystem
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests

from dataver.errors import BadInputError, RefNotFoundError, RepositoryNotFoundError
from dataver.fs import DataverFileSystem
from dataver.repository import Repository, init, open_repository
from tests.worlds import EMPTY, FILE, LINK, Thing, World, noise, text, write

BIG = noise("big", 700_000)
ROWS = text("rows", 500_000)
ODD = ["new\nline", "ü@#?.csv", "[1]*.csv", "a b%20+", "x::y", "back\\slash", "-", ".hidden"]

FILES: dict[str, bytes] = {
    "big.bin": BIG,
    "rows.csv": ROWS,
    "table.csv": b"a,b\n1,2\n3,4\n",
    "empty.txt": b"",
    "deep/er/file.txt": b"deep",
    "deep/er/file.csv": b"also",
    "deep/other/x1": b"1",
    "deep/other/x2": b"22",
    "deep.txt": b"sorts between deep and deep/er",
    **{f"odd/{name}": name.encode() for name in ODD},
}
LINKS = {
    "to-file": "table.csv",
    "to-folder": "deep/er",
    "deep/up": "../big.bin",
    "nowhere": "x",
    "out": "/etc",
}
PLAIN: World = {path.encode(): Thing(FILE, data) for path, data in FILES.items()}
PLAIN[b"nothing/here"] = EMPTY
WORLD = {**PLAIN, **{path.encode(): Thing(LINK, target.encode()) for path, target in LINKS.items()}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A repository that no test changes: `things` with links, `plain/things` without."""
    root = tmp_path_factory.mktemp("fs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAVER_CACHE_DIR", str(root / "cache"))
        patch.setenv("DATAVER_AUTHOR", "Ada <ada@example.org>")
        repository = init(str(root / "repository"))
        write(root / "data", WORLD)
        repository.commit("things", root / "data")
        write(root / "plain", PLAIN)
        repository.commit("plain/things", root / "plain", tags=["first"])
        yield root / "repository"


@pytest.fixture
def fs(place: Path) -> DataverFileSystem:
    return DataverFileSystem(str(place))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository for one test, where no URL needs to be named."""
    monkeypatch.setenv("DATAVER_REPO", str(tmp_path / "repository"))
    return init(str(tmp_path / "repository"))


def commit(repository: Repository, folder: Path, **files: str) -> None:
    write(folder, {name.encode(): Thing(FILE, data.encode()) for name, data in files.items()})
    repository.commit("things", folder)


# Looking


def test_info(fs: DataverFileSystem) -> None:
    for path, data in FILES.items():
        for spelling in (f"things@v1/{path}", f"dataver://things@v1/{path}"):
            info = fs.info(spelling)
            assert info == {
                "name": f"things@v1/{path}",
                "type": "file",
                "size": len(data),
                "digest": blake3(data).hexdigest(),
                "executable": False,
                "islink": False,
            }
    for folder in ("things@v1", "things@v1/deep", "things@v1/nothing", "things@v1/nothing/here", "plain", ""):
        assert fs.info(folder) == fs.info(folder + "/")
        assert (fs.info(folder)["name"], fs.info(folder)["type"]) == (folder, "directory")


def test_info_of_links(fs: DataverFileSystem) -> None:
    file = fs.info("things@v1/to-file")
    assert (file["type"], file["islink"], file["destination"]) == ("file", True, "table.csv")
    assert (file["size"], file["digest"]) == (12, blake3(FILES["table.csv"]).hexdigest())
    folder = fs.info("things@v1/to-folder")
    assert (folder["type"], folder["islink"], folder["destination"]) == ("directory", True, "deep/er")
    for broken in ("nowhere", "out"):
        info = fs.info(f"things@v1/{broken}")
        assert (info["type"], info["destination"]) == ("link", LINKS[broken])
        assert not fs.isfile(f"things@v1/{broken}")
        assert fs.exists(f"things@v1/{broken}")
        with pytest.raises(FileNotFoundError, match=r"leads to nothing|out of the version"):
            fs.open(f"things@v1/{broken}")


def test_paths_come_back_as_they_were_asked(fs: DataverFileSystem, place: Path) -> None:
    version = open_repository(str(place)).version("things")
    for ref in (
        "things@v1",
        "things@latest",
        "things@main",
        f"things@{version.id[:9]}",
        f"things@{version.id}",
    ):
        assert fs.ls(f"dataver://{ref}/deep/other", detail=False) == [
            f"{ref}/deep/other/x1",
            f"{ref}/deep/other/x2",
        ]
        assert fs.find(f"{ref}/to-folder") == [f"{ref}/to-folder/file.csv", f"{ref}/to-folder/file.txt"]
        assert fs.glob(f"{ref}/deep/*/x*") == [f"{ref}/deep/other/x1", f"{ref}/deep/other/x2"]
        assert fs.unstrip_protocol(f"{ref}/deep") == f"dataver://{ref}/deep"


def test_names_of_datasets_may_hold_slashes(fs: DataverFileSystem) -> None:
    assert fs.cat("dataver://plain/things@first/deep/er/file.txt") == b"deep"
    assert fs.cat("plain/things@v1/odd/ü@#?.csv") == "ü@#?.csv".encode()
    assert fs.ls("dataver://", detail=False) == ["plain", "things@latest"]
    assert fs.ls("dataver://plain/", detail=False) == ["plain/things@latest"]
    assert fs.ls("/", detail=False) == fs.ls("", detail=False)
    assert fs.isdir("plain")
    assert len(fs.find("plain")) == len(FILES)


def test_links_to_folders_are_named_and_not_entered(fs: DataverFileSystem) -> None:
    found = fs.find("things@v1")
    assert isinstance(found, list)
    assert found == sorted(f"things@v1/{path}" for path in (*FILES, *LINKS) if path != "to-folder")
    assert "things@v1/to-folder" in fs.find("things@v1", withdirs=True)
    walked = {folder: (folders, files) for folder, folders, files in fs.walk("things@v1")}
    assert "to-folder" in walked["things@v1"][0]
    assert "things@v1/to-folder" not in walked
    assert fs.cat("things@v1/to-folder/file.txt") == b"deep"
    assert [p for p, _, _ in fs.walk("things@v1/to-folder")] == ["things@v1/to-folder"]


PATTERNS = [
    "*", "**", "*.csv", "**/*.csv", "deep/*", "deep/**", "deep/*/x?", "deep/*/*.[ct]*", "*/", "**/",
    "deep", "missing*", "d*", "nothing/*", "odd/*", "odd/[[]1]*.csv", "deep/er/", "**/x1", "deep/**/x[!1]",
]  # fmt: skip


def relative(found: Any, root: str) -> list[str]:
    return sorted(path.rstrip("/").removeprefix(root).lstrip("/") for path in found)


@pytest.fixture
def local(place: Path) -> tuple[LocalFileSystem, str]:
    return LocalFileSystem(), str(place.parent / "plain")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_globs_as_the_local_file_system(
    fs: DataverFileSystem, local: tuple[LocalFileSystem, str], pattern: str
) -> None:
    other, root = local
    for depth in (None, 1, 2):
        if depth is not None and "**" not in pattern:
            continue
        ours = relative(fs.glob(f"plain/things@v1/{pattern}", maxdepth=depth), "plain/things@v1")
        assert ours == relative(other.glob(f"{root}/{pattern}", maxdepth=depth), root)


@pytest.mark.parametrize(
    "folder", ["", "deep", "deep/er", "nothing", "nothing/here", "odd", "rows.csv", "missing"]
)
def test_lists_as_the_local_file_system(
    fs: DataverFileSystem, local: tuple[LocalFileSystem, str], folder: str
) -> None:
    other, root = local
    here, there = f"plain/things@v1/{folder}".rstrip("/"), f"{root}/{folder}".rstrip("/")
    for withdirs in (False, True):
        for depth in (None, 1, 2):
            ours = fs.find(here, maxdepth=depth, withdirs=withdirs)
            assert relative(ours, here) == relative(
                other.find(there, maxdepth=depth, withdirs=withdirs), there
            )
    walks = [
        sorted((relative([top], start)[0], sorted(folders), sorted(files)) for top, folders, files in walk)
        for walk, start in ((fs.walk(here), here), (other.walk(there), there))
    ]
    assert walks[0] == walks[1]
    assert fs.du(here) == sum(
        len(d) for p, d in FILES.items() if f"{p}/".startswith(f"{folder}/".lstrip("/"))
    )
    if folder != "missing":
        assert relative(fs.ls(here, detail=False), here) == relative(other.ls(there, detail=False), there)
        ours = {info["name"]: info for info in fs.ls(here) if isinstance(info, dict)}
        assert all(fs.info(name) == info for name, info in ours.items())


def test_walks_can_be_pruned_and_turned_round(fs: DataverFileSystem) -> None:
    seen = []
    for folder, folders, _ in fs.walk("plain/things@v1"):
        seen.append(folder)
        folders[:] = [name for name in folders if name not in ("nothing", "odd")]
    assert seen == [f"plain/things@v1{end}" for end in ("", "/deep", "/deep/er", "/deep/other")]
    upwards = [folder for folder, _, _ in fs.walk("plain/things@v1/deep", topdown=False)]
    assert upwards[-1] == "plain/things@v1/deep"
    failures: list[OSError] = []
    assert list(fs.walk("things@v1/missing", on_error=failures.append)) == []
    assert isinstance(failures[0], FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        list(fs.walk("things@v1/missing", on_error="raise"))


@pytest.mark.parametrize(
    "path",
    [
        "things@v1/missing",
        "things@v1/dee",
        "things@v1/deep/er/file.txt/below",
        "things@v1/../things@v1/table.csv",
        "things@v1//table.csv",
        "things@v1/nowhere/below",
        "things@v9/table.csv",
        "things@v9",
        "things@nothing/table.csv",
        "others@v1/table.csv",
        "things@v1~3/table.csv",
        "things@0123456789/table.csv",
        "things/table.csv",
        "things",
        "missing",
    ],
)
def test_what_is_not_there(fs: DataverFileSystem, path: str) -> None:
    assert not fs.exists(path)
    assert not fs.isfile(path)
    assert not fs.isdir(path)
    looks: list[Callable[[str], object]] = [fs.info, fs.ls, fs.open, fs.cat_file, fs.modified, fs.ukey]
    for look in looks:
        with pytest.raises(FileNotFoundError):
            look(path)
    with pytest.raises(FileNotFoundError):
        fsspec.open(f"dataver://{path}", repo=fs.repository).open()


def test_what_is_not_there_is_named_with_its_version(fs: DataverFileSystem) -> None:
    for look in (fs.info, fs.ls, fs.open, fs.cat_file):
        with pytest.raises(FileNotFoundError, match=r"^in things@v1 'no' is not there; `dataver ls"):
            look("things@latest/no")
    [error] = fs.cat_ranges(["things@latest/out"], 0, 1)
    assert str(error).startswith("in things@v1 'out' is, or is below, a symlink out of the version")


def test_unknown_refs_are_no_empty_lists(fs: DataverFileSystem) -> None:
    for look in (fs.find, fs.glob):
        with pytest.raises(RefNotFoundError, match="v9"):
            look("things@v9/*.csv")
    for ref in ("things@v*", "things@", "thin gs@v1", "things@DEADBEEFDEADBEEF"):
        with pytest.raises(BadInputError):
            fs.glob(f"{ref}/*.csv")
        assert not fs.exists(f"{ref}/table.csv")


def test_a_url_without_a_version_says_what_is_missing(fs: DataverFileSystem) -> None:
    with pytest.raises(FileNotFoundError, match="'@'"):
        fs.open("things/table.csv")


def test_a_missing_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RepositoryNotFoundError, match="dataver init"):
        pandas.read_csv("dataver://things@v1/table.csv")
    with pytest.raises(RepositoryNotFoundError, match="nowhere"):
        fsspec.open("dataver://things@v1/table.csv", repo=str(tmp_path / "nowhere")).open()


# Reading


def test_cat(fs: DataverFileSystem) -> None:
    assert fs.cat("things@v1/table.csv") == FILES["table.csv"]
    assert fs.cat(["things@v1/to-file", "things@v1/deep.txt"]) == {
        "things@v1/to-file": FILES["table.csv"],
        "things@v1/deep.txt": FILES["deep.txt"],
    }
    assert fs.cat("things@v1/deep/other", recursive=True) == {
        "things@v1/deep/other/x1": b"1",
        "things@v1/deep/other/x2": b"22",
    }
    assert fs.cat("things@v1/odd", recursive=True) == {f"things@v1/odd/{n}": n.encode() for n in ODD}
    for on_error, names in (("omit", ["big.bin"]), ("return", ["big.bin", "nowhere"])):
        some = fs.cat(["things@v1/big.bin", "things@v1/nowhere"], recursive=True, on_error=on_error)
        assert [*some] == [f"things@v1/{name}" for name in names]
    with pytest.raises(FileNotFoundError):
        fs.cat("things@v1", recursive=True)
    for name in ODD:
        assert fs.cat_file(f"things@v1/odd/{name}") == name.encode()
    for folder in ("things@v1", "things@v1/deep", "plain", ""):
        with pytest.raises(IsADirectoryError):
            fs.cat_file(folder)


BOUNDS = [None, 0, 1, 5, 100_000, 499_999, 500_000, 10**9, -1, -5, -100_000, -500_000, -(10**9)]


@pytest.mark.parametrize("start", BOUNDS)
def test_cat_file_is_a_slice(fs: DataverFileSystem, start: int | None) -> None:
    for end in BOUNDS:
        assert fs.cat_file("things@v1/rows.csv", start=start, end=end) == ROWS[start:end]


def test_cat_ranges(fs: DataverFileSystem) -> None:
    paths = ["things@v1/big.bin", "things@v1/rows.csv", "things@v1/big.bin", "dataver://things@v1/to-file"]
    starts, ends = [0, 10, 300_000, None], [5, 400_000, 600_000, -1]
    expected = [BIG[:5], ROWS[10:400_000], BIG[300_000:600_000], FILES["table.csv"][:-1]]
    assert fs.cat_ranges(paths, starts, ends) == expected
    assert fs.cat_ranges(paths, starts, ends, max_gap=1000) == expected
    assert fs.cat_ranges(paths[:3], 7, 9) == [BIG[7:9], ROWS[7:9], BIG[7:9]]
    missing = fs.cat_ranges(["things@v1/rows.csv", "things@v1/missing"], 0, 2)
    assert missing[0] == ROWS[:2]
    assert isinstance(missing[1], FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges(["things@v1/missing"], 0, 2, on_error="raise")
    with pytest.raises(ValueError, match="length"):
        fs.cat_ranges(paths, [0], [1])


def test_open(fs: DataverFileSystem) -> None:
    with fs.open("things@v1/table.csv") as file:
        assert (file.read(2), file.size, file.name) == (b"a,", 12, "table.csv")
    with fs.open("things@v1/table.csv", "r", encoding="ascii", newline="") as file:
        assert file.readlines() == ["a,b\n", "1,2\n", "3,4\n"]
    assert fs.head("things@v1/rows.csv", 9) == ROWS[:9]
    assert fs.tail("things@v1/rows.csv", 9) == ROWS[-9:]
    assert fs.read_text("things@v1/deep.txt") == FILES["deep.txt"].decode()
    assert fs.read_bytes("things@v1/deep.txt") == FILES["deep.txt"]
    block = fs.read_block("things@v1/rows.csv", 1000, 1000, delimiter=b"\n")
    start, stop = ROWS.index(b"\n", 1000) + 1, ROWS.index(b"\n", 2000) + 1
    assert block == ROWS[start:stop]
    assert fs.size("things@v1/rows.csv") == len(ROWS)
    assert fs.sizes(["things@v1/rows.csv", "things@v1/to-file"]) == [len(ROWS), 12]
    mapper = fs.get_mapper("things@v1/deep")
    assert mapper["er/file.txt"] == b"deep"


def test_what_fsspec_opens(place: Path) -> None:
    with fsspec.open("dataver://things@v1/table.csv", "rt", repo=str(place)) as file:
        assert file.readline() == "a,b\n"
    for name in ODD:
        if "::" not in name:  # which fsspec takes apart itself
            with fsspec.open(f"dataver://things@v1/odd/{name}", repo=str(place)) as file:
                assert file.read() == name.encode()
    many = fsspec.open_files("dataver://things@v1/deep/other/x*", repo=str(place))
    assert [file.path for file in many] == ["things@v1/deep/other/x1", "things@v1/deep/other/x2"]
    with fsspec.open(
        "simplecache::dataver://things@v1/big.bin", dataver={"repo": str(place)}, simplecache={}
    ) as file:
        assert file.read() == BIG


def test_compressed_files(repository: Repository, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    pandas.DataFrame({"a": [1, 2]}).to_csv(data / "a.csv.gz", index=False)
    repository.commit("things", data)
    assert pandas.read_csv("dataver://things@v1/a.csv.gz")["a"].to_list() == [1, 2]
    with fsspec.open("dataver://things@v1/a.csv.gz", "rt", compression="infer") as file:
        assert file.read() == "a\n1\n2\n"


def test_times_and_keys(fs: DataverFileSystem, place: Path) -> None:
    version = open_repository(str(place)).version("things")
    assert fs.modified("things@v1/table.csv") == fs.created("things@v1") == version.time
    assert timedelta(0) <= datetime.now(UTC) - version.time < timedelta(hours=1)
    assert fs.ukey("things@v1/table.csv") == blake3(FILES["table.csv"]).hexdigest()
    assert fs.checksum("things@v1/to-file") == fs.checksum("plain/things@v1/table.csv")
    assert fs.checksum("things@v1/deep.txt") != fs.checksum("things@v1/table.csv")
    assert fs.ukey("things@v1/deep") == fs.ukey("things@latest/deep") != fs.ukey("things@v1/nothing")


def test_get(fs: DataverFileSystem, tmp_path: Path) -> None:
    fs.get("things@v1/big.bin", str(tmp_path / "made" / "here.bin"))
    assert (tmp_path / "made" / "here.bin").read_bytes() == BIG
    fs.get("plain/things@v1/", str(tmp_path / "all"), recursive=True)
    assert {
        p.relative_to(tmp_path / "all").as_posix() for p in (tmp_path / "all").rglob("*") if p.is_file()
    } == {*FILES}
    assert (tmp_path / "all" / "nothing" / "here").is_dir()
    with open(tmp_path / "out", "wb") as file:
        fs.get_file("things@v1/rows.csv", file)
    assert (tmp_path / "out").read_bytes() == ROWS


def test_get_leaves_no_half_files(repository: Repository, tmp_path: Path) -> None:
    write(tmp_path / "data", {b"big": Thing(FILE, BIG)})
    repository.commit("things", tmp_path / "data")
    for pack in (tmp_path / "repository" / "packs").glob("*/*"):
        data = bytearray(pack.read_bytes())
        at = data.find(BIG[-1000:])
        if at >= 0:
            data[at + 5] ^= 1
            pack.chmod(0o644)
            pack.write_bytes(data)
    with pytest.raises(Exception, match="digest"):
        DataverFileSystem().get_file("things@v1/big", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda fs, path: fs.open(path, "wb"),
        lambda fs, path: fs.open(path, "a"),
        lambda fs, path: fs.open(path, "xb"),
        lambda fs, path: fs.open(path, "r+b"),
        lambda fs, path: fs.touch(path),
        lambda fs, path: fs.touch(path, truncate=False),
        lambda fs, path: fs.pipe(path, b"x"),
        lambda fs, path: fs.pipe({path: b"x"}),
        lambda fs, path: fs.pipe_file(path, b"x"),
        lambda fs, path: fs.write_text(path, "x"),
        lambda fs, path: fs.write_bytes(path, b"x"),
        lambda fs, path: fs.put(__file__, path),
        lambda fs, path: fs.put_file(__file__, path),
        lambda fs, path: fs.upload(__file__, path),
        lambda fs, path: fs.mkdir(path),
        lambda fs, path: fs.makedirs(path, exist_ok=True),
        lambda fs, path: fs.mkdirs(path, exist_ok=True),
        lambda fs, path: fs.rmdir(path),
        lambda fs, path: fs.rm(path),
        lambda fs, path: fs.rm(path, recursive=True),
        lambda fs, path: fs.rm_file(path),
        lambda fs, path: fs.delete(path),
        lambda fs, path: fs.mv(path, path + "2"),
        lambda fs, path: fs.move(path, path + "2"),
        lambda fs, path: fs.rename(path, path + "2"),
        lambda fs, path: fs.copy(path, path + "2"),
        lambda fs, path: fs.cp(path, path + "2"),
        lambda fs, path: fs.cp_file(path, path + "2"),
        lambda fs, path: fs.start_transaction(),
        lambda fs, path: fs.get_mapper("things@v1").__setitem__("x", b"1"),
        lambda fs, path: fsspec.open(f"dataver://{path}", "wb", repo=fs.repository).open(),
    ],
)
def test_nothing_can_be_written(fs: DataverFileSystem, change: Callable[[Any, str], object]) -> None:
    with pytest.raises(PermissionError, match="dataver commit"):
        change(fs, "things@v1/table.csv")
    assert fs.cat("things@v1/table.csv") == FILES["table.csv"]


class TestGetAsFsspecSpecifies(AbstractFixtures, AbstractGetTests):  # type: ignore[misc]
    """fsspec's own tests of `get`, with scenarios that are committed where others would be written."""

    @pytest.fixture
    def fs(self, repository: Repository) -> DataverFileSystem:
        return DataverFileSystem(repository)

    @pytest.fixture
    def fs_path(self) -> str:
        return "scenario@latest"

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return lambda *parts: "/".join(parts)

    def _committed(self, make: Callable[..., str], repository: Repository, tmp_path: Path) -> str:
        make(LocalFileSystem(auto_mkdir=True), os.path.join, str(tmp_path / "scenario"))
        repository.commit("scenario", tmp_path / "scenario")
        return "scenario@latest/source"

    def test_get_directory_recursive(
        self,
        repository: Repository,
        tmp_path: Path,
        fs_join: Any,
        local_fs: Any,
        local_join: Any,
        local_target: Any,
    ) -> None:
        """It makes its scenario itself, which is there already."""

        class Made(DataverFileSystem):
            mkdir = touch = DataverFileSystem.exists  # type: ignore[assignment]

        write(tmp_path / "scenario", {b"src/file": Thing(FILE, b"")})
        repository.commit("scenario", tmp_path / "scenario")
        super().test_get_directory_recursive(
            Made(repository), fs_join, "scenario@latest", local_fs, local_join, local_target
        )

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self, repository: Repository, tmp_path: Path) -> str:
        return self._committed(self._bulk_operations_scenario_0, repository, tmp_path)

    @pytest.fixture
    def fs_glob_edge_cases_files(self, repository: Repository, tmp_path: Path) -> str:
        return self._committed(self._glob_edge_cases_files, repository, tmp_path)

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(self, repository: Repository, tmp_path: Path) -> str:
        return self._committed(self._dir_and_file_with_same_name_prefix, repository, tmp_path)

    @pytest.fixture
    def fs_10_files_with_hashed_names(self, repository: Repository, tmp_path: Path) -> str:
        return self._committed(self._10_files_with_hashed_names, repository, tmp_path)


# What a ref means, and for how long


def test_latest_is_looked_up_by_each_new_file_system(repository: Repository, tmp_path: Path) -> None:
    url = "dataver://things@latest/a"
    commit(repository, tmp_path / "data", a="1")
    old, path = fsspec.url_to_fs(url)
    assert old.cat(path) == b"1"
    kept = fsspec.filesystem("dataver")
    commit(repository, tmp_path / "data", a="2")
    assert old.cat(path) == b"1"
    assert old.cat_file(f"things@v2/{'a'}") == b"2"
    assert kept.cat(path) == b"2"
    with fsspec.open(url) as file:
        assert file.read() == b"2"
    assert pandas.read_csv(url, header=None)[0].to_list() == [2]
    new, _ = fsspec.url_to_fs(url)
    assert (new.cat(path), old.cat(path)) == (b"2", b"1")
    assert new != old
    assert {new: 1, old: 2}[old] == 2


def test_pickles_mean_what_was_opened(repository: Repository, tmp_path: Path) -> None:
    commit(repository, tmp_path / "data", a="1")
    system, path = fsspec.url_to_fs("dataver://things@latest/a")
    file = fsspec.open("dataver://things@main/a")
    pickles = [pickle.dumps(system), pickle.dumps(file)]
    document = system.to_json()
    commit(repository, tmp_path / "data", a="2")
    assert pickle.loads(pickles[0]).cat(path) == b"1"
    with pickle.loads(pickles[1]) as opened:
        assert opened.read() == b"1"
    assert fsspec.AbstractFileSystem.from_json(document).cat(path) == b"1"
    assert json.loads(document)["protocol"] == "dataver"
    assert pickle.loads(pickles[0]) == system


def test_as_it_was(repository: Repository, tmp_path: Path) -> None:
    commit(repository, tmp_path / "data", a="1")
    commit(repository, tmp_path / "data", a="2")
    with fsspec.open("dataver://things@latest/a", at="1") as file:
        assert file.read() == b"1"
    assert pickle.loads(pickle.dumps(fsspec.filesystem("dataver", at="1"))).cat("things@latest/a") == b"1"


def test_another_repository_in_the_same_place(repository: Repository, tmp_path: Path) -> None:
    commit(repository, tmp_path / "data", a="1", b="1")
    assert pandas.read_csv("dataver://things@v1/a", header=None)[0].to_list() == [1]
    shutil.rmtree(tmp_path / "repository")
    with pytest.raises(FileNotFoundError):
        pandas.read_csv("dataver://things@v1/a", header=None)
    commit(init(str(tmp_path / "repository")), tmp_path / "other", a="3")
    assert pandas.read_csv("dataver://things@v1/a", header=None)[0].to_list() == [3]


def test_over_one_version(place: Path) -> None:
    version = open_repository(str(place)).version("things@v1")
    system = DataverFileSystem.of(version)
    assert system.version(f"things@{version.id}") is version
    assert system.cat(f"things@{version.id}/deep.txt") == FILES["deep.txt"]
    assert system.fsid == DataverFileSystem(str(place)).fsid


# Others


@pytest.fixture
def tables(repository: Repository, tmp_path: Path) -> Repository:
    for number in range(3):
        part = tmp_path / "tables" / "train" / f"part-{number:03}.parquet"
        part.parent.mkdir(parents=True, exist_ok=True)
        rows = range(number * 20_000, (number + 1) * 20_000)
        columns = {"id": rows, "name": [f"row {n}" for n in rows], "noise": list(noise(number, 20_000))}
        pandas.DataFrame(columns).to_parquet(part, row_group_size=5000)
    repository.commit("vision/tables", tmp_path / "tables")
    return repository


def test_pandas(tables: Repository) -> None:
    one = pandas.read_parquet("dataver://vision/tables@v1/train/part-001.parquet")
    assert one["id"].to_list() == list(range(20_000, 40_000))
    everything = pandas.read_parquet(
        "dataver://vision/tables@v1/train/", columns=["id"], storage_options={"repo": tables.url}
    )
    assert sorted(everything["id"]) == list(range(60_000))
    with pytest.raises(PermissionError):
        one.to_csv("dataver://vision/tables@v1/new.csv")


def test_pyarrow(tables: Repository) -> None:
    system = fsspec.filesystem("dataver")
    dataset = pyarrow.dataset.dataset("vision/tables@v1/train", filesystem=system)
    assert len(dataset.files) == 3
    table = dataset.to_table(columns=["id"], filter=pyarrow.dataset.field("id") < 10)
    assert table.to_pydict() == {"id": list(range(10))}
    arrow = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(system))
    infos = arrow.get_file_info(["vision/tables@v1/train", "vision/tables@v1/x", "vision/tables@v9/x"])
    assert [info.type.name for info in infos] == ["Directory", "NotFound", "NotFound"]
    with pytest.raises(PermissionError):
        pyarrow.dataset.write_dataset(table, "vision/tables@v1/out", filesystem=system, format="parquet")


def test_duckdb(tables: Repository) -> None:
    with duckdb.connect() as connection:
        connection.register_filesystem(fsspec.filesystem("dataver"))
        query = "select count(*), max(id) from 'dataver://vision/tables@v1/train/*.parquet'"
        assert connection.sql(query).fetchall() == [(60_000, 59_999)]


def test_duckdb_shares_a_file_between_threads(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    for number in range(3):
        frame = pandas.DataFrame({"id": range(20_000 * number, 20_000 * number + 20_000)})
        frame.to_parquet(tmp_path / "rows" / f"{number}.parquet", row_group_size=2_000)
    repository.commit("rows", tmp_path / "rows")
    # One run in four went wrong where a file had one position for all threads.
    for _ in range(25):
        with duckdb.connect() as connection:
            connection.execute("set threads=8")
            connection.register_filesystem(fsspec.filesystem("dataver"))
            query = "select count(*), max(id), sum(id) from 'dataver://rows@v1/*.parquet'"
            assert connection.sql(query).fetchall() == [(60_000, 59_999, 30_000 * 59_999)]


def test_a_file_of_several_threads_and_of_lines(repository: Repository, tmp_path: Path) -> None:
    commit(repository, tmp_path / "data", a="".join(f"{number:04}\n" for number in range(1000)))
    version = repository.version("things")
    with version.open("a") as file:
        file.seek(5 * 10)
        assert file.readline() == b"0010\n"
        assert (file.read(5), file.tell()) == (b"0011\n", 60)
        assert (file.seek(5, os.SEEK_CUR), file.read(4)) == (65, b"0013")
        with ThreadPoolExecutor(1) as other:
            file.seek(100)
            assert other.submit(file.seek, 500).result() == 500
            assert file.read(4) == b"0020", "where this thread has sought"
            assert other.submit(file.read, 4).result() == b"0100"
            assert other.submit(file.read, 1).result() == b"\n", "and then where the last one ended"
            assert file.read(4) == b"0101"
        file.seek(0)
        assert list(file)[-1] == b"0999\n"


def test_a_fresh_interpreter_needs_no_import_of_dataver(tables: Repository, tmp_path: Path) -> None:
    script = """
import sys
import pandas
assert "dataver" not in sys.modules
print(len(pandas.read_parquet("dataver://vision/tables@v1/train/part-000.parquet")))
"""
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60
    )
    assert run.stdout == "20000\n"


def test_a_process_ends_well_when_threads_of_pyarrow_have_just_read(tables: Repository) -> None:
    # Without a wait at the end one run in three was ended by SIGABRT.
    script = """
from pyarrow import dataset
import dataver
tables = dataver.resolve("vision/tables@v1")
print(tables.dataset("train/").to_table(filter=dataset.field("id") < 10, columns=["id"]).num_rows)
"""

    def run(_: int) -> int:
        return subprocess.run([sys.executable, "-c", script], check=False, capture_output=True).returncode

    with ThreadPoolExecutor(2) as pool:
        assert [*pool.map(run, range(10))] == [0] * 10


def test_another_process_in_another_folder(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(repository, tmp_path / "data", a="1")
    monkeypatch.chdir(tmp_path)
    system = DataverFileSystem("repository")
    monkeypatch.delenv("DATAVER_REPO")
    monkeypatch.chdir("/")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(system.cat, ("things@latest/a",)) == b"1"


def test_a_forked_process_of_a_busy_one(place: Path) -> None:
    script = """
import os, sys, fsspec
from dataver import opened

system = fsspec.filesystem("dataver", repo=sys.argv[1])
first = system.cat("things@v1/big.bin")
with system._lock, opened._kept.lock, system._opened._lock:
    child = os.fork()
    if child == 0:
        same = system.cat("things@v1/big.bin") == first and system.exists("plain/things@v1/deep.txt")
        again = fsspec.filesystem("dataver", repo=sys.argv[1]).cat("things@v1/big.bin") == first
        os._exit(0 if same and again else 1)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script, str(place)], check=True, timeout=60)


def test_many_threads(fs: DataverFileSystem, place: Path) -> None:
    def read(path: str) -> bool:
        other = fsspec.filesystem("dataver", repo=str(place))
        return all(system.cat_file(f"things@latest/{path}") == FILES[path] for system in (fs, other))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, [*FILES] * 8))
