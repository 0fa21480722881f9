"""An audit as sections of a page: what the terminal and the HTML page both show, in the same words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from dataver.history import to_time
from dataver.lineage.audit import TRACED, AuditReport
from dataver.lineage.audit_data import Input
from dataver.lineage.graph_text import tree
from dataver.results import Json
from dataver.values import dataclass

__all__ = ["Section", "sections", "verdict"]

SHOWN = 12
"""So many parameters, lines of lineage and the like are shown; JSON has all."""
DIGITS = 12


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and rows of cells. `state` is `good`, `bad` or nothing, for each row."""

    title: str
    rows: list[tuple[str, ...]]
    states: list[str]


def sections(report: AuditReport) -> Iterator[Section]:
    """All sections that have something to say, in the order of the page."""
    made: list[tuple[str, Iterator[tuple[tuple[str, ...], str]]]] = [
        ("MODEL", _model(report)),
        ("RUN", _plain(_run(report))),
        ("CODE", _plain(_code(report))),
        ("ENV", _plain(_environment(report))),
        ("PARAMS", _plain(_values(report.record.params if report.record else {}))),
        ("METRICS", _plain(_values(report.record.metrics if report.record else {}))),
        ("DATA", _data(report)),
        ("OVERLAP", _overlap(report)),
        ("LINEAGE", _plain(_lineage(report))),
        ("USED BY", _plain(_others(report))),
        ("DRIFT", _plain(_drift(report))),
        ("EVIDENCE", _evidence(report)),
        ("BROKEN", (((path, reason), "bad") for path, reason in report.broken)),
        ("TRIED", _plain((reason,) for reason in report.subject.tried if report.status != TRACED)),
        ("WARNINGS", _plain((warning,) for warning in report.warnings)),
        ("VERDICT", iter([((verdict(report),), "good" if report else "bad")])),
    ]
    for title, rows in made:
        found = list(rows)
        if found:
            yield Section(title, [cells for cells, _ in found], [state for _, state in found])


def verdict(report: AuditReport) -> str:
    """One line: what came of it."""
    words = report.status.upper()
    if report:
        words += (
            ", every byte of the data verified" if report.verified else ", bytes not read (--verify does)"
        )
    counts = []
    if report.broken:
        counts.append(f"{len(report.broken)} broken")
    counts.append(f"{len(report.warnings)} warning" + ("" if len(report.warnings) == 1 else "s"))
    return f"{words}: {', '.join(counts)}"


def _plain(rows: Iterator[tuple[str, ...]]) -> Iterator[tuple[tuple[str, ...], str]]:
    return ((row, "") for row in rows)


def _short(digest: str | None) -> str:
    return f"{digest[:DIGITS]}…" if digest else "-"


def _model(report: AuditReport) -> Iterator[tuple[tuple[str, ...], str]]:
    recorded, subject = report.recorded, report.subject
    files = ""
    if recorded is not None:
        files = f"{len(recorded.files):,} file" + ("" if len(recorded.files) == 1 else "s")
    tree_digest = f"tree {_short(recorded.tree)}" if recorded is not None else ""
    cells = (report.name, tree_digest, files, report.status.upper())
    yield tuple(filter(None, cells)), "good" if report else "bad"
    if subject.found_by:
        yield (f"found by {subject.found_by}" + (f" at {subject.local.path}" if subject.local else ""),), ""
    if recorded is not None and recorded.uri:
        yield (f"at {recorded.uri}",), ""


def _run(report: AuditReport) -> Iterator[tuple[str, ...]]:
    record = report.record
    if record is None:
        return
    started = _time(record.started_us)
    ended = "not recorded" if record.ended_us is None else _time(record.ended_us)
    yield f"run:{record.run}", record.name, record.status, f"{started} -> {ended}", f"by {record.author}"
    if record.command:
        yield (f"command {json.dumps(list(record.command), ensure_ascii=False)}",)
    if record.process.host:
        yield (f"host {record.process.host}",)
    for tracker in record.trackers:
        yield (f"{tracker.kind} {tracker.run_id}", tracker.uri, tracker.experiment)
    if record.parent:
        yield (f"started by run:{record.parent}",)
    if record.reproduces:
        yield (f"repeats run:{record.reproduces}",)


def _time(time_us: int) -> str:
    return f"{to_time(time_us):%Y-%m-%d %H:%M:%SZ}"


def _code(report: AuditReport) -> Iterator[tuple[str, ...]]:
    code = report.record.code if report.record is not None else None
    if code is None or not code.commit:
        if report.record is not None:
            yield (code.reason if code is not None and code.reason else "not known",)
        return
    branch = f"({code.branch})" if code.branch else ""
    dirty = (
        "DIRTY, patch " + ("not kept" if code.patch is None else _short(code.patch))
        if code.dirty
        else "clean"
    )
    yield tuple(filter(None, ("git", code.url, code.commit, branch, dirty + " masked" * code.masked)))
    if code.folder:
        yield (f"in {code.folder}",)


