"""The workspace of Azure Machine Learning: which one is meant, the way to it, and its errors as ours."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dataver.errors import (
    BadInputError,
    DataverError,
    MissingExtraError,
    NotPermittedError,
    RefNotFoundError,
    StoreError,
)
from dataver.lineage.masking import mask_text
from dataver.values import dataclass

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

VARIABLES = ("AZUREML_ARM_SUBSCRIPTION", "AZUREML_ARM_RESOURCEGROUP", "AZUREML_ARM_WORKSPACE_NAME")
OPTIONS = ("--subscription", "--resource-group", "--workspace")
CONFIG_FILES = ("config.json", os.path.join(".azureml", "config.json"))


@dataclass(frozen=True, slots=True)
class Workspace:
    """Its three names."""

    subscription: str
    resource_group: str
    name: str

    def client(self) -> MLClient:
        """A client, with the login that azure-identity finds. `MissingExtraError` where there is none."""
        try:
            from azure.ai.ml import MLClient
            from azure.identity import DefaultAzureCredential
        except ImportError as error:
            raise MissingExtraError(
                f"Azure Machine Learning needs azure-ai-ml, which cannot be imported ({error}); pip install "
                "'dataver[azureml]'"
            ) from error
        # What these warn of comes back as an error of ours.
        for name in ("azure.identity", "azure.ai.ml"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        with foreign(f"the workspace {self.name}"):
            return MLClient(
                DefaultAzureCredential(exclude_interactive_browser_credential=True),
                self.subscription, self.resource_group, self.name, enable_telemetry=False,
            )  # fmt: skip


def find_workspace(
    subscription: str | None = None, resource_group: str | None = None, name: str | None = None
) -> Workspace | None:
    """The one that the options name, else the environment, as it does in a job, else a `config.json`.

    As Azure's own tools do, the file is looked for in this folder and above. None where nothing names one.
    """
    config = _config()
    told = (subscription, resource_group, name)
    found = []
    for mine, variable, key in zip(
        told, VARIABLES, ("subscription_id", "resource_group", "workspace_name"), strict=True
    ):
        found.append(mine or os.environ.get(variable) or config.get(key) or "")
    if not any(found):
        return None
    missing = [
        f"{option} ({variable})"
        for option, variable, value in zip(OPTIONS, VARIABLES, found, strict=True)
        if not value
    ]
    if missing:
        raise BadInputError(f"the workspace is named in part only; say {' and '.join(missing)} as well")
    return Workspace(*found)


def need_workspace(
    subscription: str | None = None, resource_group: str | None = None, name: str | None = None
) -> Workspace:
    """As `find_workspace`; `BadInputError` where nothing names one."""
    found = find_workspace(subscription, resource_group, name)
    if found is None:
        raise BadInputError(
            "no workspace of Azure Machine Learning is named: say --subscription, --resource-group and "
            f"--workspace, set {', '.join(VARIABLES)}, or put the workspace's config.json into this folder"
        )
    return found


def _config() -> Mapping[str, str]:
    folder = os.getcwd()
    while True:
        for name in CONFIG_FILES:
            path = os.path.join(folder, name)
            found = _read_config(path) if os.path.isfile(path) else {}
            if found:
                return found
        above = os.path.dirname(folder)
        if above == folder:
            return {}
        folder = above


def _read_config(path: str) -> Mapping[str, str]:
    """The names in a file; nothing where it is one of somebody else's, which many call so."""
    try:
        with open(path, "rb") as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict) or not isinstance(found.get("workspace_name"), str):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)}


@contextmanager
def foreign(what: str) -> Iterator[None]:
    """The client's errors as ours, about `what`. `RefNotFoundError` where there is none."""
    try:
        yield
    except DataverError:
        raise
    except Exception as error:  # noqa: BLE001 - the client, the transport and credentials raise their own
        raise _error(error, what) from None


def _error(error: Exception, what: str) -> DataverError:
    from azure.ai.ml.exceptions import MlException
    from azure.core.exceptions import (
        ClientAuthenticationError,
        HttpResponseError,
        ResourceNotFoundError,
        ServiceRequestError,
        ServiceResponseError,
    )

    text = str(getattr(error, "message", None) or error)
    reason = mask_text(text.strip().partition("\n")[0][:300])
    if isinstance(error, ResourceNotFoundError):
        return RefNotFoundError(f"Azure Machine Learning has no {what}: {reason}")
    status: Any = getattr(error, "status_code", None)
    if isinstance(error, ClientAuthenticationError) or status in (401, 403):
        return NotPermittedError(
            f"Azure Machine Learning refuses {what}: {reason}; log in with `az login`, or ask for the role "
            "AzureML Data Scientist in the workspace"
        )
    if isinstance(error, HttpResponseError | ServiceRequestError | ServiceResponseError):
        return StoreError(f"Azure Machine Learning gave no answer about {what}: {reason}; run it again")
    if isinstance(error, MlException | ValueError | TypeError):
        return BadInputError(f"Azure Machine Learning does not take {what}: {reason}")
    return StoreError(f"Azure Machine Learning failed at {what}: {type(error).__name__}: {reason}")
