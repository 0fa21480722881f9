"""From data to whom it went: the runs that read a file, a chunk, a version or a tree, and their models."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from typing import Any

from dataver.errors import BadInputError, DamagedError, DataverError, RefNotFoundError
from dataver.format.operations import MADE
from dataver.format.run_record import RunInput
from dataver.history import to_time
from dataver.lineage.holders import Found, Search
from dataver.lineage.known import Known
from dataver.lineage.local_model import hash_file
from dataver.lineage.nodes import FILE_PREFIX, VersionNode, file_at, parse_node
from dataver.log.run_state import models_with, run_named, runs_of_version
from dataver.results import Json, rfc3339
from dataver.session import Session
from dataver.values import dataclass

__all__ = ["HAD_ACCESS", "MADE_IT", "READ_IT", "HeldBy", "Use", "WhoUsed", "who_used"]

READ_IT, HAD_ACCESS, MADE_IT = "read", "had access", "made"
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)

Spans = tuple[tuple[int, int], ...] | None
"""Ranges of a file that are meant, None for all of it."""


@dataclass(frozen=True, slots=True)
class HeldBy:
    """A version that has what was asked for, and some of the paths that have it; none: all of it is meant."""

    node: VersionNode
    paths: tuple[str, ...] = ()
    count: int = 0

    def to_json(self) -> Json:
        """`{"ref", "version_id", "state", "paths": [path…], "files": how many}`."""
        return {
            "ref": self.node.id,
            "version_id": self.node.version.hex(),
            "state": self.node.state,
            "paths": list(self.paths),
            "files": self.count,
        }


@dataclass(frozen=True, slots=True)
class Use:
    """What a run did with it. `how` is `read` where its record lists it, `had access` where it does not
    say, `made` where it is an output or a model of the run. `asked` is the ref that it asked for."""

    run: str
    how: str
    name: str = ""
    status: str = ""
    author: str = ""
    started: str = ""
    version: str = ""
    role: str = ""
    asked: str = ""
    models: tuple[str, ...] = ()

    def to_json(self) -> Json:
        """`{"run", "how", "name", "status", "author", "started", "version", "role", "ref", "models"}`."""
        return {
            "run": self.run, "how": self.how, "name": self.name, "status": self.status,
            "author": self.author, "started": self.started, "version": self.version, "role": self.role,
            "ref": self.asked, "models": list(self.models),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class WhoUsed:
    """The answer. `unread` says of which versions or runs it is not known, and why."""

    asked: str
    digest: str
    versions: list[HeldBy] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def models(self) -> list[str]:
        """The models of all runs, each once."""
        return list(dict.fromkeys(model for use in self.uses for model in use.models))

    def to_json(self) -> Json:
        """`{"asked", "digest", "versions": […], "runs": […], "models": [id…], "unread": {id: reason}}`."""
        return {
            "asked": self.asked,
            "digest": self.digest,
            "versions": [held.to_json() for held in self.versions],
            "runs": [use.to_json() for use in self.uses],
            "models": self.models,
            "unread": dict(self.unread),
        }


PATHS_SHOWN = 5


def who_used(session: Session, text: str) -> WhoUsed:
    """The runs that saw `text`, oldest version first: a local file, `REF!PATH`, a ref, or a digest.

    A digest is that of a file, a chunk, a version, the tree of one, or of a model's files. A run that
    recorded which files it read counts only if that is among them. `RefNotFoundError` for a digest that
    nothing here has, and for a name that means nothing.
    """
    state = session.state()
    known = Known(session, state)
    if _DIGEST.fullmatch(text):
        return _of_digest(known, text, bytes.fromhex(text))
    if "!" in text or text.startswith(FILE_PREFIX):
        return _of_file(known, text, file_at(session, state, text).digest)
    local = os.path.isfile(text)
    try:
        node = parse_node(session, state, text)
    except (BadInputError, RefNotFoundError):
        if not local:
            raise
        return _of_file(known, text, hash_file(text))
    if not isinstance(node, VersionNode):
        raise BadInputError(f"{text[:100]} is no data: name a version, a file of one, or a digest")
    return _of_versions(known, text, [node])


def _of_digest(known: Known, text: str, digest: bytes) -> WhoUsed:
    """What has this digest, whatever it is."""
    node = known.version(digest)
    if node.dataset or any(runs_of_version(known.state, digest)):
        return _of_versions(known, text, [node])
    trees = [node for node in known.all_versions() if _tree(known, node) == digest]
    if trees:
        return _of_versions(known, text, trees)
    found = _of_file(known, text, digest)
    found.uses.extend(_makers_of_models(known, digest))
    if not found.versions and not found.uses:
        unread = f"; {len(found.unread)} versions could not be read" if found.unread else ""
        raise RefNotFoundError(f"no version, file, chunk or model here has the digest {text}{unread}")
    return found


def _tree(known: Known, node: VersionNode) -> bytes | None:
    record = known.version_record(node)
    return None if record is None else record.tree


def _makers_of_models(known: Known, digest: bytes) -> Iterator[Use]:
    """The runs that made a model of which this is the tree, or a file."""
    by_run: dict[bytes, list[str]] = {}
    for model in models_with(known.state, digest):
        by_run.setdefault(model.run, []).append(f"model:{model}")
    for run, models in by_run.items():
        yield _use(known, run, MADE_IT, models=models)


def _of_file(known: Known, text: str, digest: bytes) -> WhoUsed:
    """The runs that saw a file or a chunk."""
    answer = WhoUsed(text, digest.hex())
    search = Search(known, digest)
    listed: dict[str, list[tuple[str, Any]]] = {}
    for node in _oldest_first(known, known.all_versions()):
        files = search.files(node)
        if not files:
            continue
        answer.versions.append(_held(node, files))
        spans: dict[str, Spans] = {entry.digest.hex(): at for entry, at in files}
        for run, used in runs_of_version(known.state, node.version):
            uses = list(_uses(known, run, node, used, spans, listed, answer.unread))
            answer.uses.extend(uses)
    answer.unread.update(search.unread)
    return answer


def _held(node: VersionNode, files: Sequence[Found]) -> HeldBy:
    paths = [entry.path.decode() for entry, _ in files[:PATHS_SHOWN]]
    return HeldBy(node, tuple(paths), len(files))


def _of_versions(known: Known, text: str, nodes: Iterable[VersionNode]) -> WhoUsed:
    """The runs that read or made versions, or the part of one."""
    nodes = list(_oldest_first(known, nodes))
    answer = WhoUsed(text, nodes[0].version.hex(), [HeldBy(node) for node in nodes])
    for node in nodes:
        for run, used in runs_of_version(known.state, node.version):
            answer.uses.extend(_uses(known, run, node, used, None, {}, answer.unread))
    return answer


def _oldest_first(known: Known, nodes: Iterable[VersionNode]) -> list[VersionNode]:
    def entry(node: VersionNode) -> tuple[int, bytes]:
        state = known.version_state(node)
        return (state.entry if state is not None else 0, node.version)

    return sorted(nodes, key=entry)


def _uses(
    known: Known,
    run: bytes,
    node: VersionNode,
    used: int,
    spans: dict[str, Spans] | None,
    listed: dict[str, list[tuple[str, Any]]],
    unread: dict[str, str],
) -> Iterator[Use]:
    """What a run did with a version, or with files of it, by digest and range, where `spans` has some."""
    record = known.run(run)
    if record is None:
        unread[f"run:{run.hex()}"] = known.fault(run)
        yield _use(known, run, MADE_IT if used == MADE else HAD_ACCESS, node)
        return
    if used & MADE and not node.part:
        yield _use(known, run, MADE_IT, node)
    for given in record.inputs:
        read = known.input_node(given)
        if read is None or read.version != node.version or node.part not in ("", read.part):
            continue
        how = READ_IT if spans is None else _how(known, given, spans, listed, unread)
        if how is not None:
            yield _use(known, run, how, read, given)


def _how(
    known: Known,
    given: RunInput,
    spans: dict[str, Spans],
    listed: dict[str, list[tuple[str, Any]]],
    unread: dict[str, str],
) -> str | None:
    """Whether an input's record lists one of the files; None where it lists others."""
    if given.whole and given.bytes_read:
        return READ_IT
    if given.whole or not given.reads:
        return HAD_ACCESS
    for part in given.reads:
        if part not in listed:
            try:
                listed[part] = list(_lines(known.records.part(part), spans))
            except DataverError as error:
                unread[f"part {part}"] = str(error)
                return HAD_ACCESS
        if any(_touch(spans[digest], ranges) for digest, ranges in listed[part] if digest in spans):
            return READ_IT
    return None


