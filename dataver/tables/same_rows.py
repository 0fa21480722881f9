"""Whether two streams of rows are the same to the bit, however they are cut into batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dataver.tables.leaves import is_list

if TYPE_CHECKING:
    import pyarrow as pa


def first_difference(a: Iterator[pa.RecordBatch], b: Iterator[pa.RecordBatch]) -> str | None:
    """Where the streams differ first, in words; None where they are the same.

    NaN is NaN where it has the same bits, and negative zero is another value than zero. Values that are
    coded by a dictionary are compared as what they stand for.
    """
    left, right = _Stream(a), _Stream(b)
    row = 0
    while True:
        count = min(left.ready(), right.ready())
        if not count:
            longer = bool(left.ready() or right.ready())
            return f"one has more than {row:,} rows" if longer else None
        one, other = left.take(count), right.take(count)
        for name, x, y in zip(one.schema.names, one.columns, other.columns, strict=True):
            if not same(x, y):
                return f"column {name!r:.100}, rows {row:,} to {row + count:,}"
        row += count


class _Stream:
    """Batches of which any number of rows can be taken."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._batch: pa.RecordBatch | None = None

    def ready(self) -> int:
        """How many rows can be taken; 0 at the end."""
        while self._batch is None or not self._batch.num_rows:
            self._batch = next(self._batches, None)
            if self._batch is None:
                return 0
        return int(self._batch.num_rows)

    def take(self, count: int) -> pa.RecordBatch:
        assert self._batch is not None
        taken = self._batch.slice(0, count)
        self._batch = self._batch.slice(count)
        return taken


def same(a: pa.Array, b: pa.Array) -> bool:
    """Whether two arrays of one type hold the same values, floats by their bits."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(a, pa.ExtensionArray) and isinstance(b, pa.ExtensionArray):
        a, b = a.storage, b.storage
    if pa.types.is_dictionary(a.type) and pa.types.is_dictionary(b.type):
        a, b = a.dictionary_decode(), b.dictionary_decode()
    kind = a.type
    if kind != b.type or len(a) != len(b):
        return False
    if pa.types.is_floating(kind):
        bits = {16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}[kind.bit_width]
        return bool(a.view(bits).equals(b.view(bits)))
    if pa.types.is_struct(kind):
        return bool(a.is_null().equals(b.is_null())) and all(map(same, a.flatten(), b.flatten()))
    if pa.types.is_map(kind):
        pairs = pa.list_(
            pa.struct([pa.field("key", kind.key_type, nullable=False), ("value", kind.item_type)])
        )
        return same(a.cast(pairs), b.cast(pairs))
    if is_list(kind):
        lengths = pc.list_value_length(a).equals(pc.list_value_length(b))
        return bool(a.is_null().equals(b.is_null())) and lengths and same(a.flatten(), b.flatten())
    return bool(a.equals(b))
