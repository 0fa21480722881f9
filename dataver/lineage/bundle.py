"""The bundle of an audit: one zip file with which anybody can check, offline, what a model was made of.

It holds the audit as page and JSON, the records of the run with their parts, the records of the versions
that it read and of those they came from, the identity nodes of the read versions' trees (so every
file's path, size and digest, and no data), and of each repository the newest entry of the log with the
nodes of its state that lead to what it names. `verify.py` in it, which is `bundle_check.py` here,
computes every digest anew and needs only Python and `blake3`. The same audit of the same repository gives
the same bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from importlib.resources import files

from dataver.digest import Digest
from dataver.errors import BadInputError, RefNotFoundError
from dataver.format.node import encode
from dataver.hashing import Kind, blake3_digest, kind_digest
from dataver.lineage.audit import AuditReport
from dataver.lineage.audit_data import Input, Place
from dataver.lineage.audit_page import page
from dataver.lineage.bundle_check import FORMAT, INDEX, SEAL, BundleError, zip_bytes
from dataver.lineage.nodes import HERE, VersionNode
from dataver.log import state as keys
from dataver.log.nodes import root_link
from dataver.log.past import past
from dataver.refs import is_absent
from dataver.results import Json
from dataver.tree.manifest import ManifestNodes
from dataver.tree.prove import prove
from dataver.tree.schema import MANIFEST, Link
from dataver.tree.walk import links
from dataver.values import dataclass

__all__ = ["ANCESTORS_MAX", "bundle"]

ANCESTORS_MAX = 1000
"""So many versions that the data came from are in a bundle, the nearest first."""

_README = """\
What is in here, and how to check it: python verify.py --help

audit.html      the audit, for people
audit.json      the same, for programs
bundle.json     all members with their digests, and what they are said to be
runs/           the records of the run, by digest; parts/ has what they name
versions/       the records of the versions, by id
trees/          the nodes of the trees of the versions that were read: all paths, sizes and digests
logs/           of each repository the first and the newest entry of the log, and the way to what it names
SEAL            the digest of bundle.json

The data are not in here. `python verify.py --file PATH VERSION LOCALFILE` proves that a file is one of them.
"""


def bundle(report: AuditReport) -> bytes:
    """The zip file. `RefNotFoundError` where the run or a version that it read is not at hand."""
    if report.record is None:
        raise RefNotFoundError(f"no run of {report.asked} is recorded here, so there is nothing to prove")
    for found in report.inputs:
        if found.place is None or found.place.known.version_record(found.node) is None:
            raise RefNotFoundError(f"the version {found.name} is not at hand, so nothing can be proven of it")
    maker = _Maker(report)
    maker.run()
    for found in report.inputs:
        maker.input(found)
    maker.ancestors()
    try:
        return zip_bytes(maker.finish())
    except BundleError as error:
        raise BadInputError(f"the bundle of {report.name} cannot be made: {error}") from None


@dataclass(slots=True)
class _Log:
    """What a repository's log must prove: keys of its state."""

    place: Place
    keys: dict[bytes, None]

    def members(self, name: str) -> Iterator[tuple[str, bytes]]:
        """First and newest entry, and the nodes on the ways to the keys, by digest."""
        session, state = self.place.known.session, self.place.known.state
        newest = session.log.entry(state.number)
        yield f"logs/{name}/genesis", past(session.log, 0).data
        yield f"logs/{name}/entry", newest.data
        nodes: dict[bytes, bytes] = {}
        if newest.entry.base is not None:
            root = root_link(newest.entry.base)
            for key in self.keys:
                for node in prove(state.nodes, root, key) or ():
                    nodes[kind_digest(Kind.STATE_IDENTITY, node)] = node
        yield f"logs/{name}/state", _joined(nodes[digest] for digest in sorted(nodes))


