"""Whose signatures count: the keys that the repository's settings list, or those of a file of the user's.

Who may write to a repository may list keys there. `DATAVER_TRUSTED_KEYS` names a file that nobody else
writes; where it is set, the repository's list does not count.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from dataver.digest import Digest
from dataver.errors import BadInputError, DamagedError
from dataver.log.state import State
from dataver.signing.public import PublicKey, check_name, parse_line, read_key_file
from dataver.values import dataclass

FILE_VARIABLE = "DATAVER_TRUSTED_KEYS"
SETTING_PREFIX = "trust/"


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key, and what its holder is called."""

    name: str
    key: PublicKey

    @property
    def line(self) -> str:
        """`NAME ssh-ed25519 AAAA…`: a line of a file of trusted keys, and the setting of a repository."""
        return f"{self.name} {self.key.line}"

    def to_json(self) -> dict[str, str]:
        """`{"name", "key", "fingerprint", "public_key"}`."""
        key = self.key
        return {
            "name": self.name,
            "key": str(key.id),
            "fingerprint": key.fingerprint,
            "public_key": key.line,
        }


@dataclass(frozen=True, slots=True)
class Trust:
    """The trusted keys by their ids. `file` is where they stand, None for the repository itself."""

    keys: Mapping[Digest, TrustedKey]
    file: str | None = None

    @property
    def where(self) -> str:
        """For messages."""
        return self.file or "this repository"


def setting_of(key: PublicKey) -> str:
    """The name of the setting that says that a key is trusted."""
    return f"{SETTING_PREFIX}{key.id}"


def trusted(state: State) -> Trust:
    """The keys whose signatures count."""
    file = os.environ.get(FILE_VARIABLE)
    return listed(state) if file is None else read_file(file)


def listed(state: State) -> Trust:
    """The keys that the repository lists."""
    found = {}
    for setting, value in state.settings(SETTING_PREFIX):
        try:
            entry = _parse(value)
        except BadInputError as error:
            raise DamagedError(f"the setting {setting} of the repository is malformed: {error}") from None
        if setting_of(entry.key) != setting:
            raise DamagedError(f"the setting {setting} of the repository is malformed: it is of another key")
        found[entry.key.id] = entry
    return Trust(found)


def read_file(path: str) -> Trust:
    """The keys in a file of lines `NAME ssh-ed25519 AAAA…`; empty ones and comments by `#` count for nothing.

    Any other line is a `BadInputError`: half a list is no list.
    """
    if not path:
        raise BadInputError(f"{FILE_VARIABLE} is empty; name a file of trusted keys, or unset it")
    found: dict[Digest, TrustedKey] = {}
    for number, line in enumerate(read_key_file(path).split(b"\n"), 1):
        try:
            text = line.decode().strip()
            if text and not text.startswith("#"):
                entry = _parse(text)
                found[entry.key.id] = entry
        except (UnicodeDecodeError, BadInputError):
            raise BadInputError(
                f"{path}, line {number}: expected is NAME ssh-ed25519 KEY, with one word for a name"
            ) from None
    return Trust(found, path)


def _parse(text: str) -> TrustedKey:
    name, _, key = text.partition(" ")
    return TrustedKey(check_name(name), parse_line(key))
