"""`dataver azureml monitor`: a monitor of the drift away from a version."""

from __future__ import annotations

import click

from dataver.cli import azureml_files as files
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import REF


@verb(
    "monitor",
    "dataver azureml monitor iris@v3 --production azureml:served:1 -o monitor.yml",
    reads=True,
    document=files.DOCUMENT,
)
@click.argument("ref", type=REF)
@files.output_option
@files.name_option
@click.option(
    "--production", metavar="ASSET", required=True, help="What the model gets now: azureml:NAME:VERSION."
)
@click.option(
    "--task",
    type=click.Choice(["classification", "regression"]),
    default="classification",
    help="What the model does; default: classification.",
)
@files.cron_option
@files.asset_options
def command(
    session: Session,
    ref: str,
    output: str | None,
    name: str | None,
    production: str,
    task: str,
    cron: str,
    asset: str | None,
    asset_version: str | None,
) -> None:
    """Write a monitor that compares what a model gets with REF, which it was trained on.

    REF has to be exported as an mltable. Metrics and thresholds are those that `dataver drift` takes.
    """
    from dataver.integrations.azureml.jobs import monitor

    pin = files.pin_of(session, ref, "mltable", asset, asset_version)
    files.write(session, pin, monitor(pin, production, task, cron, name), output)
