"""Several processes push into one repository at once: all arrives, and who came too late is told."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dataver.gc.prune import Retention
from dataver.repository import Repository, init, open_repository
from dataver.store.base import Store, View, Wrapper
from tests.integration.test_concurrency import folder, together
from tests.repositories import over

PUSHERS = 4

PUSH = """
import sys
from dataver.errors import DataverError
from dataver.repository import open_repository

try:
    done = open_repository(sys.argv[1]).push(sys.argv[3:], to=sys.argv[2])
    print("done", len(done.refs), done.versions)
except DataverError as error:
    print("error", type(error).__name__, error.exit_code)
"""


@pytest.fixture
def target(tmp_path: Path) -> Repository:
    return init(str(tmp_path / "target"))


def test_other_datasets_all_arrive(target: Repository, tmp_path: Path) -> None:
    sources = []
    for number in range(PUSHERS):
        source = init(str(tmp_path / f"source-{number}"))
        data = folder(tmp_path / f"data-{number}", text=f"{number}\n" * 1_000)
        for version in range(3):
            (data / "noise").write_bytes(os.urandom(200_000))
            source.commit(f"set{number}", data, message=str(version))
        sources.append(source)
    assert together(PUSH, [[source.url, target.url] for source in sources]) == ["done 1 3"] * PUSHERS
    for number, source in enumerate(sources):
        assert [v.id for v in target.log(f"set{number}")] == [v.id for v in source.log(f"set{number}")]
    assert target.verify(deep=True).ok


def test_the_same_dataset_arrives_once(target: Repository, tmp_path: Path) -> None:
    source = init(str(tmp_path / "source"))
    data = folder(tmp_path / "data", text="text\n" * 1_000)
    for version in range(3):
        (data / "noise").write_bytes(os.urandom(200_000))
        source.commit("d", data, message=str(version))
    outputs = together(PUSH, [[source.url, target.url] for _ in range(PUSHERS)])
    assert all(output.startswith("done") for output in outputs)
    assert outputs.count("done 1 3") >= 1
    assert [v.id for v in target.log("d")] == [v.id for v in source.log("d")]
    assert target.verify(deep=True).ok


def test_of_lines_that_parted_one_wins(target: Repository, tmp_path: Path) -> None:
    first = init(str(tmp_path / "first"))
    first.commit("d", folder(tmp_path / "data", shared="1"))
    sources = [first]
    for number in range(1, PUSHERS):
        sources.append(init(str(tmp_path / f"copy-{number}")))
        sources[-1].pull(source=first)
    for number, source in enumerate(sources):
        mine = tmp_path / f"mine-{number}"
        source.checkout("d", mine)
        source.commit("d", folder(mine, **{f"file{number}": str(number)}))
    outputs = together(PUSH, [[source.url, target.url] for source in sources])
    assert sum(output.startswith("done") for output in outputs) == 1
    assert outputs.count("error ConflictError 4") == PUSHERS - 1
    # The others come after it, one by one.
    for source in sources:
        again = open_repository(source.url)
        again.pull(source=target, rebase=True)
        again.push(to=target)
    assert {file.path for file in target.version("d").files()} == {
        "shared",
        *(f"file{number}" for number in range(PUSHERS)),
    }
    assert [v.version for v in target.log("d")] == [f"v{n}" for n in range(PUSHERS + 1, 0, -1)]
    assert target.verify(deep=True).ok
    assert all(open_repository(source.url).verify(deep=True).ok for source in sources)


class _BeforeReads(Wrapper):
    """A source far away in which somebody does something before one of the first reads of packs."""

    def __init__(self, inner: Store, reads: int, do: Callable[[], object]) -> None:
        super().__init__(inner)
        self._left = reads
        self._do = do

    def _before(self, key: str) -> None:
        if key.startswith("packs/"):
            self._left -= 1
            if not self._left:
                self._do()

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[View]:
        self._before(key)
        return self.inner.get_ranges(key, ranges)

    def get_suffix(self, key: str, length: int) -> tuple[View, int]:
        self._before(key)
        return self.inner.get_suffix(key, length)


@pytest.mark.parametrize("read", range(1, 9))
@pytest.mark.parametrize("gone", ["pruned", "erased"])
def test_what_goes_on_the_way_does_not_come(target: Repository, tmp_path: Path, gone: str, read: int) -> None:
    """Versions of the source are pruned and collected, or a file is erased, while they are copied."""
    source = init(str(tmp_path / "source"))
    (tmp_path / "data").mkdir()
    for number in range(3):
        (tmp_path / "data" / "file").write_bytes(random.Random(number).randbytes(50_000))
        source.commit("d", tmp_path / "data", jobs=1)

    def let_go() -> None:
        other = open_repository(source.url)
        if gone == "pruned":
            other.prune("d", Retention(last=1), yes=True)
            other.gc(yes=True, grace_s=0)
        else:
            other.erase("d@v2", "file", reason="asked", yes=True)

    store = _BeforeReads(source.session.store, read, let_go)
    done = target.pull(["d"], source=over(store))
    assert [move.name for move in done.refs] == ["d@main"]
    there = [info.version for info in target.log("d")]
    assert there[0] == "v3"
    assert there in (["v3"], ["v3", "v2", "v1"])
    assert target.version("d").read("file") == random.Random(2).randbytes(50_000)
    assert target.verify(deep=True).ok
    assert source.verify(deep=True).ok
