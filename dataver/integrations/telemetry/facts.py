"""What is said of an operation: from its arguments and what it returned to attributes, events and figures.

Numbers, digests, and names that users gave to datasets, versions, models and runs; no path, no URL, no
message of an error, and no value of a column. This knows nothing of OpenTelemetry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import field
from typing import TYPE_CHECKING, Any

from dataver.errors import (
    AlreadyExistsError,
    BadInputError,
    CheckFailedError,
    ConflictError,
    DataverError,
    WouldOverwriteError,
)
from dataver.integrations.telemetry.setting import columns_may_be_named
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.erasure import EraseReport
    from dataver.gc.prune import PruneReport
    from dataver.gc.report import GcReport
    from dataver.lineage.audit import AuditReport
    from dataver.refs import Resolved
    from dataver.repair import RepairReport
    from dataver.results import CheckoutResult, CommitResult, TransferResult, VerifyReport
    from dataver.session import Session
    from dataver.tables.drift import DriftReport
    from dataver.tables.measures import Measure
    from dataver.verify.copy_report import CopyReport

__all__ = ["Attributes", "Facts", "Value", "facts_after", "facts_before", "facts_failed"]

Value = str | int | float | bool
Attributes = dict[str, Value]
Arguments = Mapping[str, Any]

INTERRUPTED = 130
_OF_A_DATASET = (AlreadyExistsError, CheckFailedError, ConflictError, WouldOverwriteError)
"""Errors that there are only once the dataset was found. Before, its name may be a path that was mistyped."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when an operation has ended. `figures` are of metrics, each with its attributes."""

    attributes: Attributes = field(default_factory=dict)
    events: list[tuple[str, Attributes]] = field(default_factory=list)
    figures: list[tuple[str, float, Attributes]] = field(default_factory=list)


def facts_before(arguments: Arguments) -> Attributes:
    """What the arguments of any operation tell of where it works."""
    found: Attributes = {}
    session = _session(arguments)
    if session is not None:
        url = session.store.url
        found["dataver.store.protocol"] = url.partition("://")[0] if "://" in url else "file"
        with suppress(DataverError, OSError):  # The operation itself will tell.
            found["dataver.repository.id"] = session.repository
    return found


def facts_after(operation: str, arguments: Arguments, result: Any) -> Facts:
    """What the result tells, and the dataset that was named."""
    tell = _TELL.get(operation)
    found = Facts() if tell is None else tell(result, arguments)
    return Facts(_named(arguments) | found.attributes, found.events, found.figures)


def facts_failed(arguments: Arguments, error: BaseException) -> Facts:
    """What is said of an error: its class, the exit code that it leads to, and the dataset that was found."""
    named = _named(arguments) if isinstance(error, _OF_A_DATASET) else {}
    code = error.exit_code if isinstance(error, DataverError) else 1
    if isinstance(error, KeyboardInterrupt):
        code = INTERRUPTED
    name = type(error).__name__
    return Facts({**named, "error.type": name, "dataver.error.type": name, "dataver.exit_code": code})


def _session(arguments: Arguments) -> Session | None:
    found: Session | None = arguments.get("session")
    return getattr(_repository(arguments), "session", None) if found is None else found


def _repository(arguments: Arguments) -> Any:
    if "baseline" in arguments:
        side = arguments["baseline"]
        return getattr(getattr(side, "version", side), "repository", None)
    return arguments.get("self", arguments.get("repository"))


def _named(arguments: Arguments) -> Attributes:
    """The dataset that an operation was called with, where that is a name for one."""
    from dataver.refs import parse_ref

    for name in ("dataset", "ref", "text", "name"):
        given = arguments.get(name)
        if isinstance(given, str):
            with suppress(BadInputError):
                return {"dataver.dataset.name": parse_ref(given).dataset}
    return {}


def _resolved(found: Resolved, _arguments: Arguments) -> Facts:
    attributes = _version(found.name, found.version.number, str(found.version.id))
    return Facts(attributes, [("version.resolved", attributes)])


def _version(dataset: str, number: int, id: str) -> Attributes:
    name: Attributes = {"dataver.version.name": f"v{number}"} if number else {}
    return {"dataver.dataset.name": dataset, "dataver.version.id": id, **name}


def _told_version(dataset: str, selector: str, id: str) -> Attributes:
    """The same of a version by how a report names it: off main that is the id."""
    name: Attributes = {"dataver.version.name": selector} if len(selector) < len(id) else {}
    return {"dataver.dataset.name": dataset, "dataver.version.id": id, **name}


