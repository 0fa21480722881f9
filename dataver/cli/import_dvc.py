"""`dataver import dvc`: the outputs of DVC as datasets."""

from __future__ import annotations

import click

from dataver.cli.import_options import DOCUMENT, history_options, lines, tell
from dataver.cli.options import verb
from dataver.cli.session import Session, key_values
from dataver.cli.types import PLACE


@verb(
    "dvc",
    "dataver import dvc ../project",
    "dataver import dvc ../project data/raw.csv.dvc --dataset raw",
    "dataver import dvc https://example.org/project.git --all --dry-run",
    document=DOCUMENT,
)
@click.argument("place", type=PLACE, metavar="PATH|URL")
@click.argument("targets", type=PLACE, nargs=-1, metavar="[TARGET]...")
@history_options
@click.option("--subdir", metavar="PATH", help="Where in the git repository the project of DVC is.")
@click.option("--remote", metavar="NAME|URL", help="The remote of DVC to look in for what its cache lacks.")
@click.option(
    "--remote-option",
    metavar="KEY=VALUE",
    multiple=True,
    help="An option of the remote's file system; repeatable.",
)
def command(
    session: Session,
    place: str,
    targets: tuple[str, ...],
    dataset: str | None,
    rev_range: str | None,
    every: bool,
    branch: str,
    skip_missing: bool,
    dry_run: bool,
    subdir: str | None,
    remote: str | None,
    remote_option: tuple[str, ...],
) -> None:
    """Make versions of the outputs that DVC keeps of the git repository at PATH or URL.

    Each output is a dataset, and each commit that changed it a version with the commit's author, time and
    message; TARGETs, outputs or the files .dvc and dvc.lock that name them, choose among them. Tags of git
    become tags of the version that their commit has. The bytes come from DVC's cache, or from its remote,
    and are compared with the MD5 that DVC has of them. What was imported before is not imported again.
    """
    from dataver.integrations.importing.from_dvc import Asked, import_dvc

    options = key_values(remote_option, "--remote-option")
    repository = session.open()
    asked = Asked(place, dataset, rev_range, every, branch, dry_run, skip_missing)
    with session.watch() as progress:
        report = import_dvc(
            repository, asked, targets, subdir=subdir, remote=remote, options=options, progress=progress
        )
    session.answer(report.to_json, lambda: lines(report))
    tell(report)
