"""Telling both sides, after the fact, what a run of MLflow read: MLflow, and the repository."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

from dataver.config import author
from dataver.format.run_record import RUN_ID_DIGITS, RunRecord
from dataver.integrations.inputs import Input, run_input
from dataver.integrations.mlflow.client import client_of, foreign, tracker_name, tracker_of
from dataver.integrations.mlflow.dataset import DataverDataset, DataverDatasetSource
from dataver.integrations.mlflow.recording import record_inputs
from dataver.lineage.linking import Linked, link_inputs
from dataver.lineage.masking import mask_record
from dataver.log.run_state import tracked

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from dataver.parts import SplitView
    from dataver.session import Session
    from dataver.version import Version

STATUS = {"FINISHED": "done", "FAILED": "failed", "KILLED": "cancelled"}


def link_run(
    session: Session, run_id: str, reads: Sequence[tuple[str, Version | SplitView]], role: str
) -> Linked:
    """Tell MLflow that a run read `reads`, refs and handles, as `role`, and record the run.

    A run that the repository knows as this run of MLflow gets the inputs; else one is recorded with the
    parameters, metrics and times of MLflow.
    """
    client = client_of()
    with foreign(f"MLflow's run {run_id}"):
        run = client.get_run(run_id)
        given = [Input.of(handle, role=role) for _, handle in reads]
        datasets = [
            (DataverDataset(DataverDatasetSource(one), handle), role)
            for one, (_, handle) in zip(given, reads, strict=True)
        ]
        record_inputs(client, run_id, datasets)
    known = next(tracked(session.newest(), tracker_name(run_id)), None)
    inputs = [run_input(one, ref) for one, (ref, _) in zip(given, reads, strict=True)]
    return link_inputs(session, known or run_bytes_of(run_id), inputs, lambda: record_of(client, run))


def run_bytes_of(run_id: str) -> bytes:
    """The id of the run here: MLflow's own where it is one, so that linking twice makes no second run."""
    from dataver.hashing import blake3_digest

    if re.fullmatch(r"[0-9a-f]{32}", run_id):
        return bytes.fromhex(run_id)
    return bytes(blake3_digest(f"mlflow:{run_id}".encode()))[: RUN_ID_DIGITS // 2]


def record_of(client: MlflowClient, run: Run) -> RunRecord:
    """What MLflow knows of a run."""
    info, data = run.info, run.data
    tags = data.tags
    ended = info.end_time
    return mask_record(
        RunRecord(
            run_bytes_of(info.run_id).hex(),
            info.run_name or info.run_id,
            author(tags.get("mlflow.user") or None),
            info.start_time * 1000,
            STATUS.get(info.status, "done"),
            None if ended is None else ended * 1000,
            params=dict(data.params),
            metrics={name: value if isfinite(value) else str(value) for name, value in data.metrics.items()},
            trackers=(tracker_of(client, run),),
        )
    )