def _committed(result: CommitResult, _arguments: Arguments) -> Facts:
    made = result.created and result.dry_run is None
    version: Attributes = {"dataver.dataset.name": result.dataset}
    if result.id:
        version["dataver.version.id"] = result.id
    if result.version is not None:
        version["dataver.version.name"] = result.version
    saved = max(result.bytes - result.new_bytes, 0) if made else 0
    amounts: Attributes = {
        "dataver.version.files": result.files,
        "dataver.version.bytes": result.bytes,
        "dataver.bytes.new": result.new_bytes,
        "dataver.bytes.written": result.stored_bytes,
        "dataver.bytes.deduplicated": saved,
        "dataver.files.added": result.changed.added,
        "dataver.files.modified": result.changed.modified,
        "dataver.files.deleted": result.changed.deleted,
        "dataver.files.renamed": result.changed.renamed,
    }
    attributes = {
        **version,
        **amounts,
        "dataver.created": made,
        "dataver.dry_run": result.dry_run is not None,
    }
    if not made:
        return Facts(attributes)
    of: Attributes = {"dataver.dataset.name": result.dataset}
    figures = [
        ("dataver.bytes.written", float(result.stored_bytes), of),
        ("dataver.bytes.deduplicated", float(saved), of),
    ]
    return Facts(attributes, [("version.committed", {**version, **amounts})], figures)


def _checked_out(result: CheckoutResult, arguments: Arguments) -> Facts:
    found = arguments["resolved"]
    attributes: Attributes = {
        **_version(found.name, found.version.number, str(found.version.id)),
        "dataver.files.total": result.files,
        "dataver.bytes.total": result.bytes,
        "dataver.files.written": result.written_files,
        "dataver.bytes.written": result.written_bytes,
    }
    of: Attributes = {"dataver.dataset.name": found.name}
    return Facts(attributes, [], [("dataver.bytes.written", float(result.written_bytes), of)])


def _transferred(result: TransferResult, _arguments: Arguments) -> Facts:
    attributes: Attributes = {
        "dataver.versions.copied": result.versions,
        "dataver.objects.total": result.objects,
        "dataver.bytes.written": result.bytes,
    }
    return Facts(attributes, [], [("dataver.bytes.written", float(result.bytes), {})])


def _verified(report: Any, arguments: Arguments) -> Facts:
    return _compared(report, arguments) if "wanted" in arguments else _whole(report, arguments)


def _whole(report: VerifyReport, arguments: Arguments) -> Facts:
    attributes: Attributes = {
        "dataver.verify.copy": False,
        "dataver.verify.deep": bool(arguments.get("deep")),
        "dataver.verify.ok": report.ok,
        "dataver.verify.damaged": len(report.damaged),
        "dataver.objects.total": report.objects,
        "dataver.bytes.read": report.bytes,
    }
    return _checked(report.ok, attributes, _named(arguments))


def _compared(report: CopyReport, arguments: Arguments) -> Facts:
    """Of a copy of a version: what is missing, changed or too much is what a repository calls damaged."""
    extra = 0 if arguments.get("allow_extra") else len(report.extra)
    dataset, _, selector = report.ref.partition("@")
    attributes: Attributes = {
        **_told_version(dataset, selector, report.id),
        "dataver.verify.copy": True,
        "dataver.verify.deep": True,
        "dataver.verify.ok": report.ok,
        "dataver.verify.damaged": len(report.missing) + len(report.changed) + extra,
        "dataver.objects.total": report.files,
        "dataver.bytes.read": report.bytes,
    }
    repository = arguments["wanted"].repository
    if repository:
        attributes["dataver.repository.id"] = repository
    return _checked(report.ok, attributes, {"dataver.dataset.name": dataset})


def _checked(ok: bool, attributes: Attributes, of: Attributes) -> Facts:
    if ok:
        return Facts(attributes)
    failures = [("dataver.verify.failures", float(attributes["dataver.verify.damaged"]), of)]
    return Facts(attributes, [("verify.failed", {**of, **attributes})], failures)


def _repaired(report: RepairReport, _arguments: Arguments) -> Facts:
    return Facts(
        {
            "dataver.done": report.done,
            "dataver.repair.damaged": len(report.damaged),
            "dataver.repair.lost": len(report.lost),
        }
    )


def _collected(report: GcReport, _arguments: Arguments) -> Facts:
    return Facts(
        {
            "dataver.done": report.done,
            "dataver.gc.marked": report.marked,
            "dataver.gc.swept": report.swept,
            "dataver.bytes.freed": report.bytes,
        }
    )


