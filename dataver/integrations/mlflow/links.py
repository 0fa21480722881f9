"""The link from a model to what it was made from, as it goes into the model's metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.tracking import MlflowClient

from dataver import recording
from dataver.errors import BadInputError
from dataver.format.run_record import RunInput, RunRecord
from dataver.integrations.inputs import Input, open_node, run_input, short_split
from dataver.integrations.mlflow.recording import inputs_of
from dataver.lineage.gathering import gather
from dataver.lineage.model_link import link_document

if TYPE_CHECKING:
    from dataver.parts import SplitView
    from dataver.repository import Repository
    from dataver.version import Version

METADATA = "dataver"
"""The key in the metadata of a model."""


def metadata(
    inputs: Mapping[str, str | Version | SplitView] | None = None,
    *,
    repo: str | Repository | None = None,
) -> dict[str, Any]:
    """What a model is to say of its data, for `log_model(…, metadata=dataver.mlflow.metadata())`.

    `inputs` has refs or handles by role. Without it, what the run of dataver that is on has read so far,
    or else what the active run of MLflow has as inputs. `BadInputError` where there are none.
    """
    recorder = recording.active
    run = "" if recorder is None else recorder.run
    if inputs is not None:
        found = [_named(role, node, repo) for role, node in inputs.items()]
    elif recorder is not None:
        found = list(inputs_so_far(recorder))
    else:
        found = [run_input(one, one.node) for one in _active_inputs()]
    if not found:
        raise BadInputError(
            "nothing is known of what the model was made from: read it in a run, log it with "
            "dataver.mlflow.log_input, or name it, as metadata({'training': 'iris@v3'})"
        )
    return link_of(found, run)


def link_of(inputs: Sequence[RunInput], run: str) -> dict[str, Any]:
    """The metadata that links a model with inputs, and with the run of this id if it is one."""
    first = inputs[0]
    shorter = [replace(one, split=short_split(one.split)) if one.split else one for one in inputs]
    record = RunRecord(run, "", "", 0, inputs=tuple(shorter))
    return {METADATA: link_document(record, first.repository, first.url)}


def inputs_so_far(recorder: recording.Recorder) -> tuple[RunInput, ...]:
    """What the processes of the run have read by now."""
    recorder.flush()
    return gather(recorder.folder).inputs


def _named(role: str, node: str | Version | SplitView, repo: str | Repository | None) -> RunInput:
    handle = open_node(node, repo) if isinstance(node, str) else node
    given = Input.of(handle, role=role)
    return run_input(given, node if isinstance(node, str) else given.node)


def _active_inputs() -> list[Input]:
    run = mlflow.active_run()
    return [] if run is None else inputs_of(MlflowClient().get_run(run.info.run_id))
