"""Manifests: the files of a version as rows of a tree."""

from __future__ import annotations

import json
import struct
import threading
from collections import OrderedDict
from collections.abc import Sequence

from dataver.digest import Digest
from dataver.errors import BadInputError, DamagedError
from dataver.format.limits import REFERENCE_ETAG_BYTES_MAX, REFERENCE_URL_BYTES_MAX
from dataver.format.node import MUST_UNDERSTAND, Row
from dataver.hashing import Kind
from dataver.objects import Objects
from dataver.paths import check_paths
from dataver.tree.schema import KIND_FOLDER, MANIFEST, Link, MemoryNodes, Node
from dataver.values import NamedTuple

FILE, SYMLINK, FOLDER, REFERENCE = 0, 1, KIND_FOLDER, 3
EXECUTABLE = 0x10

NODES_KEPT_BYTES = 64 << 20
"""Enough for the nodes over half a million files."""
KIND_NAMES = {FILE: "file", SYMLINK: "symlink", FOLDER: "folder", REFERENCE: "reference"}

CHUNKS_TAG = b"chnk"
REFERENCE_TAG = b"refr"

_RECORD = struct.Struct("<32sBQ")


class Entry(NamedTuple):
    """One file of a version. `size` in bytes, `digest` plain BLAKE3 (of a symlink's target).

    A named tuple, as it is made once a file in hot paths. `extras` are the columns that are not
    identity, or not known here; they are carried along.
    """

    path: bytes
    kind: int
    executable: bool
    size: int
    digest: bytes
    extras: tuple[tuple[bytes, int, bytes], ...] = ()

    @property
    def chunks(self) -> bytes | None:
        """The root of the list of chunks; None for a file of one chunk, whose digest is the chunk's."""
        if not self.extras:  # most files by far
            return None
        return next((value for tag, _, value in self.extras if tag == CHUNKS_TAG), None)

    @property
    def reference(self) -> tuple[str, str] | None:
        """URL and etag of a file that stayed where it is."""
        for tag, _, value in self.extras:
            if tag == REFERENCE_TAG:
                try:
                    url, etag = json.loads(value)
                except (ValueError, TypeError, RecursionError) as error:
                    raise DamagedError(f"a reference is malformed: {error}") from error
                return str(url), str(etag)
        return None

    @property
    def identity(self) -> tuple[int, bool, int, bytes]:
        """What makes the file the same file under another name."""
        return self.kind, self.executable, self.size, self.digest


def chunks_extra(root: bytes) -> tuple[tuple[bytes, int, bytes], ...]:
    """The column that names the list of a file's chunks."""
    return ((CHUNKS_TAG, MUST_UNDERSTAND, root),)


def reference_extra(url: str, etag: str) -> tuple[tuple[bytes, int, bytes], ...]:
    """The column that says where a file stayed; `url` carries no credentials."""
    value = json.dumps([url, etag], ensure_ascii=False, separators=(",", ":")).encode()
    if len(value) > REFERENCE_URL_BYTES_MAX + REFERENCE_ETAG_BYTES_MAX:
        raise ValueError(f"a reference of {len(value)} bytes is too long")
    return ((REFERENCE_TAG, MUST_UNDERSTAND, value),)


def to_row(entry: Entry) -> Row:
    """The row of a manifest for a file."""
    kind = entry.kind | EXECUTABLE if entry.executable else entry.kind
    return Row(entry.path, _RECORD.pack(entry.digest, kind, entry.size), entry.extras)


def to_entry(row: Row) -> Entry:
    """The file that a row of a manifest stands for."""
    digest, kind, size = _RECORD.unpack(row.fixed)
    return Entry(row.key, kind & 0x0F, bool(kind & EXECUTABLE), size, digest, row.extras)


def manifest_link(manifest: bytes) -> Link:
    """A link that is enough to load a manifest's root: its identity is known once it is read."""
    return Link(manifest, b"", 0, 0)


class ManifestNodes:
    """Reads manifest nodes through the chunk index, and keeps those it used last. For several threads."""

    schema = MANIFEST

    def __init__(self, objects: Objects, kept_bytes_max: int | None = None) -> None:
        self._objects = objects
        self._kept_bytes_max = NODES_KEPT_BYTES if kept_bytes_max is None else kept_bytes_max
        self._nodes: OrderedDict[bytes, tuple[Node, int]] = OrderedDict()
        self._size_bytes = 0
        self._lock = threading.Lock()

    def load(self, link: Link) -> Node:
        """The node, verified."""
        with self._lock:
            kept = self._nodes.get(link.digest)
            if kept is not None:
                self._nodes.move_to_end(link.digest)
                return kept[0]
        data = self._objects.record(Kind.MANIFEST_NODE, link.digest)
        level, rows = MANIFEST.decode_columns(data, f"manifest node {Digest(link.digest)}")
        if not level:
            _check_paths(rows.keys, link)
        node = Node(level, rows)
        self._keep(link.digest, node, rows.size_bytes)
        return node

    def _keep(self, digest: bytes, node: Node, size_bytes: int) -> None:
        with self._lock:
            if digest in self._nodes:
                return
            self._nodes[digest] = node, size_bytes
            self._size_bytes += size_bytes
            while self._size_bytes > self._kept_bytes_max and len(self._nodes) > 1:
                self._size_bytes -= self._nodes.popitem(last=False)[1][1]

    def save(self, level: int, rows: Sequence[Row]) -> Link:
        """Reading only: new nodes go to a `MemoryNodes` over this."""
        raise TypeError(f"{len(rows)} rows of level {level}: a manifest that was read cannot be written to")


def _check_paths(paths: Sequence[bytes], link: Link) -> None:
    """Nobody vouches for a repository: no reader sees a path that no writer of the format makes."""
    try:
        check_paths(paths)
    except BadInputError as error:
        raise DamagedError(f"manifest node {Digest(link.digest)} is damaged: {error}") from error


def root_of(nodes: ManifestNodes | MemoryNodes, manifest: bytes) -> Link:
    """The full link of a manifest's root: with the `tree` digest and the counts."""
    node = nodes.load(manifest_link(manifest))
    return MANIFEST.encode(node.level, node.rows)[1]
