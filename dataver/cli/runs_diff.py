"""`dataver runs diff`: what differs between two runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from dataver.cli import output
from dataver.cli.session import Session
from dataver.errors import CheckFailedError

if TYPE_CHECKING:
    from dataver.reproducing.differences import Difference, RunDifference

ID_CHARACTERS = 64


def diff(session: Session, a: str, b: str, fail_on: str | None) -> None:
    """Show what differs, the first ingredient first."""
    from dataver.reproducing.differences import compare
    from dataver.reproducing.naming import Runs

    repository = session.open()
    runs = Runs(repository.session)
    found = compare(repository, runs.find(a).record, runs.find(b).record, runs.part)
    session.answer(found.to_json, lambda: lines(found))
    if fail_on and found:
        what = found.first or found.differences[0]
        raise CheckFailedError(
            f"runs {found.a.run[:12]} and {found.b.run[:12]} differ: {what.ingredient}, {what.name}"
        )


def lines(found: RunDifference) -> Iterator[str]:
    """The first ingredient that differs, then all, each with its values and what more is known."""
    first = found.first
    names = f"{output.name(found.a.run[:12])} and {output.name(found.b.run[:12])}"
    if first is not None:
        yield f"{names} differ first in {click.style(first.ingredient, bold=True)}: {output.safe(first.name)}"
    elif found:
        yield f"{names} differ in their results alone"
    else:
        yield f"{names} do not differ"
    yield from difference_lines(found.differences)
    for text in found.unknown:
        yield output.dim(f"not known: {output.safe(text)}")


def difference_lines(differences: tuple[Difference, ...]) -> Iterator[str]:
    """A line for each difference, with its ingredient before the first one."""
    rows = []
    before = ""
    for one in differences:
        head = one.ingredient if one.ingredient != before else ""
        before = one.ingredient
        detail = f"({output.safe(one.detail)})" if one.detail else ""
        values = f"{_text(one.before)} -> {_text(one.after)}"
        rows.append((click.style(head, bold=True), output.safe(one.name), f"{values}  {detail}".rstrip()))
    yield from output.columns(rows)


def _text(value: Any) -> str:
    if isinstance(value, str):
        digits = value.lower()
        is_id = len(digits) in (40, ID_CHARACTERS) and not set(digits) - set("0123456789abcdef")
        return output.elided_id(value) if is_id else output.safe(value)
    return output.safe(json.dumps(value, ensure_ascii=False))
