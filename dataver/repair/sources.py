"""Where lost objects may still be: this machine's cache, other repositories, folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

from dataver.chunk_index import ChunkIndex
from dataver.chunking import ChunkerParameters
from dataver.digest import DIGEST_BYTES
from dataver.edits import Ingested
from dataver.errors import DamagedError, NewerFormatError, ObjectMissingError
from dataver.format.pack import PackKind
from dataver.format.segment import Place
from dataver.gc.repack import frames_of
from dataver.ingest import ingest
from dataver.keys import pack_key
from dataver.packs import NewFrame, read_footer
from dataver.progress import Progress
from dataver.repair.lost import Lost
from dataver.repair.salvage import packed
from dataver.session import Session
from dataver.source import Source
from dataver.source.columns import Picked
from dataver.store.base import Store
from dataver.store.disk_cache import DiskCache
from dataver.transfer.copying import PackFrame, Verified, verify_frame
from dataver.tree.build import build
from dataver.tree.schema import MANIFEST, MemoryNodes
from dataver.values import NamedTuple
from dataver.verify.packs import is_of
from dataver.verify.workers import in_order

Take = Callable[[Verified], None]
"""Stores a frame, every chunk of which matches its digest."""

_ELSEWHERE = Place(bytes(DIGEST_BYTES), 0, 0, 0, 0, 0, 0)


class HealingSource(Protocol):
    """A place that may have what is lost. `name` says which, without credentials."""

    @property
    def name(self) -> str: ...

    def heal(self, lost: Lost, take: Take) -> None:
        """Give what it has of what is lost, compared with the digests; more may come along."""


class FromCache:
    """What this user's cache keeps of a store that is far away."""

    name = "the cache of this machine"

    def __init__(self, cache: DiskCache) -> None:
        self._cache = cache

    def heal(self, lost: Lost, take: Take) -> None:
        for digest in lost.missing:
            data = self._cache.get(digest)
            if data is not None and is_of(None, digest, memoryview(data)):
                kind = PackKind.DATA if digest in lost.lengths else PackKind.META
                take(packed(kind, [digest], [bytes(data)]))


class _Wanted(NamedTuple):
    """A frame of another repository, and what is wanted of it."""

    pack: bytes
    frame: PackFrame
    digests: set[bytes]


class FromRepository:
    """Another repository: what it has under the same digests comes as it is stored there.

    Damage there is no error: what is whole comes.
    """

    def __init__(self, session: Session) -> None:
        self.name = session.store.url
        self._session = session

    def heal(self, lost: Lost, take: Take) -> None:
        jobs = self._session.readers()
        with ThreadPoolExecutor(jobs, thread_name_prefix="dataver-heal") as pool:
            for found in in_order(pool, self._read, self._frames(list(lost.missing)), jobs + 1):
                if found is not None:
                    take(found)

    def _frames(self, digests: Sequence[bytes]) -> Iterator[_Wanted]:
        places = self._session.index().find_many(b"".join(digests))
        packs: dict[bytes, dict[int, set[bytes]]] = {}
        for digest, place in zip(digests, places, strict=True):
            if place is not None:
                packs.setdefault(place.pack, {}).setdefault(place.frame_offset, set()).add(digest)
        for pack, wanted in packs.items():
            with suppress(DamagedError, NewerFormatError, ObjectMissingError):
                footer, _ = read_footer(self._session.store, pack)
                for frame in frames_of(footer):
                    if frame.frame.offset in wanted:
                        yield _Wanted(pack, frame, wanted[frame.frame.offset])

    def _read(self, wanted: _Wanted) -> Verified | None:
        """In a worker: read a frame and compare what is in it; None where that is not whole."""
        key, frame = pack_key(wanted.pack), wanted.frame.frame
        try:
            ranges = [(frame.offset, frame.stored_bytes)]
            stored = bytes(self._session.store.get_ranges(key, ranges)[0])
            return verify_frame(wanted.frame, stored, wanted.digests, f"a frame of {key} in {self.name}")
        except (DamagedError, NewerFormatError, ObjectMissingError):
            return None


class FromFolder:
    """A folder or URL with files, under whatever names: they are cut again as this repository cuts.

    Where it is what a version was made of, also the manifest and the lists of chunks are made again.
    """

    def __init__(
        self, source: Source, store: Store, parameters: ChunkerParameters, jobs: int, progress: Progress
    ) -> None:
        self.name = source.name
        self._source = source
        self._store = store
        self._parameters = parameters
        self._jobs = jobs
        self._progress = progress

    def heal(self, lost: Lost, take: Take) -> None:
        listing = self._source.files()
        files = Picked(listing, range(len(listing)))
        index = _OnlyLost(self._store, lost)
        self._progress.begin("reading files", len(files), files.size_bytes)
        try:
            done = ingest(
                self._source,
                files,
                _Sink(take),
                index,
                self._parameters,
                jobs=self._jobs,
                progress=self._progress,
            )
        finally:
            self._progress.end()
        for digest, data in _records(files, done).items():
            if digest in lost.missing:
                take(packed(PackKind.META, [digest], [data]))


class _Sink:
    """Takes the frames of chunks that are read from files."""

    def __init__(self, take: Take) -> None:
        self._take = take

    def take(self, frame: NewFrame) -> None:
        """Take one frame."""
        copies = [bytes(part) for part in frame.parts]
        self._take(
            Verified(PackKind.DATA, frame.codec, copies, frame.raw_bytes, frame.digests, frame.lengths)
        )

    def settle(self) -> None:
        """Frames are copied."""


class _OnlyLost(ChunkIndex):
    """Seems to have every chunk that is not lost, so that no other one is stored."""

    def __init__(self, store: Store, lost: Lost) -> None:
        super().__init__(store, [bytes(DIGEST_BYTES)])
        self._lost = lost.missing

    def find_many(self, digests: bytes) -> list[Place | None]:
        each = (digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES))
        return [None if digest in self._lost else _ELSEWHERE for digest in each]


def _records(files: Picked, done: Ingested) -> dict[bytes, bytes]:
    """The lists of chunks and the nodes of the manifest that files have."""
    nodes = MemoryNodes(MANIFEST)
    build(nodes, done.rows(files.each_path()))
    return {**done.list_nodes, **nodes.encoded}
