"""Repairing a repository: look, mend, heal, and say so in one entry of the log."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from dataver.config import default_jobs
from dataver.errors import (
    BadInputError,
    ConflictError,
    DamagedError,
    NewerFormatError,
    RepositoryNotFoundError,
)
from dataver.format.operations import Operation
from dataver.keys import pack_key, segment_key
from dataver.log.state import State
from dataver.progress import Progress, Silent
from dataver.repair.lost import Lost
from dataver.repair.mend import Mending, Output
from dataver.repair.overlay import writing_nothing
from dataver.repair.report import RepairReport
from dataver.repair.scan import FromUnnamedPacks
from dataver.repair.sources import FromCache, FromFolder, FromRepository, HealingSource
from dataver.results import Damage
from dataver.session import Session
from dataver.source import open_source
from dataver.store.cached import cache_of
from dataver.verify.run import Run

ATTEMPTS_MAX = 20


def repair(
    session: Session,
    repositories: Sequence[Session] = (),
    folders: Sequence[str | os.PathLike[str]] = (),
    *,
    yes: bool = False,
    deep: bool = True,
    progress: Progress | None = None,
) -> RepairReport:
    """Mend what is damaged, also from other places; without `yes` only say what that is.

    Not `deep`: packs whose ends are well formed are taken to be whole. What is lost for good is in the
    report and is no error. `ConflictError` where others always made the next entry.
    """
    watcher = progress or Silent()
    sources = _sources(session, repositories, folders, watcher)
    for _ in range(ATTEMPTS_MAX):
        with _writing_to(session, yes) as working:
            report = _attempt(session, working, sources, yes, deep, watcher)
        if report is not None:
            return report
    raise ConflictError(
        f"{session.store.url} changed during each of {ATTEMPTS_MAX} attempts; nothing was repaired. "
        "Repeat it when fewer write"
    )


def _sources(
    session: Session,
    repositories: Sequence[Session],
    folders: Sequence[str | os.PathLike[str]],
    progress: Progress,
) -> list[HealingSource]:
    """The places to look in, those first that cost least. What cannot be opened is an error at once."""
    found: list[HealingSource] = []
    cache = cache_of(session.store)
    if cache is not None:
        found.append(FromCache(cache))
    for other in repositories:
        if other.repository == session.repository and other.store.identity == session.store.identity:
            raise BadInputError(f"{other.store.url} is the repository that is to be repaired; name another")
        found.append(FromRepository(other))
    jobs = session.jobs or default_jobs()
    for folder in folders:
        source = open_source(folder)
        found.append(FromFolder(source, session.store, session.parameters(), jobs, progress))
    return found


@contextmanager
def _writing_to(session: Session, yes: bool) -> Iterator[Session]:
    if yes:
        yield session
        return
    with writing_nothing(session.store) as store:
        yield replace(session, store=store, _index=None, _records={})


def _attempt(
    session: Session,
    working: Session,
    sources: Sequence[HealingSource],
    yes: bool,
    deep: bool,
    progress: Progress,
) -> RepairReport | None:
    """One repair; None where others changed what it was planned on."""
    run = Run(session, deep, progress)
    state, checked = run.objects()
    if run.missing and run.moved_on():
        return None
    unreadable = _unreadable(session, state)
    mending = Mending(working, state, checked, deep, progress)
    if mending.was_read_wrong():
        return None
    mending.mend()
    scan = FromUnnamedPacks(mending.unnamed, mending.bytes_of, mending.claims, working.parameters())
    lost = mending.heal([scan, *sources], session.readers())
    report = _report(mending, lost, run.findings.report().damaged, done=yes and not unreadable)
    output = mending.output()
    if not report.done or output is None:
        return report
    return report if _say(session, mending, output) else None


def _unreadable(session: Session, state: State) -> bool:
    """Whether the newest state cannot be read, or is not what the entries before it add up to.

    Then no entry can be made that is sure to be right.
    """
    try:
        newest = session.newest()
    except (DamagedError, NewerFormatError, RepositoryNotFoundError):
        return True
    return newest.number == state.number and (
        newest.segments() != state.segments() or newest.marked() != state.marked()
    )


class _MovedOnError(Exception):
    """Something that the repair builds on went meanwhile; goes no further than `_say`."""


def _say(session: Session, mending: Mending, output: Output) -> bool:
    """Append the entry; False where it can no longer be said."""

    def plan(newest: State) -> tuple[Operation, ...]:
        if not mending.fits(newest):
            raise _MovedOnError
        return mending.operations(newest, output)

    try:
        session.log.append(plan, session.who(None))
    except _MovedOnError:
        return False
    return True


def _report(mending: Mending, lost: Lost, damaged: list[Damage], *, done: bool) -> RepairReport:
    mended = {pack_key(name) for name in mending.bad_packs} | {pack_key(n) for n in mending.good_packs}
    mended |= {segment_key(name) for name in mending.bad_segments}
    left = [damage for damage in damaged if damage.object not in mended]
    return RepairReport(
        done,
        damaged,
        segments=len(mending.replaced),
        found=mending.found,
        salvaged=mending.salvaged,
        salvaged_bytes=mending.salvaged_bytes,
        healed=mending.healed,
        healed_bytes=mending.healed_bytes,
        sources=mending.sources,
        marked=mending.marked_keys(),
        lost=lost.damage,
        left=left,
    )
