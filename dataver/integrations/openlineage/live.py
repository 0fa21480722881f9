"""Events of runs and commits while they happen: within a bounded time, and never a failure of theirs.

Events are made and sent by a thread, with a repository of its own, that is waited for so long. What was
not sent by then may still be, as long as the process lives.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from threading import Thread
from typing import TYPE_CHECKING

from dataver.errors import BadInputError, DataverError, MissingExtraError, StoreError
from dataver.exports.openlineage import (
    Told,
    dataset_event,
    numbered,
    opener,
    parent_facet,
    recorded_parent,
    run_events,
)
from dataver.integrations.openlineage.sending import send
from dataver.integrations.openlineage_plugins import target
from dataver.process_reader import another
from dataver.results import Json

if TYPE_CHECKING:
    from dataver.format.run_record import RunRecord
    from dataver.repository import Repository
    from dataver.results import CommitResult
    from dataver.running import Run

__all__ = ["TIMEOUT_VARIABLE", "tell_end", "tell_start", "tell_version"]

TIMEOUT_VARIABLE = "DATAVER_OPENLINEAGE_TIMEOUT"
NAMESPACE_VARIABLE = "OPENLINEAGE_NAMESPACE"
PARENT_VARIABLE, ROOT_VARIABLE = "OPENLINEAGE_PARENT_ID", "OPENLINEAGE_ROOT_PARENT_ID"
_TIMEOUT_S = 10.0


def tell_start(run: Run) -> None:
    """Send the event of its start."""
    if run.start_record is not None:
        _tell_run(run, run.start_record)


def tell_end(run: Run) -> None:
    """Send the event of its end."""
    if run.record is not None:
        _tell_run(run, run.record)


def tell_version(repository: Repository, result: CommitResult) -> None:
    """Send the event of a new version."""

    def work() -> None:
        own = another(repository)
        version = opener(own)(result.dataset, result.id, own.id)
        if version is not None:
            send([dataset_event(version, quick=True)], target())

    _bounded(work)


def _tell_run(run: Run, record: RunRecord) -> None:
    try:
        repository = run.repository
    except DataverError:
        return  # There is no place that a dataset of it could be named by.
    parts, models = run.parts, [(model.name, model.number) for model in run.models]

    def work() -> None:
        own = another(repository)
        told = Told(
            own.id,
            record,
            opener(own),
            parts.get,
            numbered(record.models, models),
            _parent(own, record),
            os.environ.get(NAMESPACE_VARIABLE, ""),
            quick=True,
        )
        send(run_events(told)[-1:], target())

    _bounded(work)


def _parent(repository: Repository, record: RunRecord) -> Json | None:
    """The run around this one; else the one that the environment names, as `NAMESPACE/NAME/RUN`."""
    if record.parent:
        from dataver.lineage.known import Known

        session = repository.session
        return recorded_parent(Known(session, session.state()), record)
    parent = _named(PARENT_VARIABLE)
    if parent is None:
        return None
    root = _named(ROOT_VARIABLE)
    return parent if root is None else {**parent, "root": {"run": root["run"], "job": root["job"]}}


def _named(variable: str) -> Json | None:
    text = os.environ.get(variable, "")
    parts = text.rsplit("/", 2)
    if not text:
        return None
    try:
        if len(parts) != 3:
            raise BadInputError(f"{text[:100]!a} is not NAMESPACE/NAME/RUN")
        return parent_facet(*parts)
    except BadInputError as error:
        warnings.warn(f"{variable} names no parent of a run: {error}", stacklevel=2)
        return None


def _bounded(work: Callable[[], None]) -> None:
    """Do it in a thread, and wait for that so long. Raises what it raises.

    Where OpenLineage is configured for others and its client is not installed here, nothing is said.
    """
    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except MissingExtraError as error:
            if target():
                failed.append(error)
        except Exception as error:  # noqa: BLE001 - told by the thread that waits
            failed.append(error)

    timeout_s = _timeout_s()
    thread = Thread(target=guarded, name="dataver-openlineage", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise StoreError(f"OpenLineage events were not delivered within {timeout_s:g} s")
    if failed:
        raise failed[0]


def _timeout_s() -> float:
    text = os.environ.get(TIMEOUT_VARIABLE, "")
    try:
        return min(max(float(text), 0.0), 600.0) if text else _TIMEOUT_S
    except ValueError:
        warnings.warn(f"{TIMEOUT_VARIABLE} is {text[:50]!a}, and is no number of seconds", stacklevel=2)
        return _TIMEOUT_S
