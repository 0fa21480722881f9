"""`dataver prune`: let old versions go that nobody named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import DATASET

if TYPE_CHECKING:
    from dataver.gc.prune import PruneReport

DOCUMENT = '{"dataset", "done": bool, "pruned": ["v1"…], "kept": {"v2": reason…}}'
COUNT = click.IntRange(min=0)


@verb(
    "prune",
    "dataver prune iris --keep-last 10 --keep-monthly 12",
    "dataver prune iris --keep-tagged --yes",
    document=DOCUMENT,
)
@click.argument("dataset", type=DATASET)
@click.option("--keep-last", type=COUNT, default=0, metavar="N", help="The newest N versions.")
@click.option("--keep-daily", type=COUNT, default=0, metavar="N", help="The newest of each of N days.")
@click.option("--keep-weekly", type=COUNT, default=0, metavar="N", help="The newest of each of N weeks.")
@click.option("--keep-monthly", type=COUNT, default=0, metavar="N", help="The newest of each of N months.")
@click.option("--keep-yearly", type=COUNT, default=0, metavar="N", help="The newest of each of N years.")
@click.option("--keep-tagged", is_flag=True, help="No other than those that are named.")
@click.option("--yes", is_flag=True, help="Do it; without this only a report is made.")
def command(
    session: Session,
    dataset: str,
    keep_last: int,
    keep_daily: int,
    keep_weekly: int,
    keep_monthly: int,
    keep_yearly: int,
    keep_tagged: bool,
    yes: bool,
) -> None:
    """Let versions of main go that no option keeps. Their bytes go with `dataver gc`, after its grace.

    Never what a branch ends at, what a tag, an alias or a hold names, or what a run read or made. Until
    the bytes are gone, `dataver gc --restore` brings the versions back.
    """
    from dataver.gc.prune import Retention

    keep = Retention(keep_last, keep_daily, keep_weekly, keep_monthly, keep_yearly, keep_tagged)
    report = session.open().prune(dataset, keep, yes=yes)
    session.answer(report.to_json, lambda: lines(report))


def lines(report: PruneReport) -> Iterator[str]:
    """What stays and why, and what goes."""
    yield from output.columns([(f"  {name}", output.safe(reason)) for name, reason in report.kept.items()])
    gone = ", ".join(report.pruned) or "nothing"
    yield f"{'pruned' if report.done else 'would be pruned'}: {gone}"
    if report.pruned and not report.done:
        yield "nothing was changed; --yes does it"
