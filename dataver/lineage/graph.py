"""The graph of what was made of what, walked from one node up to its origins, down to its uses, or both.

An edge leads from what was there first to what came of it. Up goes against the edges, down along them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import field

from dataver.errors import BadInputError
from dataver.history import to_time
from dataver.lineage.holders import holders
from dataver.lineage.known import Known
from dataver.lineage.nodes import (
    HERE,
    ClaimedInput,
    ExternalNode,
    FileNode,
    ModelNode,
    Node,
    RunNode,
    SourceNode,
    VersionNode,
    parse_node,
)
from dataver.lineage.origins import derived_from, sources
from dataver.log.run_state import model_named
from dataver.results import Json, rfc3339
from dataver.session import Session
from dataver.tree.manifest import ManifestNodes, to_entry
from dataver.tree.walk import find
from dataver.values import dataclass

__all__ = ["NODES_MAX", "Edge", "Lineage", "lineage", "lineage_of"]

NODES_MAX = 10_000
"""So many nodes are walked to, the nearest first, unless the caller says otherwise."""


@dataclass(frozen=True, slots=True)
class Edge:
    """How `target` came of `source`.

    `kind` is `parent`, `derived`, `source`, `part`, `read`, `made`, `started`, `in`, `brought` or `same`;
    `role` and `ref` are those of a run's input.
    """

    source: str
    target: str
    kind: str
    role: str = ""
    ref: str = ""

    def to_json(self) -> Json:
        """`{"from", "to", "kind"}`, and `role` and `ref` where there are some."""
        found = {"from": self.source, "to": self.target, "kind": self.kind}
        return found | {key: value for key, value in (("role", self.role), ("ref", self.ref)) if value}


@dataclass(frozen=True, slots=True)
class Lineage:
    """What was found. `nodes` are facts by id, nearest first; `complete` is False where there is more."""

    start: str
    nodes: dict[str, Json] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    complete: bool = True

    def to_json(self) -> Json:
        """`{"start", "nodes": [{"id", "kind", …}…], "edges": [{"from", "to", "kind"}…], "complete"}`."""
        return {
            "start": self.start,
            "nodes": list(self.nodes.values()),
            "edges": [edge.to_json() for edge in self.edges],
            "complete": self.complete,
        }


def lineage(
    session: Session,
    text: str,
    *,
    up: bool = True,
    down: bool = True,
    depth: int | None = None,
    nodes_max: int = NODES_MAX,
) -> Lineage:
    """What the node that `text` names came from (`up`), and what came of it (`down`), `depth` edges far.

    `RefNotFoundError` or `BadInputError` where it names none. What a record names and is not here is
    a node all the same, with a `state` that says so.
    """
    if depth is not None and depth < 0:
        raise BadInputError(f"a depth of {depth} leads nowhere; 0 is the least")
    state = session.state()
    known = Known(session, state)
    start = parse_node(session, state, text)
    return lineage_of(known, start, up=up, down=down, depth=depth, nodes_max=nodes_max)


def lineage_of(
    known: Known,
    start: Node,
    *,
    up: bool = True,
    down: bool = True,
    depth: int | None = None,
    nodes_max: int = NODES_MAX,
) -> Lineage:
    """As `lineage`, from a node that was looked up."""
    steps = Steps(known)
    nodes: dict[str, Node] = {start.id: start}
    edges: dict[Edge, None] = {}
    complete = True
    for wanted, step in ((up, steps.up), (down, steps.down)):
        if wanted:
            complete &= _walk(step, start, depth, nodes_max, nodes, edges)
    facts = {id: facts_of(known, node) for id, node in nodes.items()}
    return Lineage(start.id, facts, list(edges), complete)


Step = Callable[[Node], Iterator[tuple[Node, Edge]]]


def _walk(
    step: Step,
    start: Node,
    depth: int | None,
    nodes_max: int,
    nodes: dict[str, Node],
    edges: dict[Edge, None],
) -> bool:
    """Add what is reached, nearest first; False where that is not all."""
    complete = True
    seen = {start.id}
    waiting: deque[tuple[Node, int]] = deque([(start, 0)])
    while waiting:
        node, distance = waiting.popleft()
        for other, edge in step(node):
            if depth is not None and distance >= depth:
                complete = False
                break
            if other.id not in nodes:
                if len(nodes) >= nodes_max:
                    return False
                nodes[other.id] = other
            edges[edge] = None
            if other.id not in seen:
                seen.add(other.id)
                waiting.append((other, distance + 1))
    return complete


class Steps:
    """The neighbours of a node, each with the edge between them."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def up(self, node: Node) -> Iterator[tuple[Node, Edge]]:
        """What the node came from."""
        if isinstance(node, VersionNode):
            yield from self._version_up(node)
        elif isinstance(node, RunNode):
            yield from self._run_up(node)
        elif isinstance(node, ModelNode):
            model = model_named(self._known.state, node.name, node.number)
            if model is not None:
                yield _from(RunNode(model.run), node, "made")
        elif isinstance(node, FileNode):
            yield _from(self._brought(node), node, "brought")
        elif isinstance(node, ExternalNode):
            yield from self._external_up(node)

    def down(self, node: Node) -> Iterator[tuple[Node, Edge]]:
        """What came of the node."""
        if isinstance(node, VersionNode):
            yield from self._version_down(node)
        elif isinstance(node, RunNode):
            yield from self._run_down(node)
        elif isinstance(node, FileNode):
            for version in holders(self._known, node.digest):
                yield _to(node, version.node, "in")
        elif isinstance(node, ExternalNode):
            for run in self._known.tracked(node):
                yield _to(node, RunNode(run), "same")
            if node.copy_of is not None:
                yield _to(node, self._claimed(node.copy_of), "same")

    def _external_up(self, node: ExternalNode) -> Iterator[tuple[Node, Edge]]:
        """The runs or the version that it is; where no run made it here, the versions read for it."""
        runs = self._known.tracked(node)
        for run in runs:
            yield _from(RunNode(run), node, "same")
        if node.copy_of is not None:
            yield _from(self._claimed(node.copy_of), node, "same")
        elif not runs:
            for claim in node.inputs or ():
                read = self._claimed(claim)
                yield read, Edge(read.id, node.id, "read", claim.role, claim.ref)

    def _claimed(self, claim: ClaimedInput) -> VersionNode:
        return self._known.version(bytes.fromhex(claim.version), claim.dataset, claim.repository)

    def _version_up(self, node: VersionNode) -> Iterator[tuple[Node, Edge]]:
        known = self._known
        if node.part:
            yield _from(_whole(node), node, "part")
            return
        record = known.version_record(node)
        for run in known.makers(node):
            yield _from(RunNode(run), node, "made")
        if record is None:
            return
        for source in sources(record):
            url = source.pop("url")
            yield _from(SourceNode(url, tuple(sorted(source.items()))), node, "source")
        for ancestor in derived_from(record):
            yield _from(
                known.version(ancestor.version, ancestor.dataset, ancestor.repository), node, "derived"
            )
        for parent in dict.fromkeys(record.parents):
            yield _from(known.version(parent, node.name), node, "parent")

    def _run_up(self, node: RunNode) -> Iterator[tuple[Node, Edge]]:
        record = self._known.run(node.run)
        if record is None:
            return
        for given in record.inputs:
            read = self._known.input_node(given)
            if read is not None:
                yield read, Edge(read.id, node.id, "read", given.role, given.ref)
        if record.parent:
            yield _from(RunNode(bytes.fromhex(record.parent)), node, "started")

    def _version_down(self, node: VersionNode) -> Iterator[tuple[Node, Edge]]:
        known = self._known
        parts: dict[str, VersionNode] = {}
        for run in known.readers(node.version):
            record = known.run(run)
            inputs = [] if record is None else record.inputs
            reads = [(known.input_node(given), given) for given in inputs]
            of_this = [(read, given) for read, given in reads if read and read.version == node.version]
            for read, given in of_this:
                if read.part and not node.part:
                    parts[read.id] = read
                elif read.part == node.part:
                    yield RunNode(run), Edge(node.id, RunNode(run).id, "read", given.role, given.ref)
            if not of_this and not node.part:
                # The log says so, though the record cannot be read.
                yield _to(node, RunNode(run), "read")
        for part in parts.values():
            yield _to(node, part, "part")
        if node.part:
            return
        for child in known.children(node.version):
            version = known.version(child)
            child_record = known.version_record(version)
            assert child_record is not None
            is_parent = node.version in child_record.parents
            yield _to(node, version, "parent" if is_parent else "derived")

    def _run_down(self, node: RunNode) -> Iterator[tuple[Node, Edge]]:
        for model in self._known.models(node.run):
            yield _to(node, model, "made")
        record = self._known.run(node.run)
        for output in () if record is None else record.outputs:
            version = self._known.version(
                bytes.fromhex(output.version), output.dataset, output.repository, output.number
            )
            yield _to(node, version, "made")

    def _brought(self, node: FileNode) -> VersionNode:
        """The oldest version, on the line of first parents, from which on the file is what it is there."""
        known = self._known
        nodes = ManifestNodes(known.objects)
        version = node.version
        path = node.path.encode()
        while True:
            record = known.version_record(version)
            parent = known.version(record.parents[0], version.name) if record and record.parents else None
            state = None if parent is None else known.version_state(parent)
            if parent is None or state is None:
                return version
            row = find(nodes, known.session.root(nodes, state), path)
            if row is None or to_entry(row).digest != node.digest:
                return version
            version = parent


