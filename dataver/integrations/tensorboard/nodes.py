"""What a log folder says of the runs that wrote to it, for lineage and audits."""

from __future__ import annotations

import os

from dataver.integrations.tensorboard.folders import OwnFile
from dataver.integrations.tensorboard.reading import records_of
from dataver.integrations.tensorboard_plugins import TRACKER
from dataver.lineage.nodes import ClaimedInput, ExternalNode

__all__ = ["node_of"]


def node_of(text: str, files: list[OwnFile]) -> ExternalNode:
    """The node of a folder with these files of ours. What it claims is what the newest run says."""
    runs = {file.run: records_of(file) for file in files}
    newest = max((records[-1] for records in runs.values()), key=lambda record: record.started_us)
    inputs = tuple(
        ClaimedInput(
            given.version, given.role, given.ref, given.dataset, given.tree, given.repository, given.url,
            given.split,
        )
        for given in newest.inputs
        if given.version
    )  # fmt: skip
    return ExternalNode(
        text,
        tracked=tuple(f"{TRACKER}:{run}" for run in runs),
        # A record of the start says nothing yet of what was read.
        inputs=inputs if newest.status != "running" else None,
        detail=f"run {newest.name}, {newest.status}, in {os.path.basename(os.path.abspath(text))}",
        records=tuple((run, str(record.digest())) for run, records in runs.items() for record in records),
    )
