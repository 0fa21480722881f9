"""New packs for what was found whole elsewhere."""

from __future__ import annotations

from dataver.erased import Erasures
from dataver.format.pack import PackKind
from dataver.packs import PackWriter, StoredPack
from dataver.session import Session
from dataver.transfer.copying import Verified, without


class Writers:
    """One pack writer a kind of pack, made when it is needed. For one thread.

    What is `erased` is left out of every frame.
    """

    def __init__(self, session: Session, erased: Erasures) -> None:
        self._session = session
        self._erased = erased
        self._writers: dict[PackKind, PackWriter] = {}
        self.objects = 0
        self.size_bytes = 0

    def add(self, frame: Verified) -> None:
        """Store a frame, every chunk of which matches its digest."""
        if self._erased:
            kept = without(frame, self._erased.within(frame.kind), "a frame")
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
