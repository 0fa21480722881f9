"""The operations of log entries.

    operation  tag 4 | flags u8 (2: must be understood) | body length u32 | body

A body is the fields of the operation in the order that its class lists them. An operation that
this release does not know is refused where it must be understood, and kept byte for byte where
it need not be.
"""

from __future__ import annotations

from typing import ClassVar

from dataver.digest import Digest
from dataver.errors import NewerFormatError
from dataver.format.binary import Reader, Writer
from dataver.format.fields import BLOB, DIGEST, DIGESTS, ENVELOPE, ID, OPTIONAL, TEXT, TEXTS, U8, U64, Codec
from dataver.values import dataclass

MUST_UNDERSTAND = 2

BRANCH, TAG, ALIAS = 1, 2, 3
READ, MADE = 1, 2
CONDEMN, SPARE, FORGET = 1, 2, 3
"""A version may not be named any more, as its objects are about to be marked; it may again; it is gone."""


@dataclass(frozen=True, slots=True)
class Operation:
    """Base of all operations. `TAG` names the kind, `FIELDS` gives each field's codec in order."""

    TAG: ClassVar[bytes]
    FIELDS: ClassVar[dict[str, Codec]] = {}


@dataclass(frozen=True, slots=True)
class Genesis(Operation):
    """Entry 0: what the repository is made of. Features are names; required ones refuse old readers."""

    TAG = b"gene"
    FIELDS: ClassVar[dict[str, Codec]] = {
        "format": U64,
        "chunker": TEXT,
        "chunk_bytes_min": U64,
        "chunk_bytes_average": U64,
        "chunk_bytes_max": U64,
        "required": TEXTS,
        "optional": TEXTS,
    }
    format: int
    chunker: str
    chunk_bytes_min: int
    chunk_bytes_average: int
    chunk_bytes_max: int
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DatasetCreate(Operation):
    """A name for a new dataset; everything else refers to its random id."""

    TAG = b"dset"
    FIELDS: ClassVar[dict[str, Codec]] = {"dataset": ID, "name": TEXT}
    dataset: bytes
    name: str


@dataclass(frozen=True, slots=True)
class DatasetRename(Operation):
    """The dataset called `name` is called `new_name` from here on."""

    TAG = b"drnm"
    FIELDS: ClassVar[dict[str, Codec]] = {"dataset": ID, "name": TEXT, "new_name": TEXT}
    dataset: bytes
    name: str
    new_name: str


@dataclass(frozen=True, slots=True)
class DatasetDelete(Operation):
    """The dataset no longer has a name; its versions are there until they are collected."""

    TAG = b"ddel"
    FIELDS: ClassVar[dict[str, Codec]] = {"dataset": ID, "name": TEXT}
    dataset: bytes
    name: str


@dataclass(frozen=True, slots=True)
class DatasetRestore(Operation):
    """A deleted dataset has a name again."""

    TAG = b"dres"
    FIELDS: ClassVar[dict[str, Codec]] = {"dataset": ID, "name": TEXT}
    dataset: bytes
    name: str


@dataclass(frozen=True, slots=True)
class VersionAdd(Operation):
    """A version is in the repository: `manifest` is the storage root of its files.

    `run` is the id of the run that made it, or empty.
    """

    TAG = b"vers"
    FIELDS: ClassVar[dict[str, Codec]] = {
        "dataset": ID,
        "version": DIGEST,
        "manifest": DIGEST,
        "files": U64,
        "size_bytes": U64,
        "new_bytes": U64,
        "stored_bytes": U64,
        "run": BLOB,
    }
    dataset: bytes
    version: Digest
    manifest: Digest
    files: int
    size_bytes: int
    new_bytes: int
    stored_bytes: int
    run: bytes = b""


