"""Commits where something stands in the way, fails midway, or is there very often."""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from dataver.commit import Committer
from dataver.edits import in_the_way
from dataver.errors import StoreError
from dataver.format.node import Row
from dataver.ingest import WINDOW_BYTES, digest_files
from dataver.progress import Silent
from dataver.repository import Repository, init
from dataver.source import LocalSource, SourceFile
from dataver.source.reading import LocalReader
from dataver.tree.build import build
from dataver.tree.manifest import FILE, Entry, to_row
from dataver.tree.schema import MANIFEST, Link, MemoryNodes, Node
from tests.worlds import noise


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return init(tmp_path / "repository")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    return source


def test_a_file_in_the_way_of_a_folder_counts_as_deleted(repository: Repository, source: Path) -> None:
    (source / "x").write_text("a file\n")
    (source / "y").write_text("another\n")
    first = repository.commit("d", source)
    below = source.parent / "below"
    below.mkdir()
    (below / "z").write_text("below\n")
    forecast = repository.commit("d", below, into="x", dry_run=True)
    assert (forecast.changed.added, forecast.changed.deleted, forecast.changed.modified) == (1, 1, 0)
    done = repository.commit("d", below, into="x")
    assert done.changed == forecast.changed
    assert done.changed == repository.diff(f"d@{first.id}", f"d@{done.id}").counts
    assert (forecast.files, forecast.bytes) == (done.files, done.bytes)
    assert [entry.path for entry in repository.version("d").files()] == ["x/z", "y"]


def test_what_a_failed_commit_stored_is_used_again_in_the_same_process(
    repository: Repository, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "large").write_bytes(noise("large", 3_000_000))
    gc.collect()
    open_before = len(os.listdir("/proc/self/fd"))

    def fails(*_: object) -> None:
        raise StoreError("the network is away")

    with monkeypatch.context() as failing:
        failing.setattr(Committer, "_fill", fails)
        with pytest.raises(StoreError, match="away"):
            repository.commit("d", source)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == open_before
    packs = set(Path(repository.url, "packs").rglob("*"))
    assert repository.commit("d", source).created
    large = [
        path
        for path in set(Path(repository.url, "packs").rglob("*")) - packs
        if path.stat().st_size > 1_000_000
    ]
    assert not large, "its bytes are in the pack of the first attempt"


def test_looking_for_what_is_in_the_way_makes_few_rows() -> None:
    entries = [Entry(b"%06d" % number, FILE, False, 1, bytes(32)) for number in range(50_000)]
    nodes = MemoryNodes(MANIFEST)
    root = build(nodes, map(to_row, entries))
    made = 0

    class Counted(list[Row]):
        def __getitem__(self, at: Any) -> Any:
            nonlocal made
            found = super().__getitem__(at)
            made += len(found) if isinstance(at, slice) else 1
            return found

    real = MemoryNodes.load

    def load(self: MemoryNodes, link: Link) -> Node:
        node = real(self, link)
        return Node(node.level, Counted(node.rows))

    with mock.patch.object(MemoryNodes, "load", load):
        assert [row.key for row in in_the_way(nodes, root, [b"000001/x", b"000002x"])] == [b"000001"]
    assert 0 < made < 120, "not all that stand after it in each node"


def test_links_and_files_in_one_folder_are_in_order(source: Path) -> None:
    for number in range(300):
        if number % 3:
            (source / f"{number:03}").write_text("x")
        else:
            (source / f"{number:03}").symlink_to(f"{number:03}")
    listed = list(LocalSource(source).files())
    assert [file.path for file in listed] == [b"%03d" % number for number in range(300)]
    assert [file.kind for file in listed] == [1 if number % 3 == 0 else 0 for number in range(300)]
    assert [file.size for file in listed] == [3 if number % 3 == 0 else 1 for number in range(300)]


@pytest.mark.parametrize("by_error", [False, True])
def test_an_interrupt_ends_a_large_file_that_is_read_for_its_digest(source: Path, by_error: bool) -> None:
    """The end of it is waited for, not that of the file."""
    (source / "a").write_text("small\n")
    with open(source / "large", "wb") as file:
        file.truncate(400 * WINDOW_BYTES)  # a hole
    begun = threading.Event()
    blocks = 0

    class Reader(LocalReader):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal blocks
            blocks += 1
            if blocks == 2:
                begun.set()
            time.sleep(0.005)
            return super().read(size)

    class Source(LocalSource):
        def read_small(self, file: SourceFile) -> tuple[bytes, SourceFile]:
            assert begun.wait(60)
            if by_error:
                raise StoreError("the disk is away")
            return super().read_small(file)

        def open_stable(self, file: SourceFile) -> LocalReader:
            reader = super().open_stable(file)
            reader.__class__ = Reader
            return reader

    class Interrupting(Silent):
        def advance(self, files: int = 0, size_bytes: int = 0) -> None:
            raise KeyboardInterrupt

    looked_at = Source(source)
    with pytest.raises(StoreError if by_error else KeyboardInterrupt):
        digest_files(looked_at, looked_at.files()[:], jobs=2, progress=Interrupting())
    assert 2 <= blocks < 300
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dataver-read")]
