"""`dataver telemetry check`: one event, and what the server answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.errors import StoreError

if TYPE_CHECKING:
    from dataver.integrations.telemetry.check import Answer

DOCUMENT = (
    '{"exporter": "none", "console", "otlp" or "azuremonitor", "endpoint", "arrived": bool or null,\n'
    ' "status": N or null, "answer", "seconds", "columns": bool, "traceparent"}'
)


@verb("check", "dataver telemetry check", "dataver telemetry check --json", document=DOCUMENT)
def command(session: Session) -> None:
    """Say where telemetry goes, send one event there, and say what the server answers.

    The exit code is 7 where the event did not arrive; 0 where telemetry is off. No credential is shown.
    """
    from dataver.integrations.telemetry.setting import NONE, chosen_exporter, endpoint_of

    exporter = chosen_exporter()
    answer = None
    if exporter != NONE:
        endpoint_of(exporter)  # What is no URL is said before anything is sent.
        from dataver.integrations.telemetry.check import ask

        answer = ask(exporter)
    session.answer(lambda: document(exporter, answer), lambda: lines(exporter, answer))
    if answer is not None and not answer.arrived:
        raise StoreError(
            f"the event did not arrive: {answer.text}. Check the endpoint, and the proxies and firewalls "
            "before it"
        )


def document(exporter: str, answer: Answer | None) -> dict[str, Any]:
    """What is set, and what came of it."""
    from dataver.integrations.telemetry.setting import columns_may_be_named, endpoint_of

    return {
        "exporter": exporter,
        "endpoint": endpoint_of(exporter),
        "arrived": None if answer is None else answer.arrived,
        "status": None if answer is None else answer.status,
        "answer": None if answer is None else answer.text,
        "seconds": None if answer is None else round(answer.seconds, 3),
        "columns": columns_may_be_named(),
        "traceparent": os.environ.get("TRACEPARENT"),
    }


def lines(exporter: str, answer: Answer | None) -> Iterator[str]:
    """The same for people."""
    found = document(exporter, answer)
    if answer is None:
        yield "telemetry is off; DATAVER_TELEMETRY=console, otlp or azuremonitor turns it on"
        return
    yield f"exporter  {exporter}"
    yield f"endpoint  {output.safe(found['endpoint'] or 'the one of the exporter')}"
    yield f"columns   {'named' if found['columns'] else 'not named'}"
    if found["traceparent"]:
        yield f"trace     {output.safe(found['traceparent'])}"
    verdict = "arrived" if answer.arrived else "did not arrive"
    yield f"event     {verdict} in {answer.seconds:.1f} s: {output.safe(answer.text)}"
