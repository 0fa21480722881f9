"""Makes the golden repository of format v1: the same bytes each time.

`python -m tests.golden.make_v1 FOLDER` writes it. Nothing in it is random: nonces, ids and times are
counted. It holds one object of every kind: data and metadata packs with raw and compressed frames,
files of one chunk, of many and of none, a symlink, an executable file, an empty folder, odd names,
two branches, a merge, a tag, an alias, deletions, a renamed dataset, more than 64 log entries with a
checkpoint's state pack, and merged index segments.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

from blake3 import blake3

from dataver.log.log import Identity, Log
from dataver.repository import Repository
from dataver.session import Session
from dataver.store.local import LocalStore

AUTHOR = "Golden <golden@example.org>"
START_US = 1_767_225_600_000_000
LINES = b"".join(b"%d,%d,row %d\n" % (n, n * n, n) for n in range(5_000))


def noise(seed: str, length: int) -> bytes:
    """Bytes that do not compress and never change."""
    return blake3(seed.encode()).digest(length=length)


def counted(name: str) -> Callable[[], bytes]:
    """16 bytes that are new at each call, and the same in each run."""
    numbers = count()
    return lambda: blake3(f"{name} {next(numbers)}".encode()).digest(length=16)


def open_counted(folder: Path) -> Repository:
    """A repository object whose ids, nonces and times are counted."""
    repository = Repository(str(folder))
    store = LocalStore(folder)
    times = count(START_US, 1_000_000)
    nonce, write_id = counted("nonce"), counted("write id")

    def identity(author: str) -> Identity:
        del author  # That of names, which take it from the environment.
        return Identity(AUTHOR, nonce, write_id, lambda: next(times))

    repository.session = Session(store, Log(store), jobs=1, nonce=nonce, identity=identity)
    return repository


def write_files(folder: Path) -> None:
    """The files of the first version."""
    (folder / "empty folder").mkdir(parents=True)
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "none").write_bytes(b"")
    (folder / "table.csv").write_bytes(LINES)
    (folder / "deep" / "er" / "noise").write_bytes(noise("noise", 700_000))
    (folder / "caf\u00e9 \u2603").write_bytes(b"odd name\n")
    (folder / "new\nline").write_bytes(b"odder name\n")
    (folder / "script").write_bytes(b"#!/bin/sh\n")
    (folder / "script").chmod(0o755)
    (folder / "link").symlink_to("deep/er/noise")
    for number in range(300):
        (folder / "deep" / f"{number:03}.txt").write_bytes(b"file %d\n" % number)


def make(repository_folder: Path, work: Path) -> None:
    """Write the repository; `work` is an empty folder for the files."""
    repository = open_counted(repository_folder)
    repository.session.create()
    data = work / "data"
    write_files(data)

    repository.commit(
        "iris", data, message="first", jobs=1, tags=["paper"], meta={"source": "made up", "licence": "none"}
    )
    data_file = data / "deep" / "er" / "noise"
    data_file.write_bytes(noise("noise", 350_000) + b"inserted" + noise("noise", 700_000)[350_000:])
    (data / "deep" / "007.txt").unlink()
    (data / "deep" / "008.txt").rename(data / "eight.txt")
    repository.commit("iris", data, message="second", jobs=1)
    repository.branch("iris@v1", "trial")
    side = work / "side"
    side.mkdir()
    (side / "added").write_bytes(b"on a branch\n")
    repository.commit("iris", side, message="on a branch", jobs=1, branch="trial", add=True)
    repository.merge("iris@trial", message="merged")
    repository.revert("iris@v1", message="reverted")
    repository.alias("iris@v2", "prod")
    repository.alias("iris@v3", "prod")
    repository.delete_ref("branch", "iris", "trial")
    repository.commit("vision/images", side, message="another dataset", jobs=1)
    repository.rename("vision/images", "vision/photos")
    for number in range(60):
        (side / "added").write_bytes(b"edit %d\n" % number)
        repository.commit("vision/photos", side, message=f"edit {number}", jobs=1)
    repository.commit("gone", side, message="deleted later", jobs=1)
    repository.delete_dataset("gone")


if __name__ == "__main__":
    import tempfile

    os.umask(0o022)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["DATAVER_CACHE_DIR"] = f"{scratch}/cache"
        make(Path(sys.argv[1]), Path(scratch) / "work")
