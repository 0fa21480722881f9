"""Statistics of one leaf column, taken in batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
from xxhash import xxh3_64_intdigest

from dataver.format.table_statistics import ColumnStatistics, TopValues, Value
from dataver.tables.sketch import (
    Detail,
    Moments,
    QuantileBuilder,
    RegisterBuilder,
    TopBuilder,
    collapse,
    hash_integers,
    merge_moments,
    moments,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dataver.tables.sketch import Floats, Integers

    Numbers = NDArray[Any]

TOP_BYTES_MAX = 128
"""Longer values are not listed among the frequent ones."""
EXTREME_BYTES_MAX = 1024
"""A longer least or greatest value is left out."""


class Column(Protocol):
    """Takes in the batches of a column; gives its statistics in the end."""

    def add(self, array: pa.Array) -> None:
        """Take in a batch."""

    def finish(self) -> ColumnStatistics:
        """Of all batches."""


def column_of(name: str, kind: pa.DataType, detail: Detail) -> Column:
    """What takes in a leaf column of this type."""
    types = pa.types
    if types.is_floating(kind):
        return _Floats(name, kind, detail)
    if types.is_integer(kind) or types.is_boolean(kind):
        return _Integers(name, kind, detail)
    if types.is_temporal(kind) and not types.is_interval(kind):
        return _Integers(name, kind, detail)
    if types.is_decimal(kind):
        return _Decimals(name, kind, detail)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return _Texts(name, kind, detail)
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        return _Bytes(name, kind, detail)
    if types.is_fixed_size_binary(kind):
        return _Bytes(name, kind, detail)
    if types.is_null(kind):
        return _Nulls(name)
    return _Unknown(name, kind)


class _Nulls:
    """A column without a type: all of it is null."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nulls = 0

    def add(self, array: pa.Array) -> None:
        self._nulls += len(array)

    def finish(self) -> ColumnStatistics:
        return ColumnStatistics(self._name, "null", nulls=self._nulls)


class _Unknown:
    """A column of a type that nothing is computed of."""

    def __init__(self, name: str, kind: pa.DataType) -> None:
        self._name = name
        self._type = str(kind)
        self._values = self._nulls = 0

    def add(self, array: pa.Array) -> None:
        self._values += len(array) - array.null_count
        self._nulls += array.null_count

    def finish(self) -> ColumnStatistics:
        reason = "nothing is computed of this type"
        return ColumnStatistics(self._name, self._type, reason, self._values, self._nulls)


class _Base:
    """What columns of all types have in common."""

    def __init__(self, name: str, kind: pa.DataType, detail: Detail) -> None:
        self._name = name
        self._kind = kind
        self._values = self._nulls = 0
        self._registers = RegisterBuilder(detail.registers)
        self._top = TopBuilder(detail.tops)
        self._quantiles = QuantileBuilder(detail.points)
        self._moments = Moments()
        self._extremes: tuple[Any, Any] | None = None

    def _take_extremes(self, low: Any, high: Any) -> None:
        if self._extremes is not None:
            low, high = min(self._extremes[0], low), max(self._extremes[1], high)
        self._extremes = low, high

    def _take_numbers(self, values: Floats, counts: Integers) -> None:
        self._moments = merge_moments([self._moments, moments(values, counts)])
        self._quantiles.add(values, counts)

    def _finish(
        self, spell: Callable[[Any], Value], nan: int = 0, plus: int = 0, minus: int = 0
    ) -> ColumnStatistics:
        low, high = (None, None) if self._extremes is None else map(spell, self._extremes)
        return ColumnStatistics(
            self._name, str(self._kind), "", self._values, self._nulls, nan, plus, minus, low, high,
            self._moments.mean, self._moments.squares, self._registers.finish(), self._top_values(),
            self._quantiles.finish(),
        )  # fmt: skip

    def _top_values(self) -> TopValues:
        return self._top.finish()


class _Numbers(_Base):
    """Numbers that numpy holds: sorted once a batch, everything else comes from that."""

    def _take(self, numbers: Numbers) -> Numbers:
        """Take in numbers that are finite; gives the distinct ones."""
        ordered = np.sort(numbers)
        distinct, counts = collapse(ordered, np.ones(len(ordered), np.int64))
        if len(distinct):
            self._take_extremes(distinct[0].item(), distinct[-1].item())
            self._take_numbers(*collapse(distinct.astype(np.float64), counts))
            chosen = self._top.select(counts)
            self._top.add([self._spell(v) for v in distinct[chosen].tolist()], counts[chosen].tolist())
        return distinct

    def _spell(self, value: Any) -> Value:
        found: Value = value
        return found


class _Floats(_Numbers):
    def __init__(self, name: str, kind: pa.DataType, detail: Detail) -> None:
        super().__init__(name, kind, detail)
        self._special = [0, 0, 0]

    def add(self, array: pa.Array) -> None:
        numbers = values_of(array).to_numpy(zero_copy_only=False).astype(np.float64)
        self._values += len(numbers)
        self._nulls += len(array) - len(numbers)
        finite = numbers[np.isfinite(numbers)]
        if len(finite) < len(numbers):
            self._special[0] += int(np.isnan(numbers).sum())
            self._special[1] += int(np.isposinf(numbers).sum())
            self._special[2] += int(np.isneginf(numbers).sum())
        # Adding 0 makes a negative zero a positive one.
        self._registers.add(hash_integers(self._take(finite + 0.0).view(np.uint64)))

    def finish(self) -> ColumnStatistics:
        return self._finish(float, *self._special)


