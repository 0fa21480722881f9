"""What this machine saw last of each repository: the way a rolled-back history is noticed."""

from __future__ import annotations

import json
import os
from binascii import a2b_base64, b2a_base64  # `base64` is slow to import
from pathlib import Path

from dataver.config import cache_folder
from dataver.digest import Digest
from dataver.errors import BadInputError
from dataver.hashing import blake3_digest
from dataver.private import make_folder, opener
from dataver.values import dataclass


@dataclass(frozen=True, slots=True)
class Seen:
    """An entry of a repository's log as this machine saw it; `repository` is 32 hex digits.

    `entry` and `genesis` are the bytes of it and of entry 0, empty where they were not kept.
    """

    repository: str
    number: int
    digest: Digest
    entry: bytes = b""
    genesis: bytes = b""


class Remembered:
    """One small file a place in the user's cache folder. Losing it costs only the check.

    `place` is the `identity` of a store.
    """

    def __init__(self, place: str) -> None:
        self._path: Path | None = None
        self._known = b""
        if not place.startswith("memory:"):
            # A folder's name need not be UTF-8.
            name = blake3_digest(place.encode("utf-8", "surrogateescape")).hex()
            self._path = cache_folder() / "repositories" / name

    def load(self) -> Seen | None:
        """What was seen last, or None. A file that cannot be read is as good as none."""
        if self._path is None:
            return None
        try:
            self._known = self._path.read_bytes()
            document = json.loads(self._known)
            return Seen(
                str(document["repository"]),
                int(document["number"]),
                Digest.parse(document["digest"]),
                a2b_base64(document.get("entry", "")),
                a2b_base64(document.get("genesis", "")),
            )
        except (OSError, ValueError, KeyError, TypeError, BadInputError):
            return None

    def save(self, seen: Seen) -> None:
        """Remember; readers see the old or the new. A cache folder that cannot be written is no error."""
        if self._path is None:
            return
        document = {"repository": seen.repository, "number": seen.number, "digest": str(seen.digest)}
        if seen.entry:
            document |= {"entry": _base64(seen.entry), "genesis": _base64(seen.genesis)}
        data = json.dumps(document).encode()
        if data == self._known:
            return
        temporary = self._path.with_name(f"{self._path.name}.{os.urandom(8).hex()}")
        try:
            make_folder(self._path.parent)
            with open(temporary, "xb", opener=opener) as file:
                file.write(data)
            os.replace(temporary, self._path)
            self._known = data
        except OSError:
            return


def _base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode()
