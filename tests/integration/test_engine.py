"""The engine as a whole: identity, deduplication, memory, what is read and what is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from dataver.chunking import ChunkerParameters
from dataver.errors import BadInputError, DamagedError, WouldOverwriteError
from dataver.repository import Repository, init
from dataver.source import Batch, LocalSource, SourceFile

OTHER_CHUNKS = ChunkerParameters(min_bytes=1024, average_bytes=4096, max_bytes=16384)


def made_at(url: str, chunks: ChunkerParameters | None = None) -> Repository:
    repository = Repository(url)
    repository.session.create(chunks)
    return repository


def some_files(folder: Path) -> None:
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "empty").mkdir()
    for number in range(700):
        (folder / "deep" / f"{number}").write_bytes(b"%d\n" % number * (number % 9))
    (folder / "deep" / "er" / "large").write_bytes(os.urandom(3_000_000))
    (folder / "link").symlink_to("deep/er")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)


def test_the_tree_is_the_same_in_any_repository(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    some_files(data)
    trees = set()
    for url, chunks, jobs in (
        (str(tmp_path / "a"), None, 1),
        (str(tmp_path / "b"), None, 4),
        (str(tmp_path / "c"), OTHER_CHUNKS, 2),
        (f"memory://{uuid4().hex}", OTHER_CHUNKS, 2),
    ):
        trees.add(made_at(url, chunks).commit("d", data, jobs=jobs).tree)
    assert len(trees) == 1
    (data / "run.sh").chmod(0o644)
    assert made_at(f"memory://{uuid4().hex}").commit("d", data).tree not in trees


def test_bytes_inserted_in_the_middle_make_little_new_data(tmp_path: Path) -> None:
    data = tmp_path / "noise"
    noise = os.urandom(24 << 20)
    data.write_bytes(noise)
    repository = init(str(tmp_path / "repository"))
    assert repository.commit("d", data).new_bytes == len(noise)
    data.write_bytes(noise[: 12 << 20] + b"fourteen bytes" + noise[12 << 20 :])
    done = repository.commit("d", data)
    assert 0 < done.new_bytes < 1 << 20
    assert done.stored_bytes < 1 << 20
    assert repository.version("d").read("noise") == data.read_bytes()


def test_a_copy_of_a_file_makes_no_new_data(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a").write_bytes(os.urandom(2_000_000))
    repository = init(str(tmp_path / "repository"))
    repository.commit("d", data)
    (data / "b").write_bytes((data / "a").read_bytes())
    assert repository.commit("d", data).new_bytes == 0


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "sparse").write_bytes(b"")
    os.truncate(tmp_path / "sparse", 3 << 30)
    with open(tmp_path / "noise", "wb") as noise:
        noise.writelines(os.urandom(8 << 20) for _ in range(40))
    program = (
        "import re, sys, json\n"
        "from dataver.repository import init\n"
        "repository = init(sys.argv[1])\n"
        "sizes = [repository.commit('d', place, add=True).bytes for place in sys.argv[2:]]\n"
        # Of this program alone: what getrusage tells begins with the process that started it.
        "peak = re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())\n"
        "print(json.dumps([sizes, int(peak[1])]))"
    )
    place = str(tmp_path / "repository")
    command = [sys.executable, "-c", program, place, str(tmp_path / "sparse"), str(tmp_path / "noise")]
    sizes, peak_kib = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert sizes == [3 << 30, (3 << 30) + (320 << 20)]
    assert peak_kib < 500 << 10


def test_unchanged_files_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    data.mkdir()
    some_files(data)
    # Older than any clock's grain: fresh files are read once more, as their stamps prove nothing yet.
    for path in data.rglob("*"):
        os.utime(path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)
    read: list[bytes] = []
    batch, small, large = LocalSource.read_batch, LocalSource.read_small, LocalSource.open_stable

    def counted_batch(self: LocalSource, files: Sequence[SourceFile], buffer: memoryview) -> Batch:
        done = batch(self, files, buffer)
        read.extend(file.path for file, flags in zip(files, done.flags, strict=True) if flags)
        return done

    def counted_small(self: LocalSource, file: SourceFile) -> tuple[bytes, SourceFile]:
        read.append(file.path)
        return small(self, file)

    def counted_large(self: LocalSource, file: SourceFile) -> object:
        read.append(file.path)
        return large(self, file)

    monkeypatch.setattr(LocalSource, "read_batch", counted_batch)
    monkeypatch.setattr(LocalSource, "read_small", counted_small)
    monkeypatch.setattr(LocalSource, "open_stable", counted_large)
    # utime moved ctime to now: only time makes these stamps settled.
    monkeypatch.setattr("dataver.stat_cache.FINE_GRAIN_NS", -(10**10))
    monkeypatch.setattr("dataver.stat_cache.COARSE_GRAIN_NS", -(10**10))
    repository = init(str(tmp_path / "repository"))
    repository.commit("d", data)
    assert len(read) > 700
    read.clear()
    assert not repository.status("d", data)
    assert not repository.commit("d", data).created
    assert read == []
    (data / "deep" / "5").write_bytes(b"other")
    repository.commit("d", data)
    assert read == [b"deep/5"]
    (data / "deep" / "6").rename(data / "moved")
    repository.commit("d", data)


def test_references_stay_where_they_are_and_are_checked_when_read(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "big").write_bytes(os.urandom(300_000))
    (data / "link").symlink_to("big")
    repository = init(str(tmp_path / "repository"))
    done = repository.commit("d", data, reference=True)
    assert done.stored_bytes < 1_000
    version = repository.version("d")
    assert {file.path: file.kind for file in version.files()} == {"big": "reference", "link": "symlink"}
    assert version.read("big") == (data / "big").read_bytes()
    repository.checkout("d", tmp_path / "out")
    assert (tmp_path / "out" / "big").read_bytes() == (data / "big").read_bytes()
    assert repository.verify(deep=True).ok
    (data / "big").write_bytes(os.urandom(300_000))
    with pytest.raises(DamagedError, match="changed"):
        version.read("big")
    report = repository.verify(deep=True)
    assert [harm.path for damage in report.damaged for harm in damage.harms] == ["big"]


def test_checkout_never_takes_what_is_the_users(tmp_path: Path) -> None:
    data, target = tmp_path / "data", tmp_path / "target"
    data.mkdir()
    for name in ("a", "b", "c"):
        (data / name).write_text(f"{name} of v1")
    repository = init(str(tmp_path / "repository"))
    repository.commit("d", data)
    (data / "a").write_text("a of v2")
    (data / "c").unlink()
    repository.commit("d", data)
    target.mkdir()
    (target / "b").write_text("the user's")
    (target / "own").write_text("the user's own")
    with pytest.raises(WouldOverwriteError):
        repository.checkout("d@v1", target)
    assert sorted(path.name for path in target.iterdir()) == ["b", "own"]
    done = repository.checkout("d@v1", target, overwrite=True)
    assert done.written_files == 3
    assert (target / "own").read_text() == "the user's own"
    assert repository.checkout("d@v1", target).written_files == 0
    # What that checkout wrote is the tool's: replaced and removed unasked.
    done = repository.checkout("d@v2", target)
    assert (done.written_files, done.removed_files) == (1, 1)
    assert sorted(path.name for path in target.iterdir()) == ["a", "b", "own"]
    # Changed by the user since: theirs again.
    (target / "a").write_text("edited")
    with pytest.raises(WouldOverwriteError, match="a"):
        repository.checkout("d@v1", target)
    assert (target / "a").read_text() == "edited"


def test_checkout_of_a_part(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "train").mkdir(parents=True)
    for name in ("train/a.csv", "train/b.txt", "test.csv"):
        (data / name).write_text(name)
    repository = init(str(tmp_path / "repository"))
    repository.commit("d", data)
    done = repository.checkout("d", tmp_path / "out", include=["*.csv"], exclude=["test.csv"])
    assert done.files == 1
    assert [str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")] == [
        "train/a.csv"
    ]


def test_checkout_writes_through_no_symlink(tmp_path: Path) -> None:
    data, target, outside = tmp_path / "data", tmp_path / "target", tmp_path / "outside"
    (data / "folder").mkdir(parents=True)
    (data / "folder" / "file").write_text("of the version")
    repository = init(str(tmp_path / "repository"))
    repository.commit("d", data)
    outside.mkdir()
    target.mkdir()
    (target / "folder").symlink_to(outside)
    with pytest.raises(WouldOverwriteError):
        repository.checkout("d", target)
    assert not list(outside.iterdir())


def test_what_cannot_be_committed_is_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.mkfifo(data / "a pipe")
    repository = init(str(tmp_path / "repository"))
    with pytest.raises(BadInputError, match="a pipe"):
        repository.commit("d", data)
    assert repository.datasets() == []
    for empty in ("", b""):
        with pytest.raises(BadInputError):
            repository.commit("d", empty)  # type: ignore[arg-type]
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInputError):
        init(str(tmp_path / "file"))