class _Maker:
    """Collects the members of one bundle."""

    def __init__(self, report: AuditReport) -> None:
        self._report = report
        self._members: dict[str, bytes] = {}
        self._versions: dict[str, Json] = {}
        self._logs: dict[str, _Log] = {}
        self._first: list[tuple[Place, VersionNode]] = []
        self._place = report.place

    def _log(self, place: Place) -> _Log:
        return self._logs.setdefault(place.repository.id, _Log(place, {}))

    def run(self) -> None:
        """All records of the run that the log names, with their parts."""
        run, known = self._report.subject.run, self._place.known
        assert run is not None
        records = [run.start, run.record]
        self._log(self._place).keys[keys.RUN + run.id] = None
        model = self._report.subject.model
        if model is not None:
            records.append(model.record)
            key = keys.MODEL + model.name.encode() + b"\0" + model.number.to_bytes(8, "big")
            self._log(self._place).keys[key] = None
        for digest in dict.fromkeys(records):
            found = known.records.record(digest)
            self._members[f"runs/{Digest(digest)}"] = found.encode()
            for part in found.parts():
                self._members[f"parts/{part}"] = known.records.part(str(part))

    def input(self, found: Input) -> None:
        """A version that was read: its record, and all nodes of its tree."""
        assert found.place is not None
        known, node = found.place.known, found.node
        id = node.version.hex()
        if self._versions.get(id, {}).get("complete"):
            return
        self._version(found.place, node)
        self._versions[id]["complete"] = True
        state = known.version_state(node)
        assert state is not None
        nodes = ManifestNodes(known.objects)
        root = known.session.root(nodes, state)
        identities: dict[bytes, bytes] = {}
        for link in links(nodes, root):
            data = _identity_bytes(nodes, link)
            identities[kind_digest(Kind.IDENTITY_NODE, data)] = data
        self._members[f"trees/{self._versions[id]['tree']}"] = _joined(identities.values())
        self._first.append((found.place, node))

    def _version(self, place: Place, node: VersionNode) -> None:
        known = place.known
        record, state = known.version_record(node), known.version_state(node)
        assert record is not None
        assert state is not None
        id = node.version.hex()
        self._members[f"versions/{id}"] = record.encode()
        named = node.number > 0 and node.state == HERE
        log = self._log(place)
        log.keys[keys.VERSION + node.dataset + node.version] = None
        if named:
            log.keys[keys.DATASET + node.name.encode()] = None
            log.keys[keys.NUMBER + node.dataset + node.number.to_bytes(8, "big")] = None
        self._versions[id] = {
            "repository": place.repository.id,
            "dataset": node.dataset.hex(),
            "name": f"{node.name}@v{node.number}" if named else None,
            "tree": str(record.tree),
            "files": state.files,
            "bytes": state.size_bytes,
            "complete": False,
        }

    def ancestors(self) -> None:
        """The records of the versions that those came from, nearest first."""
        waiting, left = list(self._first), ANCESTORS_MAX
        while waiting and left:
            place, node = waiting.pop(0)
            record = place.known.version_record(node)
            for parent in () if record is None else record.parents:
                found = place.known.version(parent, node.name)
                absent = is_absent(place.known.state, node.dataset, parent)
                if parent.hex() in self._versions or absent or place.known.version_record(found) is None:
                    continue
                if left:
                    self._version(place, found)
                    waiting.append((place, found))
                    left -= 1

    def finish(self) -> dict[str, bytes]:
        """All members, by name."""
        report, members = self._report, self._members
        for name, log in self._logs.items():
            members.update(log.members(name))
        members["README.txt"] = _README.encode()
        members["audit.html"] = page(report).encode("utf-8", "replace")
        members["audit.json"] = _json(report.to_json())
        members["verify.py"] = files("dataver.lineage").joinpath("bundle_check.py").read_bytes()
        members[INDEX] = _json(self._index())
        members[SEAL] = f"{blake3_digest(members[INDEX])}\n".encode()
        return members

    def _index(self) -> Json:
        run, model, recorded = self._report.subject.run, self._report.subject.model, self._report.recorded
        assert run is not None
        made = None
        if model is not None and recorded is not None:
            made = {
                "name": model.name,
                "number": model.number,
                "record": str(model.record),
                "tree": recorded.tree,
            }
        return {
            "format": FORMAT,
            "members": {
                name: [len(data), str(blake3_digest(data))] for name, data in sorted(self._members.items())
            },
            "logs": sorted(self._logs),
            "run": {
                "id": run.id.hex(),
                "repository": self._place.repository.id,
                "start": str(run.start),
                "end": None if run.end is None else str(run.end),
                "others": [] if model is None else [str(model.record)],
            },
            "model": made,
            "versions": self._versions,
        }


def _identity_bytes(nodes: ManifestNodes, link: Link) -> bytes:
    level, rows = nodes.load(link)
    return encode(MANIFEST.inner if level else MANIFEST.leaf, level, rows)[1]


def _joined(nodes: Iterable[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(node)) + node for node in nodes)


def _json(document: Json) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True).encode() + b"\n"
