"""`dataver import mlflow`: runs and models that were there before dataver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session, key_values
from dataver.cli.types import PLACE

if TYPE_CHECKING:
    from dataver.integrations.importing.report import RunReport

SHOWN = 20
DOCUMENT = (
    '{"source", "dry_run": bool, "known", "unended", "bytes",\n'
    ' "runs": [{"run": id, "tracker_run", "name", "status", "created": bool, "inputs": ["iris@v3"…]}…],\n'
    ' "models": [{"node": "churn@v1" or null, "uri", "run", "note"}…],\n'
    ' "versions": [{"dataset", "version", "id", "source", "created": bool}…],\n'
    ' "unversioned": [{"run", "name", "digest", "kind", "reason"}…]}'
)


@verb(
    "mlflow",
    "dataver import mlflow --experiment churn --data /data",
    "dataver import mlflow models:/churn",
    "dataver import mlflow --dry-run",
    document=DOCUMENT,
)
@click.argument("nodes", nargs=-1, metavar="[RUN|models:/NAME[/VERSION]]...")
@click.option("--experiment", "experiments", metavar="NAME", multiple=True, help="Its runs; repeatable.")
@click.option(
    "--data",
    type=PLACE,
    metavar="FOLDER|URL",
    multiple=True,
    help="Make versions of what runs read below it, as it is found now; repeatable.",
)
@click.option(
    "--data-option", metavar="KEY=VALUE", multiple=True, help="An option of its file system; repeatable."
)
@click.option("--dry-run", is_flag=True, help="Only say which runs, models and data it would be.")
def command(
    session: Session,
    nodes: tuple[str, ...],
    experiments: tuple[str, ...],
    data: tuple[str, ...],
    data_option: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Record runs of MLflow that have ended, what they read, and the registered models that they made.

    All runs of the server that MLFLOW_TRACKING_URI names, or those that are named: by id, by experiment, or
    as those that made the versions of a model. With that `audit` and `lineage` know them. Inputs that are
    versions already are taken as they are. Others are names: MLflow has neither their bytes nor a digest of
    them. With --data, what is found at their places now becomes versions that say so, unless a file was
    changed after the run began. What was imported before is not imported again.
    """
    from dataver.integrations.mlflow.importing import RunsAsked, import_mlflow

    options = key_values(data_option, "--data-option")
    repository = session.open()
    asked = RunsAsked(nodes, experiments, data, options, dry_run)
    with session.watch() as progress:
        report = import_mlflow(repository, asked, progress)
    session.answer(report.to_json, lambda: lines(report))
    tell(report)


def lines(report: RunReport) -> Iterator[str]:
    """Versions, runs and models, and how many there are."""
    for version in report.versions:
        name = output.name(f"{version.dataset}@{version.version}" if version.version else version.dataset)
        yield f"{name}  {output.safe(version.source)}"
    for run in report.runs:
        inputs = ", ".join(map(output.name, run.inputs)) or "no versions"
        name = output.safe(run.name)
        yield f"run {output.short_id(run.run)}…  {name}  {run.status}  read {inputs}"
    for model in report.models:
        yield f"{output.name(f'model:{model.node}' if model.node else '-')}  {output.safe(model.uri)}"
    parts = [
        output.amount(len(report.runs), "run"),
        output.amount(sum(not model.note for model in report.models), "model"),
        output.amount(len(report.versions), "version"),
    ]
    known = f"; {report.known:,} known before" if report.known else ""
    unended = f"; {report.unended:,} have not ended" if report.unended else ""
    what = "would import" if report.dry_run else "imported"
    yield f"{what} {', '.join(parts)}{known}{unended}"


def tell(report: RunReport) -> None:
    """What people should know besides: what was left out, and why."""
    for given in report.unversioned[:SHOWN]:
        output.note(f"{given.name} ({given.digest}) of run {given.run[:8]} is no version: {given.reason}")
    if len(report.unversioned) > SHOWN:
        output.note(f"and {len(report.unversioned) - SHOWN:,} more; --json lists all")
    for model in report.models:
        if model.note:
            output.warn(f"left out: {model.uri}: {model.note}")
