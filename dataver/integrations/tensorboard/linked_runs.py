"""Telling the log folders of a run what it reads and how it ended.

TensorBoard is imported where there is a folder to tell.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from dataver import recording
from dataver.integrations.tensorboard.folders import folders_of
from dataver.lineage.masking import mask_record

if TYPE_CHECKING:
    from dataver.running import Run

__all__ = ["note_folders", "tell_end", "tell_so_far"]


def tell_so_far(run: Run, folder: str) -> None:
    """Write the file of a run that is on, with what it has read by now."""
    from dataver.integrations.tensorboard.writing import begin

    start = run.start_record
    assert start is not None
    begin(folder, start, mask_record(replace(start, inputs=run.inputs, params=run.params)))


def note_folders(run: Run) -> None:
    """Note the folders below this one into which processes of the run have written event files."""
    start, noting = run.start_record, recording.active
    assert start is not None
    assert noting is not None
    for folder in folders_of({os.getpid(), *noting.processes}, start.started_us, os.getcwd()):
        run.tensorboard(folder)


def tell_end(run: Run, folders: Iterable[str]) -> None:
    """Bring the file in each folder to its end."""
    from dataver.integrations.tensorboard.writing import finish

    start, end = run.start_record, run.record
    assert start is not None
    assert end is not None
    for folder in folders:
        finish(folder, start, end)
