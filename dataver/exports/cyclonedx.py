"""CycloneDX 1.6, an ML-BOM: a model with its data, its packages and its run; or a version with its files.

What CycloneDX has no place for is a property whose name begins with `dataver:`. Hashes are those of plain
bytes, as `b3sum` prints them; the id and the tree of a version are properties, being no hashes of a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dataver.errors import BadInputError, PathNotFoundError
from dataver.exports.facts import (
    VersionFacts,
    facts_of,
    facts_of_input,
    filled,
    git_url,
    iri,
    masked,
    named_uuid,
    plain_text,
)
from dataver.history import to_time
from dataver.results import FileEntry, Json, rfc3339

if TYPE_CHECKING:
    from dataver.format.run_record import RunRecord
    from dataver.lineage.audit import AuditReport
    from dataver.lineage.audit_data import Input
    from dataver.version import Version

__all__ = ["SPDX_LICENCES", "bom_of_audit", "bom_of_version", "spdx_id"]

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
SPDX_LICENCES = frozenset((
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "C-UDA-1.0", "CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0",
    "CC-BY-4.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-3.0",
    "CC-BY-NC-SA-4.0", "CC-BY-ND-3.0", "CC-BY-ND-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-PDDC", "CC0-1.0",
    "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0", "DL-DE-BY-2.0", "DL-DE-ZERO-2.0",
    "etalab-2.0", "EUPL-1.2", "GFDL-1.3-only", "GPL-2.0-only", "GPL-3.0-only", "GPL-3.0-or-later", "ISC",
    "MIT", "MPL-2.0", "NLOD-1.0", "NLOD-2.0", "O-UDA-1.0", "ODbL-1.0", "ODC-By-1.0", "OGL-UK-2.0",
    "OGL-UK-3.0", "PDDL-1.0", "Unlicense",
))  # fmt: skip
"""Licences of data and of code whose ids are told as such; any other is told by its name."""
_BY_LOWER = {licence.lower(): licence for licence in SPDX_LICENCES}


def bom_of_version(version: Version) -> Json:
    """The data of one version, as the subject, with its files."""
    facts = facts_of(version)
    subject = _data(facts, f"version:{facts.id}")
    files = [
        _file(version, entry, f"file:{number}")
        for number, entry in enumerate(version.files())
        if entry.kind != "folder"
    ]
    dependencies = [{"ref": subject["bom-ref"], "dependsOn": [file["bom-ref"] for file in files]}]
    return _bom(facts.time, subject, files, dependencies, [], facts.id, subject["name"])


def _file(version: Version, entry: FileEntry, reference: str) -> Json:
    """One of its files. A symlink has the bytes that it leads to, and none where that is no file."""
    size: int | None = entry.size
    digest = entry.digest
    if entry.kind == "symlink":
        size, digest = None, ""
        with suppress(BadInputError, PathNotFoundError):
            found = version.entry(entry.path)
            size, digest = found.size, found.digest.hex()
    return filled(
        {
            "type": "file",
            "bom-ref": reference,
            "name": entry.path,
            "hashes": [{"alg": "BLAKE3", "content": digest}] if digest else [],
            "properties": _properties({"size": size, "kind": entry.kind}),
        }
    )


def bom_of_audit(report: AuditReport) -> Json:
    """The model of an audit, or its run where that made none or several, with all it was made of."""
    record = report.record
    assert record is not None
    ended = record.started_us if record.ended_us is None else record.ended_us
    data = [_input(found, number) for number, found in enumerate(report.inputs)]
    packages = list(_packages(report, record))
    subject = _model(report, record, data)
    parts = [one["bom-ref"] for one in (*data, *packages)]
    dependencies = [{"ref": subject["bom-ref"], "dependsOn": parts}]
    return _bom(
        rfc3339(to_time(ended)), subject, [*data, *packages], dependencies,
        [_formula(record, data, subject)], record.run, subject["name"],
    )  # fmt: skip


def _bom(
    time: str,
    subject: Json,
    components: list[Json],
    dependencies: list[Json],
    formulation: list[Json],
    *names: str,
) -> Json:
    return filled(
        {
            "$schema": SCHEMA,
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": f"urn:uuid:{named_uuid('cyclonedx', *names)}",
            "version": 1,
            "metadata": {
                "timestamp": time,
                "tools": {"components": [{"type": "application", "name": "dataver"}]},
                "component": subject,
            },
            "components": components,
            "dependencies": dependencies,
            "formulation": formulation,
        }
    )


def _properties(values: Mapping[str, Any]) -> list[Json]:
    """What is not empty, each under a name that begins with `dataver:`."""
    return [
        {"name": f"dataver:{name}", "value": plain_text(value)}
        for name, value in values.items()
        if value is not None and value != ""
    ]


# Data


def _input(found: Input, number: int) -> Json:
    """What the run read: a version or a part of one, in a role."""
    facts = facts_of_input(found)
    component = _data(facts, f"data:{number}")
    split = found.claim.split or {}
    component["properties"] += _properties(
        {
            "role": found.claim.role,
            "ref": found.claim.ref,
            "part": found.part,
            "split": split.get("digest"),
            "rows": split.get("rows"),
        }
    )
    return component


def _data(facts: VersionFacts, reference: str) -> Json:
    owner, licence = facts.field("owner"), facts.licence
    contents: Json = {"type": "dataset", "name": facts.name, "contents": {"url": facts.url}}
    contents |= filled(
        {
            "classification": facts.field("sensitivity"),
            "sensitiveData": [text] if (text := facts.field("personal_data")) else [],
            "description": facts.description,
            "governance": {"owners": [{"organization": {"name": owner}}]} if owner else {},
        }
    )
    ancestors = [
        {"type": "data", "name": facts.dataset, "properties": _properties({"version:id": parent})}
        for parent in facts.parents
    ]
    ancestors += [
        {
            "type": "data",
            "name": each.dataset,
            "properties": _properties({
                "version:id": each.id, "version:tree": each.tree, "repository": each.repository,
            }),
        }
        for each in facts.derived_from
    ]  # fmt: skip
    return filled(
        {
            "type": "data",
            "bom-ref": reference,
            "name": facts.dataset,
            "version": facts.label or facts.id,
            "description": facts.description,
            "licenses": [{"license": _licence(licence)}] if licence else [],
            "authors": [{"name": facts.author}] if facts.author else [],
            "externalReferences": list(_references(facts)),
            "pedigree": {"ancestors": ancestors} if ancestors else {},
            "data": [contents],
            "properties": _properties(
                {
                    "repository": facts.repository,
                    "version:id": facts.id,
                    "version:tree": facts.tree,
                    "version:time": facts.time,
                    "version:message": facts.message,
                    "files": facts.files,
                    "bytes": facts.bytes,
                    **{f"card:{name}": facts.field(name) for name in facts.written.fields},
                }
            ),
        }
    )


def spdx_id(text: str) -> str | None:
    """The id of a licence that SPDX knows; None for any other text."""
    return _BY_LOWER.get(text.strip().lower())


def _licence(text: str) -> Json:
    found = spdx_id(text)
    return {"id": found} if found else {"name": text.strip()}


def _references(facts: VersionFacts) -> Iterator[Json]:
    for source in facts.sources:
        url = iri(source.url)
        if url:
            said = {name: value for name, value in source.to_json().items() if value and name != "url"}
            comment = "; ".join(f"{name}: {masked(value)}" for name, value in said.items())
            hashes = []
            kind, _, digest = source.digest.partition(":")
            if digest:
                hashes = [{"alg": "SHA-256" if kind == "sha256" else "BLAKE3", "content": digest}]
            yield filled({"type": "source-distribution", "url": url, "comment": comment, "hashes": hashes})
    website = iri(facts.other("url", "homepage", "website"))
    if website:
        yield {"type": "website", "url": website}


# The model and its run


def _model(report: AuditReport, record: RunRecord, data: Iterable[Json]) -> Json:
    model, recorded = report.subject.model, report.recorded
    card = {
        "modelParameters": {"datasets": [{"ref": one["bom-ref"]} for one in data]},
        "quantitativeAnalysis": {
            "performanceMetrics": [
                {"type": name, "value": plain_text(value)} for name, value in sorted(record.metrics.items())
            ]
        },
        "properties": _properties({f"param:{name}": value for name, value in sorted(record.params.items())}),
    }
    uri = "" if recorded is None else recorded.uri
    files = [] if recorded is None else recorded.files
    return filled(
        {
            "type": "machine-learning-model",
            "bom-ref": f"model:{model}" if model is not None else f"models-of:{record.run}",
            "name": model.name if model is not None else record.name,
            "version": f"v{model.number}" if model is not None else record.run,
            "authors": [{"name": record.author}],
            "externalReferences": [{"type": "distribution", "url": iri(uri)}] if iri(uri) else [],
            "modelCard": card,
            "components": [
                {
                    "type": "file",
                    "name": file.path,
                    "hashes": [{"alg": "BLAKE3", "content": file.digest}],
                    "properties": _properties({"size": file.size}),
                }
                for file in files
            ],
            "properties": _properties(
                {
                    "run": record.run,
                    "repository": report.place.repository.id,
                    "model:tree": None if recorded is None else recorded.tree,
                    "model:uri": uri,
                    **(
                        {}
                        if recorded is None
                        else {f"model:{key}": value for key, value in recorded.meta.items()}
                    ),
                }
            ),
        }
    )


def _packages(report: AuditReport, record: RunRecord) -> Iterator[Json]:
    """The packages of the environment, each with its package URL."""
    environment = record.environment
    if environment is None or environment.packages is None:
        return
    listed = report.place.known.records.part(environment.packages).decode("utf-8", "replace")
    for line in dict.fromkeys(listed.splitlines()):
        name, _, version = line.partition("==")
        if name:
            purl = f"pkg:pypi/{_purl(name.lower().replace('_', '-'))}"
            purl += f"@{_purl(version)}" if version else ""
            yield filled({
                "type": "library", "bom-ref": f"package:{line}",
                "name": name, "version": version, "purl": purl,
            })  # fmt: skip


def _purl(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


def _formula(record: RunRecord, data: Iterable[Json], subject: Json) -> Json:
    """The run, as the workflow that the model came of."""
    environment, code = record.environment, record.code
    workflow = filled({
        "bom-ref": f"run:{record.run}",
        "uid": record.run,
        "name": record.name,
        "taskTypes": ["other"],
        "timeStart": rfc3339(to_time(record.started_us)),
        "timeEnd": "" if record.ended_us is None else rfc3339(to_time(record.ended_us)),
        "inputs": [{"resource": {"ref": one["bom-ref"]}} for one in data],
        "outputs": [{"type": "artifact", "resource": {"ref": subject["bom-ref"]}}],
        "resourceReferences": list(_code_references(record)),
        "properties": _properties({
            "status": record.status,
            "author": record.author,
            "command": list(record.command) or None,
            "exit_code": record.exit_code,
            "reason": record.reason,
            **{f"seed:{name}": value for name, value in sorted(record.seeds.items())},
            **({} if code is None else {
                "code:commit": code.commit, "code:branch": code.branch, "code:dirty": code.dirty,
                "code:patch": code.patch,
            }),
            **({} if environment is None else {
                "python": environment.python, "implementation": environment.implementation,
                "platform": environment.platform, "hardware": dict(environment.hardware) or None,
            }),
            **{f"tracker:{tracker.kind}": tracker.run_id for tracker in record.trackers},
        }),
    })  # fmt: skip
    return {"bom-ref": f"formula:{record.run}", "workflows": [workflow]}


def _code_references(record: RunRecord) -> Iterator[Json]:
    code = record.code
    url = "" if code is None else git_url(code.url)
    if code is not None and url:
        comment = f"commit {code.commit}" + (", with changes that were in no commit" if code.dirty else "")
        yield {"externalReference": {"type": "vcs", "url": url, "comment": comment}}
