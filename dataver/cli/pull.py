"""`dataver pull`: copy from another repository what this one lacks."""

from __future__ import annotations

import click

from dataver.cli.options import jobs_option, verb
from dataver.cli.push import DOCUMENT, transfer_lines
from dataver.cli.session import Session, key_values
from dataver.cli.types import PLACE, REF


@verb(
    "pull",
    "dataver pull --from /mnt/share/data",
    "dataver pull iris --from az://data/ml --rebase",
    "dataver pull iris --from az://data/ml --depth 1",
    document=DOCUMENT,
)
@click.argument("refs", nargs=-1, type=REF, metavar="[DATASET|REF]...")
@click.option(
    "--from", "source", metavar="URL", type=PLACE, required=True, help="The repository to copy from."
)
@click.option(
    "--from-option", metavar="KEY=VALUE", multiple=True, help="An option of its file system; repeatable."
)
@click.option("--rebase", is_flag=True, help="Put the versions of here on top of those of there.")
@click.option(
    "--depth", type=click.IntRange(min=1), metavar="N", help="The last N versions alone; default: all."
)
@jobs_option
def command(
    session: Session,
    refs: tuple[str, ...],
    source: str,
    from_option: tuple[str, ...],
    rebase: bool,
    depth: int | None,
    jobs: int | None,
) -> None:
    """Copy from another repository what this one lacks: all datasets, or those and the versions named.

    A dataset comes with its versions, branches, tags and aliases; a REF is that one version, with its
    name, and for a branch that is here already also what lies between. Where a branch has versions
    here that are not there, it stays, and its versions of there come all the same: --rebase or
    `dataver merge` brings both lines together. --depth leaves older versions out; a later pull
    without it brings them.
    """
    options = key_values(from_option, "--from-option")
    repository = session.open()
    with session.watch() as progress:
        result = repository.pull(
            refs,
            source=source,
            rebase=rebase,
            depth=depth,
            progress=progress,
            jobs=jobs,
            storage_options=options or None,
        )
    session.answer(result.to_json, lambda: transfer_lines(result, "here"))
