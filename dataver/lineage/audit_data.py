"""The data of a model: which versions, whether they are there, what they share, how they drifted since."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from itertools import combinations
from typing import Any, Protocol

from dataver.errors import BadInputError, DataverError
from dataver.format.operations import TAG
from dataver.format.provenance import UNVERIFIED
from dataver.history import to_time
from dataver.lineage.known import Known, part_of
from dataver.lineage.nodes import DELETED, ELSEWHERE, HERE, ClaimedInput, VersionNode
from dataver.progress import Progress
from dataver.refs import MAIN, is_exact, parse_ref
from dataver.results import Json, OverlapResult, VerifyReport, rfc3339
from dataver.session import Session
from dataver.values import dataclass

__all__ = ["Input", "Place", "Reads", "drift_of", "inputs_of", "overlaps_of", "verify_inputs"]

PAIRS_MAX = 20
DRIFTED_SHOWN = 10


class Reads(Protocol):
    """What an audit asks of an open repository: what `dataver.Repository` is."""

    session: Session

    @property
    def id(self) -> str: ...
    @property
    def url(self) -> str: ...
    def version(self, ref: str) -> Any: ...
    def overlap(self, a: str, b: str, *, by: Any = None) -> OverlapResult: ...
    def drift(self, a: str, b: str, *, compute: bool = True) -> Any: ...
    def verify(
        self, ref: str | None = None, *, deep: bool = False, progress: Progress | None = None
    ) -> VerifyReport: ...


@dataclass(slots=True)
class Place:
    """A repository that has some of the versions, and what is known of it."""

    repository: Reads
    known: Known


@dataclass(slots=True)
class Input:
    """One input: what was claimed, the version where it was found, and what came of looking at it.

    `broken` are pairs of a path, or nothing for all of it, and what is wrong. `verified` is None where
    nobody looked at the bytes.
    """

    claim: ClaimedInput
    node: VersionNode
    place: Place | None = None
    rows: int | None = None
    verified: bool | None = None
    floating: bool = False
    broken: list[tuple[str, str]] = field(default_factory=list)

    @property
    def unverified(self) -> str:
        """Why its bytes may be others than those that were read, where the version itself says so."""
        record = None if self.place is None else self.place.known.version_record(self.node)
        return "" if record is None else dict(record.meta).get(UNVERIFIED, "")

    @property
    def ref(self) -> str:
        """A ref that means this version where it was found."""
        return f"{self.node.name}@{self.node.version.hex()}"

    @property
    def part(self) -> str:
        """The part that was read; empty for a whole version."""
        return part_of(self.claim.split)

    @property
    def definition(self) -> Mapping[str, Any] | None:
        """What made the part, where it is recorded: else the version has it itself."""
        definition = (self.claim.split or {}).get("definition")
        return definition if isinstance(definition, Mapping) else None

    @property
    def part_by(self) -> str:
        """The part as `definition` knows it: the name of a split is one of the version's own."""
        return self.part.rpartition("/")[2] if self.definition is not None else self.part

    @property
    def rows_ref(self) -> str:
        """A ref that means the part."""
        return f"{self.ref}:{self.part_by}" if self.part else self.ref

    @property
    def name(self) -> str:
        """The node, for people."""
        return self.node.id

    def to_json(self) -> Json:
        """What `audit --json` has of it."""
        claim, node = self.claim, self.node
        facts: Json = {
            "role": claim.role, "ref": claim.ref, "node": node.id, "dataset": node.name,
            "version": f"v{node.number}" if node.number else None, "id": node.version.hex(),
            "tree": claim.tree or None, "part": self.part or None,
            "split": None if claim.split is None else dict(claim.split),
            "state": node.state, "repository": claim.repository or None, "url": claim.url or None,
            "rows": self.rows, "verified": self.verified, "floating": self.floating,
            "broken": [{"path": path or None, "reason": reason} for path, reason in self.broken],
        }  # fmt: skip
        if self.place is not None:
            known = self.place.known
            state, record = known.version_state(node), known.version_record(node)
            if state is not None and record is not None:
                facts |= {
                    "files": state.files,
                    "bytes": state.size_bytes,
                    "time": rfc3339(to_time(record.time_us)),
                    "author": record.author,
                    "message": record.message,
                }
        return facts


