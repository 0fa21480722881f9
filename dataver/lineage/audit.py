"""The audit of a model: from it to the run, the code, the environment and the data, compared in all copies.

Three places may say what a model was made of: the run's record, the tracker, and the model's own files.
The record counts; the others must not contradict it. `verify` reads every byte of the data.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, field
from typing import Any, cast

from dataver.errors import BadInputError, DataverError
from dataver.format.run_record import ModelFile, RunModel, RunRecord
from dataver.history import to_time
from dataver.lineage.audit_data import (
    Input,
    Place,
    Reads,
    drift_of,
    inputs_of,
    overlaps_of,
    verify_inputs,
)
from dataver.lineage.audit_subject import Subject, find_subject
from dataver.lineage.graph import Lineage, lineage_of
from dataver.lineage.known import Known
from dataver.lineage.local_model import LocalModel, local_model
from dataver.lineage.nodes import ClaimedInput, ExternalNode, ModelNode, Node, RunNode, external_node
from dataver.log.run_state import RunState
from dataver.progress import Progress, observed
from dataver.results import Json, rfc3339
from dataver.values import dataclass

__all__ = ["BROKEN", "NOT_TRACEABLE", "TRACED", "TRACKED_RUNS", "AuditReport", "Evidence", "audit"]

TRACED, NOT_TRACEABLE, BROKEN = "traced", "not traceable", "broken"
EXIT_CODES = {TRACED: 0, NOT_TRACEABLE: 3, BROKEN: 5}
LINEAGE_NODES_MAX = 500
OTHERS_MAX = 20
OTHER_RUNS_LOOKED_AT = 1000
TRACKED_RUNS = {"mlflow": "runs:/{}", "tensorboard": "{uri}"}
"""How the integrations spell a run of a tracker."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one copy of the link says. `agrees` is None where there is none, or nothing to compare."""

    source: str
    agrees: bool | None
    detail: str

    def to_json(self) -> Json:
        """`{"source", "agrees", "detail"}`."""
        return asdict(self)


@dataclass(slots=True)
class AuditReport:
    """What an audit found. `status` is `traced`, `not traceable` or `broken`; True where it is traced.

    `broken` are what is missing or changed, each as what and why. `verified`: every byte of the data was
    read and is what it was.
    """

    asked: str
    subject: Subject
    place: Place
    record: RunRecord | None = None
    recorded: RunModel | None = None
    inputs: list[Input] = field(default_factory=list)
    overlaps: list[Json] = field(default_factory=list)
    drift: list[Json] = field(default_factory=list)
    lineage: Lineage | None = None
    others: Json = field(default_factory=dict)
    evidence: list[Evidence] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)
    files_checked: int | None = None
    verify: bool = False

    def __bool__(self) -> bool:
        return self.status == TRACED

    @property
    def status(self) -> str:
        """The verdict."""
        if self.broken:
            return BROKEN
        return TRACED if self.inputs else NOT_TRACEABLE

    @property
    def exit_code(self) -> int:
        """What the command line ends with."""
        return EXIT_CODES[self.status]

    @property
    def verified(self) -> bool:
        """Whether every byte of the data was read and is right."""
        return self.verify and bool(self.inputs) and all(found.verified for found in self.inputs)

    @property
    def name(self) -> str:
        """The model, or the run where there is none, else what was asked for."""
        if self.subject.model is not None:
            return f"model:{self.subject.model}"
        return f"run:{self.subject.run.id.hex()}" if self.subject.run is not None else self.asked

    def to_json(self) -> Json:
        """The whole report; see `dataver audit --help` for the fields."""
        return {
            "asked": self.asked,
            "status": self.status,
            "exit_code": self.exit_code,
            "verified": self.verified if self.verify else None,
            "repository": self._repository(),
            "model": self._model(),
            "run": self._run(),
            "code": None if self.record is None or self.record.code is None else asdict(self.record.code),
            "environment": self._environment(),
            "params": {} if self.record is None else dict(self.record.params),
            "metrics": {} if self.record is None else dict(self.record.metrics),
            "seeds": {} if self.record is None else dict(self.record.seeds),
            "data": [found.to_json() for found in self.inputs],
            "overlap": self.overlaps,
            "lineage": None if self.lineage is None else self.lineage.to_json(),
            "used_by": self.others,
            "drift": self.drift,
            "evidence": [one.to_json() for one in self.evidence],
            "warnings": list(self.warnings),
            "broken": [{"path": path or None, "reason": reason} for path, reason in self.broken],
            "tried": list(self.subject.tried),
        }

    def _repository(self) -> Json:
        repository = self.place.repository
        return {"id": repository.id, "url": repository.url}

    def _model(self) -> Json | None:
        subject, recorded = self.subject, self.recorded
        if subject.model is None and recorded is None and subject.local is None:
            return None
        local = subject.local
        return {
            "node": None if subject.model is None else f"model:{subject.model}",
            "name": recorded.name if recorded is not None else None,
            "tree": recorded.tree if recorded is not None else None,
            "uri": recorded.uri or None if recorded is not None else None,
            "meta": dict(recorded.meta) if recorded is not None else {},
            "files": [] if recorded is None else [asdict(file) for file in recorded.files],
            "found_by": subject.found_by or None,
            "path": None if local is None else local.path,
            "files_checked": self.files_checked,
        }

    def _run(self) -> Json | None:
        run, record = self.subject.run, self.record
        if run is None or record is None:
            return None
        return {
            "id": record.run, "record": run.record.hex(), "start_record": run.start.hex(),
            "entry": run.entry, "name": record.name, "author": record.author, "status": record.status,
            "started": rfc3339(to_time(record.started_us)),
            "ended": None if record.ended_us is None else rfc3339(to_time(record.ended_us)),
            "exit_code": record.exit_code, "signal": record.signal or None, "reason": record.reason or None,
            "command": list(record.command), "host": record.process.host or None,
            "parent": record.parent or None, "amends": record.amends,
            "trackers": [asdict(tracker) for tracker in record.trackers],
            "outputs": [asdict(output) for output in record.outputs],
        }  # fmt: skip

    def _environment(self) -> Json | None:
        environment = None if self.record is None else self.record.environment
        return None if environment is None else asdict(environment)


