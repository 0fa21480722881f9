"""Putting a branch's own versions on top of a head that came from another repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace

from dataver.digest import Digest
from dataver.errors import ConflictError
from dataver.format.node import Row
from dataver.format.provenance import in_part
from dataver.format.version import VersionRecord
from dataver.log.state import VersionState
from dataver.publish import changes_between, full_root, new_nodes, on_top, shown_paths
from dataver.refs import is_absent
from dataver.transfer.plan import Diverged, Plan
from dataver.transfer.side import Side
from dataver.tree.build import empty
from dataver.tree.schema import MANIFEST, Link, MemoryNodes, Node
from dataver.tree.update import update
from dataver.values import NamedTuple, dataclass


class NewVersion(NamedTuple):
    """A version that was put on top: its id, record, root and the run that made the one it stands for."""

    id: Digest
    record: VersionRecord
    root: Link
    run: bytes


@dataclass(slots=True)
class Rebased:
    """What became of a branch: `head` is where it goes, `objects` is the metadata to store for it."""

    head: Digest
    versions: list[NewVersion] = field(default_factory=list)
    objects: dict[bytes, bytes] = field(default_factory=dict)


class _BothNodes:
    """Manifest nodes of the receiver, and those of the source that are being copied."""

    schema = MANIFEST

    def __init__(self, source: Side, target: Side) -> None:
        self._source = source
        self._target = target

    def load(self, link: Link) -> Node:
        """A node from whichever side has it."""
        here = self._target.objects.index.find(link.digest) is not None
        return (self._target if here else self._source).nodes.load(link)

    def save(self, level: int, rows: Sequence[Row]) -> Link:
        """Reading only: new nodes go to a `MemoryNodes` over this."""
        raise TypeError(f"{len(rows)} rows of level {level}: this is only read from")


def rebase(made: Plan, diverged: Diverged, source: Side, target: Side) -> Rebased:
    """The branch's own versions, each as a change against its first parent, on top of the other head.

    They keep author, time, message, metadata and sources. What the other line has too is left out, and a
    version of which nothing is left. Nothing is written. Changes to the same paths are a
    `ConflictError`.
    """
    nodes = MemoryNodes(MANIFEST, _BothNodes(source, target))
    done = Rebased(diverged.there)
    head_root = full_root(nodes, _known(made, diverged.there, source, target))
    for version in _own(made, diverged, source, target):
        record = target.record(version.id)
        if record.parents:
            before = full_root(nodes, _known(made, record.parents[0], source, target))
        else:
            before = empty(nodes)
        edits = changes_between(nodes, before, full_root(nodes, version))
        ours, conflicts = on_top(edits, changes_between(nodes, before, head_root))
        if conflicts:
            raise ConflictError(
                f"{made.name}@{diverged.branch}: version {version.id} and what {source.url} has since both "
                f"changed {shown_paths(conflicts)}; nothing was changed. Without --rebase the other side's "
                f"versions come as they are; check out {made.name}@{diverged.there} then, bring your change "
                "there, and commit that"
            )
        root = update(nodes, head_root, ours)
        if root.identity == head_root.identity:
            continue
        put = replace(
            record,
            tree=Digest(root.identity),
            parents=(done.head,),
            extensions=in_part(record.extensions, f"version {version.id}"),
        )
        done.objects.update((digest, nodes.encoded[digest]) for digest in new_nodes(nodes, root))
        done.head = put.id()
        done.objects[done.head] = put.encode()
        done.versions.append(NewVersion(done.head, put, root, version.run))
        head_root = root
    return done


def _own(made: Plan, diverged: Diverged, source: Side, target: Side) -> list[VersionState]:
    """The versions of the branch since the lines parted, oldest first, along first parents."""
    theirs = made.ancestry.ancestors([diverged.there])
    own: list[VersionState] = []
    at: Digest | None = diverged.here
    while at is not None and at not in theirs:
        if is_absent(target.state, made.dataset, at):
            raise ConflictError(
                f"{made.name}@{diverged.branch} cannot be put on top of {diverged.there}: its history was "
                f"copied in part, and where the two lines parted is not known. `dataver pull {made.name} "
                f"--from {source.url}` without --depth brings the rest"
            )
        version = target.state.version(made.dataset, at)
        assert version is not None
        own.append(version)
        parents = target.record(at).parents
        at = parents[0] if parents else None
    if at is None and any(_in_neither(made, version, source, target) for version in theirs):
        # What both have may be among what is not there: made again, it would undo what was deleted since.
        raise ConflictError(
            f"{made.name}@{diverged.branch} cannot be put on top of {diverged.there}: what that descends "
            f"from was pruned in {source.url}, or left out when the history was copied, and where the two "
            f"lines parted is not known; nothing was changed. `dataver pull {made.name} --from URL --rebase` "
            "from a repository that still has it works"
        )
    return own[::-1]


def _in_neither(made: Plan, version: Digest, source: Side, target: Side) -> bool:
    return all(side.state.version(made.dataset, version) is None for side in (source, target))


def _known(made: Plan, version: Digest, source: Side, target: Side) -> VersionState:
    found = target.state.version(made.dataset, version) or source.state.version(made.dataset, version)
    if found is None:
        raise ConflictError(
            f"version {version} of {made.name} is in neither repository: it was pruned, or left out when the "
            "history was copied; pull without --depth from one that has it first"
        )
    return found
