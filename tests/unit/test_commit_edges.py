"""Commits where something stands in the way, fails midway, or is there very often."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from dataver.commit import Committer
from dataver.edits import in_the_way
from dataver.errors import StoreError
from dataver.format.node import Row
from dataver.repository import Repository, init
from dataver.source import LocalSource
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
