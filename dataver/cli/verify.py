"""`dataver verify`: check that every object is there and whole, or that a copy is what a version has."""

from __future__ import annotations

from collections.abc import Iterator

import click

from dataver.cli import output, verify_copy
from dataver.cli.options import jobs_option, verb
from dataver.cli.session import Session, keep
from dataver.cli.types import PLACE, REF
from dataver.errors import DamagedError
from dataver.results import Harm, VerifyReport

DOCUMENT = (
    '{"ok": bool, "objects", "bytes", "part": "K/N" or null, "erased",\n'
    ' "damaged": [{"object", "reason", "harms": [{"dataset", "version", "path"}]}]}\n'
    "with --at PATH:\n"
    '{"ok": bool, "ref", "id", "tree", "path", "files", "bytes", "missing": [path…],\n'
    ' "changed": [{"path", "reason"}…], "extra": [path…], "erased", "manifest": path or null}'
)


@verb(
    "verify",
    "dataver verify",
    "dataver verify iris@v3 --deep",
    "dataver verify --deep --part 3/7",
    "dataver verify iris@v3 --at /mnt/inputs/iris",
    document=DOCUMENT,
)
@click.argument("ref", required=False, type=REF)
@click.option(
    "--at",
    metavar="PATH|TIME|ENTRY",
    expose_value=False,
    callback=keep,
    help="Compare the folder or file PATH with REF; or resolve names as of then, as other verbs do.",
)
@click.option("--path", metavar="PATH", default="", help="With --at: what of REF should be there.")
@click.option(
    "--manifest",
    type=PLACE,
    metavar="FILE",
    help="With --at: the list of an export, .dataver.json, in place of a repository.",
)
@click.option("--allow-extra", is_flag=True, help="With --at: let files be that REF lacks.")
@jobs_option
@click.option("--deep", is_flag=True, help="Read every byte and compare its digest.")
@click.option(
    "--part",
    metavar="K/N",
    help="With --deep: read part K of N in full; all N together read everything.",
)
def command(
    session: Session,
    ref: str | None,
    deep: bool,
    part: str | None,
    path: str,
    manifest: str | None,
    allow_extra: bool,
    jobs: int | None,
) -> None:
    """Check what REF reaches, or the whole repository.

    Without --deep: all objects exist and are well formed. Every damaged object is listed with each
    dataset, version and path that it harms; the exit code is 5 then.

    With --at PATH every byte of that folder or file, whoever mounted, copied or downloaded it, is compared
    with REF: what is missing, changed or extra is listed, and the exit code is 5. A repository in .dataver
    there is no part of it. Where no repository is named, the list that an export puts beside the files
    will do, if REF has the whole id.
    """
    place = verify_copy.place_of(session)
    if place is not None:
        if ref is None or deep or part:
            raise click.UsageError("--at PATH compares that with one REF, and always all of its bytes.")
        verify_copy.run(session, ref, place, path, manifest, allow_extra, jobs)
        return
    if path or manifest or allow_extra:
        raise click.UsageError("--path, --manifest and --allow-extra are for --at PATH.")
    if part is not None and not deep:
        raise click.UsageError("--part divides what --deep reads: give --deep as well.")
    repository = session.open()
    if jobs is not None:
        repository.session.jobs = jobs
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
    # With --deep what files are cut into is read twice: with its pack, and with its file.
    total += " read" if report.part is None else f", part {report.part} read in full"
    if report.erased:
        yield f"{output.amount(report.erased, 'file')} erased on purpose, which is no damage"
    yield f"{total}: {click.style(verdict, fg='green' if report.ok else 'red')}"


def harm_row(harm: Harm) -> tuple[str, str]:
    """The version and the path that are harmed; all of them where none is named."""
    if harm.dataset is None:
        return "    harms the whole repository", ""
    version = output.name(f"{harm.dataset}@{harm.version}" if harm.version else harm.dataset)
    return f"    harms {version}", "all of it" if harm.path is None else output.path_text(harm.path)
