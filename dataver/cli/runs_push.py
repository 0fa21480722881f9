"""`dataver runs push`: recording the runs that wait on this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dataver.cli import output
from dataver.cli.session import Session

if TYPE_CHECKING:
    from dataver.lineage.spool import Waiting
    from dataver.repository import Repository


def push(session: Session) -> None:
    """Record what waits for the repository that is open, and for no other."""
    from dataver.lineage.spool import push_one, waiting

    repository = session.open()
    pushed: list[str] = []
    left: list[str] = []
    for run in waiting():
        if not run.is_over or not _belongs(repository, run):
            left.append(run.run)
        elif push_one(repository.session, run):
            pushed.append(run.run)

    def lines() -> list[str]:
        told = [f"recorded {output.name(run[:12])}" for run in pushed]
        if left:
            told.append(
                f"{output.amount(len(left), 'run')} still waiting: of other repositories, or still running"
            )
        return told or ["no run waits here"]

    session.answer(lambda: {"pushed": pushed, "waiting": left}, lines)


def _belongs(repository: Repository, run: Waiting) -> bool:
    if run.repository:
        return run.repository == repository.id
    place = run.url if "://" in run.url else os.path.abspath(run.url)
    return place == repository.url or os.path.realpath(place) == os.path.realpath(repository.url)
