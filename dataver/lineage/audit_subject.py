"""What an audit is of: a model, its run and its files, found from whatever names it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import field

from dataver.errors import (
    BadInputError,
    MissingExtraError,
    NotFoundError,
    PathNotFoundError,
    RefNotFoundError,
)
from dataver.format.run_record import RunModel, RunRecord
from dataver.lineage.known import Known
from dataver.lineage.local_model import LocalModel, local_model
from dataver.lineage.model_link import ModelLink, has_link, read_link
from dataver.lineage.nodes import ExternalNode, external_node
from dataver.lineage.records import MODEL_PREFIX, RUN_PREFIX, find_model, find_run
from dataver.log.run_state import ModelState, RunState, models_of_run, models_with, run_named
from dataver.paths import safe_spelling
from dataver.values import dataclass

__all__ = ["Subject", "find_subject"]


@dataclass(slots=True)
class Subject:
    """What was found. `tried` says, step by step, where it was looked; `found_by` what led to it.

    Without a run there is no record here, and what the files or the tracker say is all there is.
    """

    asked: str
    found_by: str = ""
    run: RunState | None = None
    model: ModelState | None = None
    local: LocalModel | None = None
    link: ModelLink | None = None
    external: ExternalNode | None = None
    tried: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def recorded(self, record: RunRecord, known: Known) -> RunModel | None:
        """What the run's record says of the model: its versions are numbered in the order of the record."""
        if self.model is None:
            return record.models[0] if len(record.models) == 1 else None
        name = self.model.name
        numbers = sorted(
            model.number for model in models_of_run(known.state, self.model.run) if model.name == name
        )
        same = [model for model in record.models if model.name == name]
        at = numbers.index(self.model.number)
        return same[at] if at < len(same) else None


def find_subject(known: Known, text: str) -> Subject:
    """The subject of an audit. Without a run, a link or inputs of a tracker, it cannot be traced.

    `BadInputError` for what cannot name a model, `NotFoundError` for a path where there is nothing, and for
    what a tracker does not have.
    """
    subject = Subject(text)
    if text.startswith((RUN_PREFIX, MODEL_PREFIX)):
        _by_name(known, text, subject)
        return subject
    scheme, colon, rest = text.partition(":")
    there = os.path.exists(text)
    # A folder whose files say what they are of is a model's; else it may be one that a tracker writes to.
    if (colon and not there) or (os.path.isdir(text) and not has_link(text)):
        subject.external = _external(text, subject, required=not there)
        if subject.external is not None:
            _by_tracker(known, subject.external, subject)
            return subject
        if rest.startswith("/") and not there:
            subject.tried.append(f"no integration that is installed knows {scheme}:/ URIs")
            return subject
    if there:
        _by_files(known, text, subject)
    elif text.startswith((".", "/", "~")) or text.endswith("/"):
        raise PathNotFoundError(f"there is no model at {safe_spelling(text)!r}")
    else:
        _by_name(known, text, subject)
    return subject


def _external(text: str, subject: Subject, *, required: bool) -> ExternalNode | None:
    """What an integration makes of a text; one that cannot be loaded is an error where nothing else is."""
    try:
        return external_node(text)
    except BadInputError as error:
        if required or isinstance(error, MissingExtraError):
            raise
        subject.tried.append(str(error))
        return None


def _by_name(known: Known, text: str, subject: Subject) -> None:
    try:
        if text.startswith(RUN_PREFIX):
            subject.run = find_run(known.state, text)
            made = models_of_run(known.state, subject.run.id)
            subject.model = made[0] if len(made) == 1 else None
        else:
            subject.model = find_model(known.state, text)
            subject.run = run_named(known.state, subject.model.run)
        subject.found_by = "name"
    except RefNotFoundError as error:
        subject.tried.append(str(error))


def _by_tracker(known: Known, node: ExternalNode, subject: Subject) -> None:
    """By the run that is recorded under the tracker's name for it, else by the model's files."""
    found = [run_named(known.state, run) for run in known.tracked(node)]
    states = sorted((state for state in found if state is not None), key=lambda state: state.entry)
    if node.folder:
        _by_files(known, node.folder, subject)
    if states:
        run = states[-1]
        if subject.run is not None and subject.run.id != run.id:
            ours, theirs = subject.run.id.hex()[:12], run.id.hex()[:12]
            subject.doubts.append(f"the tracker leads to run {theirs}, the model's files to {ours}")
        if len(states) > 1:
            subject.doubts.append(
                f"{len(states)} runs here are {node.id} to the tracker; the newest is meant"
            )
        if subject.run is None or subject.run.id != run.id:
            made = models_of_run(known.state, run.id)
            subject.model = made[0] if len(made) == 1 else None
        subject.run, subject.found_by = run, "tracker"
        return
    names = ", ".join(node.tracked) or "no run"
    subject.tried.append(f"{node.id} is {names} to the tracker, and no run is recorded here under that name")


def _by_files(known: Known, path: str, subject: Subject) -> None:
    """By the digest of all files, else by what the files say of themselves, else by most of their digests."""
    subject.local = local = local_model(path)
    try:
        subject.link = read_link(path)
    except (BadInputError, NotFoundError) as error:
        subject.tried.append(str(error))
    link = subject.link
    exact = [model for tree in local.trees for model in models_with(known.state, bytes.fromhex(tree))]
    if exact:
        _take(known, _said(exact, link), exact, "files", subject)
        return
    subject.tried.append("no model here has exactly these files")
    if link is not None and link.run:
        subject.run = run_named(known.state, bytes.fromhex(link.run))
        if subject.run is not None:
            made = models_of_run(known.state, subject.run.id)
            named = [model for model in made if link.model in ("", model.name, str(model))]
            near = _nearest(known, local)
            subject.model = next((model for model in near if model in named), named[-1] if named else None)
            subject.found_by = "metadata"
            return
        subject.tried.append(f"{safe_spelling(link.origin)} names run {link.run}, which is not recorded here")
    elif link is None:
        subject.tried.append("the files say nothing of a run themselves")
    near = _nearest(known, local)
    if near:
        _take(known, near[0], near, "some of its files", subject)
    else:
        subject.tried.append("no model here has one of these files")


def _said(models: Sequence[ModelState], link: ModelLink | None) -> ModelState:
    """Of several models with the same files, the one of the run that the files name, else the oldest."""
    if link is not None:
        for model in models:
            if model.run.hex() == link.run:
                return model
    return models[0]


def _take(
    known: Known, model: ModelState, found: Sequence[ModelState], found_by: str, subject: Subject
) -> None:
    subject.model, subject.found_by = model, found_by
    subject.run = run_named(known.state, model.run)
    others = sorted({str(other) for other in found} - {str(model)})
    if others and found_by == "files":
        subject.doubts.append(
            f"{', '.join(others[:5])} {'has' if len(others) == 1 else 'have'} the same files"
        )


def _nearest(known: Known, local: LocalModel) -> list[ModelState]:
    """The models that have some of the files, those that have the most bytes of them first."""
    shared: Counter[ModelState] = Counter()
    for digest, size in {file.digest: file.size for file in local.files if file.size}.items():
        for model in models_with(known.state, bytes.fromhex(digest)):
            shared[model] += size
    return [model for model, _ in shared.most_common()]
