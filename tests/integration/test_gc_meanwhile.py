"""Others collect in the middle of a trace, a verification, a commit or a read: nobody is told of damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from dataver.chunk_index import MapsObjects
from dataver.errors import DamagedError, ErasedError, RefNotFoundError
from dataver.format.operations import ConfigSet, Operation
from dataver.gc import collect
from dataver.keys import pack_key
from dataver.log.state import State
from dataver.repository import Repository, init, open_repository
from dataver.store.base import ObjectInfo, Store, View, Wrapper
from tests.repositories import over
from tests.worlds import noise


class _Once(Wrapper):
    """A store far away that does something once, before the first call that `when` accepts."""

    def __init__(self, inner: Store, when: str, do: Callable[[], object]) -> None:
        super().__init__(inner)
        self._when = when
        self._do: Callable[[], object] | None = do

    def _before(self, call: str) -> None:
        if call == self._when and self._do is not None:
            do, self._do = self._do, None
            do()

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[View]:
        self._before("get_ranges")
        return self.inner.get_ranges(key, ranges)

    def get_suffix(self, key: str, length: int) -> tuple[View, int]:
        self._before("get_suffix")
        return self.inner.get_suffix(key, length)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self._before(f"list {prefix}")
        return self.inner.list(prefix)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Two versions, one of them on a branch beside `main`."""
    repository = init(str(tmp_path / "repository"))
    for branch in ("main", "side"):
        (tmp_path / branch).mkdir()
        (tmp_path / branch / "file").write_bytes(noise(branch, 400_000))
        base = None if branch == "main" else "d@main"
        repository.commit("d", tmp_path / branch, branch=branch, base=base)
    return repository


def let_go_and_collect(repository: Repository) -> None:
    """As another process: the branch goes, and all that it alone led to."""
    other = open_repository(repository.url)
    other.delete_ref("branch", "d", "side")
    assert other.gc(yes=True, grace_s=0).swept


def seen_through(repository: Repository, when: str) -> Repository:
    """The repository as a process has it in which the branch goes at some call."""
    store = repository.session.store
    assert not isinstance(_Once(store, when, lambda: None), MapsObjects)
    return over(_Once(store, when, lambda: let_go_and_collect(repository)))


@pytest.mark.parametrize("yes", [True, False])
def test_a_trace_begins_again(repository: Repository, yes: bool) -> None:
    report = collect(seen_through(repository, "list ").session, yes=yes, grace_s=0)
    assert (report.marked, report.versions) == (0, [])
    assert open_repository(repository.url).verify(deep=True).ok


def test_a_trace_that_misses_what_nobody_collected_ends(repository: Repository) -> None:
    index = repository.session.index()
    place = index.find(repository.session.resolve("d@main").version.manifest)
    assert place is not None
    repository.session.store.delete(pack_key(place.pack))
    with pytest.raises(DamagedError):
        collect(open_repository(repository.url).session, yes=True, grace_s=0)


@pytest.mark.parametrize("when", ["get_suffix", "get_ranges", "list "])
@pytest.mark.parametrize("yes", [True, False])
def test_an_erasure_begins_again(repository: Repository, when: str, yes: bool) -> None:
    report = seen_through(repository, when).erase("d@main", "file", reason="asked", yes=yes)
    assert report.done is yes
    again = open_repository(repository.url)
    assert again.verify(deep=True).ok
    if yes:
        with pytest.raises(ErasedError):
            again.version("d@main").read("file")


def test_a_verification_begins_again(repository: Repository) -> None:
    report = seen_through(repository, "get_ranges").verify(deep=True)
    assert report.ok, report.damaged


def test_a_handle_on_a_version_that_was_collected_says_so(repository: Repository) -> None:
    version = repository.version("d@side")
    kept = repository.version("d@main")
    let_go_and_collect(repository)
    with pytest.raises(RefNotFoundError, match="collected"):
        version.read("file")
    assert kept.read("file") == noise("main", 400_000)


def test_a_plan_that_misses_what_was_collected_is_made_again(repository: Repository) -> None:
    session, seen = repository.session, []

    def plan(state: State) -> tuple[Operation, ...]:
        seen.append(state.number)
        if len(seen) == 1:
            let_go_and_collect(repository)
            raise DamagedError("it is missing")
        return (ConfigSet("colour", "red"),)

    session.log.append(plan, session.who(None))
    assert seen[1] > seen[0]
    with pytest.raises(DamagedError):
        session.log.append(lambda _: (_ for _ in ()).throw(DamagedError("it is missing")), session.who(None))
