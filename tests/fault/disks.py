"""Verbs on disks that are full, or may only be read; run as a program, which prints what it did as JSON.

    python -m tests.fault.disks limit|tmpfs FOLDER

`limit`: no file may grow beyond what the process is allowed, which any user can have; and folders are
somebody else's. `tmpfs`: FOLDER is a small file system of its own, which takes a mount (see `ways`).
"""

from __future__ import annotations

import gc
import json
import os
import resource
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path

from click.testing import CliRunner

from dataver.cli import main
from dataver.repository import Repository, open_repository
from tests.fault.scenes import BY_NAME, FOURTH, THIRD, VERBS, Verb, check_promises, write
from tests.permissions import only_to_be_read

SIZE = "12m"
MESSAGE_CHARACTERS_MAX = 500
PAGE_BYTES = 4_096
NAMESPACES = [["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]]


@cache
def mounting() -> list[str] | None:
    """How to start a program that may mount a small file system for itself; None where nothing may."""
    for start in NAMESPACES if shutil.which("unshare") else []:
        try_it = [*start, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/tmp"]
        if subprocess.run(try_it, check=False, capture_output=True).returncode == 0:
            return start
    return None


def ways() -> list[str]:
    """The ways that this machine and this user have. There is always one."""
    return ["limit", *(["tmpfs"] if mounting() else [])]


class Disk(ABC):
    """A folder on which all that a command writes is, its caches too."""

    def __init__(self, folder: Path, rooms: list[int]) -> None:
        """`rooms`: how many bytes may be left, from nothing to what most verbs can do with."""
        self.folder = folder
        self.rooms = rooms

    @abstractmethod
    def full(self, room_bytes: int) -> AbstractContextManager[None]:
        """Inside the block no more than that can be written."""

    @abstractmethod
    def read_only(self) -> AbstractContextManager[None]:
        """Inside the block nothing can be."""


class Limited(Disk):
    """No file may grow beyond the room."""

    @contextmanager
    def full(self, room_bytes: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    @contextmanager
    def read_only(self) -> Iterator[None]:
        with only_to_be_read(self.folder):
            yield


class Mounted(Disk):
    """A file system in memory, mounted at the folder."""

    @contextmanager
    def full(self, room_bytes: int) -> Iterator[None]:
        ballast = self.folder / "ballast"
        # Maps of files that were deleted still take room, until what holds them is collected.
        gc.collect()
        free = os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_frsize
        ballast.write_bytes(b"b" * max(0, free - room_bytes))
        try:
            yield
        finally:
            ballast.unlink()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        self._remount("ro")
        try:
            yield
        finally:
            self._remount("rw")

    def _remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,bind,{how}", str(self.folder)], check=True)


def disk_of(way: str, folder: Path) -> Disk:
    """The disk that is tried in this way."""
    if way == "limit":
        return Limited(folder, [0, 200, 2_000, 40_000, 1_000_000])
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], check=True)
    return Mounted(folder, [0, PAGE_BYTES, 4 * PAGE_BYTES, 16 * PAGE_BYTES, 1_000 * PAGE_BYTES])


# What is tried


def _checked_out(repository: Repository) -> None:
    out = Path(repository.url).parent / "out"
    assert {path.name: path.read_bytes() for path in out.iterdir()} == THIRD


CHECKOUT = Verb(
    "checkout",
    BY_NAME["commit"].scene,
    lambda repository, place: repository.checkout("d", place.parent / "out"),
    _checked_out,
    "checkout d out",
)


def arguments(verb: Verb, folder: Path) -> list[str]:
    """The command line, with the paths that it names in the folder."""
    url = str(folder / "repository")
    if verb.name == "init":
        return ["init", url]
    words = [str(folder / word) if word in ("data", "out") else word for word in verb.line.split()]
    return ["--repo", url, *words]


def try_out(verb: Verb, folder: Path, closed: AbstractContextManager[None], codes: tuple[int, ...]) -> int:
    """One command while the disk is as it is; what is promised is read. Gives the exit code."""
    scene, url = verb.scene(), str(folder / "repository")
    write(folder / "data", FOURTH)
    (folder / "cache").mkdir()
    os.environ["DATAVER_CACHE_DIR"] = str(folder / "cache")
    if scene.objects:
        scene.on_disk(folder / "repository")
    line = arguments(verb, folder)
    with closed:
        result = CliRunner().invoke(main, line)
        what = f"{verb}: {result.exit_code}: {result.output}"
        assert result.exit_code in codes, what
        assert result.exit_code == 0 or is_short(result.stderr), what
        if scene.objects:
            check_promises(open_repository(url), scene.promised, what)
    if scene.objects:
        check_promises(open_repository(url), scene.promised, what)
        assert verb.harmed or open_repository(url).verify(deep=True).ok, what
    again = CliRunner().invoke(main, line)
    assert again.exit_code == 0 or (verb.name in ("init", "release") and result.exit_code == 0), again.output
    verb.finished(open_repository(url))
    check_promises(open_repository(url), scene.promised, what)
    shutil.rmtree(folder)
    return result.exit_code


def is_short(told: str) -> bool:
    """Whether an error is one paragraph, and not a long one."""
    return told.startswith("error: ") and "Traceback" not in told and len(told) < MESSAGE_CHARACTERS_MAX


def try_all(disk: Disk) -> dict[str, dict[str, int]]:
    """Every verb with each room, and where nothing may be written. How the attempts ended, by verb."""
    told: dict[str, dict[str, int]] = {}
    for verb in [*VERBS, CHECKOUT]:
        os.environ["DATAVER_CACHE_DIR"] = str(disk.folder / "cache")
        verb.scene()  # Made before the disk is full.
        ends = [try_out(verb, disk.folder / f"full{room}", disk.full(room), (0, 7)) for room in disk.rooms]
        try_out(verb, disk.folder / "read-only", disk.read_only(), (8,))
        told[verb.name] = {"full": ends.count(7), "enough": ends.count(0), "read-only": 1}
    return told


if __name__ == "__main__":
    print(json.dumps(try_all(disk_of(sys.argv[1], Path(sys.argv[2])))))
