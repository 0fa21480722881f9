"""`dataver hold`: keep a version, whatever else lets it go."""

from __future__ import annotations

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import REF

DOCUMENT = '{"name", "id", "previous"}, or without arguments {"holds": [{"name", "dataset", "id"}]}'


@verb(
    "hold",
    "dataver hold iris@v3 audit-2026",
    "dataver hold",
    "dataver hold --release audit-2026",
    document=DOCUMENT,
)
@click.argument("ref", required=False, type=REF)
@click.argument("name", required=False)
@click.option("--release", metavar="NAME", help="Let a hold go.")
def command(session: Session, ref: str | None, name: str | None, release: str | None) -> None:
    """Keep the version REF under NAME: no prune and no gc lets it go. Without arguments list the holds."""
    from dataver.gc import holds

    repository = session.open()
    if release is not None:
        if ref is not None:
            raise click.UsageError("--release takes the name of a hold, and nothing else.")
        gone = repository.release(release)
        session.answer(gone.to_json, lambda: [f"{output.name(release)} released"])
    elif ref is None:
        found = holds.holds(repository.session)
        names = ("name", "dataset", "id")
        session.answer(
            lambda: {"holds": [dict(zip(names, one, strict=True)) for one in found]},
            lambda: output.columns([(output.name(one[0]), *map(output.safe, one[1:])) for one in found]),
        )
    elif name is None:
        raise click.UsageError("Name the hold: dataver hold REF NAME.")
    else:
        made = repository.hold(ref, name)
        session.answer(made.to_json, lambda: [f"{output.name(name)} holds {output.safe(ref)}  {made.id}"])
