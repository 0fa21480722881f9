"""Nodes: what lineage walks, and the one place that reads how they are written.

    REF, REF:PART      a version, or a part of its rows
    model:NAME@vN      a version of a model; `model:NAME` is the newest
    run:ID             a run, by its id or its first digits
    file:REF!PATH      a file of a version

Other spellings are asked of integrations: each function under the entry-point group
`dataver.resolvers` takes the text, and returns an `ExternalNode` if it is one of theirs, else None.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dataver.errors import BadInputError, DamagedError, DataverError, PathNotFoundError, RefNotFoundError
from dataver.files import Files, to_path
from dataver.lineage.records import MODEL_PREFIX, RUN_PREFIX, find_model, find_run
from dataver.paths import safe_spelling
from dataver.reading import read_file
from dataver.refs import Resolved
from dataver.tree.manifest import FILE, REFERENCE, ManifestNodes
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.log.state import State
    from dataver.session import Session
    from dataver.tree.manifest import Entry

__all__ = [
    "ABSENT",
    "DELETED",
    "ELSEWHERE",
    "FILE_PREFIX",
    "HERE",
    "MISSING",
    "RESOLVERS",
    "ClaimedInput",
    "ExternalNode",
    "FileNode",
    "ModelNode",
    "Node",
    "RunNode",
    "SourceNode",
    "VersionNode",
    "external_node",
    "file_at",
    "parse_node",
    "split_file",
]

FILE_PREFIX = "file:"
RESOLVERS = "dataver.resolvers"

HERE, ABSENT, DELETED, ELSEWHERE, MISSING = "here", "absent", "deleted", "elsewhere", "missing"
"""Where a version is: in a dataset; left out when a history was copied in part; in a dataset that was
deleted; in another repository; nowhere, though this repository had it."""


@dataclass(frozen=True, slots=True)
class VersionNode:
    """A version, or with `part` the part of it that was read. `name` is the dataset's, of now or of then.

    `dataset` is the id of the dataset, empty where the version is not here.
    """

    name: str
    version: bytes
    number: int = 0
    state: str = HERE
    dataset: bytes = b""
    repository: str = ""
    part: str = ""

    @property
    def id(self) -> str:
        """`DATASET@vN` or `DATASET@<64 hex>`, with `:PART` behind it for a part."""
        # The number of a version elsewhere would be read as that of another one here.
        selector = f"v{self.number}" if self.number and self.state == HERE else self.version.hex()
        return f"{self.name}@{selector}" + (f":{self.part}" if self.part else "")

    @property
    def kind(self) -> str:
        """`version`, or `part`."""
        return "part" if self.part else "version"


@dataclass(frozen=True, slots=True)
class RunNode:
    """A run, by its 16 bytes."""

    run: bytes
    kind = "run"

    @property
    def id(self) -> str:
        """`run:ID`."""
        return RUN_PREFIX + self.run.hex()


@dataclass(frozen=True, slots=True)
class ModelNode:
    """A version of a model."""

    name: str
    number: int
    kind = "model"

    @property
    def id(self) -> str:
        """`model:NAME@vN`."""
        return f"{MODEL_PREFIX}{self.name}@v{self.number}"


@dataclass(frozen=True, slots=True)
class FileNode:
    """A file of a version. `digest` is that of its bytes."""

    version: VersionNode
    path: str
    digest: bytes
    size: int
    kind = "file"

    @property
    def id(self) -> str:
        """`file:REF!PATH`."""
        return f"{FILE_PREFIX}{self.version.id}!{self.path}"


@dataclass(frozen=True, slots=True)
class SourceNode:
    """Where data came from, as a version's record says: `facts` are pairs of names and texts."""

    url: str
    facts: tuple[tuple[str, str], ...] = ()
    kind = "source"

    @property
    def id(self) -> str:
        """`source:URL`."""
        return f"source:{self.url}"