@dataclass(frozen=True, slots=True)
class BranchSet(Operation):
    """A branch moves from `expected` (None: it is new) to `target`.

    On `main`, the versions `numbered` get the numbers from `first_number` on, oldest first.
    """

    TAG = b"brch"
    FIELDS: ClassVar[dict[str, Codec]] = {
        "dataset": ID,
        "name": TEXT,
        "expected": OPTIONAL,
        "target": DIGEST,
        "first_number": U64,
        "numbered": DIGESTS,
    }
    dataset: bytes
    name: str
    expected: Digest | None
    target: Digest
    first_number: int = 0
    numbered: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class VersionNumber(Operation):
    """Versions that got numbers in another repository have them here: from `first_number` on."""

    TAG = b"vnum"
    FIELDS: ClassVar[dict[str, Codec]] = {"dataset": ID, "first_number": U64, "numbered": DIGESTS}
    dataset: bytes
    first_number: int
    numbered: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class Shallow(Operation):
    """The versions `absent`, parents of some that are here, are not here, and that is no damage.

    `present` were absent and are here now.
    """

    TAG = b"shal"
    FIELDS: ClassVar[dict[str, Codec]] = {"dataset": ID, "absent": DIGESTS, "present": DIGESTS}
    dataset: bytes
    absent: tuple[Digest, ...]
    present: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class TagCreate(Operation):
    """A tag, which never moves."""

    TAG = b"tagc"
    FIELDS: ClassVar[dict[str, Codec]] = {"dataset": ID, "name": TEXT, "target": DIGEST}
    dataset: bytes
    name: str
    target: Digest


@dataclass(frozen=True, slots=True)
class AliasSet(Operation):
    """An alias moves from `expected` (None: it is new) to `target`."""

    TAG = b"alis"
    FIELDS: ClassVar[dict[str, Codec]] = {
        "dataset": ID,
        "name": TEXT,
        "expected": OPTIONAL,
        "target": DIGEST,
    }
    dataset: bytes
    name: str
    expected: Digest | None
    target: Digest


@dataclass(frozen=True, slots=True)
class RefDelete(Operation):
    """A branch, tag or alias (`kind`) that was at `expected` goes."""

    TAG = b"rdel"
    FIELDS: ClassVar[dict[str, Codec]] = {"dataset": ID, "kind": U8, "name": TEXT, "expected": DIGEST}
    dataset: bytes
    kind: int
    name: str
    expected: Digest


@dataclass(frozen=True, slots=True)
class RunStart(Operation):
    """A run begins; `record` is the digest of what is known of it then."""

    TAG = b"runs"
    FIELDS: ClassVar[dict[str, Codec]] = {"run": ID, "record": DIGEST}
    run: bytes
    record: Digest


@dataclass(frozen=True, slots=True)
class RunEnd(Operation):
    """A run is over: 0 done, 1 failed, 2 cancelled. A later one stands for the one before."""

    TAG = b"rune"
    FIELDS: ClassVar[dict[str, Codec]] = {"run": ID, "record": DIGEST, "status": U8}
    run: bytes
    record: Digest
    status: int


@dataclass(frozen=True, slots=True)
class ModelCreate(Operation):
    """Version `number` of a model, made by `run`."""

    TAG = b"modl"
    FIELDS: ClassVar[dict[str, Codec]] = {"name": TEXT, "number": U64, "run": ID, "record": DIGEST}
    name: str
    number: int
    run: bytes
    record: Digest


@dataclass(frozen=True, slots=True)
class RunLink(Operation):
    """A run read these versions (`kind` `READ`), or made them (`MADE`)."""

    TAG = b"rlnk"
    FIELDS: ClassVar[dict[str, Codec]] = {"run": ID, "kind": U8, "versions": DIGESTS}
    run: bytes
    kind: int
    versions: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class RunTracker(Operation):
    """A run is known to another tool: `name` is `KIND:ID`, as `mlflow:39a8545a…`."""

    TAG = b"rtrk"
    FIELDS: ClassVar[dict[str, Codec]] = {"run": ID, "name": TEXT}
    run: bytes
    name: str


