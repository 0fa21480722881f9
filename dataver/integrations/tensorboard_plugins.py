"""What dataver finds of TensorBoard by entry points; TensorBoard is imported where a log folder needs it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from dataver.errors import BadInputError
from dataver.integrations.mlflow_plugins import linking
from dataver.paths import safe_spelling

if TYPE_CHECKING:
    from dataver.format.run_record import Tracker
    from dataver.lineage.nodes import ExternalNode
    from dataver.running import Run

TRACKER = "tensorboard"
NAMED_MAX = 10


def resolve(text: str) -> ExternalNode | None:
    """What a log folder on this machine says of its runs; None for a text that is no such folder.

    `MissingExtraError` where TensorBoard is not installed. `BadInputError`, which names them, where only
    folders below are log folders of runs.
    """
    if not os.path.isdir(text):
        return None
    from dataver.integrations.tensorboard.folders import folders_below, own_files

    files = own_files(text)
    if not files:
        below = list(islice(folders_below(text), NAMED_MAX + 1))
        if below:
            raise BadInputError(
                f"{safe_spelling(text)} has no record of a run itself; name one of the log folders below: "
                + ", ".join(map(safe_spelling, below[:NAMED_MAX]))
                + (" …" if len(below) > NAMED_MAX else "")
            )
        return None
    from dataver.readers import extras

    extras.need("tensorboard", f"the event file in {text}")
    from dataver.integrations.tensorboard.nodes import node_of

    return node_of(text, files)


class RunHook:
    """Keeps a file of ours in each log folder of a run."""

    def tracker_added(self, run: Run, tracker: Tracker) -> None:
        """Write down what is known by now. Also where the folder was named before: more may be known."""
        if tracker.kind != TRACKER or not linking():
            return
        from dataver.readers import extras

        extras.need("tensorboard", f"the event file in {tracker.uri}")
        from dataver.integrations.tensorboard.linked_runs import tell_so_far

        tell_so_far(run, tracker.uri)

    def run_ending(self, run: Run) -> None:
        """Note the log folders that the run made itself, where nobody named one."""
        if linking() and not _folders(run.trackers) and _installed():
            from dataver.integrations.tensorboard.linked_runs import note_folders

            note_folders(run)

    def run_ended(self, run: Run) -> None:
        """Write down how it ended."""
        folders = _folders(run.record.trackers) if run.record is not None and linking() else []
        if folders and _installed():
            from dataver.integrations.tensorboard.linked_runs import tell_end

            tell_end(run, folders)


def _folders(trackers: Iterable[Tracker]) -> list[str]:
    return [tracker.uri for tracker in trackers if tracker.kind == TRACKER]


def _installed() -> bool:
    from importlib.util import find_spec

    return find_spec("tensorboard") is not None