@observed("audit")
def audit(
    repository: Reads,
    model: str,
    *,
    verify: bool = False,
    rows: bool = False,
    tracker: bool = False,
    depth: int | None = None,
    progress: Progress | None = None,
    open_other: Callable[[str], Reads] | None = None,
) -> AuditReport:
    """Trace a model to what it was made of. A report that says what is missing or changed is no error.

    `model` is `model:NAME@vN`, `NAME@vN`, `run:ID`, a model's folder or file, or what an integration knows,
    as `models:/NAME/1`. `verify` reads every byte of the data and of the model's files that are at hand;
    `rows`, as `verify`, also counts the rows of parts and compares their keys. `tracker` asks the trackers
    that the record names. `open_other` opens another repository by its URL, where that has some of the data.

    `BadInputError` for what cannot name a model, `NotFoundError` for a path where there is nothing, and for
    what a tracker does not have.
    """
    if depth is not None and depth < 0:
        raise BadInputError(f"a depth of {depth} leads nowhere; 0 is the least")
    session = repository.session
    known = Known(session, session.state())
    here = Place(repository, known)
    subject = find_subject(known, model)
    report = AuditReport(model, subject, here, verify=verify)
    _trace_run(known, report)
    if tracker:
        _ask_tracker(report)
    claims, origin = _claims(report)
    report.inputs = inputs_of(here, claims, open_other or cast(Any, type(repository)), rows or verify)
    if verify:
        verify_inputs(report.inputs, progress)
    report.overlaps = list(overlaps_of(report.inputs, rows or verify))
    report.drift = list(drift_of(report.inputs))
    report.others = _others(known, report)
    start = _start(report)
    if start is not None:
        report.lineage = lineage_of(known, start, down=False, depth=depth, nodes_max=LINEAGE_NODES_MAX)
    _compare(known, report, origin)
    _judge(report, origin)
    return report


def _start(report: AuditReport) -> Node | None:
    if report.subject.model is not None:
        return ModelNode(report.subject.model.name, report.subject.model.number)
    return RunNode(report.subject.run.id) if report.subject.run is not None else None


def _trace_run(known: Known, report: AuditReport) -> None:
    """Read the record of the run, and see that all its parts are there."""
    run = report.subject.run
    if run is None:
        return
    record = known.run(run.id)
    if record is None:
        report.broken.append((f"run:{run.id.hex()}", known.fault(run.id)))
        return
    report.record = record
    report.recorded = report.subject.recorded(record, known)
    for part in record.parts():
        try:
            known.records.part(str(part))
        except DataverError as error:
            report.broken.append((f"part {part} of run:{record.run}", str(error)))


