"""One push or pull: plan, copy, and the one log entry of the receiver.

What is copied counts from the moment that the entry is there. Where others made entries meanwhile,
the plan is made again for the state that these led to; what was copied stays copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from dataver.chunk_index import ChunkIndex
from dataver.compact import choose as choose_segments
from dataver.compact import merge as merge_segments
from dataver.config import default_jobs
from dataver.digest import Digest
from dataver.errors import ConflictError
from dataver.format.operations import IndexAdd, Operation
from dataver.journal import Journal, ResumedIndex, rely_on
from dataver.log.state import State, VersionState
from dataver.packs import RecordWriter, StoredPack
from dataver.progress import Progress
from dataver.results import RefKept, RefMove, TransferResult
from dataver.segments import write_segment
from dataver.session import Session
from dataver.transfer.ancestry import Ancestry
from dataver.transfer.choice import Choice, choose
from dataver.transfer.contents import Contents, Reference
from dataver.transfer.copying import Copier
from dataver.transfer.entry import dataset_operations, diverged_message
from dataver.transfer.erased import Erased
from dataver.transfer.plan import Diverged, Plan, plan
from dataver.transfer.rebase import Rebased, rebase
from dataver.transfer.side import Side

READS_AT_ONCE_MIN = 16
"""Reads wait for the source more than for this machine."""
ATTEMPTS_MAX = 20

RebaseKey = tuple[bytes, Diverged]


class _MovedOnError(Exception):
    """The receiver moved on so that more must be copied; goes no further than `Transfer.run`."""


class Transfer:
    """Copies from `source` to `target`. Used once."""

    def __init__(
        self,
        source: Session,
        target: Session,
        wanted: Sequence[str],
        depth: int | None,
        *,
        pulling: bool,
        rebase: bool = False,
        progress: Progress,
    ) -> None:
        self._source = Side(source, source.newest())
        self._session = target
        self._target = Side(target, target.newest())
        self._depth = depth
        self._pulling = pulling
        self._rebase = rebase
        self._progress = progress
        self._choices: list[Choice] = choose(self._source, wanted, depth)
        self._journal = Journal(target)
        self._adopted: list[StoredPack] = []
        self._used: dict[Digest, StoredPack] = {}
        self._walked: set[tuple[Digest, Digest]] = set()
        self._references: set[tuple[bytes, Digest]] = set()
        self._rebased: dict[RebaseKey, Rebased] = {}
        self._rebased_packs: list[StoredPack] = []
        self._segments: dict[frozenset[bytes], IndexAdd] = {}
        self._plans: list[Plan] = []
        self._wrote = False
        self._erased = 0
        self._not_erased: list[str] = []

    def run(self) -> TransferResult:
        """Do it. `ConflictError` where a branch diverged, `AlreadyExistsError` for tags that differ."""
        asked = max(self._source.session.jobs, self._session.jobs)
        jobs = asked or max(default_jobs(), READS_AT_ONCE_MIN)
        named: set[bytes] | None = None
        with ThreadPoolExecutor(jobs, thread_name_prefix="dataver-transfer") as pool:
            copier = Copier(self._source, self._session, self._journal, pool, jobs, self._progress)
            contents = Contents(self._source, copier, pool)
            self._progress.begin("copying")
            try:
                self._repeat(copier, contents, pool)
                if self._wrote:
                    named = {pack.name for pack in self._packs(copier)}
            finally:
                copier.abandon()
                self._progress.end()
                self._journal.close(named)
        return self._result(copier)

    def _repeat(self, copier: Copier, contents: Contents, pool: ThreadPoolExecutor) -> None:
        for _ in range(ATTEMPTS_MAX):
            self._make_plans(self._target.state, pool)
            self._copy(copier, contents)
            try:
                self._session.log.append(lambda state: self._entry(state, copier), self._session.who(None))
            except _MovedOnError:
                if not self._walked:
                    contents.forget()
                self._target = self._target.at(self._session.newest())
                continue
            return
        raise ConflictError(
            f"{self._session.store.url} changed in the way of this copy {ATTEMPTS_MAX} times; nothing was "
            "recorded, repeat it: what was copied is used again"
        )

    def _make_plans(self, state: State, pool: ThreadPoolExecutor | None = None) -> None:
        if state.number != self._target.state.number:
            self._target = self._target.at(state)
        self._plans = []
        for choice in self._choices:
            if pool is not None and choice.whole and self._depth is None:
                Ancestry(choice.dataset, self._source, self._target).prefetch(pool)
            self._plans.append(plan(choice, self._source, self._target, self._depth))
        if not self._pulling:
            self._refuse_diverged("nothing was pushed")

    def _refuse_diverged(self, outcome: str) -> None:
        diverged = [(made.name, one) for made in self._plans for one in made.diverged]
        if diverged:
            url = self._target.url if not self._pulling else self._source.url
            raise ConflictError(diverged_message(diverged, url, outcome, pulling=self._pulling))

    # Copying

    def _copy(self, copier: Copier, contents: Contents) -> None:
        """Copy the contents of all versions that are planned and were not copied before."""
        todo = [(made, version) for made in self._plans for version in made.versions]
        todo = [(made, version) for made, version in todo if _contents(version) not in self._walked]
        if not todo:
            return
        copier.index = self._index()
        if copier.erased is None:
            copier.erased = Erased(self._source, self._target)
        for made, version in todo:
            contents.walk(version, self._reference(made, version.id))
            self._walked.add(_contents(version))
        copier.flush()
        copier.copy_beside(contents.tables)
        copier.finish()
        if isinstance(copier.index, ResumedIndex):
            used = copier.index.used
            self._used.update((pack.name, pack) for pack in used)
            rely_on(self._session.store, used)

    def _index(self) -> ChunkIndex:
        """What the receiver has, also of a run that was interrupted."""
        state = self._target.state
        index = self._session.index(state, writing=True)
        if not self._walked and not self._adopted:
            self._adopted = self._journal.adopt(state, index)
        marked = state.marked()
        adopted = [pack for pack in self._adopted if pack.name not in marked]
        return ResumedIndex(index, self._session.store, adopted) if adopted else index

    def _reference(self, made: Plan, version: Digest) -> Reference | None:
        """The first parent, if the receiver has it or gets it: only what differs from it is looked at."""
        for parent in self._source.record(version).parents:
            there = self._target.state.version(made.dataset, parent)
            if there is not None and made.ancestry.is_whole(parent):
                self._references.add((made.dataset, parent))
                return Reference(self._target, there)
            before = self._source.state.version(made.dataset, parent)
            if before is not None and _contents(before) in self._walked:
                return Reference(self._source, before)
        return None

    def _packs(self, copier: Copier) -> list[StoredPack]:
        return [*copier.packs, *self._used.values(), *self._rebased_packs]

    # The entry

    def _entry(self, state: State, copier: Copier) -> tuple[Operation, ...] | None:
        self._make_plans(state)
        self._check_still_there(state, copier)
        operations: list[Operation] = []
        for made in self._plans:
            rebased = {one: self._put_on_top(made, one) for one in made.diverged if self._rebase}
            operations += dataset_operations(made, rebased, state, copier.counts)
        if not operations:
            return None
        if copier.erased:
            records, self._not_erased = copier.erased.carried(self._session, state)
            operations[:0] = records
            self._erased = copier.erased.files(records)
        packs = self._packs(copier)
        if packs:
            operations.append(self._segment(packs, state))
        inputs = choose_segments(state.segments())
        if inputs:
            operations.append(
                merge_segments(self._session.store, inputs, self._session.nonce, state.marked())
            )
        self._wrote = True
        return tuple(operations)

    def _check_still_there(self, state: State, copier: Copier) -> None:
        """All that the entry will rely on was copied or was there, and is not to be collected."""
        own = {pack.name for pack in self._packs(copier)}
        gone = (copier.relied | own) & state.marked().keys()
        if copier.erased is not None and copier.erased.is_outdated(state):
            # What others erased meanwhile may be among what was copied.
            copier.erased, gone = None, gone | own
            copier.forget(own)
        lost = [
            reference
            for made in self._plans
            for reference in self._references
            if reference[0] == made.dataset and not made.ancestry.is_whole(reference[1])
        ]
        if gone or lost:
            copier.forget(gone)
            self._used = {name: pack for name, pack in self._used.items() if name not in gone}
            self._rebased, self._rebased_packs = {}, []
            self._walked.clear()
            self._references.clear()
            raise _MovedOnError
        planned = [version for made in self._plans for version in made.versions]
        if any(_contents(version) not in self._walked for version in planned):
            raise _MovedOnError

    def _put_on_top(self, made: Plan, diverged: Diverged) -> Rebased:
        key = made.dataset, diverged
        if key not in self._rebased:
            done = self._rebased[key] = rebase(made, diverged, self._source, self._target)
            index = self._session.index(self._target.state, writing=True)
            writer = RecordWriter(self._session.store, nonce=self._session.nonce)
            places = index.find_many(b"".join(done.objects))
            for (digest, data), place in zip(done.objects.items(), places, strict=True):
                if place is None:
                    writer.add(digest, data)
            self._rebased_packs += writer.close()
        return self._rebased[key]

    def _segment(self, packs: list[StoredPack], state: State) -> IndexAdd:
        names = frozenset(pack.name for pack in packs)
        made = self._segments.get(names)
        if made is None or made.segment in state.marked():
            put = write_segment(self._session.store, packs, nonce=self._session.nonce)
            made = self._segments[names] = IndexAdd(put.name, put.keys, put.size_bytes)
        return made

    def _result(self, copier: Copier) -> TransferResult:
        moves: list[RefMove] = []
        kept: list[RefKept] = []
        for made in self._plans:
            moves += made.alone
            for ref, expected in made.moves:
                previous = None if expected is None else str(expected)
                moves.append(RefMove(f"{made.name}@{ref.name}", previous, str(ref.target)))
            for one in made.diverged:
                done = self._rebased.get((made.dataset, one))
                if done is not None:
                    moves.append(RefMove(f"{made.name}@{one.branch}", str(one.here), str(done.head)))
            kept += made.kept
        if not self._rebase:
            self._refuse_diverged("what could move has moved, this has not")
        versions = sum(len(made.versions) for made in self._plans)
        versions += sum(len(done.versions) for done in self._rebased.values())
        size = sum(pack.size_bytes for pack in (*copier.packs, *self._rebased_packs))
        signatures = sum(len(made.signatures) for made in self._plans)
        return TransferResult(
            moves, versions, copier.objects, size, kept, signatures, self._erased, self._not_erased
        )


def _contents(version: VersionState) -> tuple[Digest, Digest]:
    """What tells the contents of versions apart: datasets may share a version with other chunk lists."""
    return version.id, version.manifest
