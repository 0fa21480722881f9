"""`dataver export`: what the repository knows, in the words of others."""

from __future__ import annotations

from dataver.cli.family import family

KINDS = {
    "azureml": "Make a data asset of Azure Machine Learning of a version.",
    "croissant": "Describe the files and tables of a version as Croissant.",
    "cyclonedx": "List what a model or version is made of as CycloneDX.",
    "openlineage": "Tell a version or run as OpenLineage events.",
    "prov": "Tell what something came from as W3C PROV.",
}

command = family(
    "export",
    "Hand a version, model or run to another tool, or write it down as a document of a standard.",
    KINDS,
    "dataver export azureml iris@v3 --to az://data/exports",
    "dataver export croissant iris@v3 -o data/croissant.json",
    "dataver export prov model:churn@v2 --format provn",
)
