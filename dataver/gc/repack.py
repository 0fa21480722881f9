"""Rewriting packs of which little is alive, by copying their frames as they are stored.

The new pack counts, and the old one is marked, in one entry: what is in both is found in the new one
from then on, and the old one goes as any other.
"""

from __future__ import annotations

from collections.abc import Iterator

from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import DamagedError
from dataver.format.operations import IndexAdd, Operation
from dataver.format.pack import Footer, PackKind
from dataver.gc.holding import Wanted
from dataver.gc.live import Live
from dataver.keys import pack_key
from dataver.packs import PackWriter, StoredPack, read_footer
from dataver.segments import write_segment
from dataver.session import Session
from dataver.transfer.copying import PackFrame, Verified, verify_frame, without
from dataver.values import dataclass

LIVE_PART_MAX = 0.5
DEAD_BYTES_MIN = 1 << 20


@dataclass(frozen=True, slots=True)
class Repacked:
    """Packs that were rewritten, and the operations by which what was written counts."""

    old: tuple[Digest, ...]
    new: tuple[StoredPack, ...]
    operations: tuple[Operation, ...]


def worth_rewriting(live: Live) -> set[Digest]:
    """The packs with more dead than living bytes, where that is enough to be worth a copy."""
    return {
        Digest(name)
        for name, use in live.packs().items()
        if use.live_chunks
        and use.live_bytes < LIVE_PART_MAX * use.stored_bytes
        and use.stored_bytes - use.live_bytes >= DEAD_BYTES_MIN
    }


def repack(session: Session, live: Live, packs: list[Digest], gone: Wanted) -> Repacked:
    """Copy what is alive in these packs into new ones. `DamagedError` where that cannot be read.

    Neighbours in a frame come along, save what is `gone` from packs of their kind.
    """
    writers: dict[PackKind, PackWriter] = {}
    try:
        for name in packs:
            for frame in _living_frames(session, live, name, gone):
                writer = writers.get(frame.kind)
                if writer is None:
                    writer = PackWriter(session.store, frame.kind, nonce=session.nonce)
                    writers[frame.kind] = writer
                writer.add(frame.codec, frame.parts, frame.raw_bytes, frame.digests, frame.lengths)
        new = [pack for writer in writers.values() for pack in writer.close()]
    finally:
        for writer in writers.values():
            writer.abandon()
    if not new:
        return Repacked((), (), ())
    segment = write_segment(session.store, new, nonce=session.nonce)
    return Repacked(tuple(packs), tuple(new), (IndexAdd(segment.name, segment.keys, segment.size_bytes),))


def _living_frames(session: Session, live: Live, name: Digest, gone: Wanted) -> Iterator[Verified]:
    """The frames of a pack in which something is alive, read one by one and verified."""
    footer, _ = read_footer(session.store, name)
    alive, gone_here = live.frames_in(name), gone(footer.kind)
    for found in frames_of(footer):
        wanted = alive.pop(found.frame.offset, None)
        if not wanted:
            continue
        place = found.frame.offset, found.frame.stored_bytes
        stored = bytes(session.store.get_ranges(pack_key(name), [place])[0])
        what = f"the frame at {found.frame.offset} of {pack_key(name)} in {session.store.url}"
        frame = without(verify_frame(found, stored, wanted, what), gone_here, what)
        if frame is not None:
            yield frame
    if alive:
        raise DamagedError(
            f"{pack_key(name)} has no frame at {min(alive)}, where an index segment says that something is "
            "that is needed; nothing was collected. Run `dataver verify --deep`"
        )


def frames_of(footer: Footer) -> Iterator[PackFrame]:
    """Each frame of a pack with the digests and lengths of its chunks."""
    chunk = 0
    for frame in footer.frames:
        end = chunk + frame.chunk_count
        digests = footer.digests[DIGEST_BYTES * chunk : DIGEST_BYTES * end]
        yield PackFrame(footer.kind, frame, digests, footer.lengths[chunk:end])
        chunk = end
