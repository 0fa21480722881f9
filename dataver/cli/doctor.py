"""`dataver doctor`: what is wrong here, and what to do."""

from __future__ import annotations

from collections.abc import Iterator

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.errors import CheckFailedError, DamagedError, NotFoundError, NotPermittedError, StoreError
from dataver.results import Check

DOCUMENT = '{"checks": [{"name", "ok": bool, "detail", "advice"}]}'


@verb("doctor", "dataver doctor", "dataver -R /data/ml doctor --json", document=DOCUMENT)
def command(session: Session) -> None:
    """Check the environment and the repository in seconds, and say what to do where something is wrong.

    The exit code is 9 where a check does not hold.
    """
    checks = checks_of(session)
    session.answer(lambda: {"checks": [check.to_json() for check in checks]}, lambda: check_lines(checks))
    failed = [check.name for check in checks if not check.ok]
    if failed:
        raise CheckFailedError(f"{output.amount(len(failed), 'check')} did not hold: {', '.join(failed)}")


def checks_of(session: Session) -> list[Check]:
    """The checks of the repository; where it cannot even be opened, that is what they found."""
    try:
        return list(session.open().doctor())
    except (NotFoundError, DamagedError, StoreError, NotPermittedError) as error:
        return [Check("repository", False, str(error), "mend this first; the other checks need a repository")]


def check_lines(checks: list[Check]) -> Iterator[str]:
    """One line a check, with the advice below those that do not hold."""
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        verdict = (
            click.style("ok    ", fg="green") if check.ok else click.style("failed", fg="red", bold=True)
        )
        yield f"{verdict}  {check.name:<{width}}  {output.safe(check.detail)}".rstrip()
        if check.advice and not check.ok:
            yield f"{'':8}{'':{width}}  {output.safe(check.advice)}"
