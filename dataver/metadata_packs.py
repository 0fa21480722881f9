"""Metadata of stores that are far away: the neighbours of what is read come with it.

A pack's footer names all that is in it, and the nodes that are wanted next stand beside each other.
So the end of a pack is read first, which brings the footer and what was written last: a version's
record and the upper nodes of its manifest. Reads that follow each other fetch more each time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from dataver.digest import DIGEST_BYTES
from dataver.errors import DamagedError
from dataver.format.pack import FRAME_HEADER_BYTES, footer_length, parse_columns
from dataver.format.segment import Place
from dataver.keys import pack_key
from dataver.store.base import Store, View

END_READ_BYTES = 256 << 10
READ_BYTES_MIN = 256 << 10
READ_BYTES_MAX = 4 << 20
BLOCKS_KEPT_BYTES = 32 << 20


class MetadataPacks:
    """What the footers of packs say, and the bytes around what was asked for. For several threads.

    Nothing here is verified: the caller compares the digest of each object.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places: dict[bytes, Place] = {}
        self._ends: dict[bytes, int] = {}
        self._blocks: OrderedDict[tuple[bytes, int], View] = OrderedDict()
        self._blocks_bytes = 0
        self._last: dict[bytes, tuple[int, int, int]] = {}
        self._lock = threading.RLock()

    def place(self, digest: bytes) -> Place | None:
        """Where an object is, if a footer that was read names it."""
        return self._places.get(digest)

    def look_into(self, pack: bytes) -> None:
        """Read the end of a pack, once. `ObjectMissingError` where there is no pack."""
        with self._lock:
            if pack in self._ends:
                return
            key = pack_key(pack)
            data, size = self._store.get_suffix(key, END_READ_BYTES)
            try:
                length = footer_length(data, size, key)
                if length > len(data):
                    data, size = self._store.get_suffix(key, length)
                self._take_footer(pack, data, size, length)
            except DamagedError:
                # The index knows the places too, and what is read there is compared.
                self._ends[pack] = size
            self._keep(pack, size - len(data), data)

    def _take_footer(self, pack: bytes, data: View, size: int, length: int) -> None:
        footer = parse_columns(memoryview(data)[len(data) - length :], size, pack_key(pack))
        chunk = 0
        for frame in footer.frames:
            offset = 0
            for number in range(chunk, chunk + frame.chunk_count):
                digest = footer.digests[DIGEST_BYTES * number : DIGEST_BYTES * (number + 1)]
                self._places[digest] = Place(
                    pack, frame.offset, frame.stored_bytes, frame.raw_bytes, frame.codec,
                    offset, footer.lengths[number],
                )  # fmt: skip
                offset += footer.lengths[number]
            chunk += frame.chunk_count
        self._ends[pack] = size - length

    def forget(self, pack: bytes) -> None:
        """Believe nothing more of a pack: it is missing, or what was read of it is wrong."""
        with self._lock:
            self._places = {digest: place for digest, place in self._places.items() if place.pack != pack}
            self._ends.pop(pack, None)
            for key in [key for key in self._blocks if key[0] == pack]:
                self._blocks_bytes -= len(self._blocks.pop(key))

    def read(self, pack: bytes, start: int, length: int) -> View:
        """Bytes of a pack, at hand or read with those behind them. `ObjectMissingError` as a store."""
        with self._lock:
            for (other, at), block in reversed(self._blocks.items()):
                if other == pack and at <= start and start + length <= at + len(block):
                    self._blocks.move_to_end((other, at))
                    return memoryview(block)[start - at : start - at + length]
            last_start, last_end, window = self._last.get(pack, (start, 0, 0))
            follows = last_start < start <= last_end + FRAME_HEADER_BYTES
            window = min(2 * window, READ_BYTES_MAX) if follows else READ_BYTES_MIN
            end = max(start + length, min(start + window, self._ends.get(pack, 0)))
            block = self._store.get_ranges(pack_key(pack), [(start, end - start)])[0]
            self._last[pack] = (start, end, window)
            self._keep(pack, start, block)
            return memoryview(block)[:length]

    def _keep(self, pack: bytes, start: int, block: View) -> None:
        replaced = self._blocks.pop((pack, start), b"")
        self._blocks[pack, start] = block
        self._blocks_bytes += len(block) - len(replaced)
        while self._blocks_bytes > BLOCKS_KEPT_BYTES and len(self._blocks) > 1:
            self._blocks_bytes -= len(self._blocks.popitem(last=False)[1])