def _environment(report: AuditReport) -> Iterator[tuple[str, ...]]:
    found = report.record.environment if report.record is not None else None
    if found is None:
        return
    yield tuple(filter(None, (f"python {found.python}", found.implementation, found.platform)))
    for lock in found.locks:
        yield (f"{lock.path} {_short(lock.digest)}",)
    if found.packages is not None:
        yield (f"packages {_short(found.packages)}",)
    yield from _values(found.hardware)
    if report.record is not None and report.record.seeds:
        yield ("seeds " + " ".join(f"{key}={value}" for key, value in sorted(report.record.seeds.items())),)


def _values(values: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    items = sorted(values.items())
    if items:
        shown = [f"{key}={_value(value)}" for key, value in items[:SHOWN]]
        more = f" (+{len(items) - SHOWN})" if len(items) > SHOWN else ""
        yield ("  ".join(shown) + more,)


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _data(report: AuditReport) -> Iterator[tuple[tuple[str, ...], str]]:
    if report.inputs:
        yield ("role", "version", "digest", "files", "rows", "checked"), "head"
    for found in report.inputs:
        bad = bool(found.broken)
        yield _input_row(found), "bad" if bad else ("good" if found.verified else "")


def _input_row(found: Input) -> tuple[str, ...]:
    place = found.place
    state = None if place is None else place.known.version_state(found.node)
    files = f"{state.files:,}" if state is not None else "-"
    rows = f"{found.rows:,}" if found.rows is not None else "-"
    if found.broken:
        checked = "BROKEN"
    elif found.verified:
        checked = "every byte verified"
    else:
        checked = "here" if found.node.state == "here" else found.node.state
    return found.claim.role or "-", found.name, _short(found.node.version.hex()), files, rows, checked


def _overlap(report: AuditReport) -> Iterator[tuple[tuple[str, ...], str]]:
    for pair in report.overlaps:
        if "a" not in pair:
            yield (pair["reason"],), ""
            continue
        names = f"{pair['a']} ({pair['a_role']}) and {pair['b']} ({pair['b_role']})"
        yield (names, _overlap_words(pair)), "bad" if pair["overlap"] else ""


def _overlap_words(pair: Json) -> str:
    if pair["overlap"] is None:
        return f"not known: {pair['reason']}"
    if pair["reason"]:
        return str(pair["reason"])
    if pair.get("rows"):
        rows = pair["rows"]
        counts = f"{rows['a_shared']:,} and {rows['b_shared']:,} rows"
        return f"{counts} whose key the other has ({', '.join(rows['key'])})"
    chunks = pair.get("chunks") or {"a_shared_bytes": 0}
    return f"{len(pair.get('files') or ()):,} equal files, {chunks['a_shared_bytes']:,} shared bytes"


def _lineage(report: AuditReport) -> Iterator[tuple[str, ...]]:
    if report.lineage is None:
        return
    lines = list(tree(report.lineage, up=True))
    for line in lines[:SHOWN]:
        again = "  (see above)" if line.again else ""
        yield (f"{'  ' * line.depth}{line.words} {line.title}  {line.rest}{again}".rstrip(),)
    if len(lines) > SHOWN or not report.lineage.complete:
        yield (f"… and more; `dataver lineage {report.name} --up` shows it",)


def _others(report: AuditReport) -> Iterator[tuple[str, ...]]:
    others = report.others
    if others.get("runs"):
        models = ", ".join(others["models"]) + ("" if others["complete"] else " …")
        yield f"{others['runs']:,} other runs read these versions", models or "no models of theirs"


def _drift(report: AuditReport) -> Iterator[tuple[str, ...]]:
    for found in report.drift:
        behind = found["behind"]
        if behind == 0:
            yield found["node"], "is the head"
            continue
        where = f"{behind} behind head {found['head']}" if behind else f"head is {found['head']}"
        if found["drift"] is None:
            yield found["node"], where, f"not known: {found['reason']}"
        elif found["drift"]:
            yield found["node"], where, f"drifted since: {', '.join(found['drifted'])}"
        else:
            yield found["node"], where, f"none of {found['columns']} columns drifted since"


def _evidence(report: AuditReport) -> Iterator[tuple[tuple[str, ...], str]]:
    words = {True: "agrees", False: "DISAGREES", None: "-"}
    states = {True: "good", False: "bad", None: ""}
    for one in report.evidence:
        yield (one.source, words[one.agrees], one.detail), states[one.agrees]
