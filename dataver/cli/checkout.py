"""`dataver checkout`: write a version's files."""

from __future__ import annotations

from collections.abc import Iterator

import click

from dataver.cli import output
from dataver.cli.options import exclude_option, include_option, jobs_option, verb
from dataver.cli.session import Session
from dataver.cli.types import PLACE, REF
from dataver.results import CheckoutResult

DOCUMENT = '{"files", "bytes", "written_files", "written_bytes", "removed_files", "erased_files"}'


@verb(
    "checkout",
    "dataver checkout iris@v3 data/iris",
    'dataver checkout iris out --include "train/**"',
    "dataver checkout iris@v3 data/iris --require-signed",
    reads=True,
    document=DOCUMENT,
)
@click.argument("ref", type=REF)
@click.argument("target", type=PLACE)
@include_option
@exclude_option
@click.option("--overwrite", is_flag=True, help="Replace files that differ, whoever wrote them.")
@click.option("--skip-erased", is_flag=True, help="Leave files out that were erased from the repository.")
@jobs_option
def command(
    session: Session,
    ref: str,
    target: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    overwrite: bool,
    skip_erased: bool,
    jobs: int | None,
) -> None:
    """Write the files of a version into the folder TARGET, byte for byte.

    Files that are there already and equal are left alone, so that running it again does only what
    is missing. A file that differs is never replaced without --overwrite, unless an earlier checkout
    wrote it and nobody changed it since. With --require-signed nothing is written unless a trusted key
    signed the version.
    """
    repository = session.open()
    with session.watch() as progress:
        result = repository.checkout(
            ref,
            target,
            include=include,
            exclude=exclude,
            overwrite=overwrite,
            skip_erased=skip_erased,
            progress=progress,
            jobs=jobs,
        )
    session.answer(result.to_json, lambda: checkout_lines(result, ref, target))


def checkout_lines(result: CheckoutResult, ref: str, target: str) -> Iterator[str]:
    """What is there now, and what had to be done for it."""
    done = []
    if result.written_files:
        done.append(
            f"wrote {output.amount(result.written_files, 'file')}, {output.size_text(result.written_bytes)}"
        )
    if result.removed_files:
        done.append(f"removed {output.amount(result.removed_files, 'file')}")
    if result.erased_files:
        done.append(f"left out {output.amount(result.erased_files, 'erased file')}")
    yield (
        f"{output.name(ref)} -> {output.path_text(target)}  {output.amount(result.files, 'file')}, "
        f"{output.size_text(result.bytes)}: {'; '.join(done) or 'nothing to do'}"
    )
