"""Keys and files of keys for tests."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from dataver.signing.public import PublicKey


def make_key(number: int = 1) -> Ed25519PrivateKey:
    """The same key for the same number."""
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def public(key: Ed25519PrivateKey) -> PublicKey:
    return PublicKey(key.public_key().public_bytes_raw())


def write_key(
    path: Path,
    key: Ed25519PrivateKey,
    form: PrivateFormat = PrivateFormat.OpenSSH,
    passphrase: str | None = None,
) -> str:
    """Write a private key, and its public one beside it as `ssh-keygen` does; the path as text."""
    hidden: KeySerializationEncryption = NoEncryption()
    if passphrase is not None:
        hidden = BestAvailableEncryption(passphrase.encode())
    path.write_bytes(key.private_bytes(Encoding.PEM, form, hidden))
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    path.with_name(f"{path.name}.pub").write_bytes(line + b" someone@example.org\n")
    return str(path)
