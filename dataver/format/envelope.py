"""Signatures as bytes: a DSSE v1 envelope of one Ed25519 signature over a statement.

    {"payload":"BASE64","payloadType":"TYPE","signatures":[{"keyid":"64 HEX","sig":"BASE64"}]}

The payload is a statement in JSON, which says what is signed. Both are JSON with sorted keys, without
blanks, in ASCII, and read only so: no two envelopes of one signature differ. What is signed is `pae`
of type and payload. The key id is the SHA-256 of the public key as OpenSSH spells it in binary.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Any, ClassVar

from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import BadInputError, DamagedError, NewerFormatError
from dataver.format.limits import ENVELOPE_BYTES_MAX
from dataver.values import dataclass

SIGNATURE_BYTES = 64
PUBLIC_KEY_BYTES = 32
ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class VersionStatement:
    """What somebody vouches for: these files, as version `id`, of a dataset of this name.

    `tree` is the digest of the files alone. `manifest` is the root of their stored nodes, so that a
    reader need compare nothing else. `key` is the public key, so that anybody can check the signature.
    `repository` says where it was signed, and binds nobody.
    """

    TYPE: ClassVar[str] = "application/vnd.dataver.version+json"
    FIELDS: ClassVar[Mapping[str, int]] = {
        "dataset": 0,
        "id": DIGEST_BYTES,
        "key": PUBLIC_KEY_BYTES,
        "manifest": DIGEST_BYTES,
        "repository": ID_BYTES,
        "tree": DIGEST_BYTES,
    }
    dataset: str
    id: str
    key: str
    manifest: str
    repository: str
    tree: str


@dataclass(frozen=True, slots=True)
class RunStatement:
    """What somebody vouches for: the record of the end of the run `id`, by its digest. The rest as above."""

    TYPE: ClassVar[str] = "application/vnd.dataver.run+json"
    FIELDS: ClassVar[Mapping[str, int]] = {
        "id": ID_BYTES,
        "key": PUBLIC_KEY_BYTES,
        "record": DIGEST_BYTES,
        "repository": ID_BYTES,
    }
    id: str
    key: str
    record: str
    repository: str


Statement = VersionStatement | RunStatement
_KINDS: dict[str, type[Statement]] = {kind.TYPE: kind for kind in (VersionStatement, RunStatement)}


@dataclass(frozen=True, slots=True)
class Envelope:
    """A statement and one signature over it, which nobody checked yet."""

    statement: Statement
    key_id: Digest
    signature: bytes

    @property
    def signed(self) -> bytes:
        """The bytes that the signature is over."""
        return signed_bytes(self.statement)

    def encode(self) -> bytes:
        """The canonical bytes."""
        return _canonical(
            {
                "payload": b64encode(payload(self.statement)).decode(),
                "payloadType": self.statement.TYPE,
                "signatures": [{"keyid": str(self.key_id), "sig": b64encode(self.signature).decode()}],
            }
        )


def pae(payload_type: str, body: bytes) -> bytes:
    """DSSE's pre-authentication encoding: lengths in bytes, decimal, so that no two pairs are alike."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)


def payload(statement: Statement) -> bytes:
    """A statement as it stands in the envelope."""
    return _canonical({name: getattr(statement, name) for name in statement.FIELDS})


def signed_bytes(statement: Statement) -> bytes:
    """What is signed to vouch for a statement."""
    return pae(statement.TYPE, payload(statement))


def decode_envelope(data: bytes, what: str) -> Envelope:
    """Read an envelope; `what` names it in errors. What `encode` never gives is a `DamagedError`.

    A statement of a kind that this release does not know is a `NewerFormatError`.
    """
    if len(data) > ENVELOPE_BYTES_MAX:
        raise DamagedError(f"{what} has {len(data)} bytes, where {ENVELOPE_BYTES_MAX} is the most")
    try:
        document = _read(data)
        kind = _KINDS.get(document["payloadType"])
        if kind is None:
            raise NewerFormatError(f"{what} is of a kind that this release does not know")
        fields = _read(_unbase64(document["payload"]))
        statement = kind(**{name: _field(fields[name], size) for name, size in kind.FIELDS.items()})
        (signature,) = document["signatures"]
        envelope = Envelope(
            statement, Digest.parse(signature["keyid"]), _unbase64(signature["sig"], SIGNATURE_BYTES)
        )
        found = envelope.encode()
    except NewerFormatError:
        raise
    except (BadInputError, Base64Error, LookupError, TypeError, ValueError, RecursionError):
        raise DamagedError(f"{what} is malformed: it is no envelope of a signature") from None
    if found != data:
        raise DamagedError(f"{what} is malformed: it is not in canonical form")
    return envelope


def _canonical(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _read(data: bytes) -> dict[str, Any]:
    document = json.loads(data.decode("ascii"))
    if not isinstance(document, dict):
        raise ValueError("no object")
    return document


def _unbase64(text: object, size: int | None = None) -> bytes:
    if not isinstance(text, str):
        raise TypeError("no text")
    data = b64decode(text.encode("ascii"), validate=True)
    if size is not None and len(data) != size:
        raise ValueError("another length")
    return data


def _field(text: object, size: int) -> str:
    """A text; of `size` bytes in hex, unless that is 0."""
    if not isinstance(text, str) or (size and (len(text) != 2 * size or text.strip("0123456789abcdef"))):
        raise ValueError("no such field")
    return text
