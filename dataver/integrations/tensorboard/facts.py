"""What TensorBoard is told of a run, as plain values: hyperparameters, and a table for people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dataver.format.run_record import RunInput

__all__ = ["Value", "hyperparameters", "table"]

Value = bool | int | float | str
ID_DIGITS = 12
TEXT_CHARACTERS_MAX = 500


def hyperparameters(inputs: Sequence[RunInput], params: Mapping[str, Any]) -> dict[str, Value]:
    """`data.NAME.version`, `data.NAME.id` and `data.NAME.part` of what was read, and the parameters.

    Of a dataset of which a run read several versions the first has these names, and the others have their
    role behind that of the dataset.
    """
    found: dict[str, Value] = {}
    for version, given in _by_version(inputs).items():
        first = given[0]
        key = f"data.{first.dataset}"
        number = 1
        while f"{key}.version" in found:
            number += 1
            key = f"data.{first.dataset}.{first.role}" + (f".{number}" if number > 2 else "")
        found[f"{key}.version"] = version_text(first)
        found[f"{key}.id"] = version[:ID_DIGITS]
        parts = ", ".join(filter(None, dict.fromkeys(map(part_text, given))))
        if parts:
            found[f"{key}.part"] = parts
    return {**{name: _value(value) for name, value in params.items() if value is not None}, **found}


def _by_version(inputs: Iterable[RunInput]) -> dict[str, list[RunInput]]:
    found: dict[str, list[RunInput]] = {}
    for given in inputs:
        if given.version:
            found.setdefault(given.version, []).append(given)
    return found


def version_text(given: RunInput) -> str:
    """`v3`, or digits of the id off `main`."""
    return f"v{given.number}" if given.number else given.version[:ID_DIGITS]


def part_text(given: RunInput) -> str:
    """`PART`, or `NAME/PART`; empty where all was read."""
    split = given.split or {}
    return "/".join(str(split[name]) for name in ("name", "part") if split.get(name))


def _value(value: Any) -> Value:
    if isinstance(value, bool | int | float | str):
        return value[:TEXT_CHARACTERS_MAX] if isinstance(value, str) else value
    return json.dumps(value, sort_keys=True)[:TEXT_CHARACTERS_MAX]


def table(name: str, run: str, status: str, inputs: Sequence[RunInput]) -> str:
    """Markdown: which run it is, and what it read."""
    title = f"**{_cell(name)}**, {status}, `run:{run}`"
    if not inputs:
        return (
            f"{title}\n\nIt has read no version so far."
            if status == "running"
            else f"{title}\n\nNo version was read."
        )
    rows = [
        (_cell(one.role), f"{_cell(one.dataset)}@{version_text(one)}", _cell(part_text(one)),
         f"`{one.version}`", _cell(one.url))
        for one in inputs
    ]  # fmt: skip
    head = ("read as", "version", "part", "id", "repository")
    lines = [head, ("---",) * len(head), *rows]
    return title + "\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", " ".join(text.split()))
