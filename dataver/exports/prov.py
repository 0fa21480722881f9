"""W3C PROV of a version, a model or a run: what it came from, by whom and when.

Versions, models and sources are entities, runs and commits activities, authors agents. Ids are made of
digests, in the namespace of the repository; what people call a thing is its `prov:label`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dataver.exports.facts import URN, VersionFacts, facts_of, masked, plain_text
from dataver.exports.prov_text import Name, ProvDocument, ProvRecord
from dataver.hashing import blake3_digest
from dataver.history import to_time
from dataver.paths import safe_spelling
from dataver.results import rfc3339

if TYPE_CHECKING:
    from dataver.format.run_record import RunRecord
    from dataver.lineage.audit import AuditReport
    from dataver.lineage.graph import Lineage
    from dataver.version import Version

__all__ = ["prov_of_audit", "prov_of_version"]

Attributes = tuple[tuple[str, str], ...]


def prov_of_version(version: Version) -> ProvDocument:
    """A version and all that it came from."""
    lineage = version.repository.lineage(f"{version.dataset_name}@{version.id}", down=False)
    maker = _Maker(version.repository.id)
    maker.walk(lineage)
    maker.detail(facts_of(version))
    return maker.document()


def prov_of_audit(report: AuditReport) -> ProvDocument:
    """The model or the run of an audit, and all that it came from."""
    assert report.lineage is not None
    assert report.record is not None
    maker = _Maker(report.place.repository.id)
    maker.walk(report.lineage)
    maker.run(report.record)
    model, recorded = report.subject.model, report.recorded
    if model is not None and recorded is not None:
        maker.more[f"model:{model}"] = _said({
            "tree": recorded.tree, "uri": recorded.uri, "file": [
                f"{file.path} {file.size} blake3:{file.digest}" for file in recorded.files
            ],
        })  # fmt: skip
    return maker.document()


class _Maker:
    """Turns a lineage into records. Used once."""

    def __init__(self, repository: str) -> None:
        self._namespaces = {"dataver": f"{URN}terms:", "repo": f"{URN}repository:{repository}:"}
        self._nodes: dict[str, Mapping[str, Any]] = {}
        self._relations: list[ProvRecord] = []
        self._agents: dict[str, None] = {}
        self._activities: list[ProvRecord] = []
        self._runs: dict[str, RunRecord] = {}
        self._made: set[str] = set()
        self.more: dict[str, Attributes] = {}
        """Further attributes of nodes, by their ids."""

    def run(self, record: RunRecord) -> None:
        """Say all that the record of a run says."""
        self._runs[f"run:{record.run}"] = record

    def detail(self, facts: VersionFacts) -> None:
        """Say what the card and the sources of a version say."""
        said = {name: facts.field(name) for name in facts.written.fields}
        for id, node in self._nodes.items():
            if node["kind"] == "version" and node["version_id"] == facts.id:
                self.more[id] = _said({"tree": facts.tree, **said})

    def walk(self, lineage: Lineage) -> None:
        """Take the nodes and edges of a lineage."""
        self._nodes = dict(lineage.nodes)
        self._made = {
            edge.target
            for edge in lineage.edges
            if edge.kind == "made" and self._nodes[edge.target]["kind"] == "version"
        }
        for edge in lineage.edges:
            self._relations += self._related(edge.kind, edge.source, edge.target, edge.role)

    def _related(self, kind: str, source: str, target: str, role: str) -> Iterator[ProvRecord]:
        one, other = self._name(source), self._name(target)
        if kind == "read":
            attributes = (("prov:role", _text(role)),) if role else ()
            yield ProvRecord(
                "used", (("activity", other), ("entity", one), ("time", "")), attributes=attributes
            )
        elif kind == "made":
            yield ProvRecord("wasGeneratedBy", (("entity", other), ("activity", one), ("time", "")))
        elif kind == "started":
            yield ProvRecord("wasInformedBy", (("informed", other), ("informant", one)))
        elif kind in ("parent", "derived", "source", "part"):
            types = {"parent": Name("prov:Revision"), "source": Name("prov:PrimarySource")}
            attributes = (("prov:type", types.get(kind, Name(f"dataver:{kind}"))),)
            ends = (("generatedEntity", other), ("usedEntity", one))
            formal = (*ends, ("activity", ""), ("generation", ""), ("usage", ""))
            yield ProvRecord("wasDerivedFrom", formal, attributes=attributes)

    def document(self) -> ProvDocument:
        """All of it, in an order that depends on nothing else."""
        elements: list[ProvRecord] = []
        for id, node in self._nodes.items():
            elements += self._element(id, node)
        elements += self._activities
        agents = [
            ProvRecord("agent", id=_agent(author), attributes=(("prov:label", _text(author)),))
            for author in self._agents
        ]
        unique = dict.fromkeys([*elements, *agents, *self._relations])
        return ProvDocument(
            self._namespaces, sorted(unique, key=lambda record: (_order(record), repr(record)))
        )

    def _name(self, id: str) -> Name:
        node = self._nodes[id]
        kind = node["kind"]
        if kind == "run":
            return Name(f"repo:run-{node['run']}")
        if kind == "version":
            return Name(f"repo:version-{node['version_id']}")
        return Name(f"repo:{kind}-{blake3_digest(id.encode())}")

    def _element(self, id: str, node: Mapping[str, Any]) -> Iterator[ProvRecord]:
        kind, name = node["kind"], self._name(id)
        if kind == "run":
            yield from self._run(id, node, name)
            return
        said = _said({
            key: node.get(key)
            for key in ("dataset", "version_id", "part", "files", "bytes", "message", "url", "licence",
                        "collected_at", "collected_by", "method", "legal_basis", "digest", "note")
        })  # fmt: skip
        attributes = (
            ("prov:label", _text(id)),
            ("prov:type", Name(f"dataver:{kind}")),
            *dict.fromkeys([*said, *self.more.get(id, ())]),
        )
        yield ProvRecord("entity", id=name, attributes=attributes)
        author = node.get("author")
        if kind == "version" and author:
            self._agents[author] = None
            yield ProvRecord("wasAttributedTo", (("entity", name), ("agent", _agent(author))))
            if id not in self._made:
                self._commit(name, node)

    def _commit(self, version: Name, node: Mapping[str, Any]) -> None:
        """A version that no run made was made by its commit."""
        activity = Name(version.replace("version-", "commit-"))
        time = node["time"]
        self._activities += [
            ProvRecord(
                "activity", (("startTime", time), ("endTime", time)), activity,
                (("prov:type", Name("dataver:commit")),),
            ),
            ProvRecord("wasGeneratedBy", (("entity", version), ("activity", activity), ("time", time))),
            _associated(activity, node["author"]),
        ]  # fmt: skip

    def _run(self, id: str, node: Mapping[str, Any], name: Name) -> Iterator[ProvRecord]:
        record = self._runs.get(id)
        said = {} if record is None else _run_facts(record)
        attributes = (
            ("prov:label", _text(node.get("name") or id)),
            ("prov:type", Name("dataver:run")),
            *_said({"status": node.get("status"), **said}),
        )
        formal = (("startTime", node.get("started") or ""), ("endTime", node.get("ended") or ""))
        yield ProvRecord("activity", formal, name, attributes)
        if node.get("author"):
            self._agents[node["author"]] = None
            yield _associated(name, node["author"])


def _associated(activity: Name, author: str) -> ProvRecord:
    return ProvRecord("wasAssociatedWith", (("activity", activity), ("agent", _agent(author)), ("plan", "")))


def _agent(author: str) -> Name:
    return Name(f"repo:agent-{blake3_digest(author.encode())}")


def _run_facts(record: RunRecord) -> dict[str, Any]:
    code, environment = record.code, record.environment
    return {
        "command": list(record.command) and plain_text(list(record.command)),
        "reason": record.reason,
        "parameter": [f"{name}={plain_text(value)}" for name, value in record.params.items()],
        "metric": [f"{name}={plain_text(value)}" for name, value in record.metrics.items()],
        "seed": [f"{name}={plain_text(value)}" for name, value in record.seeds.items()],
        "code": code and code.url,
        "commit": code and code.commit,
        "dirty": code and str(code.dirty).lower(),
        "patch": code and code.patch,
        "python": environment and environment.python,
        "platform": environment and environment.platform,
        "packages": environment and environment.packages,
        "tracker": [f"{tracker.kind}:{tracker.run_id}" for tracker in record.trackers],
        "ended": None if record.ended_us is None else rfc3339(to_time(record.ended_us)),
    }


def _said(values: Mapping[str, Any]) -> Attributes:
    """Attributes of dataver's own, of what is not empty; one for each entry of a list."""
    return tuple(
        (f"dataver:{name}", _text(one))
        for name, value in values.items()
        for one in (value if isinstance(value, list) else [value])
        if one is not None and one != ""
    )


def _text(value: Any) -> str:
    """A text that XML can hold, too: what does not print is spelled out."""
    text = masked(value) if isinstance(value, str) else str(value)
    return "".join(sign if sign.isprintable() or sign in "\n\t" else safe_spelling(sign) for sign in text)


def _order(record: ProvRecord) -> int:
    kinds = (
        "entity", "activity", "agent", "wasGeneratedBy", "used", "wasInformedBy", "wasDerivedFrom",
        "wasAttributedTo", "wasAssociatedWith",
    )  # fmt: skip
    return kinds.index(record.kind)
