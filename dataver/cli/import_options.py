"""What the kinds of `dataver import` that read git have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.session import Function

if TYPE_CHECKING:
    from dataver.integrations.importing.report import Imported, Report

SHOWN = 20
DOCUMENT = (
    '{"source", "dry_run": bool, "bytes", "known", "passed_over",\n'
    ' "versions": [{"dataset", "branch", "version": "v3" or null, "id", "commit", "source", "files",\n'
    '               "bytes", "created": bool}…],\n'
    ' "tags": [{"dataset", "name": "…" or null, "git", "id", "note"}…],\n'
    ' "missing": [{"dataset", "commit", "path", "digest"}…], "refused": [{"file", "commit", "reason"}…],\n'
    ' "unopened": {remote: reason}}'
)


def history_options(function: Function) -> Function:
    """The options that say what of the history is imported, and where to."""
    for option in reversed(
        (
            click.option("--dataset", metavar="NAME", help="The dataset; of several, NAME/PATH each."),
            click.option(
                "--rev-range", metavar="REV|A..B", help="The commits, as git names them; default: HEAD."
            ),
            click.option("--all", "every", is_flag=True, help="All branches of git, each as a branch here."),
            click.option(
                "--branch", "-b", metavar="B", default="main", help="The branch here for these commits."
            ),
            click.option("--skip-missing", is_flag=True, help="Leave out versions whose bytes are nowhere."),
            click.option("--dry-run", is_flag=True, help="Only say which versions and bytes it would be."),
        )
    ):
        function = option(function)
    return function


def tell(report: Report) -> None:
    """What people should know besides: what was left out, and names that changed."""
    for reason in report.unopened.values():
        output.warn(f"not looked in: {reason}")
    for refused in report.refused[:SHOWN]:
        output.warn(f"left out, in commit {refused.commit[:12]}: {refused.reason}")
    for missing in report.missing[:SHOWN]:
        output.warn(
            f"left out, as the bytes are missing: {missing.path} ({missing.digest}) of {missing.dataset} in "
            f"commit {missing.commit[:12]}"
        )
    more = sum(max(0, len(some) - SHOWN) for some in (report.refused, report.missing))
    if more:
        output.warn(f"and {more:,} more; --json lists all")
    if report.passed_over:
        output.note(
            f"{output.amount(report.passed_over, 'commit')} before those known stay without a version: left "
            "out by an import before, or without a change. Import into another dataset to have them all"
        )
    told = dict.fromkeys((tag.git, tag.name or "not made", tag.note) for tag in report.tags if tag.note)
    for git, name, note in told:
        output.note(f"tag {git} is {name}: {note}")


def lines(report: Report) -> Iterator[str]:
    """Each version, its tags, and how many there are."""
    tags: dict[tuple[str, str | None], list[str]] = {}
    for tag in report.tags:
        if tag.name is not None:
            tags.setdefault((tag.dataset, tag.id), []).append(tag.name)
    yield from output.columns(
        [
            _row(version, tags.get((version.dataset, version.id), []) if version.id else [])
            for version in report.versions
        ]
    )
    count = output.amount(sum(version.created for version in report.versions), "version")
    known = f", {report.known:,} known before" if report.known else ""
    size = output.size_text(report.bytes)
    yield f"would import {count} of {size}{known}" if report.dry_run else f"imported {count} of {size}{known}"


def _row(version: Imported, tags: list[str]) -> list[str]:
    name = output.name(f"{version.dataset}@{version.version or version.branch}")
    size = f"{output.amount(version.files, 'file')}, {output.size_text(version.bytes)}"
    last = ", ".join(map(output.safe, sorted(tags))) if version.created else "nothing changed"
    return [name, version.commit[:8], output.safe(version.source), size, last]
