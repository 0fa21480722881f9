"""The run record: what one experiment run was made of and what came of it.

    "DVRN" | version u8 | canonical JSON, one object

The object has the fields of `RunRecord`, those of its parts one level below. A field that a reader
does not know is left alone; one that is missing has its default. The record's digest, in the mode of
runs, names it. What may be long (the patch of the code, the list of packages, the files that were
read) is a part of its own, plain bytes in the mode of run parts, and the record has its digest.

Digests and ids are lower-case hex digits, times whole microseconds since 1970, UTC.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import cache
from typing import Any, TypeVar

from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import BadInputError, DamagedError, NewerFormatError
from dataver.format.binary import Buffer
from dataver.format.canonical_json import canonical_json, parse_canonical_json
from dataver.format.limits import TIME_US_MAX, TIME_US_MIN
from dataver.hashing import Kind, kind_digest
from dataver.values import dataclass

__all__ = [
    "CANCELLED",
    "DONE",
    "FAILED",
    "PART_BYTES_MAX",
    "RUN_RECORD_BYTES_MAX",
    "RUN_STATUS",
    "Code",
    "Environment",
    "LockedBy",
    "ModelFile",
    "Process",
    "RunInput",
    "RunModel",
    "RunOutput",
    "RunRecord",
    "Tracker",
    "decode_run",
    "part_digest",
]

RUN_MAGIC = b"DVRN"
RUN_RECORD_VERSION = 1
RUN_RECORD_BYTES_MAX = 1 << 20
PART_BYTES_MAX = 7 << 20
"""Less than a frame, which holds a part whole."""
RUN_ID_DIGITS = 32
DIGEST_DIGITS = 2 * DIGEST_BYTES

DONE, FAILED, CANCELLED = 0, 1, 2
RUN_STATUS = ("done", "failed", "cancelled")
"""The names of the numbers that the log gives to how a run ended."""

_HEAD = RUN_MAGIC + bytes([RUN_RECORD_VERSION])
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Process:
    """Where the run is: by these, the same machine can tell whether it still lives."""

    host: str = ""
    machine: str = ""
    boot: str = ""
    pid: int = 0
    began: str = ""


@dataclass(frozen=True, slots=True)
class RunInput:
    """A version that the run read. `ref` is as it was asked for, `role` what it was read as.

    `split` is the document of the part that was read, with its definition's digest. `whole`: every file
    was read in full, or the files were handed out as a whole. Otherwise `reads` are the parts that
    together list what was read, one JSON array a line: path, digest, size, and the ranges as pairs of
    start and end, or null for all of it. `files` and `bytes_read` count what was.
    """

    role: str
    ref: str
    dataset: str
    version: str
    tree: str
    repository: str
    url: str = ""
    number: int = 0
    split: Mapping[str, Any] | None = None
    whole: bool = False
    files: int = 0
    bytes_read: int = 0
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunOutput:
    """A version that the run made."""

    dataset: str
    version: str
    tree: str
    repository: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model; `digest` is the plain BLAKE3-256 of its bytes."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class RunModel:
    """A model that the run made. `tree` is the digest that a version with these files would have."""

    name: str
    tree: str
    files: tuple[ModelFile, ...] = ()
    uri: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Code:
    """The code as git knows it. `folder` is where in the repository the run began.

    `patch` is the part with what differs from `commit` in tracked files; `masked`: secrets were cut out of
    it, so that it does not apply. `untracked` are names alone. `reason` says why nothing is known.
    """

    url: str = ""
    commit: str = ""
    branch: str = ""
    dirty: bool = False
    patch: str | None = None
    masked: bool = False
    folder: str = ""
    untracked: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LockedBy:
    """A file that pins packages, and its digest."""

    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class Environment:
    """What the run ran in. `packages` is the part with one `name==version` a line, sorted."""

    python: str = ""
    implementation: str = ""
    platform: str = ""
    packages: str | None = None
    locks: tuple[LockedBy, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    dataver: str = ""


@dataclass(frozen=True, slots=True)
class Tracker:
    """The run in another tool: `mlflow`, where that is, and its id there."""

    kind: str
    run_id: str
    uri: str = ""
    experiment: str = ""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One experiment run, at its start or at its end.

    `status` is `running`, or one of `RUN_STATUS`. `exit_code` is that of the command; `signal` the
    number of what killed it, or 0. `amends` is the digest of the record that this one stands for.
    """

    run: str
    name: str
    author: str
    started_us: int
    status: str = "running"
    ended_us: int | None = None
    exit_code: int | None = None
    signal: int = 0
    reason: str = ""
    command: tuple[str, ...] = ()
    process: Process = Process()
    code: Code | None = None
    environment: Environment | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    seeds: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[RunInput, ...] = ()
    outputs: tuple[RunOutput, ...] = ()
    models: tuple[RunModel, ...] = ()
    trackers: tuple[Tracker, ...] = ()
    parent: str = ""
    amends: str | None = None

    def encode(self) -> bytes:
        """The canonical bytes. `BadInputError` for what no record can hold."""
        try:
            data = _HEAD + canonical_json(dataclasses.asdict(self))
        except (TypeError, ValueError) as error:
            raise BadInputError(f"run {self.run[:12]} cannot be recorded: {error}") from error
        if len(data) > RUN_RECORD_BYTES_MAX:
            raise BadInputError(
                f"the record of run {self.run[:12]} has {len(data)} bytes, and {RUN_RECORD_BYTES_MAX} are "
                "the most; log fewer parameters and metrics, or put them into a file"
            )
        return data

    def digest(self) -> Digest:
        """What the record is found under."""
        return kind_digest(Kind.RUN, self.encode())

    def parts(self) -> list[Digest]:
        """The parts that the record names, each once."""
        named: list[str | None] = [digest for given in self.inputs for digest in given.reads]
        named.append(self.code.patch if self.code is not None else None)
        named.append(self.environment.packages if self.environment is not None else None)
        return [Digest.parse(digest) for digest in dict.fromkeys(named) if digest is not None]


