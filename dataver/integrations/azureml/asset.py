"""Data assets: what Azure Machine Learning is told of a version, and registered once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dataver.errors import BadInputError, ConflictError
from dataver.integrations.azureml.workspace import foreign
from dataver.values import dataclass
from dataver.verify.mltable import yaml_text

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import Data

    from dataver.version import Version

SCHEMA = "https://azuremlschemas.azureedge.net/latest/data.schema.json"
TYPES = ("uri_folder", "uri_file", "mltable")
DIGEST_TAG = "dataver.digest"
ID_DIGITS = 16
"""So many digits of its id are the asset's version, of a version that has no number."""
DESCRIPTION_CHARACTERS_MAX = 2000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_IN_DATASTORE = re.compile(r"azureml://.*?datastores/(?P<name>[^/]+)/paths/(?P<path>.*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asset:
    """A data asset. `path` is a URL that Azure ML reads, or a path on this machine for `az ml` to upload."""

    name: str
    version: str
    type: str
    path: str
    description: str
    tags: Mapping[str, str]
    properties: Mapping[str, str]

    @property
    def ref(self) -> str:
        """`azureml:iris:3`, as jobs name it."""
        return f"azureml:{self.name}:{self.version}"

    def to_yaml(self) -> bytes:
        """The file for `az ml data create --file`; it cannot hold `properties`."""
        lines = [
            f"$schema: {SCHEMA}",
            *(f"{key}: {yaml_text(getattr(self, key))}" for key in ("name", "version")),
            f"type: {self.type}",
            *(f"{key}: {yaml_text(getattr(self, key))}" for key in ("path", "description")),
            "tags:",
            *(f"  {key}: {yaml_text(value)}" for key, value in self.tags.items()),
        ]
        return "".join(f"{line}\n" for line in lines).encode()

    def registered(self, client: MLClient) -> bool:
        """Whether it is there. `ConflictError` where another one has its name and version."""
        from azure.core.exceptions import ResourceNotFoundError

        with foreign(f"data asset {self.ref}"):
            try:
                there = client.data.get(name=self.name, version=self.version)
            except ResourceNotFoundError:
                return False
        told = (there.tags or {}).get(DIGEST_TAG)
        if told != self.tags[DIGEST_TAG]:
            raise ConflictError(
                f"{self.ref} is there and is {'version ' + str(told) if told else 'none of dataver'}, not "
                f"{self.tags[DIGEST_TAG]}; choose --name or --asset-version"
            )
        if there.type != self.type or _bare(str(there.path)) != _bare(self.path):
            raise ConflictError(
                f"{self.ref} is the same version as {there.type} at {there.path}; an asset cannot be moved: "
                "choose --asset-version for a second one"
            )
        return True

    def register(self, client: MLClient) -> None:
        """Have Azure ML know it."""
        from azure.ai.ml.entities import Data

        data: Data = Data(
            name=self.name, version=self.version, type=self.type, path=self.path,
            description=self.description, tags=dict(self.tags), properties=dict(self.properties),
            skip_validation=True,
        )  # fmt: skip
        with foreign(f"data asset {self.ref}"):
            client.data.create_or_update(data)


def asset_of(
    version: Version, kind: str, path: str, name: str | None = None, asset_version: str | None = None
) -> Asset:
    """The asset of a version. `name` is the dataset's by default, with `-` for `/`."""
    name = name or version.dataset_name.replace("/", "-").lstrip("_.-")
    if not _NAME.fullmatch(name):
        raise BadInputError(
            f"{name[:300]!a} is no name for a data asset: ASCII letters, digits, '_', '.' and '-', 255 at "
            "most; choose another one with --name"
        )
    info = version.info
    number = info.version
    asset_version = asset_version or (number.removeprefix("v") if number else version.id[:ID_DIGITS])
    if not _VERSION.fullmatch(asset_version):
        raise BadInputError(
            f"{asset_version[:300]!a} is no version for a data asset: write it as 3 or 2026-01"
        )
    tags = {
        DIGEST_TAG: version.id,
        "dataver.dataset": version.dataset_name,
        "dataver.version": number or "",
        "dataver.tree": version.tree,
        "dataver.repository": version.repository.id,
        "dataver.url": version.repository.url,
    }
    told = {key: value for key, value in tags.items() if value}
    counts = {"dataver.files": str(info.files), "dataver.bytes": str(info.bytes)}
    description = f"{version.name}: {info.message}" if info.message else version.name
    return Asset(
        name, asset_version, kind, path, description[:DESCRIPTION_CHARACTERS_MAX], told, {**told, **counts}
    )


def _bare(path: str) -> str:
    """A path as it can be compared: Azure ML answers with the long form of a datastore's."""
    found = _IN_DATASTORE.fullmatch(path)
    return (f"{found['name']}:{found['path']}" if found else path).rstrip("/")
