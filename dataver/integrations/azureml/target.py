"""Where a version is exported to: the place that is written, and the path that Azure ML is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dataver.errors import BadInputError
from dataver.integrations.azureml.places import BlobPlace, FolderPlace, Place
from dataver.integrations.azureml.workspace import foreign
from dataver.store.clients import AZURE
from dataver.values import dataclass

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

    from dataver.version import Version

FOLDER = "dataver-exports"
"""Of a container, where nobody says another one: beside the repository, not in it."""
_DATASTORE = re.compile(r"azureml://datastores/([A-Za-z0-9_-]+)(?:/paths(?:/(.*))?)?", re.ASCII)
_DEFAULT_ENDPOINT = "core.windows.net"


@dataclass(frozen=True, slots=True)
class Target:
    """`path` leads to the folder of the export, with no slash at its end. `remote`: Azure ML can read it."""

    place: Place
    path: str
    remote: bool


@dataclass(frozen=True, slots=True)
class _Container:
    """A container, and how to get at it."""

    name: str
    options: Mapping[str, Any]


def target_of(
    version: Version,
    to: str | None,
    datastore: str | None,
    client: MLClient | None,
    storage_options: Mapping[str, Any] | None = None,
) -> Target:
    """The place of a version below `to`: a folder, a URL in Azure, or `azureml://datastores/NAME/paths/PATH`.

    Without `to` it is in the container of `datastore`, else of the repository, else of the datastore that
    is the workspace's default. `datastore` beside the URL of a container says how Azure ML gets there.
    """
    inside = f"{version.dataset_name}/{version.id}"
    options = storage_options or {}
    found = _DATASTORE.fullmatch(to or "")
    if found:
        datastore, to = found[1], None
    below = ((found[2] if found else None) or FOLDER).strip("/")
    if to is not None and to.partition("://")[0] in AZURE:
        place = BlobPlace(f"{to.rstrip('/')}/{inside}", options)
        if datastore and client is not None:
            _same(place, _datastore(client, datastore), datastore)
        return Target(place, _path(place, datastore), True)
    if to is not None:
        if "://" in to:
            raise BadInputError(
                f"{to[:300]!a}: Azure Machine Learning reads az://, abfs:// and abfss:// URLs"
            )
        place_here = FolderPlace(f"{to}/{inside}")
        return Target(place_here, place_here.url, False)
    own = version.repository.url
    if datastore is None and own.partition("://")[0] in AZURE:
        scheme, _, rest = own.partition("://")
        place = BlobPlace(f"{scheme}://{rest.partition('/')[0]}/{below}/{inside}", options)
        return Target(place, _path(place, None), True)
    if client is None:
        raise BadInputError(
            "it is not known where to: say --to az://CONTAINER/PATH or --to FOLDER"
            + (f", for the workspace that has the datastore {datastore} is not named" if datastore else "")
        )
    container = _datastore(client, datastore)
    place = BlobPlace(f"az://{container.name}/{below}/{inside}", {**container.options, **options})
    return Target(place, _path(place, datastore or _default(client)), True)


def _path(place: BlobPlace, datastore: str | None) -> str:
    if datastore:
        return f"azureml://datastores/{datastore}/paths/{place.prefix}"
    return quote(place.address, safe=":/")


def _default(client: MLClient) -> str:
    with foreign("default datastore"):
        return str(client.datastores.get_default().name)


def _datastore(client: MLClient, name: str | None) -> _Container:
    """The container behind a datastore; behind the workspace's default where none is named."""
    with foreign(f"datastore {name}" if name else "default datastore"):
        found = client.datastores.get(name) if name else client.datastores.get_default()
    container = getattr(found, "container_name", None) or getattr(found, "filesystem", None)
    account = getattr(found, "account_name", None)
    if not container or not account:
        raise BadInputError(f"the datastore {found.name} is no container of blobs; choose another one")
    endpoint = getattr(found, "endpoint", None) or _DEFAULT_ENDPOINT
    options: dict[str, Any] = {"account_name": account}
    if endpoint != _DEFAULT_ENDPOINT:
        options["account_host"] = f"{account}.blob.{endpoint}"
    return _Container(container, options)


def _same(place: BlobPlace, container: _Container, datastore: str) -> None:
    if place.container != container.name:
        raise BadInputError(
            f"the datastore {datastore} is the container {container.name}, and --to names {place.container}"
        )
