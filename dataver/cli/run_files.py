"""Parameters and metrics of a run, from the command line and from files of the user's."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from dataver.cli.session import key_values
from dataver.errors import BadInputError, PathNotFoundError
from dataver.paths import safe_spelling

FILE_BYTES_MAX = 1 << 20


def params_of(given: Sequence[str], file: str | None) -> dict[str, Any]:
    """Those of the file, and on top those given as `KEY=VALUE`: numbers, true, false and null as such."""
    found = _load(file, "parameters") if file is not None else {}
    return {**found, **{key: _value(text) for key, text in key_values(given, "--param").items()}}


def metrics_of(file: str, *, required: bool) -> dict[str, float]:
    """The numbers of a JSON file by name, those in objects as `outer.inner`; all else is left out.

    None where the file is not there and not `required`.
    """
    if not required and not os.path.exists(file):
        return {}
    found: dict[str, float] = {}
    waiting: list[tuple[str, Any]] = [("", _load(file, "metrics"))]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [(f"{name}.{key}" if name else str(key), inner) for key, inner in value.items()]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = value
    return found


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if value is None or isinstance(value, bool | int | float) else text


def _load(path: str, what: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise PathNotFoundError(
            f"the file of {what} {safe_spelling(path)!r} cannot be read: {error.strerror}"
        ) from error
    if len(data) > FILE_BYTES_MAX:
        raise BadInputError(
            f"the file of {what} {safe_spelling(path)!r} has more than {FILE_BYTES_MAX} bytes"
        )
    try:
        if path.endswith(".toml"):
            import tomllib

            found: Any = tomllib.loads(data.decode())
        else:
            found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"the file of {what} {safe_spelling(path)!r} is malformed: {error}") from error
    if not isinstance(found, dict):
        raise BadInputError(f"the file of {what} {safe_spelling(path)!r} holds no object of names and values")
    return found
