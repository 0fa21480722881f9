"""`dataver verify`: check that every object is there and whole."""

from __future__ import annotations

from collections.abc import Iterator

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import REF
from dataver.errors import DamagedError
from dataver.results import Harm, VerifyReport

DOCUMENT = (
    '{"ok": bool, "objects", "bytes", "part": "K/N" or null, "erased",\n'
    ' "damaged": [{"object", "reason", "harms": [{"dataset", "version", "path"}]}]}'
)


@verb(
    "verify",
    "dataver verify",
    "dataver verify iris@v3 --deep",
    "dataver verify --deep --part 3/7",
    reads=True,
    document=DOCUMENT,
)
@click.argument("ref", required=False, type=REF)
@click.option("--deep", is_flag=True, help="Read every byte and compare its digest.")
@click.option(
    "--part",
    metavar="K/N",
    help="With --deep: read part K of N in full; all N together read everything.",
)
def command(session: Session, ref: str | None, deep: bool, part: str | None) -> None:
    """Check what REF reaches, or the whole repository.

    Without --deep: all objects exist and are well formed. Every damaged object is listed with each
    dataset, version and path that it harms; the exit code is 5 then.
    """
    if part is not None and not deep:
        raise click.UsageError("--part divides what --deep reads: give --deep as well.")
    repository = session.open()
    with session.watch() as progress:
        report = repository.verify(ref, deep=deep, part=part, progress=progress)
    session.answer(report.to_json, lambda: report_lines(report))
    if not report.ok:
        damaged = output.amount(len(report.damaged), "object")
        raise DamagedError(
            f"{damaged} of {report.objects:,} damaged; `dataver repair` mends what can be mended, also from"
            " another copy of the data"
        )


def report_lines(report: VerifyReport) -> Iterator[str]:
    """Each damaged object, what it harms below it, and the total."""
    for damage in report.damaged:
        heading = click.style("damaged", fg="red", bold=True)
        yield f"{heading}  {output.safe(damage.object)}  {output.safe(damage.reason)}"
        yield from output.columns([harm_row(harm) for harm in damage.harms])
    total = f"{output.amount(report.objects, 'object')}, {output.size_text(report.bytes)}"
    verdict = f"{len(report.damaged):,} damaged" if not report.ok else "all whole"
    if report.part is not None:
        total += f", part {report.part} read in full"
    if report.erased:
        yield f"{output.amount(report.erased, 'file')} erased on purpose, which is no damage"
    yield f"{total}: {click.style(verdict, fg='green' if report.ok else 'red')}"


def harm_row(harm: Harm) -> tuple[str, str]:
    """The version and the path that are harmed; all of them where none is named."""
    if harm.dataset is None:
        return "    harms the whole repository", ""
    version = output.name(f"{harm.dataset}@{harm.version}" if harm.version else harm.dataset)
    return f"    harms {version}", "all of it" if harm.path is None else output.path_text(harm.path)
