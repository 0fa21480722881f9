"""The way to MLflow's server, and its errors as ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from dataver.errors import BadInputError, NotPermittedError, RefNotFoundError, StoreError
from dataver.format.run_record import Tracker
from dataver.lineage.masking import mask_text
from dataver.store.clients import public_url, without_password

if TYPE_CHECKING:
    from mlflow.entities import Run

TRACKER = "mlflow"
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")
_REFUSED = ("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")


def tracker_of(client: MlflowClient, run: Run) -> Tracker:
    """How a record names a run of MLflow; the URI is without password and query."""
    experiment = client.get_experiment(run.info.experiment_id)
    return Tracker(TRACKER, run.info.run_id, public_url(client.tracking_uri), experiment.name)


def tracker_name(run_id: str) -> str:
    """The name under which the repository has a run of MLflow."""
    return f"{TRACKER}:{run_id}"


def client_of() -> MlflowClient:
    """A client of the server that MLflow's settings name. `BadInputError` where they name none, or no such.

    MLflow would make a database of its own in the current folder where they name none.
    """
    if not mlflow.is_tracking_uri_set() and not any(map(os.path.exists, ("mlruns", "mlflow.db"))):
        raise BadInputError("it is not known where MLflow has its runs; say it with MLFLOW_TRACKING_URI")
    try:
        return MlflowClient()
    except Exception as error:  # noqa: BLE001 - of MLflow, of the library of a database, or of a plug-in
        reason = _reason(error)
        if getattr(error, "orig", None) is not None:  # A database was asked.
            raise StoreError(f"{place()} cannot be opened: {reason}") from None
        raise BadInputError(
            f"{place()}, as MLFLOW_TRACKING_URI or MLFLOW_REGISTRY_URI says, cannot be used: {reason}"
        ) from None


def client_at(uri: str) -> MlflowClient:
    """A client of the server at the URI of a record, with the password of MLflow's own setting for it."""
    own = mlflow.get_tracking_uri()
    return MlflowClient(own if not uri or public_url(own) == uri else uri)


@contextmanager
def foreign(what: str) -> Iterator[None]:
    """MLflow's errors as ours, about `what`."""
    try:
        yield
    except MlflowException as error:
        reason = _reason(error)
        if error.error_code in _ABSENT:
            raise RefNotFoundError(f"{what} is not at {place()}: {reason}") from None
        if error.error_code in _REFUSED:
            raise NotPermittedError(f"{place()} refuses {what}: {reason}") from None
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise BadInputError(f"{place()} does not take {what}: {reason}") from None
        raise StoreError(f"{place()} did not give {what}: {reason}") from None


def _reason(error: Exception) -> str:
    """The first line of what it says, without secrets."""
    return without_password(mask_text(str(error).strip().partition("\n")[0][:300]))


def place() -> str:
    """Where MLflow's runs are, without credentials."""
    return f"MLflow at {public_url(mlflow.get_tracking_uri())}"
