"""The verbs that change a repository, each with one that it has work in, and what must be true throughout.

Every way of going wrong (a call that fails, a crash, a kill, a full disk) goes through the same table.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest

from dataver.errors import AlreadyExistsError, ErasedError, RefNotFoundError
from dataver.gc import collect, restore
from dataver.gc.holds import hold, holds, release
from dataver.gc.prune import Retention, prune
from dataver.keys import PACK_PREFIX, SEGMENT_PREFIX
from dataver.repair import repair
from dataver.repository import Repository
from dataver.store.base import Store
from dataver.store.memory import MemoryStore
from dataver.values import dataclass
from tests.damage import change
from tests.repositories import memory_repository, over
from tests.worlds import noise, text

WEEK = 7 * 86_400.0
Files = dict[str, bytes]

FIRST: Files = {"a": noise("a", 60_000), "t": text("t", 40_000), "label": b"label\n" * 20}
SECOND = FIRST | {"b": noise("b", 30_000)}
THIRD = SECOND | {"a": noise("a3", 50_000)}
SIDE = FIRST | {"lost": noise("lost", 50_000)}
FOURTH = THIRD | {"c": noise("c", 70_000)}
CRASHED: Files = {"crashed": noise("crashed", 20_000)}
LARGE: Files = {str(number): noise(number, 300_000) for number in range(5)}
SECRET = "b"


@dataclass(frozen=True, slots=True)
class Scene:
    """A repository by its objects, and what each ref in it must read back as, whatever happens."""

    objects: dict[str, bytes]
    promised: dict[str, Files]

    def in_memory(self) -> MemoryStore:
        """A store of its own with these objects."""
        store = MemoryStore(f"scene-{uuid4().hex}")
        for key, data in self.objects.items():
            store.put_new(key, data)
        return store

    def on_disk(self, place: Path) -> Path:
        """The same below a folder, as a local store has it."""
        for key, data in self.objects.items():
            path = place / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(0o444)
        return place


@dataclass(frozen=True, slots=True)
class Verb:
    """`act` does it, `finished` fails where it has not come about, `line` is it on the command line.

    `act` is given a folder with the files of `FOURTH`, which `commit` takes.
    """

    name: str
    scene: Callable[[], Scene]
    act: Callable[[Repository, Path], object]
    finished: Callable[[Repository], None]
    line: str
    harmed: bool = False
    """Whether the scene has lost something that a verification tells of until this is finished."""
    between: Callable[[Repository], None] = lambda _: None
    """What must be true after it was stopped at any point, beside that what is promised is whole."""

    def __str__(self) -> str:
        return self.name


def write(folder: Path, files: Files) -> Path:
    """Make a folder of these files."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def check_promises(repository: Repository, promised: dict[str, Files], what: object) -> None:
    """All that was promised reads back."""
    for ref, files in promised.items():
        version = repository.version(ref)
        for path, data in files.items():
            assert version.read(path) == data, (what, ref, path)


def stored_bytes(store: Store) -> int:
    """The bytes of all packs and segments."""
    return sum(info.size_bytes for prefix in (PACK_PREFIX, SEGMENT_PREFIX) for info in store.list(prefix))


def check_nothing_leaks(repository: Repository, bytes_max: int, what: object) -> None:
    """Collections free all that nothing needs: no more is stored than where nothing went wrong."""
    store = repository.session.store
    for _ in range(2):
        collect(over(store).session, yes=True, grace_s=0)
    left = collect(over(store).session, grace_s=0)
    assert (left.marked, left.waiting, left.swept, left.spared) == (0, 0, 0, 0), (what, left)
    assert (left.undeleted, left.unknown) == ([], []), (what, left)
    assert stored_bytes(store) <= bytes_max, (what, stored_bytes(store), bytes_max)


# The scenes


def _scene(repository: Repository, promised: dict[str, Files]) -> Scene:
    store = repository.session.store
    return Scene({info.key: store.get(info.key) for info in store.list("")}, promised)


def _base() -> Repository:
    """Three versions, of which the second is held by nothing but its number; a branch that was deleted;
    and what a writer left that did not get to its entry."""
    repository = memory_repository()
    with TemporaryDirectory() as place:
        folder = Path(place) / "data"
        for number, files in enumerate((FIRST, SECOND, THIRD), 1):
            repository.commit("d", write(folder, files), message=f"{number}")
        repository.tag("d@v1", "paper")
        repository.branch("d@v1", "side")
        repository.commit("d", write(folder, SIDE), branch="side", base="d@side")
        repository.delete_ref("branch", "d", "side")
        other = memory_repository()
        other.commit("other", write(folder, CRASHED))
        for info in [*other.session.store.list(PACK_PREFIX)]:
            assert repository.session.store.put_new(info.key, other.session.store.get(info.key))
    would = collect(repository.session, grace_s=0)
    assert (len(would.versions), would.marked > 2) == (1, True)
    return repository


KEPT = {"d@v1": FIRST, "d@paper": FIRST, "d@v3": THIRD, "d": THIRD}
ALL = KEPT | {"d@v2": SECOND}


@cache
def _usual() -> Scene:
    return _scene(_base(), ALL)


@cache
def _pruned() -> Scene:
    repository = _base()
    prune(repository.session, "d", Retention(last=1), yes=True)
    collect(repository.session, yes=True, grace_s=WEEK)
    return _scene(repository, KEPT)