def part_digest(data: Buffer) -> Digest:
    """What a part of a run's record is found under."""
    return kind_digest(Kind.RUN_PART, data)


def decode_run(data: Buffer, what: str) -> RunRecord:
    """Read a run record; `what` names it in errors. Only canonical bytes are accepted."""
    head = bytes(data[: len(_HEAD)])
    if head[:-1] != RUN_MAGIC or len(data) > RUN_RECORD_BYTES_MAX:
        raise DamagedError(f"{what} is no run record; run `dataver verify`")
    if head != _HEAD:
        raise NewerFormatError(
            f"{what} has record version {head[-1]}; this release reads {RUN_RECORD_VERSION}"
        )
    record = _build(RunRecord, parse_canonical_json(data[len(_HEAD) :], what), what)
    if record.status not in ("running", *RUN_STATUS):
        raise DamagedError(f"{what} is malformed: no run is {record.status[:20]!r}")
    times = (record.started_us, record.ended_us or 0)
    if not all(TIME_US_MIN <= time_us <= TIME_US_MAX for time_us in times):
        raise DamagedError(f"{what} is malformed: its times are not in the years 1 to 9999")
    return record


_NESTED: dict[str, Callable[[], type]] = {
    "Process": lambda: Process,
    "Code | None": lambda: Code,
    "Environment | None": lambda: Environment,
    "tuple[RunInput, ...]": lambda: RunInput,
    "tuple[RunOutput, ...]": lambda: RunOutput,
    "tuple[RunModel, ...]": lambda: RunModel,
    "tuple[ModelFile, ...]": lambda: ModelFile,
    "tuple[LockedBy, ...]": lambda: LockedBy,
    "tuple[Tracker, ...]": lambda: Tracker,
}
_PLAIN: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "int": (int,),
    "int | None": (int, type(None)),
    "bool": (bool,),
    "Mapping[str, Any]": (dict,),
    "Mapping[str, Any] | None": (dict, type(None)),
    "Mapping[str, str]": (dict,),
}
_HEX = {
    "run": RUN_ID_DIGITS,
    "parent": RUN_ID_DIGITS,
    "repository": RUN_ID_DIGITS,
    "version": DIGEST_DIGITS,
    "tree": DIGEST_DIGITS,
    "digest": DIGEST_DIGITS,
    "patch": DIGEST_DIGITS,
    "packages": DIGEST_DIGITS,
    "amends": DIGEST_DIGITS,
    "reads": DIGEST_DIGITS,
}


def _build(cls: type[_Value], document: Any, what: str) -> _Value:
    """A value of a class from its document: fields are of their types, digests are digests."""
    if not isinstance(document, dict):
        raise _malformed(what, cls, "it is no object")
    values: dict[str, Any] = {}
    kind: type = cls
    for name, annotation in _annotations(kind):
        if name in document:
            values[name] = _field(cls, name, annotation, document[name], what)
    try:
        return cls(**values)
    except TypeError as error:
        raise _malformed(what, cls, "a field is missing") from error


@cache
def _annotations(cls: type) -> list[tuple[str, str]]:
    """The fields of a class with their types; thousands of records may be read for one answer."""
    return [(entry.name, str(entry.type)) for entry in dataclasses.fields(cls)]


def _field(cls: type, name: str, annotation: str, value: Any, what: str) -> Any:
    if annotation in _NESTED:
        inner = _NESTED[annotation]()
        if not annotation.startswith("tuple"):
            return None if value is None and annotation.endswith("None") else _build(inner, value, what)
        if not isinstance(value, list):
            raise _malformed(what, cls, f"{name} is no list")
        return tuple([_build(inner, item, what) for item in value])
    if annotation == "tuple[str, ...]":
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise _malformed(what, cls, f"{name} is no list of texts")
        value = tuple(value)
    elif not isinstance(value, _PLAIN[annotation]) or (isinstance(value, bool) and annotation != "bool"):
        raise _malformed(what, cls, f"{name} is of another type")
    if annotation == "Mapping[str, str]" and not all(isinstance(item, str) for item in value.values()):
        raise _malformed(what, cls, f"{name} has values that are no texts")
    if name in _HEX:
        for digits in value if isinstance(value, tuple) else (value,):
            if digits and (len(digits) != _HEX[name] or set(digits) - set("0123456789abcdef")):
                raise _malformed(what, cls, f"{name} is no digest")
    return value


def _malformed(what: str, cls: type, reason: str) -> DamagedError:
    return DamagedError(f"{what} is malformed: in its {cls.__name__} {reason}; run `dataver verify`")
