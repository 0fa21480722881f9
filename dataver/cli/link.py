"""`dataver link`: say after the fact what a run read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import REF

if TYPE_CHECKING:
    from dataver.format.run_record import RunInput
    from dataver.lineage.linking import Linked
    from dataver.repository import Repository

DOCUMENT = (
    '{"run": id, "trackers": [{"kind", "run_id", "uri", "experiment"}…], "created": bool,\n'
    ' "added": [{"role", "ref", "dataset", "version", "id", "tree", "split"}…], "inputs": [{…}…]}'
)


@verb(
    "link",
    "dataver link 39a8545a7c1e4d5f8a6b7c8d9e0f1a2b iris@v3",
    "dataver link runs:/39a8545a7c1e4d5f8a6b7c8d9e0f1a2b iris@v3:test --role testing",
    "dataver link run:1f0c9a2b iris@v3",
    document=DOCUMENT,
)
@click.argument("run")
@click.argument("refs", type=REF, nargs=-1, required=True, metavar="REF[:PART]...")
@click.option("--role", metavar="ROLE", default="training", help="What it was read as; default: training.")
def command(session: Session, run: str, refs: tuple[str, ...], role: str) -> None:
    """Say that the RUN, which has ended, read the versions REF, or parts of them.

    RUN is a run of dataver, run:ID, or one of MLflow, ID or runs:/ID: it gets inputs and tags there, and
    the repository a record of it, or the one that DATAVER_RUNS_REPO names. What is recorded already stays as
    it is.
    """
    repository = session.open()
    linked = link(repository, run, refs, role)
    session.answer(lambda: document(linked), lambda: lines(linked))


def link(repository: Repository, run: str, refs: Sequence[str], role: str) -> Linked:
    """What `dataver link` does."""
    from dataver.integrations.inputs import Input, open_node, run_input
    from dataver.lineage.linking import link_inputs
    from dataver.lineage.records import RUN_PREFIX, find_run
    from dataver.repository import open_repository
    from dataver.running import RUNS_REPO_VARIABLE

    reads = [(ref, open_node(ref, repository)) for ref in refs]
    elsewhere = os.environ.get(RUNS_REPO_VARIABLE)
    records = (open_repository(elsewhere) if elsewhere else repository).session
    if run.startswith(RUN_PREFIX):
        found = find_run(records.newest(), run)
        inputs = [run_input(Input.of(handle, role=role), ref) for ref, handle in reads]
        return link_inputs(records, found.id, inputs)
    from dataver.integrations.mlflow.linking import link_run

    return link_run(records, run.removeprefix("runs:/").partition("/")[0], reads, role)


def document(linked: Linked) -> dict[str, object]:
    """The JSON document."""
    record = linked.record
    return {
        "run": record.run,
        "trackers": [
            {"kind": one.kind, "run_id": one.run_id, "uri": one.uri, "experiment": one.experiment}
            for one in record.trackers
        ],
        "created": linked.created,
        "added": [input_document(given) for given in linked.added],
        "inputs": [input_document(given) for given in record.inputs],
    }


def input_document(given: RunInput) -> dict[str, object]:
    """One input."""
    return {
        "role": given.role,
        "ref": given.ref,
        "dataset": given.dataset,
        "version": f"v{given.number}" if given.number else None,
        "id": given.version,
        "tree": given.tree,
        "split": given.split,
    }


def lines(linked: Linked) -> Iterator[str]:
    """What was linked, for people."""
    from dataver.integrations.inputs import Input

    record = linked.record
    if not linked.added:
        yield f"run {output.short_id(record.run)}… had all of it"
    for given in linked.added:
        name, id = output.name(Input.from_run(given).node), output.elided_id(given.version)
        yield f"run {output.short_id(record.run)}…  {output.safe(given.role)}  {name}  {id}"