def _ask_tracker(report: AuditReport) -> None:
    """Hear what the tracker says of the run, where nobody came by way of it."""
    subject, record = report.subject, report.record
    for known in record.trackers if record is not None else ():
        if subject.external is None and known.kind in TRACKED_RUNS:
            try:
                subject.external = external_node(TRACKED_RUNS[known.kind].format(known.run_id, uri=known.uri))
            except DataverError as error:
                subject.doubts.append(f"the tracker {known.kind} was asked in vain: {error}")


def _claims(report: AuditReport) -> tuple[list[ClaimedInput], str]:
    """What the data was: as the record says, else the tracker, else the model's own files."""
    if report.record is not None:
        return [
            ClaimedInput(
                given.version, given.role, given.ref, given.dataset, given.tree, given.repository, given.url,
                given.split,
            )
            for given in report.record.inputs
            if given.version
        ], "run record"  # fmt: skip
    external, link = report.subject.external, report.subject.link
    if external is not None and external.inputs:
        return list(external.inputs), "tracker"
    return (list(link.inputs), "model metadata") if link is not None else ([], "")


# Who else


def _others(known: Known, report: AuditReport) -> Json:
    """The runs and models that read the same versions: how many runs, and some of the models."""
    own = report.subject.run.id if report.subject.run is not None else b""
    runs: dict[bytes, None] = {}
    for found in report.inputs:
        runs.update(dict.fromkeys(run for run in known.readers(found.node.version) if run != own))
    models: dict[str, None] = {}
    for number, run in enumerate(runs):
        if number == OTHER_RUNS_LOOKED_AT or len(models) > OTHERS_MAX:
            break
        models.update(dict.fromkeys(model.id for model in known.models(run)))
    return {
        "runs": len(runs),
        "models": list(models)[:OTHERS_MAX],
        "complete": len(models) <= OTHERS_MAX and len(runs) <= OTHER_RUNS_LOOKED_AT,
    }


# Evidence


def _compare(known: Known, report: AuditReport, origin: str) -> None:
    """Whether the tracker, the model's own files and their digests agree with the record."""
    subject, record = report.subject, report.record
    run = subject.run
    if record is not None and run is not None:
        detail = f"{run.record.hex()[:12]}, entry {run.entry} of the log"
        report.evidence.append(Evidence("run record", True, detail))
    else:
        report.evidence.append(Evidence("run record", None, "there is none here"))
    report.evidence.append(_tracker(known, report))
    report.evidence.append(_metadata(report))
    local = subject.local or (_at_hand(report.recorded) if report.verify else None)
    report.evidence.append(_files(report, local))
    for one in report.evidence:
        if one.agrees is False and one.source != "model files":
            report.broken.append((one.source, f"it contradicts the {origin or 'record'}: {one.detail}"))


def _tracker(known: Known, report: AuditReport) -> Evidence:
    external, record = report.subject.external, report.record
    if external is None:
        names = [] if record is None else [f"{tracker.kind}:{tracker.run_id}" for tracker in record.trackers]
        return Evidence(
            "tracker",
            None,
            f"{', '.join(names)}, not asked (--tracker does)" if names else "none is recorded",
        )
    if report.subject.run is not None and external.records:
        return _copied(known, external, report.subject.run)
    if external.inputs is None:
        return Evidence("tracker", None, f"{external.id} says nothing of its inputs")
    if record is None:
        return Evidence("tracker", None, f"{external.id} names {len(external.inputs)} versions")
    return _agreement("tracker", external.inputs, report)


def _copied(known: Known, external: ExternalNode, run: RunState) -> Evidence:
    """Whether the tracker's copy of the run's record is one that the run had here."""
    copies = [digest for of, digest in external.records if of == run.id.hex()]
    if not copies:
        return Evidence("tracker", None, f"{external.id} has no record of this run")
    copy = copies[-1]
    if copy == str(run.start) != str(run.record):
        return Evidence("tracker", None, f"{external.id} has the record of the run's start alone")
    if copy in known.digests(run):
        return Evidence("tracker", True, f"{external.id} has the record {copy[:12]}, byte for byte")
    return Evidence("tracker", False, f"{external.id} has the record {copy[:12]}, which the run never had")


def _metadata(report: AuditReport) -> Evidence:
    link, record = report.subject.link, report.record
    if link is None:
        where = (
            "the model's files were not at hand" if report.subject.local is None else "the files have none"
        )
        return Evidence("model metadata", None, where)
    if record is None:
        return Evidence(
            "model metadata", None, f"{os.path.basename(link.origin)} names {len(link.inputs)} versions"
        )
    if link.run and link.run != record.run:
        return Evidence("model metadata", False, f"it names run {link.run}, which is another one")
    return _agreement("model metadata", link.inputs, report)


