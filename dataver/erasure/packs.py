"""Rewriting the packs that hold what is erased, without it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from dataver.chunk_index import ChunkIndex
from dataver.digest import Digest, split_digests
from dataver.errors import ObjectMissingError
from dataver.format.operations import IndexAdd
from dataver.format.pack import Footer, PackKind
from dataver.format.segment import Place
from dataver.gc.holding import Wanted
from dataver.gc.repack import frames_of
from dataver.keys import pack_key
from dataver.packs import PackWriter, read_footer
from dataver.segments import write_segment
from dataver.session import Session
from dataver.transfer.copying import Verified, verify_frame, without


def rewrite(
    session: Session,
    packs: Collection[Digest],
    gone: Wanted,
    index: ChunkIndex,
    all_of: ChunkIndex,
) -> list[IndexAdd]:
    """Copy what these packs have into new ones, without what is `gone` from packs of their kind.

    Gives the operation by which the new ones count. `index` knows what is elsewhere, which is not copied;
    `all_of` knows these packs too: what it does not know nothing needs. `DamagedError` where what is
    needed cannot be read.
    """
    writers: dict[PackKind, PackWriter] = {}
    copied: set[bytes] = set()
    try:
        for name in packs:
            for frame in _frames(session, name, gone, index, all_of, copied):
                writer = writers.get(frame.kind)
                if writer is None:
                    writer = writers[frame.kind] = PackWriter(session.store, frame.kind, nonce=session.nonce)
                writer.add(frame.codec, frame.parts, frame.raw_bytes, frame.digests, frame.lengths)
        new = [pack for writer in writers.values() for pack in writer.close()]
    finally:
        for writer in writers.values():
            writer.abandon()
    if not new:
        return []
    segment = write_segment(session.store, new, nonce=session.nonce)
    return [IndexAdd(segment.name, segment.keys, segment.size_bytes)]


def _frames(
    session: Session,
    name: Digest,
    gone_from: Wanted,
    index: ChunkIndex,
    all_of: ChunkIndex,
    copied: set[bytes],
) -> Iterator[Verified]:
    """The frames of a pack of which something is needed, without what is gone."""
    try:
        footer, _ = read_footer(session.store, name)
    except ObjectMissingError:
        return  # Deleted by an erasure that was interrupted, or by somebody else's.
    gone = gone_from(footer.kind)
    wanted = _needed(footer, gone, index, all_of) - copied
    for found in frames_of(footer):
        here = wanted.intersection(split_digests(found.digests)) - copied
        if not here:
            continue
        place = found.frame.offset, found.frame.stored_bytes
        stored = bytes(session.store.get_ranges(pack_key(name), [place])[0])
        what = f"the frame at {found.frame.offset} of {pack_key(name)} in {session.store.url}"
        frame = without(verify_frame(found, stored, here, what), gone, what)
        if frame is not None:
            copied |= here
            yield frame


def _needed(footer: Footer, gone: Collection[bytes], index: ChunkIndex, all_of: ChunkIndex) -> set[bytes]:
    """The digests in a pack that are named by a segment, and are nowhere else."""
    each = [digest for digest in dict.fromkeys(split_digests(footer.digests)) if digest not in gone]
    joined = b"".join(each)
    elsewhere: list[Place | None] = index.find_many(joined)
    named: list[Place | None] = all_of.find_many(joined)
    return {
        digest
        for digest, other, any_place in zip(each, elsewhere, named, strict=True)
        if other is None and any_place is not None
    }
