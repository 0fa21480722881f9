"""`mlflow.data.from_dataver`: a version, or a part of one, as a data set of MLflow, and its source.

MLflow keeps the first 36 digits of the version's id as the digest, which is all that it has room for,
and the whole id in the source. The parts of a version have names of their own: of two inputs with the
same name and digest MLflow drops the second, without a word.
"""
# Annotations are not postponed here: MLflow looks at the class that a constructor says it returns, and
# would refuse its name. Whoever imports MLflow imports this, so that what reads versions waits until then.

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.data.dataset import Dataset
from mlflow.data.dataset_source import DatasetSource
from mlflow.types import Schema

from dataver.errors import BadInputError, PathNotFoundError
from dataver.integrations.inputs import Input, find, open_node

if TYPE_CHECKING:
    from dataver.parts import SplitView
    from dataver.repository import Repository
    from dataver.version import Version

SOURCE_TYPE = "dataver"
SCHEME = "dataver://"
DIGEST_DIGITS_MAX = 36
SCHEMA_CHARACTERS_MAX = 1_048_575
FOOTERS_MAX = 100
"""Of so many Parquet files the footers are read for the schema and the number of rows."""
PART_ROWS_MAX = 5_000_000
"""Of so many rows, those of a part are counted, for which the columns that decide are read."""


class DataverDatasetSource(DatasetSource):  # type: ignore[misc] # MLflow is not there where types are checked
    """Which version it was, whole. `load` gives the bytes, compared with their digests."""

    def __init__(self, given: Input) -> None:
        self.given = given

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DataverDatasetSource) and self.given == other.given

    def __hash__(self) -> int:
        return hash(self.given.id)

    @staticmethod
    def _get_source_type() -> str:
        return SOURCE_TYPE

    @property
    def uri(self) -> str:
        """`dataver://iris@v3`, with the path in the version."""
        return self.given.uri

    def open(self, repo: "str | Repository | None" = None) -> "Version | SplitView":
        """The version, or the part of it: in `repo`, else the repository found here, else where it was."""
        return find(self.given, repo)

    def load(self, dst_path: str | None = None) -> Any:
        """The path of a read-only local copy of the version's files, each compared with its digest.

        With `dst_path` the files are written below it. Of a part of the rows, a `pyarrow.Table`.
        """
        from dataver.parts import SplitView

        handle = self.open()
        if isinstance(handle, SplitView):
            return handle.to_arrow()
        path = self.given.path.strip("/")
        if dst_path is None:
            return str(handle.path(path))
        exactly = re.sub(r"([*?\[\\])", r"\\\1", path)
        handle.checkout(dst_path, include=[f"/{exactly}"] if path else ())
        return str(Path(dst_path, path))

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        if isinstance(raw_source, str):
            return raw_source.startswith(SCHEME)
        if "dataver.version" not in sys.modules:
            return False  # It is no handle on a version then.
        from dataver.parts import SplitView
        from dataver.version import Version

        return isinstance(raw_source, Version | SplitView)

    @classmethod
    def _resolve(cls, raw_source: Any) -> "DataverDatasetSource":
        handle, path = _opened(raw_source, None)
        return cls(Input.of(handle, path=path))

    def to_dict(self) -> dict[str, Any]:
        """What MLflow stores; the same for each run that read the same."""
        return self.given.document()

    @classmethod
    def from_dict(cls, source_dict: Mapping[Any, Any]) -> "DataverDatasetSource":
        """What `to_dict` gave; a `uri` alone is looked up in the repository that is found here."""
        if "id" not in source_dict and "uri" in source_dict:
            return cls._resolve(source_dict["uri"])
        return cls(Input.from_document(source_dict))


