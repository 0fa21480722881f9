"""A model's files on this machine: their digests, and that of the tree a version would have."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from dataver.errors import BadInputError, PathNotFoundError
from dataver.format.run_record import ModelFile
from dataver.hashing import EMPTY_DIGEST, FileHasher, blake3_digest
from dataver.lineage.model_link import LINK_FILE
from dataver.paths import safe_spelling
from dataver.tree.build import build
from dataver.tree.manifest import FILE, FOLDER, SYMLINK, Entry, to_row
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


def local_model(path: str | os.PathLike[str]) -> LocalModel:
    """Hash a model's folder, or a model that is one file. `PathNotFoundError` where there is nothing."""
    place = os.fspath(path)
    if os.path.isdir(place):
        entries = sorted(_entries(place, ""), key=lambda entry: entry.path)
    elif os.path.isfile(place):
        entries = [_file(place, os.path.basename(place))]
    else:
        raise PathNotFoundError(f"there is no model at {safe_spelling(place)!r}")
    files = [
        ModelFile(entry.path.decode(), entry.size, entry.digest.hex())
        for entry in entries
        if entry.kind == FILE
    ]
    unlinked = [entry for entry in entries if entry.path != LINK_FILE.encode()]
    trees = [_tree(entries)] + ([_tree(unlinked)] if len(unlinked) < len(entries) else [])
    return LocalModel(place, tuple(files), tuple(trees))


def hash_file(path: str) -> bytes:
    """The digest of a file on this machine."""
    return _hashed(path)[0]


def _tree(entries: list[Entry]) -> str:
    nodes = MemoryNodes(MANIFEST)
    return build(nodes, map(to_row, entries)).identity.hex()


def _entries(folder: str, prefix: str) -> Iterator[Entry]:
    """What is below a folder, as a commit would see it; symlinks are not followed."""
    try:
        found = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise PathNotFoundError(f"{safe_spelling(folder)!r} cannot be read: {error.strerror}") from error
    if not found and prefix:
        yield Entry(_path(prefix[:-1]), FOLDER, False, 0, EMPTY_DIGEST)
    for entry in found:
        name = prefix + entry.name
        if entry.is_symlink():
            target = os.fsencode(os.readlink(entry.path))
            yield Entry(_path(name), SYMLINK, False, len(target), blake3_digest(target))
        elif entry.is_dir():
            yield from _entries(entry.path, name + "/")
        elif entry.is_file():
            yield _file(entry.path, name)


def _file(path: str, name: str) -> Entry:
    digest, status = _hashed(path)
    return Entry(_path(name), FILE, bool(status.st_mode & stat.S_IXUSR), status.st_size, digest)


def _path(name: str) -> bytes:
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise BadInputError(f"{safe_spelling(name)} is no name in UTF-8") from None


def _hashed(path: str) -> tuple[bytes, os.stat_result]:
    hasher = FileHasher()
    try:
        with open(path, "rb") as file:
            while block := file.read(_HASH_BLOCK_BYTES):
                hasher.update(block)
            return hasher.digest(), os.fstat(file.fileno())
    except OSError as error:
        raise PathNotFoundError(f"{safe_spelling(path)!r} cannot be read: {error.strerror}") from error
