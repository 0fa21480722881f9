"""Putting what is known of a run into the repository: records first, then one entry of the log.

A run is there as a whole or not at all: its records and parts are put before the entry that names
them. Many processes may record runs at a time; each loses races and repeats, none loses a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dataver.digest import Digest
from dataver.errors import ConflictError
from dataver.format.operations import (
    MADE,
    READ,
    IndexAdd,
    ModelCreate,
    ModelFiles,
    Operation,
    RunEnd,
    RunLink,
    RunStart,
    RunTracker,
)
from dataver.format.run_record import RUN_STATUS, RunModel, RunRecord, part_digest
from dataver.log.run_state import ModelState, models_of_run, newest_model, run_named
from dataver.log.state import State
from dataver.publish import merged_segments, put_records
from dataver.relying import spare
from dataver.segments import write_segment
from dataver.session import Session

__all__ = ["MODEL_FILES_FOUND_MAX", "amend_run", "end_run", "start_run"]

MODEL_FILES_FOUND_MAX = 256
"""A model is found by the digests of so many of its files, the first by path."""

Plan = Callable[[State], "list[Operation] | None"]


def start_run(session: Session, record: RunRecord, parts: Iterable[bytes] = ()) -> None:
    """Record that a run began. `ConflictError` where one of this id did before."""
    run = bytes.fromhex(record.run)

    def plan(state: State) -> list[Operation]:
        if run_named(state, run) is not None:
            raise ConflictError(f"run {record.run} was recorded before")
        return [RunStart(run, record.digest())]

    _append(session, record.author, [record], parts, plan)


def end_run(
    session: Session, record: RunRecord, parts: Iterable[bytes] = (), *, start: RunRecord | None = None
) -> list[ModelState]:
    """Record how a run ended; the models that it made, which get their numbers by this.

    `start` is the record of its start, for a repository that may not have it. What is there already
    is not recorded again, so that who got no answer may repeat it. `ConflictError` where another end
    is there.
    """
    run = bytes.fromhex(record.run)
    begun = start or record

    def plan(state: State) -> list[Operation] | None:
        known = run_named(state, run)
        if known is not None and known.end is not None:
            if known.end != record.digest():
                raise ConflictError(f"it is recorded already how run {record.run} ended; nothing was changed")
            return None
        first: list[Operation] = [] if known is not None else [RunStart(run, begun.digest())]
        return [*first, *_ending(state, run, record, [])]

    state = _append(session, record.author, [begun, record] if start else [record], parts, plan)
    return models_of_run(state, run)


def amend_run(session: Session, record: RunRecord, parts: Iterable[bytes] = ()) -> list[ModelState]:
    """Record more of a run; `record.amends` names the record that this one stands for.

    `ConflictError` where another one stands there meanwhile.
    """
    run = bytes.fromhex(record.run)

    def plan(state: State) -> list[Operation]:
        known = run_named(state, run)
        if known is None or str(known.record) != record.amends:
            raise ConflictError(f"run {record.run} was amended meanwhile; read it again and repeat")
        return _ending(state, run, record, models_of_run(state, run))

    state = _append(session, record.author, [record], parts, plan)
    return models_of_run(state, run)


def _ending(state: State, run: bytes, record: RunRecord, made: list[ModelState]) -> list[Operation]:
    """The operations that say how a run ended. Of its models, the first are `made` before, by name."""
    operations: list[Operation] = [RunEnd(run, record.digest(), RUN_STATUS.index(record.status))]
    for kind, versions in (
        (READ, [given.version for given in record.inputs]),
        (MADE, [output.version for output in record.outputs]),
    ):
        if versions:
            operations.append(RunLink(run, kind, tuple(Digest.parse(id) for id in dict.fromkeys(versions))))
    operations += [RunTracker(run, f"{tracker.kind}:{tracker.run_id}") for tracker in record.trackers]
    numbers: dict[str, int] = {}
    digest = record.digest()
    left = [model.name for model in made]
    # A run that repeats another one makes no model that would be the newest of that name.
    for model in () if record.reproduces else record.models:
        if model.name in left:
            left.remove(model.name)
            continue
        if model.name not in numbers:
            newest = newest_model(state, model.name)
            numbers[model.name] = newest.number if newest is not None else 0
        numbers[model.name] += 1
        operations.append(ModelCreate(model.name, numbers[model.name], run, digest))
        operations.append(ModelFiles(model.name, numbers[model.name], _found_by(model)))
    return operations


def _found_by(model: RunModel) -> tuple[Digest, ...]:
    files = [file.digest for file in model.files[:MODEL_FILES_FOUND_MAX] if file.size]
    return tuple(Digest.parse(digest) for digest in dict.fromkeys([model.tree, *files]))


def _append(
    session: Session, author: str, records: list[RunRecord], parts: Iterable[bytes], plan: Plan
) -> State:
    """Put the records and parts, then the entry that `plan` gives for the state that a race may bring."""
    wanted: dict[bytes, bytes] = {part_digest(part): part for part in parts}
    wanted.update({record.digest(): record.encode() for record in records})
    stored: list[Operation] | None = None
    relied: set[bytes] = set()

    def complete(state: State) -> tuple[Operation, ...] | None:
        nonlocal stored
        operations = plan(state)
        if operations is None:
            return None
        if stored is None:
            stored = _store(session, wanted, state, relied)
        return (*spare(state, relied), *operations, *stored, *merged_segments(session, state))

    session.newest()
    return session.log.append(complete, session.who(author))


def _store(session: Session, wanted: dict[bytes, bytes], state: State, relied: set[bytes]) -> list[Operation]:
    packs = put_records(session, list(wanted), wanted.__getitem__, state, relied)
    if not packs:
        return []
    segment = write_segment(session.store, packs, nonce=session.nonce)
    relied.update(pack.name for pack in packs)
    relied.add(segment.name)
    return [IndexAdd(segment.name, segment.keys, segment.size_bytes)]
