"""What dataver finds of MLflow by entry points. MLflow itself is imported where a run or a model needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataver.format.run_record import Tracker
    from dataver.lineage.nodes import ExternalNode
    from dataver.running import Run

PREFIXES = ("models:/", "runs:/")
TRACKER = "mlflow"


def resolve(text: str) -> ExternalNode | None:
    """What MLflow knows of the model `models:/…` or the run `runs:/…`; None for any other text.

    `RefNotFoundError` where MLflow has none, `MissingExtraError` where MLflow is not installed.
    """
    if not text.startswith(PREFIXES):
        return None
    from dataver.integrations.mlflow.nodes import node_of

    return node_of(text)


def linking() -> bool:
    """Whether runs are to be linked with those of other tools: `DATAVER_NO_LINK` says they are not."""
    return os.environ.get("DATAVER_NO_LINK", "").strip().lower() in ("", "0", "false", "no", "off")


class RunHook:
    """Ties a run to the run of MLflow that it belongs to, if there is one."""

    def run_started(self, run: Run) -> None:
        """Note the run of MLflow that is on already; one that begins later notes itself."""
        if not linking():
            return
        if "mlflow" in sys.modules:
            from dataver.integrations.mlflow.linked_runs import began_inside

            began_inside(run)
        elif os.environ.get("MLFLOW_RUN_ID"):
            run.add_tracker(TRACKER, os.environ["MLFLOW_RUN_ID"], _tracking_uri())

    def run_ending(self, run: Run) -> None:
        """Take over the parameters and metrics that MLflow has."""
        if _told_to(run.trackers):
            from dataver.integrations.mlflow.linked_runs import take_over

            take_over(run)

    def run_ended(self, run: Run) -> None:
        """Tell MLflow what was read."""
        if run.record is not None and _told_to(run.record.trackers):
            from dataver.integrations.mlflow.linked_runs import tell

            tell(run.record)


def _told_to(trackers: Iterable[Tracker]) -> bool:
    """Whether there is a run of MLflow to speak to, and MLflow to do it."""
    from importlib.util import find_spec

    return (
        linking()
        and any(tracker.kind == TRACKER for tracker in trackers)
        and ("mlflow" in sys.modules or find_spec("mlflow") is not None)
    )


def _tracking_uri() -> str:
    from dataver.store.clients import public_url

    return public_url(os.environ.get("MLFLOW_TRACKING_URI", ""))
