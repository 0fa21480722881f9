"""The trace: everything that the kept versions, the runs and the log itself are made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from dataver.digest import Digest
from dataver.erased import Erasures, erasures
from dataver.errors import DamagedError
from dataver.format import chunk_list
from dataver.format.entry import CHECKPOINT_EVERY
from dataver.format.pack import PackKind
from dataver.format.table_statistics import statistics_key
from dataver.gc.holders import Holders
from dataver.gc.live import Live
from dataver.gc.roots import Roots, find_roots
from dataver.hashing import Kind
from dataver.lineage.records import Records
from dataver.log.nodes import place_pack, root_link
from dataver.log.past import past
from dataver.log.run_state import runs
from dataver.log.state import SEGMENT_NAME, State
from dataver.progress import Progress
from dataver.session import Session
from dataver.tables.footer import PARQUET_SUFFIXES
from dataver.tree.manifest import FOLDER, REFERENCE, ManifestNodes, manifest_link, to_entry
from dataver.tree.schema import MANIFEST, STATE, Link
from dataver.values import dataclass

BATCH = 16_384
_TABLE_SUFFIXES = tuple(suffix.encode() for suffix in PARQUET_SUFFIXES)


@dataclass(slots=True)
class Traced:
    """What a state reaches. `state_packs` hold the states of the log, which `--at` reads.

    `erased` is what was erased; `outlived` are chunks of erased files that were kept for others: nothing else
    has them any more.
    """

    state: State
    roots: Roots
    live: Live
    state_packs: set[bytes]
    erased: Erasures
    outlived: dict[bytes, Digest]

    def gone(self, kind: PackKind) -> Collection[bytes]:
        """What is to be in no pack of a kind."""
        found = self.erased.within(kind)
        return {*found, *self.outlived} if self.outlived and kind == PackKind.DATA else found


def trace(session: Session, state: State, progress: Progress) -> Traced:
    """Follow everything from its roots. `DamagedError` where anything cannot be read."""
    gone = state.swept()
    swept = {bytes(name) for name, kind in gone.items() if kind != SEGMENT_NAME}
    marked = {bytes(name) for name, (_, kind) in state.marks().items() if kind != SEGMENT_NAME}
    live = Live(session.store, state.segments(), marked, swept)
    roots = find_roots(session, state)
    tracer = _Tracer(session, state, live)
    progress.begin("tracing", len(roots.reached))
    try:
        for version in roots.reached.values():
            tracer.version(version.id, version.manifest)
            progress.advance(1)
        tracer.runs()
        outlived = tracer.outlived()
    finally:
        progress.end()
    if live.missing:
        raise DamagedError(
            f"object {Digest(live.missing[0])} is needed and no index segment knows where it is; nothing was "
            "collected. Run `dataver verify`"
        )
    if outlived:
        # Versions that are to be collected may come back, with all that they have.
        holders = Holders(session, state, progress).having(outlived, tracer.erased.records).values()
        held = set[bytes]().union(*(holder.chunks for holder in holders))
        live.mark(sorted(held))
        outlived = {chunk: file for chunk, file in outlived.items() if chunk not in held}
    tracer.statistics()
    return Traced(state, roots, live, state_packs(session), tracer.erased, outlived)


class _Tracer:
    """Walks down from versions and runs; each node is read once."""

    def __init__(self, session: Session, state: State, live: Live) -> None:
        objects = session.objects(state)
        self._session = session
        self._state = state
        self._objects = objects
        self._nodes = ManifestNodes(objects)
        self._live = live
        self._tables: set[bytes] = set()
        self._lists_of_erased: dict[bytes, bytes] = {}
        self.erased = erasures(state)

    def version(self, id: Digest, manifest: Digest) -> None:
        """A version's record and all its files."""
        self._live.mark([id])
        links = [manifest_link(manifest)]
        while links:
            fresh = set(self._live.mark([link.digest for link in links]))
            below: list[Link] = []
            for link in links:
                if link.digest in fresh:
                    fresh.discard(link.digest)
                    below += self._node(link)
            links = below

    def _node(self, link: Link) -> list[Link]:
        """The children of a node; of a leaf the files."""
        node = self._nodes.load(link)
        if node.level:
            return [MANIFEST.link(row) for row in node.rows]
        chunks: list[bytes] = []
        lists: list[bytes] = []
        for row in node.rows:
            entry = to_entry(row)
            if entry.path.lower().endswith(_TABLE_SUFFIXES) and entry.digest not in self.erased:
                self._tables.add(entry.digest)
            if entry.kind in (FOLDER, REFERENCE) or not entry.size:
                continue
            if entry.chunks is None:
                chunks.append(entry.digest)
            elif entry.digest in self.erased:
                self._lists_of_erased[entry.chunks] = entry.digest
            else:
                lists.append(entry.chunks)
        self._chunks(chunks)
        self._lists(lists)
        return []

    def _lists(self, digests: list[bytes]) -> None:
        while digests:
            below: list[bytes] = []
            for digest in self._live.mark(digests):
                data = self._objects.record(Kind.CHUNK_LIST, digest)
                level, rows = chunk_list.decode(data, f"chunk list {Digest(digest)}")
                found = [row.digest for row in rows]
                if level:
                    below += found
                else:
                    self._chunks(found)
            digests = below

    def _chunks(self, digests: list[bytes]) -> None:
        """Chunks of files: alive, save those that were erased, which are not to be had."""
        if self.erased:
            digests = [digest for digest in digests if digest not in self.erased]
        self._live.mark(digests)

    def outlived(self) -> dict[bytes, Digest]:
        """The chunks of erased files that nothing else has which was reached, each with a file.

        After all else: a list that a file has as well that is kept was followed by then.
        """
        found: dict[bytes, Digest] = {}
        for root, file in self._lists_of_erased.items():
            for digests in self._listed(root):
                left = [digest for digest in digests if digest not in self.erased]
                found.update((digest, Digest(file)) for digest in self._live.dead(left))
        return found

    def _listed(self, root: bytes) -> Iterator[list[bytes]]:
        """The chunks below a list, which is alive with all lists below it."""
        waiting = [root]
        while waiting:
            digest = waiting.pop()
            self._live.mark([digest])
            data = self._objects.record(Kind.CHUNK_LIST, digest)
            level, rows = chunk_list.decode(data, f"chunk list {Digest(digest)}")
            below = [row.digest for row in rows]
            if level:
                waiting += below
            else:
                yield below

    def runs(self) -> None:
        """The records of all runs, also those that others stand for now, and their parts."""
        records = Records(self._session, self._state)
        for run in runs(self._state):
            waiting: list[Digest] = [run.start, run.record]
            while waiting:
                fresh = self._live.mark(list(waiting))
                waiting = []
                for digest in fresh:
                    record = records.record(digest)
                    self._live.mark(list(record.parts()))
                    if record.amends is not None:
                        waiting.append(Digest.parse(record.amends))

    def statistics(self) -> None:
        """What is kept beside the tables that are reached, as far as it is there."""
        for batch in _batches(sorted(self._tables)):
            self._live.mark([statistics_key(digest) for digest in batch])
        self._live.missing.clear()


def _batches(digests: list[bytes]) -> Iterable[list[bytes]]:
    return (digests[start : start + BATCH] for start in range(0, len(digests), BATCH))


def state_packs(session: Session) -> set[bytes]:
    """The packs with the nodes of every state that a log entry names. `DamagedError` where one is missing."""
    log = session.log
    tail = log.tail().entry
    bases = [past(log, number).entry.base for number in range(0, tail.number + 1, CHECKPOINT_EVERY)]
    seen: set[bytes] = set()
    packs: set[bytes] = set()
    waiting = [root_link(base) for base in bases if base is not None]
    while waiting:
        link = waiting.pop()
        if link.place in seen:
            continue
        seen.add(link.place)
        packs.add(bytes(place_pack(link)))
        node = log.nodes.load(link)
        if node.level:
            waiting += [STATE.link(row) for row in node.rows]
    return packs
