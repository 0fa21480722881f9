"""`dataver push`: copy to another repository what it lacks."""

from __future__ import annotations

from collections.abc import Iterator

import click

from dataver.cli import output
from dataver.cli.options import jobs_option, verb
from dataver.cli.session import Session, key_values
from dataver.cli.types import PLACE, REF
from dataver.results import TransferResult

DOCUMENT = (
    '{"refs": [{"name", "from": id or null, "to": id}], "versions", "objects", "bytes",\n'
    ' "kept": [{"name", "id": id or null, "other": id}],\n'
    ' "signatures": number, "erased": number, "not_erased": [digest…]}'
)


@verb(
    "push",
    "dataver push --to /mnt/share/data",
    "dataver push iris --to az://data/ml",
    "dataver push iris@prod --to /mnt/share/data",
    document=DOCUMENT,
)
@click.argument("refs", nargs=-1, type=REF, metavar="[DATASET|REF]...")
@click.option("--to", metavar="URL", type=PLACE, required=True, help="The repository to copy to.")
@click.option(
    "--to-option", metavar="KEY=VALUE", multiple=True, help="An option of its file system; repeatable."
)
@jobs_option
def command(
    session: Session, refs: tuple[str, ...], to: str, to_option: tuple[str, ...], jobs: int | None
) -> None:
    """Copy to another repository what it lacks: all datasets, or those and the single versions named.

    A dataset goes with its versions, their signatures, branches, tags and aliases; a REF is that one
    version, with its name, and for a branch that is there already also what lies between. Branches only
    move forward: where one has versions there that are not here, nothing is copied. An alias that is
    elsewhere there stays, unless a REF names it. What is there already is not copied again, also of a
    push that was interrupted.
    """
    options = key_values(to_option, "--to-option")
    repository = session.open()
    with session.watch() as progress:
        result = repository.push(refs, to=to, progress=progress, jobs=jobs, storage_options=options or None)
    session.answer(result.to_json, lambda: transfer_lines(result, "there"))


def transfer_lines(result: TransferResult, receiver: str) -> Iterator[str]:
    """Each name that was set, each that was left alone, and the total."""
    for ref in result.refs:
        before = f"  (was {output.elided_id(ref.previous)})" if ref.previous else ""
        yield f"{output.name(ref.name)} -> {output.elided_id(ref.id)}{before}"
    for kept in result.kept:
        stays = f"stays at {output.elided_id(kept.id)}" if kept.id else "stays deleted"
        yield f"{output.name(kept.name)} {stays} {receiver}; the other is {output.elided_id(kept.other)}"
    if not (result.refs or result.versions or result.signatures):
        yield "nothing to copy"
    if result.versions or result.objects:
        versions, objects = output.amount(result.versions, "version"), output.amount(result.objects, "object")
        yield f"{versions}, {objects} copied, {output.size_text(result.bytes)}"
    if result.signatures:
        yield f"{output.amount(result.signatures, 'signature')} copied"
    if result.erased:
        yield f"{output.amount(result.erased, 'file')} {receiver} without the bytes, which were erased"
    for digest in result.not_erased:
        yield f"{digest}, erased in the other repository, is {receiver} until it is erased {receiver} too"
