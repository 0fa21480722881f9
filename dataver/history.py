"""What versions are, how they differ, and how lines of them meet."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dataver.digest import Digest
from dataver.errors import ConflictError, RefNotFoundError
from dataver.format.node import Row
from dataver.format.operations import ALIAS, BRANCH, MADE, READ, TAG
from dataver.format.version import VersionRecord
from dataver.log.state import RefState, State, VersionState
from dataver.refs import Resolved, is_absent, live_ref, require_dataset, require_version
from dataver.results import Changes, VersionInfo
from dataver.session import Session
from dataver.tree.build import empty
from dataver.tree.diff import diff
from dataver.tree.manifest import Entry, to_entry
from dataver.tree.schema import MANIFEST, Link, MemoryNodes
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.publish import Label, Published

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_time(time_us: int) -> datetime:
    """Whole microseconds since 1970 as an aware time in UTC."""
    return EPOCH + timedelta(microseconds=time_us)


def to_microseconds(time: datetime) -> int:
    """An aware time as whole microseconds since 1970."""
    return (time - EPOCH) // timedelta(microseconds=1)


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


def version_info(
    name: str,
    version: VersionState,
    record: VersionRecord,
    names: Names,
    absent: Iterable[Digest] = (),
) -> VersionInfo:
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
        absent=[str(parent) for parent in absent],
    )


def runs_of(state: State, version: VersionState, record: VersionRecord) -> tuple[list[str], list[str]]:
    """The runs that made a version, and those that read it, as far as they are recorded here."""
    from dataver.log.run_state import runs_of_version

    found = list(runs_of_version(state, version.id))
    own = [run for run in (version.run, record.run_id) if run]
    made = dict.fromkeys([*own, *(run for run, how in found if how & MADE)])
    return [run.hex() for run in made], [run.hex() for run, how in found if how & READ]


def absent_parents(state: State, dataset: bytes, record: VersionRecord) -> list[Digest]:
    """The parents of a version that are not here on purpose."""
    return [parent for parent in record.parents if is_absent(state, dataset, parent)]


def walk(session: Session, state: State, start: Resolved) -> Iterator[VersionInfo]:
    """The versions from `start` back, newest first, each once."""
    dataset, names = start.dataset, Names.of(state, start.dataset)
    for version, record in _ancestors(session, state, dataset, [start.version.id]):
        absent = absent_parents(state, dataset, record)
        yield version_info(start.name, version, record, names, absent)


def show(session: Session, state: State, found: Resolved) -> VersionInfo:
    """Everything about one version, with what it changed against its first parent, if that is here."""
    dataset, record = found.dataset, session.record(found.version.id, state)
    absent = absent_parents(state, dataset, record)
    info = version_info(found.name, found.version, record, Names.of(state, dataset), absent)
    made, read = runs_of(state, found.version, record)
    info = replace(info, runs=list(dict.fromkeys([*made, *read])), read_by=read)
    if record.parents and record.parents[0] in absent:
        return info
    parent = require_version(state, dataset, record.parents[0]) if record.parents else None
    return replace(info, changed=compare(session, state, parent, found.version).counts)


def _ancestors(
    session: Session,
    state: State,
    dataset: bytes,
    starts: Iterable[Digest],
    stop: Container[bytes] = (),
) -> Iterator[tuple[VersionState, VersionRecord]]:
    """Versions and all they descend from, children before their parents as far as clocks and numbers say.

    What those in `stop` descend from, and parents that are not here, are left out.
    """
    heap: list[tuple[int, int, int, bytes]] = []
    seen: set[bytes] = set()

    def push(id: Digest, entry: int | None, *, alone: bool) -> None:
        if id in seen or is_absent(state, dataset, id):
            return
        seen.add(id)
        version = require_version(state, dataset, id)
        # A parent that was copied from elsewhere may have come after its child, or together with it.
        entry = version.entry if entry is None else min(entry, version.entry)
        time_us = 0 if alone else session.record(id, state).time_us  # Alone it is next, whatever the time.
        heapq.heappush(heap, (-entry, -time_us, -version.number, id))

    for start in starts:
        push(start, None, alone=False)
    while heap:
        entry, _, _, key = heapq.heappop(heap)
        id = Digest(key)
        record = session.record(id, state)
        yield require_version(state, dataset, id), record
        parents = () if id in stop else record.parents
        for parent in parents:
            push(parent, -entry, alone=not heap and len(parents) == 1)


def merge_base(session: Session, state: State, dataset: bytes, a: Digest, b: Digest) -> VersionState | None:
    """The newest version that both descend from, or None. One that others of them descend from is not.

    `ConflictError` where it may be one that is not here on purpose.
    """
    of_a = {version.id: record.parents for version, record in _ancestors(session, state, dataset, [a])}
    found: list[VersionState] = []
    parents_b: set[Digest] = set()
    for version, record in _ancestors(session, state, dataset, [b], of_a):
        if version.id in of_a:
            found.append(version)
        else:
            parents_b.update(record.parents)
    if len(found) > 1:
        older = {
            version.id
            for one in found
            for version, _ in _ancestors(session, state, dataset, [one.id])
            if version.id != one.id
        }
        found = [version for version in found if version.id not in older]
    if any(True for _ in state.absent(dataset)):
        below = {version.id for version, _ in _ancestors(session, state, dataset, [one.id for one in found])}
        parents_a = {parent for id, parents in of_a.items() if id not in below for parent in parents}
        # Without a base, the one line may have left the other before what that ends at.
        either = parents_a & parents_b if found else parents_a | parents_b
        hidden = {parent for parent in either if is_absent(state, dataset, parent)}
        if hidden:
            raise ConflictError(_parted_unknown(state, dataset, (a, b), hidden))
    return max(found, key=lambda version: (version.entry, version.number, version.id), default=None)


def _parted_unknown(state: State, dataset: bytes, heads: tuple[Digest, Digest], hidden: set[Digest]) -> str:
    """Why two lines cannot be brought together, and what to do."""
    name = next((name for name, id in state.datasets() if id == dataset), "the dataset")
    condemned = {version for version, _ in state.condemned(dataset)}
    restore = "`dataver gc --restore` brings back what was pruned; so does " if condemned & hidden else ""
    return (
        f"where versions {heads[0]} and {heads[1]} of {name} parted is not known: what they descend from "
        "was pruned here, or left out when the history was copied. What one side deleted since cannot be "
        f"told from what the other added, so nothing was merged. {restore}`dataver pull {name} --from URL` "
        f"without --depth, from a repository that has it{'' if restore else ', brings it'}. Else check out "
        "one of both into another folder, bring the other's change there, and commit that"
    )


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

    `ConflictError` where both lines changed the same paths since they parted, and where that was is not here.
    """
    from dataver.publish import Basis, Change, Publisher, Written
    from dataver.relying import unless_collected

    state = session.newest()
    dataset = require_dataset(state, theirs.name)
    head = _require_branch(state, dataset, theirs.name, branch)
    with unless_collected(session, theirs.name, lambda: (theirs.version,)):
        base = merge_base(session, state, dataset, head.target, theirs.version.id)
        if base is not None and base.id == theirs.version.id:
            return None
        edits = _edits(session, state, base, theirs.version)
        change = Change(edits, Basis(base), onto=theirs.version.id, taken=(theirs.version,))
        return Publisher(session, theirs.name, branch, change, label, Written()).publish()


