"""`dataver audit`: which data, code and environment made a model, and whether it is all there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import jobs_option, verb
from dataver.cli.session import Session
from dataver.cli.types import PLACE
from dataver.errors import CheckFailedError, DamagedError, RefNotFoundError

if TYPE_CHECKING:
    from dataver.lineage.audit import AuditReport

DOCUMENT = (
    '{"asked", "status": traced, not traceable or broken, "exit_code", "verified": bool or null,\n'
    ' "repository": {"id", "url"}, "model": {"node", "name", "tree", "uri", "files": [{"path", "size",\n'
    '   "digest"}…], "found_by", "path", "files_checked", "meta"} or null, "run": {"id", "record", "name",\n'
    '   "author", "status", "started", "ended", "command", "trackers", …} or null, "code": {…} or null,\n'
    ' "environment": {…} or null, "params": {…}, "metrics": {…}, "seeds": {…},\n'
    ' "data": [{"role", "ref", "node", "dataset", "version", "id", "tree", "part", "split", "state",\n'
    '   "rows", "files", "bytes", "verified", "floating", "broken": [{"path", "reason"}…]}…],\n'
    ' "overlap": [{"a", "b", "overlap": bool or null, "reason", "files", "chunks", "rows"}…],\n'
    ' "lineage": as `dataver lineage` has it, "used_by": {"runs", "models": [id…], "complete"},\n'
    ' "drift": [{"node", "head", "behind", "drift": bool or null, "drifted": [column…], "reason"}…],\n'
    ' "evidence": [{"source", "agrees": bool or null, "detail"}…], "warnings": [text…],\n'
    ' "broken": [{"path", "reason"}…], "tried": [text…]}'
)
STYLES = {"good": "green", "bad": "red"}


@verb(
    "audit",
    "dataver audit model:churn@v2",
    "dataver audit models/churn --verify",
    "dataver audit churn@v2 --verify --html audit.html --json",
    reads=True,
    document=DOCUMENT,
)
@click.argument("model", type=PLACE)
@click.option("--verify", is_flag=True, help="Read and compare every byte of the data and the model's files.")
@click.option(
    "--rows", is_flag=True, help="Count the rows of parts and compare their keys; --verify does too."
)
@click.option("--tracker", is_flag=True, help="Ask the trackers that the run's record names, as MLflow.")
@click.option("--depth", type=click.IntRange(min=0), metavar="N", help="So many steps of lineage at most.")
@click.option("--html", type=PLACE, metavar="FILE", help="Also write the page as HTML, with a picture.")
@click.option(
    "--bundle",
    type=PLACE,
    metavar="FILE.zip",
    help="Also write all that proves it, without the data, with a script that checks it.",
)
@click.option(
    "--fail-on", type=click.Choice(["warning"]), help="End with exit code 9 where there is any warning."
)
@jobs_option
def command(
    session: Session,
    model: str,
    verify: bool,
    rows: bool,
    tracker: bool,
    depth: int | None,
    html: str | None,
    bundle: str | None,
    fail_on: str | None,
    jobs: int | None,
) -> None:
    """Show which run, code, environment and data made MODEL, and whether all that is recorded of it agrees.

    MODEL is model:NAME@vN, NAME@vN, run:ID, a model's folder or file, which is found by its digests and by
    what it says of itself, or what an integration knows. The exit code is 0 for a model that is traced to its
    data, 3 for one that is not, 5 where data are missing or changed; the report is printed in any case.
    """
    import dataver
    from dataver.lineage.audit import audit

    repository = session.open()
    repository.session.jobs = jobs or 0
    with session.watch() as progress:
        report = audit(
            repository, model, verify=verify, rows=rows, tracker=tracker, depth=depth, progress=progress,
            open_other=lambda url: dataver.open(url, offline=session.offline),
        )  # fmt: skip
    if html is not None:
        from dataver.lineage.audit_page import page

        output.write_file(html, page(report).encode("utf-8", "replace"))
    if bundle is not None and report.record is not None and not report.broken:
        from dataver.lineage.bundle import bundle as made

        output.write_file(bundle, made(report))
    session.answer(report.to_json, lambda: report_lines(report))
    check(report)
    if bundle is not None and report.record is None:
        raise RefNotFoundError(f"no run of {report.asked} is recorded here, so there is nothing to bundle")
    if fail_on and report.warnings:
        raise CheckFailedError(f"{report.name} is traced, but {report.warnings[0]}")


def check(report: AuditReport) -> None:
    """`DamagedError` where something is missing or changed, `RefNotFoundError` where nothing is known."""
    if report.broken:
        path, reason = report.broken[0]
        more = f", and {len(report.broken) - 1} more" if len(report.broken) > 1 else ""
        raise DamagedError(f"{report.name} is not what was recorded: {path}: {reason}{more}")
    if not report:
        tried = "; ".join(report.subject.tried)
        raise RefNotFoundError(f"{report.asked} cannot be traced to its data: {tried}")


def report_lines(report: AuditReport) -> Iterator[str]:
    """The sections, each with its heading before its first line."""
    from dataver.lineage.audit_sections import sections

    for section in sections(report):
        for number, (line, state) in enumerate(zip(aligned(section.rows), section.states, strict=True)):
            heading = click.style(f"{section.title if not number else '':<9}", bold=True)
            if state in STYLES:
                line = click.style(line, fg=STYLES[state])
            yield f"{heading} {output.dim(line) if state == 'head' else line}".rstrip()


def aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """A line for each row; rows of one cell stand as they are, the others in columns."""
    wide = max(map(len, rows))
    several = [tuple(map(output.safe, (*row, *[""] * (wide - len(row))))) for row in rows if len(row) > 1]
    columns = iter(output.columns(several))
    for row in rows:
        yield next(columns) if len(row) > 1 else output.safe(row[0])
