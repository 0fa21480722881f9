"""A segment of the index made anew: rows of others, but for packs that count no more, and footers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Protocol

from dataver.digest import DIGEST_BYTES
from dataver.format import segment as segment_format
from dataver.format.pack import Frame
from dataver.format.segment import Segment, SegmentFrame

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Listed(Protocol):
    """What a pack says that it holds: a footer, or a pack that was just put."""

    @property
    def frames(self) -> tuple[Frame, ...]: ...
    @property
    def lengths(self) -> tuple[int, ...]: ...
    @property
    def digests(self) -> bytes: ...


class Rows:
    """Collects rows; of equal keys the one that came first counts."""

    def __init__(self) -> None:
        self._packs: list[bytes] = []
        self._numbers: dict[bytes, int] = {}
        self._frames: list[SegmentFrame] = []
        self._keys: list[bytes] = []
        self._rows: list[npt.NDArray[np.uint32]] = []

    def add_segment(self, segment: Segment, dropped: Collection[bytes] = ()) -> bytes:
        """Take the rows of a segment, but for those of some packs; the keys of these (32 bytes each)."""
        import numpy as np

        packs = segment.packs()
        table = np.frombuffer(segment.frame_table(), dtype="<u4").reshape(-1, 5)
        stays = np.array([pack not in dropped for pack in packs], dtype=bool)[table[:, 0]]
        moved = np.cumsum(stays) - 1 + len(self._frames)
        rows = np.frombuffer(segment.rows(), dtype="<u4").reshape(-1, 3)
        keys = np.frombuffer(segment.keys(), dtype=np.uint8).reshape(-1, DIGEST_BYTES)
        kept = stays[rows[:, 0]]
        own = rows[kept]
        own[:, 0] = moved[own[:, 0]]
        self._rows.append(own)
        self._keys.append(keys[kept].tobytes())
        for frame in segment.frames():
            if packs[frame.pack] not in dropped:
                self._frames.append(frame._replace(pack=self._number(packs[frame.pack])))
        return bytes(keys[~kept].tobytes())

    def add_pack(self, name: bytes, listed: Listed, wanted: Sequence[bool]) -> None:
        """Take rows for those chunks of a pack that are wanted."""
        import numpy as np

        number = self._number(name)
        counts = [frame.chunk_count for frame in listed.frames]
        lengths = np.array(listed.lengths, dtype=np.int64)
        frame_of = np.repeat(np.arange(len(counts)), counts)
        raw = np.array([frame.raw_bytes for frame in listed.frames], dtype=np.int64)
        starts = np.cumsum(raw) - raw
        offsets = np.cumsum(lengths) - lengths - starts[frame_of]
        rows = np.column_stack([frame_of + len(self._frames), offsets, lengths]).astype("<u4")
        keys = np.frombuffer(listed.digests, dtype=np.uint8).reshape(-1, DIGEST_BYTES)
        mask = np.array(wanted, dtype=bool)
        self._rows.append(rows[mask])
        self._keys.append(keys[mask].tobytes())
        self._frames += [
            SegmentFrame(number, frame.offset, frame.stored_bytes, frame.raw_bytes, frame.codec)
            for frame in listed.frames
        ]

    def encode(self, nonce: bytes) -> bytes:
        """The bytes of the segment."""
        import numpy as np

        rows = np.concatenate(self._rows) if self._rows else np.zeros((0, 3), dtype="<u4")
        keys = b"".join(self._keys)
        return segment_format.encode(self._packs, self._frames, keys, rows.tobytes(), nonce)

    def _number(self, pack: bytes) -> int:
        number = self._numbers.setdefault(pack, len(self._packs))
        if number == len(self._packs):
            self._packs.append(pack)
        return number
