"""New packs for what was found whole elsewhere."""

from __future__ import annotations

from collections.abc import Collection
from itertools import accumulate

from dataver.digest import DIGEST_BYTES
from dataver.format.pack import PackKind
from dataver.packs import PackWriter, StoredPack
from dataver.repair.salvage import packed
from dataver.session import Session
from dataver.transfer.copying import Verified
from dataver.verify.packs import decode_frame


class Writers:
    """One pack writer a kind of pack, made when it is needed. For one thread.

    What is `erased` is left out of every frame.
    """

    def __init__(self, session: Session, erased: Collection[bytes] = ()) -> None:
        self._session = session
        self._erased = erased
        self._writers: dict[PackKind, PackWriter] = {}
        self.objects = 0
        self.size_bytes = 0

    def add(self, frame: Verified) -> None:
        """Store a frame, every chunk of which matches its digest."""
        if self._erased:
            kept = _without(frame, self._erased)
            if kept is None:
                return
            frame = kept
        writer = self._writers.get(frame.kind)
        if writer is None:
            writer = PackWriter(self._session.store, frame.kind, nonce=self._session.nonce)
            self._writers[frame.kind] = writer
        writer.add(frame.codec, frame.parts, frame.raw_bytes, frame.digests, frame.lengths)
        self.objects += len(frame.lengths)
        self.size_bytes += frame.raw_bytes

    def close(self) -> list[StoredPack]:
        """Put what is left; every pack that was written."""
        try:
            return [pack for writer in self._writers.values() for pack in writer.close()]
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Write nothing more. What was put is garbage."""
        for writer in self._writers.values():
            writer.abandon()


def _without(frame: Verified, erased: Collection[bytes]) -> Verified | None:
    """The frame, made again if something of it is erased; None where nothing else is in it."""
    each = [frame.digests[at : at + DIGEST_BYTES] for at in range(0, len(frame.digests), DIGEST_BYTES)]
    if not any(digest in erased for digest in each):
        return frame
    stored = memoryview(b"".join(frame.parts))
    plain = decode_frame(stored, frame.codec, frame.raw_bytes, "a frame")
    ends = list(accumulate(frame.lengths))
    kept = [number for number, digest in enumerate(each) if digest not in erased]
    if not kept:
        return None
    parts = [plain[ends[number] - frame.lengths[number] : ends[number]] for number in kept]
    return packed(frame.kind, [each[number] for number in kept], parts)