@dataclass(frozen=True, slots=True)
class ModelFiles(Operation):
    """A version of a model is found by these: the digest of its files' tree, and those of its files."""

    TAG = b"modf"
    FIELDS: ClassVar[dict[str, Codec]] = {"name": TEXT, "number": U64, "digests": DIGESTS}
    name: str
    number: int
    digests: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class IndexAdd(Operation):
    """An index segment counts from here on."""

    TAG = b"idxa"
    FIELDS: ClassVar[dict[str, Codec]] = {"segment": DIGEST, "keys": U64, "size_bytes": U64}
    segment: Digest
    keys: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class IndexReplace(Operation):
    """`output` counts instead of `inputs`; without effect unless each of them counted before."""

    TAG = b"idxr"
    FIELDS: ClassVar[dict[str, Codec]] = {
        "inputs": DIGESTS,
        "output": DIGEST,
        "keys": U64,
        "size_bytes": U64,
    }
    inputs: tuple[Digest, ...]
    output: Digest
    keys: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class GcMark(Operation):
    """Nothing new may rely on these packs and segments."""

    TAG = b"gcmk"
    FIELDS: ClassVar[dict[str, Codec]] = {"packs": DIGESTS, "segments": DIGESTS}
    packs: tuple[Digest, ...]
    segments: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class GcSweep(Operation):
    """These marked packs and segments are about to be deleted."""

    TAG = b"gcsw"
    FIELDS: ClassVar[dict[str, Codec]] = {"packs": DIGESTS, "segments": DIGESTS}
    packs: tuple[Digest, ...]
    segments: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class GcRestore(Operation):
    """These packs and segments are no longer marked."""

    TAG = b"gcrs"
    FIELDS: ClassVar[dict[str, Codec]] = {"packs": DIGESTS, "segments": DIGESTS}
    packs: tuple[Digest, ...]
    segments: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class VersionMark(Operation):
    """What is to become of versions that no name leads to: see `CONDEMN` and the others."""

    TAG = b"vmrk"
    FIELDS: ClassVar[dict[str, Codec]] = {"dataset": ID, "kind": U8, "versions": DIGESTS}
    dataset: bytes
    kind: int
    versions: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class ConfigSet(Operation):
    """A mutable setting; an empty value removes it."""

    TAG = b"conf"
    FIELDS: ClassVar[dict[str, Codec]] = {"key": TEXT, "value": TEXT}
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Erase(Operation):
    """The bytes of this digest are gone on purpose; `record` says who, when and why."""

    TAG = b"eras"
    FIELDS: ClassVar[dict[str, Codec]] = {"digest": DIGEST, "record": TEXT}
    digest: Digest
    record: str


@dataclass(frozen=True, slots=True)
class Hold(Operation):
    """A named reason to keep a version; `target` None lets it go."""

    TAG = b"hold"
    FIELDS: ClassVar[dict[str, Codec]] = {"name": TEXT, "target": OPTIONAL}
    name: str
    target: Digest | None


@dataclass(frozen=True, slots=True)
class Sign(Operation):
    """Somebody vouches for `subject`, a version or the record of a run's end; see `format.envelope`.

    `signer` is the id of the key. Must be understood: a program that left it out of the state would
    write checkpoints without it.
    """

    TAG = b"sign"
    FIELDS: ClassVar[dict[str, Codec]] = {"subject": DIGEST, "signer": DIGEST, "envelope": ENVELOPE}
    subject: Digest
    signer: Digest
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Unknown(Operation):
    """An operation of a later release that may be ignored; kept byte for byte."""

    tag: bytes
    flags: int
    body: bytes


KINDS: dict[bytes, type[Operation]] = {
    kind.TAG: kind
    for kind in (
        Genesis,
        DatasetCreate,
        DatasetRename,
        DatasetDelete,
        DatasetRestore,
        VersionAdd,
        BranchSet,
        VersionNumber,
        Shallow,
        TagCreate,
        AliasSet,
        RefDelete,
        RunStart,
        RunEnd,
        ModelCreate,
        RunLink,
        RunTracker,
        ModelFiles,
        IndexAdd,
        IndexReplace,
        GcMark,
        GcSweep,
        GcRestore,
        VersionMark,
        ConfigSet,
        Erase,
        Hold,
        Sign,
    )
}


def write_operations(writer: Writer, operations: tuple[Operation, ...]) -> None:
    """A u32 count, then each operation."""
    writer.u32(len(operations))
    for operation in operations:
        if isinstance(operation, Unknown):
            writer.raw(operation.tag).u8(operation.flags).blob(operation.body)
            continue
        body = Writer()
        for name, codec in operation.FIELDS.items():
            codec.write(body, getattr(operation, name))
        writer.raw(operation.TAG).u8(MUST_UNDERSTAND).blob(body.finish())


def read_operations(reader: Reader) -> tuple[Operation, ...]:
    """What `write_operations` wrote."""
    return tuple([_read_operation(reader) for _ in range(reader.u32())])


def _read_operation(reader: Reader) -> Operation:
    tag, flags, body = reader.raw(4), reader.u8(), reader.blob()
    kind = KINDS.get(tag)
    if kind is None:
        if flags & MUST_UNDERSTAND:
            raise NewerFormatError(
                f"{reader.what} has an operation {tag!r} that this release does not know; "
                "a newer release of dataver reads this repository"
            )
        return Unknown(tag, flags, body)
    fields = Reader(body, f"operation {tag!r} of {reader.what}")
    values = {name: codec.read(fields) for name, codec in kind.FIELDS.items()}
    fields.end()
    return kind(**values)