@dataclass(frozen=True, slots=True)
class ClaimedInput:
    """A version that something beside the run's record says was read. `version` is its id, 64 hex digits."""

    version: str
    role: str = ""
    ref: str = ""
    dataset: str = ""
    tree: str = ""
    repository: str = ""
    url: str = ""
    split: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ExternalNode:
    """What another tool calls its own, as its integration understands it.

    `tracked` are the names `KIND:ID` under which a run may be recorded here. `inputs` are the versions
    that the other tool says were read, None where it does not say; `unversioned` are inputs of its that
    are no versions. `folder` has the model's files on this machine, where they are at hand. `records` are
    ids of runs and digests of records: the copies that it has of them, the newest of a run last. `copy_of` is
    the version whose files the node itself is, if it is one.
    """

    id: str
    kind: str = "external"
    tracked: tuple[str, ...] = ()
    inputs: tuple[ClaimedInput, ...] | None = None
    unversioned: tuple[str, ...] = ()
    folder: str = ""
    detail: str = ""
    records: tuple[tuple[str, str], ...] = ()
    copy_of: ClaimedInput | None = None


Node = VersionNode | RunNode | ModelNode | FileNode | SourceNode | ExternalNode


def parse_node(session: Session, state: State, text: str) -> Node:
    """The node that a text names. `RefNotFoundError` or `BadInputError` where it names none."""
    if text.startswith(MODEL_PREFIX) and not text.startswith(f"{MODEL_PREFIX}/"):
        model = find_model(state, text)
        return ModelNode(model.name, model.number)
    if text.startswith(RUN_PREFIX):
        return RunNode(find_run(state, text).id)
    if text.startswith(FILE_PREFIX):
        return file_at(session, state, text)
    ref, colon, part = text.partition(":")
    if part.startswith("/"):
        # No part is called so: it is a URI of somebody's.
        external = external_node(text)
        if external is None:
            raise RefNotFoundError(
                f"{text[:300]!a} is no node of this repository, and no integration that is installed knows "
                "it; for MLflow's, `pip install dataver[mlflow]`"
            )
        return external
    try:
        if colon and not part:
            raise BadInputError(f"{text[:300]!a} names no part of the version: write {ref[:200]}:PART")
        return version_node(session.resolve(ref, state), part)
    except (BadInputError, RefNotFoundError):
        external = external_node(text) if colon or os.path.isdir(text) else None
        if external is None:
            raise
        return external


def version_node(found: Resolved, part: str = "") -> VersionNode:
    """The node of a version that a ref means."""
    version = found.version
    return VersionNode(found.name, version.id, version.number, HERE, found.dataset, part=part)


def file_at(session: Session, state: State, text: str) -> FileNode:
    """The file `REF!PATH`; `file:` may stand before."""
    ref, path = split_file(text)
    found = session.resolve(ref, state)
    entry = _entry(session, state, found, path)
    return FileNode(version_node(found), entry.path.decode(), entry.digest, entry.size)


def _entry(session: Session, state: State, found: Resolved, path: str) -> Entry:
    objects = session.objects(state)
    nodes = ManifestNodes(objects)
    root = session.root(nodes, found.version)
    files = Files(nodes, root, lambda entry: read_file(entry, objects))
    try:
        entry = files.follow(to_path(path))
    except PathNotFoundError as error:
        raise PathNotFoundError(f"in {found.canonical} {error}; `dataver ls` lists what it has") from None
    if entry.kind not in (FILE, REFERENCE):
        raise BadInputError(f"{safe_spelling(path)} is a folder of {found.canonical}; name a file in it")
    return entry


def split_file(text: str) -> tuple[str, str]:
    """The ref and the path of `REF!PATH`."""
    ref, mark, path = text.removeprefix(FILE_PREFIX).partition("!")
    if not mark or not ref or not path:
        raise BadInputError(f"{text[:300]!a} names no file of a version: write file:iris@v3!train/a.csv")
    return ref, path


def external_node(text: str) -> ExternalNode | None:
    """What the integrations make of a text; None where it is none of theirs.

    One that is installed but cannot be loaded is an error only if no other one knows the text.
    """
    failed: list[str] = []
    for name, load in _resolvers():
        try:
            found = load()(text)
        except DataverError:
            raise
        except ImportError as error:
            failed.append(f"{name} ({error})")
            continue
        if found is not None:
            if not isinstance(found, ExternalNode):
                raise DamagedError(f"the resolver {name} answered with {type(found).__name__}, no node")
            return found
    if failed and "/" in text:
        raise BadInputError(f"{text[:300]!a} may be a node of {', '.join(failed)}, which cannot be loaded")
    return None


def _resolvers() -> Iterator[tuple[str, Any]]:
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=RESOLVERS), key=lambda point: point.name):
        yield point.name, point.load
