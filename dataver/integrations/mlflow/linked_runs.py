"""Runs of dataver and of MLflow that are one: each names the other, and MLflow is told the inputs.

In a run of dataver, MLflow's runs tag themselves with it, note themselves in it, and the models that
they log say what they were made from, and are noted with the digests of their files. MLflow has no
plug-in for the last three, so three of its methods are wrapped, in processes of a run alone.
`DATAVER_NO_LINK=1` turns all of it off.
"""

from __future__ import annotations

import functools
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.models import Model
from mlflow.tracking import MlflowClient

from dataver import recording
from dataver.integrations.inputs import Input
from dataver.integrations.mlflow.client import TRACKER, client_at, tracker_of
from dataver.integrations.mlflow.links import METADATA, inputs_so_far, link_of
from dataver.integrations.mlflow.recording import described, record_inputs
from dataver.integrations.mlflow_plugins import linking
from dataver.lineage.local_model import local_model

if TYPE_CHECKING:
    from dataver.format.run_record import RunRecord, Tracker
    from dataver.running import Run

RUN_TAG = "dataver.run"
MLMODEL = "MLmodel"
MODEL_FILES_MAX = 2000
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")


def active() -> recording.Recorder | None:
    """What notes the run that is on, if runs are to be linked."""
    return recording.active if linking() else None


# From MLflow's side


def wrap() -> None:
    """Have MLflow's runs and models note themselves in the run that is on. Once a process is enough."""
    _wrap(MlflowClient, "create_run", after=_run_created)
    _wrap(MlflowClient, "log_model_artifacts", after=_model_logged)
    _wrap(Model, "save", before=_model_saved)


def _wrap(
    owner: type,
    name: str,
    *,
    before: Callable[..., None] | None = None,
    after: Callable[..., None] | None = None,
) -> None:
    method = getattr(owner, name)
    if hasattr(method, "dataver_wrapped"):
        return

    @functools.wraps(method)
    def wrapped(self: Any, *arguments: Any, **options: Any) -> Any:
        if before is not None:
            _quietly(before, self, *arguments, **options)
        result = method(self, *arguments, **options)
        if after is not None:
            _quietly(after, self, result, *arguments, **options)
        return result

    wrapped.dataver_wrapped = True  # type: ignore[attr-defined]
    setattr(owner, name, wrapped)


def _quietly(function: Callable[..., None], *arguments: Any, **options: Any) -> None:
    """A model is worth more than what is noted of it."""
    try:
        function(*arguments, **options)
    except Exception as error:  # noqa: BLE001 - told, and MLflow goes on
        warnings.warn(f"dataver noted nothing of what MLflow logged: {error}", stacklevel=4)


def _run_created(client: MlflowClient, run: Any, *_: Any, **__: Any) -> None:
    recorder = active()
    if recorder is not None:
        recorder.tracker(asdict(tracker_of(client, run)))


def _model_saved(model: Model, *_: Any, **__: Any) -> None:
    recorder = active()
    if recorder is not None and METADATA not in (model.metadata or {}):
        inputs = inputs_so_far(recorder)
        if inputs:
            model.metadata = {**(model.metadata or {}), **link_of(inputs, recorder.run)}


def _model_logged(client: MlflowClient, _: Any, model_id: str, local_dir: str, *__: Any, **___: Any) -> None:
    recorder = active()
    if recorder is None or not os.path.isfile(os.path.join(local_dir, MLMODEL)):
        return
    found = local_model(local_dir)
    name = _NOT_IN_NAMES.sub("-", client.get_logged_model(model_id).name).strip("-.") or "model"
    files = [asdict(file) for file in found.unlinked[:MODEL_FILES_MAX]]
    recorder.model({"name": name, "tree": found.trees[-1], "files": files, "uri": f"models:/{model_id}"})


# From the run's side


def began_inside(run: Run) -> None:
    """Note the run of MLflow that is on already, and tag it."""
    there = mlflow.active_run()
    if there is not None:
        client = MlflowClient()
        run.add_tracker(**asdict(tracker_of(client, there)))
        client.set_tag(there.info.run_id, RUN_TAG, run.id)
    wrap()


def take_over(run: Run) -> None:
    """Log in a run the parameters and metrics that MLflow has and the run has not."""
    for tracker in _known(run.trackers):
        there = client_at(tracker.uri).get_run(tracker.run_id).data
        run.log_params({name: value for name, value in there.params.items() if name not in run.params})
        run.log_metrics({name: value for name, value in there.metrics.items() if name not in run.metrics})


def tell(record: RunRecord) -> None:
    """Tell the runs of MLflow that a run names what it read."""
    for tracker in _known(record.trackers):
        client = client_at(tracker.uri)
        client.set_tag(tracker.run_id, RUN_TAG, record.run)
        inputs = [(described(Input.from_run(given)), given.role) for given in record.inputs]
        record_inputs(client, tracker.run_id, inputs)


def _known(trackers: Iterable[Tracker]) -> Iterator[Tracker]:
    """Those of MLflow of which it is known where they are: else it would look in the current folder."""
    for tracker in trackers:
        if tracker.kind == TRACKER and (tracker.uri or mlflow.is_tracking_uri_set()):
            yield tracker
