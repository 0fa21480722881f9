"""`dataver import mlflow`: runs that were there before dataver, what they read and the models they made."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import mlflow

from dataver.errors import BadInputError, ConflictError, DataverError, RefNotFoundError
from dataver.format.run_record import Code, RunInput, RunModel, RunRecord
from dataver.integrations.importing.names import dataset_name, mark
from dataver.integrations.importing.report import RunReport, TakenModel, TakenRun
from dataver.integrations.mlflow.client import client_of, foreign, tracker_name
from dataver.integrations.mlflow.import_data import RunData
from dataver.integrations.mlflow.linking import record_of, run_bytes_of
from dataver.integrations.mlflow.nodes import DOWNLOAD_BYTES_MAX, REGISTERED
from dataver.lineage.linking import link_inputs
from dataver.lineage.local_model import LocalModel, local_model
from dataver.lineage.masking import mask_text
from dataver.lineage.publishing import amend_run
from dataver.lineage.records import Records
from dataver.log.run_state import RunState, models_of_run, run_named, tracked
from dataver.log.run_state import models as model_states
from dataver.paths import safe_spelling
from dataver.progress import Progress, Silent
from dataver.provenance import shown_url
from dataver.store.clients import public_url
from dataver.values import dataclass

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

    from dataver.repository import Repository

__all__ = ["RunsAsked", "import_mlflow"]

PAGE = 1000
NAME = "mlflow.name"
"""The key in the metadata of a model that has MLflow's name of it."""
_MODEL = re.compile(r"models:/([^/@]+)(?:/([^/@]+))?")


@dataclass(frozen=True, slots=True)
class RunsAsked:
    """What of MLflow is to be imported. `nodes` are runs, ID or runs:/ID, and models:/NAME[/VERSION].

    Without these and `experiments`, all runs. `data` are the folders and URLs below which data are read.
    """

    nodes: Sequence[str] = ()
    experiments: Sequence[str] = ()
    data: Sequence[str] = ()
    options: Mapping[str, str] | None = None
    dry_run: bool = False


def import_mlflow(repository: Repository, asked: RunsAsked, progress: Progress | None = None) -> RunReport:
    """Record the ended runs of MLflow with what they read, and the registered models that they made.

    A run has the id that MLflow gave it, so that a second import records it no second time; it gets what it
    lacks. Versions of a model are recorded in MLflow's order.
    """
    repository.session.newest()
    client = client_of()
    report = RunReport(public_url(mlflow.get_tracking_uri()), asked.dry_run)
    data = RunData(repository, asked.data, dry_run=asked.dry_run, options=asked.options)
    watcher = progress or Silent()
    with foreign("the runs that are to be imported"):
        models, run_ids = _asked(client, asked)
    watcher.begin("importing runs", len(run_ids) + len(models))
    try:
        for run_id in run_ids:
            _take_run(repository, client, run_id, data, report)
            watcher.advance(1)
        for model in models:
            _take_model(repository, model, report)
            watcher.advance(1)
    finally:
        watcher.end()
    report.versions, report.unversioned, report.bytes = data.versions, data.unversioned, data.bytes
    return report


def _asked(client: MlflowClient, asked: RunsAsked) -> tuple[list[ModelVersion], list[str]]:
    """The versions of models by name and number, and the runs, those that began first before others."""
    named = [node for node in asked.nodes if node.startswith("models:")]
    runs = [node.removeprefix("runs:/").strip("/") for node in asked.nodes if not node.startswith("models:")]
    models: list[ModelVersion] = []
    for node in named:
        found = _MODEL.fullmatch(node.rstrip("/"))
        if found is None:
            raise BadInputError(
                f"{node[:200]!a} names no registered model: write models:/NAME or models:/NAME/1"
            )
        some = _versions(client, f"name = '{_quotable(found[1])}'")
        if found[2]:
            some = [one for one in some if str(one.version) == found[2]]
        if not some:
            raise RefNotFoundError(f"{safe_spelling(node)} is not at {public_url(mlflow.get_tracking_uri())}")
        models += some
    wanted = [*runs, *(model.run_id for model in models if model.run_id)]
    if asked.experiments or not asked.nodes:
        wanted += _runs_of(client, asked.experiments)
    wanted = list(dict.fromkeys(wanted))
    if not named:
        known = set(wanted)
        models = [one for one in _versions(client, "") if one.run_id in known]
    # Those that keep their name here come first, so that it is theirs.
    models.sort(key=lambda one: (dataset_name(one.name) != one.name, one.name, int(one.version)))
    return list({(one.name, one.version): one for one in models}.values()), wanted


