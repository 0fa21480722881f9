"""`dataver azureml`: files for jobs of Azure Machine Learning, pinned to a version by digest."""

from __future__ import annotations

from dataver.cli.family import family

KINDS = {
    "component": "Write a component that compares its data with a version first.",
    "pipeline": "Write a pipeline that trains on a version.",
    "schedule": "Write when a pipeline runs, and on which version.",
    "monitor": "Write a monitor of the drift away from a version.",
    "bump": "Pin another version in files, and leave the rest as it is.",
}

command = family(
    "azureml",
    "Write jobs of Azure Machine Learning that are pinned to a version by digest.",
    KINDS,
    "dataver azureml pipeline iris@v3 -o pipeline.yml",
    "dataver azureml bump pipeline.yml iris@v4",
)
