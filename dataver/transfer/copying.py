"""Copying stored frames from one repository to another: raw, verified, into new packs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Container, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from itertools import accumulate

from dataver.chunk_index import COALESCE_GAP_BYTES, ChunkIndex
from dataver.compression import Codec, compress_frame
from dataver.digest import DIGEST_BYTES, Digest, split_digests
from dataver.errors import DamagedError, ObjectMissingError
from dataver.format.limits import FRAME_BYTES_MAX
from dataver.format.pack import FRAME_HEADER_BYTES, Frame, PackKind
from dataver.format.segment import Place
from dataver.hashing import digests as plain_digests
from dataver.hashing import xxh3_64
from dataver.journal import Journal, ResumedIndex
from dataver.keys import pack_key
from dataver.objects import LOOKS_MAX
from dataver.packs import PackWriter, StoredPack, read_footer
from dataver.progress import Progress
from dataver.session import Session
from dataver.transfer.erased import Erased
from dataver.transfer.side import Side
from dataver.values import NamedTuple
from dataver.verify.packs import decode_frame, is_of
from dataver.verify.workers import in_order

BATCH_OBJECTS = 16_384
"""So many chunks and records are looked up, and their frames gathered, at a time."""
RANGE_BYTES_MAX = 4 << 20
"""Frames that lie near each other are read together up to so many bytes; as many reads as there are
threads are under way."""
FOOTERS_KEPT = 64


class PackFrame(NamedTuple):
    """A frame as its pack's footer has it, with the digests and lengths of its chunks."""

    kind: PackKind
    frame: Frame
    digests: bytes
    lengths: tuple[int, ...]


class Verified(NamedTuple):
    """A frame, or the wanted chunks of a raw one, each of which matches its digest."""

    kind: PackKind
    codec: int
    parts: list[bytes]
    raw_bytes: int
    digests: bytes
    lengths: list[int]


class _Group(NamedTuple):
    """Frames of one pack that are read as one range, each with the chunks that are wanted of it."""

    pack: bytes
    frames: list[tuple[PackFrame, set[bytes]]]


class Counts:
    """What was copied for one version: plain bytes of chunks, and what was stored for them."""

    def __init__(self) -> None:
        self.new_bytes = 0
        self.stored_bytes = 0