def _pruned(report: PruneReport, arguments: Arguments) -> Facts:
    attributes: Attributes = {"dataver.done": report.done, "dataver.versions.pruned": len(report.pruned)}
    events = []
    if report.done and report.pruned:
        events.append(("version.deleted", {**_named(arguments), **attributes}))
    return Facts(attributes, events)


def _deleted(_nothing: None, arguments: Arguments) -> Facts:
    return Facts({}, [("version.deleted", _named(arguments))])


def _erased(report: EraseReport, _arguments: Arguments) -> Facts:
    attributes: Attributes = {
        "dataver.dataset.name": report.dataset,
        "dataver.done": report.done,
        "dataver.files.erased": len(report.files),
        "dataver.bytes.freed": report.bytes,
    }
    return Facts(attributes, [("file.erased", attributes)] if report.done else [])


def _audited(report: AuditReport, _arguments: Arguments) -> Facts:
    attributes: Attributes = {
        "dataver.audit.status": report.status,
        "dataver.audit.verified": report.verified,
        "dataver.audit.warnings": len(report.warnings),
        "dataver.audit.broken": len(report.broken),
    }
    if report.subject.model is not None:
        attributes["dataver.model.name"] = str(report.subject.model)
    if report.subject.run is not None:
        attributes["dataver.run.id"] = report.subject.run.id.hex()
    return Facts(attributes, [] if report else [("audit.failed", attributes)])


def _drifted(report: DriftReport, _arguments: Arguments) -> Facts:
    dataset, _, selector = report.target.name.partition(":")[0].partition("@")
    version = _told_version(dataset, selector, report.target.id)
    attributes: Attributes = {
        **version,
        "dataver.drift.baseline": report.baseline.id,
        "dataver.drift.exact": report.exact,
        "dataver.drift.columns_total": len(report.columns),
        "dataver.drift.columns_drifted": len(report.drifted),
    }
    figures = [("dataver.drift.columns_drifted", float(len(report.drifted)), version)]
    for (metric, column), measure in _worst(report).items():
        named: Attributes = {"dataver.column": column} if column else {}
        figures.append(
            (
                "dataver.drift.score",
                _figure(measure),
                {**version, **named, **_of(metric, measure), "dataver.drift.drifted": bool(measure.drifted)},
            )
        )
    return Facts(attributes, [("drift.detected", _detected(report, attributes))] if report else [], figures)


def _worst(report: DriftReport) -> dict[tuple[str, str], Measure]:
    """The figure of each metric and column; of each metric the worst, where columns may not be named."""
    named = columns_may_be_named()
    found: dict[tuple[str, str], Measure] = {}
    for column in report.columns:
        for measure in column.measures:
            key = measure.metric, column.column if named else ""
            if _finite(measure) and (key not in found or _badness(measure) > _badness(found[key])):
                found[key] = measure
    return found


def _detected(report: DriftReport, attributes: Attributes) -> Attributes:
    """The comparison, and the figure that is farthest over its threshold."""
    drifted = [m for column in report.columns for m in column.measures if m.drifted and _finite(m)]
    event = dict(attributes)
    if drifted:
        worst = max(drifted, key=_badness)
        event |= {**_of(worst.metric, worst), "dataver.drift.score": _figure(worst)}
    if columns_may_be_named():
        event["dataver.drift.columns"] = ", ".join(report.drifted)
    return event


def _badness(measure: Measure) -> tuple[bool, float, float]:
    """What puts figures in order: last those that are drift, of these the one farthest past its threshold.

    Statistics of a test cannot be compared, as each has its own distribution; their probabilities can.
    """
    from dataver.tables.criteria import is_distance

    over, under = _figure(measure), measure.threshold
    if measure.p_value is not None and not is_distance(measure.metric):
        over, under = measure.threshold, measure.p_value
    return bool(measure.drifted), over / under if under else math.inf, _figure(measure)


def _of(metric: str, measure: Measure) -> Attributes:
    return {"dataver.drift.metric": metric, "dataver.drift.threshold": float(measure.threshold)}


def _finite(measure: Measure) -> bool:
    return measure.value is not None and math.isfinite(measure.value)


def _figure(measure: Measure) -> float:
    assert measure.value is not None
    return float(measure.value)


_TELL: dict[str, Callable[[Any, Arguments], Facts]] = {
    "resolve": _resolved,
    "commit": _committed,
    "merge": _committed,
    "revert": _committed,
    "checkout": _checked_out,
    "push": _transferred,
    "pull": _transferred,
    "verify": _verified,
    "repair": _repaired,
    "gc": _collected,
    "prune": _pruned,
    "erase": _erased,
    "delete": _deleted,
    "drift": _drifted,
    "audit": _audited,
}
