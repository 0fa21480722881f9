"""What is said of a run that ended, and of each version that it read or made and each model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataver.integrations.telemetry.facts import Attributes, Facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataver.format.run_record import RunInput, RunOutput, RunRecord
    from dataver.running import Run

__all__ = ["run_ended", "run_started"]


def run_started(run: Run) -> Attributes:
    """What is known at the start. The name waits for the record, in which secrets are masked."""
    return {"dataver.run.id": run.id}


def run_ended(run: Run) -> Facts:
    """What its record says."""
    record = run.record
    if record is None:
        return Facts()
    of = _run(record)
    attributes: Attributes = {
        **of,
        "dataver.run.status": record.status,
        "dataver.run.inputs": len(record.inputs),
        "dataver.run.outputs": len(record.outputs),
        "dataver.run.models": len(record.models),
    }
    if record.exit_code is not None:
        attributes["process.exit.code"] = record.exit_code
    if record.code is not None and record.code.commit:
        attributes["vcs.ref.head.revision"] = record.code.commit
    return Facts(attributes, [*_edges(run, record, of), ("run.ended", attributes)])


def _run(record: RunRecord) -> Attributes:
    """The run, by all its names."""
    found: Attributes = {"dataver.run.id": record.run, "dataver.run.name": record.name}
    for tracker in record.trackers[:1]:
        found |= {"dataver.run.tracker": tracker.kind, "dataver.run.tracker.id": tracker.run_id}
    return found


def _edges(run: Run, record: RunRecord, of: Attributes) -> Iterator[tuple[str, Attributes]]:
    """The lineage: what it read, and what it made."""
    for read in record.inputs:
        yield "run.input", {**of, **_version(read), "dataver.role": read.role}
    for made in record.outputs:
        yield "run.output", {**of, **_version(made)}
    numbered = {
        model.name: iter([one for one in run.models if one.name == model.name]) for model in record.models
    }
    for model in record.models:
        # A run that waits to be recorded has no numbers yet.
        name = str(next(numbered[model.name], model.name))
        yield "model.logged", {**of, "dataver.model.name": name, "dataver.model.tree": model.tree}


def _version(version: RunInput | RunOutput) -> Attributes:
    name: Attributes = {"dataver.version.name": f"v{version.number}"} if version.number else {}
    return {
        "dataver.repository.id": version.repository,
        "dataver.dataset.name": version.dataset,
        "dataver.version.id": version.version,
        **name,
    }
