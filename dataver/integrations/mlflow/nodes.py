"""What MLflow knows of a model or a run, for lineage and audits.

models:/NAME/VERSION, models:/NAME@ALIAS, models:/NAME/latest    a registered model
models:/m-ID                                                      a logged model
runs:/ID, runs:/ID/PATH                                           a run, or a model that it logged
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from dataver.errors import BadInputError, RefNotFoundError
from dataver.integrations.inputs import INPUT_TAG
from dataver.integrations.mlflow.client import client_of, foreign, tracker_name
from dataver.integrations.mlflow.dataset import SOURCE_TYPE
from dataver.integrations.mlflow.recording import dataset_inputs, inputs_of
from dataver.lineage.nodes import ClaimedInput, ExternalNode
from dataver.values import dataclass

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

REGISTERED = "registered_model_meta"
DOWNLOAD_BYTES_MAX = 4 << 30
"""The files of a larger model are not fetched to be compared."""
_MODEL = re.compile(
    r"models:/(?:(?P<id>m-[^/@]+)|(?P<name>[^/@]+)(?:/(?P<version>[^/@]+)|@(?P<alias>[^/@]+)))"
)
_RUN = re.compile(r"runs:/(?P<run>[^/]+)(?:/(?P<path>.+))?")
_TAG = re.compile(r"(?P<node>[^#]+)#(?P<id>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class _Model:
    """A model as MLflow has it: where its files are, and what it says of the run that made it."""

    uri: str
    run: str
    detail: str


def node_of(text: str) -> ExternalNode:
    """The node of `models:/…` or `runs:/…`. `RefNotFoundError` where MLflow has none of that name."""
    client = client_of()
    text = text.rstrip("/")
    if text.startswith("runs:/"):
        found = _RUN.fullmatch(text)
        if found is None:
            raise BadInputError(f"{text[:300]!a} names no run of MLflow: write runs:/ID")
        model = _Model(text if found["path"] else "", found["run"], "")
    else:
        model = _model(client, text)
    return _node(client, text, model)


def _model(client: MlflowClient, text: str) -> _Model:
    found = _MODEL.fullmatch(text)
    if found is None:
        raise BadInputError(
            f"{text[:300]!a} names no model of MLflow: write models:/NAME/VERSION, models:/NAME@ALIAS or "
            "models:/m-ID"
        )
    with foreign(text):
        if found["id"]:
            return _logged(client, found["id"], "")
        version = _version(client, found["name"], found["version"], found["alias"])
        # What is registered is a logged model, whose files are as they were logged.
        source = _MODEL.fullmatch(version.source or "")
        uri = (
            version.source
            if source is not None and source["id"]
            else f"models:/{version.name}/{version.version}"
        )
        detail = f"version {version.version} of {version.name}"
        if not version.run_id and source is not None and source["id"]:
            # Those that are registered in the web pages lack the run.
            return _logged(client, source["id"], detail)
        return _Model(uri, version.run_id or "", detail)


def _version(client: MlflowClient, name: str, version: str | None, alias: str | None) -> ModelVersion:
    if alias is not None:
        return client.get_model_version_by_alias(name, alias)
    if version == "latest":
        versions = client.search_model_versions(
            f"name = '{name}'", max_results=1, order_by=["version_number DESC"]
        )
        if versions:
            return versions[0]
    return client.get_model_version(name, version)


def _logged(client: MlflowClient, id: str, detail: str) -> _Model:
    logged = client.get_logged_model(id)
    parts = filter(None, (detail, f"logged model {logged.name}"))
    return _Model(f"models:/{id}", logged.source_run_id or "", ", ".join(parts))


def _node(client: MlflowClient, text: str, model: _Model) -> ExternalNode:
    run = _run(client, model) if model.run else None
    inputs = None if run is None else _claimed(run)
    unversioned = () if run is None else _unversioned(run)
    name = "" if run is None else f"run {run.info.run_name or run.info.run_id}"
    return ExternalNode(
        text,
        "external",
        (tracker_name(model.run),) if model.run else (),
        inputs,
        unversioned,
        _folder(model.uri) if model.uri else "",
        ", ".join(filter(None, (model.detail, name))),
    )


def _run(client: MlflowClient, model: _Model) -> Run | None:
    """The run that made a model; None where MLflow has the model and deleted the run."""
    try:
        with foreign(f"the run {model.run}"):
            return client.get_run(model.run)
    except RefNotFoundError:
        if not model.uri.startswith("models:/"):
            raise
        return None


def _claimed(run: Run) -> tuple[ClaimedInput, ...] | None:
    """What MLflow says that the run read, by its inputs and by its tags; None where it says nothing."""
    found = [
        ClaimedInput(one.id, one.role, one.node, one.dataset, one.tree, one.repository, one.url, one.split)
        for one in inputs_of(run)
    ]
    known = {one.version for one in found}
    for key, value in sorted(run.data.tags.items()):
        tag = _TAG.fullmatch(value) if key.startswith(INPUT_TAG) else None
        if tag is not None and tag["id"] not in known:
            role = key.removeprefix(INPUT_TAG)
            found.append(ClaimedInput(tag["id"], role, tag["node"], tag["node"].partition("@")[0]))
    return tuple(found) or None


def _unversioned(run: Run) -> tuple[str, ...]:
    return tuple(
        f"{there.dataset.name} {there.dataset.digest} ({there.dataset.source_type})"
        for there in dataset_inputs(run)
        if there.dataset.source_type != SOURCE_TYPE
    )


def _folder(uri: str) -> str:
    """The files of a model in a folder that goes when this process ends; empty where they cannot be had."""
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    try:
        sizes = [file.file_size or 0 for file in mlflow.artifacts.list_artifacts(uri)]
        if sum(sizes) > DOWNLOAD_BYTES_MAX:
            return ""
        folder = tempfile.mkdtemp(prefix="dataver-model-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        files = str(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))
        # Written by the download of a registered model, which was not logged with it.
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(files, REGISTERED))
        return files
    except (MlflowException, OSError):
        return ""
