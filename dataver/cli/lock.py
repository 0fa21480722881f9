"""`dataver lock`: pin names to versions, for all who work in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import REF
from dataver.errors import LockMismatchError

if TYPE_CHECKING:
    from dataver.lock import PinChange, PinCheck

DOCUMENT = (
    'add, update, remove: {"lock": path, "pins": [{"ref", "version": "v3" or null, "id", "tree",\n'
    ' "previous": id or null}]}\n'
    'check: {"ok": bool, "lock": path, "repository": id, "pins": [{"ref", "version", "id", "tree",\n'
    ' "ok": bool, "problem": text or null}]}'
)


@verb(
    "lock",
    "dataver lock add iris vision/x@prod",
    "dataver lock update iris",
    "dataver lock check",
    "dataver lock remove iris",
    reads=True,
    document=DOCUMENT,
)
@click.argument("action", type=click.Choice(["add", "update", "check", "remove"]))
@click.argument("refs", nargs=-1, type=REF, metavar="[REF]...")
def command(session: Session, action: str, refs: tuple[str, ...]) -> None:
    """Pin what names mean, in the file dataver.lock: here, or in the nearest folder above that has one.

    Whatever reads REF in such a folder, on the command line or in Python, gets the version that it is
    pinned to: its id and the digest of its files are compared, and what is not the same fails with
    exit code 5. What writes, and what is asked with --at, does not look at the file.

    add: pin each REF to the version that it means now. update: pin anew, without REF all. check: compare
    all pins, or those of each REF, with the repository. remove: take pins away.

    DATAVER_LOCK names another file; empty, it turns pins off. With DATAVER_FROZEN=1 a REF that may
    change its meaning and is not pinned fails with exit code 2.
    """
    from dataver import lock

    if not refs and action in ("add", "remove"):
        raise click.UsageError("Missing argument 'REF'.")
    repository = session.open()
    if action == "check":
        show_check(session, *lock.check(repository.session, refs), repository.id)
        return
    change = {"add": lock.add, "update": lock.update, "remove": lock.remove}[action]
    path, done = change(repository.session, refs)
    session.answer(
        lambda: {"lock": path, "pins": [pin.to_json() for pin in done]},
        lambda: output.columns([change_row(pin) for pin in done]),
    )


def change_row(pin: PinChange) -> tuple[str, ...]:
    """The name, the version it is pinned to, and the one before."""
    if pin.id is None:
        return output.name(pin.ref), "no longer pinned", f"(was {output.elided_id(pin.previous)})"
    before = "" if pin.previous is None else f"(was {output.elided_id(pin.previous)})"
    if pin.previous == pin.id:
        before = "(as before)"
    return output.name(pin.ref), f"-> {pin.version or '-'}", output.elided_id(pin.id), before


def show_check(session: Session, lock: Any, checks: list[PinCheck], repository: str) -> None:
    """Print each pin and whether it holds; `LockMismatchError` where one does not."""
    wrong = [check for check in checks if check.problem is not None]
    session.answer(
        lambda: {
            "ok": not wrong,
            "lock": lock.path,
            "repository": repository,
            "pins": [check.to_json() for check in checks],
        },
        lambda: check_lines(checks),
    )
    if wrong:
        refs = ", ".join(check.pin.ref for check in wrong)
        raise LockMismatchError(
            f"{len(wrong):,} of {output.amount(len(checks), 'pin')} in {lock.path} "
            f"{'does' if len(wrong) == 1 else 'do'} not hold: {refs}"
        )


def check_lines(checks: list[PinCheck]) -> Iterator[str]:
    """A line a pin; below one that does not hold, why."""
    rows = []
    for check in checks:
        good = check.problem is None
        verdict = click.style("ok" if good else "wrong", fg="green" if good else "red")
        rows.append((verdict, output.name(check.pin.ref), output.elided_id(check.pin.id)))
    for check, line in zip(checks, output.columns(rows), strict=True):
        yield line
        if check.problem is not None:
            yield f"       {output.safe(check.problem)}"