class DataverDataset(Dataset):  # type: ignore[misc] # MLflow is not there where types are checked
    """A version, or a part of one, for `mlflow.log_input`."""

    def __init__(
        self,
        source: DataverDatasetSource,
        handle: "Version | SplitView | None",
        name: str | None = None,
        digest: str | None = None,
    ) -> None:
        """`handle` is what the source leads to, None where its bytes are not at hand."""
        from dataver.parts import SplitView

        self._view = handle if isinstance(handle, SplitView) else None
        # What is read to describe a version is no input of a run that is on.
        version = handle.version if isinstance(handle, SplitView) else handle
        self._version = None if version is None else version.asked_as(unnoted=True)
        super().__init__(source, name or source.given.name, digest)

    def _compute_digest(self) -> str:
        return str(self.source.given.id[:DIGEST_DIGITS_MAX])

    def declare(self, role: str) -> None:
        """Name it as an input of the run of dataver that is on, if one is."""
        if self._version is not None:
            reads = self._version.asked_as(role=role, declared=True, unnoted=False).reads
            if reads is not None:
                reads.number()

    @property
    def schema(self) -> Schema | None:
        """The columns of the Parquet files; None where there are none, or they cannot be read."""
        from dataver.integrations.mlflow.schema import schema_of

        version, tables = self._version, self._tables()
        if version is None or not tables:
            return None
        try:
            return schema_of(version.schema(tables[0]))
        except BadInputError:
            return None

    @property
    def profile(self) -> dict[str, int]:
        """`num_files`, `num_bytes`, and `num_rows` where it is known without reading much."""
        given, version = self.source.given, self._version
        if version is None:
            return {}
        if given.path:
            sizes = [entry.size for entry in version.listing(given.path, recursive=True).files]
            found = {"num_files": len(sizes), "num_bytes": sum(sizes)}
        else:
            record = version.repository.session.resolve(f"{given.dataset}@{given.id}").version
            found = {"num_files": record.files, "num_bytes": record.size_bytes}
        rows = self._num_rows(version)
        return found if rows is None else {**found, "num_rows": rows}

    def _num_rows(self, version: "Version") -> int | None:
        tables = self._tables()
        if not tables or len(tables) > FOOTERS_MAX:
            return None
        try:
            rows = sum(version.num_rows(table) for table in tables)
        except BadInputError:
            return None
        if self._view is None:
            return rows
        if rows > PART_ROWS_MAX:
            return None
        view = self._view
        return type(view)(version, view.part, view.definition, view.split).num_rows

    def _tables(self) -> list[str]:
        from dataver.tables.footer import PARQUET_SUFFIXES

        path = self.source.given.path if self._view is None else self._view.definition.path
        try:
            found = [] if self._version is None else self._version.tables(path)
        except PathNotFoundError:
            return []
        return [table for table in found if table.lower().endswith(PARQUET_SUFFIXES)]

    def to_dict(self) -> dict[str, str]:
        """What MLflow stores."""
        schema = self.schema
        text = "" if schema is None else json.dumps({"mlflow_colspec": schema.to_dict()})
        return {
            **super().to_dict(),
            **({"schema": text} if 0 < len(text) <= SCHEMA_CHARACTERS_MAX else {}),
            "profile": json.dumps(self.profile),
        }


def from_dataver(
    ref: "str | Version | SplitView",
    path: str = "",
    *,
    repo: "str | Repository | None" = None,
    name: str | None = None,
    digest: str | None = None,
) -> DataverDataset:
    """A version `REF`, or a part of it `REF:PART`, as a data set of MLflow; also a handle on either.

    What a floating ref means is looked up once, here. `path` is a file or folder of the version. The name
    is that of the dataset, with the path or part behind it; give another `name` to log the same twice
    in one run: MLflow drops the second input of a name and digest.
    """
    handle, below = _opened(ref, repo)
    given = Input.of(handle, path=path or below)
    return DataverDataset(DataverDatasetSource(given), handle, name, digest)


def _opened(
    node: "str | Version | SplitView", repo: "str | Repository | None"
) -> "tuple[Version | SplitView, str]":
    """The handle, and the path behind the ref of a URL `dataver://REF/PATH`."""
    from dataver.folders import split

    if not isinstance(node, str):
        return node, ""
    text = node.removeprefix(SCHEME).rstrip("/")
    ref, path = (text, "") if ":" in text else split(text)
    return open_node(ref, repo), path
