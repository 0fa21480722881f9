"""Which columns of a row are kept, and which are kept as digests alone."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from hashlib import blake2b
from typing import Any

from dataver.errors import BadInputError
from dataver.serving.bodies import NotUnderstoodError, Row
from dataver.values import dataclass

__all__ = ["KEY_VARIABLE", "Privacy", "make_privacy"]

KEY_VARIABLE = "DATAVER_SERVED_KEY"
KEY_BYTES_MIN = 16


@dataclass(frozen=True, slots=True)
class Privacy:
    """`columns` alone are kept, where any are named, without `leave_out`; `hashed` become digests.

    What is left out or hashed is so too where it is a part of the value of a column.
    """

    columns: frozenset[str]
    leave_out: frozenset[str]
    hashed: frozenset[str]
    key: bytes

    def kept(self, row: Mapping[str, Any]) -> Row:
        """What of a row is kept. `NotUnderstoodError` where its columns are numbered, and names are to go."""
        if "0" in row and self.by_name and not any(map(str.isdigit, self.leave_out | self.hashed)):
            raise NotUnderstoodError("its columns have no names to tell which of them are not to be kept")
        return self._fields(
            {name: value for name, value in row.items() if not self.columns or name in self.columns}
        )

    def _fields(self, fields: Mapping[str, Any]) -> Row:
        return {
            name: self._digest(value) if name in self.hashed and value is not None else self._inside(value)
            for name, value in fields.items()
            if name not in self.leave_out
        }

    def _inside(self, value: Any) -> Any:
        if not self.by_name:
            return value
        if isinstance(value, Mapping):
            return self._fields(value)
        return [self._inside(entry) for entry in value] if isinstance(value, list | tuple) else value

    @property
    def by_name(self) -> bool:
        """Whether there is anything that is not to reach the disk as it is."""
        return bool(self.leave_out or self.hashed)

    def _digest(self, value: Any) -> str:
        data = json.dumps(_same(value), sort_keys=True, default=str).encode()
        return blake2b(data, digest_size=16, key=self.key).hexdigest()


def _same(value: Any) -> Any:
    """A value as others that are equal to it are written: 41 for 41.0, and for either of NumPy's."""
    found = value.tolist() if hasattr(value, "tolist") else value
    return int(found) if isinstance(found, float) and found.is_integer() else found


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
