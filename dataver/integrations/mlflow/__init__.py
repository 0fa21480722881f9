"""MLflow: inputs of its runs that lead back to the exact bytes, and models that say what made them.

Used as `dataver.mlflow`. With dataver installed, MLflow finds `mlflow.data.from_dataver`, the source
of data sets that it gives, and what tags runs, without an import of this.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dataver.readers import extras

# First of all: while MLflow is imported it imports our plug-ins, which must not be half-way imported then,
# and find MLflow half-way imported. So they take of it only what is there by then, and this takes nothing.
extras.need("mlflow", "dataver.mlflow")

if TYPE_CHECKING:
    from dataver.integrations.mlflow.dataset import DataverDataset as DataverDataset
    from dataver.integrations.mlflow.dataset import DataverDatasetSource as DataverDatasetSource
    from dataver.integrations.mlflow.dataset import from_dataver as from_dataver
    from dataver.integrations.mlflow.links import metadata as metadata
    from dataver.integrations.mlflow.recording import log_input as log_input

_HOMES = {
    "DataverDataset": "dataset",
    "DataverDatasetSource": "dataset",
    "from_dataver": "dataset",
    "log_input": "recording",
    "metadata": "links",
}

__all__ = ["DataverDataset", "DataverDatasetSource", "from_dataver", "log_input", "metadata"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dataver.mlflow' has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
