"""Writing packs: frames in, whole packs put to the store in the background."""

from __future__ import annotations

import os
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING

from dataver.column import Column
from dataver.compression import compress_frame
from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import StoreError
from dataver.format.pack import (
    HEADER_BYTES,
    NONCE_BYTES,
    SUFFIX_READ_BYTES,
    Footer,
    Frame,
    PackBuilder,
    PackKind,
    footer_length,
    parse_footer,
)
from dataver.hashing import FileHasher
from dataver.keys import PACK_FOLDER, pack_key
from dataver.store.base import Store, Upload, begin_upload, pack_bytes_max
from dataver.store.cached import cache_of
from dataver.values import NamedTuple, dataclass

if TYPE_CHECKING:
    from dataver.format.binary import Buffer

FRAME_BYTES_TARGET = 128 << 10
PACKS_IN_FLIGHT_MAX = 2
BLOCK_BYTES = 1 << 20
"""So many bytes are hashed and then written: they are still in the processor's cache."""

Nonce = Callable[[], bytes]


def random_nonce() -> bytes:
    """A nonce that no other object has."""
    return os.urandom(NONCE_BYTES)


@dataclass(frozen=True, slots=True)
class StoredPack:
    """A pack that is in the store: its frames, and its chunks as parallel columns."""

    name: Digest
    size_bytes: int
    frames: tuple[Frame, ...]
    lengths: Sequence[int]
    digests: Column


class NewFrame(NamedTuple):
    """A frame of chunks that were not known."""

    codec: int
    parts: Sequence[Buffer]
    raw_bytes: int
    digests: bytes
    lengths: list[int]
    checksum: int


class _Pack:
    """One pack on its way into the store.

    Its bytes are hashed and written in order. After an error nothing more of it is.
    """

    def __init__(self, store: Store, kind: PackKind, nonce: bytes) -> None:
        self.builder = PackBuilder(kind, nonce)
        self.frames: list[Frame] = []
        self.lengths = array("I")
        self.digests = Column()
        self._store = store
        self._upload: Upload | None = None
        self._hasher = FileHasher()
        self._fault: BaseException | None = None

    def append(self, parts: Sequence[Buffer]) -> None:
        """Hash and write the next bytes of the pack."""
        if self._fault is not None:  # what follows a gap must not be taken for the pack
            raise self._fault
        try:
            if self._upload is None:
                self._upload = begin_upload(self._store, PACK_FOLDER)
            for some in _runs(parts):
                for part in some:
                    self._hasher.update(part)
                self._upload.write(some)
        except BaseException as error:
            self._fault = error
            raise

    def finish(self) -> StoredPack:
        """Name the pack, all of which is written."""
        assert self._upload is not None
        name = self._hasher.digest()
        if not self._upload.finish(pack_key(name), barrier=False):
            raise StoreError(f"{pack_key(name)} exists already, though its name is new; nothing was recorded")
        return StoredPack(name, self.builder.size_bytes, tuple(self.frames), self.lengths, self.digests)

    def abandon(self) -> None:
        if self._upload is not None:
            self._upload.abandon()


def _runs(parts: Sequence[Buffer]) -> Iterator[list[Buffer]]:
    """The parts in runs of about `BLOCK_BYTES`."""
    run: list[Buffer] = []
    size_bytes = 0
    for part in parts:
        run.append(part)
        size_bytes += len(part)
        if size_bytes >= BLOCK_BYTES:
            yield run
            run, size_bytes = [], 0
    if run:
        yield run


class _Finishing(Thread):
    """A pack that is put by a thread of its own: to import pools takes as long as to write a pack."""

    def __init__(self, finish: Callable[[], StoredPack]) -> None:
        super().__init__(name="dataver-put")
        self._finish = finish
        self._stored: StoredPack | None = None
        self._fault: BaseException | None = None

    def run(self) -> None:
        try:
            self._stored = self._finish()
        except BaseException as error:  # noqa: BLE001 - raised by `result`
            self._fault = error

    def result(self) -> StoredPack:
        """Wait for it. Raises what the put raised."""
        self.join()
        if self._fault is not None:
            raise self._fault
        assert self._stored is not None
        return self._stored


