"""What users log, as JSON holds it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dataver.errors import BadInputError
from dataver.format.canonical_json import canonical_json

__all__ = ["KEY_CHARACTERS_MAX", "VALUE_BYTES_MAX", "checked_key", "plain_value"]

KEY_CHARACTERS_MAX = 500
VALUE_BYTES_MAX = 64 << 10
DEPTH_MAX = 16
"""What is deeper is recorded as text."""


def checked_key(name: object, what: str) -> str:
    """The name of something that is recorded. `BadInputError` for what is none."""
    if not isinstance(name, str) or not name or len(name) > KEY_CHARACTERS_MAX:
        raise BadInputError(f"{name!a:.100} cannot name a {what}: a text of some characters is expected")
    return name


def plain_value(name: str, value: Any) -> Any:
    """A value as JSON holds it. `BadInputError` for one that is too long."""
    plain = _simple(value, 0)
    try:
        size = len(canonical_json(plain))
    except (TypeError, ValueError) as error:
        raise BadInputError(f"the value of {name!a:.100} cannot be recorded: {error}") from error
    if size > VALUE_BYTES_MAX:
        raise BadInputError(
            f"the value of {name!a:.100} has {size} bytes, {VALUE_BYTES_MAX} are the most; put it in a file"
        )
    return plain


def _simple(value: Any, depth: int) -> Any:
    if depth > DEPTH_MAX:
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _simple(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_simple(inner, depth + 1) for inner in value]
    if value is None or isinstance(value, bool | str):
        return value
    if not isinstance(value, int | float) and hasattr(value, "item"):
        try:
            return _simple(value.item(), depth + 1)  # A number of NumPy's, or of PyTorch's.
        except (TypeError, ValueError, RuntimeError):
            return str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    return int(value) if isinstance(value, int) else str(value)
