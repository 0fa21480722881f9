"""What is known of runs and models, as values with the JSON documents of the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from dataver.digest import Digest
from dataver.format.operations import MADE, READ
from dataver.format.run_record import RUN_STATUS, RunRecord
from dataver.lineage.processes import is_alive
from dataver.lineage.records import Records
from dataver.log import run_state
from dataver.log.run_state import ModelState, RunState
from dataver.log.state import State
from dataver.results import rfc3339
from dataver.values import dataclass

__all__ = ["ModelInfo", "RunInfo", "model_infos", "run_info", "run_infos", "runs_of"]

CRASHED, RUNNING, UNFINISHED = "crashed", "running", "unfinished"
STATUS = (*RUN_STATUS, RUNNING, CRASHED, UNFINISHED)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One run. `status`: how it ended, else `running`, `crashed`, or `unfinished` if nobody here can tell."""

    record: RunRecord
    status: str
    models: tuple[ModelState, ...] = ()
    waiting: str = ""
    """The folder where it waits to be recorded; empty where it is."""

    @property
    def started(self) -> datetime:
        """When it began."""
        return _EPOCH + timedelta(microseconds=self.record.started_us)

    @property
    def ended(self) -> datetime | None:
        """When it ended."""
        ended_us = self.record.ended_us
        return None if ended_us is None else _EPOCH + timedelta(microseconds=ended_us)

    def to_json(self) -> dict[str, Any]:
        """One of the documents of `dataver runs --json`."""
        record, ended = self.record, self.ended
        return {
            "id": record.run,
            "name": record.name,
            "status": self.status,
            "author": record.author,
            "started": rfc3339(self.started),
            "ended": None if ended is None else rfc3339(ended),
            "exit_code": record.exit_code,
            "inputs": [f"{given.dataset}@{_version(given.number, given.version)}" for given in record.inputs],
            "outputs": [f"{made.dataset}@{_version(made.number, made.version)}" for made in record.outputs],
            "models": self.model_names(),
            "params": dict(record.params),
            "metrics": dict(record.metrics),
            "waiting": bool(self.waiting),
            "reproduces": record.reproduces,
        }

    def to_full_json(self) -> dict[str, Any]:
        """The document of `dataver runs show --json`: all of the record, with the names of models."""
        document = dataclasses.asdict(self.record)
        document |= {"id": document.pop("run"), "record": str(self.record.digest())}
        found = self.to_json()
        document |= {name: found[name] for name in ("status", "started", "ended", "waiting")}
        for name in ("started_us", "ended_us"):
            document.pop(name)
        for given, number in zip(document["models"], self.model_numbers(), strict=True):
            given["version"] = None if number is None else f"v{number}"
        return document

    def model_numbers(self) -> list[int | None]:
        """The number of each model of the record, None where it has none yet."""
        left = list(self.models)
        numbers: list[int | None] = []
        for model in self.record.models:
            found = next((known for known in left if known.name == model.name), None)
            if found is not None:
                left.remove(found)
            numbers.append(None if found is None else found.number)
        return numbers

    def model_names(self) -> list[str]:
        """`NAME@vN` of each model."""
        return [
            model.name if number is None else f"{model.name}@v{number}"
            for model, number in zip(self.record.models, self.model_numbers(), strict=True)
        ]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One version of a model, with the run that made it."""

    state: ModelState
    record: RunRecord

    def to_json(self) -> dict[str, Any]:
        """One of the documents of `dataver models --json`."""
        same = [model for model in self.record.models if model.name == self.state.name]
        return {
            "name": self.state.name,
            "version": f"v{self.state.number}",
            "run": self.state.run.hex(),
            "run_name": self.record.name,
            "tree": same[0].tree if len(same) == 1 else None,
            "uri": same[0].uri if len(same) == 1 else "",
            "time": rfc3339(_EPOCH + timedelta(microseconds=self.record.ended_us or self.record.started_us)),
            "inputs": [
                f"{given.dataset}@{_version(given.number, given.version)}" for given in self.record.inputs
            ],
        }


def _version(number: int, id: str) -> str:
    return f"v{number}" if number else id


def run_info(state: State, records: Records, run: RunState) -> RunInfo:
    """What is known of a run."""
    record = records.of(run)
    models = sorted(run_state.models_of_run(state, run.id), key=lambda model: (model.name, model.number))
    return RunInfo(record, status_of(record, ended=run.end is not None), tuple(models))


def status_of(record: RunRecord, *, ended: bool) -> str:
    """How a run ended, or what this machine can tell of it."""
    if ended:
        return record.status
    alive = is_alive(record.process)
    return UNFINISHED if alive is None else RUNNING if alive else CRASHED


def run_infos(state: State, records: Records) -> Iterator[RunInfo]:
    """All runs, newest first."""
    for run in run_state.runs(state, newest_first=True):
        yield run_info(state, records, run)


def runs_of(state: State, version: Digest) -> tuple[list[bytes], list[bytes]]:
    """The runs that read a version, and those that made it."""
    found = list(run_state.runs_of_version(state, version))
    return [run for run, how in found if how & READ], [run for run, how in found if how & MADE]


def model_infos(state: State, records: Records, name: str | None = None) -> Iterator[ModelInfo]:
    """The versions of a model, or of all, by name and number."""
    prefix = b"" if name is None else name.encode() + b"\0"
    for model in run_state.models(state, prefix):
        yield ModelInfo(model, records.record(model.record))
