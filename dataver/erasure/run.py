"""One erasure: find all that has the bytes, write it again without them, say so in the log, delete.

Three steps, as a collection has: an entry that records the erasure, counts the new packs and marks the
old ones, right after the state that was looked at; an entry that sweeps those that nobody spared; then
they are deleted. There is no grace. Whatever stops it, repeating it goes on from there.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import field, replace

from dataver.digest import Digest
from dataver.doctor import soft_delete_days
from dataver.erased import Erasures, chunk_record, erasures, file_record
from dataver.erasure.packs import rewrite
from dataver.erasure.report import ErasedFile, EraseReport, SharingFile
from dataver.errors import (
    BadInputError,
    ConflictError,
    DamagedError,
    NotPermittedError,
    PathNotFoundError,
    RefNotFoundError,
    StoreError,
)
from dataver.files import Files, to_path
from dataver.format.operations import Erase, GcMark, GcSweep, Operation
from dataver.format.pack import PackKind
from dataver.format.table_statistics import statistics_key
from dataver.gc.entries import ATTEMPTS_MAX, of_newest, put_next
from dataver.gc.holders import Holder, Holders
from dataver.gc.holding import Footers
from dataver.gc.leftovers import remove_leftovers
from dataver.gc.listing import Contents, list_contents
from dataver.history import to_time
from dataver.keys import pack_key
from dataver.lineage.who_used import WhoUsed, who_used
from dataver.log.log import Identity
from dataver.log.state import SEGMENT_NAME, State
from dataver.paths import safe_spelling
from dataver.progress import Progress, Silent
from dataver.reading import read_file
from dataver.refs import LATEST, Ref, parse_ref
from dataver.results import rfc3339
from dataver.session import Session
from dataver.tree.manifest import FOLDER, REFERENCE, SYMLINK, manifest_link
from dataver.values import dataclass

REASON_CHARACTERS_MAX = 2_000
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


def erase(
    session: Session,
    ref: str,
    what: str,
    *,
    reason: str,
    all_holders: bool = False,
    yes: bool = False,
    author: str | None = None,
    progress: Progress | None = None,
) -> EraseReport:
    """Erase the bytes of a file of `ref`, by its path or its digest; without `yes` only say what would go.

    Chunks that other files have too stay for those, unless `all_holders` erases these files as well.
    `RefNotFoundError` and `PathNotFoundError` where there is none, `ConflictError` where every byte of it
    is in files that are kept, `BadInputError` without a reason, `DamagedError` where what is to be kept
    cannot be read.
    """
    if not reason.strip() or len(reason) > REASON_CHARACTERS_MAX:
        raise BadInputError(
            f"an erasure needs a reason of 1 to {REASON_CHARACTERS_MAX} characters, which is kept for good"
        )
    asked = _Asked(session, ref, what, reason.strip(), all_holders)
    return _Erasure(session, asked, session.who(author), progress or Silent()).run(yes=yes)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be erased, as it was asked for."""

    session: Session
    ref: str
    what: str
    reason: str
    all_holders: bool

    @property
    def parsed(self) -> Ref:
        return parse_ref(self.ref)

    def digest(self, state: State) -> tuple[Digest, str]:
        """The digest of the file, and its path if that was given."""
        ref = self.parsed
        if _DIGEST.fullmatch(self.what):
            deleted = any(name == ref.dataset for _, name in state.deleted_datasets())
            if ref.selector != LATEST or (state.dataset(ref.dataset) is None and not deleted):
                self.session.resolve_ref(ref, state)
            return Digest.parse(self.what), ""
        found = self.session.resolve_ref(ref, state)
        objects = self.session.objects(state)
        root = manifest_link(found.version.manifest)
        files = Files(self.session.nodes(state), root, lambda entry: read_file(entry, objects))
        path = to_path(self.what)
        entry = files.get(path)
        shown = safe_spelling(self.what)
        if entry is None:
            raise PathNotFoundError(
                f"{shown!r} is not in {found.canonical}; `dataver ls {found.canonical}` lists what is. A "
                "file of an older version is named with that version, or by its digest"
            )
        if entry.kind in (FOLDER, SYMLINK, REFERENCE) or not entry.size:
            kind = {FOLDER: "a folder", SYMLINK: "a symlink", REFERENCE: "a file that stayed where it is"}
            raise BadInputError(
                f"{shown!r} in {found.canonical} is {kind.get(entry.kind, 'empty')}, of which there are no "
                "bytes to erase; name a file"
            )
        return Digest(entry.digest), path.decode()


