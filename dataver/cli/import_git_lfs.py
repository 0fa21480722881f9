"""`dataver import git-lfs`: the files of git-lfs as one dataset."""

from __future__ import annotations

import click

from dataver.cli.import_options import DOCUMENT, history_options, lines, tell
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import PLACE


@verb(
    "git-lfs",
    "dataver import git-lfs ../photos",
    "dataver import git-lfs ../photos 'raw/*.png' --dataset raw --all",
    document=DOCUMENT,
)
@click.argument("place", type=PLACE, metavar="PATH")
@click.argument("pathspecs", nargs=-1, metavar="[PATHSPEC]...")
@history_options
@click.option("--all-files", is_flag=True, help="Git's own files beside them too, so that folders are whole.")
def command(
    session: Session,
    place: str,
    pathspecs: tuple[str, ...],
    dataset: str | None,
    rev_range: str | None,
    every: bool,
    branch: str,
    skip_missing: bool,
    dry_run: bool,
    all_files: bool,
) -> None:
    """Make versions of the files that git-lfs keeps for the git repository at PATH.

    They are one dataset, by default with the name of the folder; each commit that changed one of them is a
    version with the commit's author, time and message. PATHSPECs, as git has them, choose among the files.
    Tags of git become tags of the version that their commit has. The bytes come from the objects that
    git-lfs has on this machine, after `git lfs fetch --all`, and are compared with their SHA-256. What was
    imported before is not imported again.
    """
    from dataver.integrations.importing.from_dvc import Asked
    from dataver.integrations.importing.lfs import import_git_lfs

    repository = session.open()
    asked = Asked(place, dataset, rev_range, every, branch, dry_run, skip_missing)
    with session.watch() as progress:
        report = import_git_lfs(repository, asked, pathspecs, all_files=all_files, progress=progress)
    session.answer(report.to_json, lambda: lines(report))
    tell(report)
