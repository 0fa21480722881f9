"""Public keys: Ed25519, as OpenSSH and PEM write them. Needs no library."""

from __future__ import annotations

import hashlib
import os
from base64 import b64decode, b64encode
from binascii import Error as Base64Error

from dataver.digest import Digest
from dataver.errors import BadInputError, NotFoundError, NotPermittedError
from dataver.format.envelope import PUBLIC_KEY_BYTES
from dataver.values import dataclass

KEY_TYPE = "ssh-ed25519"
KEY_FILE_BYTES_MAX = 64 << 10
NAME_CHARACTERS_MAX = 200
PATH_CHARACTERS_MAX = 4096

_TYPE_FIELD = len(KEY_TYPE).to_bytes(4, "big") + KEY_TYPE.encode()
_BLOB_START = _TYPE_FIELD + PUBLIC_KEY_BYTES.to_bytes(4, "big")
# The DER of an Ed25519 SubjectPublicKeyInfo (RFC 8410) up to the key itself.
_SPKI_START = bytes.fromhex("302a300506032b6570032100")
_PEM_LINES = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key. `raw` is its 32 bytes."""

    raw: bytes

    @property
    def blob(self) -> bytes:
        """As the SSH protocol has it."""
        return _BLOB_START + self.raw

    @property
    def id(self) -> Digest:
        """The SHA-256 of the blob: the same bytes as in the fingerprint."""
        return Digest(hashlib.sha256(self.blob).digest())

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`, as `ssh-keygen -l` and `ssh-add -l` print it."""
        return fingerprint(self.id)

    @property
    def line(self) -> str:
        """`ssh-ed25519 AAAA…`, as in a `.pub` file, without a comment."""
        return f"{KEY_TYPE} {b64encode(self.blob).decode()}"


def fingerprint(key_id: bytes) -> str:
    """The fingerprint of the key of this id."""
    return "SHA256:" + b64encode(key_id).decode().rstrip("=")


def parse_blob(blob: bytes) -> PublicKey | None:
    """The key that the SSH protocol spells so; None for keys of other kinds."""
    if len(blob) != len(_BLOB_START) + PUBLIC_KEY_BYTES or not blob.startswith(_BLOB_START):
        return None
    return PublicKey(blob[len(_BLOB_START) :])


def parse_line(text: str) -> PublicKey:
    """Read `ssh-ed25519 AAAA… [comment]`. Anything else is a `BadInputError`, which repeats nothing of it."""
    parts = text.split(maxsplit=2)
    if len(parts) < 2 or parts[0] != KEY_TYPE:
        raise BadInputError(f"that is no public key as '{KEY_TYPE} AAAA…': only Ed25519 keys sign versions")
    key = parse_blob(_unbase64(parts[1]))
    if key is None:
        raise BadInputError(f"the {KEY_TYPE} public key is malformed: it is cut short, or was changed")
    return key


def read_public_key(text_or_path: str) -> PublicKey:
    """The key in a text `ssh-ed25519 AAAA…`, or in the file of this name: such a line, or PEM."""
    if text_or_path.startswith(f"{KEY_TYPE} "):
        return parse_line(text_or_path)
    data = read_key_file(text_or_path)
    if b"PRIVATE KEY-----" in data:
        raise BadInputError(
            f"{text_or_path} is a private key, which stays where it is; name its public key, as a rule "
            f"{text_or_path}.pub"
        )
    try:
        text = data.decode().strip()
        return _parse_pem(text) if text.startswith(_PEM_LINES[0]) else parse_line(text)
    except UnicodeDecodeError:
        raise BadInputError(f"{text_or_path} is no public key: it is no text") from None
    except BadInputError as error:
        raise BadInputError(f"{text_or_path}: {error}") from None


def read_key_file(path: str) -> bytes:
    """The bytes of a file that is to hold keys. What may be a key itself is not repeated in an error."""
    if "\n" in path or "-----" in path or len(path) > PATH_CHARACTERS_MAX:
        raise BadInputError("that is no name of a file; name the file, not what it holds")
    place = os.path.expanduser(path)
    try:
        with open(place, "rb") as file:
            data = file.read(KEY_FILE_BYTES_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"there is no file {path}") from None
    except PermissionError:
        raise NotPermittedError(f"{path} may not be read: check its permissions") from None
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path} cannot be read: {error}") from None
    if len(data) > KEY_FILE_BYTES_MAX:
        raise BadInputError(f"{path} has more than {KEY_FILE_BYTES_MAX >> 10} KiB, too much for keys")
    return data


def check_name(name: str) -> str:
    """Return the name of who holds a key: one word, so that it stands in a line before the key."""
    if not name or len(name) > NAME_CHARACTERS_MAX or not name.isprintable() or name.split() != [name]:
        raise BadInputError("that cannot name a key: one word is expected, as ada@example.org")
    if name.startswith(("#", KEY_TYPE)):
        raise BadInputError(f"{name!r} cannot name a key: it would begin a comment or a key")
    return name


def _parse_pem(text: str) -> PublicKey:
    lines = [line.strip() for line in text.splitlines()]
    data = _unbase64("".join(lines[1:-1])) if lines[-1] == _PEM_LINES[1] else b""
    if len(data) != len(_SPKI_START) + PUBLIC_KEY_BYTES or not data.startswith(_SPKI_START):
        raise BadInputError("that is no Ed25519 public key; only such keys sign versions")
    return PublicKey(data[len(_SPKI_START) :])


def _unbase64(text: str) -> bytes:
    try:
        return b64decode(text.encode("ascii"), validate=True)
    except (Base64Error, ValueError):
        return b""