class Copier:
    """Copies what the receiver lacks of all that it is asked for. For one thread.

    A compressed frame is copied with all that is in it; of a raw one only what is wanted. Memory
    is bounded by a batch of digests, some ranges of `RANGE_BYTES_MAX` and the packs that are being
    written, save for the digests of what was copied, which the index segment needs in the end.
    """

    def __init__(
        self, source: Side, target: Session, journal: Journal, pool: Executor, jobs: int, progress: Progress
    ) -> None:
        self._source = source
        self._target = target
        self._journal = journal
        self._pool = pool
        self._jobs = jobs
        self._progress = progress
        self._writers: dict[tuple[PackKind, bool], PackWriter] = {}
        self._batch: dict[bytes, tuple[int | None, Digest]] = {}
        self._done: set[bytes] = set()
        self._footers = _Footers(source)
        self.index: ChunkIndex | None = None
        self.erased: Erased | None = None
        self.packs: list[StoredPack] = []
        self.relied: set[bytes] = set()
        self.counts: dict[Digest, Counts] = {}
        self.objects = 0

    def want(self, digest: bytes, length: int | None, version: Digest) -> None:
        """See that the receiver gets an object: a chunk of `length` bytes, or a record (None).

        What it costs is counted for `version`.
        """
        if digest in self._done or digest in self._batch:
            return
        if length is not None and self.erased and self.erased.is_gone(digest):
            return
        self._batch[digest] = length, version
        if len(self._batch) >= BATCH_OBJECTS:
            self.flush()

    def flush(self) -> None:
        """Copy what is missing of all that was asked for. Some of it may wait to be put."""
        batch, self._batch = self._batch, {}
        if not batch:
            return
        assert self.index is not None
        adopted = self.index.adopted if isinstance(self.index, ResumedIndex) else ()
        missing: dict[bytes, tuple[int | None, Digest]] = {}
        for digest, place in zip(batch, self.index.find_many(b"".join(batch)), strict=True):
            if place is None:
                is_chunk = batch[digest][0] is not None
                if not (is_chunk and self.erased and digest in self.erased.source):
                    missing[digest] = batch[digest]
                continue
            self.relied.add(place.pack)
            length, version = batch[digest]
            if length is not None and place.pack in adopted:
                counts = self.counts.setdefault(version, Counts())
                counts.new_bytes += length
                counts.stored_bytes += place.stored_bytes * length // max(place.raw_bytes, 1)
        for number in range(1 + LOOKS_MAX):
            index = self._source.objects.index
            try:
                self._copy({digest: asked for digest, asked in missing.items() if digest not in self._done})
                return
            except ObjectMissingError as error:
                # Others may have put the contents of that pack into another one meanwhile, and again.
                self._source.look_again()
                if number == LOOKS_MAX or (number and self._source.objects.index.is_of_the_same(index)):
                    raise DamagedError(f"{error}; run `dataver verify` on {self._source.url}") from error

    def copy_beside(self, wanted: Mapping[bytes, Digest]) -> None:
        """Copy records that no version needs, as far as the source has them whole, into packs of their own.

        Each is wanted for a version. Damage or loss of some harms nothing else, and is no error.
        """
        assert self.index is not None
        keys = list(dict.fromkeys(key for key in wanted if key not in self._done))
        theirs = self._source.objects.index.find_many(b"".join(keys))
        ours = self.index.find_many(b"".join(keys))
        frames: dict[bytes, dict[int, set[bytes]]] = {}
        for key, there, here in zip(keys, theirs, ours, strict=True):
            if there is not None and here is None:
                frames.setdefault(there.pack, {}).setdefault(there.frame_offset, set()).add(key)
        for pack, places in frames.items():
            with suppress(DamagedError, ObjectMissingError):
                self._footers.load([pack], self._pool)
                for group in self._groups(pack, places):
                    for frame in self._read(group):
                        self._add(frame, {}, beside=True)

    def finish(self) -> None:
        """Put all that was copied; `packs` are then complete."""
        self.flush()
        writers, self._writers = self._writers, {}
        try:
            for writer in writers.values():
                self.packs += writer.close()
        except BaseException:
            for writer in writers.values():
                writer.abandon()
            raise

    def abandon(self) -> None:
        """Wait for what is under way and write nothing more."""
        for writer in self._writers.values():
            writer.abandon()

    def forget(self, packs: Collection[bytes]) -> None:
        """Packs are not to be relied on: what was in them is copied again when it is asked for."""
        self.packs = [pack for pack in self.packs if pack.name not in packs]
        self.relied -= set(packs)
        self._done = {
            pack.digests[start : start + DIGEST_BYTES]
            for pack in self.packs
            for start in range(0, len(pack.digests), DIGEST_BYTES)
        }

    def _copy(self, missing: dict[bytes, tuple[int | None, Digest]]) -> None:
        if not missing:
            return
        places = self._source.objects.places(b"".join(missing))
        frames: dict[bytes, dict[int, set[bytes]]] = {}
        for (digest, (length, _)), place in zip(missing.items(), places, strict=True):
            if length is not None and place.length != length:
                raise self._damaged(
                    place, f"chunk {Digest(digest)} has not the {length} bytes that are listed"
                )
            frames.setdefault(place.pack, {}).setdefault(place.frame_offset, set()).add(digest)
        self._footers.load(frames, self._pool)
        groups = [group for pack, wanted in frames.items() for group in self._groups(pack, wanted)]
        for copied in in_order(self._pool, self._read, groups, self._jobs + 1):
            for frame in copied:
                self._add(frame, missing)

    def _groups(self, pack: bytes, wanted: dict[int, set[bytes]]) -> Iterator[_Group]:
        group: list[tuple[PackFrame, set[bytes]]] = []
        start = end = 0
        for offset in sorted(wanted):
            found = self._footers.frame(pack, offset)
            stop = offset + found.frame.stored_bytes
            if group and (offset > end + COALESCE_GAP_BYTES or stop - start > RANGE_BYTES_MAX):
                yield _Group(pack, group)
                group = []
            if not group:
                start = offset
            group.append((found, wanted[offset]))
            end = stop
        if group:
            yield _Group(pack, group)

    def _read(self, group: _Group) -> list[Verified]:
        """In a worker: read and verify neighbouring frames."""
        start = group.frames[0][0].frame.offset
        last = group.frames[-1][0].frame
        length = last.offset + last.stored_bytes - start
        store = self._source.session.store
        block = memoryview(store.get_ranges(pack_key(group.pack), [(start, length)])[0])
        verified = []
        for found, wanted in group.frames:
            begin = found.frame.offset - start
            # A copy: a view would hold all that was read until its pack is put.
            stored = bytes(block[begin : begin + found.frame.stored_bytes])
            what = f"the frame at {found.frame.offset} of {pack_key(group.pack)} in {self._source.url}"
            verified.append(verify_frame(found, stored, wanted, what))
        return verified

    def _add(
        self, frame: Verified, missing: dict[bytes, tuple[int | None, Digest]], *, beside: bool = False
    ) -> None:
        if self.erased:
            left = without(frame, self.erased.within(frame.kind), "a frame that was verified")
            if left is None:
                return
            frame = left
        writer = self._writers.get((frame.kind, beside))
        if writer is None:
            session = self._target
            writer = self._writers[frame.kind, beside] = PackWriter(
                session.store, frame.kind, nonce=session.nonce, stored=self._journal.note
            )
        writer.add(frame.codec, frame.parts, frame.raw_bytes, frame.digests, frame.lengths)
        stored = sum(map(len, frame.parts))
        self.objects += len(frame.lengths)
        payer: Counts | None = None
        for number, length in enumerate(frame.lengths):
            digest = frame.digests[DIGEST_BYTES * number : DIGEST_BYTES * (number + 1)]
            self._done.add(digest)
            asked = missing.get(digest)
            if asked is not None and asked[0] is not None:
                payer = self.counts.setdefault(asked[1], Counts())
                payer.new_bytes += length
        if payer is not None:
            payer.stored_bytes += stored + FRAME_HEADER_BYTES + (DIGEST_BYTES + 4) * len(frame.lengths)
        self._progress.advance(0, stored)

    def _damaged(self, place: Place, reason: str) -> DamagedError:
        return DamagedError(
            f"{pack_key(place.pack)} in {self._source.url} is damaged: {reason}; nothing was recorded. "
            "Run `dataver verify --deep` there"
        )