@dataclass(slots=True)
class _Plan:
    """What is to be done in a state. `chunks` go, with their bytes as far as they are known."""

    state: State
    erased: Erasures
    digest: Digest
    path: str
    files: dict[bytes, Holder]
    shared: dict[bytes, Holder]
    sizes: dict[bytes, int]
    chunks: set[bytes]
    contents: Contents
    packs: list[Digest] = field(default_factory=list)

    def gone(self, kind: PackKind) -> Collection[bytes]:
        """What goes from packs of a kind: chunks, and what was recorded beside the files."""
        if kind == PackKind.DATA:
            return self.chunks
        beside = {bytes(statistics_key(digest)) for digest in (*self.files, bytes(self.digest))}
        return beside if kind == PackKind.META else ()

    def with_later(self, later: _Plan) -> _Plan:
        """Both, of which the later one was made as others wrote meanwhile."""
        return replace(
            self,
            files=later.files | self.files,
            shared=later.shared,
            sizes=self.sizes | later.sizes,
            chunks=self.chunks | later.chunks,
        )


class _Erasure:
    """Carries one erasure out. Used once."""

    def __init__(self, session: Session, asked: _Asked, identity: Identity, progress: Progress) -> None:
        self._session = session
        self._asked = asked
        self._identity = identity
        self._progress = progress
        self._footers = Footers(session, progress)
        self._file: tuple[Digest, str] | None = None
        """What was asked for when it was looked at first: a name may lead to another version by now."""
        self._used: dict[bytes, WhoUsed] = {}

    def run(self, *, yes: bool) -> EraseReport:
        plan = of_newest(self._session, self._plan)
        self._note_uses(plan)
        if not yes:
            return self._report(plan, set(), [], done=False)
        told: _Plan | None = None
        swept: set[Digest] = set()
        for _ in range(ATTEMPTS_MAX):
            entries = self._recorded(plan)
            if entries is not None:
                told = plan if told is None else told.with_later(plan)
                entries += self._sweep(plan.packs)
                state = self._session.newest()
                swept |= set(plan.packs) & state.swept().keys()
                undeleted = self._delete(plan.packs, state)
                remove_leftovers(self._session.store)  # Nobody can tell what is in them.
                if state.number == plan.state.number + entries:
                    self._note_uses(told)
                    return self._report(told, swept, undeleted, done=True)
            # Others wrote meanwhile, and may have spared a pack, or brought another.
            plan = of_newest(self._session, self._plan)
        raise ConflictError(
            f"{self._session.store.url} changed during each of {ATTEMPTS_MAX} searches, so copies of the "
            "bytes may be left; repeat it when fewer write"
        )

    # What is to be done

    def _plan(self, state: State) -> _Plan:
        erased = erasures(state)
        digest, path = self._file = self._file or self._asked.digest(state)
        holders = Holders(self._session, state, self._progress)
        named = holders.of_file(digest)
        files = {} if named is None else {bytes(digest): named}
        chunks = {bytes(digest)} if named is None else set(named.chunks)
        before = set(erased.chunks_of(digest))
        gone_before = set(erased.records)
        shared = holders.having(chunks, {*gone_before, bytes(digest)})
        if self._asked.all_holders and shared:
            files |= shared
            for holder in shared.values():
                chunks.update(holders.sizes(holder.entry))
            shared = holders.having(chunks, {*gone_before, *files})
        sizes: dict[bytes, int] = {}
        for holder in files.values():
            sizes |= holders.sizes(holder.entry)
        chunks = (chunks - set().union(*(holder.chunks for holder in shared.values()))) | before
        contents = list_contents(self._session.store)
        plan = _Plan(state, erased, digest, path, files, shared, sizes, chunks, contents)
        plan.packs = self._footers.holding(contents.packs.keys(), plan.gone)
        self._refuse(plan, known=bool(named) or digest in erased)
        return plan

    def _refuse(self, plan: _Plan, *, known: bool) -> None:
        if not known and not plan.packs:
            raise RefNotFoundError(
                f"no version and no pack here has a file of the digest {plan.digest}; `dataver ls -r --json` "
                "lists the digests of a version's files"
            )
        if not plan.chunks:
            holder = next(iter(plan.shared.values()))
            raise ConflictError(
                f"every byte of it is also in files that are kept, as {safe_spelling(holder.paths[0])} of "
                f"{holder.at}; nothing was erased. --all-holders erases these as well"
            )

    def _operations(self, plan: _Plan) -> list[Operation]:
        """The erasures that the log does not have yet."""
        author, time = self._identity.author, rfc3339(to_time(self._identity.now_us()))
        dataset, reason = self._asked.parsed.dataset, self._asked.reason
        operations: list[Operation] = []
        files = {bytes(plan.digest): plan.path or _path(plan.files.get(bytes(plan.digest)))}
        files |= {digest: _path(holder) for digest, holder in plan.files.items() if digest not in files}
        for digest, path in files.items():
            if digest not in plan.erased:
                record = file_record(author, time, reason, dataset, path)
                operations.append(Erase(Digest(digest), record))
        of = chunk_record(plan.digest)
        chunks = sorted(digest for digest in plan.chunks - files.keys() if digest not in plan.erased)
        return [*operations, *(Erase(Digest(digest), of) for digest in chunks)]

    # Doing it

    def _recorded(self, plan: _Plan) -> int | None:
        """`_record`; None also where others collected meanwhile what it was about to copy."""
        try:
            return self._record(plan)
        except DamagedError:
            if self._session.newest().number == plan.state.number:
                raise
            return None

    def _record(self, plan: _Plan) -> int | None:
        """Put the entry that erases, right after the state of the plan, if there is anything to put.

        How many entries were made; None where others made that one.
        """
        session, state = self._session, plan.state
        operations = self._operations(plan)
        marks, swept = state.marks(), state.swept()
        old = [name for name in plan.packs if name not in swept]
        packs = [name for name, kind in state.marked().items() if kind != SEGMENT_NAME]
        index = session.index(state)
        names = index.names
        elsewhere = index.replaced(names, {*packs, *plan.packs})
        # What an erasure that was interrupted has copied is elsewhere already.
        operations += rewrite(session, old, plan.gone, elsewhere, index)
        fresh = [name for name in old if name not in marks]
        if fresh:
            operations.append(GcMark(tuple(fresh)))
        if not operations:
            return 0
        return 1 if put_next(session, state, tuple(operations), self._identity) else None

    def _sweep(self, packs: list[Digest]) -> int:
        """Sweep those that are still marked: what a writer spared meanwhile it relies on. Entries made."""
        due: tuple[Digest, ...] = ()

        def plan(state: State) -> tuple[Operation, ...] | None:
            nonlocal due
            marks = state.marks()
            due = tuple(name for name in packs if name in marks)
            return (GcSweep(due),) if due else None

        self._session.log.append(plan, self._identity)
        return 1 if due else 0

    def _delete(self, packs: list[Digest], state: State) -> list[str]:
        """Delete those that are swept; the keys that the store did not let go."""
        swept = state.swept()
        undeleted: list[str] = []
        for name in packs:
            if name in swept:
                try:
                    self._session.store.delete(pack_key(name))
                except (NotPermittedError, StoreError):
                    undeleted.append(pack_key(name))
        return undeleted

    # What is told

    def _note_uses(self, plan: _Plan) -> None:
        new = [digest for digest in plan.files if digest not in self._used]
        found = of_newest(self._session, lambda _: [self._uses(digest) for digest in new])
        self._used.update(zip(new, found, strict=True))

    def _uses(self, digest: bytes) -> WhoUsed:
        try:
            return who_used(self._session, digest.hex())
        except RefNotFoundError:
            # Only versions have it that were let go, which may come back until they are swept.
            return WhoUsed(digest.hex(), digest.hex())

    def _report(self, plan: _Plan, swept: set[Digest], undeleted: list[str], *, done: bool) -> EraseReport:
        used = [self._used[digest] for digest in plan.files]
        files = [
            ErasedFile(digest.hex(), holder.entry.size, holder.paths, digest in plan.erased)
            for digest, holder in plan.files.items()
        ]
        shared = [
            SharingFile(
                digest.hex(), holder.entry.size, holder.at, holder.paths[0], len(holder.chunks),
                sum(plan.sizes.get(chunk, 0) for chunk in holder.chunks),
            )
            for digest, holder in plan.shared.items()
        ]  # fmt: skip
        return EraseReport(
            done=done,
            dataset=self._asked.parsed.dataset,
            digest=str(plan.digest),
            path=plan.path,
            reason=self._asked.reason,
            files=files,
            shared=shared,
            chunks=len(plan.chunks),
            bytes=sum(plan.sizes.get(chunk, 0) for chunk in plan.chunks),
            packs=len(swept) if done else len(plan.packs),
            undeleted=undeleted,
            unread=[pack_key(name) for name in sorted(self._footers.unread)],
            unknown=[safe_spelling(key.encode()) for key in plan.contents.unknown],
            versions=list(dict.fromkeys(held.node.id for one in used for held in one.versions)),
            runs=list(dict.fromkeys(use.run for one in used for use in one.uses)),
            models=list(dict.fromkeys(model for one in used for model in one.models)),
            soft_delete_days=soft_delete_days(self._session.store),
        )


def _path(holder: Holder | None) -> str:
    return "" if holder is None else holder.paths[0]
