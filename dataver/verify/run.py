"""One verification, step by step: log, index, packs, versions, files."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from dataver.digest import Digest
from dataver.errors import (
    DamagedError,
    LockMismatchError,
    NewerFormatError,
    RepositoryNotFoundError,
    RollbackError,
)
from dataver.format.version import VersionRecord, decode_version
from dataver.hashing import Kind
from dataver.keys import HINT_KEY, entry_key
from dataver.log.remembered import Remembered
from dataver.log.state import State
from dataver.objects import Objects
from dataver.pins import current_lock, resolve_pinned
from dataver.progress import Progress
from dataver.refs import Ref, parse_ref
from dataver.results import Harm
from dataver.session import Session
from dataver.verify.files import Files
from dataver.verify.findings import WHOLE_REPOSITORY, Findings, Reads, plain
from dataver.verify.history import History, entry_numbers
from dataver.verify.index import CheckedIndex
from dataver.verify.manifests import FileKey, Manifests
from dataver.verify.metadata import Metadata
from dataver.verify.packs import check_ends, check_whole
from dataver.verify.part import ALL, Part
from dataver.verify.reader import as_readers_see
from dataver.verify.runs import check_runs
from dataver.verify.versions import NamedVersion, all_versions, check_versions
from dataver.verify.workers import in_order

WHOLE_PACKS_IN_FLIGHT = 4
ENDS_IN_FLIGHT = 64


class Run:
    """Checks a repository or one version of it, once.

    `tail` is the number of the newest entry that was looked at.
    """

    def __init__(self, session: Session, deep: bool, progress: Progress, part: Part = ALL) -> None:
        self.findings = Findings()
        self.tail = -1
        self._session = session
        self._deep = deep
        self._part = part
        self._progress = progress
        self._jobs = session.readers()
        self._store = Reads(session.store, self.findings)

    def everything(self) -> None:
        """The log, every pack and segment that counts, and every version of every dataset."""
        state, index = self.objects()
        self._versions(state, all_versions(state, self.findings), index)
        self._runs(state, index)

    def objects(self) -> tuple[State, CheckedIndex]:
        """The log, and every pack and segment that counts, by themselves and against each other."""
        newer = self._check_memory()
        history = History(self._store, self.findings, self._jobs)
        history.check(self._progress)
        self.tail = history.tail
        if newer is not None and not self.findings.damaged:
            raise newer
        state = history.state
        index = CheckedIndex(self._store, state, self.findings)
        self._packs(index, index.packs())
        return state, index

    @property
    def missing(self) -> bool:
        """Whether some pack or segment was not there."""
        return self._store.missing

    def moved_on(self) -> bool:
        """Whether others have made entries since."""
        return max(entry_numbers(self._store)) != self.tail

    def one(self, ref: str) -> None:
        """One version, and what must be read to get at it."""
        parsed = parse_ref(ref)
        newer = self._check_memory()
        if newer is not None:
            raise newer
        self.tail = max(entry_numbers(self._store))
        try:
            self._one(parsed)
        except LockMismatchError:
            raise
        except (DamagedError, NewerFormatError) as error:
            if not self.findings.damaged:
                self.findings.add(entry_key(self.tail), plain(error), WHOLE_REPOSITORY)

    def _one(self, ref: Ref) -> None:
        newest = as_readers_see(self._store, self.tail, self.findings)
        at = self._session.at
        then = newest if at is None else as_readers_see(self._store, at, self.findings)
        if newest is None or then is None:
            return
        index = CheckedIndex(self._store, newest, self.findings)
        metadata = Metadata(Objects(self._store, index), index, self.findings)
        lock = current_lock() if at is None else None
        found = resolve_pinned(then, ref, lambda id: self._record(ref, id, metadata), lock)
        version = NamedVersion(found.name, found.version, found.dataset)
        # Once to see which packs it needs, and again to see what damage in them harms.
        needed = self._walk(newest, [version], index, {})
        self._packs(index, sorted(needed.metadata.packs))
        self._versions(newest, [version], index)

    def _record(self, ref: Ref, id: Digest, metadata: Metadata) -> VersionRecord:
        data, culprits = metadata.record(Kind.VERSION, id)
        for culprit in culprits:
            self.findings.add_harm(culprit, Harm(ref.dataset, str(id), None))
        if culprits:
            raise DamagedError(f"version {id} cannot be read")
        return decode_version(data, f"version {id}")

    def _check_memory(self) -> NewerFormatError | None:
        """Compare the log with what this machine saw of it before; gives what makes it unreadable."""
        try:
            self._session.log.tail()
        except RollbackError as error:
            seen = Remembered(self._store.identity).load()
            key = HINT_KEY if seen is None else entry_key(seen.number)
            self.findings.add(key, plain(error), WHOLE_REPOSITORY)
        except NewerFormatError as error:
            return error
        except (DamagedError, RepositoryNotFoundError):
            pass  # Found again, and named, by reading the log.
        return None

    def _packs(self, index: CheckedIndex, names: Sequence[bytes]) -> None:
        """Check packs by themselves and against the index."""
        jobs = min(self._jobs, WHOLE_PACKS_IN_FLIGHT) if self._deep else self._jobs

        def check(name: bytes) -> int:
            self.findings.looked_at()
            if self._deep and self._part.has(name):
                found = check_whole(self._store, name, index.claims)
            else:
                found = check_ends(self._store, name)
            index.take(found)
            return found.size_bytes

        self._progress.begin("verifying packs", len(names))
        try:
            with self._pool(jobs) as pool:
                for size_bytes in in_order(pool, check, names, 2 * jobs):
                    self._progress.advance(1, size_bytes)
        finally:
            self._progress.end()

    def _versions(self, state: State, versions: Sequence[NamedVersion], index: CheckedIndex) -> None:
        """Check versions, and with `deep` their files; then tell what damage harms."""
        self._progress.begin("verifying versions", len(versions))
        try:
            walked = self._walk(state, versions, index, {})
        finally:
            self._progress.end()
        # A file is named by its digest, which is its key's first member.
        wanted = {key: entry for key, entry in walked.files.items() if self._part.has(key[0])}
        if self._deep and wanted:
            files = Files(walked.metadata, self.findings)
            with self._pool(min(self._jobs, WHOLE_PACKS_IN_FLIGHT)) as pool:
                files.check(wanted, pool, self._progress)
            if files.bad:
                self._walk(state, versions, index, files.bad)

    def _runs(self, state: State, index: CheckedIndex) -> None:
        """Check the records of runs, and with `deep` their parts."""
        metadata = Metadata(Objects(self._store, index), index, self.findings)
        with self._pool(self._jobs) as pool:
            check_runs(state, metadata, self.findings, pool, deep=self._deep)

    def _walk(
        self,
        state: State,
        versions: Sequence[NamedVersion],
        index: CheckedIndex,
        bad_files: dict[FileKey, str],
    ) -> Manifests:
        metadata = Metadata(Objects(self._store, index), index, self.findings)
        manifests = Manifests(metadata, bad_files)
        with self._pool(self._jobs) as pool:
            check_versions(state, versions, manifests, metadata, self.findings, pool)
        return manifests

    def _pool(self, jobs: int) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(jobs, thread_name_prefix="dataver-verify")
