"""The rules by which a collection decides: what keeps a version, the grace, and what stops it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dataver.digest import Digest
from dataver.errors import ConflictError, DamagedError, NotPermittedError, RefNotFoundError, StoreError
from dataver.format.operations import BRANCH, ConfigSet, GcMark, GcSweep, RefDelete
from dataver.gc import collect, restore
from dataver.gc.entries import ATTEMPTS_MAX
from dataver.gc.holds import holds
from dataver.gc.live import Live, PackUse
from dataver.gc.prune import Retention, prune
from dataver.gc.repack import DEAD_BYTES_MIN, worth_rewriting
from dataver.gc.roots import NAMED_MAX, find_roots
from dataver.hashing import blake3_digest
from dataver.keys import HINT_KEY, LOG_PREFIX, PACK_PREFIX, SEGMENT_PREFIX, pack_key
from dataver.log.state import State
from dataver.packs import FRAME_BYTES_TARGET
from dataver.progress import Silent
from dataver.repository import Repository
from dataver.session import Session
from dataver.store.base import ObjectInfo, Wrapper
from dataver.store.memory import MemoryStore
from tests.repositories import memory_repository, over
from tests.runs import model, read, record

if TYPE_CHECKING:
    from dataver.format.version import VersionRecord
    from dataver.store.base import Data

WEEK = 7 * 86_400.0
FILE_BYTES = 50_000


@pytest.fixture
def repository() -> Repository:
    return memory_repository()


@pytest.fixture
def commit(repository: Repository, tmp_path: Path) -> Callable[..., str]:
    """Commit one file of bytes that no other commit has."""
    folder = tmp_path / "source"
    folder.mkdir()

    def do(dataset: str, branch: str = "main", *, size_bytes: int = FILE_BYTES, **options: object) -> str:
        (folder / "file").write_bytes(random.randbytes(size_bytes))
        return repository.commit(dataset, folder, branch=branch, **options).id  # type: ignore[arg-type]

    return do


def sizes(repository: Repository, prefix: str = "") -> dict[str, int]:
    return {info.key: info.size_bytes for info in repository.session.store.list(prefix)}


def is_whole(repository: Repository) -> bool:
    report = Repository(repository.url).verify(deep=True)
    assert report.ok, report.damaged
    return True


# What keeps a version


def test_the_versions_of_a_branch_have_no_number_and_stay(
    repository: Repository, commit: Callable[..., str]
) -> None:
    first = commit("d")
    ids = [first, *(commit("d", "x") for _ in range(2))]
    roots = find_roots(repository.session, repository.session.newest())
    assert {str(id) for _, id in roots.reached} == set(ids)
    assert (roots.lost, roots.kept_by) == ({}, [])


def test_parents_that_were_pruned_are_not_asked_for(
    repository: Repository, commit: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their records may be gone."""
    ids = [commit("d") for _ in range(3)]
    prune(repository.session, "d", Retention(last=1), yes=True)
    asked: list[str] = []
    read_record = Session.record

    def noted(session: Session, id: Digest, state: State | None = None) -> VersionRecord:
        asked.append(str(id))
        return read_record(session, id, state)

    monkeypatch.setattr(Session, "record", noted)
    roots = find_roots(repository.session, repository.session.newest())
    assert {str(id) for _, id in roots.reached} == set(asked) == {ids[-1]}


def test_a_number_keeps_its_version_where_no_branch_leads_there(
    repository: Repository, commit: Callable[..., str]
) -> None:
    ids = [commit("d") for _ in range(3)]
    session = repository.session
    dataset = session.newest().dataset("d")
    assert dataset is not None
    gone = RefDelete(dataset, BRANCH, "main", Digest.parse(ids[-1]))
    session.log.append(lambda _: (gone,), session.who(None))
    report = collect(repository.session, yes=True, grace_s=0)
    assert [(kept.dataset, str(kept.version), kept.by) for kept in report.kept_by] == [
        ("d", id, f"number v{number}") for number, id in enumerate(ids, 1)
    ]
    assert (report.versions, report.swept) == ([], 0)
    assert is_whole(repository)


def test_parents_of_what_is_kept_are_kept(repository: Repository, commit: Callable[..., str]) -> None:
    commit("d")
    ids = [commit("d", "x") for _ in range(3)]
    repository.tag(f"d@{ids[-1]}", "paper")
    repository.delete_ref("branch", "d", "x")
    report = collect(repository.session, yes=True, grace_s=0)
    assert [kept.by for kept in report.kept_by] == ["tag paper"]
    assert report.versions == []
    assert [info.id for info in repository.log("d@paper")][:3] == ids[::-1]
    assert is_whole(repository)


