"""`dataver azureml pipeline`: a pipeline that trains on a version."""

from __future__ import annotations

from dataclasses import replace

import click

from dataver.cli import azureml_files as files
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import PLACE, REF


@verb(
    "pipeline",
    "dataver azureml pipeline iris@v3 -o pipeline.yml",
    "dataver azureml pipeline iris@v3 --component train.yml --compute azureml:cpu-cluster -o pipeline.yml",
    reads=True,
    document=files.DOCUMENT,
)
@click.argument("ref", type=REF)
@files.output_option
@files.name_option
@click.option(
    "--component", type=PLACE, metavar="FILE", help="The component to run; default: one of its own."
)
@click.option("--compute", metavar="NAME", default="azureml:serverless", help="Default: azureml:serverless.")
@files.type_option
@files.asset_options
@files.step_options
def command(
    session: Session,
    ref: str,
    output: str | None,
    name: str | None,
    component: str | None,
    compute: str,
    kind: str,
    asset: str | None,
    asset_version: str | None,
    line: str,
    code: str | None,
    environment: str | None,
    manifest: str | None,
) -> None:
    """Write a pipeline of one step that trains on REF, the data asset that `export azureml` makes of it."""
    from dataver.integrations.azureml.jobs import pipeline

    pin = files.pin_of(session, ref, kind, asset, asset_version)
    step = replace(files.step_of(line, code, environment, manifest), compute=compute)
    files.write(session, pin, pipeline(pin, step, name, component), output)