def _versions(client: MlflowClient, wanted: str) -> list[ModelVersion]:
    found: list[ModelVersion] = []
    token = None
    while True:
        page = client.search_model_versions(wanted or None, max_results=PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _runs_of(client: MlflowClient, names: Sequence[str]) -> list[str]:
    """The runs of experiments, of all where none is named, those that began first before others."""
    ids = []
    for name in names:
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise RefNotFoundError(f"there is no experiment {safe_spelling(name)!r} in MLflow")
        ids.append(experiment.experiment_id)
    if not names:
        token = None
        while True:
            page = client.search_experiments(max_results=PAGE, page_token=token)
            ids += [experiment.experiment_id for experiment in page]
            token = page.token
            if not token:
                break
    found: list[str] = []
    token = None
    while ids:
        runs = client.search_runs(ids, order_by=["start_time ASC"], max_results=PAGE, page_token=token)
        found += [run.info.run_id for run in runs]
        token = runs.token
        if not token:
            break
    return found


def _quotable(name: str) -> str:
    if "'" in name:
        raise BadInputError(f"a model cannot be looked for by {name[:100]!a}, which has a quote in it")
    return name


def _take_run(
    repository: Repository, client: MlflowClient, run_id: str, data: RunData, report: RunReport
) -> None:
    """Record a run, or what it lacks here."""
    session = repository.session
    with foreign(f"MLflow's run {run_id}"):
        run = client.get_run(run_id)
    if run.info.status not in ("FINISHED", "FAILED", "KILLED"):
        report.unended += 1
        return
    id = _known(repository, run_id)
    known = None if id is None else run_named(session.newest(), id)
    record = None if known is None else Records(session, session.state()).of(known)
    inputs = data.inputs(run, record)
    if report.dry_run:
        if id is None:
            report.runs.append(_taken(record_of(client, run), run, created=True))
        else:
            report.known += 1
        return
    with foreign(f"MLflow's run {run_id}"):
        linked = link_inputs(session, id or run_bytes_of(run_id), inputs, lambda: _record(client, run))
    if linked.created or linked.added:
        report.runs.append(_taken(linked.record, run, linked.created))
    else:
        report.known += 1


def _known(repository: Repository, run_id: str) -> bytes | None:
    """The run here that is this run of MLflow; None where it is not recorded."""
    return next(tracked(repository.session.newest(), tracker_name(run_id)), None)


def _taken(record: RunRecord, run: Run, created: bool) -> TakenRun:
    names = [_input_name(given) for given in record.inputs]
    return TakenRun(record.run, run.info.run_id, record.name, record.status, created, names)


def _input_name(given: RunInput) -> str:
    return f"{given.dataset}@{f'v{given.number}' if given.number else given.version}"


def _record(client: MlflowClient, run: Run) -> RunRecord:
    """What MLflow knows of a run, with the commit of its code and the run around it."""
    record, tags = record_of(client, run), run.data.tags
    commit = tags.get("mlflow.source.git.commit", "")
    if commit:
        url = ""
        with suppress(BadInputError):
            url = shown_url(mask_text(tags.get("mlflow.source.git.repoURL", "")))
        branch = mask_text(tags.get("mlflow.source.git.branch", ""))
        record = replace(record, code=Code(url=url, commit=mask_text(commit), branch=branch))
    parent = tags.get("mlflow.parentRunId", "")
    return replace(record, parent=run_bytes_of(parent).hex()) if parent else record


def _take_model(repository: Repository, model: ModelVersion, report: RunReport) -> None:
    """Record a version of a registered model in the record of its run, unless it has it."""
    uri = f"models:/{model.name}/{model.version}"
    run_id = model.run_id or ""

    def left(note: str) -> None:
        report.models.append(TakenModel(None, uri, run_id, note))

    if not run_id:
        return left("MLflow does not know which run made it")
    id = _known(repository, run_id)
    known = None if id is None else run_named(repository.session.newest(), id)
    if known is None or known.end is None:
        if report.dry_run and run_id in [one.tracker_run for one in report.runs]:
            return left("")
        return left("the run that made it is not recorded, or has not ended")
    record = Records(repository.session, repository.session.state()).of(known)
    if any(made.uri in (uri, model.source) for made in record.models):
        return None
    if report.dry_run:
        return left("")
    try:
        with _downloaded(uri) as found:
            meta = {NAME: model.name, "mlflow.version": str(model.version)}
            made = RunModel(_name_here(repository, model.name), found.trees[-1], found.unlinked, uri, meta)
            node = _amended(repository, known, record, made)
    except DataverError as error:
        return left(str(error))
    report.models.append(TakenModel(node, uri, run_id))
    return None


def _name_here(repository: Repository, name: str) -> str:
    """The name here of a model of MLflow: with a mark where one that MLflow calls otherwise has it."""
    plain = dataset_name(name)
    marked = f"{plain}-{mark(name)}"
    if name in _names_there(repository, marked):
        return marked
    names = _names_there(repository, plain)
    return plain if name in names or not names else marked


def _names_there(repository: Repository, name: str) -> set[str]:
    """What MLflow calls those versions of a model that were imported under this name."""
    state = repository.session.state()
    records = Records(repository.session, state)
    recorded = {one.record for one in model_states(state, name.encode() + b"\0")}
    made = [one for record in recorded for one in records.record(record).models if one.name == name]
    return {str(one.meta[NAME]) for one in made if NAME in one.meta}


def _amended(repository: Repository, known: RunState, record: RunRecord, made: RunModel) -> str:
    """Add a model to the record of a run; the model's name and version here."""
    before = {(one.name, one.number) for one in models_of_run(repository.session.state(), known.id)}
    changed = replace(record, models=(*record.models, made), amends=str(known.record))
    models = amend_run(repository.session, changed)
    new = [one for one in models if (one.name, one.number) not in before]
    if not new:
        raise ConflictError(f"the model {made.name} of run {record.run} was not recorded; repeat the import")
    return str(new[0])


@contextmanager
def _downloaded(uri: str) -> Iterator[LocalModel]:
    """The files of a model, in a folder that goes afterwards."""
    import mlflow.artifacts

    with foreign(uri):
        size = sum(file.file_size or 0 for file in mlflow.artifacts.list_artifacts(uri))
    if size > DOWNLOAD_BYTES_MAX:
        raise BadInputError(f"{uri} has more than {DOWNLOAD_BYTES_MAX >> 30} GiB, which is not fetched")
    with tempfile.TemporaryDirectory(prefix="dataver-model-") as folder:
        try:
            with foreign(uri):
                files = str(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))
        except OSError as error:
            raise RefNotFoundError(f"the files of {uri} cannot be had: {error.strerror or error}") from None
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(files, REGISTERED))
        found = local_model(files)
        if not found.files:
            raise RefNotFoundError(f"MLflow has no files of {uri} any more")
        yield found
