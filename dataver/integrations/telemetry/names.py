"""Everything that telemetry sends, by name: nothing that is not here leaves the process.

The page docs/reference/telemetry.md is made from this, and a test compares it with what was sent.
"""

from __future__ import annotations

__all__ = ["ATTRIBUTES", "EVENTS", "METRICS", "OPERATIONS", "RESOURCE", "SCOPE", "event_name", "span_name"]

SCOPE = "dataver"
"""The name of the instrumentation scope."""

OPERATIONS = {
    "command": "a verb of the command line; what it does lies within it",
    "resolve": "a name, as iris@prod, is looked up to be read",
    "commit": "a version is made",
    "merge": "another line's changes are brought on top of a branch",
    "revert": "an old version's files become a new version",
    "checkout": "a version's files are written",
    "push": "versions are copied to another repository",
    "pull": "versions are copied from another repository",
    "verify": "objects are checked, or a copy is compared with its version",
    "repair": "what is damaged is mended",
    "gc": "what nothing refers to is collected",
    "prune": "old versions are let go",
    "erase": "the bytes of a file are erased",
    "delete": "a dataset is deleted",
    "drift": "the columns of two versions are compared",
    "audit": "a model is traced to its data",
    "run": "an experiment run, from its start to its end",
}
"""Operation -> when there is a span `dataver.<operation>`."""

METRICS = {
    "dataver.operation.duration": ("histogram", "s", "how long an operation took"),
    "dataver.bytes.written": ("counter", "By", "what was written: to the store, or to disk by a checkout"),
    "dataver.bytes.deduplicated": ("counter", "By", "what a version has and the repository had already"),
    "dataver.verify.failures": ("counter", "{object}", "what was found damaged, or to differ in a copy"),
    "dataver.drift.score": ("gauge", "1", "a figure of drift: of each column, or else the worst of all"),
    "dataver.drift.columns_drifted": ("gauge", "{column}", "columns that drifted"),
}
"""Metric -> its kind, unit and meaning."""

EVENTS = {
    "version.committed": "a version was made, by a commit, a merge, a revert or an import",
    "version.resolved": "a version was looked up to be read",
    "run.input": "a run that ended had read a version: one event for each",
    "run.output": "a run that ended had made a version: one event for each",
    "run.ended": "a run ended",
    "model.logged": "a run that ended had made a model: one event for each",
    "verify.failed": "a check found damage, or a copy that is not what its version has",
    "drift.detected": "a comparison found columns that drifted",
    "audit.failed": "a model could not be traced to its data, or these are missing or changed",
    "version.deleted": "versions were pruned, or a dataset was deleted",
    "file.erased": "the bytes of files were erased for good",
    "telemetry.check": "`dataver telemetry check` was called",
}
"""Event, without `dataver.` -> when it is sent."""

