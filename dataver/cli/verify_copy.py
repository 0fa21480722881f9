"""`dataver verify --at PATH`: a copy of a version's files against the version."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.session import Session
from dataver.errors import BadInputError, DamagedError

if TYPE_CHECKING:
    from dataver.verify.copy import Wanted
    from dataver.verify.copy_report import CopyReport

LIST_BYTES_MAX = 4 << 30


def place_of(session: Session) -> str | None:
    """The PATH that `--at` names; None where it names a time or an entry, or is not given.

    A file or folder whose name is a time is written as `./2026-01-31`.
    """
    at = session.at
    if at is None or (at.isascii() and at.isdigit()):
        return None
    try:
        datetime.fromisoformat(at)
    except ValueError:
        session.at = None
        return at
    return None


def run(
    session: Session,
    ref: str,
    place: str,
    path: str,
    manifest: str | None,
    allow_extra: bool,
    jobs: int | None,
) -> None:
    """Compare, print the report, and raise `DamagedError` where anything differs."""
    from dataver.verify.copy import compare

    wanted, source = _wanted(session, ref, place, path, manifest)
    with session.watch() as progress:
        report = compare(wanted, place, allow_extra=allow_extra, jobs=jobs, progress=progress)
    session.answer(lambda: {**report.to_json(), "manifest": source}, lambda: lines(report))
    if not report.ok:
        what = ", ".join(
            f"{len(found):,} {word}"
            for found, word in (
                (report.missing, "missing"),
                (report.changed, "changed"),
                (report.extra, "extra"),
            )
            if found
        )
        advice = "; --allow-extra lets files be that the version lacks" if report.extra else ""
        name = report.ref if report.ref.endswith(report.id) else f"{report.ref} {report.id}"
        raise DamagedError(f"{place} is not {name}: {what}{advice}")


def _wanted(
    session: Session, ref: str, place: str, path: str, manifest: str | None
) -> tuple[Wanted, str | None]:
    """What the bytes should be, and the file that says so; None where the repository does."""
    from dataver.config import find_repository
    from dataver.verify.listed import LIST_FILE

    if ":" in ref:
        raise BadInputError(
            f"{ref[:300]!a}: a part is of rows, and files are compared as wholes; name the version"
        )
    beside = os.path.join(place, LIST_FILE)
    if manifest is None and session.repo is None and find_repository() is None and os.path.isfile(beside):
        return _listed(ref, beside, path, proved=True), beside
    if manifest is not None:
        return _listed(ref, manifest, path, proved=False), manifest
    return session.open().version(ref).wanted(path), None


def _listed(ref: str, manifest: str, path: str, *, proved: bool) -> Wanted:
    """The version in a file, if it is the one that `ref` means.

    A file that came with the data, `proved`, is believed only where the ref has the whole id.
    """
    from dataver.refs import parse_ref
    from dataver.replacing import read_whole
    from dataver.verify.copy import Wanted
    from dataver.verify.listed import read_list

    listed = read_list(read_whole(manifest, LIST_BYTES_MAX, "a list of files"), manifest)
    asked = parse_ref(ref)
    if asked.back:
        raise BadInputError(
            f"{ref[:300]!a}: what {manifest} lists has no history; name the version by its id"
        )
    if proved and asked.selector != listed.id:
        if len(asked.selector) == len(listed.id):
            raise DamagedError(f"{manifest} lists {listed.name} {listed.id}, which is not {ref}")
        raise BadInputError(
            f"no repository is named, and {manifest} came with the data, so that only a whole id proves it: "
            f"name the repository, or write {asked.dataset}@ and 64 hex digits"
        )
    known = {f"v{listed.number}", "latest"} if listed.number else {"latest"}
    same = listed.id.startswith(asked.selector) if len(asked.selector) >= 8 else False
    if not same and not (asked.dataset == listed.dataset and asked.selector in known):
        raise DamagedError(f"{manifest} lists {listed.name} {listed.id}, which is not {ref}")
    # The number and the name of the dataset are not proved by the id: such a file may say anything there.
    name = f"{asked.dataset}@{listed.id}" if proved else listed.name
    return Wanted(name, listed.id, str(listed.record.tree), listed.files, path)


def lines(report: CopyReport) -> Iterator[str]:
    """Each difference, then the verdict."""
    found = [
        *((click.style("missing", fg="red"), output.path_text(path), "") for path in report.missing),
        *(
            (click.style("changed", fg="yellow"), output.path_text(one.path), output.dim(one.reason))
            for one in report.changed
        ),
        *((click.style("extra", fg="blue"), output.path_text(path), "") for path in report.extra),
    ]
    yield from output.columns(found)
    if report.erased:
        yield f"{output.amount(report.erased, 'file')} erased on purpose, which is no difference"
    verdict = click.style("every byte as in", fg="green") if report.ok else click.style("not", fg="red")
    total = f"{output.amount(report.files, 'file')}, {output.size_text(report.bytes)} read"
    id = "" if report.ref.endswith(report.id) else f" {output.elided_id(report.id)}"
    yield f"{total}: {verdict} {output.name(report.ref)}{id}"
