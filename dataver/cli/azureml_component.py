"""`dataver azureml component`: a component that compares its data with a version first."""

from __future__ import annotations

import click

from dataver.cli import azureml_files as files
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import REF


@verb(
    "component",
    "dataver azureml component iris@v3 -o train.yml",
    "dataver azureml component iris@v3 --code src --environment azureml:training@latest -o train.yml",
    reads=True,
    document=files.DOCUMENT,
)
@click.argument("ref", type=REF)
@files.output_option
@files.name_option
@files.type_option
@files.step_options
def command(
    session: Session,
    ref: str,
    output: str | None,
    name: str | None,
    kind: str,
    line: str,
    code: str | None,
    environment: str | None,
    manifest: str | None,
) -> None:
    """Write a component whose job first compares the bytes that it got with REF, by the whole id.

    Where they differ it ends with exit code 5 and runs nothing. Its inputs are dataset_ref and data.
    """
    from dataver.integrations.azureml.jobs import component

    pin = files.pin_of(session, ref, kind, None, None)
    text = component(pin, files.step_of(line, code, environment, manifest), name)
    files.write(session, pin, text, output)