def _from(other: Node, node: Node, kind: str) -> tuple[Node, Edge]:
    return other, Edge(other.id, node.id, kind)


def _to(node: Node, other: Node, kind: str) -> tuple[Node, Edge]:
    return other, Edge(node.id, other.id, kind)


def _whole(node: VersionNode) -> VersionNode:
    return VersionNode(node.name, node.version, node.number, node.state, node.dataset, node.repository)


# What is said of each node


def facts_of(known: Known, node: Node) -> Json:
    """`{"id", "kind", …}`."""
    facts: Json = {"id": node.id, "kind": node.kind}
    if isinstance(node, VersionNode):
        return facts | _version_facts(known, node)
    if isinstance(node, RunNode):
        return facts | _run_facts(known, node)
    if isinstance(node, ModelNode):
        model = model_named(known.state, node.name, node.number)
        return facts | {
            "name": node.name,
            "version": f"v{node.number}",
            "run": None if model is None else model.run.hex(),
        }
    if isinstance(node, FileNode):
        return facts | {"path": node.path, "digest": node.digest.hex(), "size": node.size}
    if isinstance(node, SourceNode):
        return facts | {"url": node.url} | {key: value for key, value in node.facts if key not in facts}
    return facts | {"tracked": list(node.tracked), "detail": node.detail}


def _version_facts(known: Known, node: VersionNode) -> Json:
    facts: Json = {
        "dataset": node.name,
        "version": f"v{node.number}" if node.number else None,
        "version_id": node.version.hex(),
        "state": node.state,
    }
    if node.part:
        return facts | {"part": node.part}
    if node.repository:
        facts["repository"] = node.repository
    state, record = known.version_state(node), known.version_record(node)
    if state is not None:
        facts |= {"files": state.files, "bytes": state.size_bytes}
    if record is not None:
        time = rfc3339(to_time(record.time_us))
        facts |= {"time": time, "author": record.author, "message": record.message}
    elif node.state == HERE:
        facts["state"] = "damaged"
    return facts


def _run_facts(known: Known, node: RunNode) -> Json:
    record = known.run(node.run)
    facts: Json = {"run": node.run.hex()}
    if record is None:
        return facts | {"state": "missing", "reason": known.fault(node.run)}
    started = rfc3339(to_time(record.started_us))
    ended = None if record.ended_us is None else rfc3339(to_time(record.ended_us))
    return facts | {
        "name": record.name,
        "status": record.status,
        "author": record.author,
        "started": started,
        "ended": ended,
    }
