"""The runs of a repository, by whatever names them, and those that wait on this machine for it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dataver.errors import DamagedError, RefNotFoundError
from dataver.format.run_record import RunRecord, part_digest
from dataver.lineage.listing import RunInfo, run_info, status_of
from dataver.lineage.records import RUN_PREFIX, Records, find_model, find_run
from dataver.lineage.spool import waiting
from dataver.log import run_state
from dataver.log.run_state import RunState
from dataver.session import Session
from dataver.values import dataclass

__all__ = ["Found", "Runs"]

_ID = re.compile(r"(run:)?[0-9a-fA-F]{4,32}")


@dataclass(frozen=True, slots=True)
class Found:
    """A run. `entry` is that of its start in the log; None where it waits."""

    info: RunInfo
    entry: int | None = None

    @property
    def record(self) -> RunRecord:
        """The newest record."""
        return self.info.record


class Runs:
    """Look-ups in the state that is the newest when this is made."""

    def __init__(self, session: Session) -> None:
        self._state = session.state()
        self._records = Records(session, self._state)

    def find(self, text: str) -> Found:
        """The run `ID` or `run:ID`, or the one that made the model `NAME@vN` or `model:NAME@vN`.

        What may be either is a run, if there is one. `RefNotFoundError` where there is neither.
        """
        if _ID.fullmatch(text):
            try:
                return self._found(find_run(self._state, text))
            except RefNotFoundError:
                digits = text.removeprefix(RUN_PREFIX).lower()
                found = [info for info in _waiting() if info.record.run.startswith(digits)]
                if len(found) == 1:
                    return Found(found[0])
                if digits != text or run_state.newest_model(self._state, text) is None:
                    raise
        if text.startswith(RUN_PREFIX):
            return self._found(find_run(self._state, text))
        made = run_state.run_named(self._state, find_model(self._state, text).run)
        assert made is not None
        return self._found(made)

    def _found(self, run: RunState) -> Found:
        return Found(run_info(self._state, self._records, run), run.entry)

    def ended(self, run: str) -> RunRecord | None:
        """The record of exactly this run, if it has ended."""
        known = run_state.run_named(self._state, bytes.fromhex(run))
        if known is not None and known.end is not None:
            return self._records.of(known)
        return next((info.record for info in _waiting() if info.record.run == run), None)

    def begun_within(self, run: str) -> list[RunRecord]:
        """The runs that began within this one, in their order. Only newer ones are looked at."""
        found = [info.record for info in _waiting() if info.record.parent == run]
        for known in run_state.runs(self._state, newest_first=True):
            if known.id.hex() == run:
                break
            record = self._records.of(known)
            if record.parent == run:
                found.append(record)
        return sorted(found, key=lambda record: record.started_us)

    def part(self, digest: str) -> bytes:
        """The part of this digest of some record's. `DamagedError` where nobody has it."""
        try:
            return self._records.part(digest)
        except DamagedError:
            for kept in waiting():
                if digest in map(str, (kept.end or kept.start).parts()):
                    return next(part for part in kept.parts() if str(part_digest(part)) == digest)
            raise


def _waiting() -> Iterator[RunInfo]:
    for kept in waiting():
        record = kept.end or kept.start
        yield RunInfo(record, status_of(record, ended=kept.end is not None), waiting=kept.folder)
