"""The data that MLflow says its runs read: bytes that are there now become versions, marked as what they are.

MLflow keeps no bytes, and its digest is of the first 10,000 rows as the program had them, which cannot be
computed from files. So a version that is made of such a source says that nobody knows whether the run read
these bytes. A file of this machine that was changed after the run began is no version of what it read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from dataver.digest import Digest
from dataver.errors import BadInputError, DataverError
from dataver.format.provenance import UNVERIFIED
from dataver.format.run_record import RunInput
from dataver.integrations.importing.names import dataset_name
from dataver.integrations.importing.report import Unversioned, Version
from dataver.integrations.mlflow.dataset import SOURCE_TYPE
from dataver.integrations.mlflow.recording import inputs_of
from dataver.lineage.masking import mask_text
from dataver.paths import safe_spelling
from dataver.provenance import make_source
from dataver.recording import DEFAULT_ROLE
from dataver.source import local_path, open_source
from dataver.source.base import REMOTE_MTIME, REMOTE_TAG
from dataver.store.clients import public_url

if TYPE_CHECKING:
    from mlflow.entities import Dataset, DatasetInput, Run

    from dataver.format.run_record import RunRecord
    from dataver.repository import Repository

__all__ = ["RunData"]

SOURCE = "mlflow.source"
"""The key in a version's metadata under which stands the place that it was made of."""

WHY = "the bytes are as they were found on import; MLflow has none, and its digest is of 10,000 rows at most"
NOT_ASKED = "its bytes were not asked for: --data names the folders and URLs that are read"


