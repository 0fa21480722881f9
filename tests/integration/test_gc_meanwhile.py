"""Others collect in the middle of a trace, a verification, a commit or a read: nobody is told of damage."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dataver.chunk_index import MapsObjects
from dataver.errors import ConflictError, DamagedError, ErasedError, RefNotFoundError
from dataver.format.operations import ConfigSet, Operation
from dataver.gc import collect
from dataver.keys import pack_key
from dataver.log.state import State
from dataver.repository import Repository, init, open_repository
from dataver.store.base import ObjectInfo, Store, View, Wrapper
from tests.repositories import over
from tests.worlds import noise

if TYPE_CHECKING:
    from dataver.store.base import Data


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


@pytest.mark.parametrize("verb", ["merge", "revert", "commit"])
def test_what_is_made_from_a_version_that_is_collected_before_it_is_read_says_so(
    repository: Repository, tmp_path: Path, verb: str
) -> None:
    side = repository.session.resolve("d@side").version
    late = seen_through(repository, "get_suffix")
    makes: dict[str, Callable[[], object]] = {
        "merge": lambda: late.merge(f"d@{side.id}"),
        "revert": lambda: late.revert(f"d@{side.id}"),
        "commit": lambda: late.commit("d", tmp_path / "main", base=f"d@{side.id}", branch="other"),
    }
    with pytest.raises(ConflictError, match="collected"):
        makes[verb]()
    assert open_repository(repository.url).verify(deep=True).ok


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


class _Chased(Wrapper):
    """A store far away where others collect between a look at the log and the next read below a prefix."""

    def __init__(self, inner: Store, prefix: str, moves: Sequence[Callable[[], object]]) -> None:
        super().__init__(inner)
        self._prefix = prefix
        self._looked = False
        self._lock = threading.Lock()
        self.moves = list(moves)

    def _before(self, key: str) -> None:
        with self._lock:
            if key.startswith(self._prefix) and self.moves and self._looked:
                self._looked = False
                self.moves.pop()()
            self._looked |= key.startswith("log/")

    def get(self, key: str) -> bytes:
        self._before(key)
        return self.inner.get(key)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[View]:
        self._before(key)
        return self.inner.get_ranges(key, ranges)

    def get_suffix(self, key: str, length: int) -> tuple[View, int]:
        self._before(key)
        return self.inner.get_suffix(key, length)


class _AfterEntry(Wrapper):
    """A store far away in which somebody does something right after the next entry of the log, once."""

    def __init__(self, inner: Store, do: Callable[[], object]) -> None:
        super().__init__(inner)
        self._do: Callable[[], object] | None = do

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
        made = self.inner.put_new(key, data, barrier=barrier)
        if key.startswith("log/") and self._do is not None:
            do, self._do = self._do, None
            do()
        return made


def test_what_was_recorded_is_said_to_be_though_it_went_at_once(
    repository: Repository, tmp_path: Path
) -> None:
    """The branch goes, and all that it led to, before its new version is compared with the one before."""
    (tmp_path / "more").write_bytes(b"more")
    repository.commit("d", tmp_path / "more", add=True)
    store = _AfterEntry(repository.session.store, lambda: let_go_and_collect(repository))
    done = over(store).merge("d@main", branch="side")
    assert done.created
    assert not done.changed
    newest = open_repository(repository.url)
    with pytest.raises(RefNotFoundError):
        newest.version(f"d@{done.id}")
    assert newest.verify(deep=True).ok


def read_whole(repository: Repository, _: Path) -> bytes:
    return repository.version("d@v1").read("kept")


def read_listed(repository: Repository, _: Path) -> bytes:
    version = repository.version("d@v1")
    assert "kept" in [entry.path for entry in version.files()]
    return version.read("kept")


def read_range(repository: Repository, _: Path) -> bytes:
    return bytes(repository.version("d@v1").read_ranges("kept", [(0, len(DATA))])[0])


def read_checked_out(repository: Repository, place: Path) -> bytes:
    repository.checkout("d@v1", place / "out", include=["kept"])
    return (place / "out" / "kept").read_bytes()


def read_copied(repository: Repository, place: Path) -> bytes:
    other = init(str(place / "other"))
    other.pull(["d@alone"], source=repository)
    return other.version("d@alone").read("kept")


DATA = noise("kept", 40_000)
READS = [read_whole, read_listed, read_range, read_checked_out, read_copied]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("kind", ["packs/", "index/"])
def test_a_read_follows_those_who_collect_again_and_again(
    tmp_path: Path, kind: str, read: Callable[[Repository, Path], bytes]
) -> None:
    """What is needed is in another pack, or named by another segment, each time that it is looked for."""
    repository = init(str(tmp_path / "repository"))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "kept").write_bytes(DATA)
    for number in range(3):
        (folder / f"erased-{number}").write_bytes(noise(f"erased {number}", 10_000))
    repository.commit("d", folder)
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "kept").write_bytes(DATA)
    repository.commit("d", tmp_path / "alone", tags=["alone"])

    def erase(number: int) -> None:
        """The pack with the file that is kept is written again, and the old one deleted."""
        open_repository(repository.url).erase("d@v1", f"erased-{number}", reason="asked", yes=True)

    def merge(number: int) -> None:
        """All segments become one, and the old ones are deleted."""
        other = open_repository(repository.url)
        for more in range(9):
            (folder / "more").write_text(f"{number} {more}")
            other.commit(f"e{number}", folder / "more")
        assert other.gc(yes=True, grace_s=0).swept

    moves = [partial(erase if kind == "packs/" else merge, number) for number in range(3)]
    store = _Chased(repository.session.store, kind, moves)
    assert read(over(store), tmp_path) == DATA
    assert not store.moves
