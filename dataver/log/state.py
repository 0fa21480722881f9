"""The state after a log entry: a sorted map that is a pure function of the entries up to it.

"cond" dataset id, version id     → entry number u64: no new name may lead there
"conf" setting                    → text
"data" dataset name               → dataset id 16
"dele" dataset id                 → name it had
"eras" digest                     → record text: its bytes are gone on purpose
"hold" name                       → version id
"mark" pack or segment digest     → entry number u64 | kind u8
"modf" digest, name 0x00 number   → (empty): the model's files have this tree, or one has this digest
"modl" name 0x00 number u64 (BE)  → run id 16 | record digest 32
"modr" run id, name 0x00 number   → (empty): the run made this model
"numb" dataset id, number u64 (BE)→ version id
"refs" dataset id, name           → kind u8 (| 0x80: deleted) | version id
"rord" entry u64 (BE), run id     → (empty): the run was started there
"runs" run id                     → entry u64 | start record 32 | end record 32 or zeros | status u8
"segm" segment digest             → keys u64 | bytes u64
"shal" dataset id, version id     → entry number u64, for a parent that is absent on purpose
"sign" version id or run's end record, key id → envelope
"swep" pack or segment digest     → entry number u64 | kind u8
"trak" kind : id 0x00 run id      → (empty): the run in another tool
"used" version id, run id         → u8, 1: the run read it, 2: made it, 3: both
"vers" dataset id, version id     → entry u64 (| 2⁶³: condemned) | number u64 | manifest 32 | files u64
                                    | bytes u64 | new bytes u64 | stored bytes u64 | run id (0 or 16)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from dataver.digest import DIGEST_BYTES, Digest
from dataver.format.node import IDENTITY, MUST_UNDERSTAND, Row
from dataver.format.operations import ALIAS, BRANCH, TAG, Genesis
from dataver.tree.schema import Link, NodeStore
from dataver.tree.walk import find, prefix_stop, scan
from dataver.values import dataclass

CONDEMNED, CONFIG, DATASET, DELETED = b"cond", b"conf", b"data", b"dele"
ERASED, HELD = b"eras", b"hold"
MARKED, MODEL, NUMBER, REF, RUN = b"mark", b"modl", b"numb", b"refs", b"runs"
MODEL_BY_DIGEST, MODEL_BY_RUN, RUN_ORDER = b"modf", b"modr", b"rord"
TRACKED, USED = b"trak", b"used"
SEGMENT, SHALLOW, SIGNATURE, SWEPT, VERSION = b"segm", b"shal", b"sign", b"swep", b"vers"

REF_DELETED = 0x80
VERSION_CONDEMNED = 1 << 63
PACK_NAME, SEGMENT_NAME = 1, 2
KIND_NAMES = {BRANCH: "branch", TAG: "tag", ALIAS: "alias"}

_VERSION = struct.Struct("<QQ32sQQQQ")
_SEGMENT = struct.Struct("<QQ")
_REF = struct.Struct("<B32s")
_MARK = struct.Struct("<QB")
_VALUE_TAG = b"valu"


@dataclass(frozen=True, slots=True)
class VersionState:
    """What the repository knows of a version beyond its record. `number` is 0 off `main`."""

    id: Digest
    entry: int
    number: int
    manifest: Digest
    files: int
    size_bytes: int
    new_bytes: int
    stored_bytes: int
    run: bytes

    def pack(self) -> bytes:
        """The value in the state."""
        numbers = (self.files, self.size_bytes, self.new_bytes, self.stored_bytes)
        return _VERSION.pack(self.entry, self.number, self.manifest, *numbers) + self.run


@dataclass(frozen=True, slots=True)
class RefState:
    """A branch, tag or alias. A deleted one keeps its target: a tag's name comes back only there."""

    kind: int
    name: str
    target: Digest
    deleted: bool = False

    def pack(self) -> bytes:
        """The value in the state."""
        return _REF.pack(self.kind | (REF_DELETED if self.deleted else 0), self.target)


@dataclass(frozen=True, slots=True)
class SignatureState:
    """An envelope as somebody recorded it; nothing of it is checked. `signer` is the id of a key."""

    subject: Digest
    signer: Digest
    envelope: bytes


