"""The version record: what a version is, apart from where its bytes are.

    "DVVR" | version u8 | tree 32 | parents u32 | parent 32… | time i64 (µs since 1970, UTC)
    | author text | message text | metadata u32 | (key text | value text)…  (keys ascending)
    | run blob (0 or 16 bytes) | extensions u32 | (tag 4 | flags u32 | blob)…  (tags ascending)

A text or blob is a u32 length and so many bytes. The record's digest is the version's id.
"""

from __future__ import annotations

from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import NewerFormatError
from dataver.format.binary import Buffer, Reader, Writer
from dataver.format.limits import TIME_US_MAX, TIME_US_MIN
from dataver.hashing import Kind, kind_digest
from dataver.values import dataclass

VERSION_MAGIC = b"DVVR"
RECORD_VERSION = 1
MUST_UNDERSTAND = 2
RUN_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One immutable state of a dataset.

    `time_us` is in whole microseconds since 1970, UTC. `run_id` is 16 bytes, or empty where no
    run made the version. `extensions` are kept byte for byte.
    """

    tree: Digest
    parents: tuple[Digest, ...]
    time_us: int
    author: str
    message: str
    meta: tuple[tuple[str, str], ...] = ()
    run_id: bytes = b""
    extensions: tuple[tuple[bytes, int, bytes], ...] = ()

    def encode(self) -> bytes:
        """The canonical bytes."""
        writer = Writer().raw(VERSION_MAGIC).u8(RECORD_VERSION).raw(self.tree).u32(len(self.parents))
        for parent in self.parents:
            writer.raw(parent)
        writer.i64(self.time_us).text(self.author).text(self.message).u32(len(self.meta))
        for key, value in sorted(self.meta):
            writer.text(key).text(value)
        writer.blob(self.run_id).u32(len(self.extensions))
        for tag, flags, body in sorted(self.extensions):
            writer.raw(tag).u32(flags).blob(body)
        return writer.finish()

    def id(self) -> Digest:
        """The version's id: the digest of the canonical bytes."""
        return kind_digest(Kind.VERSION, self.encode())


def decode_version(data: Buffer, what: str) -> VersionRecord:
    """Read a version record; `what` names it in errors. Only canonical bytes are accepted."""
    reader = Reader(data, what)
    reader.expect(VERSION_MAGIC, "magic")
    number = reader.u8()
    if number != RECORD_VERSION:
        raise NewerFormatError(f"{what} has record version {number}; this release reads {RECORD_VERSION}")
    tree = Digest(reader.raw(DIGEST_BYTES))
    parents = tuple([Digest(reader.raw(DIGEST_BYTES)) for _ in range(reader.u32())])
    time_us, author, message = reader.i64(), reader.text(), reader.text()
    meta = tuple([(reader.text(), reader.text()) for _ in range(reader.u32())])
    run_id = reader.blob()
    extensions = tuple([(reader.raw(4), reader.u32(), reader.blob()) for _ in range(reader.u32())])
    reader.end()
    if not TIME_US_MIN <= time_us <= TIME_US_MAX:
        reader.fail("its time is not in the years 1 to 9999")
    for tag, flags, _ in extensions:
        if flags & MUST_UNDERSTAND:
            raise NewerFormatError(f"{what} has an extension {tag!r} that this release does not know")
    record = VersionRecord(tree, parents, time_us, author, message, meta, run_id, extensions)
    if record.encode() != bytes(data) or len(run_id) not in (0, RUN_ID_BYTES):
        reader.fail("its fields are not in canonical order")
    return record