def _require_branch(state: State, dataset: bytes, name: str, branch: str) -> RefState:
    """The head of a branch of the dataset `name`, which must be there."""
    head = live_ref(state, dataset, branch)
    if head is None or head.kind != BRANCH:
        raise RefNotFoundError(f"{name} has no branch {branch!r}; `dataver branch REF {branch}` makes one")
    return head


def revert(session: Session, target: Resolved, branch: str, label: Label) -> Published:
    """A new version on a branch with the tree of an old one, and with its sources."""
    from dataver.origins import origins
    from dataver.publish import Basis, Change, Publisher, Written
    from dataver.relying import unless_collected

    state = session.newest()
    dataset = require_dataset(state, target.name)
    head = _require_branch(state, dataset, target.name, branch)
    base = require_version(state, dataset, head.target)
    with unless_collected(session, target.name, lambda: (base, target.version)):
        theirs, ours = (origins(session, replace(target, version=one)) for one in (target.version, base))
        if theirs.said != ours.said:
            # Said anew, also where it is nothing: what the versions between say is not of these files.
            label = replace(label, provenance=theirs.said)
        change = Change(_edits(session, state, base, target.version), Basis(base), taken=(target.version,))
        return Publisher(session, target.name, branch, change, label, Written()).publish()


def _edits(
    session: Session, state: State, a: VersionState | None, b: VersionState
) -> dict[bytes, Row | None]:
    nodes = MemoryNodes(MANIFEST, session.nodes(state))
    a_root: Link = empty(nodes) if a is None else session.root(session.nodes(state), a)
    b_root = session.root(session.nodes(state), b)
    return {path: new for path, _, new in diff(nodes, a_root, nodes, b_root)}
