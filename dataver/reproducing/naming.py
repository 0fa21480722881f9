"""Finding runs by whatever names them: runs, models, and those that wait on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dataver.errors import RefNotFoundError
from dataver.format.run_record import RunModel, RunRecord
from dataver.lineage.listing import RunInfo, run_info, status_of
from dataver.lineage.records import MODEL_PREFIX, RUN_PREFIX, Records, find_model, find_run
from dataver.lineage.spool import waiting
from dataver.log import run_state
from dataver.log.run_state import RunState
from dataver.log.state import State
from dataver.values import dataclass

__all__ = ["Found", "begun_within", "find", "recorded"]

_ID = re.compile(r"(run:)?[0-9a-fA-F]{4,32}")


@dataclass(frozen=True, slots=True)
class Found:
    """A run, what the state has of it, and the model that it was named by, if it was."""

    info: RunInfo
    state: RunState
    model: str = ""

    @property
    def record(self) -> RunRecord:
        """The newest record."""
        return self.info.record

    def names(self) -> list[str]:
        """`NAME@vN` of each of its models."""
        return self.info.model_names()

    def models(self) -> tuple[RunModel, ...]:
        """Its models."""
        return self.record.models


def find(state: State, records: Records, text: str) -> Found:
    """The run `ID` or `run:ID`, or the one that made the model `NAME@vN` or `model:NAME@vN`.

    What may be either is a run, if there is one. `RefNotFoundError` where there is neither.
    """
    if text.startswith(RUN_PREFIX):
        return _found(state, records, find_run(state, text))
    if _ID.fullmatch(text):
        try:
            return _found(state, records, find_run(state, text))
        except RefNotFoundError:
            if run_state.newest_model(state, text) is None:
                raise
    model = find_model(state, text)
    run = run_state.run_named(state, model.run)
    assert run is not None
    return _found(state, records, run, str(model).removeprefix(MODEL_PREFIX))


def _found(state: State, records: Records, run: RunState, model: str = "") -> Found:
    return Found(run_info(state, records, run), run, model)


def recorded(state: State, records: Records, run: str) -> RunInfo | None:
    """The run of exactly this id, in the repository or waiting on this machine."""
    known = run_state.run_named(state, bytes.fromhex(run))
    if known is not None and known.end is not None:
        return run_info(state, records, known)
    return next((info for info in _waiting() if info.record.run == run), None)


def begun_within(state: State, records: Records, run: str) -> list[RunInfo]:
    """The runs that began within this one, and were recorded after it, in their order."""
    found = [info for info in _waiting() if info.record.parent == run]
    for known in run_state.runs(state, newest_first=True):
        if known.id.hex() == run:
            break
        info = run_info(state, records, known)
        if info.record.parent == run:
            found.append(info)
    return sorted(found, key=lambda info: info.record.started_us)


def _waiting() -> Iterator[RunInfo]:
    for kept in waiting():
        record = kept.end or kept.start
        yield RunInfo(record, status_of(record, ended=kept.end is not None), waiting=kept.folder)
