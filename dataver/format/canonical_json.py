"""JSON with one spelling: what records hold whose fields grow from release to release.

UTF-8, keys in ascending order, no blanks, no escapes beyond those that JSON asks for, no NaN and
no infinities (RFC 8259). Bytes that are not the spelling of their own value are refused, so that a
digest stands for a value.
"""

from __future__ import annotations

import json
from itertools import chain
from typing import Any, NoReturn

from dataver.errors import DamagedError
from dataver.format.binary import Buffer

__all__ = ["DEPTH_MAX", "canonical_json", "parse_canonical_json"]

DEPTH_MAX = 64


def canonical_json(value: Any) -> bytes:
    """The bytes of a value of texts, numbers, truths, None, lists, and mappings with texts for keys.

    `ValueError` or `TypeError` for anything else, `UnicodeEncodeError` for half a surrogate pair.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text.encode()


def parse_canonical_json(data: Buffer, what: str) -> Any:
    """The value of canonical bytes. `DamagedError`, which names `what`, for any others."""

    def refuse(name: str) -> NoReturn:
        raise ValueError(f"{name} is no number")

    try:
        value = json.loads(bytes(data), parse_constant=refuse)
        if _depth(value) > DEPTH_MAX:
            raise ValueError(f"it is deeper than {DEPTH_MAX} levels")
        same = canonical_json(value) == bytes(data)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{what} is malformed: {error}; run `dataver verify`") from error
    if not same:
        raise DamagedError(f"{what} is malformed: it is not spelled canonically; run `dataver verify`")
    return value


def _depth(value: Any) -> int:
    """How deep it is; not much is looked at beyond what is allowed."""
    depth, level = 0, [value]
    while level and depth <= DEPTH_MAX:
        depth += 1
        lists = [
            found.values() if isinstance(found, dict) else found
            for found in level
            if isinstance(found, dict | list)
        ]
        level = list(chain.from_iterable(lists))
    return depth
