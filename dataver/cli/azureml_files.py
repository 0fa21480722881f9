"""What the kinds of `dataver azureml` that write a file have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.session import Function, Session
from dataver.cli.types import PLACE

if TYPE_CHECKING:
    from dataver.integrations.azureml.jobs import Pin, Step

DOCUMENT = '{"ref": "DATASET@ID", "asset": "azureml:NAME:VERSION", "output": path or null, "text"}'
TYPES = ["uri_folder", "uri_file", "mltable"]

output_option = click.option(
    "--output", "-o", type=PLACE, metavar="FILE", help="Write it here, and not to standard output."
)
name_option = click.option("--name", metavar="NAME", help="What it is called in the workspace.")
cron_option = click.option(
    "--cron", metavar="CRON", default="0 6 * * 1", help="When, in UTC; default: Mondays at 6, '0 6 * * 1'."
)
manifest_option = click.option(
    "--manifest", metavar="URL", help="The list of the export, .dataver.json, where the data are one file."
)


def asset_options(function: Function) -> Function:
    """The data asset that `export azureml` makes."""
    for option in (
        click.option("--asset-version", metavar="VERSION", help="As of `export azureml`."),
        click.option("--asset", metavar="NAME", help="The data asset, as --name of `export azureml`."),
    ):
        function = option(function)
    return function


type_option = click.option(
    "--type",
    "kind",
    type=click.Choice(TYPES),
    default="uri_folder",
    help="Of the asset; default: uri_folder.",
)


def step_options(function: Function) -> Function:
    """What a job does."""
    from dataver.integrations.azureml.jobs import TRAIN

    for option in (
        manifest_option,
        click.option("--environment", metavar="NAME", help="Where it runs; default: one with dataver alone."),
        click.option("--code", type=PLACE, metavar="FOLDER", help="The folder of the code."),
        click.option("--command", "line", metavar="TEXT", default=TRAIN, help="Default: python train.py …"),
    ):
        function = option(function)
    return function


def step_of(line: str, code: str | None, environment: str | None, manifest: str | None) -> Step:
    """What a job does, as the options say it."""
    from dataver.integrations.azureml.jobs import Step

    return Step(line, code, environment, manifest=manifest)


def pin_of(session: Session, ref: str, kind: str, asset: str | None, asset_version: str | None) -> Pin:
    """The version that a file is to be pinned to."""
    from dataver.integrations.azureml import jobs

    return jobs.pin_of(session.open().version(ref), kind, asset, asset_version)


def write(session: Session, pin: Pin, text: str, path: str | None) -> None:
    """Write a file, or print it."""
    if path is not None:
        output.write_file(path, text.encode())
    said = text.splitlines() if path is None else [f"{output.name(pin.ref)}  in {output.safe(path)}"]
    document = {"ref": pin.ref, "asset": pin.asset, "output": path, "text": text}
    session.answer(lambda: document, lambda: said)