def verify_frame(found: PackFrame, stored: bytes, wanted: set[bytes], what: str) -> Verified:
    """A frame whose stored bytes match their checksum, and whose chunks match their digests.

    Of a raw frame only the wanted chunks are given. `DamagedError`, naming `what`, otherwise.
    """
    frame, each = found.frame, split_digests(found.digests)
    if xxh3_64(stored) != frame.xxh3:
        raise DamagedError(
            f"{what} does not match its checksum; nothing was recorded. Run `dataver verify` there"
        )
    plain = decode_frame(memoryview(stored), frame.codec, frame.raw_bytes, what)
    ends = list(accumulate(found.lengths))
    chunks = [plain[end - length : end] for end, length in zip(ends, found.lengths, strict=True)]
    some = frame.codec == Codec.RAW and not wanted.issuperset(each)
    taken = [number for number, digest in enumerate(each) if not some or digest in wanted]
    if not wanted.issubset(each):
        raise DamagedError(f"{what} has not the objects that the index names; run `dataver verify` there")
    expected = [each[number] for number in taken]
    contents = [chunks[number] for number in taken]
    if found.kind != PackKind.DATA or plain_digests(contents) != b"".join(expected):
        for digest, chunk in zip(expected, contents, strict=True):
            if not is_of(found.kind, digest, chunk):
                raise DamagedError(
                    f"object {Digest(digest)} in {what} does not match its digest; nothing was recorded. "
                    "Run `dataver verify --deep` there"
                )
    lengths = [found.lengths[number] for number in taken]
    parts = [bytes(chunk) for chunk in contents] if some else [stored]
    return Verified(found.kind, frame.codec, parts, sum(lengths), b"".join(expected), lengths)


def without(frame: Verified, gone: Container[bytes], what: str) -> Verified | None:
    """A frame with none of these chunks, encoded again if it had any; None where nothing is left of it."""
    each = split_digests(frame.digests)
    kept = [number for number, digest in enumerate(each) if digest not in gone]
    if len(kept) == len(each):
        return frame
    if not kept:
        return None
    stored = frame.parts[0] if len(frame.parts) == 1 else b"".join(frame.parts)
    plain = decode_frame(memoryview(stored), frame.codec, frame.raw_bytes, what)
    ends = list(accumulate(frame.lengths))
    chunks = [bytes(plain[ends[number] - frame.lengths[number] : ends[number]]) for number in kept]
    codec, packed = (frame.codec, None) if frame.codec == Codec.RAW else compress_frame(chunks)
    lengths = [frame.lengths[number] for number in kept]
    parts = chunks if packed is None else [packed]
    return Verified(frame.kind, codec, parts, sum(lengths), b"".join(each[n] for n in kept), lengths)


class _Footers:
    """The frames of the source's packs by their offsets; the footers used last are kept."""

    def __init__(self, source: Side) -> None:
        self._source = source
        self._kept: OrderedDict[bytes, dict[int, PackFrame]] = OrderedDict()

    def load(self, packs: Collection[bytes], pool: Executor) -> None:
        """Read the footers of packs, many at a time, as far as they are not known."""
        lacking = [pack for pack in packs if pack not in self._kept]
        for pack, frames in zip(lacking, pool.map(self._read, lacking), strict=True):
            self._kept[pack] = frames
        for pack in packs:
            self._kept.move_to_end(pack)
        while len(self._kept) > max(FOOTERS_KEPT, len(packs)):
            self._kept.popitem(last=False)

    def frame(self, pack: bytes, offset: int) -> PackFrame:
        """A frame of a pack that was loaded."""
        found = self._kept[pack].get(offset)
        if found is None:
            raise DamagedError(
                f"the index of {self._source.url} names a frame at {offset} of {pack_key(pack)}, which has "
                "none there; nothing was recorded. Run `dataver verify` there"
            )
        return found

    def _read(self, pack: bytes) -> dict[int, PackFrame]:
        footer, _ = read_footer(self._source.session.store, pack)
        found: dict[int, PackFrame] = {}
        chunk = 0
        for frame in footer.frames:
            end = chunk + frame.chunk_count
            digests = footer.digests[DIGEST_BYTES * chunk : DIGEST_BYTES * end]
            if frame.stored_bytes <= FRAME_BYTES_MAX:
                found[frame.offset] = PackFrame(footer.kind, frame, digests, footer.lengths[chunk:end])
            chunk = end
        return found