@dataclass(frozen=True, slots=True)
class SegmentState:
    """A valid index segment."""

    name: Digest
    keys: int
    size_bytes: int

    def pack(self) -> bytes:
        """The value in the state."""
        return _SEGMENT.pack(self.keys, self.size_bytes)


class State:
    """A read-only view after entry `number`: a checkpoint's tree and the changes since.

    A look-up reads one node a level, and only those nobody read yet.
    """

    def __init__(
        self,
        number: int,
        genesis: Genesis,
        nodes: NodeStore,
        base: Link | None,
        changes: dict[bytes, bytes | None],
    ) -> None:
        self.number = number
        self.genesis = genesis
        self.nodes = nodes
        self.base = base
        self.changes = changes

    def copy(self) -> State:
        """A state that can be changed apart from this one."""
        return State(self.number, self.genesis, self.nodes, self.base, dict(self.changes))

    # The map

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None."""
        if key in self.changes:
            return self.changes[key]
        if self.base is None:
            return None
        row = find(self.nodes, self.base, key)
        return None if row is None else value_of(row)

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys that begin with `prefix`, in order, with their values."""
        changed = sorted(key for key in self.changes if key.startswith(prefix))
        at = 0
        if self.base is not None:
            for row in scan(self.nodes, self.base, prefix, prefix_stop(prefix)):
                while at < len(changed) and changed[at] < row.key:
                    yield from self._changed(changed[at])
                    at += 1
                if at < len(changed) and changed[at] == row.key:
                    yield from self._changed(changed[at])
                    at += 1
                else:
                    yield row.key, value_of(row)
        for key in changed[at:]:
            yield from self._changed(key)

    def _changed(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        value = self.changes[key]
        if value is not None:
            yield key, value

    # What it means

    def dataset(self, name: str) -> bytes | None:
        """The id of the dataset of this name."""
        return self.get(DATASET + name.encode())

    def datasets(self) -> Iterator[tuple[str, bytes]]:
        """The names and ids of all datasets, by name."""
        for key, value in self.items(DATASET):
            yield key[4:].decode(), value

    def deleted_datasets(self) -> Iterator[tuple[bytes, str]]:
        """The ids of deleted datasets and the names they had."""
        for key, value in self.items(DELETED):
            yield key[4:], value.decode()

    def ref(self, dataset: bytes, name: str) -> RefState | None:
        """A branch, tag or alias, also a deleted one."""
        value = self.get(REF + dataset + name.encode())
        return None if value is None else _ref(name, value)

    def refs(self, dataset: bytes) -> Iterator[RefState]:
        """The branches, tags and aliases of a dataset, by name, deleted ones too."""
        prefix = REF + dataset
        for key, value in self.items(prefix):
            yield _ref(key[len(prefix) :].decode(), value)

    def version(self, dataset: bytes, version: bytes) -> VersionState | None:
        """What is known of a version of this dataset; None also where it is condemned."""
        value = self.get(VERSION + dataset + version)
        return None if value is None or is_condemned(value) else _version(version, value)

    def versions(self, dataset: bytes, prefix: bytes = b"") -> Iterator[VersionState]:
        """The versions of a dataset whose ids begin with `prefix`, by id; none that is condemned."""
        for key, value in self.items(VERSION + dataset + prefix):
            if not is_condemned(value):
                yield _version(key[-DIGEST_BYTES:], value)

    def numbered(self, dataset: bytes, number: int) -> Digest | None:
        """The id of `vN`."""
        value = self.get(NUMBER + dataset + number.to_bytes(8, "big"))
        return None if value is None else Digest(value)

    def numbers(self, dataset: bytes) -> Iterator[tuple[int, Digest]]:
        """Every `vN` that was given, with the version it means, in order."""
        for key, value in self.items(NUMBER + dataset):
            yield int.from_bytes(key[-8:], "big"), Digest(value)

    def next_number(self, dataset: bytes, after: int) -> int:
        """The number for the next version on `main`: above `after`, and never given before.

        `after` 0 means that nobody knows what was given: above all that was.
        """
        if not after:
            return max((number for number, _ in self.numbers(dataset)), default=0) + 1
        number = after + 1
        while self.numbered(dataset, number) is not None:
            number += 1
        return number

    def is_absent(self, dataset: bytes, version: bytes) -> bool:
        """Whether a version is a parent that is not here on purpose: its history was copied in part."""
        return self.get(SHALLOW + dataset + version) is not None

    def absent(self, dataset: bytes) -> Iterator[Digest]:
        """The parents that are not here on purpose, by id."""
        for key, _ in self.items(SHALLOW + dataset):
            yield Digest(key[-DIGEST_BYTES:])

    def condemned(self, dataset: bytes) -> Iterator[tuple[Digest, int]]:
        """The versions that are as good as gone, each with the number of the entry that says so.

        Their objects are marked, or about to be; the contents may still be there.
        """
        for key, value in self.items(CONDEMNED + dataset):
            yield Digest(key[-DIGEST_BYTES:]), int.from_bytes(value, "little")

    def holds(self) -> Iterator[tuple[str, Digest]]:
        """The named reasons to keep versions, by name."""
        for key, value in self.items(HELD):
            yield key[4:].decode(), Digest(value)

    def every_version(self, dataset: bytes) -> Iterator[VersionState]:
        """The versions of a dataset by id, those that are condemned too."""
        for key, value in self.items(VERSION + dataset):
            yield _version(key[-DIGEST_BYTES:], value)

    def erased(self, digest: bytes) -> str | None:
        """The record of the erasure of a file or chunk, where its bytes are gone on purpose."""
        value = self.get(ERASED + digest)
        return None if value is None else value.decode()

    def erasures(self) -> Iterator[tuple[Digest, str]]:
        """The files and chunks that were erased, by digest, with the record of each."""
        for key, value in self.items(ERASED):
            yield Digest(key[4:]), value.decode()

    def segments(self) -> list[SegmentState]:
        """The valid index segments, by name."""
        return [SegmentState(Digest(key[4:]), *_SEGMENT.unpack(value)) for key, value in self.items(SEGMENT)]

    def marks(self) -> dict[Digest, tuple[int, int]]:
        """Marked packs and segments, that are not swept: the entry that marked each, and its kind."""
        return {Digest(key[4:]): _MARK.unpack(value) for key, value in self.items(MARKED)}

    def marked(self) -> dict[Digest, int]:
        """Packs and segments that nothing new may rely on, with their kinds: marked or swept."""
        return {Digest(key[4:]): value[8] for prefix in (MARKED, SWEPT) for key, value in self.items(prefix)}

    def swept(self) -> dict[Digest, int]:
        """Packs and segments that are being deleted, with their kinds."""
        return {Digest(key[4:]): value[8] for key, value in self.items(SWEPT)}

    def signatures(self, subject: bytes = b"") -> Iterator[SignatureState]:
        """The signatures of a version or of a run's end record; of all, without one. By subject and key."""
        for key, value in self.items(SIGNATURE + subject):
            yield SignatureState(Digest(key[4:-DIGEST_BYTES]), Digest(key[-DIGEST_BYTES:]), value)

    def signature(self, subject: bytes, signer: bytes) -> bytes | None:
        """The envelope of a key's signature of a subject."""
        return self.get(SIGNATURE + subject + signer)

    def settings(self, prefix: str) -> Iterator[tuple[str, str]]:
        """The mutable settings whose names begin so, and their values, by name."""
        for key, value in self.items(CONFIG + prefix.encode()):
            yield key[4:].decode(), value.decode()

    def setting(self, key: str) -> str | None:
        """A mutable setting of the repository."""
        value = self.get(CONFIG + key.encode())
        return None if value is None else value.decode()


def is_condemned(value: bytes) -> bool:
    """Whether the value of a version says that it is condemned."""
    return bool(value[7] & 0x80)


def value_row(key: bytes, value: bytes) -> Row:
    """The row of a state tree."""
    return Row(key, b"", ((_VALUE_TAG, IDENTITY | MUST_UNDERSTAND, value),))


def value_of(row: Row) -> bytes:
    """The value in a row of a state tree."""
    return row.extras[0][2] if row.extras else b""


def _ref(name: str, value: bytes) -> RefState:
    kind, target = _REF.unpack(value)
    return RefState(kind & ~REF_DELETED, name, Digest(target), bool(kind & REF_DELETED))


def _version(version: bytes, value: bytes) -> VersionState:
    entry, number, manifest, files, size_bytes, new, stored = _VERSION.unpack_from(value)
    run = value[_VERSION.size :]
    return VersionState(Digest(version), entry, number, Digest(manifest), files, size_bytes, new, stored, run)
