"""`dataver served`: what services on this machine have captured and not committed yet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import author_option, verb
from dataver.cli.session import Session
from dataver.errors import ConflictError

if TYPE_CHECKING:
    from dataver.serving.committing import Served
    from dataver.serving.spool import Waiting

DOCUMENT = (
    '{"dataset", "folder", "waiting": [{"file", "start", "bytes", "over": bool, "written": bool}…]}\n'
    'with --commit: {"dataset", "rows", "files", "dropped": {reason: requests}, "version", "id"}'
)


@verb("served", "dataver served served", "dataver served served --commit", document=DOCUMENT)
@click.argument("dataset")
@click.option("--commit", "commits", is_flag=True, help="Commit what no service is writing just now.")
@author_option
def command(session: Session, dataset: str, commits: bool, author: str | None) -> None:
    """Show what `dataver.serving` has captured for DATASET on this machine and not committed yet.

    Services commit by themselves, at the end of each window of time, also what others left behind that
    were killed; --commit does it where no service will be started again.
    """
    from dataver.refs import check_dataset_name
    from dataver.serving.capture import COMMIT_S
    from dataver.serving.committing import commit_waiting
    from dataver.serving.spool import folder_of, waiting

    check_dataset_name(dataset)
    repository = session.open()
    repository.session.state()  # Nothing is done with a history that is another one.
    folder = folder_of(repository.url, dataset)
    if not commits:
        files = waiting(folder)
        session.answer(
            lambda: {"dataset": dataset, "folder": folder, "waiting": [facts(file) for file in files]},
            lambda: lines(files),
        )
        return
    served = commit_waiting(repository, dataset, folder, author=author, wait_s=COMMIT_S)
    if served is None:
        raise ConflictError(f"another process commits what was served of {dataset} just now; wait for it")
    session.answer(lambda: document(served), lambda: committed_lines(served))


def facts(file: Waiting) -> dict[str, object]:
    """A file that waits. `over`: its window is; `written`: a service has it open."""
    from dataver.serving.spool import is_free, size_of

    return {
        "file": file.path,
        "start": file.start,
        "bytes": size_of(file),
        "over": file.end <= time.time(),
        "written": not is_free(file.path),
    }


def lines(files: list[Waiting]) -> Iterator[str]:
    """A line a file."""
    if not files:
        yield "nothing waits"
    for found in map(facts, files):
        state = "being written" if found["written"] else "waits for its window to end"
        if found["over"] and not found["written"]:
            state = "can be committed"
        yield f"{output.size_text(int(str(found['bytes'])))}  {state}  {output.safe(str(found['file']))}"


def document(served: Served) -> dict[str, object]:
    """What was committed, for programs."""
    result = served.result
    return {
        "dataset": served.dataset,
        "rows": served.rows,
        "files": served.files,
        "dropped": dict(served.dropped),
        "version": None if result is None else result.version,
        "id": None if result is None else result.id,
    }


def committed_lines(served: Served) -> Iterator[str]:
    """What was committed, for people."""
    if served.result is None:
        yield "nothing waits"
    else:
        name, id = f"{served.dataset}@{served.result.version}", served.result.id
        yield f"{output.name(name)}  {output.elided_id(id)}  {output.amount(served.rows, 'row')}"
    for reason, count in served.dropped.items():
        yield f"not captured: {output.safe(reason)} {count:,}"
