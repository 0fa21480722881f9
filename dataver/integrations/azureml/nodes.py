"""What a workspace knows of a data asset or a model, for lineage and audits.

azureml:NAME:VERSION            the model of this name and version, else the data asset
azureml:models/NAME:VERSION     the model
azureml:data/NAME:VERSION       the data asset

A data asset is the version that its tags name. A model is what the job that made it read: by the run that
is recorded here, by the job's run as MLflow tracks it, and by the tags of the model itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dataver.errors import BadInputError, DataverError, RefNotFoundError
from dataver.integrations.azureml.asset import DIGEST_TAG
from dataver.integrations.azureml.workspace import foreign, need_workspace
from dataver.integrations.azureml_plugins import PREFIX, TRACKER
from dataver.integrations.inputs import INPUT_TAG
from dataver.integrations.mlflow_plugins import TRACKER as MLFLOW
from dataver.lineage.nodes import ClaimedInput, ExternalNode

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

_ASSET = re.compile(r"azureml:(?:(?P<kind>data|models)/)?(?P<name>[^:/@]+):(?P<version>[^:/@]+)")
_RUN = re.compile(r"runs:/([^/]+)|/jobs/([^/]+)/|/dcid\.([^/]+)/|azureml://jobs/([^/]+)/")
_ID = re.compile(r"[0-9a-f]{64}")
_TAG = re.compile(r"(?P<node>[^#]+)#(?P<id>[0-9a-f]{64})")


def node_of(text: str) -> ExternalNode:
    """The node of `azureml:NAME:VERSION`. `RefNotFoundError` where the workspace has none of that name."""
    found = _ASSET.fullmatch(text)
    if found is None:
        raise BadInputError(
            f"{text[:300]!a} names nothing in Azure Machine Learning: write azureml:NAME:VERSION, with "
            "models/ or data/ before the name to say which"
        )
    client = need_workspace().client()
    name, version = found["name"], found["version"]
    if found["kind"] != "data":
        try:
            return _model(client, text, name, version)
        except RefNotFoundError:
            if found["kind"]:
                raise
    return _data(client, text, name, version)


def _data(client: MLClient, text: str, name: str, version: str) -> ExternalNode:
    with foreign(f"{text.removeprefix(PREFIX)}, neither as a model nor as data,"):
        asset = client.data.get(name=name, version=version)
    told = {**(asset.properties or {}), **(asset.tags or {})}
    claimed = _claimed_version(told)
    unversioned = () if claimed else (f"{name}:{version} at {asset.path}, which says no version",)
    return ExternalNode(
        text,
        inputs=(claimed,) if claimed else None,
        unversioned=unversioned,
        detail=f"data asset {name}, version {version}, {asset.type} at {asset.path}",
        copy_of=claimed,
    )


def _claimed_version(told: Mapping[str, str]) -> ClaimedInput | None:
    id = told.get(DIGEST_TAG, "")
    if not _ID.fullmatch(id):
        return None
    dataset, number = told.get("dataver.dataset", ""), told.get("dataver.version", "")
    return ClaimedInput(
        id, "", f"{dataset}@{number or id}", dataset, told.get("dataver.tree", ""),
        told.get("dataver.repository", ""), told.get("dataver.url", ""),
    )  # fmt: skip


def _model(client: MLClient, text: str, name: str, version: str) -> ExternalNode:
    with foreign(f"model {name}:{version}"):
        model = client.models.get(name=name, version=version)
    job = _job(model)
    claimed = _tagged({**(model.properties or {}), **(model.tags or {})})
    unversioned: tuple[str, ...] = ()
    tracked = _tracked(job) if job else None
    if tracked is not None:
        known = {one.version for one in claimed}
        claimed += [one for one in tracked.inputs or () if one.version not in known]
        unversioned = tracked.unversioned
    return ExternalNode(
        text,
        tracked=(f"{TRACKER}:{job}", f"{MLFLOW}:{job}") if job else (),
        inputs=tuple(claimed) or None,
        unversioned=unversioned,
        folder=tracked.folder if tracked is not None else "",
        detail=f"model {name}, version {version}, "
        + (f"made by job {job}" if job else "made by no job it tells of"),
    )


def _job(model: Any) -> str:
    """The job that made a model: as the service says, else as its path does. Empty where neither does."""
    if getattr(model, "job_name", None):
        return str(model.job_name)
    found = _RUN.search(str(model.path or ""))
    return next(filter(None, found.groups()), "") if found else ""


def _tagged(told: Mapping[str, str]) -> list[ClaimedInput]:
    """What tags `dataver.input.ROLE` say, which a job without MLflow's inputs has."""
    found = []
    for key, value in sorted(told.items()):
        tag = _TAG.fullmatch(value) if key.startswith(INPUT_TAG) else None
        if tag is not None:
            role, node = key.removeprefix(INPUT_TAG), tag["node"]
            found.append(ClaimedInput(tag["id"], role, node, node.partition("@")[0]))
    return found


def _tracked(job: str) -> ExternalNode | None:
    """What MLflow has of the job's run, where its settings lead to it; None where it cannot be had."""
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        return None
    with suppress(DataverError, ImportError):
        from dataver.integrations.mlflow.nodes import node_of as run_node

        return run_node(f"runs:/{job}")
    return None
