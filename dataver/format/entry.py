"""Log entries: the numbered, hash-chained objects that a repository's whole history is.

    "DVLG" | version u8 | number u64 | digest of the entry before 32 | repository id 16
    | write id 16 | time i64 (µs since 1970, UTC) | author text | own operations
    | base: 0 u8, or 1 u8 and (state root 32 | identity 32 | rows u64 | pack 32 | offset u32 | length u32)
    | entries since u32 | (number u64 | time i64 | operations)…
    | extensions u32 | (tag 4 | flags u32 | blob)…
    | digest of everything before it 32

The base is the state that the newest checkpoint names: the state after all entries before it.
"Since" repeats the operations of every entry from the checkpoint on, up to the one before this
one, so that this entry and the base give the state. The digest at the end is the entry's own, which the
next one names: rot in the newest entry shows before anything is believed.
"""

from __future__ import annotations

from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import NewerFormatError
from dataver.format.binary import Buffer, Reader, Writer
from dataver.format.fields import ID_BYTES
from dataver.format.operations import Operation, read_operations, write_operations
from dataver.hashing import Kind, kind_digest
from dataver.values import dataclass

ENTRY_MAGIC = b"DVLG"
ENTRY_VERSION = 1
MUST_UNDERSTAND = 2
CHECKPOINT_EVERY = 64
NO_ENTRY = Digest(bytes(DIGEST_BYTES))


@dataclass(frozen=True, slots=True)
class StateRoot:
    """The root of a state tree and the place of its node: a raw frame of a pack."""

    digest: Digest
    identity: Digest
    rows: int
    pack: Digest
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Step:
    """What one entry did: its number, its time (µs) and its operations."""

    number: int
    time_us: int
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log. `previous` is the digest of entry `number` - 1, zeros for entry 0."""

    number: int
    previous: Digest
    repository: bytes
    write_id: bytes
    time_us: int
    author: str
    operations: tuple[Operation, ...]
    base: StateRoot | None
    since: tuple[Step, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """Everything that was done on top of the base, this entry's own operations last."""
        return (*self.since, Step(self.number, self.time_us, self.operations))

    def encode(self) -> bytes:
        """The bytes of the entry."""
        writer = Writer().raw(ENTRY_MAGIC).u8(ENTRY_VERSION).u64(self.number).raw(self.previous)
        writer.raw(self.repository).raw(self.write_id).i64(self.time_us).text(self.author)
        write_operations(writer, self.operations)
        if self.base is None:
            writer.u8(0)
        else:
            base = self.base
            writer.u8(1).raw(base.digest).raw(base.identity).u64(base.rows)
            writer.raw(base.pack).u32(base.offset).u32(base.length)
        writer.u32(len(self.since))
        for step in self.since:
            writer.u64(step.number).i64(step.time_us)
            write_operations(writer, step.operations)
        body = writer.u32(0).finish()
        return body + kind_digest(Kind.LOG_ENTRY, body)


def entry_digest(data: Buffer) -> Digest:
    """The digest that the next entry names, of an entry that `decode_entry` accepts."""
    return Digest(bytes(memoryview(data)[-DIGEST_BYTES:]))


def decode_entry(data: Buffer, what: str) -> Entry:
    """Read a log entry; `what` names it in errors."""
    reader = Reader(data, what)
    reader.expect(ENTRY_MAGIC, "magic")
    version = reader.u8()
    if version != ENTRY_VERSION:
        raise NewerFormatError(f"{what} has version {version}; this release reads {ENTRY_VERSION}")
    if reader.remaining < DIGEST_BYTES:
        reader.fail("it is cut short")
    if kind_digest(Kind.LOG_ENTRY, memoryview(data)[:-DIGEST_BYTES]) != entry_digest(data):
        reader.fail("its bytes do not match its digest")
    number, previous = reader.u64(), Digest(reader.raw(DIGEST_BYTES))
    repository, write_id = reader.raw(ID_BYTES), reader.raw(ID_BYTES)
    time_us, author = reader.i64(), reader.text()
    operations = read_operations(reader)
    base = _read_base(reader)
    since = tuple([Step(reader.u64(), reader.i64(), read_operations(reader)) for _ in range(reader.u32())])
    for _ in range(reader.u32()):
        tag, flags = reader.raw(4), reader.u32()
        reader.blob()
        if flags & MUST_UNDERSTAND:
            raise NewerFormatError(f"{what} has an extension {tag!r} that this release does not know")
    reader.raw(DIGEST_BYTES)
    reader.end()
    first = number - number % CHECKPOINT_EVERY
    if [step.number for step in since] != list(range(first, number)) or (base is None) != (first == 0):
        reader.fail("it does not repeat the entries since its checkpoint")
    return Entry(number, previous, repository, write_id, time_us, author, operations, base, since)


def _read_base(reader: Reader) -> StateRoot | None:
    present = reader.u8()
    if present > 1:
        reader.fail("its base is neither there nor missing")
    if not present:
        return None
    digest, identity, rows = Digest(reader.raw(DIGEST_BYTES)), Digest(reader.raw(DIGEST_BYTES)), reader.u64()
    return StateRoot(digest, identity, rows, Digest(reader.raw(DIGEST_BYTES)), reader.u32(), reader.u32())
