"""What dataver finds of OpenLineage by entry points. Its client is imported when it is needed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dataver import events

if TYPE_CHECKING:
    from dataver.repository import Repository
    from dataver.results import CommitResult
    from dataver.running import Run

__all__ = ["TARGET_VARIABLE", "RunHook", "is_on", "target"]

TARGET_VARIABLE = "DATAVER_OPENLINEAGE"
_OFF = ("0", "false", "no", "off")


def target() -> str:
    """Where events go: a file or a URL; empty where OpenLineage's own configuration says it."""
    return os.environ.get(TARGET_VARIABLE, "").strip()


def is_on() -> bool:
    """Whether events are to be sent, by `DATAVER_OPENLINEAGE` or a configuration of OpenLineage's own."""
    return target().lower() not in _OFF and events.named()


class RunHook:
    """Tells OpenLineage of runs and of new versions, where the environment says so."""

    def __repr__(self) -> str:
        return "OpenLineage"

    def run_started(self, run: Run) -> None:
        """Tell that it began."""
        if is_on():
            from dataver.integrations.openlineage.live import tell_start

            tell_start(run)

    def run_ended(self, run: Run) -> None:
        """Tell how it ended, what it read and what it made."""
        if is_on():
            from dataver.integrations.openlineage.live import tell_end

            tell_end(run)

    def version_committed(self, repository: Repository, result: CommitResult) -> None:
        """Tell of a version that a commit, merge, revert or import made."""
        if is_on():
            from dataver.integrations.openlineage.live import tell_version

            tell_version(repository, result)
