"""One collection: trace, mark, and after the grace sweep and delete.

No clock decides what is deleted: an object goes only when an entry of the log has marked it, a later
one has swept it, and no entry in between relied on it, which would have spared it. The grace, by the
store's own clock, is for readers that still read by an older state.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from contextlib import suppress
from dataclasses import replace

from dataver.digest import Digest
from dataver.erased import chunk_record
from dataver.errors import ConflictError, NotPermittedError, StoreError
from dataver.format.operations import (
    CONDEMN,
    FORGET,
    SPARE,
    Erase,
    GcMark,
    GcRestore,
    GcSweep,
    Operation,
    VersionMark,
)
from dataver.gc.entries import ATTEMPTS_MAX, Operations, of_newest, put_next
from dataver.gc.holding import Footers
from dataver.gc.leftovers import remove_leftovers
from dataver.gc.listing import Contents, list_contents
from dataver.gc.repack import repack, worth_rewriting
from dataver.gc.report import GcReport, LostVersion
from dataver.gc.trace import Traced, trace
from dataver.keys import HINT_KEY, pack_key, segment_key
from dataver.log.state import PACK_NAME, SEGMENT_NAME, State
from dataver.paths import safe_spelling
from dataver.progress import Progress, Silent
from dataver.relying import spare_all
from dataver.session import Session
from dataver.values import dataclass


def collect(
    session: Session, *, yes: bool = False, grace_s: float, progress: Progress | None = None
) -> GcReport:
    """Collect what nothing refers to; without `yes` only say what that is. See `Repository.gc`."""
    watcher = progress or Silent()
    given = _Given(session, grace_s, watcher, Footers(session, watcher))
    if yes:
        report = _collect(given)
    else:
        report = _report(of_newest(session, lambda state: _plan(given, state)), done=False)
    # Of a disk that may only be read, or not all of it, they are nobody's business here.
    with suppress(NotPermittedError, StoreError):
        count, size_bytes = remove_leftovers(session.store, dry_run=not yes)
        return replace(report, leftovers=count, leftover_bytes=size_bytes)
    return report


@dataclass(frozen=True, slots=True)
class _Given:
    """What all the plans of one collection are made with."""

    session: Session
    grace_s: float
    progress: Progress
    footers: Footers


def _collect(given: _Given) -> GcReport:
    session = given.session
    first = _append(given, _marking)
    if given.grace_s and not (first.due or first.left or first.forgotten):
        return _report(first, done=True)
    second = _append(given, _sweeping)
    undeleted, freed = _delete(session, second)
    marked = _report(first, done=True)
    swept = _report(second, done=True)
    return replace(
        marked,
        swept=swept.swept,
        bytes=freed,
        waiting=swept.waiting,
        waiting_bytes=swept.waiting_bytes,
        spared=marked.spared + swept.spared,
        undeleted=undeleted,
    )


def restore(session: Session) -> GcReport:
    """Take every mark back that is not swept, of packs, segments and versions."""
    marks: dict[Digest, tuple[int, int]] = {}

    def plan(state: State) -> Operations | None:
        marks.clear()
        marks.update(state.marks())
        return (*spare_all(state), *_of_versions(SPARE, [key for key, _ in _condemned_at(state)])) or None

    session.newest()
    session.log.append(plan, session.who(None))
    return GcReport(done=True, spared=len(marks))


@dataclass(slots=True)
class _Plan:
    """What a trace and a listing together say is to be done."""

    traced: Traced
    contents: Contents
    dead: list[Digest]
    spared: list[Digest]
    due: list[Digest]
    waiting: list[Digest]
    forgotten: list[tuple[bytes, Digest]]
    left: list[Digest]
    rewrite: list[Digest]


OperationsOf = Callable[[Session, _Plan], Operations]


def _plan(given: _Given, state: State) -> _Plan:
    session = given.session
    contents = list_contents(session.store)
    traced = trace(session, state, given.progress)
    used = {name for name, use in traced.live.packs().items() if use.live_chunks} | traced.state_packs
    valid = {segment.name for segment in state.segments()}
    marks, swept = state.marks(), state.swept()
    gone = marks.keys() | swept.keys()
    dead = [name for name in contents.packs if name not in used and name not in gone]
    dead += [name for name in contents.segments if name not in valid and name not in gone]
    spared = [name for name in marks if name in used or name in valid]
    now = _store_time(session)
    old = {
        number
        for number in {number for number, _ in marks.values()} | {n for _, n in _condemned_at(state)}
        if _age(contents, number, now) >= given.grace_s
    }
    waiting = [name for name in marks if name not in spared]
    due = [name for name in waiting if marks[name][0] in old]
    rewrite = worth_rewriting(traced.live)
    left = [name for name in swept if name in contents.packs or name in contents.segments]
    if traced.erased:
        # An erasure that was interrupted is carried through: nothing of it is left in any pack.
        packs = [name for name in contents.packs if name in used and name not in gone]
        rewrite |= set(given.footers.holding(packs, traced.gone))
    rewrite -= gone
    at_once = not given.grace_s and not dead and not rewrite
    forgotten = _forgotten(state, due, waiting, old if at_once else set())
    return _Plan(
        traced, contents, sorted(dead), sorted(spared), sorted(due), waiting, forgotten, left, sorted(rewrite)
    )


def _forgotten(
    state: State, due: Iterable[Digest], waiting: Iterable[Digest], old: Container[int]
) -> list[tuple[bytes, Digest]]:
    """The condemned versions that `gc --restore` could not make whole any more once `due` is swept.

    What a version alone needs is never marked before the version is condemned. So those go that were
    condemned by the time that something which is due was marked. Of the others, those go at once that were
    condemned in one of the entries `old` and since when nothing was marked: no sweep will ever take them.
    """
    marks = state.marks()
    swept_up_to = max((marks[name][0] for name in due), default=-1)
    marked_up_to = max((marks[name][0] for name in waiting), default=-1)
    return [
        key
        for key, number in _condemned_at(state)
        if number <= swept_up_to or (number > marked_up_to and number in old)
    ]


def _store_time(session: Session) -> float:
    """The store's own clock: the time of an object that was just put."""
    log = session.log
    log.put_hint(log.tail().entry.number)
    return next((info.stored_at for info in session.store.list(HINT_KEY) if info.key == HINT_KEY), 0.0)


