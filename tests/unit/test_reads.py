"""Reads that take a shorter way: files of few chunks as one range, large reads by several threads."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from blake3 import blake3

from dataver import reading, streams
from dataver.errors import DamagedError
from dataver.format.segment import Place
from dataver.objects import Objects
from dataver.repository import Repository, init, open_repository
from dataver.store.base import View
from dataver.version import Version
from tests.worlds import noise, text

# Raw and compressed frames in turn, and text that gains little between.
PIECES = [
    noise(n, 300_000) if n % 2 else text(n, 90_000) + noise(("mixed", n), 30_000) * 4 for n in range(16)
]
MIXED = b"".join(PIECES)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_AUTHOR", "Ada <ada@example.org>")
    return init(str(tmp_path / "repository"))


def commit(repository: Repository, folder: Path, files: dict[str, bytes]) -> Version:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    repository.commit("things", folder)
    return open_repository(repository.url).version("things")


def flip(repository: Repository, stored: bytes) -> None:
    """Change a byte in the middle of what the packs have as `stored`."""
    for pack in Path(repository.url, "packs").glob("*/*"):
        data = bytearray(pack.read_bytes())
        at = data.find(stored)
        if at >= 0:
            data[at + len(stored) // 2] ^= 1
            pack.chmod(0o644)
            pack.write_bytes(data)
            return
    raise AssertionError("no pack has these bytes as they are")


@pytest.mark.parametrize("threads", [1, 3])
def test_large_reads_are_those_of_the_file(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr(reading, "RUN_BYTES_MAX", 150_000)
    monkeypatch.setattr(reading, "default_jobs", lambda: threads)
    monkeypatch.setattr(streams, "DIRECT_BYTES_MIN", 100_000)
    version = commit(repository, tmp_path / "data", {"mixed": MIXED})
    chance = random.Random(7)
    with version.open("mixed") as file:
        for _ in range(60):
            start, length = chance.randrange(len(MIXED)), chance.choice([1, 5_000, 150_000, 2_000_000])
            file.seek(start)
            assert file.read(length) == MIXED[start : start + length]
            # What follows begins in the chunk that the read ended in.
            assert file.read(10) == MIXED[start + length :][:10]
        file.seek(0)
        parts = []
        while part := file.read(chance.randrange(1, 700_000)):
            parts.append(part)
    assert b"".join(parts) == MIXED


def test_what_is_stored_raw_is_read_to_where_it_is_wanted(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "RUN_BYTES_MAX", 150_000)
    data = noise("all", 4_000_000)
    version = commit(repository, tmp_path / "data", {"noise": data})
    read: list[int] = []
    real = Objects.read

    def watched(objects: Objects, digests: bytes, places: Sequence[Place]) -> list[View]:
        read.append(sum(place.length for place in places))
        return real(objects, digests, places)

    monkeypatch.setattr(Objects, "read", watched)
    target = bytearray(3_000_000)
    with version.open("noise") as file:
        file.seek(500_000)
        assert file.readinto(target) == len(target)
        assert file.read(10) == data[3_500_000:3_500_010]
    assert target == data[500_000:3_500_000]
    assert sum(read) < 1_500_000, "the chunks at both ends, with the frames that they are in"


def test_a_large_read_of_one_chunk(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "DIRECT_BYTES_MIN", 1_000)
    data = noise("one", 9_000)
    version = commit(repository, tmp_path / "data", {"one": data})
    assert version.entry("one").chunks is None
    with version.open("one") as file:
        assert file.read(8_500) == data[:8_500]
        assert file.read() == data[8_500:]


def test_damage_ends_a_large_read_and_all_its_threads(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "RUN_BYTES_MAX", 150_000)
    monkeypatch.setattr(reading, "default_jobs", lambda: 3)
    version = commit(repository, tmp_path / "data", {"mixed": MIXED})
    middle = MIXED.index(PIECES[7]) + 150_000
    flip(repository, MIXED[middle : middle + 100])
    target = bytearray(len(MIXED))
    with version.open("mixed") as file:
        with pytest.raises(DamagedError, match=r"object [0-9a-f]{64} is damaged: its bytes do not match"):
            file.readinto(target)
        was = bytes(target)
        assert not [one for one in threading.enumerate() if one.name.startswith("dataver-read")]
        file.seek(middle + 1_000_000)
        assert file.read(900_000) == MIXED[middle + 1_000_000 :][:900_000]
    assert target == was


def test_files_of_few_chunks_are_those_of_the_folder(repository: Repository, tmp_path: Path) -> None:
    """They share frames with their neighbours, and end in the middle of one as often as not."""
    chance = random.Random(5)
    files = {
        f"{number:03d}": (noise if number % 3 else text)(
            number, chance.choice([900, 40_000, 100_000, 180_000])
        )
        for number in range(60)
    }
    version = commit(repository, tmp_path / "data", files)
    chunks = {name: version.entry(name).chunks for name in files}
    assert any(chunks.values())
    assert not all(chunks.values())
    for name in chance.sample(sorted(files), len(files)):
        assert version.read(name) == files[name]
        start = chance.randrange(len(files[name]))
        assert version.read_ranges(name, [(start, 70_000)]) == [files[name][start : start + 70_000]]


@pytest.mark.parametrize("length", [10_000, 150_000])
def test_damage_in_a_file_of_few_chunks_is_found_after_good_reads(
    repository: Repository, tmp_path: Path, length: int
) -> None:
    data, other = noise("file", length), noise("other", 20_000)
    version = commit(repository, tmp_path / "data", {"file": data, "other": other})
    assert version.read("file") == data
    flip(repository, data[4_000:4_100])
    with pytest.raises(DamagedError, match=r"object [0-9a-f]{64} is damaged: its bytes do not match"):
        version.read("file")
    with pytest.raises(DamagedError, match=r"object [0-9a-f]{64} is damaged: its bytes do not match"):
        version.read_ranges("file", [(4_000, 10)])
    assert version.read("other") == other


def test_a_missing_pack_of_a_file_of_few_chunks(repository: Repository, tmp_path: Path) -> None:
    data = noise("file", 150_000)
    version = commit(repository, tmp_path / "data", {"file": data})
    assert version.read("file") == data
    for pack in Path(repository.url, "packs").glob("*/*"):
        if data[:100] in pack.read_bytes():
            pack.unlink()
    with pytest.raises(DamagedError, match="missing"):
        version.read("file")
    with pytest.raises(DamagedError, match="missing"):
        version.read_ranges("file", [(0, 10)])


AT_THE_END = """
import atexit, sys
from blake3 import blake3
from dataver import reading
from dataver.repository import open_repository
reading.RUN_BYTES_MAX, reading.default_jobs = 150_000, lambda: 3
file = open_repository(sys.argv[1]).version("things").open("mixed")
buffer = bytearray(file.size)

@atexit.register
def read():
    assert file.readinto(buffer) == file.size
    print(blake3(buffer).hexdigest())
"""


def test_a_large_read_while_the_interpreter_ends(repository: Repository, tmp_path: Path) -> None:
    """No thread starts then."""
    commit(repository, tmp_path / "data", {"mixed": MIXED})
    command = [sys.executable, "-c", AT_THE_END, repository.url]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    assert ended.stdout.strip() == blake3(MIXED).hexdigest()
    assert not ended.stderr