ATTRIBUTES = {
    "dataver.command": ("text", "the verb, as commit or telemetry check"),
    "dataver.operation": ("text", "the operation, on metrics"),
    "dataver.exit_code": ("number", "the exit code of the command, or of the error"),
    "error.type": ("text", "the class of the error; its message is never sent"),
    "dataver.error.type": ("text", "the same: Azure Monitor's exporter leaves error.type out of spans"),
    "dataver.repository.id": ("text", "the repository's id"),
    "dataver.store.protocol": ("text", "how the store is reached, as file or az; never its URL"),
    "dataver.dataset.name": ("text", "the dataset"),
    "dataver.version.id": ("text", "the version's id, 64 hex digits"),
    "dataver.version.name": ("text", "its number on main, as v3"),
    "dataver.version.files": ("number", "how many files it has"),
    "dataver.version.bytes": ("number", "how large these are"),
    "dataver.created": ("yes or no", "whether a version was made"),
    "dataver.dry_run": ("yes or no", "whether it was a forecast only"),
    "dataver.done": ("yes or no", "whether it was done, and not only reported"),
    "dataver.files.added": ("number", "files that the version adds to its parent"),
    "dataver.files.modified": ("number", "files that it changes"),
    "dataver.files.deleted": ("number", "files that it lacks"),
    "dataver.files.renamed": ("number", "files that it has under another name"),
    "dataver.files.total": ("number", "files of a checkout"),
    "dataver.files.written": ("number", "those of them that were written"),
    "dataver.files.erased": ("number", "files whose bytes were erased"),
    "dataver.bytes.total": ("number", "bytes of a checkout"),
    "dataver.bytes.new": ("number", "plain bytes that the repository did not have"),
    "dataver.bytes.written": ("number", "bytes that were written: stored, copied, or checked out"),
    "dataver.bytes.deduplicated": ("number", "plain bytes that the repository had already"),
    "dataver.bytes.read": ("number", "bytes that a check read"),
    "dataver.bytes.freed": ("number", "bytes that are free again, or would be"),
    "dataver.objects.total": ("number", "objects that were looked at or copied"),
    "dataver.versions.copied": ("number", "versions that are new in the other repository"),
    "dataver.versions.pruned": ("number", "versions that were let go"),
    "dataver.gc.marked": ("number", "packs that were marked"),
    "dataver.gc.swept": ("number", "packs that were deleted"),
    "dataver.verify.copy": ("yes or no", "whether that was a copy of a version's files"),
    "dataver.verify.deep": ("yes or no", "whether every byte was read"),
    "dataver.verify.ok": ("yes or no", "whether all was whole"),
    "dataver.verify.damaged": (
        "number",
        "damaged objects; files that a copy lacks, has otherwise or too many",
    ),
    "dataver.repair.damaged": ("number", "objects that were found damaged"),
    "dataver.repair.lost": ("number", "those that no place had"),
    "dataver.drift.baseline": ("text", "the id of the version that was compared with"),
    "dataver.drift.exact": ("yes or no", "whether rows were read"),
    "dataver.drift.columns_total": ("number", "columns that were compared"),
    "dataver.drift.columns_drifted": ("number", "columns that drifted"),
    "dataver.drift.metric": ("text", "the measure, by Azure ML's name"),
    "dataver.drift.score": ("number", "its figure; of an event, the one farthest past its threshold"),
    "dataver.drift.threshold": ("number", "what it is compared with, or of a test its probability"),
    "dataver.drift.drifted": ("yes or no", "whether that is drift"),
    "dataver.column": ("text", "a column's name: only with DATAVER_TELEMETRY_COLUMNS=1"),
    "dataver.drift.columns": ("text", "the columns that drifted: only with DATAVER_TELEMETRY_COLUMNS=1"),
    "dataver.audit.status": ("text", "traced, not traceable or broken"),
    "dataver.audit.verified": ("yes or no", "whether every byte of the data was read and is right"),
    "dataver.audit.warnings": ("number", "warnings of the audit"),
    "dataver.audit.broken": ("number", "what is missing or changed"),
    "dataver.model.name": ("text", "a model, as churn@v2"),
    "dataver.model.tree": ("text", "the digest of a model's files"),
    "dataver.run.id": ("text", "the run that was on, or that ended"),
    "dataver.run.name": ("text", "its name; what looks like a secret is masked"),
    "dataver.run.status": ("text", "done, failed or cancelled"),
    "dataver.run.inputs": ("number", "versions that it read"),
    "dataver.run.outputs": ("number", "versions that it made"),
    "dataver.run.models": ("number", "models that it made"),
    "dataver.run.tracker": ("text", "a tracker that knows it, as mlflow"),
    "dataver.run.tracker.id": ("text", "what it is called there"),
    "dataver.role": ("text", "what a run read a version as: training, validation …"),
    "vcs.ref.head.revision": ("text", "the commit of the code of a run"),
    "process.exit.code": ("number", "the exit code of the command that a run was"),
    "microsoft.custom_event.name": ("text", "an event's name once more, for Application Insights"),
}
"""Attribute -> its kind and meaning."""

RESOURCE = {
    "service.name": "dataver, or OTEL_SERVICE_NAME",
    "service.version": "the release of dataver",
    "service.instance.id": "one for each process; for Application Insights the name of the machine",
    "host.name": "the name of the machine",
    "telemetry.sdk.language": "python",
    "telemetry.sdk.name": "opentelemetry",
    "telemetry.sdk.version": "the release of its SDK",
}
"""What the command line says of itself with all of it; OTEL_RESOURCE_ATTRIBUTES adds more."""


def span_name(operation: str) -> str:
    """The name of an operation's span."""
    assert operation in OPERATIONS, operation
    return f"dataver.{operation}"


def event_name(event: str) -> str:
    """The whole name of an event."""
    assert event in EVENTS, event
    return f"dataver.{event}"
