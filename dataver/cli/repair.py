"""`dataver repair`: make whole what is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import jobs_option, verb
from dataver.cli.session import Session, key_values
from dataver.cli.types import PLACE
from dataver.cli.verify import harm_row
from dataver.errors import DamagedError, DataverError, RepositoryNotFoundError
from dataver.keys import LOG_PREFIX

if TYPE_CHECKING:
    from dataver.repair import RepairReport
    from dataver.repository import Repository
    from dataver.results import Damage

DOCUMENT = (
    '{"done": bool, "ok": bool, "segments", "found", "salvaged", "salvaged_bytes",\n'
    ' "healed", "healed_bytes", "sources": {name: objects…}, "restored": [key…],\n'
    ' "renewed", "marked": [key…],\n'
    ' "damaged", "lost", "left": [{"object", "reason", "harms": [{"dataset", "version", "path"}]}]}'
)


@verb(
    "repair",
    "dataver repair",
    "dataver repair --yes",
    "dataver repair --from az://backup/ml --folder data --yes",
    document=DOCUMENT,
)
@click.option("--yes", is_flag=True, help="Do it; without this only a report is made.")
@click.option(
    "--from",
    "sources",
    metavar="URL",
    type=PLACE,
    multiple=True,
    help="A repository that may have what is lost; repeatable.",
)
@click.option(
    "--from-option", metavar="KEY=VALUE", multiple=True, help="An option of its file system; repeatable."
)
@click.option(
    "--folder",
    "folders",
    metavar="FOLDER",
    multiple=True,
    help="A folder or URL with files that may be lost, under any names; repeatable.",
)
@click.option("--quick", is_flag=True, help="Take packs whose ends are well formed to be whole.")
@jobs_option
def command(
    session: Session,
    yes: bool,
    sources: tuple[str, ...],
    from_option: tuple[str, ...],
    folders: tuple[str, ...],
    quick: bool,
    jobs: int | None,
) -> None:
    """Find what is damaged or missing, and make it whole from what there is.

    The index is built again from the packs; what is whole in damaged packs is copied into new ones, and what
    is lost is brought from other repositories and folders. Nothing is deleted: damaged objects are marked,
    and `dataver gc` collects them after its grace. What is still lost is listed by dataset, version and
    path; the exit code is 5 then.
    """
    options = key_values(from_option, "--from-option")
    repository = _opened(session)
    with session.watch() as progress:
        report = repository.repair(
            yes=yes,
            deep=not quick,
            sources=sources,
            folders=folders,
            progress=progress,
            jobs=jobs,
            storage_options=options or None,
        )
    session.answer(report.to_json, lambda: lines(report, yes=yes))
    if not report.ok:
        still = output.amount(len(report.lost) + len(report.left), "object")
        if not report.lost and all(damage.object.startswith(LOG_PREFIX) for damage in report.left):
            raise DamagedError(
                f"{still} of the log cannot be made again; take what is damaged away, and repeat it with "
                "--from URL of a copy of this repository, or put the same bytes back from a backup"
            )
        raise DamagedError(
            f"{still} cannot be made whole from what there is; give --from URL of a repository or --folder "
            "of files that have them, or put them back from a backup under the same names, and repeat it"
        )


def _opened(session: Session) -> Repository:
    """The repository, also where its log has no beginning, which a copy may have."""
    try:
        return session.open()
    except (DamagedError, RepositoryNotFoundError):
        from dataver.config import find_repository
        from dataver.repair.history import lacks_beginning
        from dataver.repository import Repository

        place = session.repo or find_repository()
        if place is not None:
            repository = Repository(
                place,
                storage_options=session.storage_options or None,
                accept_rollback=session.accept_rollback,
                offline=session.offline,
            )
            with suppress(DataverError):
                if lacks_beginning(repository.session.store):
                    return repository
        raise


def lines(report: RepairReport, *, yes: bool) -> Iterator[str]:
    """What was found, what was or would be done about it, and what is still lost."""
    will = "" if report.done else "would be "
    for damage in report.damaged:
        yield f"{_red('damaged')}  {output.safe(damage.object)}  {output.safe(damage.reason)}"
    for heading, some in (("lost", report.lost), ("not mended", report.left)):
        for damage in some:
            yield from _with_harms(heading, damage)
    if report.restored:
        yield f"{will}put back  {output.amount(len(report.restored), 'object')} of the log"
    if report.renewed:
        yield f"{will}written   the newest state, in {report.renewed} log entries"
    if report.segments:
        yield f"{will}replaced  {output.amount(report.segments, 'index segment')}"
    if report.found:
        yield f"{will}found     {output.amount(report.found, 'object')} that no segment named"
    if report.salvaged:
        size = output.size_text(report.salvaged_bytes)
        yield f"{will}salvaged  {output.amount(report.salvaged, 'object')}, {size}, out of damaged packs"
    for name, count in report.sources.items():
        yield f"{will}healed    {output.amount(count, 'object')} from {output.safe(name)}"
    if report.marked:
        yield f"{will}marked    {output.amount(len(report.marked), 'damaged object')}, left where they are"
    yield click.style("all whole", fg="green") if report.ok else _red("something is still lost")
    if not report.done and yes:
        yield "no entry was made, as the newest state cannot be read"
    elif not report.done and report.would_change:
        yield "nothing was changed; `dataver repair --yes` does it"


def _with_harms(heading: str, damage: Damage) -> Iterator[str]:
    yield f"{_red(heading)}  {output.safe(damage.object)}  {output.safe(damage.reason)}"
    yield from output.columns([harm_row(harm) for harm in damage.harms])


def _red(text: str) -> str:
    return click.style(text, fg="red", bold=True)
