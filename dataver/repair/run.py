"""Repairing a repository: look, mend, heal, and say so in one entry of the log."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from dataver.config import default_jobs
from dataver.errors import (
    BadInputError,
    ConflictError,
    DamagedError,
    NewerFormatError,
    RepositoryNotFoundError,
)
from dataver.format.entry import CHECKPOINT_EVERY
from dataver.format.operations import Operation
from dataver.keys import entry_key, pack_key, segment_key
from dataver.log.log import Log
from dataver.log.state import State
from dataver.progress import Progress, Silent
from dataver.repair.history import (
    harms_newest_state,
    is_of_log,
    lacks_beginning,
    put_back,
    put_beginning_back,
)
from dataver.repair.lost import Lost
from dataver.repair.mend import Mending, Output
from dataver.repair.overlay import writing_nothing
from dataver.repair.report import RepairReport
from dataver.repair.scan import FromUnnamedPacks
from dataver.repair.sources import FromCache, FromFolder, FromRepository, HealingSource
from dataver.results import Damage
from dataver.session import Session
from dataver.source import open_source
from dataver.store.base import Store
from dataver.store.cached import cache_of
from dataver.verify.findings import WHOLE_REPOSITORY
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
    report and is no error. `ConflictError` where others always made the next entry; `DamagedError` where the
    log has no beginning and none of `repositories` is a copy that has it.
    """
    with suppress(DamagedError, NewerFormatError, RepositoryNotFoundError):
        session.newest()  # `BadInputError` and `OfflineError` where nothing can be written by this session.
    with _writing_to(session, yes) as working:
        begun = put_beginning_back(working.store, [other.store for other in repositories])
        _require_beginning(working)
        sources = _sources(session, working, repositories, folders, progress or Silent())
        copies = [other.store for other in repositories if other.repository == working.repository]
        return _Repair(working, sources, copies, begun, yes, deep, progress or Silent()).run()


def _require_beginning(session: Session) -> None:
    """`DamagedError` where the log cannot be opened for want of its beginning."""
    try:
        session.log.genesis()
    except (DamagedError, RepositoryNotFoundError) as error:
        if not lacks_beginning(session.store):
            raise
        raise DamagedError(
            f"the log of {session.store.url} has no beginning, without which nothing can be read or mended. "
            "Give --from URL of a copy of this very repository, byte by byte, or put "
            f"{entry_key(0)} back from a backup by hand"
        ) from error


