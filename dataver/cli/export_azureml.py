"""`dataver export azureml`: a version as a data asset of Azure Machine Learning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import jobs_option, verb
from dataver.cli.session import Session, key_values
from dataver.cli.types import PLACE, REF
from dataver.cli.workspace import workspace_options

if TYPE_CHECKING:
    from dataver.integrations.azureml.export import Exported

DOCUMENT = (
    '{"asset": "azureml:NAME:VERSION", "name", "version", "type", "path", "description", "tags": {…},\n'
    ' "properties": {…}, "url", "workspace": name or null, "created": bool, "written_files",\n'
    ' "written_bytes", "yaml": path or null}'
)
TYPES = ["uri_folder", "uri_file", "mltable"]


@verb(
    "azureml",
    "dataver export azureml iris@v3",
    "dataver export azureml iris@v3 --type mltable --datastore workspaceblobstore",
    "dataver export azureml iris@v3 --to az://data/exports --yaml iris.yml",
    reads=True,
    document=DOCUMENT,
)
@click.argument("ref", type=REF)
@click.option(
    "--type", type=click.Choice(TYPES), default="uri_folder", help="Of the asset; default: uri_folder."
)
@click.option(
    "--to",
    type=PLACE,
    metavar="URL",
    help="Where the bytes go: a container az://C/PATH, azureml://datastores/NAME/paths/PATH, a folder.",
)
@click.option(
    "--to-option", metavar="KEY=VALUE", multiple=True, help="An option of its file system; repeatable."
)
@click.option("--datastore", metavar="NAME", help="The datastore that has the container.")
@click.option("--name", metavar="NAME", help="Of the asset; default: the dataset's, with - for /.")
@click.option("--asset-version", metavar="VERSION", help="Of the asset; default: 3 for v3.")
@click.option(
    "--yaml", type=PLACE, metavar="FILE", help="Write the asset for `az ml data create`; register none."
)
@workspace_options
@jobs_option
def command(
    session: Session,
    ref: str,
    type: str,  # noqa: A002 - the option's name
    to: str | None,
    to_option: tuple[str, ...],
    datastore: str | None,
    name: str | None,
    asset_version: str | None,
    yaml: str | None,
    subscription: str | None,
    resource_group: str | None,
    workspace: str | None,
    jobs: int | None,
) -> None:
    """Put the files of REF under a prefix that is named by its id, and register that as a data asset.

    The asset's tags name digest, version and repository. What is there already is not put again. Without
    --to and --datastore the prefix is in the repository's own container, or in the workspace's default
    datastore. A list of the files comes last, for `dataver verify --at` in a job.
    """
    from dataver.integrations.azureml.export import export
    from dataver.integrations.azureml.workspace import find_workspace, need_workspace

    options = key_values(to_option, "--to-option") or (session.storage_options if to is None else {})
    version = session.open().version(ref)
    named = (find_workspace if yaml else need_workspace)(subscription, resource_group, workspace)
    with session.watch() as progress:
        done = export(
            version, kind=type, to=to, datastore=datastore, workspace=named, register=yaml is None, name=name,
            asset_version=asset_version, storage_options=options, jobs=jobs, progress=progress,
        )  # fmt: skip
    if yaml is not None:
        output.write_file(yaml, done.asset.to_yaml())
    session.answer(lambda: {**done.to_json(), "yaml": yaml}, lambda: lines(done, yaml))


def lines(done: Exported, yaml: str | None) -> Iterator[str]:
    """What was written, and what became of the asset."""
    written = done.written
    if written.files:
        files = f"{output.amount(written.files, 'file')}, {output.size_text(written.bytes)}"
        yield f"{files} to {output.safe(done.url)}"
    else:
        yield f"all files are in {output.safe(done.url)}"
    asset = output.name(done.asset.ref)
    if yaml is not None:
        yield f"{asset}  {done.asset.type}  in {output.safe(yaml)}"
    else:
        was = "registered" if done.created else "was registered"
        yield f"{asset}  {done.asset.type}  {was} in {output.safe(str(done.workspace))}"
