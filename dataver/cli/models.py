"""`dataver models`: the models that runs made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session

if TYPE_CHECKING:
    from dataver.lineage.listing import ModelInfo

DOCUMENT = '{"models": [{"name", "version": "v2", "run", "run_name", "tree", "uri", "time", "inputs": […]}…]}'


@verb("models", "dataver models", "dataver models churn --json", document=DOCUMENT)
@click.argument("name", required=False)
def command(session: Session, name: str | None) -> None:
    """List the models that runs made, with the runs; or the versions of the model NAME."""
    from dataver.cli.runs_push import open_runs
    from dataver.errors import RefNotFoundError
    from dataver.lineage.listing import model_infos
    from dataver.lineage.records import MODEL_PREFIX, Records, check_model_name

    repository = open_runs(session).session
    state = repository.state()
    wanted = None if name is None else check_model_name(name.removeprefix(MODEL_PREFIX))
    found = list(model_infos(state, Records(repository, state), wanted))
    if wanted is not None and not found:
        raise RefNotFoundError(f"there is no model {wanted}; `dataver models` lists them")
    session.answer(lambda: {"models": [info.to_json() for info in found]}, lambda: _lines(found))


def _lines(found: list[ModelInfo]) -> Iterator[str]:
    rows = []
    for info in found:
        document = info.to_json()
        read = ", ".join(document["inputs"]) or "-"
        run = f"run {document['run'][:12]}", output.safe(info.record.name)
        rows.append(
            (output.name(str(info.state)), output.elided_id(document["tree"]), *run, output.safe(read))
        )
    yield from output.columns(rows)
