"""The index as it will be after a repair: segments that stay, and those that are being made."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from dataver.digest import DIGEST_BYTES, Digest
from dataver.format.segment import Place, Segment
from dataver.hashing import blake3_digest
from dataver.store.base import Store
from dataver.verify.findings import Findings
from dataver.verify.index import BlamingIndex


class MendedIndex(BlamingIndex):
    """Looks digests up in segments that are whole, of which some are in memory alone.

    Whoever asks for what none has finds it noted: in `missing`, and in `findings` as an object by itself.
    """

    def __init__(
        self,
        store: Store,
        segments: Mapping[bytes, Segment],
        skipped: Collection[bytes],
        erased: Collection[bytes] = (),
    ) -> None:
        """`erased` are the digests of what must not be stored again."""
        super().__init__(store, list(segments), skipped)
        self.erasures: frozenset[bytes] = frozenset(erased)
        self._open.update(segments)
        self.findings = Findings()
        self.missing: dict[bytes, str] = {}

    def add(self, data: bytes) -> Segment:
        """Search one more segment, by its bytes."""
        segment = Segment(data, "an index segment that is being made")
        name = blake3_digest(data)
        self._open[name] = segment
        self._names.append(name)
        return segment

    def lacks(self, digests: bytes) -> list[bool]:
        """For each of many digests (32 bytes each) whether it has no place, and should have one."""
        places = self.find_many(digests)
        if not self.erasures:
            return [place is None for place in places]
        each = (digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES))
        return [
            place is None and digest not in self.erasures for digest, place in zip(each, places, strict=True)
        ]

    def culprit(self, place: Place, digest: bytes) -> str | None:
        """None: what is named here was looked at before."""
        del place, digest
        return None

    def blame(self, digest: bytes, what: str) -> list[str]:
        """The digest itself, which is lost. Chunks that were erased on purpose are not asked for."""
        self.missing[digest] = what
        return [self.findings.add(f"{what} {Digest(digest)}", "it is nowhere to be found")]