def inputs_of(
    here: Place, claims: Sequence[ClaimedInput], other: Callable[[str], Reads], rows: bool
) -> list[Input]:
    """The inputs, each with its version looked up: here, else in the repository that it says it is in."""
    places: dict[str, Place | str] = {here.repository.id: here}
    return [_input(here, claim, places, other, rows) for claim in claims]


def _input(
    here: Place,
    claim: ClaimedInput,
    places: dict[str, Place | str],
    other: Callable[[str], Reads],
    rows: bool,
) -> Input:
    id = bytes.fromhex(claim.version)
    node = here.known.version(id, claim.dataset, claim.repository)
    found = Input(claim, _with_part(node, part_of(claim.split)), here)
    if node.state == ELSEWHERE:
        place = _elsewhere(claim, places, other)
        if isinstance(place, str):
            found.place = None
            found.broken.append(
                ("", f"it is in another repository, {claim.url or claim.repository}: {place}")
            )
            return found
        found.place = place
        node = place.known.version(id, claim.dataset, claim.repository)
        found.node = _with_part(node, found.part)
    _look(found, node, rows)
    return found


def _with_part(node: VersionNode, part: str) -> VersionNode:
    return VersionNode(node.name, node.version, node.number, node.state, node.dataset, node.repository, part)


def _elsewhere(
    claim: ClaimedInput, places: dict[str, Place | str], other: Callable[[str], Reads]
) -> Place | str:
    """The other repository, or why it cannot be read."""
    if claim.repository not in places:
        try:
            if not claim.url:
                raise BadInputError("its URL is not recorded")
            repository = other(claim.url)
            if claim.repository and repository.id != claim.repository:
                raise BadInputError(f"at {claim.url} is the repository {repository.id} now")
            session = repository.session
            places[claim.repository] = Place(repository, Known(session, session.state()))
        except DataverError as error:
            places[claim.repository] = str(error)
    return places[claim.repository]


def _look(found: Input, node: VersionNode, rows: bool) -> None:
    """See that the version is there and is what was claimed, without reading its files."""
    assert found.place is not None
    claim, known = found.claim, found.place.known
    found.floating = _floats(claim.ref, found.place)
    if node.state not in (HERE, DELETED):
        reasons = {"absent": "its history was copied in part, and it was left out"}
        found.broken.append(("", f"the version is not here: {reasons.get(node.state, 'nobody knows it')}"))
        return
    record = known.version_record(node)
    if record is None:
        found.broken.append(("", "the record of the version cannot be read; run `dataver verify`"))
        return
    if claim.tree and str(record.tree) != claim.tree:
        found.broken.append(("", f"its files are {record.tree}, and the run read {claim.tree}"))
    if node.state == HERE:
        found.rows = _rows(found, rows)


def _floats(ref: str, place: Place) -> bool:
    """Whether what was asked for may mean another version today."""
    try:
        parsed = parse_ref(ref.partition(":")[0])
    except BadInputError:
        return False
    if is_exact(parsed):
        return False
    dataset = place.known.state.dataset(parsed.dataset)
    named = None if dataset is None else place.known.state.ref(dataset, parsed.selector)
    return named is None or named.kind != TAG


def _rows(found: Input, count: bool) -> int | None:
    """How many rows: of a part as it was recorded, or counted where that is asked for."""
    assert found.place is not None
    split = found.claim.split
    recorded = (split or {}).get("rows")
    if isinstance(recorded, int) and not count:
        return recorded
    if found.part and not count:
        return None
    try:
        version = found.place.repository.version(found.ref)
        if found.part:
            return int(version.split(found.part_by, found.definition).num_rows)
        return int(version.num_rows()) if version.tables() else None
    except DataverError:
        return None


# Bytes


