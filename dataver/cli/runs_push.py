"""`dataver runs push`: recording the runs that wait on this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dataver.cli import output
from dataver.cli.session import Session
from dataver.errors import DataverError, RefNotFoundError

if TYPE_CHECKING:
    from dataver.lineage.spool import Waiting
    from dataver.repository import Repository

RUNS_REPO_VARIABLE = "DATAVER_RUNS_REPO"


def open_runs(session: Session) -> Repository:
    """The repository that has the runs: as ever, but `DATAVER_RUNS_REPO` comes before `DATAVER_REPO`."""
    if session.repo is None and os.environ.get(RUNS_REPO_VARIABLE):
        session.repo = os.environ[RUNS_REPO_VARIABLE]
    return session.open()


def push(session: Session) -> None:
    """Record each waiting run where it belongs; with `--repo` those alone that belong there.

    What fails keeps waiting; the first failure is raised in the end.
    """
    from dataver.lineage.spool import push_one, waiting

    places = _Places(session)
    pushed: list[str] = []
    left: list[str] = []
    failures: list[DataverError] = []
    for run in waiting():
        try:
            repository = places.of(run) if run.is_over else None
            if repository is None:
                left.append(run.run)
            elif push_one(repository.session, run):
                pushed.append(run.run)
        except DataverError as error:
            left.append(run.run)
            failures.append(error)

    def lines() -> list[str]:
        told = [f"recorded {output.name(run[:12])}" for run in pushed]
        if left:
            told.append(f"{output.amount(len(left), 'run')} still waiting")
        return told or ["no run waits here"]

    session.answer(lambda: {"pushed": pushed, "waiting": left}, lines)
    if failures:
        raise failures[0]


class _Places:
    """The repositories that runs wait for, each opened once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._only = session.open() if session.repo is not None else None
        self._opened: dict[str, Repository | DataverError] = {}

    def of(self, run: Waiting) -> Repository | None:
        """Where a run belongs; None where only another repository is wanted. What opening it raises."""
        if self._only is not None:
            return self._only if _belongs(self._only, run) else None
        found = self._opened.get(run.url)
        if found is None:
            found = self._opened[run.url] = self._open(run.url)
        if isinstance(found, DataverError):
            raise found
        if not _belongs(found, run):
            raise RefNotFoundError(
                f"run {run.run[:12]} waits for repository {run.repository[:8]}, and {run.url} is another one "
                "now; name where that is with --repo"
            )
        return found

    def _open(self, url: str) -> Repository | DataverError:
        self._session.repo = url or None
        try:
            return self._session.open()
        except DataverError as error:
            return error
        finally:
            self._session.repo = None


def _belongs(repository: Repository, run: Waiting) -> bool:
    if run.repository:
        return run.repository == repository.id
    place = run.url if "://" in run.url else os.path.abspath(run.url)
    return place == repository.url or os.path.realpath(place) == os.path.realpath(repository.url)
