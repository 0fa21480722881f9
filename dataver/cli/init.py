"""`dataver init`: make a repository."""

from __future__ import annotations

import os

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import PLACE

DOCUMENT = '{"repository": id, "url"}'


@verb("init", "dataver init", "dataver init /data/ml", document=DOCUMENT)
@click.argument("url", required=False, type=PLACE)
def command(session: Session, url: str | None) -> None:
    """Make a repository at URL; without one, at --repo, else in ./.dataver.

    A second init of the same place fails and changes nothing.
    """
    import dataver

    if url and session.repo and url != session.repo:
        raise click.UsageError("URL and --repo name two places; give one of them.")
    url = url or session.repo
    elsewhere = os.environ.get("DATAVER_REPO")
    repository = dataver.init(url, storage_options=session.storage_options or None, offline=session.offline)
    if url is None and elsewhere:
        output.warn("DATAVER_REPO is set, so that other verbs use the repository it names, not ./.dataver")
    session.answer(
        lambda: {"repository": repository.id, "url": repository.url},
        lambda: [
            f"made repository {output.name(output.short_id(repository.id))} at {output.safe(repository.url)}"
        ],
    )
