"""What two versions, or parts of them, both have: files, chunks and rows with the same key.

Files and chunks are compared by what manifests and lists of chunks say. Files of tables that both have
are never read; of the others the columns of the key alone. Hashes find rows that may be the same, their
keys' bytes decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dataver.errors import BadInputError
from dataver.parts import (
    SPLITS_FILE,
    Definition,
    SplitView,
    batches_of,
    parse_node,
    rule_of,
    tables_of,
)
from dataver.reading import file_rows
from dataver.results import OverlapResult, RowOverlap
from dataver.row_tables import FORMATS, TablesAt, dataset_at, tables_at
from dataver.splits.keys import NULL, KeyRows, column_number, key_columns, key_rows, key_type
from dataver.splits.keyset import KeySet
from dataver.tree.manifest import FILE, REFERENCE, Entry
from dataver.version_readers import TABLE_SUFFIXES

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray

    from dataver.repository import Repository
    from dataver.splits.keys import Hashes, Mask
    from dataver.version import Version

    Chunks = tuple[NDArray[np.bytes_], NDArray[np.int64]]

EXAMPLES_MAX = 10
KEPT_BYTES_MAX = 256 << 20
"""So many bytes of keys are kept for the second look at them; what is beyond is read again."""
CONTROL_FILES = {SPLITS_FILE.encode(), b".dataverignore"}
"""Files that say something about the data and are none."""


def overlap(
    repository: Repository,
    a: str,
    b: str,
    key: Sequence[str] | str | None = None,
    path: str = "",
    by: Definition | None = None,
) -> OverlapResult:
    """See `Repository.overlap`."""
    left, right = (_Side(repository, node, path, by) for node in (a, b))
    names = _key(key, (left, right))
    files = chunks = None
    shared: set[bytes] = set()
    if left.view is None and right.view is None:
        a_files, b_files = left.files(), right.files()
        shared = {entry.digest for entry in a_files if entry.size} & {entry.digest for entry in b_files}
        files = _pairs(a_files, b_files, shared)
        chunks = _shared_chunks(_chunks(left, a_files), _chunks(right, b_files))
    rows = None
    if names:
        a_rows, b_rows = _Rows(left, names, shared), _Rows(right, names, shared)
        a_rows.fit(b_rows)
        b_rows.fit(a_rows)
        rows = _shared_rows(a_rows, b_rows, names)
    suffixes = tuple(suffix for kind in FORMATS for suffix in TABLE_SUFFIXES[kind])
    tables = sum(old.lower().endswith(suffixes) for old, _ in files or ())
    return OverlapResult(left.name, right.name, files, chunks, rows, tables)


def _key(key: Sequence[str] | str | None, sides: Sequence[_Side]) -> list[str]:
    """The columns of the key: those asked for, else those that decide a part by its key."""
    if key is not None:
        names = [key] if isinstance(key, str) else list(key)
        if not names or len(set(names)) != len(names) or not all(names):
            raise BadInputError(f"the columns of a key are a list of different names, not {key!r:.100}")
        return names
    for side in sides:
        if side.view is not None and side.view.definition.kind in ("hash", "list"):
            return list(side.view.definition.columns)
    if any(side.view for side in sides):
        raise BadInputError("parts of rows are compared by a key: name its columns, as --key id")
    return []


class _Side:
    """A version, or a part of one."""

    def __init__(self, repository: Repository, node: str, path: str, by: Definition | None) -> None:
        ref, part = parse_node(node)
        self.version: Version = repository.version(ref)
        self.view: SplitView | None = None
        if part is not None:
            self.view = self.version.split(part, by, path=path or None)
        self.path = path
        self.name = self.version.name if self.view is None else self.view.name

    def files(self) -> list[Entry]:
        """The files that are data, by path."""
        found = self.version.tree_of_files().scan()
        return [
            entry for entry in found if entry.kind in (FILE, REFERENCE) and entry.path not in CONTROL_FILES
        ]


def _pairs(a: list[Entry], b: list[Entry], shared: set[bytes]) -> list[tuple[str, str]]:
    """The paths of each shared file, once: the same path in both versions where there is one."""
    in_b = {entry.path: entry.digest for entry in b}
    first_in_b = {entry.digest: entry.path for entry in reversed(b)}
    found: dict[bytes, tuple[str, str]] = {}
    for entry in a:
        path, digest = entry.path, entry.digest
        if digest in shared and in_b.get(path) == digest:
            found[digest] = path.decode(), path.decode()
        elif digest in shared:
            found.setdefault(digest, (path.decode(), first_in_b[digest].decode()))
    return sorted(found.values())


# Sorted arrays as sets. Those of numpy 2.4 hash, which took five times as long for millions of values.


def _distinct(parts: Sequence[NDArray[Any]]) -> Any:
    """All values of the parts, sorted, each once."""
    values = np.concatenate(parts)
    values.sort()
    return values[np.concatenate([[True], values[1:] != values[:-1]])] if len(values) else values


def _among(values: NDArray[Any], members: NDArray[Any]) -> Mask:
    """Which of the values are among sorted members."""
    if not len(members):
        return np.zeros(len(values), np.bool_)
    places = np.minimum(np.searchsorted(members, values), len(members) - 1)
    found: Mask = members[places] == values
    return found


# Chunks


def _shared_chunks(a: Chunks, b: Chunks) -> tuple[int, int, int, int]:
    """The bytes of both versions, and those of either in chunks that the other has too."""
    (a_digests, a_sizes), (b_digests, b_sizes) = a, b
    return (
        int(a_sizes.sum()),
        int(b_sizes.sum()),
        int(a_sizes[_among(a_digests, _distinct([b_digests]))].sum()),
        int(b_sizes[_among(b_digests, _distinct([a_digests]))].sum()),
    )


def _chunks(side: _Side, entries: list[Entry]) -> Chunks:
    """The digest and the size of every chunk of the files, once a time that it is in one."""
    objects = side.version.objects()
    digests, sizes = bytearray(), []
    lists: dict[bytes, tuple[bytes, list[int]]] = {}
    for entry in entries:
        found = lists.get(entry.digest)
        if found is None:
            rows = [row for _, row in file_rows(entry, objects)]
            found = b"".join(row.digest for row in rows), [row.size_bytes for row in rows]
            lists[entry.digest] = found
        digests += found[0]
        sizes += found[1]
    # Texts of numpy pad with zeros, which changes nothing among texts of one length.
    return np.frombuffer(bytes(digests), "S32"), np.array(sizes, np.int64)


# Rows


class _Rows:
    """The keys of a side's rows in blocks, read once where they fit `KEPT_BYTES_MAX`."""

    def __init__(self, side: _Side, names: Sequence[str], shared: set[bytes]) -> None:
        self.name = side.name
        self._side = side
        self._names = names
        self._shared = shared
        self._kept: list[tuple[Any, KeyRows]] = []
        self._kept_bytes = 0
        self._whole = False
        self._at: TablesAt | None = None
        self.tables = self._open()
        if self.tables is not None:
            for name in names:
                key_type(self.tables.schema.field(column_number(self.tables.schema, name)).type)

    @property
    def is_text(self) -> bool:
        """Whether the keys are texts for want of types in the files."""
        return self._at is not None and self._at.is_text

    def fit(self, other: _Rows) -> None:
        """Where the files have no types, and the other side's have, read the keys as of these."""
        if self._at is None or not self.is_text or other.tables is None or other.is_text:
            return
        schema = other.tables.schema
        types = {name: schema.field(column_number(schema, name)).type for name in self._names}
        self.tables = dataset_at(self._side.version, self._at, types={n: plain(t) for n, t in types.items()})

    def _open(self) -> pyarrow.dataset.Dataset | None:
        """The tables that must be read: all of a part, those of a version that the other has not."""
        side = self._side
        if side.view is not None:
            return tables_of(side.version, side.view.definition)
        tree = side.version.tree_of_files()
        found = tables_at(side.version, side.path)
        others = [path for path in found.files if tree.follow(path.encode()).digest not in self._shared]
        if found.files and not others:
            return None
        self._at = found._replace(files=others)
        return dataset_at(side.version, self._at, texts=self._names)

    def type_of(self, name: str) -> pyarrow.DataType | None:
        """The type of a column of the key."""
        if self.tables is None:
            return None
        return self.tables.schema.field(column_number(self.tables.schema, name)).type

    def blocks(self) -> Iterator[tuple[Any, KeyRows]]:
        """The key's columns and the keys, block by block."""
        if self._whole:
            yield from self._kept
            return
        self._kept, self._kept_bytes = [], 0
        for block in self._read():
            self._kept_bytes += block[0].nbytes + block[1].data.nbytes + block[1].starts.nbytes
            if self._kept_bytes <= KEPT_BYTES_MAX:
                self._kept.append(block)
            yield block
        self._whole = self._kept_bytes <= KEPT_BYTES_MAX
        if not self._whole:
            self._kept = []

    def _read(self) -> Iterator[tuple[Any, KeyRows]]:
        import pyarrow

        if self.tables is None:
            return
        view = self._side.view
        rule = None
        needed = list(self._names)
        if view is not None:
            rule = rule_of(view.version, view.definition, self.tables.schema)
            needed = list(dict.fromkeys([*needed, *view.definition.columns]))
        for batch in batches_of(self._side.version, self.tables, needed):
            if rule is not None and view is not None:
                batch = batch.filter(pyarrow.array(rule.mask(batch, view.part)))
            if batch.num_rows:
                batch = batch.select(list(self._names))
                yield batch, key_rows(key_columns(batch, self._names))

    def hashes(self) -> tuple[Hashes, int]:
        """The distinct hashes of the keys, sorted, and how many rows there are."""
        found, rows = np.empty(0, np.uint64), 0
        pending: list[Hashes] = []
        for _, keys in self.blocks():
            rows += len(keys)
            pending.append(keys.hashes())
            if sum(map(len, pending)) > max(len(found), 1 << 20):
                found, pending = _distinct([found, *pending]), []
        return _distinct([found, *pending]), rows

    def candidates(self, hashes: Hashes) -> KeySet:
        """The distinct keys that have one of these hashes."""
        parts = []
        for _, keys in self.blocks():
            part = keys.take(np.flatnonzero(_among(keys.hashes(), hashes)))
            if len(part):
                parts.append(part)
        return KeySet(KeyRows.concat(parts))

    def count(self, keys: KeySet) -> tuple[int, list[list[Any]]]:
        """How many rows have a key of the set, and some of these keys as values."""
        rows, seen = 0, set()
        examples: list[list[Any]] = []
        for batch, found in self.blocks():
            mask: Mask = keys.contains(found)
            rows += int(mask.sum())
            for row in np.flatnonzero(mask).tolist() if len(examples) < EXAMPLES_MAX else ():
                spelling = found.bytes_of(row)
                if spelling not in seen:
                    seen.add(spelling)
                    examples.append([column[row].as_py() for column in batch.columns])
                    if len(examples) == EXAMPLES_MAX:
                        break
        return rows, examples


def plain(kind: pyarrow.DataType) -> pyarrow.DataType:
    """The type of the values that a dictionary stands for."""
    import pyarrow

    return kind.value_type if pyarrow.types.is_dictionary(kind) else kind


def _shared_rows(a: _Rows, b: _Rows, names: Sequence[str]) -> RowOverlap:
    """The rows of either side whose key the other side has."""
    for name in names:
        kinds = [rows.type_of(name) for rows in (a, b)]
        if len({key_type(kind) for kind in kinds if kind is not None} - {NULL}) > 1:
            raise BadInputError(
                f"the column {name!r} is {kinds[0]} in {a.name} and {kinds[1]} in {b.name}; such keys are "
                "never the same"
            )
    (a_hashes, a_rows), (b_hashes, b_rows) = a.hashes(), b.hashes()
    suspects = a_hashes[_among(a_hashes, b_hashes)]
    if not len(suspects):
        return RowOverlap(tuple(names), a_rows, b_rows, 0, 0, 0, [])
    both = a.candidates(suspects).common(b.candidates(suspects))
    a_shared, examples = a.count(both)
    b_shared, _ = b.count(both)
    return RowOverlap(tuple(names), a_rows, b_rows, len(both), a_shared, b_shared, examples)