def _lines(data: bytes, spans: dict[str, Spans]) -> Iterator[tuple[str, Any]]:
    """Digest and ranges of those lines that name one of the digests; the others are not decoded."""
    if not any(digest.encode() in data for digest in spans):
        return
    for line in data.split(b"\n"):
        if line and any(digest.encode() in line for digest in spans):
            try:
                _, digest, _, ranges = json.loads(line)[:4]
            except (ValueError, TypeError, RecursionError) as error:
                raise DamagedError(f"a list of files that a run read is malformed: {error}") from error
            yield str(digest), ranges


def _touch(spans: Spans, ranges: Any) -> bool:
    """Whether ranges that were read, None for all, have a byte of what is meant."""
    if spans is None or ranges is None:
        return ranges is None or bool(ranges)
    return any(
        start < stop and first < last for first, last in spans for start, stop in _cut(ranges, first, last)
    )


def _cut(ranges: Any, first: int, last: int) -> Iterator[tuple[int, int]]:
    for pair in ranges:
        yield max(int(pair[0]), first), min(int(pair[1]), last)


def _use(
    known: Known,
    run: bytes,
    how: str,
    node: VersionNode | None = None,
    given: RunInput | None = None,
    models: Sequence[str] | None = None,
) -> Use:
    record = known.run(run)
    state = run_named(known.state, run)
    if models is None:
        models = [model.id for model in known.models(run)]
    version = "" if node is None else node.id
    if record is None or state is None:
        return Use(run.hex(), how, version=version, models=tuple(models))
    started = rfc3339(to_time(record.started_us))
    role, asked = ("", "") if given is None else (given.role, given.ref)
    return Use(
        run.hex(), how, record.name, record.status, record.author, started, version, role, asked,
        tuple(models),
    )  # fmt: skip
