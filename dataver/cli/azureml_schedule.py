"""`dataver azureml schedule`: when a pipeline runs, and on which version."""

from __future__ import annotations

import click

from dataver.cli import azureml_files as files
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import PLACE, REF


@verb(
    "schedule",
    "dataver azureml schedule iris@v3 --pipeline pipeline.yml -o schedule.yml",
    reads=True,
    document=files.DOCUMENT,
)
@click.argument("ref", type=REF)
@files.output_option
@files.name_option
@click.option(
    "--pipeline", type=PLACE, metavar="FILE", default="pipeline.yml", help="What runs; default: pipeline.yml."
)
@files.cron_option
@files.type_option
@files.asset_options
@files.manifest_option
def command(
    session: Session,
    ref: str,
    output: str | None,
    name: str | None,
    pipeline: str,
    cron: str,
    kind: str,
    asset: str | None,
    asset_version: str | None,
    manifest: str | None,
) -> None:
    """Write a schedule that trains on REF, whatever version the pipeline itself is pinned to."""
    from dataver.integrations.azureml.jobs import Step, schedule

    pin = files.pin_of(session, ref, kind, asset, asset_version)
    text = schedule(pin, Step(manifest=manifest), pipeline, cron, name)
    files.write(session, pin, text, output)