class RunData:
    """Makes versions of what runs read, of places below `prefixes` alone: a server can name any file."""

    def __init__(
        self,
        repository: Repository,
        prefixes: Sequence[str],
        *,
        dry_run: bool,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._repository = repository
        self._prefixes = [_real(prefix) for prefix in prefixes]
        self._options = dict(options or {})
        self._dry_run = dry_run
        self._made: dict[tuple[str, str], RunInput] = {}
        self._listed: set[str] = set()
        self.versions: list[Version] = []
        self.unversioned: list[Unversioned] = []
        self.bytes = 0

    def inputs(self, run: Run, record: RunRecord | None) -> list[RunInput]:
        """What a run read, as far as it is, or becomes, a version; `record` is what is recorded already."""
        from dataver.integrations.inputs import run_input

        found = [run_input(given.as_role(given.role or DEFAULT_ROLE), given.node) for given in inputs_of(run)]
        known = self._places(record) if record is not None else set()
        for there in run.inputs.dataset_inputs:
            if there.dataset.source_type == SOURCE_TYPE:
                continue
            try:
                place = self._place(run, there.dataset)
                url = _url(place)
                if url in known:
                    continue
                name = _name(there.dataset, place)
                if self._dry_run:
                    self._note(Version(name, None, None, url, created=True))
                    continue
                # Of several URLs that differ in their query, which is not recorded, each has its own bytes.
                if (name, place) not in self._made:
                    self._made[name, place] = self._version(run, there.dataset, name, place)
                found.append(replace(self._made[name, place], role=_role(there)))
            except DataverError as error:
                self._leave(run, there.dataset, str(error))
        return found

    def _places(self, record: RunRecord) -> set[str]:
        """The places of the versions that a run is known to have read."""
        session = self._repository.session
        own = [given for given in record.inputs if given.repository == self._repository.id]
        return {dict(session.record(Digest.parse(given.version)).meta).get(SOURCE, "") for given in own}

    def _place(self, run: Run, dataset: Dataset) -> str:
        """Where the files of a data set are. `BadInputError` where they are not taken, and why."""
        place = place_of(dataset)
        if place is None:
            raise BadInputError(f"a source of the kind {dataset.source_type} is no file")
        if not any(_is_below(_real(place), prefix) for prefix in self._prefixes):
            raise BadInputError(NOT_ASKED)
        files = open_source(place, storage_options=self._options or None).files()
        for file in files:
            is_local = file.inode not in (REMOTE_TAG, REMOTE_MTIME)
            if is_local and file.mtime_ns > run.info.start_time * 1_000_000:
                raise BadInputError(f"{safe_spelling(file.path)} was changed after the run began")
        if place not in self._listed:
            self._listed.add(place)
            self.bytes += sum(file.size for file in files)
        return place

    def _version(self, run: Run, dataset: Dataset, name: str, place: str) -> RunInput:
        """The version of what is at a place now: one that was made of it before, if it is still the same."""
        repository, url = self._repository, _url(place)
        exists = any(info.name == name and info.head is not None for info in repository.datasets())
        made = (info for info in (repository.log(name) if exists else ()) if info.meta.get(SOURCE) == url)
        before = next(made, None)
        if before is not None:
            base = f"{name}@{before.id}"
            forecast = repository.commit(
                name, place, base=base, dry_run=True, storage_options=self._options or None
            )
            if not any(asdict(forecast.changed).values()):
                return self._input(name, before.version, before.id, before.tree)
        result = repository.commit(
            name,
            place,
            message=f"as it was found for {run.info.run_name or run.info.run_id}, a run of MLflow",
            meta={
                "mlflow.run": run.info.run_id,
                "mlflow.dataset": mask_text(dataset.name),
                "mlflow.digest": dataset.digest,
                SOURCE: url,
                UNVERIFIED: WHY,
            },
            sources=[make_source({"url": url, "note": WHY})],
            base=f"{name}@latest" if exists else None,
            storage_options=self._options or None,
        )
        self._note(Version(name, result.version, result.id, url, result.created))
        return self._input(name, result.version, result.id, result.tree)

    def _input(self, name: str, version: str | None, id: str, tree: str) -> RunInput:
        number = int(version[1:]) if version else 0
        here = self._repository
        return RunInput(DEFAULT_ROLE, f"{name}@{version or id}", name, id, tree, here.id, here.url, number)

    def _note(self, version: Version) -> None:
        if version not in self.versions:
            self.versions.append(version)

    def _leave(self, run: Run, dataset: Dataset, reason: str) -> None:
        self.unversioned.append(
            Unversioned(
                run.info.run_id,
                mask_text(dataset.name),
                dataset.digest,
                dataset.source_type,
                mask_text(reason),
            )
        )


def place_of(dataset: Dataset) -> str | None:
    """The path or URL of a data set's files; None where its source is something else, as a table or code."""
    try:
        document: Any = json.loads(dataset.source)
    except ValueError:
        return None
    found = document.get("uri") or document.get("url") if isinstance(document, dict) else None
    if not isinstance(found, str) or not found or dataset.source_type in ("code", "delta_table", "spark"):
        return None
    return None if "::" in found else found


def _name(dataset: Dataset, place: str) -> str:
    """MLflow's name for it, or that of the file where MLflow calls it just a data set."""
    last = place.partition("?")[0].rstrip("/").rpartition("/")[2]
    return dataset_name((last if dataset.name in ("", "dataset") else dataset.name).replace("/", "-"))


def _role(there: DatasetInput) -> str:
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    said = next((str(tag.value) for tag in there.tags if tag.key == MLFLOW_DATASET_CONTEXT), "")
    return said or DEFAULT_ROLE


def _url(place: str) -> str:
    """A place as it is recorded: without credentials."""
    path = local_path(place)
    return public_url(place if path is None else f"file://{os.path.abspath(os.fsdecode(path))}")


def _real(place: str) -> str:
    """A place such that what is below it begins with it; symlinks of this machine are followed."""
    path = local_path(place)
    if path is not None:
        return os.path.realpath(os.fsdecode(path))
    if ".." in unquote(place).split("/"):
        raise BadInputError(f"{public_url(place)} has a part '..'")
    return place.rstrip("/")


def _is_below(place: str, prefix: str) -> bool:
    return place == prefix or place.startswith(prefix if prefix.endswith("/") else prefix + "/")
