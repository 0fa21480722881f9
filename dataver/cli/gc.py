"""`dataver gc`: reclaim what nothing refers to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import DURATION

if TYPE_CHECKING:
    from dataver.gc import GcReport
    from dataver.gc.roots import Kept

VERSIONS_SHOWN = 20
DOCUMENT = (
    '{"done": bool, "marked", "marked_bytes", "swept", "bytes", "waiting", "waiting_bytes", "spared",\n'
    ' "versions": [{"dataset", "version", "number"}],\n'
    ' "kept_by": [{"dataset", "version", "by", "number", "also": [text…], "more", "on_branch": bool}],\n'
    ' "rewritten", "partly_dead_bytes", "undeleted": [key…], "leftovers", "leftover_bytes",\n'
    ' "unknown": [key…]}'
)


@verb("gc", "dataver gc", "dataver gc --yes --grace 14d", "dataver gc --restore", document=DOCUMENT)
@click.option("--yes", is_flag=True, help="Do it; without this only a report is made.")
@click.option(
    "--grace",
    type=DURATION,
    default="7d",
    metavar="DURATION",
    help="Delete what was marked so long ago: 90m, 12h, 7d; default: 7d.",
)
@click.option("--restore", is_flag=True, help="Take the marks back that are not swept yet.")
def command(session: Session, yes: bool, grace: float, restore: bool) -> None:
    """Mark what nothing refers to, and delete what was marked longer ago than the grace.

    What a branch, tag, alias, version number, run, model or hold leads to stays, with its history. Nothing is
    deleted that was not marked by an earlier entry of the log; writers and readers go on meanwhile.
    """
    repository = session.open()
    if restore:
        if yes:
            raise click.UsageError("--restore takes marks back, --yes makes them: choose one.")
        report = repository.gc_restore()
    else:
        with session.watch() as progress:
            report = repository.gc(yes=yes, grace_s=grace, progress=progress)
    session.answer(report.to_json, lambda: lines(report, restore=restore))
    if report.undeleted:
        output.warn(
            f"{output.amount(len(report.undeleted), 'object')} could not be deleted; nothing reads them any "
            "more, and the next gc tries again"
        )


def lines(report: GcReport, *, restore: bool) -> Iterator[str]:
    """What was or would be marked and deleted, what keeps what no branch leads to, and what is pinned."""
    if restore:
        yield f"{output.amount(report.spared, 'object')} spared"
        return
    will = "" if report.done else "would be "
    for version in report.versions[:VERSIONS_SHOWN]:
        name = f"{version.dataset}@v{version.number}" if version.number else version.dataset
        yield f"nothing keeps  {output.name(name)}  {version.version[: output.SHORT_ID_DIGITS]}"
    if len(report.versions) > VERSIONS_SHOWN:
        yield f"  and {len(report.versions) - VERSIONS_SHOWN:,} more"
    yield from _keepers("kept by", [kept for kept in report.kept_by if not kept.on_branch])
    yield from _keepers("pinned by", [kept for kept in report.kept_by if kept.on_branch])
    for key in report.unknown:
        yield f"unknown, left alone  {output.safe(key)}"
    marked = output.amount(report.marked, "object")
    yield f"{will}marked   {marked}, {output.size_text(report.marked_bytes)}"
    if report.rewritten:
        yield f"{will}rewritten  {output.amount(report.rewritten, 'pack')} of which little is needed"
    if report.waiting:
        waiting = output.amount(report.waiting, "object")
        yield f"waiting  {waiting}, {output.size_text(report.waiting_bytes)}, marked within the grace"
    if report.spared:
        yield f"{will}spared   {output.amount(report.spared, 'object')} that were marked and are needed"
    if report.leftovers:
        files = output.amount(report.leftovers, "unfinished file")
        yield f"{will}removed  {files} of writers that were killed, {output.size_text(report.leftover_bytes)}"
    yield f"{will}deleted  {output.amount(report.swept, 'object')}, {output.size_text(report.bytes)}"
    if not report.done:
        yield "nothing was changed; `dataver gc --yes` does it"


def _keepers(heading: str, versions: list[Kept]) -> Iterator[str]:
    """What keeps each of these versions."""
    for kept in versions[:VERSIONS_SHOWN]:
        name = f"{kept.dataset}@v{kept.number}" if kept.number else kept.dataset
        others = len(kept.also) + kept.more
        by = f"{kept.by} and {others:,} more" if others else kept.by
        id = str(kept.version)[: output.SHORT_ID_DIGITS]
        yield f"{heading} {output.safe(by)}  {output.name(name)}  {id}"
    if len(versions) > VERSIONS_SHOWN:
        yield f"  and {len(versions) - VERSIONS_SHOWN:,} more"
