"""`dataver export openlineage`: a version or a run as events."""

from __future__ import annotations

import json

import click

from dataver.cli import output
from dataver.cli.options import jobs_option, verb
from dataver.cli.session import Session
from dataver.cli.types import PLACE, REF

DOCUMENT = '{"events": [event…]}; with --to {"to", "events": 2}'


@verb(
    "openlineage",
    "dataver export openlineage iris@v3",
    "dataver export openlineage run:1f0c9a2b --to events.ndjson",
    "dataver export openlineage model:churn@v2 --to http://127.0.0.1:5000",
    document=DOCUMENT,
)
@click.argument("subject", type=REF, metavar="REF|RUN|MODEL")
@click.option(
    "--to",
    type=PLACE,
    metavar="FILE|URL",
    help="Write the events into the file, one a line, or post them to the URL; default: standard output.",
)
@jobs_option
def command(session: Session, subject: str, to: str | None, jobs: int | None) -> None:
    """Tell a version as an event of its dataset, a run as events of its start and end, for OpenLineage.

    A run is run:ID, or the one that made model:NAME@vN. What columns hold is computed where it is not at
    hand. Posting needs `pip install dataver[openlineage]`, and takes the key of the variable
    OPENLINEAGE_API_KEY. The same subject gives the same events.
    """
    from dataver.exports.openlineage import events_of
    from dataver.store.clients import public_url

    repository = session.open()
    repository.session.jobs = jobs or 0
    events = events_of(repository, subject)
    lines = [json.dumps(event) for event in events]
    if to is None:
        session.answer(lambda: {"events": events}, lambda: lines)
        return
    if to.startswith(("http://", "https://")):
        from dataver.integrations.openlineage.sending import send

        send(events, to)
    else:
        output.write_file(to, "".join(f"{line}\n" for line in lines).encode())
    shown = public_url(to) if "://" in to else to
    session.answer(
        lambda: {"to": shown, "events": len(events)},
        lambda: [f"{output.path_text(shown)}  {output.amount(len(events), 'event')}"],
    )
