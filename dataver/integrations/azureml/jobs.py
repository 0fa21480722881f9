"""Jobs of Azure Machine Learning that are pinned to a version by digest, as files for `az ml`.

Whatever a job does, it first compares the bytes that were mounted with the version that its input
`dataset_ref` names by the whole id, and ends there with exit code 5 if they differ, whatever words of the
shell are in its command. For that the job needs
dataver in its environment and no way to the repository: the list of an export lies beside the data.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from dataver.errors import BadInputError
from dataver.integrations.azureml.asset import asset_of
from dataver.values import dataclass
from dataver.verify.listed import LIST_FILE
from dataver.verify.mltable import yaml_text

if TYPE_CHECKING:
    from dataver.version import Version

__all__ = ["Pin", "Step", "component", "monitor", "pin_of", "pipeline", "schedule"]

SCHEMAS = "https://azuremlschemas.azureedge.net/latest"
TRAIN = "python train.py --data ${{inputs.data}} --model ${{outputs.model}}"
IMAGE = "mcr.microsoft.com/azureml/openmpi5.0-ubuntu24.04"
THRESHOLDS = """\
    metric_thresholds:
      numerical: {normalized_wasserstein_distance: 0.1}
      categorical: {jensen_shannon_distance: 0.1}
"""
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Pin:
    """A version as jobs name it: by `ref`, `iris@<64 digits>`, and as the data asset that an export makes."""

    ref: str
    asset: str
    type: str
    dataset: str

    @property
    def word(self) -> str:
        """The name of the dataset, as it can be part of a name in Azure ML."""
        return _NOT_IN_NAMES.sub("_", self.dataset).strip("_").lower()


@dataclass(frozen=True, slots=True)
class Step:
    """What a job does when the data are right. `code` is a folder, `environment` a name in the workspace.

    `manifest` is the URL of the list of an export, which a job needs whose input is one file.
    """

    command: str = TRAIN
    code: str | None = None
    environment: str | None = None
    compute: str = "azureml:serverless"
    manifest: str | None = None

    def check(self, kind: str) -> None:
        """`BadInputError` where it cannot be."""
        line = self.command.strip()
        if not line or not line.replace("\t", " ").isprintable():
            raise BadInputError(
                "the command of a job is one line, without control characters; write a script for more"
            )
        if kind == "uri_file" and not self.manifest:
            raise BadInputError(
                "a job that gets one file does not see the list beside it: name that with --manifest, as "
                f"azureml://datastores/NAME/paths/…/{LIST_FILE}"
            )


def pin_of(version: Version, kind: str, name: str | None = None, asset_version: str | None = None) -> Pin:
    """The pin of a version; `name` and `asset_version` as `export azureml` takes them."""
    asset = asset_of(version, kind, "", name, asset_version)
    return Pin(f"{version.dataset_name}@{version.id}", asset.ref, kind, version.dataset_name)


def component(pin: Pin, step: Step, name: str | None = None) -> str:
    """A component of a pipeline."""
    step.check(pin.type)
    inputs = [
        f"  dataset_ref: {{type: string, default: {yaml_text(pin.ref)}}}",
        f"  data: {{type: {pin.type}}}",
    ]
    if step.manifest:
        inputs.append("  manifest: {type: uri_file}")
    return _lines(
        f"$schema: {SCHEMAS}/commandComponent.schema.json",
        "type: command",
        f"name: {yaml_text(name or f'train_{pin.word}')}",
        "inputs:",
        *inputs,
        "outputs:",
        "  model: {type: uri_folder}",
        *_step(step),
    )


def pipeline(pin: Pin, step: Step, name: str | None = None, component_file: str | None = None) -> str:
    """A pipeline of one step: that of a component, or one of its own."""
    step.check(pin.type)
    named = ["dataset_ref", "data", *(["manifest"] if step.manifest else [])]
    if component_file:
        body = [f"component: {yaml_text(_relative(component_file))}"]
    else:
        body = _step(step)
    return _lines(
        f"$schema: {SCHEMAS}/pipelineJob.schema.json",
        "type: pipeline",
        f"display_name: {yaml_text(name or f'train_{pin.word}')}",
        f"experiment_name: {yaml_text(pin.word)}",
        f"settings: {{default_compute: {yaml_text(step.compute)}}}",
        "inputs:",
        *_inputs(pin, step, "  "),
        "outputs:",
        "  model: {type: uri_folder}",
        "jobs:",
        "  train:",
        "    type: command",
        "    inputs:",
        *(f"      {key}: ${{{{parent.inputs.{key}}}}}" for key in named),
        "    outputs:",
        "      model: ${{parent.outputs.model}}",
        *(f"    {line}" for line in body),
    )


def schedule(pin: Pin, step: Step, pipeline_file: str, cron: str, name: str | None = None) -> str:
    """When a pipeline runs, with the pin in place of the pipeline's own."""
    return _lines(
        f"$schema: {SCHEMAS}/schedule.schema.json",
        f"name: {yaml_text(name or f'retrain_{pin.word}')}",
        "trigger:",
        "  type: cron",
        f"  expression: {yaml_text(cron)}",
        "  time_zone: UTC",
        "tags:",
        f"  dataver.ref: {yaml_text(pin.ref)}",
        "create_job:",
        "  type: pipeline",
        f"  job: {yaml_text(_relative(pipeline_file))}",
        "  inputs:",
        *_inputs(pin, step, "    "),
    )


