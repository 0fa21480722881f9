"""Profiles of columns from their rows: exact, batch by batch, and with what is held in memory bounded."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataver.format.table_statistics import Value
from dataver.tables.columns import decoded, values_of
from dataver.tables.ordered import Ordered
from dataver.tables.profile import CATEGORIES, NUMBERS, TEXT, Categories, Numbers, Profile, family, to_seconds
from dataver.tables.sketch import Moments, merge_moments, moments

ROOM_VALUES = 1 << 23
"""So many numbers of columns that are read together are held: 16 bytes each, 32 while they are sorted."""
DISTINCT_MAX = 1_000_000
"""A column of more distinct texts has no categories."""


class Taker(Protocol):
    """Takes in the batches of a leaf column; gives its profile in the end."""

    def add(self, array: pa.Array) -> None:
        """Take in a batch."""

    def finish(self) -> Profile:
        """Of all batches."""


def taker_of(name: str, kind: pa.DataType, room: int) -> Taker:
    """What takes in a leaf column of this type and holds `room` numbers."""
    found = family(str(kind))
    if found in NUMBERS:
        return _NumberTaker(name, kind, room)
    if found in CATEGORIES:
        return _CategoryTaker(name, kind)
    return _Taker(name, kind)


class _Taker:
    """Counts rows and nulls, whatever the type."""

    def __init__(self, name: str, kind: pa.DataType) -> None:
        self.name = name
        self.kind = kind
        self.type = str(kind)
        self.rows = self.nulls = 0

    def add(self, array: pa.Array) -> None:
        self.rows += len(array)
        self.nulls += array.null_count

    def finish(self) -> Profile:
        reason = "" if pa.types.is_null(self.kind) else "nothing is compared of this type"
        return Profile(self.name, self.type, self.rows, self.nulls, reason=reason)


class _NumberTaker(_Taker):
    def __init__(self, name: str, kind: pa.DataType, room: int) -> None:
        super().__init__(name, kind)
        self._ordered = Ordered(room)
        self._moments = Moments()
        self._special = [0, 0, 0]
        self._extremes: tuple[Any, Any] | None = None

    def add(self, array: pa.Array) -> None:
        present = values_of(array)
        self.rows += len(array)
        self.nulls += len(array) - len(present)
        numbers, plain = self._numbers(present)
        if not len(numbers):
            return
        low, high = plain if plain is not None else (numbers.min().item(), numbers.max().item())
        if self._extremes is not None:
            low, high = min(self._extremes[0], low), max(self._extremes[1], high)
        self._extremes = low, high
        values = np.asarray(to_seconds(numbers.astype(np.float64), self.type) + 0.0, np.float64)
        ones = np.ones(len(values), np.int64)
        self._moments = merge_moments([self._moments, moments(values, ones)])
        self._ordered.add(values)

    def _numbers(self, present: pa.Array) -> tuple[Any, tuple[Any, Any] | None]:
        """Finite numbers of the type's unit; and their extremes where numbers do not hold them exactly."""
        if pa.types.is_decimal(self.kind):
            if not len(present):
                return np.empty(0), None
            extremes = pc.min_max(present).as_py()
            numbers = present.cast(pa.float64()).to_numpy(zero_copy_only=False)
            return numbers, (extremes["min"], extremes["max"])
        if pa.types.is_temporal(self.kind):
            present = present.view(pa.int32() if self.kind.bit_width == 32 else pa.int64())
        numbers = present.to_numpy(zero_copy_only=False)
        if not pa.types.is_floating(self.kind):
            return numbers, None
        numbers = numbers.astype(np.float64)
        finite = numbers[np.isfinite(numbers)]
        if len(finite) < len(numbers):
            self._special[0] += int(np.isnan(numbers).sum())
            self._special[1] += int(np.isneginf(numbers).sum())
            self._special[2] += int(np.isposinf(numbers).sum())
        return finite + 0.0, None

    def finish(self) -> Profile:
        low, high = self._extremes or (None, None)
        numbers = None
        if self._extremes is not None:
            total, mean, squares = self._moments
            std = None if squares is None else float(np.sqrt(squares / total))
            runs = self._ordered.runs()
            ends = [to_seconds(float(value), self.type) for value in self._extremes]
            numbers = Numbers(total, ends[0], ends[1], mean, std, 0, runs)
        nan, minus, plus = self._special
        return Profile(
            self.name, self.type, self.rows, self.nulls, nan, minus, plus, min=low, max=high, numbers=numbers
        )


class _CategoryTaker(_Taker):
    def __init__(self, name: str, kind: pa.DataType) -> None:
        super().__init__(name, kind)
        self._counts: dict[Any, int] | None = {}

    def add(self, array: pa.Array) -> None:
        if pa.types.is_dictionary(array.type) and array.dictionary.null_count:
            array = decoded(array)
        self.rows += len(array)
        self.nulls += array.null_count
        if self._counts is None:
            return
        if not pa.types.is_dictionary(array.type):
            array = array.dictionary_encode()
        indices = array.indices.drop_null().to_numpy(zero_copy_only=False)
        if not len(indices):
            return
        counts = np.bincount(indices, minlength=len(array.dictionary))
        if len(counts) > len(array.dictionary):
            raise ValueError("an index leads out of its dictionary")
        present = np.flatnonzero(counts)
        for value, count in zip(
            self._values(array.dictionary, present), counts[present].tolist(), strict=True
        ):
            self._counts[value] = self._counts.get(value, 0) + count
        if len(self._counts) > DISTINCT_MAX:
            self._counts = None

    def _values(self, dictionary: pa.Array, present: Any) -> list[Any]:
        """What these places of a dictionary hold; texts as their UTF-8, which may be none."""
        if family(self.type) == TEXT:
            kinds = {pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}
            dictionary = dictionary.cast(kinds.get(dictionary.type, pa.binary()))
        if pa.types.is_binary_view(dictionary.type):  # which pyarrow cannot take from
            plain = dictionary.to_pylist()
            return [plain[number] for number in present.tolist()]
        return list(dictionary.take(pa.array(present)).to_pylist())

    def finish(self) -> Profile:
        total = self.rows - self.nulls
        if self._counts is None:
            reason = f"it has more than {DISTINCT_MAX:,} distinct values, which are no categories"
            return Profile(self.name, self.type, self.rows, self.nulls, reason=reason)
        counts: dict[Value, int] = {}
        for value, count in self._counts.items():
            plain = value.decode("utf-8", "replace") if family(self.type) == TEXT else value
            counts[plain] = counts.get(plain, 0) + count
        categories = Categories(total, counts, 0) if total else None
        return Profile(self.name, self.type, self.rows, self.nulls, categories=categories)