@cache
def _held() -> Scene:
    repository = _base()
    hold(repository.session, "d@v2", "audit")
    return _scene(repository, ALL)


@cache
def _mostly_dead() -> Scene:
    """One pack of 1.5 MB, of which a fifth is needed."""
    repository = memory_repository()
    with TemporaryDirectory() as place:
        folder = Path(place) / "data"
        repository.commit("d", write(folder, {"first": b"first"}))
        repository.commit("d", write(folder, LARGE), branch="trial")
        repository.commit("d", write(folder, {"0": LARGE["0"]}), base="d@main")
    repository.delete_ref("branch", "d", "trial")
    assert collect(repository.session, grace_s=0).rewritten == 1
    return _scene(repository, {"d": {"0": LARGE["0"]}})


@cache
def _damaged() -> Scene:
    """As usual, but the segments of the index are gone."""
    repository = _base()
    store = repository.session.store
    for info in [*store.list(SEGMENT_PREFIX)]:
        change(store, info.key, None)
    return _scene(repository, {})


@cache
def _with_secret() -> Scene:
    without = {ref: {n: data for n, data in files.items() if n != SECRET} for ref, files in ALL.items()}
    return _scene(_base(), without)


# The verbs


def _init(repository: Repository, _: Path) -> None:
    # Where it came to be at the attempt before, the answer of that was lost.
    with suppress(AlreadyExistsError):
        repository.session.create()


def _is_made(repository: Repository) -> None:
    assert repository.datasets() == []
    assert repository.verify(deep=True).ok
    with TemporaryDirectory() as place:
        repository.commit("d", write(Path(place) / "data", FIRST))
    assert repository.version("d@v1").read("a") == FIRST["a"]


def _is_marked(repository: Repository) -> None:
    left = collect(repository.session, grace_s=WEEK)
    assert (left.marked, left.versions) == (0, [])
    assert left.waiting > 1


def _is_swept(repository: Repository) -> None:
    left = collect(repository.session, grace_s=0)
    assert (left.marked, left.waiting, left.swept, left.versions) == (0, 0, 0, [])
    assert repository.verify(deep=True).ok


def _is_swept_or_can_be_had_back(repository: Repository) -> None:
    """Tried on a copy: no byte of what was pruned is gone before the log says so."""
    store = repository.session.store
    copy = Scene({info.key: store.get(info.key) for info in store.list("")}, {}).in_memory()
    restore(over(copy).session)
    with suppress(RefNotFoundError):
        version = over(copy).version("d@v2")
        assert {path: version.read(path) for path in SECOND} == SECOND


def _is_restored(repository: Repository) -> None:
    assert repository.session.state().marks() == {}
    check_promises(repository, ALL, "restored")


def _is_pruned(repository: Repository) -> None:
    with pytest.raises(RefNotFoundError):
        repository.version("d@v2")


def _is_held(repository: Repository) -> None:
    assert [(name, dataset) for name, dataset, _ in holds(repository.session)] == [("audit", "d")]


def _release(repository: Repository, _: Path) -> None:
    with suppress(RefNotFoundError):
        release(repository.session, "audit")


def _is_released(repository: Repository) -> None:
    assert holds(repository.session) == []


def _is_committed(repository: Repository) -> None:
    assert repository.version("d").read("c") == FOURTH["c"]
    assert repository.verify(deep=True).ok


def _is_erased(repository: Repository) -> None:
    with pytest.raises(ErasedError, match="law"):
        repository.version("d@v2").read(SECRET)
    report = repository.verify(deep=True)
    assert (report.ok, report.erased) == (True, 1)


def _is_repaired(repository: Repository) -> None:
    assert repository.verify(deep=True).ok
    check_promises(repository, ALL, "repaired")


def _empty() -> Scene:
    return Scene({}, {})


VERBS = [
    Verb("init", _empty, _init, _is_made, "init"),
    Verb(
        "commit", _usual, lambda r, place: r.commit("d", place, message="4"), _is_committed,
        "commit d data -m 4",
    ),
    Verb(
        "gc: mark", _usual, lambda r, _: collect(r.session, yes=True, grace_s=WEEK), _is_marked,
        "gc --yes",
    ),
    Verb(
        "gc: sweep", _pruned, lambda r, _: collect(r.session, yes=True, grace_s=0), _is_swept,
        "gc --yes --grace 0d", between=_is_swept_or_can_be_had_back,
    ),
    Verb(
        "gc: repack", _mostly_dead, lambda r, _: collect(r.session, yes=True, grace_s=0), _is_swept,
        "gc --yes --grace 0d",
    ),
    Verb("gc: restore", _pruned, lambda r, _: restore(r.session), _is_restored, "gc --restore"),
    Verb(
        "prune", lambda: Scene(_usual().objects, KEPT),
        lambda r, _: prune(r.session, "d", Retention(last=1), yes=True), _is_pruned,
        "prune d --keep-last 1 --yes",
    ),
    Verb("hold", _usual, lambda r, _: hold(r.session, "d@v2", "audit"), _is_held, "hold d@v2 audit"),
    Verb("release", _held, _release, _is_released, "hold --release audit"),
    Verb(
        "erase", _with_secret, lambda r, _: r.erase("d", SECRET, reason="law", yes=True), _is_erased,
        "erase d b --reason law --yes",
    ),
    Verb("repair", _damaged, lambda r, _: repair(r.session, yes=True), _is_repaired, "repair --yes", True),
]  # fmt: skip
BY_NAME = {verb.name: verb for verb in VERBS}
