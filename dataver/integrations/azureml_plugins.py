"""What dataver finds of Azure Machine Learning by entry points; its client is imported for a node only."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataver.lineage.nodes import ExternalNode
    from dataver.running import Run

PREFIX = "azureml:"
TRACKER = "azureml"
RUN_VARIABLE = "AZUREML_RUN_ID"
EXPERIMENT_VARIABLE = "AZUREML_ARM_PROJECT_NAME"
WORKSPACE_PARTS = (
    ("subscriptions", "AZUREML_ARM_SUBSCRIPTION"),
    ("resourceGroups", "AZUREML_ARM_RESOURCEGROUP"),
    ("workspaces", "AZUREML_ARM_WORKSPACE_NAME"),
)


def resolve(text: str) -> ExternalNode | None:
    """What the workspace knows of `azureml:NAME:VERSION`, a data asset or a model; None for any other text.

    `RefNotFoundError` where it has neither, `MissingExtraError` where its client is not installed.
    """
    if not text.startswith(PREFIX):
        return None
    from dataver.integrations.azureml.nodes import node_of

    return node_of(text)


class RunHook:
    """Ties a run to the job of Azure Machine Learning that it is part of, if it is one."""

    def run_started(self, run: Run) -> None:
        """Note the job's name and workspace, which it finds in its environment."""
        from dataver.integrations.mlflow_plugins import linking

        job = os.environ.get(RUN_VARIABLE)
        if job and linking():
            run.add_tracker(TRACKER, job, workspace_uri(), os.environ.get(EXPERIMENT_VARIABLE, ""))


def workspace_uri() -> str:
    """`azureml://subscriptions/…/workspaces/WS`; empty where the environment does not name all of it."""
    parts = [(word, os.environ.get(variable, "")) for word, variable in WORKSPACE_PARTS]
    if not all(value for _, value in parts):
        return ""
    return "azureml://" + "/".join(f"{word}/{value}" for word, value in parts)
