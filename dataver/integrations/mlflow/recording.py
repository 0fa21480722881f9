"""Telling MLflow what a run read: inputs and tags."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from dataver import recording
from dataver.errors import DataverError
from dataver.integrations.inputs import Input, find, tags_of
from dataver.integrations.mlflow.client import tracker_of
from dataver.integrations.mlflow.dataset import (
    SOURCE_TYPE,
    DataverDataset,
    DataverDatasetSource,
    from_dataver,
)
from dataver.integrations.mlflow_plugins import linking
from dataver.recording import DEFAULT_ROLE

if TYPE_CHECKING:
    from dataver.parts import SplitView
    from dataver.repository import Repository
    from dataver.version import Version

TAGS_A_BATCH = 100
AZUREML = "azureml://"
_NO_SUCH_ENDPOINT = ("ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED", "FEATURE_DISABLED")
_REFUSED_THERE = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "PERMISSION_DENIED", "INTERNAL_ERROR")


def log_input(
    ref: str | Version | SplitView,
    role: str = "training",
    path: str = "",
    *,
    repo: str | Repository | None = None,
) -> DataverDataset:
    """Log what the active run of MLflow reads, as `role`: an input, and a tag `dataver.input.ROLE`.

    The same in a second role becomes an input with the role in its name, which MLflow alone would drop.
    A run of dataver that is on has it as an input, too, and is tied to that of MLflow. Gives the data set.
    """
    dataset = from_dataver(ref, path, repo=repo)
    dataset.declare(role)
    run = mlflow.active_run() or mlflow.start_run()
    client = MlflowClient()
    if recording.active is not None and linking():
        recording.active.tracker(asdict(tracker_of(client, run)))
    record_inputs(client, run.info.run_id, [(dataset, role)])
    return dataset


def record_inputs(client: MlflowClient, run_id: str, inputs: Sequence[tuple[DataverDataset, str]]) -> None:
    """Tags and inputs of a run, also of one that has ended; what is there already is left as it is."""
    run = client.get_run(run_id)
    tags = tags_of((dataset.source.given.as_role(role) for dataset, role in inputs), run.data.tags)
    told = [RunTag(key, value) for key, value in tags.items()]
    for start in range(0, len(told), TAGS_A_BATCH):
        client.log_batch(run_id, tags=told[start : start + TAGS_A_BATCH])
    wanted = _new_inputs(run, inputs)
    if not wanted:
        return
    try:
        client.log_inputs(run_id, datasets=wanted)
    except MlflowException as error:
        if not _lacks_inputs(client, error):
            raise


def _lacks_inputs(client: MlflowClient, error: MlflowException) -> bool:
    """Whether the server has no inputs, as Azure Machine Learning's may not: the tags are all then."""
    if error.error_code in _NO_SUCH_ENDPOINT:
        return True
    return client.tracking_uri.startswith(AZUREML) and error.error_code in _REFUSED_THERE


def _new_inputs(run: Run, inputs: Sequence[tuple[DataverDataset, str]]) -> list[DatasetInput]:
    """Those that the run lacks; MLflow would drop one whose name and digest it has in another role."""
    roles = {(there.dataset.name, there.dataset.digest): _context(there) for there in dataset_inputs(run)}
    found = []
    for dataset, role in inputs:
        entity = dataset._to_mlflow_entity()
        name, key = entity.name, (entity.name, entity.digest)
        if role != DEFAULT_ROLE and roles.get(key, role) != role:
            name = f"{name} as {role}"
            key = (name, entity.digest)
        if key in roles:
            continue
        roles[key] = role
        named = Dataset(name, entity.digest, entity.source_type, entity.source, entity.schema, entity.profile)
        found.append(DatasetInput(named, [InputTag(*tag) for tag in _input_tags(dataset, role).items()]))
    return found


def dataset_inputs(run: Run) -> Sequence[DatasetInput]:
    """The inputs of a run; none where the server has no word for them."""
    found: Sequence[DatasetInput] = run.inputs.dataset_inputs if run.inputs is not None else ()
    return found


def _context(there: DatasetInput) -> str:
    return next((str(tag.value) for tag in there.tags if tag.key == MLFLOW_DATASET_CONTEXT), "")


def _input_tags(dataset: DataverDataset, role: str) -> dict[str, str]:
    given: Input = dataset.source.given
    tags = {MLFLOW_DATASET_CONTEXT: role, "dataver.ref": given.node, "dataver.id": given.id}
    return {**tags, "dataver.tree": given.tree, "dataver.repository": given.repository}


def described(given: Input) -> DataverDataset:
    """The data set of what a run read; without its columns and numbers where the bytes are not at hand."""
    try:
        handle = find(given)
    except DataverError:
        handle = None
    return DataverDataset(DataverDatasetSource(given), handle)


def inputs_of(run: Run) -> list[Input]:
    """What MLflow has of the versions that a run read. Inputs that are no versions are left out."""
    found = []
    for there in dataset_inputs(run):
        if there.dataset.source_type == SOURCE_TYPE:
            document = json.loads(there.dataset.source)
            if "id" in document:
                found.append(Input.from_document(document, _context(there)))
    return found
