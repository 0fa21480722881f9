"""An open repository, as the layers below the facade see it: store, log, index and objects together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from functools import partial

from dataver.chunk_index import ChunkIndex
from dataver.chunking import ChunkerParameters
from dataver.config import author as default_author
from dataver.config import default_jobs, signatures_required
from dataver.digest import Digest
from dataver.errors import BadInputError, DataverError
from dataver.format.operations import Genesis
from dataver.format.version import VersionRecord, decode_version
from dataver.hashing import Kind
from dataver.log.log import FORMAT, Identity, Log
from dataver.log.state import SEGMENT_NAME, State, VersionState
from dataver.objects import Objects
from dataver.packs import Nonce, random_nonce
from dataver.refs import Ref, Resolved, parse_ref, resolve
from dataver.store.base import Store
from dataver.store.cached import CachedStore, is_offline, writing_offline
from dataver.tree.manifest import ManifestNodes, root_of
from dataver.tree.schema import Link
from dataver.values import dataclass

FAR_READERS = 8


@dataclass(slots=True)
class Session:
    """One repository that is open. For one thread, save what it hands out.

    `at` is the number of the log entry whose state reads see; None is the newest. `require_signed`:
    readers get nothing that no trusted key signed. `nonce` is where the nonces of what it writes come
    from; only tests of the format give another one.
    """

    store: Store
    log: Log
    at: int | None = None
    jobs: int = 0
    require_signed: bool = False
    nonce: Nonce = random_nonce
    identity: Callable[[str], Identity] = Identity
    _index: ChunkIndex | None = field(default=None, repr=False)
    _records: dict[bytes, VersionRecord] = field(default_factory=dict, repr=False)

    def create(self, chunker: ChunkerParameters | None = None) -> None:
        """Make the repository. `AlreadyExistsError` where there is one; then nothing is changed."""
        chunker = chunker or ChunkerParameters()
        sizes = chunker.min_bytes, chunker.average_bytes, chunker.max_bytes
        self.log.create(Genesis(FORMAT, chunker.algorithm, *sizes), self.nonce(), self.who(None))

    @property
    def repository(self) -> str:
        """The repository's id: 32 hex digits."""
        return self.log.repository().hex()

    def set_jobs(self, jobs: int | None) -> None:
        """How many threads may work at once; None leaves it to the machine. `BadInputError` below 1."""
        if jobs is not None and jobs < 1:
            raise BadInputError(f"{jobs} jobs cannot do any work; 1 is the least")
        self.jobs = jobs or 0

    def readers(self) -> int:
        """How many threads read objects at a time: those that wait for a network need no processor."""
        return self.jobs or (FAR_READERS if isinstance(self.store, CachedStore) else default_jobs())

    def state(self) -> State:
        """The state that reads see: the newest, unless the session looks at another entry."""
        return self.log.state() if self.at is None else self.log.state_at(self.at)

    def newest(self) -> State:
        """The newest state, which is what writes build on."""
        if self.at is not None:
            raise BadInputError(
                "the repository is open as it was at an earlier time; writing needs the newest"
            )
        if is_offline(self.store):
            raise writing_offline(self.store)
        return self.log.state()

    def parameters(self) -> ChunkerParameters:
        """How this repository cuts."""
        genesis = self.log.genesis()
        return ChunkerParameters(
            genesis.chunker, genesis.chunk_bytes_min, genesis.chunk_bytes_average, genesis.chunk_bytes_max
        )

    def index(self, state: State | None = None, *, writing: bool = False) -> ChunkIndex:
        """The valid segments of the newest state.

        For writing it is one of its own, without what is marked for collection, that notes what was
        found where.
        """
        state = state or self.log.state()
        gone = state.marked() if writing else state.swept()
        packs = [name for name, kind in gone.items() if kind != SEGMENT_NAME]
        # Large segments first: most look-ups end there.
        ordered = sorted(state.segments(), key=lambda s: (-s.keys, s.name))
        segments = [s.name for s in ordered]
        sizes: dict[bytes, int] = {s.name: s.size_bytes for s in ordered}
        if self._index is None:
            self._index = ChunkIndex(self.store, segments, packs, sizes)
        elif self._index.names != segments or gone:
            self._index = self._index.replaced(segments, packs, sizes)
        self._index.tombstone = partial(_tombstone, state)
        return self._index.replaced(segments, packs, sizes, set()) if writing else self._index

    def objects(self, state: State | None = None) -> Objects:
        """Verified reads; what is missing is looked for again after the log was read again."""
        return Objects(self.store, self.index(state), self.index)

    def nodes(self, state: State | None = None, *, kept_bytes_max: int | None = None) -> ManifestNodes:
        """The manifests' nodes, of which so much is kept as they are stored, and again as they are read."""
        objects = Objects(self.store, self.index(state), self.index, frame_bytes_max=kept_bytes_max)
        return ManifestNodes(objects, kept_bytes_max)

    def resolve(self, text: str, state: State | None = None, *, require_signed: bool = False) -> Resolved:
        """What a ref means to a reader. `SignatureError` where it must be signed, and is not."""
        found = self.resolve_unsigned(text, state)
        if require_signed or self.require_signed or signatures_required():
            from dataver.signing.check import require, version_subject

            # By the newest entry, also where names are resolved by another one: a key may have lost trust.
            require(self.log.state(), version_subject(self.repository, found, self.record(found.version.id)))
        return found

    def resolve_unsigned(self, text: str, state: State | None = None) -> Resolved:
        """What a ref means: as the lock file pins it, unless reads look at another entry."""
        from dataver.pins import current_lock, resolve_pinned

        state = state or self.state()
        lock = current_lock() if self.at is None else None
        return resolve_pinned(state, parse_ref(text), lambda id: self.record(id, state), lock)

    def resolve_ref(self, ref: Ref, state: State) -> Resolved:
        """What a parsed ref means in a state, whatever is pinned: what writes build on."""
        return resolve(state, ref, lambda id: self.record(id, state))

    def record(self, version: Digest, state: State | None = None) -> VersionRecord:
        """A version's record."""
        record = self._records.get(version)
        if record is None:
            data = self.objects(state).record(Kind.VERSION, version)
            record = self._records[version] = decode_version(data, f"version {version}")
        return record

    def root(self, nodes: ManifestNodes, version: VersionState) -> Link:
        """The root of a version's manifest, with its `tree` digest."""
        return root_of(nodes, version.manifest)

    def who(self, author: str | None) -> Identity:
        """The identity of what is written now."""
        identity = self.identity(default_author(author))
        return Identity(identity.author, self.nonce, identity.write_id, identity.now_us)


def _tombstone(state: State, digest: bytes) -> DataverError | None:
    """What a reader is told of an object that is nowhere, if it was erased."""
    from dataver.erased import erased_error

    return erased_error(state, digest)
