"""The values of a run's record: what JSON can hold, and not too much of it."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dataver.errors import BadInputError
from dataver.format.canonical_json import canonical_json
from dataver.format.run_record import RunRecord

__all__ = ["KEY_CHARACTERS_MAX", "VALUE_BYTES_MAX", "fitting", "key", "metric", "own_command", "plain"]

KEY_CHARACTERS_MAX = 500
VALUE_BYTES_MAX = 64 << 10


def own_command() -> list[str]:
    """How this process was started."""
    return list(getattr(sys, "orig_argv", None) or sys.argv)


def key(name: object, what: str) -> str:
    """A name of what is recorded. `BadInputError` for what is none."""
    if not isinstance(name, str) or not name or len(name) > KEY_CHARACTERS_MAX:
        raise BadInputError(f"{name!a:.100} cannot name a {what}: a text of some characters is expected")
    return name


def plain(name: str, value: Any) -> Any:
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
    if depth > 16:
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


def metric(name: str, value: Any) -> float | str:
    """A number, or `nan`, `inf` or `-inf`. `BadInputError` for anything else."""
    number: float | str = plain(name, value)
    if isinstance(number, bool) or not (isinstance(number, int | float) or number in ("nan", "inf", "-inf")):
        raise BadInputError(f"the metric {name!a:.100} is {value!a:.100}, which is no number")
    return number


def fitting(record: RunRecord) -> RunRecord:
    """The record, without what makes it too long: better one with less than none."""
    try:
        record.encode()
    except BadInputError as error:
        warnings.warn(f"{error}; the files of models, and then parameters, are left out", stacklevel=4)
    else:
        return record
    models = tuple([replace(model, files=()) for model in record.models])
    shorter = replace(record, models=models)
    try:
        shorter.encode()
    except BadInputError:
        return replace(shorter, params={}, command=(), reason=record.reason[:1000])
    return shorter
