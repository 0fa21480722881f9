"""Committing a source: what it changed against its base, read as little as possible."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

from dataver.bases import as_remembered, remembered_basis
from dataver.beside import FINDS_MAX, Entries, Standing, mark, stand_beside
from dataver.chunk_index import ChunkIndex
from dataver.config import default_jobs
from dataver.digest import Digest
from dataver.edits import Ingested, NewRows, SourceEdits, in_the_way
from dataver.erased import Erasures
from dataver.errors import AlreadyExistsError, BadInputError
from dataver.files import to_path
from dataver.format.operations import TAG
from dataver.format.pack import PackKind
from dataver.globs import path_filter
from dataver.hashing import EMPTY_DIGEST
from dataver.ingest import digest_files, ingest
from dataver.journal import Journal, ResumedIndex, rely_on
from dataver.log.state import State, VersionState
from dataver.outcome import outcome
from dataver.packs import Counter, PackWriter
from dataver.paths import check_paths
from dataver.progress import Progress, Silent
from dataver.publish import Basis, Change, Label, Published, Publisher, Written
from dataver.refs import MAIN, check_dataset_name, check_ref_name, live_ref, parse_ref, require_version
from dataver.refusals import Refusals, refuse_files
from dataver.results import ChangeCounts, Changes, CommitResult, Forecast
from dataver.session import Session
from dataver.settings import records_statistics
from dataver.source import EMPTY_FOLDER, FILE, SYMLINK, Source, SourceFile
from dataver.source.columns import Listing, Picked, stamp_of, to_file
from dataver.stat_cache import StatCache
from dataver.store.base import pack_bytes_max, write_usd
from dataver.tree.columns import Columns, read_columns
from dataver.tree.manifest import (
    CHUNKS_TAG,
    FOLDER,
    REFERENCE,
    Entry,
    reference_extra,
    to_entry,
    to_row,
)
from dataver.tree.schema import MANIFEST, Link, MemoryNodes, NodeStore
from dataver.tree.walk import find, prefix_stop
from dataver.values import dataclass
from dataver.worktree import Base, announce_base, set_base


@dataclass(frozen=True, slots=True)
class CommitOptions:
    """What `commit` takes besides dataset, source and label; see `Repository.commit`."""

    branch: str = MAIN
    add: bool = False
    into: str = ""
    base: str | None = None
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    reference: bool = False
    dry_run: bool = False
    stats: bool | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """What came of a commit. In a dry run `published` is None."""

    published: Published | None
    base: VersionState | None
    edits: SourceEdits
    new_bytes: int
    stored_bytes: int
    packs: int


@dataclass(frozen=True, slots=True)
class _Work:
    """The files of a source sorted by what must be done with them."""

    kept: list[Entry]
    to_read: Picked


class Committer:
    """Commits one source to one dataset. Used once. `basis` is what it is a change of."""

    def __init__(
        self, session: Session, dataset_name: str, source: Source, options: CommitOptions, label: Label
    ) -> None:
        self._session = session
        self._name = check_dataset_name(dataset_name)
        self._source = source
        self._options = options
        self._label = label
        into = to_path(options.into)
        self._into = into + b"/" if into else b""
        self._filter = path_filter(options.include, options.exclude)
        self._started_ns = time.time_ns()
        self._old: Mapping[bytes, Entry] = {}
        self._displaced: dict[bytes, Entry] = {}
        self.basis = Basis(None)
        self._root = Link(b"", b"", 0, 0)

    def commit(self, progress: Progress | None = None) -> Committed:
        """Read what changed, put it, append the entry, and remember the source's base."""
        watcher = progress or Silent()
        session, options = self._session, self._options
        state = session.newest()
        self._check_names(state)
        basis = self.basis = self._base(state)
        nodes = MemoryNodes(MANIFEST, session.nodes(state))
        root = self._root = basis.root(nodes)
        before = self._before(nodes, root)
        files = self._source.files()
        if self._into:
            # A path that is good in the source may be too long, or in a `.dataver`, below another.
            check_paths([self._into + path for path in files.paths])
        cache = StatCache(self._source.key)
        standing = self._standing(files, cache, before)
        refusals = Refusals(state)
        if refusals.erased:
            refuse_files(refusals.erased, self._unchanged(files, standing, before))
        work = self._sort(files, standing, before)
        journal = Journal(session)
        writer = PackWriter(session.store, PackKind.DATA, nonce=session.nonce, stored=journal.note)
        sink: PackWriter | Counter = Counter(pack_bytes_max(session.store)) if options.dry_run else writer
        watcher.begin("reading", len(work.to_read), work.to_read.size_bytes)
        try:
            index = self._index(state, journal if work.to_read and not options.dry_run else None)
            ingested = self._read(work, sink, index, watcher, refusals.erased)
            read = NewRows(work.to_read, ingested, self._into)
            edits = SourceEdits(read)
            refusals.take(lambda: chain(work.kept, map(to_entry, read)), ingested.list_nodes)
            packs = [] if options.dry_run else writer.close()
        except BaseException:
            writer.abandon()
            journal.close(None)
            raise
        finally:
            watcher.end()
        try:
            if isinstance(index, ResumedIndex):
                packs += index.used
                ingested.new_bytes += index.plain_bytes
                rely_on(session.store, index.used)
            refusals.packs = packs
            self._fill(edits, read, work.kept, before, standing.gone, nodes, root)
            self._old = before
            stored = sum(pack.size_bytes for pack in packs)
            if options.dry_run:
                assert isinstance(sink, Counter)
                return Committed(
                    None, basis.version, edits, ingested.new_bytes, sink.stored_bytes, sink.packs
                )
            self._remember_digests(cache, files, work.to_read, ingested)
            wanted = records_statistics(options.stats, state)
            statistics = self._statistics(work.to_read, ingested, state, watcher) if wanted else {}
            written = Written(
                packs, ingested.list_nodes, ingested.new_bytes, stored, statistics, index.relied or (),
                refusals.again,
            )  # fmt: skip
            published = self._publish(edits, written)
        except BaseException:
            journal.close(None)
            raise
        journal.close({pack.name for pack in packs} if published.created else None)
        if published.version is not None and not options.add:
            self._remember_base(published)
            self._mark(cache, files, published)
        return Committed(published, basis.version, edits, ingested.new_bytes, stored, len(packs))

    def changes(self, done: Committed) -> Changes:
        """What the edits change against the base."""
        from dataver.history import changes_of

        return changes_of(
            (path, self._was(path), None if row is None else to_entry(row))
            for path, row in done.edits.items()
        )

    def _was(self, path: bytes) -> Entry | None:
        """What the base has at a path that is changed."""
        return self._old.get(path) or self._displaced.get(path)

    def _gain(self, done: Committed) -> tuple[int, int, ChangeCounts | None]:
        """New bytes, stored bytes, and the changes to the parent where the edits tell these by themselves."""
        published, basis = done.published, self.basis
        is_parent = published is not None and published.parent == basis.version and not basis.own
        if is_parent and basis.version is None:
            return done.new_bytes, done.stored_bytes, ChangeCounts(added=len(done.edits))
        pairs = [(self._old.get(path), to_entry(row)) for path, row in done.edits.items() if row is not None]
        if not is_parent or any(old is not None and old.identity == new.identity for old, new in pairs):
            return done.new_bytes, done.stored_bytes, None
        return done.new_bytes, done.stored_bytes, self.changes(done).counts

    def totals(self, done: Committed) -> tuple[int, int]:
        """The files and bytes that the base would have with the edits made."""
        files, size_bytes = self._root.rows, self._root.size_bytes
        for path, row in done.edits.items():
            for entry, sign in ((self._was(path), -1), (None if row is None else to_entry(row), 1)):
                if entry is not None and entry.kind != FOLDER:
                    files += sign
                    size_bytes += sign * entry.size
        return files, size_bytes

    def result(self, done: Committed) -> CommitResult:
        """What is answered with: the version, the head that stays, or in a dry run a forecast."""
        if done.published is None:
            return self._forecast(done)
        return outcome(self._session, self._name, self._options.branch, done.published, *self._gain(done))

    def _forecast(self, done: Committed) -> CommitResult:
        changes = self.changes(done)
        files, size_bytes = self.totals(done)
        requests = 2 * done.packs + 4 if changes else 0
        price = write_usd(self._session.store)
        forecast = Forecast(done.new_bytes, requests, None if price is None else requests * price)
        parents = [str(done.base.id)] if done.base is not None else []
        return CommitResult(
            self._name, None, "", parents, "", files, size_bytes, done.new_bytes, done.stored_bytes,
            changes.counts, False, None, forecast,
        )  # fmt: skip

    def _check_names(self, state: State) -> None:
        """Refuse what must fail before anything is read: a tag that is taken."""
        if self._options.branch != MAIN:
            check_ref_name(self._options.branch)
        for tag in self._label.tags:
            check_ref_name(tag)
        if len(set(self._label.tags)) < len(self._label.tags) or self._options.branch in self._label.tags:
            raise BadInputError("a name is given twice among --tag and --branch; they share one name space")
        dataset = state.dataset(self._name)
        for tag in self._label.tags if dataset is not None else ():
            assert dataset is not None
            ref = live_ref(state, dataset, tag)
            if ref is not None:
                head = live_ref(state, dataset, self._options.branch)
                if ref.kind == TAG and head is not None and head.target == ref.target:
                    continue  # Fine where nothing changed; decided when the version is known.
                raise AlreadyExistsError(
                    f"{tag!r} is taken in {self._name}, at {ref.target}; nothing was committed. "
                    "Choose another name"
                )

    def _base(self, state: State) -> Basis:
        """What the source's changes are measured against."""
        dataset = state.dataset(self._name)
        if self._options.base is not None:
            ref = parse_ref(self._options.base)
            if ref.dataset != self._name:
                raise BadInputError(f"the base {ref} is not a version of {self._name}")
            return Basis(self._session.resolve_ref(ref, state).version)
        if dataset is None:
            return Basis(None)
        if not self._options.add:
            line = self._source.key, self._session.repository, self._line(dataset)
            basis = remembered_basis(state, self._name, dataset, line)
            if basis is not None:
                return basis
        for branch in (self._options.branch, MAIN):
            ref_state = live_ref(state, dataset, branch)
            if ref_state is not None:
                return Basis(require_version(state, dataset, ref_state.target))
        return Basis(None)

    def _before(self, nodes: NodeStore, root: Link) -> Entries:
        """The base's entries at the places the source can change, by path in the version."""
        stop = prefix_stop(self._into) if self._into else None

        def read() -> Columns:
            columns = read_columns(nodes, root, self._into, stop)
            return columns.selected(self._filter, len(self._into)) if self._filtered else columns

        return Entries(read, lambda path: find(nodes, root, path))

    def _standing(self, files: Listing, cache: StatCache, before: Entries) -> Standing:
        """Where source and base may differ: everywhere, where files are to stay where they are."""
        if self._options.reference:
            gone = before.keys() - {self._into + path for path in files.paths}
            return Standing(range(len(files)), [None] * len(files), sorted(gone))
        if self._options.add and len(files) <= FINDS_MAX:
            # What a few files are added to may be large: it is not read for them.
            return Standing(range(len(files)), cache.lookup(files), ())
        is_all = not self._into and not self._filtered
        return stand_beside(files, cache, before, self._root if is_all else None, self._into)

    def _unchanged(self, files: Listing, standing: Standing, before: Entries) -> Iterator[Entry]:
        """What the base has of the files that need no look."""
        looked_at = set(standing.open)
        paths = (self._into + path for at, path in enumerate(files.paths) if at not in looked_at)
        return (entry for path in paths if (entry := before.get(path)) is not None)

    def _sort(self, files: Listing, standing: Standing, before: Entries) -> _Work:
        """Keep what is certain to be in the base already, if elsewhere; what remains must be read."""
        kept: list[Entry] = []
        to_read = array("I")
        by_digest: dict[bytes, Entry] | None = None
        is_few = self._options.add and len(files) <= FINDS_MAX
        for at, digest in zip(standing.open, standing.digests, strict=True):
            kind = files.kind(at)
            if kind == EMPTY_FOLDER:
                kept.append(Entry(self._into + files[at].path, FOLDER, False, 0, EMPTY_DIGEST))
                continue
            if digest is None or self._options.reference:
                to_read.append(at)
                continue
            file = files[at]
            path = self._into + file.path
            known = before.get(path)
            if known is None or known.digest != digest or known.size != file.size:
                if is_few:
                    # Not worth a look at all that is there: read again, its chunks are found to be stored.
                    to_read.append(at)
                    continue
                if by_digest is None:
                    by_digest = {entry.digest: entry for entry in before.values()}
                known = by_digest.get(digest)
            if known is None or known.kind == REFERENCE or known.size != file.size:
                to_read.append(at)
                continue
            # Chunk lists go with the bytes; other columns only with the path.
            lists = tuple(extra for extra in known.extras if extra[0] == CHUNKS_TAG)
            kept.append(known._replace(path=path, kind=kind, executable=file.executable, extras=lists))
        return _Work(kept, Picked(files, to_read))

    def _index(self, state: State, journal: Journal | None) -> ChunkIndex:
        """What is stored already, also by a run that was interrupted."""
        index = self._session.index(state, writing=True)
        adopted = [] if journal is None else journal.adopt(state, index)
        return ResumedIndex(index, self._session.store, adopted) if adopted else index

    def _read(
        self,
        work: _Work,
        sink: PackWriter | Counter,
        index: ChunkIndex,
        progress: Progress,
        erased: Erasures,
    ) -> Ingested:
        jobs = self._session.jobs or default_jobs()

        def store(files: Picked) -> Ingested:
            return ingest(
                self._source, files, sink, index, self._session.parameters(),
                jobs=jobs, progress=progress, erased=erased,
            )  # fmt: skip

        if self._options.reference:
            return self._refer(work.to_read, store, jobs, progress)
        return store(work.to_read)

    def _refer(
        self, files: Picked, store: Callable[[Picked], Ingested], jobs: int, progress: Progress
    ) -> Ingested:
        """Read files that stay where they are. A symlink's bytes are no file that could: they are stored."""
        stored = store(files.of_kinds({SYMLINK}))
        staying = [file for file in files if file.kind == FILE]
        digested = iter(digest_files(self._source, staying, jobs=jobs, progress=progress))
        done = Ingested(list_nodes=stored.list_nodes, new_bytes=stored.new_bytes)
        link = 0
        for at, listed in enumerate(files):
            if listed.kind == FILE:
                file, digest = next(digested)
                done.take(stamp_of(file), digest, reference_extra(*self._source.locate(file)))
                done.referred.add(at)
            else:
                done.take(stored.stamp(link), stored.digest(link), stored.extras.get(link, ()))
                link += 1
        return done

    def _statistics(
        self, files: Picked, ingested: Ingested, state: State, progress: Progress
    ) -> dict[bytes, bytes]:
        """The records of the Parquet files that were read and have none yet."""
        from dataver.format.table_statistics import statistics_key
        from dataver.tables.collect import collect
        from dataver.tables.footer import PARQUET_SUFFIXES

        suffixes = tuple(suffix.encode() for suffix in PARQUET_SUFFIXES)
        tables: dict[bytes, SourceFile] = {}
        for at, path in enumerate(files.each_path()):
            if path.lower().endswith(suffixes):
                file = to_file(path, ingested.stamp(at))
                if file.kind == FILE:
                    tables[ingested.digest(at)] = file
        keys = b"".join(map(statistics_key, tables))
        known = self._session.index(state, writing=True).find_many(keys) if tables else []
        wanted = [
            (file, digest) for (digest, file), place in zip(tables.items(), known, strict=True) if not place
        ]
        jobs = self._session.jobs or default_jobs()
        return collect(self._source, wanted, jobs=jobs, progress=progress) if wanted else {}

    def _fill(
        self,
        edits: SourceEdits,
        read: NewRows,
        kept: Sequence[Entry],
        before: Entries,
        gone: Sequence[bytes],
        nodes: NodeStore,
        root: Link,
    ) -> None:
        """Put what a commit changes beside the files that were read."""
        if not self.basis.versions:
            for entry in kept:
                edits.put(entry.path, to_row(entry))
            return
        new: list[int] = []
        added: list[bytes] = []
        for at, row in enumerate(read):
            there = before.row(row.key)
            if there is None:
                new.append(at)
                added.append(row.key)
            elif there.fixed != row.fixed or there.extras or row.extras:
                edits.replace(to_entry(row), to_entry(there))
        for entry in kept:
            known = before.get(entry.path)
            if known is None:
                added.append(entry.path)
            edits.replace(entry, known)
        if not self._options.add:
            for path in gone:
                edits.put(path, None)
        if self._options.add or self._into or self._filtered:  # else what is in the way is gone
            for row in list(in_the_way(nodes, root, added)):
                if not edits.has_file(row.key):
                    self._displaced[row.key] = to_entry(row)  # It may stand outside of what was looked at.
                    edits.put(row.key, None)
        edits.keep(new)

    def _publish(self, edits: SourceEdits, written: Written) -> Published:
        change = Change(edits, self.basis)
        return Publisher(
            self._session, self._name, self._options.branch, change, self._label, written, self._announce
        ).publish()

    def _remember_digests(self, cache: StatCache, files: Listing, read: Picked, ingested: Ingested) -> None:
        if not ingested and len(cache) <= len(files):
            return
        forget = () if self._filtered else cache.absent_from(files)
        cache.update_read(read, ingested.stamps, ingested.digests, self._started_ns, forget)

    @property
    def _filtered(self) -> bool:
        return bool(self._options.include or self._options.exclude)

    def _mark(self, cache: StatCache, files: Listing, published: Published) -> None:
        """Remember that the files listed are those of the version, where nobody else had a part in it."""
        before = published.parent if published.created else published.version
        is_own = not self.basis.own and (None if before is None else before.id) == self.basis.id
        if is_own and not self._options.reference and not self._into and not self._filtered:
            mark(cache, files, published.root)

    def _remember_base(self, published: Published) -> None:
        dataset = self._session.log.state().dataset(self._name)
        if dataset is None or published.version is None:
            return
        known = as_remembered(self.basis)
        if published.created:
            known = self._new_base(published.version.id, published.rebased_onto)
        if known.newest is not None:
            set_base(self._source.key, self._session.repository, self._line(dataset), known)

    def _new_base(self, version: Digest, onto: Digest | None) -> Base:
        """What the source's next changes are measured against: it must hold nobody else's."""
        return (
            Base(str(version)) if onto is None else as_remembered(self.basis).brought(str(onto), str(version))
        )

    def _announce(self, dataset: bytes, version: Digest, onto: Digest | None) -> None:
        if not self._options.add:
            known = self._new_base(version, onto)
            announce_base(self._source.key, self._session.repository, self._line(dataset), known)

    def _line(self, dataset: bytes) -> str:
        """What a source's base is remembered under: the dataset, and the folder its files go to."""
        return dataset.hex() + (f"/{self._into.hex()}" if self._into else "")
