"""What versions are, how they differ, and how lines of them meet."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dataver.digest import Digest
from dataver.errors import BadInputError, RefNotFoundError
from dataver.format.limits import TIME_US_MAX, TIME_US_MIN
from dataver.format.node import Row
from dataver.format.operations import ALIAS, BRANCH, TAG
from dataver.format.version import VersionRecord
from dataver.log.state import RefState, State, VersionState
from dataver.publish import Basis, Change, Label, Published, Publisher, Written
from dataver.refs import Resolved, live_ref, require_dataset, require_version
from dataver.results import Changes, VersionInfo
from dataver.session import Session
from dataver.tree.build import empty
from dataver.tree.diff import diff
from dataver.tree.manifest import Entry, to_entry
from dataver.tree.schema import MANIFEST, Link, MemoryNodes

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_time(time_us: int) -> datetime:
    """Whole microseconds since 1970 as an aware time in UTC."""
    return EPOCH + timedelta(microseconds=time_us)


def read_time(time: datetime | str) -> int:
    """A time, or its spelling in RFC 3339, as whole microseconds since 1970; UTC where no zone is named."""
    if isinstance(time, str):
        try:
            time = datetime.fromisoformat(time)
        except ValueError as error:
            raise BadInputError(
                f"{time!r} is not a time: RFC 3339 is expected, as 2026-01-31T09:30:00Z"
            ) from error
    aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    time_us = (aware - EPOCH) // timedelta(microseconds=1)
    if not TIME_US_MIN <= time_us <= TIME_US_MAX:
        raise BadInputError(f"{aware.isoformat()} is not in the years 1 to 9999, UTC")
    return time_us


@dataclass(frozen=True, slots=True)
class Names:
    """The live refs of a dataset by the version they point at."""

    by_version: dict[bytes, dict[int, list[str]]]

    @classmethod
    def of(cls, state: State, dataset: bytes) -> Names:
        """Read them from a state."""
        found: dict[bytes, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        for ref in state.refs(dataset):
            if not ref.deleted:
                found[ref.target][ref.kind].append(ref.name)
        return cls(found)

    def at(self, version: bytes, kind: int) -> list[str]:
        """The names of this kind that point at a version."""
        return self.by_version.get(version, {}).get(kind, [])


def version_info(name: str, version: VersionState, record: VersionRecord, names: Names) -> VersionInfo:
    """Everything that `show` says of a version."""
    return VersionInfo(
        dataset=name,
        version=f"v{version.number}" if version.number else None,
        id=str(version.id),
        parents=[str(parent) for parent in record.parents],
        tree=str(record.tree),
        files=version.files,
        bytes=version.size_bytes,
        new_bytes=version.new_bytes,
        stored_bytes=version.stored_bytes,
        message=record.message,
        author=record.author,
        time=to_time(record.time_us),
        tags=names.at(version.id, TAG),
        aliases=names.at(version.id, ALIAS),
        branches=names.at(version.id, BRANCH),
        meta=dict(record.meta),
        runs=[run.hex() for run in {version.run, record.run_id} if run],
    )


def walk(session: Session, state: State, start: Resolved) -> Iterator[VersionInfo]:
    """The versions from `start` back, newest first, each once."""
    names = Names.of(state, start.dataset)
    for version, record in _ancestors(session, state, start.dataset, [start.version.id]):
        yield version_info(start.name, version, record, names)


def _ancestors(
    session: Session, state: State, dataset: bytes, starts: Iterable[Digest]
) -> Iterator[tuple[VersionState, VersionRecord]]:
    """Versions and all they descend from, children before their parents as far as clocks and numbers say."""
    heap: list[tuple[int, int, bytes]] = []
    seen: set[bytes] = set()

    def push(id: Digest) -> None:
        if id not in seen:
            seen.add(id)
            version = require_version(state, dataset, id)
            heapq.heappush(heap, (-version.entry, -version.number, id))

    for start in starts:
        push(start)
    while heap:
        id = Digest(heapq.heappop(heap)[2])
        record = session.record(id, state)
        yield require_version(state, dataset, id), record
        for parent in record.parents:
            push(parent)


def merge_base(session: Session, state: State, dataset: bytes, a: Digest, b: Digest) -> VersionState | None:
    """The newest version that both descend from, or None."""
    of_a = {version.id for version, _ in _ancestors(session, state, dataset, [a])}
    for version, _ in _ancestors(session, state, dataset, [b]):
        if version.id in of_a:
            return version
    return None


def compare(session: Session, state: State, a: VersionState | None, b: VersionState) -> Changes:
    """What changed from `a` (None: nothing) to `b`. Reads only nodes that are not in both."""
    nodes = MemoryNodes(MANIFEST, session.nodes(state))
    a_root = empty(nodes) if a is None else session.root(session.nodes(state), a)
    b_root = session.root(session.nodes(state), b)
    return changes_of(
        (path, None if old is None else to_entry(old), None if new is None else to_entry(new))
        for path, old, new in diff(nodes, a_root, nodes, b_root)
    )


def changes_of(differences: Iterable[tuple[bytes, Entry | None, Entry | None]]) -> Changes:
    """Added, modified, deleted and renamed paths.

    Renamed: a deleted and an added file that are equal in kind, executable bit and digest, with
    more than 0 bytes, paired in path order.
    """
    added: list[Entry] = []
    deleted: list[Entry] = []
    modified: list[str] = []
    for path, old, new in differences:
        if old is None and new is not None:
            added.append(new)
        elif new is None and old is not None:
            deleted.append(old)
        else:
            modified.append(path.decode())
    origins: dict[tuple[object, ...], list[Entry]] = defaultdict(list)
    for entry in sorted(deleted, reverse=True):
        if entry.size:
            origins[entry.identity].append(entry)
    renamed: list[tuple[str, str]] = []
    new_paths: list[str] = []
    moved: set[bytes] = set()
    for entry in sorted(added):
        candidates = origins.get(entry.identity)
        if entry.size and candidates:
            origin = candidates.pop()
            moved.add(origin.path)
            renamed.append((origin.path.decode(), entry.path.decode()))
        else:
            new_paths.append(entry.path.decode())
    gone = [entry.path.decode() for entry in sorted(deleted) if entry.path not in moved]
    return Changes(new_paths, sorted(modified), gone, sorted(renamed))


def merge(session: Session, theirs: Resolved, branch: str, label: Label) -> Published | None:
    """Bring the changes of `theirs` onto a branch. None where the branch has them already.

    `ConflictError` where both lines changed the same paths since they parted.
    """
    state = session.newest()
    dataset = require_dataset(state, theirs.name)
    head = _require_branch(state, dataset, theirs.name, branch)
    base = merge_base(session, state, dataset, head.target, theirs.version.id)
    if base is not None and base.id == theirs.version.id:
        return None
    edits = _edits(session, state, base, theirs.version)
    change = Change(edits, Basis(base), onto=theirs.version.id)
    return Publisher(session, theirs.name, branch, change, label, Written()).publish()


def _require_branch(state: State, dataset: bytes, name: str, branch: str) -> RefState:
    """The head of a branch of the dataset `name`, which must be there."""
    head = live_ref(state, dataset, branch)
    if head is None or head.kind != BRANCH:
        raise RefNotFoundError(f"{name} has no branch {branch!r}; `dataver branch REF {branch}` makes one")
    return head


def revert(session: Session, target: Resolved, branch: str, label: Label) -> Published:
    """A new version on a branch with the tree of an old one."""
    state = session.newest()
    dataset = require_dataset(state, target.name)
    head = _require_branch(state, dataset, target.name, branch)
    base = require_version(state, dataset, head.target)
    change = Change(_edits(session, state, base, target.version), Basis(base))
    return Publisher(session, target.name, branch, change, label, Written()).publish()


def _edits(
    session: Session, state: State, a: VersionState | None, b: VersionState
) -> dict[bytes, Row | None]:
    nodes = MemoryNodes(MANIFEST, session.nodes(state))
    a_root: Link = empty(nodes) if a is None else session.root(session.nodes(state), a)
    b_root = session.root(session.nodes(state), b)
    return {path: new for path, _, new in diff(nodes, a_root, nodes, b_root)}
