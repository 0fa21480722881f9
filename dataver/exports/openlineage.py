"""OpenLineage: a version as an event of a dataset, a run as events of its start and end.

A run's id is the same 128 bits as a UUID; its job is what the run is called, in the namespace of the
repository. Times are those of the version and the run.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from dataver.errors import BadInputError, DataverError, RefNotFoundError
from dataver.exports.facts import VersionFacts, facts_of, filled, git_url, iri, plain_text
from dataver.exports.openlineage_facets import (
    PRODUCER,
    dataset,
    dataset_facets,
    facet,
    metrics_of,
    own_facet,
    tables_of,
)
from dataver.format.run_record import CANCELLED, DONE, FAILED, RUN_STATUS
from dataver.history import to_time
from dataver.results import Json, rfc3339
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.format.run_record import RunInput, RunModel, RunOutput, RunRecord
    from dataver.lineage.known import Known
    from dataver.repository import Repository
    from dataver.version import Version

__all__ = [
    "Told",
    "dataset_event",
    "events_of",
    "numbered",
    "opener",
    "parent_facet",
    "recorded_parent",
    "run_events",
    "told_of",
]

SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs"
LOCATIONS_MAX = 10_000
"""Where a run read more files in part than this, it is not said which."""
ENDS = {RUN_STATUS[DONE]: "COMPLETE", RUN_STATUS[FAILED]: "FAIL", RUN_STATUS[CANCELLED]: "ABORT"}


@dataclass(frozen=True, slots=True)
class Told:
    """A run as its events tell it. `version` opens one that it read or made, or gives None.

    `part` gives the bytes of a part of the record, or None; `models` are with their numbers. `parent` is the
    facet of the run that this one belongs to. `quick`: nothing is computed.
    """

    repository: str
    record: RunRecord
    version: Callable[[str, str, str], Version | None]
    part: Callable[[str], bytes | None]
    models: Sequence[tuple[RunModel, int]] = ()
    parent: Json | None = None
    namespace: str = ""
    quick: bool = False


def dataset_event(version: Version, *, quick: bool = False) -> Json:
    """A version as an event of its dataset."""
    facts = facts_of(version, quick=quick)
    tables, known = tables_of(version, quick=quick)
    facets = dataset_facets(facts, tables, made=True)
    metrics = metrics_of("DataQualityMetricsDatasetFacet", facts, tables, known)
    if metrics is not None:
        facets["dataQualityMetrics"] = metrics
    return {
        "eventTime": facts.time,
        "producer": PRODUCER,
        "schemaURL": f"{SPEC}/DatasetEvent",
        "dataset": {**dataset(facts.repository, facts.dataset), "facets": facets},
    }


def events_of(repository: Repository, text: str) -> list[Json]:
    """The events of the version that a text names, else of the run or model that it does."""
    if text.startswith(("model:", "run:")):
        return run_events(told_of(repository, text))
    try:
        version = repository.version(text)
    except (BadInputError, RefNotFoundError) as error:
        try:
            told = told_of(repository, text)
        except (BadInputError, RefNotFoundError):
            raise error from None
        return run_events(told)
    return [dataset_event(version)]


def told_of(repository: Repository, text: str) -> Told:
    """The run `run:ID`, or the one that made a model, as it is recorded here. `RefNotFoundError` for none."""
    from dataver.lineage.known import Known
    from dataver.lineage.records import RUN_PREFIX, find_model, find_run
    from dataver.log.run_state import models_of_run, run_named

    session = repository.session
    state = session.state()
    found = find_run(state, text) if text.startswith(RUN_PREFIX) else None
    if found is None:
        found = run_named(state, find_model(state, text).run)
    assert found is not None
    known = Known(session, state)
    record = known.records.of(found)
    return Told(
        repository.id,
        record,
        opener(repository),
        known.records.part,
        numbered(record.models, ((model.name, model.number) for model in models_of_run(state, found.id))),
        recorded_parent(known, record),
    )


def opener(repository: Repository) -> Callable[[str, str, str], Version | None]:
    """What opens versions of a repository by name of the dataset, id, and the id of their repository."""

    def opened(name: str, id: str, home: str) -> Version | None:
        if home != repository.id:
            return None
        from dataver.recording import Asked
        from dataver.version import Version

        ref = f"{name}@{id}"
        try:
            # Whatever is looked up here is no input of a run that is on.
            return Version(repository, repository.session.resolve(ref), None, Asked(ref, unnoted=True))
        except DataverError:
            return None

    return opened


def numbered(models: Iterable[RunModel], known: Iterable[tuple[str, int]]) -> list[tuple[RunModel, int]]:
    """The models of a record, each with its number: those of one name are numbered in their order."""
    numbers: dict[str, list[int]] = {}
    for name, number in sorted(known, reverse=True):
        numbers.setdefault(name, []).append(number)
    return [(model, numbers[model.name].pop() if numbers.get(model.name) else 0) for model in models]


def recorded_parent(known: Known, record: RunRecord) -> Json | None:
    """The facet of the run that this one is in, as its record says."""
    if not record.parent:
        return None
    parent = known.run(bytes.fromhex(record.parent))
    name = parent.name if parent is not None else "run"
    return parent_facet(f"dataver://{known.session.repository}", name, record.parent)


def parent_facet(namespace: str, name: str, run: str) -> Json:
    """The facet of a parent. `BadInputError` where `run` is no UUID."""
    try:
        id = str(uuid.UUID(run))
    except ValueError:
        raise BadInputError(f"{run[:100]!a} is no id of a run of OpenLineage, which is a UUID") from None
    return facet("ParentRunFacet", run={"runId": id}, job={"namespace": namespace, "name": name})


def run_events(told: Told) -> list[Json]:
    """The start of a run, and its end if that is known."""
    record = told.record
    events = [_event(told, "START", record.started_us, [], [])]
    if record.ended_us is not None and record.status in ENDS:
        inputs, outputs = list(_inputs(told)), list(_outputs(told))
        events.append(_event(told, ENDS[record.status], record.ended_us, inputs, outputs))
    return events


def _event(told: Told, kind: str, time_us: int, inputs: list[Json], outputs: list[Json]) -> Json:
    record = told.record
    return {
        "eventType": kind,
        "eventTime": rfc3339(to_time(time_us)),
        "producer": PRODUCER,
        "schemaURL": f"{SPEC}/RunEvent",
        "run": {"runId": str(uuid.UUID(record.run)), "facets": _run_facets(told, at_start=kind == "START")},
        "job": {
            "namespace": told.namespace or f"dataver://{told.repository}",
            "name": record.name,
            "facets": _job_facets(record),
        },
        "inputs": inputs,
        "outputs": outputs,
    }


def _run_facets(told: Told, *, at_start: bool) -> Json:
    record, environment = told.record, told.record.environment
    facets = {"dataver_run": _own_run_facet(record, at_start=at_start)}
    if told.parent is not None:
        facets["parent"] = told.parent
    if record.params:
        facets["executionParameters"] = facet(
            "ExecutionParametersRunFacet",
            parameters=[{"key": name, "value": plain_text(value)} for name, value in record.params.items()],
        )
    if environment is not None and environment.python:
        facets["processing_engine"] = facet(
            "ProcessingEngineRunFacet",
            name=environment.implementation or "Python",
            version=environment.python,
            openlineageAdapterVersion=environment.dataver,
        )
    if not at_start and record.status == RUN_STATUS[FAILED]:
        message = record.reason or f"exit code {record.exit_code}"
        facets["errorMessage"] = facet("ErrorMessageRunFacet", message=message, programmingLanguage="PYTHON")
    return facets


def _own_run_facet(record: RunRecord, *, at_start: bool) -> Json:
    code, environment = record.code, record.environment
    ended = {} if at_start else {
        "exitCode": record.exit_code,
        "reason": record.reason,
        "metrics": dict(record.metrics),
        "trackers": [
            filled({"kind": each.kind, "runId": each.run_id, "uri": each.uri}) for each in record.trackers
        ],
    }  # fmt: skip
    return own_facet(
        "DataverRunFacet",
        id=record.run,
        name=record.name,
        author=record.author,
        status="running" if at_start else record.status,
        command=list(record.command),
        params=dict(record.params),
        seeds=dict(record.seeds),
        code=None if code is None else filled({
            "commit": code.commit, "branch": code.branch, "dirty": code.dirty, "patch": code.patch,
        }),
        environment=None if environment is None else filled({
            "python": environment.python, "platform": environment.platform,
            "packages": environment.packages, "variables": dict(environment.variables),
            "hardware": dict(environment.hardware),
            "locks": [{"path": lock.path, "digest": lock.digest} for lock in environment.locks],
        }),
        **ended,
    )  # fmt: skip


def _job_facets(record: RunRecord) -> Json:
    facets = {
        "jobType": facet("JobTypeJobFacet", processingType="BATCH", integration="DATAVER", jobType="RUN")
    }
    code = record.code
    url = "" if code is None else git_url(code.url)
    if code is not None and code.commit and url:
        facets["sourceCodeLocation"] = facet(
            "SourceCodeLocationJobFacet",
            type="git", url=url, repoUrl=code.url, version=code.commit, branch=code.branch,
            path=code.folder,
        )  # fmt: skip
    return facets


# What it read and made


def _inputs(told: Told) -> Iterator[Json]:
    for given in told.record.inputs:
        if not given.version:
            continue
        version = told.version(given.dataset, given.version, given.repository)
        facts = _facts(told, version, given)
        tables, known = ([], {}) if version is None else tables_of(version, quick=told.quick)
        inputs = {
            "inputStatistics": facet(
                "InputStatisticsInputDatasetFacet",
                rowCount=(given.split or {}).get("rows"), size=given.bytes_read, fileCount=given.files,
            ),
            "dataver_input": own_facet(
                "DataverInputDatasetFacet",
                role=given.role, ref=given.ref, whole=given.whole,
                split=None if given.split is None else dict(given.split),
            ),
        }  # fmt: skip
        subset = _subset(told, given)
        if subset is not None:
            inputs["subset"] = facet("InputSubsetInputDatasetFacet", inputCondition=subset)
        metrics = metrics_of("DataQualityMetricsInputDatasetFacet", facts, tables, known)
        if metrics is not None:
            inputs["dataQualityMetrics"] = metrics
        yield {
            **dataset(given.repository, facts.dataset),
            "facets": dataset_facets(facts, tables, made=False),
            "inputFacets": inputs,
        }


def _facts(told: Told, version: Version | None, said: RunInput | RunOutput) -> VersionFacts:
    """Those of the version, else what the record says."""
    if version is not None:
        return facts_of(version, quick=told.quick)
    label = f"v{said.number}" if said.number else ""
    return VersionFacts(said.repository, said.dataset, said.version, said.tree, label)


def _subset(told: Told, given: RunInput) -> Json | None:
    """Which part of the version was read; None for all of it, and where it is not known."""
    from dataver.lineage.known import part_of

    conditions: list[Json] = []
    part = part_of(given.split)
    if part:
        split, _, name = part.rpartition("/")
        dimensions = filled({"split": split, "part": name, "definition": (given.split or {}).get("digest")})
        conditions.append(
            {"type": "partition", "partitions": [{"identifier": part, "dimensions": dimensions}]}
        )
    locations = None if given.whole else _locations(told, given)
    if locations:
        conditions.append({"type": "location", "locations": locations})
    if len(conditions) < 2:
        return conditions[0] if conditions else None
    return {"type": "binary", "operator": "AND", "left": conditions[0], "right": conditions[1]}


def _locations(told: Told, given: RunInput) -> list[str] | None:
    """The files that were read, all or some of their bytes."""
    found: dict[str, None] = {}
    for digest in given.reads:
        try:
            data = told.part(digest)
        except DataverError:
            return None
        if data is None:
            return None
        for line in data.splitlines():
            found[str(json.loads(line)[0])] = None
            if len(found) > LOCATIONS_MAX:
                return None
    return list(found)


def _outputs(told: Told) -> Iterator[Json]:
    for made in told.record.outputs:
        version = told.version(made.dataset, made.version, made.repository)
        facts = _facts(told, version, made)
        tables, known = ([], {}) if version is None else tables_of(version, quick=told.quick)
        facets = dataset_facets(facts, tables, made=version is not None)
        metrics = metrics_of("DataQualityMetricsDatasetFacet", facts, tables, known)
        if metrics is not None:
            facets["dataQualityMetrics"] = metrics
        rows = sum(each.rows for each in known.values()) if len(known) == len(tables) and known else None
        counts = {} if version is None else {"size": facts.bytes, "fileCount": facts.files, "rowCount": rows}
        yield {
            **dataset(made.repository, facts.dataset),
            "facets": facets,
            "outputFacets": {"outputStatistics": facet("OutputStatisticsOutputDatasetFacet", **counts)},
        }
    for model, number in told.models:
        yield _model(told, model, number)


def _model(told: Told, model: RunModel, number: int) -> Json:
    label = f"v{number}" if number else model.tree
    facets = {
        "version": facet("DatasetVersionDatasetFacet", datasetVersion=label),
        "datasetType": facet("DatasetTypeDatasetFacet", datasetType="MODEL"),
        "dataver_model": own_facet(
            "DataverModelDatasetFacet", name=model.name, version=label, tree=model.tree, uri=model.uri,
            meta=dict(model.meta), files=len(model.files),
        ),
    }  # fmt: skip
    scheme, mark, rest = iri(model.uri).partition("://")
    if mark:
        place, _, path = rest.partition("/")
        identifier = {"namespace": f"{scheme}://{place}", "name": path or "/", "type": "MODEL"}
        facets["symlinks"] = facet("SymlinksDatasetFacet", identifiers=[identifier])
    size = sum(file.size for file in model.files)
    return {
        **dataset(told.repository, f"model:{model.name}"),
        "facets": facets,
        "outputFacets": {
            "outputStatistics": facet(
                "OutputStatisticsOutputDatasetFacet", size=size, fileCount=len(model.files)
            )
        },
    }
