"""A version as a data asset: its bytes under a prefix that its id names, then the asset that points there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dataver.errors import BadInputError
from dataver.integrations.azureml.asset import Asset, asset_of
from dataver.integrations.azureml.copying import Copied, copy_version, files_of
from dataver.integrations.azureml.target import Target, target_of
from dataver.values import dataclass
from dataver.verify.mltable import MLTABLE_FILE, mltable_file

if TYPE_CHECKING:
    from dataver.integrations.azureml.workspace import Workspace
    from dataver.progress import Progress
    from dataver.version import Version

__all__ = ["Exported", "export"]


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export made. `url` is where the bytes are; `created`: the asset is registered by this one.

    `workspace` is None where nothing was to be registered.
    """

    asset: Asset
    url: str
    written: Copied
    workspace: str | None
    created: bool

    def to_json(self) -> dict[str, Any]:
        """`{"asset", "name", "version", "type", "path", …}`."""
        return {
            "asset": self.asset.ref,
            **asdict(self.asset),
            "url": self.url,
            "workspace": self.workspace,
            "created": self.created,
            "written_files": self.written.files,
            "written_bytes": self.written.bytes,
        }


def export(
    version: Version,
    *,
    kind: str = "uri_folder",
    to: str | None = None,
    datastore: str | None = None,
    workspace: Workspace | None = None,
    register: bool = True,
    name: str | None = None,
    asset_version: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Put the bytes of `version` where Azure ML reads them; with `register` make the asset in `workspace`.

    Nothing is put twice: neither bytes nor an asset. The asset is made last, so that there is none of which
    bytes are missing. `ConflictError` where another version has its name, before anything is written.
    """
    client = workspace.client() if workspace is not None and (register or _asks(to, datastore)) else None
    target = target_of(version, to, datastore, client, storage_options)
    table = _table(version) if kind == "mltable" else None
    asset = asset_of(version, kind, _path(version, kind, target), name, asset_version)
    there = False
    if register:
        assert client is not None
        if not target.remote:
            raise BadInputError(
                f"Azure Machine Learning cannot read {target.path}: export to a container with --to az://… "
                "or --datastore, or write --yaml FILE, from which `az ml data create` uploads the folder"
            )
        there = asset.registered(client)
    written = copy_version(version, target.place, table, jobs=jobs, progress=progress)
    if register and not there:
        assert client is not None
        asset.register(client)
    return Exported(
        asset,
        target.place.url,
        written,
        workspace.name if register and workspace else None,
        register and not there,
    )


def _asks(to: str | None, datastore: str | None) -> bool:
    """Whether the workspace has to say where a datastore is."""
    return datastore is not None or (to or "").startswith("azureml://")


def _table(version: Version) -> bytes | None:
    """The file `MLTable` to put beside the files; None where the version has one of its own."""
    files = version.tree_of_files()
    found = mltable_file(files)
    if found is None and files.get(MLTABLE_FILE.encode()) is None:
        raise BadInputError(
            f"{version.name} has no tables that an mltable can read: Parquet, CSV or JSON lines; "
            "export a uri_folder"
        )
    return found


def _path(version: Version, kind: str, target: Target) -> str:
    """What the asset points to: the folder, or the one file in it."""
    if kind != "uri_file":
        return f"{target.path}/"
    files = files_of(version)
    if len(files) != 1:
        raise BadInputError(
            f"{version.name} has {len(files):,} files, and a uri_file is one; export a uri_folder"
        )
    name = files[0][0]
    is_url = target.path.startswith(("https://", "http://"))
    return f"{target.path}/{quote(name) if is_url else name}"
