"""Saying after the fact what a run read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from dataver.errors import ConflictError, RefNotFoundError
from dataver.format.run_record import RunInput, RunRecord
from dataver.lineage.publishing import amend_run, end_run
from dataver.lineage.records import Records
from dataver.log.run_state import run_named
from dataver.session import Session
from dataver.values import dataclass

__all__ = ["Linked", "link_inputs"]

TRIES = 5
"""Whoever amends a run at the same time makes us read it again."""


@dataclass(frozen=True, slots=True)
class Linked:
    """The record of the run as it is now, and which of the inputs it did not have before."""

    record: RunRecord
    added: tuple[RunInput, ...]
    created: bool


def link_inputs(
    session: Session,
    run: bytes,
    inputs: Sequence[RunInput],
    begin: Callable[[], RunRecord] | None = None,
) -> Linked:
    """Record that a run read `inputs`; what is recorded already is left as it is.

    `begin` gives the record of a run that is not recorded here. `RefNotFoundError` where there is none,
    `ConflictError` for a run that is still on.
    """
    state = session.newest()
    if run_named(state, run) is None:
        if begin is None:
            raise RefNotFoundError(f"there is no run {run.hex()}; `dataver runs` lists them")
        record = replace(begin(), inputs=tuple(inputs))
        end_run(session, record)
        return Linked(record, tuple(inputs), created=True)
    for left in reversed(range(TRIES)):
        known = run_named(state, run)
        assert known is not None, "no run goes away"
        if known.end is None:
            raise ConflictError(
                f"it is not recorded how run {run.hex()[:12]} ended; inputs are added to runs that have ended"
            )
        record = Records(session, state).of(known)
        there = {_key(given) for given in record.inputs}
        added = tuple(given for given in inputs if _key(given) not in there)
        if not added:
            return Linked(record, (), created=False)
        record = replace(record, inputs=(*record.inputs, *added), amends=str(known.record))
        try:
            amend_run(session, record)
            return Linked(record, added, created=False)
        except ConflictError:
            if not left:
                raise
            state = session.newest()
    raise AssertionError("the last try returns or raises")


def _key(given: RunInput) -> tuple[str, str, str]:
    split = given.split or {}
    return given.role, given.version, f"{split.get('digest', '')}:{split.get('part', '')}"