def _agreement(source: str, claims: Sequence[ClaimedInput], report: AuditReport) -> Evidence:
    """Whether each version that is claimed is one that the run recorded."""
    recorded = {found.claim.version for found in report.inputs}
    claimed = {claim.version for claim in claims}
    odd = sorted(claimed - recorded)
    if odd:
        return Evidence(source, False, f"it names version {odd[0]}, which the run did not record")
    return Evidence(source, True, f"it names {len(claimed)} of {len(recorded)} versions that the run read")


def _at_hand(recorded: RunModel | None) -> LocalModel | None:
    """The model's files where the record says that they are, if that is on this machine."""
    if recorded is None or not recorded.uri or "://" in recorded.uri or not os.path.exists(recorded.uri):
        return None
    return local_model(recorded.uri)


def _files(report: AuditReport, local: LocalModel | None) -> Evidence:
    recorded = report.recorded
    if local is None:
        return Evidence("model files", None, "they were not at hand")
    if recorded is None:
        return Evidence("model files", None, "there is no record to compare them with")
    report.files_checked = len(local.files)
    if recorded.tree in local.trees:
        return Evidence("model files", True, f"all {len(local.files)} are what the run recorded")
    changed = _changed(recorded.files, local)
    report.broken.extend((path, f"of the model: {reason}") for path, reason in changed)
    if changed:
        return Evidence("model files", False, f"{len(changed)} of {len(recorded.files)} are not as recorded")
    return Evidence(
        "model files", True, f"all {len(recorded.files)} that were recorded are there, beside others"
    )


def _changed(recorded: Sequence[ModelFile], local: LocalModel) -> list[tuple[str, str]]:
    """The recorded files that are missing or changed. A single file may have another name."""
    there = {file.path: file.digest for file in local.files}
    if len(recorded) == 1 and len(local.files) == 1:
        there = {recorded[0].path: local.files[0].digest}
    changed = []
    for file in recorded:
        found = there.get(file.path)
        if found != file.digest:
            reason = "it is missing" if found is None else f"it is {found}, and {file.digest} was recorded"
            changed.append((file.path, reason))
    return changed


# The verdict


def _judge(report: AuditReport, origin: str) -> None:
    """What is broken of the data, and what one should know besides."""
    for found in report.inputs:
        for path, reason in found.broken:
            report.broken.append((f"{found.name}!{path}" if path else found.name, reason))
    warnings = report.warnings
    warnings += report.subject.doubts
    if report.record is None:
        if report.inputs:
            told = "the tracker says" if origin == "tracker" else "the model's own files say"
            warnings.append(f"no run is recorded here: what {told} is all there is")
    else:
        warnings += _of_run(report.record)
    for found in report.inputs:
        if found.floating:
            warnings.append(
                f"{found.claim.ref} was asked for, which may mean another version than {found.name} today"
            )
        if found.node.state == "deleted":
            warnings.append(f"the dataset {found.node.name} was deleted since")
        if found.unverified:
            warnings.append(f"nobody knows whether {found.name} is what the run read: {found.unverified}")
    external = report.subject.external
    for name in external.unversioned if external is not None else ():
        warnings.append(f"the tracker has an input that is no version: {name}")
    for pair in report.overlaps:
        if pair["overlap"]:
            warnings.append(f"{pair['a']} ({pair['a_role']}) and {pair['b']} ({pair['b_role']}) share data")
    if report.record is not None and not report.inputs:
        report.subject.tried.append("the run recorded no version as its input")
    if report.subject.found_by == "some of its files":
        warnings.append(f"{report.name} is the model that has most of these files, not all")


def _of_run(record: RunRecord) -> list[str]:
    """What one should know of a run before one relies on it."""
    warnings = []
    if record.status != "done":
        warnings.append(
            f"the run is recorded as {record.status}" + (f": {record.reason}" if record.reason else "")
        )
    code = record.code
    if code is None or not code.commit:
        reason = code.reason if code is not None else ""
        warnings.append("the code is not known" + (f": {reason}" if reason else ""))
    elif code.dirty and code.patch is None:
        warnings.append("the code differed from its commit, and the difference was not kept")
    elif code.dirty:
        masked = ", with secrets cut out, so that it does not apply" if code.masked else ""
        warnings.append(f"the code differed from its commit; the patch was kept{masked}")
    if code is not None and code.untracked:
        warnings.append(f"{len(code.untracked)} files of the code were in no commit and not kept")
    environment = record.environment
    if environment is None or (environment.packages is None and not environment.locks):
        warnings.append("the packages that the run used are not known")
    return warnings
