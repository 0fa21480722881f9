"""`dataver export`: hand a version to another tool, in that tool's own form."""

from __future__ import annotations

from dataver.cli.family import family

KINDS = {
    "azureml": "Make a data asset of Azure Machine Learning of a version.",
}

command = family(
    "export",
    "Hand a version to another tool, in that tool's own form.",
    KINDS,
    "dataver export azureml iris@v3 --to az://data/exports",
)
