"""What operations answer with: plain values, each with the JSON document of the command line.

Digests and ids are 64 lower-case hex digits. Paths are `str` whose UTF-8 bytes are the path in
the version, so sorting them as `str` sorts them as bytes. Counts named `bytes`, `new_bytes` and
the like are bytes. The values hold no handle and no store: they pickle and compare freely.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.overlap_results import OverlapResult, RowOverlap

__all__ = [
    "ChangeCounts",
    "Changes",
    "Check",
    "CheckoutResult",
    "CommitResult",
    "Damage",
    "DatasetInfo",
    "FileEntry",
    "Forecast",
    "Harm",
    "Json",
    "Listing",
    "OverlapResult",
    "RefInfo",
    "RefKept",
    "RefMove",
    "RefResult",
    "RowOverlap",
    "TransferResult",
    "VerifyReport",
    "VersionInfo",
    "rfc3339",
]

Json = dict[str, Any]


def rfc3339(time: datetime) -> str:
    """An aware time as RFC 3339 in UTC with whole microseconds: `2026-01-31T09:30:00.000000Z`."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


@dataclass(frozen=True, slots=True)
class ChangeCounts:
    """How many files a version changed against its first parent (against nothing where it has none)."""

    added: int = 0
    modified: int = 0
    deleted: int = 0
    renamed: int = 0

    def __bool__(self) -> bool:
        """True where anything changed."""
        return bool(self.added or self.modified or self.deleted or self.renamed)

    def to_json(self) -> Json:
        """`{"added", "modified", "deleted", "renamed"}`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Changes:
    """The paths that differ between two versions, or between a version and a folder; each list sorted.

    A renamed pair has equal digest, kind and executable bit and more than 0 bytes; its two paths
    are in neither of the other lists.
    """

    added: list[str] = field(default_factory=list)
    modified: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    renamed: list[tuple[str, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        """True where anything changed."""
        return bool(self.added or self.modified or self.deleted or self.renamed)

    @property
    def counts(self) -> ChangeCounts:
        """How many of each."""
        return ChangeCounts(len(self.added), len(self.modified), len(self.deleted), len(self.renamed))

    def to_json(self) -> Json:
        """`{"added", "modified", "deleted": [path…], "renamed": [[old, new]…]}`."""
        return {
            "added": list(self.added),
            "modified": list(self.modified),
            "deleted": list(self.deleted),
            "renamed": [[old, new] for old, new in self.renamed],
        }


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a commit would cost. `cost_usd` is None where the store has no price."""

    new_bytes: int
    requests: int
    cost_usd: float | None = None

    def to_json(self) -> Json:
        """`{"new_bytes", "requests", "cost_usd"}`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What a commit, merge or revert did.

    `created` is False where nothing changed (the other fields then describe the head that stays)
    and in a dry run, where `dry_run` is set and `id` and `tree` may be empty. `version` is None
    off `main`. `rebased_onto` is the id of the head that the change was put on top of, where
    somebody else had moved it.
    """

    dataset: str
    version: str | None
    id: str
    parents: list[str]
    tree: str
    files: int
    bytes: int
    new_bytes: int
    stored_bytes: int
    changed: ChangeCounts
    created: bool
    rebased_onto: str | None = None
    dry_run: Forecast | None = None

    def to_json(self) -> Json:
        """The document of `dataver commit --json`; `dry_run` stands in it only for a dry run."""
        document: Json = {
            "dataset": self.dataset,
            "version": self.version,
            "id": self.id or None,
            "parents": list(self.parents),
            "tree": self.tree or None,
            "files": self.files,
            "bytes": self.bytes,
            "new_bytes": self.new_bytes,
            "stored_bytes": self.stored_bytes,
            "changed": self.changed.to_json(),
            "created": self.created,
            "rebased_onto": self.rebased_onto,
        }
        if self.dry_run is not None:
            document["dry_run"] = self.dry_run.to_json()
        return document


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One version: its record, and what this repository knows of it.

    `version` is None where the version was never on `main`. `time` is aware, in UTC. `tags`,
    `aliases` and `branches` are the names that point at it now (or at the moment of `at`), sorted.
    `changed` is None where it would have to be computed. `runs` are ids of runs that made it, and in what
    `show` gives also those that read it, which are `read_by` too.
    `absent` are those of its parents that are not in this repository, as its history was copied in part.
    """

    dataset: str
    version: str | None
    id: str
    parents: list[str]
    tree: str
    files: int
    bytes: int
    new_bytes: int
    stored_bytes: int
    message: str
    author: str
    time: datetime
    tags: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    branches: list[str] = field(default_factory=list)
    meta: Mapping[str, str] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    changed: ChangeCounts | None = None
    absent: list[str] = field(default_factory=list)
    read_by: list[str] = field(default_factory=list)

    def to_json(self) -> Json:
        """The document of `dataver show --json`, and one of those in `dataver log --json`."""
        return {
            "dataset": self.dataset,
            "version": self.version,
            "id": self.id,
            "parents": list(self.parents),
            "tree": self.tree,
            "files": self.files,
            "bytes": self.bytes,
            "new_bytes": self.new_bytes,
            "stored_bytes": self.stored_bytes,
            "message": self.message,
            "author": self.author,
            "time": rfc3339(self.time),
            "tags": list(self.tags),
            "aliases": list(self.aliases),
            "branches": list(self.branches),
            "meta": dict(self.meta),
            "runs": list(self.runs),
            "changed": None if self.changed is None else self.changed.to_json(),
            "absent": list(self.absent),
            "read_by": list(self.read_by),
        }


@dataclass(frozen=True, slots=True)
class RefMove:
    """A name, `DATASET@NAME`, that a transfer set: from one id (None: it was not there) to another."""

    name: str
    previous: str | None
    id: str

    def to_json(self) -> Json:
        """`{"name", "from", "to"}`."""
        return {"name": self.name, "from": self.previous, "to": self.id}


@dataclass(frozen=True, slots=True)
class RefKept:
    """A name that means another version in the other repository, and that a transfer left as it was.

    `id` is what it means in the receiving repository (None: a tag that was deleted there), `other`
    what it means in the one that was copied from.
    """

    name: str
    id: str | None
    other: str

    def to_json(self) -> Json:
        """`{"name", "id", "other"}`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TransferResult:
    """What a push or pull did: the names it set, and what was copied for them.

    `versions` are new in the receiving repository. `objects` are chunks and records, `bytes` those
    of the packs that were written for them; what an interrupted run had written counts as copied
    by that run. `kept` are aliases and numbers that mean different versions in the two
    repositories: they stay as they are. `signatures` are new there, as well of versions that were there.
    `erased` files came without bytes, being erased; the receiver still has those of `not_erased`.
    """

    refs: list[RefMove]
    versions: int
    objects: int
    bytes: int
    kept: list[RefKept] = field(default_factory=list)
    signatures: int = 0
    erased: int = 0
    not_erased: list[str] = field(default_factory=list)

    def to_json(self) -> Json:
        """`{"refs": [{"name", "from", "to"}], "versions", "objects", "bytes", "kept": […], "signatures",
        "erased", "not_erased": [digest…]}`."""
        return {
            "refs": [ref.to_json() for ref in self.refs],
            "versions": self.versions,
            "objects": self.objects,
            "bytes": self.bytes,
            "kept": [kept.to_json() for kept in self.kept],
            "signatures": self.signatures,
            "erased": self.erased,
            "not_erased": self.not_erased,
        }


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """A dataset and the head of its `main`; `head` and `id` are None where it has only other branches."""

    name: str
    head: str | None
    id: str | None
    files: int
    bytes: int

    def to_json(self) -> Json:
        """`{"name", "head", "id", "files", "bytes"}`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RefInfo:
    """A name in a dataset: `kind` is "branch", "tag" or "alias"."""

    kind: str
    name: str
    id: str

    def to_json(self) -> Json:
        """`{"kind", "name", "id"}`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RefResult:
    """A name that was set or deleted. `id` is None after a deletion, `previous` where it was new."""

    name: str
    id: str | None
    previous: str | None

    def to_json(self) -> Json:
        """`{"name", "id", "previous"}`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One entry of a version. `kind` is "file", "symlink", "folder" (an empty one) or "reference".

    `size` is bytes; `digest` is the plain BLAKE3-256 of the bytes (of the target, for a symlink).
    """

    path: str
    kind: str
    executable: bool
    size: int
    digest: str

    def to_json(self) -> Json:
        """`{"path", "kind", "executable", "size", "digest"}`."""
        return {
            "path": self.path,
            "kind": self.kind,
            "executable": self.executable,
            "size": self.size,
            "digest": self.digest,
        }