def _age(contents: Contents, number: int, now: float) -> float:
    marked_at = contents.marked_at(number)
    return -1.0 if marked_at is None else max(0.0, now - marked_at)


def _append(given: _Given, operations_of: OperationsOf) -> _Plan:
    """Put the entry for a plan, right after the entry that it was made for; else plan again."""
    session = given.session

    def planned(state: State) -> tuple[_Plan, Operations]:
        plan = _plan(given, state)
        return plan, operations_of(session, plan)

    for _ in range(ATTEMPTS_MAX):
        plan, operations = of_newest(session, planned)
        if not operations or put_next(session, plan.traced.state, operations):
            return plan
    raise ConflictError(
        f"{session.store.url} changed during each of {ATTEMPTS_MAX} traces; nothing was collected. "
        "Repeat it when fewer write"
    )


def _marking(session: Session, plan: _Plan) -> Operations:
    state = plan.traced.state
    operations: list[Operation] = _of_versions(CONDEMN, plan.traced.roots.lost)
    outlived = sorted(plan.traced.outlived.items())
    operations += [Erase(Digest(chunk), chunk_record(file)) for chunk, file in outlived]
    if plan.spared:
        operations.append(GcRestore(*_by_kind(state, plan.spared)))
    rewritten = repack(session, plan.traced.live, plan.rewrite, plan.traced.gone)
    operations += rewritten.operations
    packs = [name for name in plan.dead if name in plan.contents.packs]
    segments = [name for name in plan.dead if name not in plan.contents.packs]
    if plan.dead or rewritten.old:
        operations.append(GcMark(tuple(sorted([*packs, *rewritten.old])), tuple(segments)))
    return tuple(operations)


def _sweeping(session: Session, plan: _Plan) -> Operations:
    del session
    state = plan.traced.state
    operations: list[Operation] = []
    if plan.spared:
        operations.append(GcRestore(*_by_kind(state, plan.spared)))
    if plan.due:
        operations.append(GcSweep(*_by_kind(state, plan.due)))
    operations += _of_versions(FORGET, plan.forgotten)
    return tuple(operations)


def _delete(session: Session, plan: _Plan) -> tuple[list[str], int]:
    """Delete what is swept; the keys that the store did not let go, and the bytes that went."""
    undeleted: list[str] = []
    freed = 0
    for name in (*plan.due, *plan.left):
        key = pack_key(name) if name in plan.contents.packs else segment_key(name)
        try:
            session.store.delete(key)
        except (NotPermittedError, StoreError):
            undeleted.append(key)
        else:
            freed += plan.contents.size_of(name)
    return undeleted, freed


def _by_kind(state: State, names: Iterable[Digest]) -> tuple[tuple[Digest, ...], tuple[Digest, ...]]:
    marks = state.marks()
    ordered = sorted(names)
    return (
        tuple(name for name in ordered if marks[name][1] == PACK_NAME),
        tuple(name for name in ordered if marks[name][1] == SEGMENT_NAME),
    )


def _of_versions(kind: int, versions: Iterable[tuple[bytes, Digest]]) -> list[Operation]:
    by_dataset: dict[bytes, list[Digest]] = {}
    for dataset, version in versions:
        by_dataset.setdefault(dataset, []).append(version)
    return [VersionMark(dataset, kind, tuple(sorted(ids))) for dataset, ids in sorted(by_dataset.items())]


def _condemned_at(state: State) -> list[tuple[tuple[bytes, Digest], int]]:
    datasets = [dataset for _, dataset in state.datasets()]
    datasets += [dataset for dataset, _ in state.deleted_datasets()]
    return [((dataset, id), number) for dataset in datasets for id, number in state.condemned(dataset)]


def _report(plan: _Plan, *, done: bool) -> GcReport:
    roots, contents = plan.traced.roots, plan.contents
    waiting = [name for name in plan.waiting if name not in set(plan.due)]
    gone = [*plan.due, *plan.left]
    use = plan.traced.live.packs().values()
    return GcReport(
        done=done,
        marked=len(plan.dead),
        marked_bytes=sum(map(contents.size_of, plan.dead)),
        swept=len(plan.due),
        bytes=sum(map(contents.size_of, gone)),
        waiting=len(waiting),
        waiting_bytes=sum(map(contents.size_of, waiting)),
        spared=len(plan.spared),
        versions=[
            LostVersion(roots.names[dataset], str(id), version.number)
            for (dataset, id), version in roots.lost.items()
        ],
        kept_by=roots.kept_by,
        rewritten=len(plan.rewrite),
        partly_dead_bytes=sum(one.stored_bytes - one.live_bytes for one in use if one.live_chunks),
        unknown=[safe_spelling(key.encode()) for key in contents.unknown],
    )