class PackWriter:
    """Fills packs with frames, which go to the store as they come. For one thread.

    Nothing it wrote counts before a log entry names an index segment over it. Frames are not copied: they
    are hashed and written when there are `BLOCK_BYTES` of them, at `settle` and at the end. Other threads
    make packs durable, of which at most `PACKS_IN_FLIGHT_MAX` wait for that. `stored` is told the name of
    each pack as soon as it was put, from whichever thread put it.
    """

    def __init__(
        self,
        store: Store,
        kind: PackKind,
        *,
        nonce: Nonce = random_nonce,
        size_bytes_max: int | None = None,
        stored: Callable[[Digest], None] | None = None,
    ) -> None:
        self._store = store
        self._kind = kind
        self._nonce = nonce
        self._size_bytes_max = size_bytes_max or pack_bytes_max(store)
        self._tell = stored
        self._pack = _Pack(store, kind, nonce())
        self._parts_bytes = 0
        self._digests, self._digests_before = Column(), 0  # of all packs, and of those that are full
        self._open = [self._pack]
        self._waiting: deque[_Finishing] = deque()
        self._stored: list[StoredPack] = []

    def add(
        self,
        codec: int,
        parts: Sequence[Buffer],
        raw_bytes: int,
        digests: Buffer,
        lengths: Sequence[int],
        checksum: int | None = None,
    ) -> None:
        """Append a frame, as `PackBuilder.add` does. Its buffers are in use until `settle` or `close`."""
        weight = sum(map(len, parts)) + 64 + (DIGEST_BYTES + 4) * len(lengths)
        builder = self._pack.builder
        if builder.frame_count and builder.size_bytes + weight > self._size_bytes_max:
            self._seal(background=True)
        pack = self._pack
        pack.frames.append(pack.builder.add(codec, parts, raw_bytes, digests, lengths, checksum))
        pack.lengths.extend(lengths)
        self._digests += bytes(digests)
        self._parts_bytes += weight
        if self._parts_bytes >= BLOCK_BYTES:
            self.settle()

    def take(self, frame: NewFrame) -> None:
        """`add` a frame on its way in."""
        self.add(*frame)

    def settle(self) -> None:
        """Hash and write what was added: its buffers are free again."""
        self._pack.append(self._pack.builder.take())
        self._parts_bytes = 0

    def close(self) -> list[StoredPack]:
        """Put what is left; every pack that was written. Raises what a put raised."""
        try:
            if self._pack.builder.frame_count:
                self._seal(background=bool(self._stored or self._waiting))
            while self._waiting:
                self._wait()
        finally:
            self.abandon()
        return self._stored

    def abandon(self) -> None:
        """Wait for what is under way and write nothing more. What was put is garbage."""
        for finishing in self._waiting:
            if finishing.ident is not None:
                finishing.join()
        for pack in self._open:
            pack.abandon()
        self._open = []
        self._waiting.clear()

    def _seal(self, *, background: bool) -> None:
        pack = self._pack
        pack.digests = self._digests.part(self._digests_before, len(self._digests))
        self._digests_before = len(self._digests)
        pack.builder.end()
        self.settle()
        self._pack = _Pack(self._store, self._kind, self._nonce())
        self._open.append(self._pack)
        if not background:
            self._stored.append(self._finish(pack))
            return
        while len(self._waiting) >= PACKS_IN_FLIGHT_MAX:
            self._wait()
        finishing = _Finishing(partial(self._finish, pack))
        self._waiting.append(finishing)  # Before it begins: an interrupt then leaves nobody behind.
        finishing.start()

    def _wait(self) -> None:
        """Wait for the pack that is on its way for longest; until then `abandon` finds it."""
        self._stored.append(self._waiting[0].result())
        self._waiting.popleft()

    def _finish(self, pack: _Pack) -> StoredPack:
        stored = pack.finish()
        self._open.remove(pack)
        if self._tell is not None:
            self._tell(stored.name)
        return stored


class RecordWriter:
    """Packs metadata objects, neighbours in one compressed frame. For one thread."""

    def __init__(self, store: Store, *, nonce: Nonce = random_nonce) -> None:
        self._packs = PackWriter(store, PackKind.META, nonce=nonce)
        self._cache = cache_of(store)
        self._pending: list[tuple[bytes, bytes]] = []
        self._pending_bytes = 0

    def add(self, digest: bytes, data: bytes) -> None:
        """Store one object under its digest."""
        if self._pending and self._pending_bytes + len(data) > FRAME_BYTES_TARGET:
            self._flush()
        self._pending.append((digest, data))
        self._pending_bytes += len(data)
        if self._cache is not None:
            self._cache.put(digest, data)

    def close(self) -> list[StoredPack]:
        """Put what is left; every pack that was written."""
        self._flush()
        return self._packs.close()

    def _flush(self) -> None:
        if not self._pending:
            return
        parts = [data for _, data in self._pending]
        codec, stored = compress_frame(parts)
        digests = b"".join(digest for digest, _ in self._pending)
        self._packs.add(
            codec, parts if stored is None else [stored], self._pending_bytes, digests, list(map(len, parts))
        )
        self._pending, self._pending_bytes = [], 0


def read_footer(store: Store, name: bytes) -> tuple[Footer, int]:
    """What a pack says that it holds, and its size. `ObjectMissingError` where it is not there.

    `DamagedError` where its end is not one that a pack has. The frames themselves are not read.
    """
    key = pack_key(name)
    tail, size_bytes = store.get_suffix(key, SUFFIX_READ_BYTES)
    length = footer_length(tail, size_bytes, key)
    if length > len(tail):
        tail, size_bytes = store.get_suffix(key, length)
    whole = len(tail) == size_bytes
    header = tail[:HEADER_BYTES] if whole else store.get_ranges(key, [(0, HEADER_BYTES)])[0]
    return parse_footer(header, tail, size_bytes, key), size_bytes


class Counter:
    """Counts what a pack writer would write into packs of some size, for a dry run."""

    def __init__(self, pack_bytes: int) -> None:
        self.stored_bytes = 0
        self.frames = 0
        self._pack_bytes = pack_bytes

    @property
    def packs(self) -> int:
        """Packs of the size that is written."""
        return -(-self.stored_bytes // self._pack_bytes)

    def take(self, frame: NewFrame) -> None:
        """Count one frame."""
        self.frames += 1
        self.stored_bytes += sum(map(len, frame.parts)) + len(frame.digests) + 4 * len(frame.lengths)

    def settle(self) -> None:
        """Nothing is kept."""
