"""Others write in the middle of an erasure, or it is cut off: the right file goes, in the end all of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataver.erasure import erase
from dataver.format.table_statistics import statistics_key
from dataver.gc import collect
from dataver.hashing import blake3_digest
from dataver.store.base import Store, Wrapper
from tests.erased import REASON, World, noise, traces, words
from tests.repositories import over

if TYPE_CHECKING:
    from dataver.store.base import Data


class _BeforeEntry(Wrapper):
    """A store in which somebody does something just before an entry of the log is put, once."""

    def __init__(self, inner: Store, number: int, do: Callable[[], object]) -> None:
        super().__init__(inner)
        self._key = f"log/{number:020}"
        self._do: Callable[[], object] | None = do

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
        if key == self._key and self._do is not None:
            do, self._do = self._do, None
            do()
        return self.inner.put_new(key, data, barrier=barrier)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One version with a few texts, which share a frame, and a file of noise."""
    made = World(tmp_path)
    for name in ("a", "b", "secret"):
        made.write(f"{name}.txt", words(name, 3_000))
    made.write("noise.bin", noise("kept", 100_000))
    made.commit()
    return made


def test_the_file_goes_that_the_path_led_to_at_first(world: World) -> None:
    """Where the branch moves on meanwhile, what is at the path by then stays."""
    secret = world.contents["secret.txt"]

    def replace_it() -> None:
        world.write("secret.txt", words("another", 3_000))
        world.another().commit("d", world.folder)

    store = _BeforeEntry(world.store, 2, replace_it)
    report = erase(over(store).session, "d", "secret.txt", reason=REASON, yes=True)
    assert report.digest == blake3_digest(secret).hex()
    assert [(file.digest, file.paths) for file in report.files] == [(report.digest, ["secret.txt"])]
    assert report.versions == ["d@v1"]
    assert world.reads("d@v2")
    world.contents["secret.txt"] = secret
    assert world.reads("d@v1", "secret.txt")
    assert traces(world.store, world.rare("secret.txt"), Path(world.url)) == []


def test_the_report_tells_of_files_that_came_meanwhile(world: World) -> None:
    """With all holders a file goes too that was committed after the first look."""
    large = noise("large", 600_000)
    world.write("large.bin", large)
    world.commit()

    def commit_holder() -> None:
        world.write("holder.bin", large[:300_000] + noise("rest", 300_000))
        world.another().commit("d", world.folder)

    store = _BeforeEntry(world.store, 3, commit_holder)
    report = erase(over(store).session, "d", "large.bin", reason=REASON, all_holders=True, yes=True)
    assert {file.paths[0] for file in report.files} == {"large.bin", "holder.bin"}
    assert not report.shared
    assert report.versions == ["d@v2", "d@v3"]
    assert report.bytes > 800_000
    assert world.reads("d", "large.bin", "holder.bin")
    assert world.is_whole(erased=2)


class _KilledError(BaseException):
    """The process is gone."""


def interrupted(world: World, path: str) -> None:
    """An erasure that is killed after its first entry; then what that marked is spared."""

    def be_killed() -> None:
        raise _KilledError

    first = world.repository.session.newest().number + 1
    store = _BeforeEntry(world.store, first + 1, be_killed)
    with pytest.raises(_KilledError):
        erase(over(store).session, "d", path, reason=REASON, yes=True)
    assert world.repository.gc_restore().spared


@pytest.mark.parametrize("path", ["secret.txt", "noise.bin"])
def test_a_collection_carries_an_interrupted_one_through(world: World, path: str) -> None:
    """Whatever was spared meanwhile: nothing of it is left in any pack, and all else is there."""
    interrupted(world, path)
    assert traces(world.store, world.rare(path))
    report = collect(world.repository.session, grace_s=0)
    assert (report.rewritten, report.done) == (1, False)
    for _ in range(2):
        collect(world.repository.session, yes=True, grace_s=0)
    assert traces(world.store, world.rare(path), Path(world.url)) == []
    assert world.reads("d", path)
    assert world.is_whole(erased=1)
    again = collect(world.repository.session, yes=True, grace_s=0)
    assert (again.rewritten, again.marked, again.swept) == (0, 0, 0)


def test_statistics_of_a_table_go_with_it_then(world: World) -> None:
    pq.write_table(pa.table({"who": ["ada", "bob"], "n": [1, 2]}), world.folder / "t.parquet")
    data = (world.folder / "t.parquet").read_bytes()
    world.commit(stats=True)
    key = statistics_key(blake3_digest(data))
    assert world.repository.session.index().find(key) is not None
    interrupted(world, "t.parquet")
    for _ in range(2):
        collect(world.repository.session, yes=True, grace_s=0)
    assert world.another().session.index().find(key) is None
    assert world.is_whole(erased=1)