def verify_inputs(inputs: Sequence[Input], progress: Progress | None) -> None:
    """Read every byte of every version, each once, and compare it."""
    done: dict[bytes, list[tuple[str, str]]] = {}
    for found in inputs:
        if found.broken or found.place is None:
            found.verified = False
            continue
        id = found.node.version
        if id not in done:
            done[id] = _damage(found, progress)
        found.broken.extend(done[id])
        found.verified = not found.broken


def _damage(found: Input, progress: Progress | None) -> list[tuple[str, str]]:
    """What is wrong with a version, by path."""
    assert found.place is not None
    if found.node.state == DELETED:
        name = found.node.name
        return [("", f"the dataset was deleted; `dataver delete {name} --undo` brings it back")]
    report = found.place.repository.verify(found.ref, deep=True, progress=progress)
    broken: dict[tuple[str, str], None] = {}
    for damage in report.damaged:
        for harm in damage.harms:
            broken[harm.path or "", f"{damage.object}: {damage.reason}"] = None
    return list(broken)


# Overlap and drift


def overlaps_of(inputs: Sequence[Input], rows: bool) -> Iterator[Json]:
    """What each two inputs of different roles have in common."""
    pairs = [(a, b) for a, b in combinations(inputs, 2) if a.claim.role != b.claim.role]
    for a, b in pairs[:PAIRS_MAX]:
        facts: Json = {"a": a.name, "a_role": a.claim.role, "b": b.name, "b_role": b.claim.role}
        yield facts | _overlap(a, b, rows)
    if len(pairs) > PAIRS_MAX:
        yield {"reason": f"{len(pairs) - PAIRS_MAX} more pairs were not compared", "overlap": None}


def _overlap(a: Input, b: Input, rows: bool) -> Json:
    """`{"overlap": bool or null, "reason", …}`, as `dataver overlap` has it."""
    if a.place is None or a.place is not b.place or a.node.state != HERE or b.node.state != HERE:
        return {"overlap": None, "reason": "one of them is not in this repository"}
    definition = a.definition or b.definition
    if a.part and b.part and a.definition != b.definition:
        return {"overlap": None, "reason": "their parts are of different splits"}
    if a.node.version == b.node.version:
        if a.part_by == b.part_by:
            return {"overlap": True, "reason": "they are the same"}
        if not a.part or not b.part:
            return {"overlap": True, "reason": "one is a part of the other"}
        if not rows and (definition or {}).get("kind") in ("hash", "list"):
            return {"overlap": False, "reason": "parts of one split by key: no key is in both"}
    if (a.part or b.part) and not rows:
        return {"overlap": None, "reason": "parts are compared by rows with --rows or --verify"}
    try:
        return {"reason": ""} | a.place.repository.overlap(a.rows_ref, b.rows_ref, by=definition).to_json()
    except DataverError as error:
        return {"overlap": None, "reason": str(error)}


def drift_of(inputs: Sequence[Input]) -> Iterator[Json]:
    """How far the head of each dataset moved from the version that was read, by statistics at hand alone."""
    seen = set()
    for found in inputs:
        if found.place is None or found.node.state != HERE or found.node.version in seen:
            continue
        seen.add(found.node.version)
        yield _drift(found, found.place)


def _drift(found: Input, place: Place) -> Json:
    node = _with_part(found.node, "")
    head = place.known.state.ref(node.dataset, MAIN)
    facts: Json = {"node": node.id, "head": None, "behind": None, "drift": None, "drifted": [], "reason": ""}
    if head is None:
        return facts | {"reason": "the dataset has no main branch"}
    newest = place.known.version(head.target, node.name)
    facts |= {"head": newest.id}
    if newest.version == node.version:
        return facts | {"behind": 0, "drift": False, "reason": "it is the head"}
    if node.number and newest.number:
        facts |= {"behind": newest.number - node.number}
    head_ref = f"{newest.name}@{newest.version.hex()}"
    try:
        report = place.repository.drift(found.ref, head_ref, compute=False)
    except DataverError as error:
        return facts | {"reason": str(error)}
    return facts | {
        "drift": bool(report),
        "drifted": list(report.drifted)[:DRIFTED_SHOWN],
        "columns": len(report.columns),
        "reason": "",
    }
