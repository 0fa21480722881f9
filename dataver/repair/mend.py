"""One repair, planned on one state of the log: what is damaged, what is saved, and the entry that says so.

Nothing is deleted and no name is made again. What is whole is copied into new packs, new segments take
the place of those that are damaged or lead to damaged packs, and what was damaged is marked, so that it is
collected as any other garbage is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from dataver.digest import DIGEST_BYTES, Digest
from dataver.erased import erasures
from dataver.errors import DamagedError, NewerFormatError, ObjectMissingError
from dataver.format.operations import GcMark, IndexAdd, IndexReplace, Operation
from dataver.format.pack import HEADER_BYTES, PackKind, footer_length, parse_footer
from dataver.format.segment import Segment
from dataver.gc.listing import list_contents
from dataver.hashing import blake3_digest
from dataver.keys import pack_key, segment_key
from dataver.log.state import SEGMENT_NAME, State
from dataver.packs import StoredPack, read_footer
from dataver.progress import Progress
from dataver.relying import spare
from dataver.repair.lost import Lost, find_lost
from dataver.repair.mended import MendedIndex
from dataver.repair.rows import Listed, Rows
from dataver.repair.salvage import salvage
from dataver.repair.sources import HealingSource, Take
from dataver.repair.writers import Writers
from dataver.segments import put_segment, segment_over
from dataver.session import Session
from dataver.verify.findings import Findings, Reads
from dataver.verify.index import CheckedIndex
from dataver.verify.packs import Claim, check_bytes
from dataver.verify.run import WHOLE_PACKS_IN_FLIGHT
from dataver.verify.workers import in_order

Output = IndexAdd | IndexReplace
"""The operation by which a new segment counts."""


class Mending:
    """The work of one repair. `session` is where it writes, which in a dry run is a place of its own."""

    def __init__(
        self, session: Session, state: State, checked: CheckedIndex, deep: bool, progress: Progress
    ) -> None:
        self.found = self.salvaged = self.salvaged_bytes = self.healed = self.healed_bytes = 0
        self.sources: dict[str, int] = {}
        self.packs: list[StoredPack] = []
        self._session = session
        self._store = Reads(session.store, Findings())
        self._state = state
        self._checked = checked
        self._deep = deep
        self._jobs = min(session.readers(), WHOLE_PACKS_IN_FLIGHT) if deep else session.readers()
        self._progress = progress
        self._contents = list_contents(session.store)
        self._swept = {bytes(name) for name, kind in state.swept().items() if kind != SEGMENT_NAME}
        self.bad_segments = set(checked.bad_segments)
        self.good_packs: set[bytes] = set()
        self.bad_packs = self._really_bad()
        self._relied: set[bytes] = set()
        self._made: list[bytes] = []
        self._erased = erasures(state)
        self.index = MendedIndex(self._store, self._staying(), self._swept, self._erased.records)

    # What is damaged

    def _really_bad(self) -> set[bytes]:
        """The packs that are damaged. Where one is whole after all, its segments say what is wrong."""
        bad = set()
        for name in sorted(self._checked.bad_packs):
            data = self.bytes_of(name)
            if data is None:
                bad.add(name)
                continue
            _refuse_newer(name, data)
            if check_bytes(name, data).problems:
                bad.add(name)
            else:
                self.bad_segments.update(self._checked.naming(name))
                self.good_packs.add(name)
        return bad

    def was_read_wrong(self) -> bool:
        """Whether a segment that seemed damaged has the bytes of its name, and is to be read again."""
        for name in self._checked.bad_segments - self._checked.whole().keys():
            with suppress(ObjectMissingError, DamagedError):
                data = self._store.get(segment_key(name))
                if blake3_digest(data) == name:
                    Segment(data, segment_key(name))  # A newer format is not ours to replace.
                    return True
        return False

    @property
    def replaced(self) -> list[Digest]:
        """The segments that count no more: those that are damaged, and those that lead to damaged packs."""
        leading = {name for pack in self.bad_packs for name in self._checked.naming(pack)}
        return sorted(Digest(name) for name in leading | self.bad_segments)

    def _staying(self) -> dict[bytes, Segment]:
        gone = set(self.replaced)
        return {name: segment for name, segment in self._checked.whole().items() if name not in gone}

    def bytes_of(self, pack: bytes) -> bytes | None:
        """All bytes of a pack; None where it is not there."""
        try:
            return self._store.get(pack_key(pack))
        except ObjectMissingError:
            return None

    # What is saved

    def mend(self) -> None:
        """Save what this repository has itself, in this order: other packs, then the damaged ones."""
        dropped = self._keep_rows()
        if self.bad_segments:
            self._read_footers(None)
        elif any(self.index.lacks(dropped)):
            self._read_footers(
                {dropped[at : at + DIGEST_BYTES] for at in range(0, len(dropped), DIGEST_BYTES)}
            )
        for name in sorted(self.bad_packs):
            data = self.bytes_of(name)
            if data is not None:
                objects, size_bytes = self._write(partial(self._salvage, name, data))
                self.salvaged += objects
                self.salvaged_bytes += size_bytes
        for place in self.index.find_many(dropped):
            if place is not None:
                self._relied.add(place.pack)

    def _salvage(self, name: bytes, data: bytes, take: Take) -> None:
        for frame in salvage(name, data, self.claims(name), self.index.lacks):
            take(frame)

    def claims(self, pack: bytes) -> Sequence[Claim]:
        """What the segments that are whole say of a pack."""
        return self._checked.claims(pack)

    def heal(self, sources: Iterable[HealingSource], jobs: int) -> Lost:
        """Bring what is still lost from elsewhere, again and again: what is below is known only then."""
        every = list(sources)
        lost = self.lost(jobs)
        if lost.missing:
            # A pack may have it though no segment says so, as where a repair was given a wrong read.
            self._read_footers(set(lost.missing))
            lost = self.lost(jobs)
        brought = True
        while brought and lost.missing:
            brought = False
            for source in every:
                objects, size_bytes = self._write(partial(source.heal, lost))
                if objects:
                    brought = True
                    self.sources[source.name] = self.sources.get(source.name, 0) + objects
                    self.healed += objects
                    self.healed_bytes += size_bytes
                    lost = self.lost(jobs)
        return lost

    def lost(self, jobs: int) -> Lost:
        """What is needed and has no place yet."""
        return find_lost(self._store, self._state, self.index, jobs, self._progress)

    def _keep_rows(self) -> bytes:
        """Keep the rows of replaced segments that lead to packs that count; the digests of the others."""
        rows = Rows()
        gone = self.bad_packs | self._swept
        dropped = b""
        for name in self.replaced:
            segment = self._checked.whole().get(name)
            if segment is not None and name not in self.bad_segments:
                dropped += rows.add_segment(segment, gone)
        if self.replaced:
            self._search(rows)
        return dropped

    def _read_footers(self, asked: set[bytes] | None) -> None:
        """Name what packs have and no segment says: all of it, or what is asked for."""
        rows = Rows()
        names = [name for name in self._contents.packs if name not in self.bad_packs | self._swept]
        marked = self._state.marked()
        self._progress.begin("reading what packs hold", len(names))
        try:
            ordered = sorted(names, key=lambda name: (name in marked, name))
            with ThreadPoolExecutor(self._jobs, thread_name_prefix="dataver-repair") as pool:
                for name, listed in zip(
                    ordered, in_order(pool, self._listed, ordered, 2 * self._jobs), strict=True
                ):
                    if listed is not None:
                        self._name_again(rows, name, listed, asked)
                    self._progress.advance(1)
        finally:
            self._progress.end()
        self._search(rows)

    def _name_again(self, rows: Rows, name: bytes, listed: Listed, asked: set[bytes] | None) -> None:
        wanted = self.index.lacks(listed.digests)
        if asked is not None:
            digests = (listed.digests[DIGEST_BYTES * n : DIGEST_BYTES * (n + 1)] for n in range(len(wanted)))
            wanted = [lacks and digest in asked for lacks, digest in zip(wanted, digests, strict=True)]
        if any(wanted):
            rows.add_pack(name, listed, wanted)
            self._relied.add(name)
            self.found += sum(wanted)

    def unnamed(self) -> set[bytes]:
        """The packs that are there and no segment leads to any more, with those that are damaged."""
        named = {bytes(pack) for segment in self._checked.whole().values() for pack in segment.packs()}
        return {name for name in self._contents.packs if name not in named | self._swept} | self.bad_packs

    def _listed(self, name: bytes) -> Listed | None:
        """In a worker: what a pack says that it holds; None where that is not for the index."""
        try:
            if self._deep and not self._checked.naming(name):
                # Nobody looked at it before: no segment that is whole leads here.
                data = self._store.get(pack_key(name))
                check = check_bytes(name, data)
                if check.problems and self.bad_segments:
                    self.bad_packs.add(name)
                footer = None if check.problems else check.footer
            else:
                footer = read_footer(self._store, name)[0]
        except (DamagedError, NewerFormatError, ObjectMissingError):
            return None
        return None if footer is None or footer.kind == PackKind.STATE else footer

    def _search(self, rows: Rows) -> None:
        data = rows.encode(self._session.nonce())
        self.index.add(data)
        self._made.append(data)

    def _write(self, give: Callable[[Take], None]) -> tuple[int, int]:
        """Store the frames that are given; how many objects, and how many bytes, have a place now."""
        writers = Writers(self._session, self._erased)
        try:
            give(writers.add)
            packs = writers.close()
        finally:
            writers.abandon()
        if packs:
            self.packs += packs
            self._relied.update(pack.name for pack in packs)
            data = segment_over(packs, self._session.nonce())
            self.index.add(data)
            self._made.append(data)
        return writers.objects, writers.size_bytes

    # What is said of it

    def output(self) -> Output | None:
        """Put the segment that counts from now on; None where the index stays as it is."""
        replaced = self.replaced
        rows = Rows()
        for data in self._made:
            rows.add_segment(Segment(data, "an index segment that is being made"))
        if not replaced and not self.found and not self.packs:
            return None
        stored = put_segment(self._session.store, rows.encode(self._session.nonce()))
        self._relied.add(stored.name)
        if replaced:
            return IndexReplace(tuple(replaced), stored.name, stored.keys, stored.size_bytes)
        return IndexAdd(stored.name, stored.keys, stored.size_bytes)

    def fits(self, newest: State) -> bool:
        """Whether what was planned can be said after a newer state: nothing it builds on went since."""
        valid = {segment.name for segment in newest.segments()}
        return valid.issuperset(self.replaced) and newest.swept().keys() == self._state.swept().keys()

    def operations(self, newest: State, output: Output) -> tuple[Operation, ...]:
        """What the entry after `newest` says."""
        operations: list[Operation] = [*spare(newest, self._relied), output]
        packs, segments = self.to_mark(newest)
        if packs or segments:
            operations.append(GcMark(packs, segments))
        return tuple(operations)

    def to_mark(self, newest: State) -> tuple[tuple[Digest, ...], tuple[Digest, ...]]:
        """The damaged packs and segments that are there and not marked yet."""
        marked = newest.marked()
        packs = {Digest(name) for name in self.bad_packs if name in self._contents.packs}
        segments = {Digest(name) for name in self.bad_segments if name in self._contents.segments}
        return tuple(sorted(packs - marked.keys())), tuple(sorted(segments - marked.keys()))

    def marked_keys(self) -> list[str]:
        """The keys of what is marked."""
        packs, segments = self.to_mark(self._state)
        return [*map(pack_key, packs), *map(segment_key, segments)]


def _refuse_newer(name: bytes, data: bytes) -> None:
    """`NewerFormatError` where a pack is whole and a newer release wrote it: that is no damage."""
    if blake3_digest(data) == name:
        with suppress(DamagedError):
            view = memoryview(data)
            tail = view[-footer_length(view, len(view), pack_key(name)) :]
            parse_footer(view[:HEADER_BYTES], tail, len(view), pack_key(name))
