"""`dataver card`: what is to be said of a version, on a page."""

from __future__ import annotations

import os

import click

from dataver.cli import output
from dataver.cli.options import jobs_option, verb
from dataver.cli.session import Session
from dataver.cli.types import PLACE, REF

DOCUMENT = (
    '{"dataset", "version": "v3" or null, "id", "tree", "author", "time", "message", "files", "bytes",\n'
    ' "runs": […], "card_file": name or null, "problem": text or null,\n'
    ' "fields": {"licence": value or null, …}, "filled": 9, "of": 11, "other": {…}, "text",\n'
    ' "sources": […], "derived_from": […], "sources_of": [id…], "sources_whole": bool,\n'
    ' "tables": [{"path", "rows", "columns": [{"name", "type"}…], "statistics": [column of stats…] or null}…]'
    ',\n "table_count", "splits": [{"name", "digest", "definition": {…}}…], "splits_problem": text or null,\n'
    ' "before": [{"version", "id", "time", "author", "message"}…]}; with --new {"file"}'
)


@verb(
    "card",
    "dataver card iris@v3",
    "dataver card iris --out iris.md --compute",
    "dataver card --new --out data/iris/DATASET.md",
    reads=True,
    document=DOCUMENT,
)
@click.argument("ref", type=REF, required=False)
@click.option("--out", type=PLACE, metavar="FILE", help="Write the page, or with --new the template, there.")
@click.option("--compute", is_flag=True, help="Compute what columns hold where it is not known.")
@click.option("--new", is_flag=True, help="Write a card to fill in, DATASET.md; never over a file.")
@jobs_option
def command(
    session: Session, ref: str | None, out: str | None, compute: bool, new: bool, jobs: int | None
) -> None:
    """Print what is to be said of a version, as Markdown.

    The card is made of the file DATASET.md, else README.md, at the root of the version, with fields as
    TOML between two lines +++ at its top (or YAML between ---), and of what is known: where the data came
    from, tables and their columns, splits, and the versions before. It tells how many of the fields that a
    card should have are filled in.
    """
    if new:
        if ref is not None or compute:
            raise click.UsageError("--new writes a template: it takes no REF and computes nothing.")
        write_template(session, out or "DATASET.md")
        return
    if ref is None:
        raise click.UsageError("Name a version, as iris@v3, or give --new.")
    repository = session.open()
    repository.session.jobs = jobs or 0
    card = repository.version(ref).card(compute=compute)
    if card.written.problem is not None:
        output.warn(card.written.problem)
    if out is not None:
        output.write_file(out, str(card).encode())
    session.answer(
        card.to_json,
        lambda: (
            [f"{output.path_text(out)}  {card.filled} of {card.fields} fields"]
            if out is not None
            else str(card).rstrip("\n").split("\n")
        ),
    )


def write_template(session: Session, file: str) -> None:
    """Make the file, which must not be there."""
    from dataver.cards.fields import template
    from dataver.cards.page import cell
    from dataver.errors import AlreadyExistsError, NotPermittedError, PathNotFoundError

    folder = os.path.basename(os.path.dirname(os.path.abspath(file)))
    try:
        with open(file, "xb") as new:
            new.write(template(cell(folder) or "Dataset").encode())
    except FileExistsError as error:
        raise AlreadyExistsError(f"{file} is there already; it was left as it is") from error
    except PermissionError as error:
        raise NotPermittedError(f"{file} cannot be written: {error.strerror}") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PathNotFoundError(f"{file} has no folder to be written into; make it") from error
    session.answer(
        lambda: {"file": file},
        lambda: [f"{output.path_text(file)}  to be filled in, and committed at the root of the dataset"],
    )
