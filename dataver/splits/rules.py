"""Definitions at work: which rows of a record batch belong to which part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataver.errors import BadInputError
from dataver.splits.definition import ColumnSplit, HashSplit, ListSplit, Split, TimeSplit
from dataver.splits.keys import NULL, column_number, key_columns, key_rows, key_type
from dataver.splits.keyset import KeySet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dataver.splits.keys import Mask

    Numbers = NDArray[np.int64]

ReadTable = Callable[[str, Mapping[str, pa.DataType]], pa.Table]
"""Given a path of the version and the types of columns: these columns of the table there."""
NONE = -1

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


class Rule(ABC):
    """A definition made ready for tables of one schema."""

    @abstractmethod
    def mask(self, batch: Any, part: str) -> Mask:
        """Which rows of a batch belong to a part. `BadInputError` where there is no such part."""

    @abstractmethod
    def counts(self, batch: Any) -> dict[str, int]:
        """How many rows of a batch belong to each part; rows of none are left out."""


def make_rule(definition: Split, schema: pa.Schema, read_table: ReadTable) -> Rule:
    """The rule of a definition for tables of a schema; `read_table` reads the lists that it names."""
    for name in definition.columns:
        column_number(schema, name)
    if isinstance(definition, HashSplit):
        return _Named(definition, list(definition.parts), _by_hash(definition))
    if isinstance(definition, TimeSplit):
        return _Named(definition, list(definition.parts), _by_time(definition, schema))
    if isinstance(definition, ListSplit):
        names = [*definition.parts, *([] if definition.rest is None else [definition.rest])]
        return _Named(definition, names, _by_list(definition, schema, read_table))
    assert isinstance(definition, ColumnSplit)
    if definition.parts:
        return _Named(definition, list(definition.parts), _by_value(definition))
    return _Open(definition)


class _Named(Rule):
    """A rule with the names of its parts; `numbers` gives each row the number of its part, or `NONE`."""

    def __init__(self, definition: Split, names: Sequence[str], numbers: Callable[[Any], Numbers]) -> None:
        self._columns = definition.columns
        self._names = names
        self._numbers = numbers

    def mask(self, batch: Any, part: str) -> Mask:
        if part not in self._names:
            raise BadInputError(f"the split has no part {part!r}; it has {', '.join(self._names)}")
        found: Mask = self._numbers(batch) == self._names.index(part)
        return found

    def counts(self, batch: Any) -> dict[str, int]:
        found = np.bincount(self._numbers(batch) + 1, minlength=len(self._names) + 1)[1:]
        return dict(zip(self._names, found.tolist(), strict=True))


class _Open(Rule):
    """Each value of a column is the name of a part."""

    def __init__(self, definition: ColumnSplit) -> None:
        self._definition = definition

    def mask(self, batch: Any, part: str) -> Mask:
        return _filled(pc.equal(_as_texts(batch, self._definition), pa.scalar(part)))

    def counts(self, batch: Any) -> dict[str, int]:
        found = pc.value_counts(_as_texts(batch, self._definition))
        rows = zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)
        return {value: count for value, count in rows if value}


def _by_hash(definition: HashSplit) -> Callable[[Any], Numbers]:
    bounds = np.array(definition.bounds, np.uint64)
    seed = definition.seed

    def numbers(batch: Any) -> Numbers:
        hashes = key_rows(key_columns(batch, definition.columns)).hashes(seed)
        return np.searchsorted(bounds, hashes, side="right").astype(np.int64)

    return numbers


def _by_time(definition: TimeSplit, schema: pa.Schema) -> Callable[[Any], Numbers]:
    name = definition.columns[0]
    kind = schema.field(column_number(schema, name)).type
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise BadInputError(f"the column {name!r} of a time split is {kind}; a timestamp or date is expected")

    def numbers(batch: Any) -> Numbers:
        column = key_columns(batch, [name])[0]
        if not pa.types.is_timestamp(kind):
            column = column.cast(pa.timestamp("s"))
        per_second = _PER_SECOND[column.type.unit]
        times = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        found = np.full(len(times), NONE, np.int64)
        for number, (start, end) in enumerate(definition.ranges.values()):
            # A bound between two values of the column's unit is the later of them.
            inside = np.ones(len(times), np.bool_)
            if start is not None:
                inside &= times >= -(-start * per_second // 10**6)
            if end is not None:
                inside &= times < -(-end * per_second // 10**6)
            found[inside] = number
        if column.null_count:
            found[~_filled(column.is_valid())] = NONE
        return found

    return numbers


def _by_value(definition: ColumnSplit) -> Callable[[Any], Numbers]:
    values = [value for listed in definition.parts.values() for value in listed]
    parts = [number for number, listed in enumerate(definition.parts.values()) for _ in listed]
    part_of_value = np.array([*parts, NONE], np.int64)

    def numbers(batch: Any) -> Numbers:
        places = pc.index_in(_as_texts(batch, definition), value_set=pa.array(values, pa.string()))
        found: Numbers = part_of_value[places.fill_null(len(values)).to_numpy(zero_copy_only=False)]
        return found

    return numbers


def _by_list(definition: ListSplit, schema: pa.Schema, read_table: ReadTable) -> Callable[[Any], Numbers]:
    types = {name: schema.field(column_number(schema, name)).type for name in definition.columns}
    sets = {name: _key_set(listed, types, name, read_table) for name, listed in definition.parts.items()}
    names = list(sets)
    for number, name in enumerate(names):
        for other in names[number + 1 :]:
            both = int(sets[name].contains(sets[other].rows).sum())
            if both:
                raise BadInputError(f"{both:,} of the keys are in both {name!r} and {other!r}")
    rest = NONE if definition.rest is None else len(names)

    def numbers(batch: Any) -> Numbers:
        keys = key_rows(key_columns(batch, definition.columns))
        found = np.full(len(keys), rest, np.int64)
        for number, name in enumerate(names):
            found[sets[name].contains(keys)] = number
        return found

    return numbers


def _key_set(listed: Any, types: Mapping[str, pa.DataType], part: str, read_table: ReadTable) -> KeySet:
    if isinstance(listed, str):
        table = read_table(listed, types).combine_chunks()
        columns = key_columns(table, list(types))
        for (name, kind), column in zip(types.items(), columns, strict=True):
            if len({key_type(column.type), key_type(kind)} - {NULL}) > 1:
                raise BadInputError(
                    f"the column {name!r} is {column.type} in {listed!r} and {kind} in the table; these keys "
                    "are never the same"
                )
        return KeySet(key_rows(columns))
    columns = []
    for number, (name, kind) in enumerate(types.items()):
        values = [key[number] for key in listed]
        columns.append(_typed(values, kind, f"the keys of {part!r} are no {kind}, as column {name!r} is"))
    return KeySet(key_rows(columns))


def _typed(values: list[Any], kind: pa.DataType, problem: str) -> pa.Array:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        pass
    try:
        return pa.array(values).cast(kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise BadInputError(problem) from error


def _as_texts(batch: Any, definition: ColumnSplit) -> pa.Array:
    column = key_columns(batch, definition.columns)[0]
    try:
        return column.cast(pa.string())
    except pa.ArrowException as error:
        raise BadInputError(
            f"the column {definition.columns[0]!r} is {column.type}, which names no parts"
        ) from error


def _filled(mask: Any) -> Mask:
    found: Mask = mask.fill_null(False).to_numpy(zero_copy_only=False)
    return found