def monitor(pin: Pin, production: str, task: str, cron: str, name: str | None = None) -> str:
    """A monitor of the drift of `production`, a data asset, away from the version that was trained on."""
    return _lines(
        f"$schema: {SCHEMAS}/monitorSchedule.schema.json",
        f"name: {yaml_text(name or f'drift_{pin.word}')}",
        "trigger:",
        "  type: cron",
        f"  expression: {yaml_text(cron)}",
        "  time_zone: UTC",
        "tags:",
        f"  dataver.ref: {yaml_text(pin.ref)}",
        "create_monitor:",
        "  compute: {instance_type: standard_e4s_v3, runtime_version: '3.4'}",
        f"  monitoring_target: {{ml_task: {task}}}",
        "  monitoring_signals:",
        "    data_drift:",
        "      type: data_drift",
        "      production_data:",
        f"        input_data: {{path: {yaml_text(production)}, type: mltable}}",
        "        data_context: model_inputs",
        "      reference_data:",
        f"        input_data: {{path: {yaml_text(pin.asset)}, type: mltable}}",
        "        data_context: training",
        *(f"  {line}" for line in THRESHOLDS.splitlines()),
    )


def _inputs(pin: Pin, step: Step, indent: str) -> list[str]:
    found = [
        f"dataset_ref: {yaml_text(pin.ref)}",
        f"data: {{type: {pin.type}, path: {yaml_text(pin.asset)}, mode: ro_mount}}",
    ]
    if step.manifest:
        found.append(f"manifest: {{type: uri_file, path: {yaml_text(step.manifest)}}}")
    return [indent + line for line in found]


def _step(step: Step) -> list[str]:
    manifest = ' --manifest "${{inputs.manifest}}"' if step.manifest else ""
    lines = [f"code: {yaml_text(_relative(step.code))}"] if step.code else []
    if step.environment:
        lines.append(f"environment: {yaml_text(step.environment)}")
    else:
        lines += [
            "environment:",
            f"  image: {IMAGE}",
            "  conda_file:",
            "    channels: [conda-forge]",
            "    dependencies: [python=3.12, pip, {pip: ['dataver[azureml]']}]",
        ]
    return [
        *lines,
        # No `&&`: what follows a `;` or `||` in the command would run in spite of it.
        "command: >-",
        f'  dataver verify "${{{{inputs.dataset_ref}}}}" --at "${{{{inputs.data}}}}"{manifest} || exit $?;',
        f"  {step.command.strip()}",
    ]


def _relative(path: str) -> str:
    """A local path as Azure ML tells it from a name: `./train.yml`."""
    return path if ":" in path or os.path.isabs(path) or path.startswith(".") else f"./{path}"


def _lines(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)
