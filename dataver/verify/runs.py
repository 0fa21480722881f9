"""Runs: their records, the parts that these name, and the models that name them.

What harms a run is told as harm to the dataset `run:<id>`, what harms a model as harm to a version of the
dataset `model:<name>`; no dataset can have such a name.
"""

from __future__ import annotations

from concurrent.futures import Executor
from itertools import chain

from dataver.digest import Digest
from dataver.errors import DamagedError, NewerFormatError
from dataver.format.run_record import RunRecord, decode_run
from dataver.hashing import Kind
from dataver.keys import entry_key
from dataver.log.run_state import ModelState, RunState, models, runs
from dataver.log.state import State
from dataver.results import Harm
from dataver.verify.findings import Findings, plain
from dataver.verify.metadata import Culprits, Metadata
from dataver.verify.workers import in_order

RECORDS_IN_FLIGHT = 64


def check_runs(state: State, metadata: Metadata, findings: Findings, pool: Executor, *, deep: bool) -> None:
    """Check every run and model; `deep` reads and compares the parts as well."""
    known: set[bytes] = set()

    def check(run: RunState) -> Culprits:
        return _check_run(run, metadata, deep)

    every = list(runs(state))
    for run, culprits in zip(every, in_order(pool, check, every, RECORDS_IN_FLIGHT), strict=True):
        known.add(run.id)
        for culprit in culprits:
            findings.add_harm(culprit, Harm(f"run:{run.id.hex()}", None, None))
    for model in models(state):
        harm = Harm(f"model:{model.name}", f"v{model.number}", None)
        if model.run not in known:
            reason = f"model {model} was made by run {model.run.hex()}, which the log does not have"
            findings.add(entry_key(state.number), reason, harm)
        for culprit in _check_model(model, metadata):
            findings.add_harm(culprit, harm)


def _check_run(run: RunState, metadata: Metadata, deep: bool) -> Culprits:
    """Who damages the records of a run, or what they name."""
    found: list[Culprits] = []
    waiting = [digest for digest in (run.start, run.end) if digest is not None]
    seen: set[bytes] = set()
    while waiting:
        digest = waiting.pop()
        if digest in seen:
            continue
        seen.add(digest)
        record, culprits = _record(digest, metadata)
        found.append(culprits)
        if record is None:
            continue
        if record.run != run.id.hex():
            found.append((metadata.fault(digest, f"run record {digest} is of another run, {record.run}"),))
        if record.amends:
            waiting.append(Digest.parse(record.amends))
        for part in record.parts():
            read = metadata.record(Kind.RUN_PART, part)[1] if deep else metadata.present(Kind.RUN_PART, part)
            found.append(read)
    return tuple(dict.fromkeys(chain.from_iterable(found)))


def _check_model(model: ModelState, metadata: Metadata) -> Culprits:
    record, culprits = _record(model.record, metadata)
    if record is not None and all(made.name != model.name for made in record.models):
        return (metadata.fault(model.record, f"run record {model.record} names no model {model.name}"),)
    return culprits


def _record(digest: Digest, metadata: Metadata) -> tuple[RunRecord | None, Culprits]:
    data, culprits = metadata.record(Kind.RUN, digest)
    if culprits:
        return None, culprits
    try:
        return decode_run(data, f"run record {digest}"), ()
    except (DamagedError, NewerFormatError) as error:
        return None, (metadata.fault(digest, plain(error)),)
