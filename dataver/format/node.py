"""Tree nodes: a sorted table of keys with column arrays beside them.

One shape serves manifests and the log's state, leaves and inner nodes. A node has two encodings:
the stored one, with every column, and the identity one, with the columns marked as identity
alone. The digest of the second does not depend on where or how bytes are stored.

    stored    "DVNT" | version u8 | level u8 | columns u16 | rows u32 | column…
    identity  "DVIT" | version u8 | level u8 | columns u16 | rows u32 | identity column…
    column    tag 4 | flags u8 | shape u8 | width u16 | length u32 | body

Columns stand in ascending order of their tags. Shapes: `KEYS` front-coded byte strings in
strictly ascending order (u16 shared prefix a row, u16 suffix length a row, suffixes); `FIXED`
`width` bytes a row; `SPARSE` values of some rows (u32 count, u32 row…, u32 length…, values), left
out where no row has one. Flags: 1 identity, 2 must be understood.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise, repeat
from operator import add, lt
from typing import overload

from dataver.errors import NewerFormatError
from dataver.format.binary import Buffer, Reader
from dataver.format.limits import NODE_BYTES_MAX, NODE_KEYS_BYTES_MAX
from dataver.values import NamedTuple, dataclass

NODE_MAGIC = b"DVNT"
IDENTITY_MAGIC = b"DVIT"
NODE_VERSION = 1
LEVEL_MAX = 15

IDENTITY = 1
MUST_UNDERSTAND = 2

KEYS = 0
FIXED = 1
SPARSE = 2

KEY_TAG = b"key "

_HEAD = struct.Struct("<4sBBHI")
_COLUMN = struct.Struct("<4sBBHI")


class Row(NamedTuple):
    """One row: its key, the fixed columns side by side, and the sparse values it has.

    A named tuple and not a frozen dataclass, as it is made once a file in the hot paths and a
    tuple costs a third. `extras` are (tag, flags, value), sorted by tag.
    """

    key: bytes
    fixed: bytes
    extras: tuple[tuple[bytes, int, bytes], ...] = ()


# A named tuple's own constructor costs three times as much, once a file.
_new_row: Callable[[type[Row], tuple[object, ...]], Row] = tuple.__new__


def rows_of(keys: Iterable[bytes], fixed: Iterable[bytes]) -> Iterator[Row]:
    """Rows without sparse values, made together."""
    return map(_new_row, repeat(Row), zip(keys, fixed, repeat(()), strict=False))


@dataclass(frozen=True, slots=True)
class FixedColumn:
    """A column of `width` bytes a row."""

    tag: bytes
    width: int
    identity: bool

    @property
    def flags(self) -> int:
        """The flags as stored: readers must understand every fixed column."""
        return MUST_UNDERSTAND | (IDENTITY if self.identity else 0)


@dataclass(frozen=True, slots=True)
class NodeSchema:
    """The columns that a kind of node has: fixed ones in tag order, and the sparse tags known."""

    fixed: tuple[FixedColumn, ...]
    sparse: frozenset[bytes]

    def identity(self) -> NodeSchema:
        """The schema of the identity bytes."""
        return NodeSchema(tuple(column for column in self.fixed if column.identity), self.sparse)

    def spans(self) -> list[tuple[FixedColumn, int, int]]:
        """Each fixed column with its start and exclusive end within `Row.fixed`."""
        ends = list(accumulate(column.width for column in self.fixed))
        return [(c, end - c.width, end) for c, end in zip(self.fixed, ends, strict=True)]


def encode(schema: NodeSchema, level: int, rows: Sequence[Row]) -> tuple[bytes, bytes]:
    """The stored and the identity bytes of a node."""
    columns = [(KEY_TAG, MUST_UNDERSTAND | IDENTITY, KEYS, 0, _encode_keys([row.key for row in rows]))]
    for column, start, end in schema.spans():
        body = b"".join([row.fixed[start:end] for row in rows])
        columns.append((column.tag, column.flags, FIXED, column.width, body))
    columns.extend(_sparse_columns(rows))
    columns.sort(key=lambda column: column[0])
    stored = [_COLUMN.pack(t, f, s, w, len(body)) + body for t, f, s, w, body in columns]
    identity = [part for part, column in zip(stored, columns, strict=True) if column[1] & IDENTITY]
    return (
        _HEAD.pack(NODE_MAGIC, NODE_VERSION, level, len(stored), len(rows)) + b"".join(stored),
        _HEAD.pack(IDENTITY_MAGIC, NODE_VERSION, level, len(identity), len(rows)) + b"".join(identity),
    )


class Rows(Sequence[Row]):
    """The rows of a node, each made when it is asked for: a look-up in a large node makes one of them.

    `keys` are all keys, ascending.
    """

    __slots__ = ("_columns", "_extras", "keys")

    def __init__(
        self,
        keys: list[bytes],
        columns: list[tuple[int, bytes]],
        extras: dict[int, list[tuple[bytes, int, bytes]]],
    ) -> None:
        """`columns` are (width, body) in the order that they stand in `Row.fixed`."""
        self.keys = keys
        self._columns = columns
        self._extras = extras

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self.keys))
            return list(self._made(start, stop)) if step == 1 else [self[n] for n in range(start, stop, step)]
        key = self.keys[index]
        index %= len(self.keys)
        fixed = b"".join([body[width * index : width * (index + 1)] for width, body in self._columns])
        return Row(key, fixed, tuple(self._extras.get(index, ())))

    def __iter__(self) -> Iterator[Row]:
        return self._made(0, len(self.keys))

    def _made(self, start: int, stop: int) -> Iterator[Row]:
        """Rows `start` to `stop` (exclusive), made together."""
        keys = self.keys if stop - start == len(self.keys) else self.keys[start:stop]
        rows = rows_of(keys, self.records(start, stop))
        if not self._extras:
            return rows
        extras = self._extras
        return (
            row._replace(extras=tuple(extras[index])) if index in extras else row
            for index, row in enumerate(rows, start)
        )

    def records(self, start: int, stop: int) -> Iterator[bytes]:
        """The fixed columns side by side, of rows `start` to `stop` (exclusive)."""
        parts = [[b[i : i + w] for i in range(w * start, w * stop, w)] for w, b in self._columns]
        return map(b"".join, zip(*parts, strict=True)) if parts else repeat(b"", stop - start)

    def extras(self, start: int, stop: int) -> Iterator[tuple[int, tuple[tuple[bytes, int, bytes], ...]]]:
        """The sparse values of those of rows `start` to `stop` (exclusive) that have any, by position."""
        return ((at, tuple(self._extras[at])) for at in sorted(self._extras) if start <= at < stop)

    @property
    def columns(self) -> list[bytes]:
        """The fixed columns, each as its values side by side, in the order that they stand in `Row.fixed`."""
        return [body for _, body in self._columns]

    @property
    def size_bytes(self) -> int:
        """About the memory that this takes."""
        bodies = sum(len(body) for _, body in self._columns)
        extras = sum(200 + len(value) for values in self._extras.values() for _, _, value in values)
        return sum(map(len, self.keys)) + 41 * len(self.keys) + bodies + extras


def decode(
    schema_of_level: tuple[NodeSchema, NodeSchema],
    data: Buffer,
    what: str,
    expected_magic: bytes = NODE_MAGIC,
) -> tuple[int, Rows]:
    """The level and the rows of a node. `schema_of_level` is (leaf, inner)."""
    reader = Reader(data, what)
    if len(data) > NODE_BYTES_MAX:
        reader.fail(f"{len(data)} bytes are more than a node may have")
    magic, version, level, column_count, row_count = _HEAD.unpack(reader.raw(_HEAD.size))
    if magic != expected_magic:
        reader.fail("it does not begin as a node does")
    if version != NODE_VERSION:
        raise NewerFormatError(f"{what} has node version {version}; this release reads {NODE_VERSION}")
    if level > LEVEL_MAX:
        reader.fail(f"level {level} is deeper than a tree may be")
    if level and not row_count:
        reader.fail("it has nothing below it, and only a leaf may")
    schema = schema_of_level[1 if level else 0]
    widths = {column.tag: column for column in schema.fixed}
    keys: list[bytes] = []
    fixed: dict[bytes, bytes] = {}
    extras: dict[int, list[tuple[bytes, int, bytes]]] = {}
    previous = b""
    for _ in range(column_count):
        tag, flags, shape, width, length = _COLUMN.unpack(reader.raw(_COLUMN.size))
        body = reader.raw(length)
        if tag <= previous:
            reader.fail("its columns are not in order")
        previous = tag
        if tag == KEY_TAG and shape == KEYS:
            keys = _decode_keys(body, row_count, what)
        elif shape == FIXED and tag in widths:
            if width != widths[tag].width or length != width * row_count:
                reader.fail(f"column {tag!r} has another width")
            fixed[tag] = body
        elif shape == SPARSE and (tag in schema.sparse or not flags & MUST_UNDERSTAND):
            _decode_sparse(tag, flags, body, row_count, extras, what)
        else:
            raise NewerFormatError(f"{what} has a column {tag!r} that this release does not know")
    reader.end()
    if len(keys) != row_count or len(fixed) != len(widths):
        reader.fail("a column is missing")
    return level, Rows(keys, [(column.width, fixed[column.tag]) for column in schema.fixed], extras)


def _encode_keys(keys: list[bytes]) -> bytes:
    prefixes: list[int] = []
    suffixes: list[bytes] = []
    previous, shared = b"", 0
    for key in keys:
        # Neighbours mostly share as much as the pair before them.
        if key[: shared + 1] == previous[: shared + 1] or key[:shared] != previous[:shared]:
            shared = _shared_prefix(previous, key)
        prefixes.append(shared)
        suffixes.append(key[shared:])
        previous = key
    count = len(keys)
    head = struct.pack(f"<{2 * count}H", *prefixes, *map(len, suffixes))
    return head + b"".join(suffixes)


def _shared_prefix(a: bytes, b: bytes) -> int:
    # One big-integer XOR finds the first difference without a Python step a byte.
    length = min(len(a), len(b))
    difference = int.from_bytes(a[:length], "big") ^ int.from_bytes(b[:length], "big")
    return length - (difference.bit_length() + 7) // 8


def _decode_keys(body: bytes, count: int, what: str) -> list[bytes]:
    reader = Reader(body, what)
    if 4 * count > len(body):
        reader.fail("it announces more rows than it has bytes for")
    numbers = struct.unpack_from(f"<{2 * count}H", body)
    if sum(numbers) > NODE_KEYS_BYTES_MAX:
        # Front coding repeats a prefix at no cost: a few megabytes could spell out gigabytes.
        reader.fail(f"its keys have {sum(numbers)} bytes, and {NODE_KEYS_BYTES_MAX} are the most")
    prefixes, lengths = numbers[:count], numbers[count:]
    bounds = list(accumulate(lengths, initial=4 * count))
    if bounds[-1] != len(body):
        reader.fail(
            "a key reaches beyond its column"
            if bounds[-1] > len(body)
            else "its key column has bytes left over"
        )
    previous = b""
    # All keys first, then all checks: what costs the least a key.
    keys = [
        previous := previous[:shared] + body[start:end]
        for shared, start, end in zip(prefixes, bounds, bounds[1:], strict=False)
    ]
    if list(map(len, keys)) != list(map(add, prefixes, lengths)):
        reader.fail("a key shares more than the one before it has")
    if not all(map(lt, keys, keys[1:])):
        reader.fail("its keys are not in ascending order")
    return keys


def _sparse_columns(rows: Sequence[Row]) -> list[tuple[bytes, int, int, int, bytes]]:
    values: dict[bytes, list[tuple[int, int, bytes]]] = {}
    for index, row in enumerate(rows):
        for tag, flags, value in row.extras:
            values.setdefault(tag, []).append((index, flags, value))
    columns = []
    for tag, present in values.items():
        count = len(present)
        body = struct.pack(
            f"<I{2 * count}I", count, *(index for index, _, _ in present), *(len(v) for _, _, v in present)
        )
        columns.append((tag, present[0][1], SPARSE, 0, body + b"".join(v for _, _, v in present)))
    return columns


def _decode_sparse(
    tag: bytes,
    flags: int,
    body: bytes,
    row_count: int,
    extras: dict[int, list[tuple[bytes, int, bytes]]],
    what: str,
) -> None:
    reader = Reader(body, what)
    count = reader.u32()
    if not 0 < count <= row_count:
        reader.fail(f"column {tag!r} has values for {count} of {row_count} rows")
    indexes, lengths = reader.u32s(count), reader.u32s(count)
    if not all(map(lt, indexes, indexes[1:])) or indexes[-1] >= row_count:
        reader.fail(f"column {tag!r} names rows out of order")
    values = reader.raw(sum(lengths))
    reader.end()
    bounds = accumulate(lengths, initial=0)
    # All values at once: a node of the log's state has one in each row.
    for index, (start, stop) in zip(indexes, pairwise(bounds), strict=True):
        extras.setdefault(index, []).append((tag, flags, values[start:stop]))