class _Integers(_Numbers):
    """Integers, truth values, and times as integers of their unit."""

    def add(self, array: pa.Array) -> None:
        present = values_of(array)
        self._values += len(present)
        self._nulls += len(array) - len(present)
        if pa.types.is_boolean(self._kind):
            present = present.cast(pa.uint8())
        elif pa.types.is_temporal(self._kind):
            present = present.view(pa.int32() if self._kind.bit_width == 32 else pa.int64())
        distinct = self._take(present.to_numpy(zero_copy_only=False))
        wide = np.uint64 if distinct.dtype.kind == "u" else np.int64
        self._registers.add(hash_integers(distinct.astype(wide).view(np.uint64)))

    def _spell(self, value: Any) -> Value:
        return bool(value) if pa.types.is_boolean(self._kind) else int(value)

    def finish(self) -> ColumnStatistics:
        return self._finish(self._spell)


class _Coded(_Base):
    """Values that are looked at once each: a batch is a dictionary and indices into it."""

    def __init__(self, name: str, kind: pa.DataType, detail: Detail) -> None:
        super().__init__(name, kind, detail)
        self._dictionary: pa.Array | None = None
        self._plain: list[Any] = []
        self._hashes = np.empty(0, np.uint64)

    def add(self, array: pa.Array) -> None:
        if not pa.types.is_dictionary(array.type):
            array = array.dictionary_encode()
        elif array.dictionary.null_count:
            array = decoded(array).dictionary_encode()
        indices = array.indices.drop_null().to_numpy(zero_copy_only=False)
        self._values += len(indices)
        self._nulls += len(array) - len(indices)
        if not len(indices):
            return
        counts = np.bincount(indices, minlength=len(array.dictionary))
        if len(counts) > len(array.dictionary):
            raise ValueError("an index leads out of its dictionary")
        present = np.flatnonzero(counts)
        counts = counts[present]
        present = self._open(array.dictionary, present)
        self._registers.add(self._hashes[present])
        values = [self._plain[number] for number in present.tolist()]
        self._take_extremes(min(values), max(values))
        self._count(present, counts)

    def _open(self, dictionary: pa.Array, present: Integers) -> Integers:
        """Spell out what is present of a dictionary, all of it unless that is little: where it then is."""
        if self._dictionary is not None and self._dictionary.equals(dictionary):
            return present
        if 2 * len(present) < len(dictionary):
            # Readers hand on what a dictionary has grown to, however little of it a batch uses.
            dictionary, present = dictionary.take(pa.array(present)), np.arange(len(present))
        self._dictionary = dictionary
        self._plain = self._spelled(dictionary)
        self._hashes = np.fromiter(
            map(xxh3_64_intdigest, map(self._hashed, self._plain)), np.uint64, len(self._plain)
        )
        return present

    def _spelled(self, dictionary: pa.Array) -> list[Any]:
        return list(dictionary.to_pylist())

    def _hashed(self, value: Any) -> bytes:
        return bytes(value)

    def _count(self, present: Integers, counts: Integers) -> None:
        chosen = self._top.select(counts)
        values, numbers, missed = [], [], 0
        for place, count in zip(present[chosen].tolist(), counts[chosen].tolist(), strict=True):
            value = self._plain[place]
            if len(self._hashed(value)) > TOP_BYTES_MAX:
                missed = max(missed, count)
                continue
            values.append(self._spell(value))
            numbers.append(count)
        self._top.miss(missed)
        self._top.add(values, numbers)

    def _spell(self, value: Any) -> Value:
        found: Value = value
        return found

    def _extreme(self, value: Any) -> Value:
        return None if len(self._hashed(value)) > EXTREME_BYTES_MAX else self._spell(value)

    def finish(self) -> ColumnStatistics:
        return self._finish(self._extreme)


class _Bytes(_Coded):
    pass


class _Texts(_Coded):
    """Texts, as their UTF-8, which sorts as the texts do."""

    def _spelled(self, dictionary: pa.Array) -> list[Any]:
        kinds = {pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}
        return list(dictionary.cast(kinds.get(dictionary.type, pa.binary())).to_pylist())

    def _spell(self, value: Any) -> Value:
        return bytes(value).decode("utf-8", "replace")


class _Decimals(_Coded):
    """Decimals: exact where single values are named, floats in distributions."""

    def _hashed(self, value: Any) -> bytes:
        return str(value).encode()

    def _count(self, present: Integers, counts: Integers) -> None:
        super()._count(present, counts)
        assert self._dictionary is not None
        floats = self._dictionary.cast(pa.float64()).to_numpy(zero_copy_only=False)[present]
        order = np.argsort(floats, kind="stable")
        self._take_numbers(*collapse(floats[order] + 0.0, counts[order]))


def values_of(array: pa.Array) -> pa.Array:
    """What is not null, as plain values."""
    if pa.types.is_dictionary(array.type):
        array = decoded(array)
    return array.drop_null() if array.null_count else array


def decoded(array: pa.Array) -> pa.Array:
    """A dictionary's values in the places of its indices, which a damaged file may have wrong."""
    array.validate(full=True)
    return array.dictionary_decode()
