"""How the fields of operations are written and read, each by its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dataver.digest import DIGEST_BYTES, Digest
from dataver.format.binary import Reader, Writer
from dataver.format.limits import ENVELOPE_BYTES_MAX
from dataver.values import NamedTuple

ID_BYTES = 16
NO_DIGEST = bytes(DIGEST_BYTES)


class Codec(NamedTuple):
    """How one field is written and read."""

    write: Callable[[Writer, Any], object]
    read: Callable[[Reader], Any]


def _read_digests(reader: Reader) -> tuple[Digest, ...]:
    return tuple([Digest(reader.raw(DIGEST_BYTES)) for _ in range(reader.u32())])


def _write_digests(writer: Writer, digests: tuple[bytes, ...]) -> None:
    writer.u32(len(digests)).raw(b"".join(digests))


def _read_optional(reader: Reader) -> Digest | None:
    digest = Digest(reader.raw(DIGEST_BYTES))
    return None if digest == NO_DIGEST else digest


def _read_envelope(reader: Reader) -> bytes:
    envelope = reader.blob()
    if len(envelope) > ENVELOPE_BYTES_MAX:
        reader.fail(f"a signature of {len(envelope)} bytes, where {ENVELOPE_BYTES_MAX} is the most")
    return envelope


U8 = Codec(Writer.u8, Reader.u8)
U64 = Codec(Writer.u64, Reader.u64)
TEXT = Codec(Writer.text, Reader.text)
BLOB = Codec(Writer.blob, Reader.blob)
ID = Codec(Writer.raw, lambda reader: reader.raw(ID_BYTES))
DIGEST = Codec(Writer.raw, lambda reader: Digest(reader.raw(DIGEST_BYTES)))
OPTIONAL = Codec(lambda writer, digest: writer.raw(digest or NO_DIGEST), _read_optional)
ENVELOPE = Codec(Writer.blob, _read_envelope)
DIGESTS = Codec(_write_digests, _read_digests)
TEXTS = Codec(
    lambda writer, texts: [writer.u32(len(texts)), *map(writer.text, texts)],
    lambda reader: tuple([reader.text() for _ in range(reader.u32())]),
)
