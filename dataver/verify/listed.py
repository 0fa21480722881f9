"""The files of a version, listed in a document that travels with a copy of their bytes: `.dataver.json`.

It holds the version's own record beside the list. The digest of the record is the version's id, the record
names the tree, and the tree is built anew from the list: so whoever knows the id can believe every line of
the list, wherever the document came from, and without the repository.

    {"format": "dataver files 1", "dataset", "version": "v3" or null, "id", "tree", "repository", "url",
     "record": hex, "files": [{"path", "kind", "executable", "size", "digest", "target"}…]}

`kind` is left out for a file, `executable` where it is false; only a symlink has a `target`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dataver.digest import DIGEST_BYTES
from dataver.errors import BadInputError, DamagedError, DataverError
from dataver.files import Files
from dataver.format.version import VersionRecord, decode_version
from dataver.hashing import blake3_digest
from dataver.paths import check_paths
from dataver.tree.build import build
from dataver.tree.manifest import FILE, KIND_NAMES, SYMLINK, Entry, to_row
from dataver.tree.schema import MANIFEST, MemoryNodes
from dataver.values import dataclass

__all__ = ["LIST_FILE", "Listed", "document_of", "read_list"]

LIST_FILE = ".dataver.json"
FORMAT = "dataver files 1"
_KINDS = {name: kind for kind, name in KIND_NAMES.items()}


@dataclass(frozen=True, slots=True)
class Listed:
    """A version as such a document has it. `number` is None off `main`; `files` needs no repository.

    `id` and the files are proved by each other. The names of dataset and repository are merely told.
    """

    dataset: str
    number: int | None
    id: str
    record: VersionRecord
    repository: str
    url: str
    files: Files

    @property
    def name(self) -> str:
        """`iris@v3`, or with the whole id off `main`."""
        return f"{self.dataset}@{f'v{self.number}' if self.number else self.id}"


def document_of(
    name: tuple[str, int | None], record: VersionRecord, repository: tuple[str, str], files: Files
) -> bytes:
    """The document of a version: its dataset and number, its record, and the repository's id and URL.

    The same bytes for the same version of the same repository, one line a file.
    """
    dataset, number = name
    head = {
        "format": FORMAT,
        "dataset": dataset,
        "version": f"v{number}" if number else None,
        "id": str(record.id()),
        "tree": str(record.tree),
        "repository": repository[0],
        "url": repository[1],
        "record": record.encode().hex(),
    }
    start = json.dumps(head, indent=1).removesuffix("\n}")
    lines = ",\n".join(json.dumps(line) for line in _lines(files))
    return f'{start},\n "files": [\n{lines}\n ]\n}}\n'.encode()


def _lines(files: Files) -> Iterator[dict[str, Any]]:
    for entry in files.scan():
        line: dict[str, Any] = {"path": entry.path.decode(), "size": entry.size, "digest": entry.digest.hex()}
        if entry.kind != FILE:
            line["kind"] = KIND_NAMES[entry.kind]
        if entry.executable:
            line["executable"] = True
        if entry.kind == SYMLINK:
            line["target"] = files.link_target(entry).decode()
        yield line


def read_list(data: bytes, what: str) -> Listed:
    """The version of a document; `what` names it in errors.

    `BadInputError` where it is no such document, `DamagedError` where its list is not that of its record.
    """
    try:
        document = json.loads(data)
        if document.get("format") != FORMAT:
            raise BadInputError(
                f"{what} is no list of a version's files as this release writes it: {FORMAT!r} is expected"
            )
        targets: dict[bytes, bytes] = {}
        entries = sorted(_entries(document["files"], targets))
        record = decode_version(bytes.fromhex(document["record"]), f"the version in {what}")
        number = document["version"]
        texts = {name: document[name] for name in ("dataset", "id", "repository", "url")}
        if not all(isinstance(text, str) for text in texts.values()):
            raise TypeError("a name is no text")
        found = Listed(
            texts["dataset"], int(number[1:]) if number else None, str(record.id()), record,
            texts["repository"], texts["url"], _files(entries, record, targets, what),
        )  # fmt: skip
    except DataverError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, OverflowError) as error:
        raise BadInputError(
            f"{what} is no list of a version's files: {type(error).__name__}: {error}"
        ) from None
    if texts["id"] != found.id:
        raise DamagedError(f"{what} says that it lists version {texts['id']!a:.70}, but it is {found.id}")
    return found


def _entries(lines: Iterable[Mapping[str, Any]], targets: dict[bytes, bytes]) -> Iterator[Entry]:
    """The entries; the targets of symlinks go to `targets`, by their digests."""
    for line in lines:
        path, digest = line["path"].encode(), bytes.fromhex(line["digest"])
        size, kind = line["size"], _KINDS[line.get("kind", "file")]
        if len(digest) != DIGEST_BYTES or type(size) is not int or not 0 <= size < 1 << 63:
            raise ValueError(f"the size or digest of {line['path'][:100]!a}")
        if kind == SYMLINK:
            target = line["target"].encode()
            if bytes(blake3_digest(target)) != digest:
                raise ValueError(f"the target of {line['path'][:100]!a}")
            targets[digest] = target
        yield Entry(path, kind, line.get("executable", False) is True, size, digest)


def _files(entries: list[Entry], record: VersionRecord, targets: Mapping[bytes, bytes], what: str) -> Files:
    paths = [entry.path for entry in entries]
    check_paths(paths)
    if len(set(paths)) != len(paths):
        raise BadInputError(f"{what} lists a path twice")
    nodes = MemoryNodes(MANIFEST)
    root = build(nodes, map(to_row, entries))
    if root.identity != record.tree:
        raise DamagedError(f"{what} was changed: its files are not those of the version that it lists")
    return Files(nodes, root, lambda entry: targets[entry.digest])