def test_an_alias_keeps_its_version_until_it_is_deleted(
    repository: Repository, commit: Callable[..., str]
) -> None:
    commit("d")
    id = commit("d", "x")
    repository.alias(f"d@{id}", "prod")
    repository.delete_ref("branch", "d", "x")
    assert [kept.by for kept in collect(repository.session, yes=True, grace_s=0).kept_by] == ["alias prod"]
    repository.delete_ref("alias", "d", "prod")
    assert [lost.version for lost in collect(repository.session, yes=True, grace_s=0).versions] == [id]
    assert is_whole(repository)


def test_holds_and_runs_keep_versions_of_a_deleted_dataset(
    repository: Repository, commit: Callable[..., str]
) -> None:
    first = commit("d")
    names = ("held", "used", "made", "lost")
    held, used, made, lost = (commit("d", name, base=f"d@{first}") for name in names)
    repository.tag(f"d@{lost}", "paper")  # Names of a deleted dataset keep nothing.
    repository.hold("d@held", "audit")
    run = record(repository, [read(repository, "d@used")])
    churn = record(repository, [], [model("churn")], ["d@made"])
    repository.delete_dataset("d")
    report = collect(repository.session, yes=True, grace_s=0)
    assert {(str(kept.version), kept.by) for kept in report.kept_by} == {
        (held, "hold audit"),
        (used, f"run {run.run}"),
        (made, "model churn@v1"),
    }
    assert [(one.dataset, one.version, one.number) for one in report.versions] == [("d", lost, 0)]
    assert churn.run != run.run
    assert is_whole(repository)
    repository.release("audit")
    assert [one.version for one in collect(repository.session, yes=True, grace_s=0).versions] == [held]
    with pytest.raises(RefNotFoundError, match="collected"):
        repository.undelete_dataset("d")


def test_a_version_that_several_keep_is_told_once(repository: Repository, commit: Callable[..., str]) -> None:
    commit("d")
    id = commit("d", "x")
    repository.tag(f"d@{id}", "a")
    repository.tag(f"d@{id}", "b")
    repository.hold(f"d@{id}", "audit")
    repository.delete_ref("branch", "d", "x")
    kept = collect(repository.session, grace_s=0).kept_by
    assert [(one.by, one.also, one.more) for one in kept] == [("hold audit", ["tag a", "tag b"], 0)]


def test_what_pins_a_version_is_told_also_where_a_branch_leads_there(
    repository: Repository, commit: Callable[..., str]
) -> None:
    ids = [commit("d") for _ in range(5)]
    side = commit("d", "x")
    run = record(repository, [read(repository, "d@v1")])
    churn = record(repository, [read(repository, "d@v2")], [model("churn")])
    repository.tag("d@v2", "paper")
    repository.tag("d@v3", "plain")  # A branch leads there, and nothing pins it.
    repository.hold("d@v4", "audit")
    used = record(repository, [read(repository, "d@x")])
    repository.delete_ref("branch", "d", "x")
    report = collect(repository.session, grace_s=0)
    assert [(str(one.version), one.number, one.by, one.also, one.on_branch) for one in report.kept_by] == [
        (side, 0, f"run {used.run}", [], False),
        (ids[0], 1, f"run {run.run}", [], True),
        (ids[1], 2, "model churn@v1", [f"run {churn.run}", "tag paper"], True),
        (ids[3], 4, "hold audit", [], True),
    ]


def test_what_pins_a_version_comes_before_its_number(
    repository: Repository, commit: Callable[..., str]
) -> None:
    ids = [commit("d") for _ in range(3)]
    repository.hold("d@v2", "audit")
    session = repository.session
    dataset = session.newest().dataset("d")
    assert dataset is not None
    gone = RefDelete(dataset, BRANCH, "main", Digest.parse(ids[-1]))
    session.log.append(lambda _: (gone,), session.who(None))
    kept = collect(session, grace_s=0).kept_by
    assert [(one.by, one.also) for one in kept] == [("number v1", []), ("hold audit", []), ("number v3", [])]


