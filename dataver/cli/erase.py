"""`dataver erase`: the bytes of a file go for good."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import author_option, verb
from dataver.cli.session import Session
from dataver.cli.types import REF

if TYPE_CHECKING:
    from dataver.erasure import EraseReport

SHOWN = 20
DOCUMENT = (
    '{"done": bool, "dataset", "digest", "path", "reason",\n'
    ' "files": [{"digest", "size", "paths": [path…], "erased": bool}],\n'
    ' "shared": [{"digest", "size", "at", "path", "chunks", "bytes"}],\n'
    ' "chunks", "bytes", "packs", "undeleted": [key…], "unread": [key…], "unknown": [key…],\n'
    ' "versions": [ref…], "runs": [id…], "models": [id…], "soft_delete_days": N or null}'
)


@verb(
    "erase",
    'dataver erase faces people/ada.jpg --reason "request 4711"',
    'dataver erase faces@v3 people/ada.jpg --reason "request 4711" --all-holders --yes',
    document=DOCUMENT,
)
@click.argument("dataset", type=REF)
@click.argument("file", metavar="PATH|DIGEST")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is kept for good, so name nobody.")
@click.option("--all-holders", is_flag=True, help="Erase the files too that have some of the same bytes.")
@click.option("--yes", is_flag=True, help="Do it; without this only a report is made.")
@author_option
def command(
    session: Session, dataset: str, file: str, reason: str, all_holders: bool, yes: bool, author: str | None
) -> None:
    """Erase the bytes of a file from the repository, at once and for good.

    DATASET may be a REF; a file is named by its path in that version, or by its digest. All copies go,
    from every dataset and version, and caches drop them when they next read the log. Path, size and
    digest stay, so that every version still verifies; whoever reads the file is told who erased it, when
    and why. No commit, push or pull takes the bytes again. Bytes that other files have too stay for these.
    """
    repository = session.open()
    with session.watch() as progress:
        report = repository.erase(
            dataset, file,
            reason=reason, all_holders=all_holders, yes=yes, author=author, progress=progress,
        )  # fmt: skip
    session.answer(report.to_json, lambda: lines(report))
    if report.undeleted:
        output.warn(
            f"{output.amount(len(report.undeleted), 'object')} with the bytes could not be deleted; get the "
            "right to delete, and repeat it"
        )
    if report.unread:
        output.warn(
            f"{output.amount(len(report.unread), 'pack')} could not be searched, being damaged: "
            f"{output.safe(report.unread[0])}; `dataver verify` tells more"
        )


def lines(report: EraseReport) -> Iterator[str]:
    """What goes, what stays and why, and who had it."""
    will = "" if report.done else "would be "
    for file in report.files:
        state = "erased before" if file.erased else f"{will}erased"
        more = f" and {len(file.paths) - 1} more" if len(file.paths) > 1 else ""
        size = output.size_text(file.size)
        yield f"{state}  {output.path_text(file.paths[0])}{more}  {size}  {file.digest}"
    for other in report.shared[:SHOWN]:
        yield (
            f"stays, as it is also in {output.path_text(other.path)} of {output.name(other.at)}: "
            f"{output.amount(other.chunks, 'chunk')}, {output.size_text(other.bytes)}"
        )
    if len(report.shared) > SHOWN:
        yield f"  and in {len(report.shared) - SHOWN:,} more files"
    bytes_text = output.size_text(report.bytes)
    yield f"{will}gone    {output.amount(report.chunks, 'chunk')}, {bytes_text}"
    yield f"{will}rewritten or deleted  {output.amount(report.packs, 'pack')}"
    yield from _seen("still named by", report.versions)
    yield from _seen("seen by run", report.runs)
    yield from _seen("seen by model", report.models)
    for key in report.unknown:
        yield f"unknown, not searched  {output.safe(key)}"
    if report.soft_delete_days:
        yield f"the store keeps what is deleted for {report.soft_delete_days} days more"
    elif report.soft_delete_days is None:
        yield "the store does not say whether it keeps what is deleted, or earlier versions of it"
    if not report.done:
        yield "nothing was changed; --yes does it"


def _seen(what: str, names: list[str]) -> Iterator[str]:
    for name in names[:SHOWN]:
        yield f"{what} {output.name(name)}"
    if len(names) > SHOWN:
        yield f"  and {len(names) - SHOWN:,} more"
