"""`dataver telemetry queries`: the queries for Application Insights that come with dataver."""

from __future__ import annotations

import click

from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.errors import RefNotFoundError

DOCUMENT = '{"queries": [{"name", "about", "kql"}]}'


@verb(
    "queries",
    "dataver telemetry queries",
    "dataver telemetry queries failed-verifications",
    "dataver telemetry queries --workbook > workbook.json",
    document=DOCUMENT,
)
@click.argument("name", required=False)
@click.option("--workbook", is_flag=True, help="Print the workbook with all of them, as the portal takes it.")
def command(session: Session, name: str | None, workbook: bool) -> None:
    """List the queries in Kusto's language, or print the one called NAME.

    They are for the tables of an Application Insights resource, and ask for what was sent to it.
    """
    from dataver.integrations.telemetry.pack import queries, workbook_text

    if workbook:
        if session.json or name is not None:
            raise click.UsageError("--workbook prints a JSON document as it is: leave NAME and --json out.")
        click.echo(workbook_text(), nl=False)
        return
    found = queries()
    if name is not None:
        if name not in found:
            raise RefNotFoundError(f"there is no query {name!a:.100}; there are {', '.join(found)}")
        found = {name: found[name]}
    width = max(map(len, found))
    session.answer(
        lambda: {"queries": [{"name": q.name, "about": q.about, "kql": q.kql} for q in found.values()]},
        lambda: (
            [found[name].kql.rstrip("\n")]
            if name is not None
            else [f"{q.name:<{width}}  {q.about}" for q in found.values()]
        ),
    )