def test_of_much_that_pins_a_version_some_is_named_and_the_rest_counted(
    repository: Repository, commit: Callable[..., str]
) -> None:
    commit("d")
    repository.hold("d@v1", "a")
    repository.hold("d@v1", "b")
    runs = {f"run {record(repository, [read(repository, 'd@v1')]).run}" for _ in range(NAMED_MAX)}
    made = [record(repository, [read(repository, "d@v1")], [model("m")]).run for _ in range(3)]
    (kept,) = collect(repository.session, grace_s=0).kept_by
    assert kept.by == "hold a"
    assert kept.also[:1] == ["hold b"]
    assert sorted(kept.also[1:4]) == ["model m@v1", "model m@v2", "model m@v3"]
    assert set(kept.also[4:]) <= runs | {f"run {run}" for run in made}
    assert 1 + len(kept.also) == len({kept.by, *kept.also}) == NAMED_MAX
    assert kept.more == 2 + NAMED_MAX + 2 * 3 - NAMED_MAX


def test_a_hold_says_which_datasets_have_its_version(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    time = "2026-01-01T00:00:00Z"
    id = repository.commit("d", tmp_path / "file", time=time).id
    assert repository.commit("e", tmp_path / "file", time=time).id == id
    held = repository.hold(f"e@{id}", "audit")
    number = repository.session.log.tail().entry.number
    assert repository.hold(f"d@{id}", "audit").previous == id
    assert repository.session.log.tail().entry.number == number  # It is held already: no entry.
    assert (held.name, held.id, held.previous) == ("audit", id, None)
    assert holds(repository.session) == [("audit", "d, e", id)]
    repository.delete_dataset("d")
    assert holds(repository.session) == [("audit", "e", id)]
    released = repository.release("audit")
    assert (released.name, released.id, released.previous) == ("audit", None, id)


def test_a_report_is_a_document(repository: Repository, commit: Callable[..., str]) -> None:
    commit("d")
    id = commit("d", "x")
    repository.tag(f"d@{id}", "paper")
    repository.delete_ref("branch", "d", "x")
    document = collect(repository.session, grace_s=0).to_json()
    assert document["kept_by"] == [
        {
            "dataset": "d", "version": id, "by": "tag paper",
            "number": 0, "also": [], "more": 0, "on_branch": False,
        }
    ]  # fmt: skip
    assert set(document) == {
        *("done", "marked", "marked_bytes", "swept", "bytes", "waiting", "waiting_bytes", "spared"),
        *("versions", "kept_by", "rewritten", "partly_dead_bytes", "undeleted", "unknown"),
        *("leftovers", "leftover_bytes"),
    }


# The grace


class _Clock(Wrapper):
    """A store in which log entries and the hint have times that the test gives; None: not listed.

    Entries after `newest` have the time of the hint.
    """

    newest = 1 << 62
    entries: float | None = 1_000.0
    hint: float | None = 1_000.0

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for info in self.inner.list(prefix):
            if info.key == HINT_KEY:
                if self.hint is not None:
                    yield info._replace(stored_at=self.hint)
            elif not info.key.startswith(LOG_PREFIX):
                yield info
            elif info.key[-20:].isdigit() and int(info.key[-20:]) > self.newest and self.hint is not None:
                yield info._replace(stored_at=self.hint)
            elif self.entries is not None:
                yield info._replace(stored_at=self.entries)


@pytest.fixture
def clock(repository: Repository, commit: Callable[..., str]) -> _Clock:
    """The clock of a store in which a deleted dataset was marked."""
    commit("keep")
    commit("d")
    repository.delete_dataset("d")
    store = _Clock(repository.session.store)
    repository.session.store = store
    assert collect(repository.session, yes=True, grace_s=WEEK).marked
    return store


@pytest.mark.parametrize(
    ("age_s", "grace_s", "is_swept"),
    [
        (WEEK, WEEK, True),
        (WEEK - 1, WEEK, False),
        (WEEK + 1, WEEK, True),
        (0.0, 0.0, True),
        (0.0, 0.5, False),
        (-5.0, 0.0, True),  # An entry of tomorrow is as new as can be.
        (-5.0, 0.5, False),
    ],
)
def test_what_was_marked_is_swept_when_the_grace_is_over(
    repository: Repository, clock: _Clock, age_s: float, grace_s: float, is_swept: bool
) -> None:
    clock.hint = 1_000.0 + age_s
    before = sizes(repository)
    report = collect(repository.session, yes=True, grace_s=grace_s)
    assert bool(report.swept) is is_swept
    assert bool(report.waiting) is not is_swept
    assert report.bytes == sum(before[key] for key in before.keys() - sizes(repository).keys())
    assert is_whole(repository)


def test_what_was_marked_nobody_knows_when_is_not_swept(repository: Repository, clock: _Clock) -> None:
    clock.entries = None
    assert collect(repository.session, yes=True, grace_s=0).swept == 0
    clock.entries = 1_000.0
    assert collect(repository.session, yes=True, grace_s=0).swept


def test_what_is_marked_later_waits_for_its_own_grace(
    repository: Repository, clock: _Clock, commit: Callable[..., str]
) -> None:
    first = sizes(repository)
    old = {str(name) for name in repository.session.newest().marks()}
    commit("e")
    clock.newest = repository.session.log.tail().entry.number
    repository.delete_dataset("e")
    clock.hint = 1_000.0 + WEEK
    report = collect(repository.session, yes=True, grace_s=WEEK)
    left = repository.session.newest().marks()
    there = sizes(repository)
    assert (report.swept, report.bytes) == (len(old), sum(first[key] for key in first if key[-64:] in old))
    assert (report.marked, report.waiting) == (len(left), len(left))
    assert report.marked_bytes == report.waiting_bytes == sum(there[pack_key(name)] for name in left)
    assert not old & {str(name) for name in left}
    assert is_whole(repository)


def test_what_is_marked_and_in_use_is_spared_and_never_swept(
    repository: Repository, commit: Callable[..., str]
) -> None:
    """As after a mark that nobody should have made: before anything is swept, all is traced again."""
    commit("d")
    session = repository.session
    packs = {Digest.parse(key[-64:]) for key in sizes(repository, PACK_PREFIX)}
    segments = {segment.name for segment in session.newest().segments()}
    mark = GcMark(tuple(sorted(packs)), tuple(sorted(segments)))
    before = sizes(repository)
    for grace_s in (0.0, WEEK):
        session.log.append(lambda _: (mark,), session.who(None))
        assert session.newest().marks().keys() == packs | segments
        forecast = collect(session, grace_s=grace_s)
        assert (forecast.spared, forecast.swept, forecast.waiting) == (len(packs | segments), 0, 0)
        report = collect(session, yes=True, grace_s=grace_s)
        assert (report.spared, report.swept, report.marked) == (len(packs | segments), 0, 0)
        assert session.newest().marks() == {}
        assert before.keys() <= sizes(repository).keys()
        assert is_whole(repository)


def test_what_was_stored_again_spares_no_marked_copy(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(random.randbytes(FILE_BYTES))
    repository.commit("old", tmp_path / "file")
    repository.delete_dataset("old")
    marked = collect(repository.session, yes=True, grace_s=WEEK).marked
    assert repository.commit("d", tmp_path / "file").new_bytes == FILE_BYTES
    report = collect(repository.session, yes=True, grace_s=0)
    assert (report.spared, report.swept, report.marked) == (0, marked, 0)
    assert is_whole(repository)


def test_where_the_store_says_no_time_nothing_is_swept_within_the_grace(
    repository: Repository, clock: _Clock
) -> None:
    clock.hint = None
    assert collect(repository.session, yes=True, grace_s=1).swept == 0
    assert collect(repository.session, yes=True, grace_s=0).swept
    assert is_whole(repository)


def test_what_somebody_else_deleted_frees_nothing(repository: Repository, clock: _Clock) -> None:
    marks = repository.session.newest().marks()
    there = sizes(repository)
    packs = {pack_key(name): there[pack_key(name)] for name in marks}
    gone = next(iter(packs))
    repository.session.store.delete(gone)
    report = collect(repository.session, yes=True, grace_s=0)
    assert (report.swept, report.undeleted) == (len(marks), [])
    assert report.bytes == sum(size for key, size in packs.items() if key != gone)


def test_a_report_says_what_waits(repository: Repository, clock: _Clock) -> None:
    marked = {str(name) for name in repository.session.newest().marks()}
    waiting = sum(size for key, size in sizes(repository).items() if key[-64:] in marked)
    before = collect(repository.session, grace_s=WEEK)
    assert (before.done, before.waiting, before.waiting_bytes) == (False, len(marked), waiting)
    assert (before.marked, before.swept, before.bytes) == (0, 0, 0)
    again = collect(repository.session, yes=True, grace_s=WEEK)
    assert (again.done, again.waiting, again.waiting_bytes, again.bytes) == (True, len(marked), waiting, 0)
    clock.hint = 1_000.0 + WEEK
    would = collect(repository.session, grace_s=WEEK)
    assert (would.done, would.swept, would.bytes, would.waiting) == (False, len(marked), waiting, 0)
    swept = collect(repository.session, yes=True, grace_s=WEEK)
    assert (swept.done, swept.swept, swept.bytes, swept.waiting) == (True, len(marked), waiting, 0)


def test_what_was_marked_and_is_needed_again_is_spared(
    repository: Repository, commit: Callable[..., str]
) -> None:
    commit("keep")
    id = commit("d", "x")
    repository.branch(f"d@{id}", "y")
    repository.delete_ref("branch", "d", "x")
    repository.delete_ref("branch", "d", "y")
    marked = collect(repository.session, yes=True, grace_s=WEEK).marked
    assert restore(repository.session).to_json() | {"versions": []} == {
        **collect(repository.session, grace_s=WEEK).to_json(),
        "done": True,
        "spared": marked,
        "marked": 0,
        "marked_bytes": 0,
        "versions": [],
    }
    repository.tag(f"d@{id}", "paper")
    assert repository.session.newest().marks() == {}
    number = repository.session.log.tail().entry.number
    assert restore(repository.session).spared == 0
    assert repository.session.log.tail().entry.number == number  # Nothing to take back: no entry.


# What is worth a copy


class _Uses(Live):
    """Packs of which so much is alive."""

    def __init__(self, **uses: tuple[int, int, int]) -> None:
        self.uses = {blake3_digest(name.encode()): PackUse(*use) for name, use in uses.items()}

    def packs(self) -> dict[bytes, PackUse]:
        return {bytes(name): use for name, use in self.uses.items()}


def test_packs_of_mostly_dead_bytes_are_worth_a_copy_where_there_are_many() -> None:
    half, many = DEAD_BYTES_MIN, 10 * DEAD_BYTES_MIN
    live = _Uses(
        mostly_dead=(many, many // 4, 5),
        just_enough=(2 * half - 1, half - 1, 1),
        too_little=(2 * half - 2, half - 1, 1),
        few_dead=(half, half // 4, 1),
        half_dead=(many, many // 2, 5),
        mostly_alive=(many, many - 2 * half, 5),
        all_dead=(many, 0, 0),
        small=(1_000, 10, 1),
    )
    assert worth_rewriting(live) == {blake3_digest(b"mostly_dead"), blake3_digest(b"just_enough")}


def test_a_report_says_how_much_is_dead_in_packs_that_stay(repository: Repository, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}").write_bytes(random.Random(number).randbytes(200_000))
    repository.commit("d", tmp_path)
    repository.commit("e", tmp_path / "1")
    assert collect(repository.session, grace_s=0).partly_dead_bytes == 0
    repository.delete_dataset("d")
    report = collect(repository.session, grace_s=0)
    assert 400_000 - 3 * FRAME_BYTES_TARGET < report.partly_dead_bytes <= 400_000
    repository.delete_dataset("e")
    assert collect(repository.session, grace_s=0).partly_dead_bytes == 0  # All of it goes.


# What stops a collection


class _Busy(Wrapper):
    """A store in which somebody else makes the next entry first, so many times."""

    times = 0

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
        if self.times and re.fullmatch(rf"{LOG_PREFIX}\d{{20}}", key):
            self.times -= 1
            other = over(self.inner)
            other.session.log.append(lambda _: (ConfigSet("k", str(self.times)),), other.session.who(None))
        return self.inner.put_new(key, data, barrier=barrier)


def test_a_collection_gives_up_where_each_trace_is_overtaken(
    repository: Repository, commit: Callable[..., str]
) -> None:
    commit("keep")
    commit("d")
    repository.delete_dataset("d")
    store = _Busy(repository.session.store)
    collector = over(store)
    before = sizes(repository, PACK_PREFIX)
    store.times = ATTEMPTS_MAX
    with pytest.raises(ConflictError, match="nothing was collected"):
        collect(collector.session, yes=True, grace_s=0)
    assert store.times == 0
    assert repository.session.newest().marks() == {}
    assert sizes(repository, PACK_PREFIX) == before
    store.times = ATTEMPTS_MAX - 1
    assert collect(collector.session, yes=True, grace_s=0).swept
    assert store.times == 0
    assert is_whole(repository)


class _Cut(Wrapper):
    """A store whose listing ends in an error."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        found = list(self.inner.list(prefix))
        yield from found[: len(found) // 2]
        raise StoreError("the listing was cut")


def test_half_a_listing_collects_nothing(repository: Repository, commit: Callable[..., str]) -> None:
    commit("keep")
    commit("d")
    repository.delete_dataset("d")
    before = sizes(repository)
    with pytest.raises(StoreError, match="cut"):
        collect(over(_Cut(repository.session.store)).session, yes=True, grace_s=0)
    assert sizes(repository) == before


def test_an_index_that_does_not_know_what_is_needed_collects_nothing(
    repository: Repository, commit: Callable[..., str]
) -> None:
    commit("keep", size_bytes=1_000)
    commit("d")
    repository.delete_dataset("d")
    session = repository.session
    file = next(iter(repository.version("keep").files()))
    place = session.index(session.newest()).find(Digest.parse(file.digest))
    assert place is not None
    for operation in (GcMark((Digest(place.pack),)), GcSweep((Digest(place.pack),))):
        session.log.append(lambda _, one=operation: (one,), session.who(None))  # type: ignore[misc]
    before = sizes(repository, PACK_PREFIX)
    with pytest.raises(DamagedError, match="nothing was collected"):
        collect(Repository(repository.url).session, yes=True, grace_s=0)
    assert sizes(repository, PACK_PREFIX) == before


class _Refusing(Wrapper):
    """A store that deletes nothing."""

    error: Exception

    def delete(self, key: str) -> None:
        raise self.error


@pytest.mark.parametrize("error", [NotPermittedError("no"), StoreError("not now")], ids=["never", "not now"])
def test_what_a_store_does_not_let_go_is_named_and_tried_again(
    repository: Repository, commit: Callable[..., str], error: Exception
) -> None:
    for _ in range(12):
        commit("d")
    commit("keep")
    repository.delete_dataset("d")
    store = _Refusing(repository.session.store)
    store.error = error
    report = collect(over(store).session, yes=True, grace_s=0)
    assert len(report.undeleted) == report.swept > 5
    assert set(report.undeleted) < set(sizes(repository))
    assert {key.partition("/")[0] + "/" for key in report.undeleted} == {PACK_PREFIX, SEGMENT_PREFIX}
    assert report.bytes == 0
    there = sizes(repository)
    again = collect(repository.session, yes=True, grace_s=WEEK)
    assert again.bytes == sum(there[key] for key in report.undeleted)
    assert sorted(there.keys() - sizes(repository).keys()) == sorted(report.undeleted)
    assert is_whole(repository)


class _Told(Silent):
    """What was begun, and how far each step went on."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int | None]] = []
        self.steps: list[int] = []

    def begin(self, what: str, files: int | None = None, size_bytes: int | None = None) -> None:
        self.begun.append((what, files))

    def advance(self, files: int = 0, size_bytes: int = 0) -> None:
        self.steps.append(files)


def test_a_trace_tells_of_each_version(repository: Repository, commit: Callable[..., str]) -> None:
    for _ in range(3):
        commit("d")
    told = _Told()
    collect(repository.session, grace_s=0, progress=told)
    assert (told.begun, told.steps) == ([("tracing", 3)], [1, 1, 1])


class _Unreadable(MemoryStore):
    """A store that lets nobody see what writers left unfinished."""

    error: Exception

    def remove_leftovers(self, age_s_min: float, *, dry_run: bool = False) -> tuple[int, int]:
        raise self.error


@pytest.mark.parametrize("error", [NotPermittedError("no"), StoreError("not now")], ids=["never", "not now"])
def test_what_cannot_be_tidied_up_stops_no_collection(repository: Repository, error: Exception) -> None:
    store = _Unreadable(repository.url.removeprefix("memory://"))
    store.error = error
    report = collect(over(store).session, yes=True, grace_s=0)
    assert (report.done, report.leftovers) == (True, 0)


def test_keys_of_no_known_form_are_told_and_stay(repository: Repository, commit: Callable[..., str]) -> None:
    commit("d")
    store = repository.session.store
    strange = ["notes.txt", "packs/ab/x", "log/1", "index/zz", f"packs/00/{'1' * 64}"]
    for key in strange:
        store.put_new(key, b"x")
    report = collect(repository.session, yes=True, grace_s=0)
    assert sorted(report.unknown) == sorted(strange)
    assert set(strange) < set(sizes(repository))
