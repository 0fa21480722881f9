"""A model's files on disk, by their digests: what tells one model from another, wherever it lies."""

from __future__ import annotations

import os

from dataver.config import default_jobs
from dataver.digest import Digest
from dataver.errors import PathNotFoundError
from dataver.format.run_record import ModelFile
from dataver.ingest import digest_files
from dataver.paths import safe_spelling
from dataver.source import EMPTY_FOLDER, LocalSource
from dataver.tree.build import build
from dataver.tree.manifest import Entry, to_row
from dataver.tree.schema import MANIFEST, MemoryNodes
from dataver.values import dataclass

__all__ = ["FoundModel", "hash_model"]


@dataclass(frozen=True, slots=True)
class FoundModel:
    """The files of a model, by path, and the digest that a version with exactly these would have."""

    tree: str
    files: tuple[ModelFile, ...]

    @property
    def size_bytes(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file in self.files)


def hash_model(path: str | os.PathLike[str]) -> FoundModel:
    """Read and hash a model, a folder or a file, as a commit would. `PathNotFoundError` where none is."""
    place = os.fspath(path)
    if not os.path.exists(place):
        raise PathNotFoundError(f"there is no model at {safe_spelling(place)!r}; log it after it was written")
    source = LocalSource(place)
    files = source.files()
    done = digest_files(source, files[:], jobs=default_jobs())
    rows = sorted(done.entries, key=lambda entry: entry.path)
    root = build(MemoryNodes(MANIFEST), map(to_row, rows))
    return FoundModel(
        Digest(root.identity).hex(), tuple(_file(row) for row in rows if row.kind != EMPTY_FOLDER)
    )


def _file(entry: Entry) -> ModelFile:
    return ModelFile(entry.path.decode("utf-8", "surrogateescape"), entry.size, Digest(entry.digest).hex())
