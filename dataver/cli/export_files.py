"""Where an exported document goes."""

from __future__ import annotations

import click

from dataver.cli import output
from dataver.cli.session import Session
from dataver.cli.types import PLACE

DOCUMENT = 'the document itself, or {"text"} where it is no JSON; with -o {"file", "bytes"}'

output_option = click.option(
    "--output",
    "-o",
    "file",
    type=PLACE,
    metavar="FILE",
    help="Write the document there; default: standard output.",
)


def written(session: Session, data: bytes, file: str | None, *, is_json: bool = True) -> None:
    """Write the document to the file, and say so; else to standard output."""
    import json

    if file is not None:
        output.write_file(file, data)
        size = len(data)
        session.answer(
            lambda: {"file": file, "bytes": size},
            lambda: [f"{output.path_text(file)}  {output.size_text(size)}"],
        )
        return
    text = data.decode()
    session.answer(
        lambda: json.loads(text) if is_json else {"text": text},
        lambda: map(output.safe, text.rstrip("\n").split("\n")),
    )