@dataclass(frozen=True, slots=True)
class Listing:
    """The files and folders at a path, full paths, each list sorted by path as bytes.

    Empty folders are among the folders, never among the files; with `recursive` the folders are
    only those empty ones.
    """

    files: list[FileEntry]
    folders: list[str]

    def to_json(self) -> Json:
        """`{"files": [entry…], "folders": [path…]}`."""
        return {"files": [entry.to_json() for entry in self.files], "folders": list(self.folders)}


@dataclass(frozen=True, slots=True)
class CheckoutResult:
    """What a checkout did: how much was asked for, and written; what was removed, and what left out."""

    files: int
    bytes: int
    written_files: int
    written_bytes: int
    removed_files: int = 0
    erased_files: int = 0

    def to_json(self) -> Json:
        """`{"files", "bytes", "written_files", "written_bytes", "removed_files", "erased_files"}`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Harm:
    """What a damaged object takes with it. `version` is `vN` or an id; None where all of it is harmed.

    `dataset` is a dataset's name, or `run:<id>`, or `model:<name>`.
    """

    dataset: str | None
    version: str | None
    path: str | None

    def to_json(self) -> Json:
        """`{"dataset", "version", "path"}`."""
        return {"dataset": self.dataset, "version": self.version, "path": self.path}


@dataclass(frozen=True, slots=True)
class Damage:
    """A damaged object: its key in the store (with what is inside it), what is wrong, what that harms."""

    object: str
    reason: str
    harms: list[Harm] = field(default_factory=list)

    def to_json(self) -> Json:
        """`{"object", "reason", "harms": [harm…]}`."""
        return {
            "object": self.object,
            "reason": self.reason,
            "harms": [harm.to_json() for harm in self.harms],
        }


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was looked at (`objects`, `bytes` read; `part`), every damaged object (`ok`: none), and how many
    files were `erased` on purpose."""

    ok: bool
    objects: int
    bytes: int
    damaged: list[Damage] = field(default_factory=list)
    part: str | None = None
    erased: int = 0

    def to_json(self) -> Json:
        """`{"ok", "objects", "bytes", "part", "damaged": [damage…], "erased"}`."""
        return {
            "ok": self.ok,
            "objects": self.objects,
            "bytes": self.bytes,
            "part": self.part,
            "damaged": [damage.to_json() for damage in self.damaged],
            "erased": self.erased,
        }


@dataclass(frozen=True, slots=True)
class Check:
    """One check of `doctor`: what it found, and what to do where it is not `ok`."""

    name: str
    ok: bool
    detail: str
    advice: str = ""

    def to_json(self) -> Json:
        """`{"name", "ok", "detail", "advice"}`."""
        return asdict(self)


def __getattr__(name: str) -> Any:
    """What few need is in a module of its own."""
    if name in ("OverlapResult", "RowOverlap"):
        from dataver import overlap_results

        return getattr(overlap_results, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
