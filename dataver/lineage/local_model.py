"""A model's files on this machine: their digests, and that of the tree a version would have."""

from __future__ import annotations

import os
from collections.abc import Iterable

from dataver.config import default_jobs
from dataver.errors import PathNotFoundError
from dataver.format.run_record import ModelFile
from dataver.hashing import FileHasher
from dataver.ingest import digest_files
from dataver.lineage.model_link import LINK_FILE
from dataver.paths import safe_spelling
from dataver.source import LocalSource
from dataver.tree.build import build
from dataver.tree.manifest import FOLDER, Entry, to_row
from dataver.tree.schema import MANIFEST, MemoryNodes
from dataver.values import dataclass

__all__ = ["LocalModel", "hash_file", "local_model"]

_HASH_BLOCK_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class LocalModel:
    """The files at `path`, by path as bytes.

    `trees` are the digests of all, and of all but the link to the run where there is one.
    """

    path: str
    files: tuple[ModelFile, ...]
    trees: tuple[str, ...]

    @property
    def unlinked(self) -> tuple[ModelFile, ...]:
        """The files without the link to the run: those of the last tree."""
        return tuple(file for file in self.files if file.path != LINK_FILE)


def local_model(path: str | os.PathLike[str]) -> LocalModel:
    """Hash a model's folder, or a model that is one file, as a commit would.

    `PathNotFoundError` where there is nothing.
    """
    place = os.fspath(path)
    if not os.path.exists(place):
        raise PathNotFoundError(f"there is no model at {safe_spelling(place)!r}; name where it was written")
    source = LocalSource(place)
    found = digest_files(source, source.files()[:], jobs=default_jobs())
    entries = sorted(Entry(*file[:4], digest) for file, digest in found)
    files = [
        ModelFile(entry.path.decode(), entry.size, entry.digest.hex())
        for entry in entries
        if entry.kind != FOLDER
    ]
    unlinked = [entry for entry in entries if entry.path != LINK_FILE.encode()]
    trees = [_tree(entries)] + ([_tree(unlinked)] if len(unlinked) < len(entries) else [])
    return LocalModel(place, tuple(files), tuple(trees))


def _tree(entries: Iterable[Entry]) -> str:
    return build(MemoryNodes(MANIFEST), map(to_row, entries)).identity.hex()


def hash_file(path: str) -> bytes:
    """The digest of a file on this machine."""
    hasher = FileHasher()
    try:
        with open(path, "rb") as file:
            while block := file.read(_HASH_BLOCK_BYTES):
                hasher.update(block)
    except OSError as error:
        raise PathNotFoundError(f"{safe_spelling(path)!r} cannot be read: {error.strerror}") from error
    return hasher.digest()
