"""The data that a model was trained on, found by the record of the run that made it."""

from __future__ import annotations

import json
import posixpath
from typing import TYPE_CHECKING

from dataver.errors import BadInputError, NotFoundError, RefNotFoundError
from dataver.lineage.audit_subject import find_subject
from dataver.lineage.known import Known
from dataver.lineage.nodes import HERE
from dataver.lineage.records import MODEL_PREFIX, RUN_PREFIX
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.format.run_record import RunInput
    from dataver.parts import SplitView
    from dataver.repository import Repository
    from dataver.version import Version

__all__ = ["TrainedOn", "names_model", "trained_on", "training_data"]

ROLES = ("training", "train")
PARQUET = (".parquet", ".parq", ".pq")


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """`model` is `model:NAME@vN`, or what was asked for where it is a run.

    Of `data`, if that is a whole version, what lies at `path` was read.
    """

    model: str
    data: Version | SplitView
    path: str


def names_model(text: str) -> bool:
    """Whether a text names a model or a run, and no version: `model:…`, `run:…`, or another tool's URI."""
    return text.startswith((MODEL_PREFIX, RUN_PREFIX)) or ":/" in text


def training_data(repository: Repository, model: str) -> Version | SplitView:
    """The version, or the part of one, that a model was trained on. See `trained_on`."""
    return trained_on(repository, model).data


def trained_on(repository: Repository, model: str) -> TrainedOn:
    """The one input of a model's run that was read as `training`, else its only one.

    `model` is `model:NAME@vN`, `run:ID`, or what an integration knows, as `models:/NAME/1`. `NotFoundError`
    where no run of it is recorded, or the data are not in this repository; `BadInputError` where its run
    says of none of its inputs, or of several, that it is.
    """
    session = repository.session
    known = Known(session, session.state())
    subject = find_subject(known, model)
    if subject.run is None:
        raise RefNotFoundError(f"no run of {model} is recorded here: {'; '.join(subject.tried)}")
    name = model if subject.model is None else f"{MODEL_PREFIX}{subject.model}"
    record = known.run(subject.run.id)
    if record is None:
        raise NotFoundError(f"the run of {name} is not at hand: {known.fault(subject.run.id)}")
    inputs = [given for given in record.inputs if given.version]
    chosen = [given for given in inputs if given.role in ROLES] or inputs
    if len(chosen) != 1:
        raise BadInputError(f"{name} was not made of one input that is its training data: {_told(inputs)}")
    (given,) = chosen
    node = known.input_node(given)
    if node is None or node.state != HERE:
        raise NotFoundError(
            f"{name} was trained on version {given.version} of {given.dataset}, which is not in this "
            f"repository; it was read from {given.url or given.repository}"
        )
    version = repository.version(f"{node.name}@{given.version}")
    if given.split:
        return TrainedOn(name, version.split(given.split["part"], given.split["definition"]), "")
    return TrainedOn(name, version, _path(known, given))


def _told(inputs: list[RunInput]) -> str:
    if not inputs:
        return "its run recorded none"
    told = ", ".join(f"{given.ref} ({given.role})" for given in inputs[:5])
    return f"its run read {told}; compare with one of them by name, or read it as 'training' next time"


def _path(known: Known, given: RunInput) -> str:
    """The folder of the Parquet files that were read, or the one file; empty where all were."""
    lines = [line for digest in given.reads for line in known.records.part(digest).splitlines()]
    paths = [str(json.loads(line)[0]) for line in lines]
    tables = [path for path in paths if path.lower().endswith(PARQUET)]
    return posixpath.commonpath(tables) if tables else ""