def _sources(
    session: Session,
    working: Session,
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
        if other.repository == working.repository and other.store.identity == session.store.identity:
            raise BadInputError(f"{other.store.url} is the repository that is to be repaired; name another")
        found.append(FromRepository(other))
    jobs = session.jobs or default_jobs()
    for folder in folders:
        source = open_source(folder)
        found.append(FromFolder(source, session.store, working.parameters(), jobs, progress))
    return found


@contextmanager
def _writing_to(session: Session, yes: bool) -> Iterator[Session]:
    if yes:
        yield session
        return
    with writing_nothing(session.store) as store:
        yield replace(
            session,
            store=store,
            log=Log(store, accept_rollback=session.log.accept_rollback),
            _index=None,
            _records={},
        )


class _Repair:
    """One repair, attempted until nobody was in between. `session` is where it writes."""

    def __init__(
        self,
        session: Session,
        sources: Sequence[HealingSource],
        copies: Sequence[Store],
        begun: Sequence[str],
        yes: bool,
        deep: bool,
        progress: Progress,
    ) -> None:
        self._session = session
        self._sources = sources
        self._copies = copies
        self._yes = yes
        self._deep = deep
        self._progress = progress
        self._damaged = {key: Damage(key, "it is missing", [WHOLE_REPOSITORY]) for key in begun}
        self._restored = list(begun)
        self._renewed = 0

    def run(self) -> RepairReport:
        """Repair, and say what came of it."""
        for number in range(ATTEMPTS_MAX):
            report = self._attempt(believing=number > 1)
            if report is not None:
                return report
        raise ConflictError(
            f"{self._session.store.url} changed during each of {ATTEMPTS_MAX} attempts; nothing was "
            "repaired. Repeat it when fewer write"
        )

    def _attempt(self, *, believing: bool) -> RepairReport | None:
        """Look and mend once; None where all has to be looked at again.

        `believing`: what seems damaged is, though it was read as it should be a moment later.
        """
        session = self._session
        run = Run(session, self._deep, self._progress)
        state, checked = run.objects()
        if run.missing and run.moved_on():
            return None
        damaged = run.findings.report().damaged
        if self._mend_log(state, damaged, checked.packs()):
            self._note(damaged)
            return None
        mending = Mending(session, state, checked, self._deep, self._progress)
        if mending.was_read_wrong() and not believing:
            return None
        mending.mend()
        scan = FromUnnamedPacks(mending.unnamed, mending.bytes_of, mending.claims, session.parameters())
        lost = mending.heal([scan, *self._sources], session.readers())
        output = mending.output()
        done = self._yes and not self._is_unreadable(state)
        if done and output is not None and not self._say(mending, output):
            return None
        self._note(damaged)
        return self._report(mending, lost, damaged, done)

    def _note(self, damaged: Sequence[Damage]) -> None:
        """Remember what was damaged when it was first seen."""
        for damage in damaged:
            self._damaged.setdefault(damage.object, damage)

    def _mend_log(self, state: State, damaged: Sequence[Damage], others: Collection[bytes]) -> bool:
        """Put back what is missing of the log, or write the newest state anew; whether anything was."""
        restored = put_back(self._session.store, damaged, others, self._copies)
        self._restored += restored
        if restored or not harms_newest_state(damaged, others) or any(map(is_of_log, damaged)):
            return bool(restored)
        if not self._yes:
            self._renewed = CHECKPOINT_EVERY - state.number % CHECKPOINT_EVERY
            return False
        self._renewed = self._session.log.renew(state, self._session.who(None))
        return True

    def _is_unreadable(self, state: State) -> bool:
        """Whether the newest state cannot be read, or is not what the entries before it add up to.

        Then no entry can be made that is sure to be right.
        """
        try:
            newest = self._session.newest()
        except (DamagedError, NewerFormatError, RepositoryNotFoundError):
            return True
        return newest.number == state.number and (
            newest.segments() != state.segments() or newest.marked() != state.marked()
        )

    def _say(self, mending: Mending, output: Output) -> bool:
        """Append the entry; False where it can no longer be said."""

        def plan(newest: State) -> tuple[Operation, ...]:
            if not mending.fits(newest):
                raise _MovedOnError
            return mending.operations(newest, output)

        try:
            self._session.log.append(plan, self._session.who(None))
        except _MovedOnError:
            return False
        return True

    def _report(self, mending: Mending, lost: Lost, damaged: Sequence[Damage], done: bool) -> RepairReport:
        mended = {pack_key(name) for name in mending.bad_packs | mending.good_packs}
        mended |= {segment_key(name) for name in mending.bad_segments}
        left = [damage for damage in damaged if damage.object not in mended]
        if self._renewed and not self._yes:
            left = [replace(damage, harms=[]) for damage in left]
        return RepairReport(
            done,
            [damage for _, damage in sorted(self._damaged.items())],
            segments=len(mending.replaced),
            found=mending.found,
            salvaged=mending.salvaged,
            salvaged_bytes=mending.salvaged_bytes,
            healed=mending.healed,
            healed_bytes=mending.healed_bytes,
            sources=mending.sources,
            restored=self._restored,
            renewed=self._renewed,
            marked=mending.marked_keys(),
            lost=lost.damage,
            left=left,
        )


class _MovedOnError(Exception):
    """Something that the repair builds on went meanwhile; goes no further than `_Repair`."""
