"""Making a new version out of a change: tree, record, packs, segment, and the one log entry.

A change is a set of edits against a base version. It is put on top of the head that the log has
when the entry is written: where somebody moved the head and the changed paths do not overlap, the
edits are made there; where they do, it is a conflict.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field, replace
from itertools import chain
from typing import TYPE_CHECKING

from dataver.compact import choose, merge
from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import AlreadyExistsError, BadInputError, ConflictError
from dataver.format.limits import VERSION_TEXTS_BYTES_MAX
from dataver.format.node import Row
from dataver.format.operations import (
    BRANCH,
    TAG,
    BranchSet,
    DatasetCreate,
    IndexAdd,
    Operation,
    TagCreate,
    VersionAdd,
    VersionNumber,
)
from dataver.format.version import VersionRecord
from dataver.log.log import Identity
from dataver.log.state import State, VersionState
from dataver.packs import RecordWriter, StoredPack
from dataver.paths import safe_spelling
from dataver.recording import active_run
from dataver.refs import MAIN, check_new_ref, is_absent, live_ref, require_version
from dataver.relying import refuse_dropped, spare
from dataver.segments import write_segment
from dataver.session import Session
from dataver.tree.build import empty
from dataver.tree.diff import diff
from dataver.tree.manifest import FOLDER, manifest_link, to_entry
from dataver.tree.schema import MANIFEST, Link, MemoryNodes, NodeStore
from dataver.tree.update import update
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.format.provenance import Extension, Provenance

PATHS_SHOWN = 5

Edits = Mapping[bytes, "Row | None"]
Announce = Callable[[bytes, Digest, "Digest | None"], None]
"""Told the dataset's id, the version's, and that of the head it is put on top of if others moved it."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What a change is measured against: the tree of `version` (None: the empty one) with `own` on top.

    `own` are pairs of versions: what differs between them is made on top, one pair after the other.
    """

    version: VersionState | None
    own: tuple[tuple[VersionState, VersionState], ...] = ()

    @property
    def id(self) -> Digest | None:
        """The id of the version."""
        return None if self.version is None else self.version.id

    @property
    def versions(self) -> list[VersionState]:
        """All versions that it is made of."""
        own = [version for pair in self.own for version in pair]
        return own if self.version is None else [self.version, *own]

    def root(self, nodes: MemoryNodes) -> Link:
        """The root of the tree, in full; costs what the pairs differ in."""
        root = empty(nodes) if self.version is None else full_root(nodes, self.version)
        for old, new in self.own:
            root = update(nodes, root, changes_between(nodes, full_root(nodes, old), full_root(nodes, new)))
        return root


@dataclass(frozen=True, slots=True)
class Change:
    """What a new version changes: `edits` against the tree of `basis`.

    `onto` is another parent that is recorded beside the head: a merge's other line. `taken` are the versions
    that the edits take files from; what those need is relied on only as long as they are there.
    """

    edits: Edits
    basis: Basis
    onto: Digest | None = None
    taken: tuple[VersionState, ...] = ()


@dataclass(frozen=True, slots=True)
class Label:
    """What a new version says of itself. `time_us` None is the moment of recording.

    `provenance` None: it says nothing of where its data came from.
    """

    message: str
    identity: Identity
    time_us: int | None = None
    meta: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    allow_empty: bool = False
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        if self.provenance is not None:
            self.provenance.encode()  # What cannot be recorded fails before anything is read.
        size = 0
        for text in (self.message, *chain.from_iterable(self.meta)):
            try:
                size += len(text.encode())
            except (AttributeError, UnicodeEncodeError) as error:
                raise BadInputError(
                    f"{text!a:.100} cannot be the message or metadata of a version: text in UTF-8 is expected"
                ) from error
        if size > VERSION_TEXTS_BYTES_MAX:
            raise BadInputError(
                f"message and metadata have {size} bytes, and {VERSION_TEXTS_BYTES_MAX} are the most; "
                "put what is longer into a file"
            )

    def extensions(self, moved: bool) -> tuple[Extension, ...]:
        """The extensions of its record. `moved`: it is put on top of what others did, with their sources."""
        if self.provenance is None:
            return ()
        return (replace(self.provenance, partial=self.provenance.partial or moved).extension(),)


@dataclass(frozen=True, slots=True)
class Written:
    """Data that was put before: packs and chunk lists that the edits refer to, and their counts.

    `statistics` are records beside the version, each with what it is found under. `relied` are the packs in
    which chunks of the edits were found.
    """

    packs: Sequence[StoredPack] = ()
    list_nodes: Mapping[bytes, bytes] | None = None
    new_bytes: int = 0
    stored_bytes: int = 0
    statistics: Mapping[bytes, bytes] = field(default_factory=dict)
    relied: Collection[bytes] = ()
    check: Callable[[State], None] | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """What came of it. `created` is False where nothing changed; `version` is then the head, if any."""

    version: VersionState | None
    record: VersionRecord | None
    root: Link
    parent: VersionState | None
    created: bool
    rebased_onto: Digest | None


class Publisher:
    """Publishes one change to one branch. Used once."""

    def __init__(
        self,
        session: Session,
        dataset_name: str,
        branch: str,
        change: Change,
        label: Label,
        written: Written,
        announce: Announce | None = None,
    ) -> None:
        self._session = session
        self._name = dataset_name
        self._branch = branch
        self._change = change
        self._label = label
        self._written = written
        self._announce = announce
        self._stored_digests: set[bytes] = set()
        self._relied = {pack.name for pack in written.packs}.union(written.relied)
        self._segments: list[IndexAdd] = []
        self._data_packs = list(written.packs)
        self._dataset = session.nonce()
        self._time_us = label.time_us
        self._outcome: Published | None = None
        self._prepared: tuple[tuple[bytes | bool, ...], tuple[Operation, ...]] | None = None

    def publish(self) -> Published:
        """Append the entry. `ConflictError` where changed paths overlap, `AlreadyExistsError` for tags."""
        self._session.log.append(self._plan, self._label.identity)
        assert self._outcome is not None
        return self._outcome

    def _plan(self, state: State) -> tuple[Operation, ...] | None:
        dataset = state.dataset(self._name)
        creating = dataset is None
        dataset = self._dataset if dataset is None else dataset
        if self._written.check is not None:
            self._written.check(state)
        made_from = (*self._change.basis.versions, *self._change.taken)
        if any(state.version(dataset, version.id) is None for version in made_from):
            raise ConflictError(
                f"dataset {self._name} was renamed or deleted meanwhile, or a version that this was made "
                "from collected; nothing was committed"
            )
        start = self._starting_point(state, dataset)
        onto = dataset, *(() if start is None else (start[0].id, start[1]))
        if self._prepared is None or self._prepared[0] != onto:
            self._prepared = (onto, self._version(state, dataset, start))
        assert self._outcome is not None
        operations = list(self._prepared[1])
        operations += self._tags(state, dataset)
        if not operations:
            return None
        if creating:
            operations.insert(0, DatasetCreate(dataset, self._name))
        if self._outcome.created:
            operations += self._index_operations(state)
            refuse_dropped(self._session, state, self._written.relied)
            operations[:0] = spare(state, self._relied)
        return tuple(operations)

    def _starting_point(self, state: State, dataset: bytes) -> tuple[VersionState, bool] | None:
        """The version to build on, and whether the branch is there; None for the first version."""
        ref = live_ref(state, dataset, self._branch)
        if ref is not None:
            if ref.kind != BRANCH:
                raise AlreadyExistsError(
                    f"{self._branch!r} names something else than a branch; choose another name"
                )
            return require_version(state, dataset, ref.target), True
        check_new_ref(state, dataset, BRANCH, self._branch, Digest(bytes(DIGEST_BYTES)))
        return None if self._change.basis.version is None else (self._change.basis.version, False)

    def _version(
        self, state: State, dataset: bytes, start: tuple[VersionState, bool] | None
    ) -> tuple[Operation, ...]:
        """The operations that add the version on top of `start`, its objects put; none if nothing changed."""
        head, is_there = start or (None, False)
        nodes = MemoryNodes(MANIFEST, self._session.nodes(state))
        basis = self._change.basis
        moved = is_there and head is not None and (head.id != basis.id or bool(basis.own))
        head_root = empty(nodes) if head is None else full_root(nodes, head)
        if moved and head is not None:
            root = update(nodes, head_root, self._on_top(nodes, head, head_root))
        else:
            root = update(nodes, basis.root(nodes), self._change.edits)
        unchanged = root.identity == head_root.identity and not self._label.allow_empty
        if unchanged and (self._change.onto is None or self._has(state, dataset, head, self._change.onto)):
            record = None if head is None else self._session.record(head.id, state)
            self._outcome = Published(head, record, head_root, None, False, None)
            return ()
        if self._time_us is None:
            self._time_us = self._label.identity.now_us()
        parents = tuple(id for id in (head.id if head else None, self._change.onto) if id is not None)
        record = VersionRecord(
            root.identity if isinstance(root.identity, Digest) else Digest(root.identity),
            parents,
            self._time_us,
            self._label.identity.author,
            self._label.message,
            self._label.meta,
            active_run(),
            self._label.extensions(moved),
        )
        version = record.id()
        self._store(nodes, root, version, record, state)
        if self._announce is not None:
            self._announce(dataset, version, head.id if moved and head is not None else None)
        number = self._number(state, dataset, head if is_there else None) if self._branch == MAIN else 0
        files, size_bytes, written = root.rows, root.size_bytes, self._written
        added = VersionAdd(
            dataset, version, Digest(root.digest), files, size_bytes, written.new_bytes, written.stored_bytes,
            record.run_id,
        )  # fmt: skip
        expected = head.id if head is not None and is_there else None
        move = BranchSet(dataset, self._branch, expected, version, number, (version,) if number else ())
        made = VersionState(
            version, state.number + 1, number, added.manifest, files, size_bytes, written.new_bytes,
            written.stored_bytes, record.run_id,
        )  # fmt: skip
        # A merge has the head for a parent, wherever that was.
        onto = head.id if head is not None and moved and self._change.onto is None else None
        self._outcome = Published(made, record, root, head, True, onto)
        return (added, *self._numbers_before(state, dataset, version), move)

    def _numbers_before(self, state: State, dataset: bytes, version: Digest) -> list[Operation]:
        """The numbers that a version had before it was pruned: made again at its time, it is the same."""
        if self._label.time_us is None or self._branch == MAIN or not is_absent(state, dataset, version):
            return []
        numbers = [number for number, id in state.numbers(dataset) if id == version]
        return [VersionNumber(dataset, number, (version,)) for number in numbers]

    def _on_top(self, nodes: MemoryNodes, head: VersionState, head_root: Link) -> Edits:
        """The edits to make on a head that is not the base. Overlaps that differ are a `ConflictError`."""
        basis = self._change.basis
        theirs = changes_between(nodes, basis.root(nodes), head_root)
        ours, conflicts = on_top(self._change.edits, theirs)
        if conflicts:
            raise ConflictError(
                f"{self._name}@{self._branch} is at {head.id} and the change was made from "
                f"{basis.id or 'nothing'}: both sides changed {shown_paths(conflicts)}. Nothing was "
                "committed; check out the head into another folder, bring your change there, and commit that"
            )
        return ours

    def _number(self, state: State, dataset: bytes, head: VersionState | None) -> int:
        """The next number on `main`, whose head is `head`.

        Also above that of the other line, which brought it from where it was given.
        """
        if head is None:
            return state.next_number(dataset, 0)
        onto = None if self._change.onto is None else state.version(dataset, self._change.onto)
        return state.next_number(dataset, head.number and max(head.number, onto.number if onto else 0))

    def _has(self, state: State, dataset: bytes, head: VersionState | None, other: Digest) -> bool:
        """Whether `head` descends from `other`: somebody else made the same merge meanwhile."""
        waiting = [] if head is None else [head.id]
        seen = set(waiting)
        while waiting:
            id = waiting.pop()
            if id == other:
                return True
            if not is_absent(state, dataset, id):
                parents = [parent for parent in self._session.record(id, state).parents if parent not in seen]
                seen.update(parents)
                waiting.extend(parents)
        return False

    def _tags(self, state: State, dataset: bytes) -> list[Operation]:
        assert self._outcome is not None
        version = self._outcome.version
        operations: list[Operation] = []
        for tag in self._label.tags if version is not None else ():
            assert version is not None
            if check_new_ref(state, dataset, TAG, tag, version.id) is None:
                operations.append(TagCreate(dataset, tag, version.id))
        return operations

    def _store(
        self, nodes: MemoryNodes, root: Link, version: Digest, record: VersionRecord, state: State
    ) -> None:
        """Put the metadata that the repository does not have, and a segment over it and the data."""
        lists = self._written.list_nodes or {}
        others: dict[bytes, bytes] = {version: record.encode()}
        origins: dict[bytes, Mapping[bytes, bytes]] = dict.fromkeys(lists, lists)
        origins |= dict.fromkeys(new_nodes(nodes, root), nodes.encoded)
        origins |= dict.fromkeys(others, others)
        self._put(origins, state)
        statistics = self._written.statistics
        if statistics:
            # In a pack of their own: damage to it harms no file, and what all readers need stands together.
            self._put(dict.fromkeys(statistics, statistics), state)
        if self._data_packs:
            segment = write_segment(self._session.store, self._data_packs, nonce=self._session.nonce)
            self._segments.append(IndexAdd(segment.name, segment.keys, segment.size_bytes))
            self._relied.update(pack.name for pack in self._data_packs)
            self._relied.add(segment.name)
        self._data_packs = []

    def _put(self, origins: Mapping[bytes, Mapping[bytes, bytes]], state: State) -> None:
        """Put those records that the repository does not have into packs that await their segment.

        `origins` tells of each digest what its record is read from.
        """
        new = [digest for digest in origins if digest not in self._stored_digests]

        def read(digest: bytes) -> bytes:
            return origins[digest][digest]

        self._data_packs += put_records(self._session, new, read, state, self._relied)
        self._stored_digests.update(new)

    def _index_operations(self, state: State) -> list[Operation]:
        return [*self._segments, *merged_segments(self._session, state)]


def put_records(
    session: Session,
    digests: Sequence[bytes],
    read: Callable[[bytes], bytes],
    state: State,
    relied: set[bytes],
) -> list[StoredPack]:
    """Put those metadata objects that the repository does not have into packs, which await a segment.

    `read` gives the bytes of one. The packs that have the others are added to `relied`.
    """
    index = session.index(state, writing=True)
    places = index.find_many(b"".join(digests))
    relied |= index.relied or set()
    writer = RecordWriter(session.store, nonce=session.nonce)
    for digest, place in zip(digests, places, strict=True):
        if place is None:
            writer.add(digest, read(digest))
    return writer.close()


def merged_segments(session: Session, state: State) -> list[Operation]:
    """The operation that merges index segments, where there are enough of a size."""
    inputs = choose(state.segments())
    return [merge(session.store, inputs, session.nonce, state.marked())] if inputs else []


def on_top(edits: Edits, theirs: Edits) -> tuple[Edits, list[bytes]]:
    """The edits that are left to make where others made theirs, and the paths on which both differ."""
    ours = {key: row for key, row in edits.items() if key not in theirs or not _same(row, theirs[key])}
    give_way(ours, theirs)
    return ours, overlaps(ours, theirs)


def shown_paths(paths: Sequence[bytes]) -> str:
    """Some paths for a message, and how many more there are."""
    more = f" and {len(paths) - PATHS_SHOWN} more" if len(paths) > PATHS_SHOWN else ""
    return ", ".join(safe_spelling(path) for path in paths[:PATHS_SHOWN]) + more


def overlaps(ours: Edits, theirs: Edits) -> list[bytes]:
    """Our changed paths that are also theirs, or are a folder of a file of theirs, or lie below one."""
    removed = {path for path, row in ours.items() if _gives_way(row, theirs.get(path))}
    present = {path for path, row in theirs.items() if row is not None and path not in removed}
    folders = {folder for path in present for folder in _folders(path)}
    return sorted(
        path
        for path, row in ours.items()
        if (path in theirs and not _gives_way(row, theirs[path]))
        or (row is not None and (path in folders or any(folder in present for folder in _folders(path))))
    )


def give_way(ours: dict[bytes, Row | None], theirs: Edits) -> None:
    """An empty folder of one side gives way to files that the other side put into it."""
    folders = {folder for path, row in theirs.items() if row is not None for folder in _folders(path)}
    for path, row in list(ours.items()):
        if row is None:
            continue
        if path in folders and to_entry(row).kind == FOLDER:
            del ours[path]
        for folder in _folders(path):
            other = theirs.get(folder)
            if other is not None and to_entry(other).kind == FOLDER:
                ours[folder] = None


def _gives_way(ours: Row | None, theirs: Row | None) -> bool:
    """Whether we remove an empty folder that they have: files of ours are in it."""
    return ours is None and theirs is not None and to_entry(theirs).kind == FOLDER


def _folders(path: bytes) -> list[bytes]:
    parts = path.split(b"/")[:-1]
    return [b"/".join(parts[: count + 1]) for count in range(len(parts))]


def _same(a: Row | None, b: Row | None) -> bool:
    return (a is None) == (b is None) and (a is None or b is None or a.fixed == b.fixed)


def changes_between(nodes: NodeStore, old: Link, new: Link) -> dict[bytes, Row | None]:
    """What the tree `new` has otherwise than `old`."""
    return {key: row for key, _, row in diff(nodes, old, nodes, new)}


def full_root(nodes: NodeStore, version: VersionState) -> Link:
    """The complete link of a manifest's root: encoding it again gives its identity and counts."""
    node = nodes.load(manifest_link(version.manifest))
    return MANIFEST.encode(node.level, node.rows)[1]


def new_nodes(nodes: MemoryNodes, root: Link) -> list[bytes]:
    """The digests of the new nodes below `root` and of itself, leaves in path order before their parents."""
    found: dict[bytes, None] = {}

    def collect(link: Link, level: int) -> None:
        if link.digest not in nodes.encoded or link.digest in found:
            return
        for row in nodes.load(link).rows if level else ():
            collect(MANIFEST.link(row), level - 1)
        found[link.digest] = None

    collect(root, nodes.load(root).level)
    return list(found)
