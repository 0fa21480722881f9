"""Which columns of a row are kept, and which are kept as digests alone."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from hashlib import blake2b
from typing import Any

from dataver.errors import BadInputError
from dataver.serving.bodies import Row
from dataver.values import dataclass

__all__ = ["KEY_VARIABLE", "Privacy", "make_privacy"]

KEY_VARIABLE = "DATAVER_SERVED_KEY"
KEY_BYTES_MIN = 16


@dataclass(frozen=True, slots=True)
class Privacy:
    """`columns` alone are kept, where any are named, without `leave_out`; `hashed` become digests."""

    columns: frozenset[str]
    leave_out: frozenset[str]
    hashed: frozenset[str]
    key: bytes

    def kept(self, row: Mapping[str, Any]) -> Row:
        """What of a row is kept."""
        return {
            name: self._digest(value) if name in self.hashed and value is not None else value
            for name, value in row.items()
            if (not self.columns or name in self.columns) and name not in self.leave_out
        }

    def _digest(self, value: Any) -> str:
        data = json.dumps(value, sort_keys=True, default=str).encode()
        return blake2b(data, digest_size=16, key=self.key).hexdigest()


def make_privacy(
    columns: Collection[str], leave_out: Collection[str], hashed: Collection[str], key: str | bytes | None
) -> Privacy:
    """`key` is that of the digests, without which they say nothing; else `DATAVER_SERVED_KEY` is.

    `BadInputError` where there is none that is long enough: a digest of a name can be guessed without one.
    """
    for given in (columns, leave_out, hashed):
        if isinstance(given, str | bytes):
            raise BadInputError(f"{given!r} is one name of a column; a list of names is expected")
    found = key if key is not None else os.environ.get(KEY_VARIABLE, "")
    data = found.encode() if isinstance(found, str) else bytes(found)
    if hashed and len(data) < KEY_BYTES_MIN:
        raise BadInputError(
            f"hashed columns need a secret key of {KEY_BYTES_MIN} bytes or more: give `key`, or set "
            f"{KEY_VARIABLE}"
        )
    return Privacy(frozenset(columns), frozenset(leave_out), frozenset(hashed), data[: blake2b.MAX_KEY_SIZE])
