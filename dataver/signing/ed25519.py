"""Ed25519 by the library `cryptography`: private keys in files, and whether a signature is right.

No error repeats anything of a key or a passphrase, and none carries the library's own error with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dataver.errors import BadInputError, MissingExtraError
from dataver.signing.public import PublicKey, read_key_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Ask = Callable[[], str | None]
"""Gives the passphrase of a key, when one is needed; None where there is none to be had."""

_OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"


class FileSigner:
    """Signs with a private key that was read from a file. Its representation says the public key alone."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = PublicKey(key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"<FileSigner {self.public_key.fingerprint}>"

    def __reduce__(self) -> Any:
        raise TypeError("a private key is not pickled")

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of a signature."""
        return self._key.sign(data)


def need_cryptography() -> None:
    """`MissingExtraError` where `cryptography` cannot be imported."""
    try:
        import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"signatures need cryptography, which cannot be imported ({error}); pip install 'dataver[sign]'"
        ) from error


def is_valid(key: PublicKey, signature: bytes, data: bytes) -> bool:
    """Whether the holder of a key signed these bytes."""
    need_cryptography()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def read_private_key(path: str, ask: Ask) -> FileSigner:
    """The Ed25519 private key in a file of OpenSSH's or in PEM (PKCS 8). `ask` where it is encrypted."""
    need_cryptography()
    data = read_key_file(path)
    if b"PRIVATE KEY-----" not in data:
        raise BadInputError(
            f"{path} holds no private key; name the file with the private one, or let the SSH agent sign: "
            "--key agent"
        )
    try:
        return FileSigner(_load(data, path, None))
    except _EncryptedError:
        passphrase = ask()
    if not passphrase:
        raise BadInputError(
            f"{path} is encrypted: set DATAVER_SIGNING_PASSPHRASE, or add it to the SSH agent and name "
            "--key agent"
        )
    try:
        return FileSigner(_load(data, path, passphrase.encode()))
    except _EncryptedError:
        raise BadInputError(f"the passphrase is not that of {path}") from None


class _EncryptedError(Exception):
    """The key needs a passphrase, or another one; goes no further than `read_private_key`."""


def _load(data: bytes, path: str, passphrase: bytes | None) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    load = load_ssh_private_key if _OPENSSH in data else load_pem_private_key
    try:
        key = load(data, passphrase)
    except TypeError:  # Encrypted and no passphrase: with one where none is needed nobody calls this.
        raise _EncryptedError from None
    except UnsupportedAlgorithm as error:
        if "bcrypt" in str(error):
            raise MissingExtraError(
                f"{path} is encrypted, and to read it needs bcrypt, which is not installed; "
                "pip install 'dataver[sign]'"
            ) from None
        raise _no_such_key(path) from None
    except ValueError as error:
        # Older releases of the library say so of OpenSSH keys.
        if passphrase is not None or "password-protected" in str(error):
            raise _EncryptedError from None
        raise BadInputError(f"{path} is malformed: it is no private key that can be read") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_such_key(path)
    return key


def _no_such_key(path: str) -> BadInputError:
    return BadInputError(
        f"{path} is no Ed25519 key, and only such keys sign versions: `ssh-keygen -t ed25519` makes one"
    )
