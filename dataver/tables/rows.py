"""The rows of two tables, paired by a key: what was added, removed and changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataver.errors import BadInputError

ADDED, REMOVED, CHANGED = "added", "removed", "changed"
RESERVED = ("change", "columns", "before", "after")


def compare_rows(
    old: Sequence[pa.Table], new: Sequence[pa.Table], key: Sequence[str], names: tuple[str, str]
) -> pa.Table:
    """What differs between all rows of `old` and of `new`, sorted by key.

    Columns: `change`; those of the key; `columns`, the names of what differs in a changed row; and
    `before` and `after`, structs of all other columns, null where the row was not there. A column
    that one side lacks is null there. Floats that are both NaN are equal. `names` are those of the
    two sides in errors: `BadInputError` for a key that is missing, has nulls, or stands twice, and
    for tables that do not fit together.
    """
    if not old and not new:
        return _nothing(key)
    schema = _schema([*old, *new])
    for name in key:
        if schema.get_field_index(name) < 0:
            raise BadInputError(f"the key {name!r:.100} is no column, or is one of several of this name")
        if name in RESERVED:
            raise BadInputError(f"a column named {name!r} cannot be the key: the result has one of its own")
    sides = [_side(tables, schema, key, name) for tables, name in zip((old, new), names, strict=True)]
    pairs = _paired(sides, key)
    before, after = pairs["i"].combine_chunks(), pairs["j"].combine_chunks()
    others = [field for field in schema if field.name not in key]
    values = [[side[field.name] for field in others] for side in sides]
    both = pc.and_(before.is_valid(), after.is_valid())
    differ = [pc.and_(both, _different(a.take(before), b.take(after))) for a, b in zip(*values, strict=True)]
    changed = pa.array(np.zeros(len(pairs), bool))
    for column in differ:
        changed = pc.or_(changed, column)
    kept = pc.or_(pc.invert(both), changed)
    change = pc.if_else(both, CHANGED, pc.if_else(before.is_valid(), REMOVED, ADDED))
    columns: dict[str, Any] = {"change": pc.cast(change, pa.string())}
    for number, name in enumerate(key):
        columns[name] = pairs[f"k{number}"]
    columns["columns"] = _names(others, differ, len(pairs))
    for name, place, side in (("before", before, 0), ("after", after, 1)):
        columns[name] = _rows(others, [column.take(place) for column in values[side]], place)
    table = pa.table(columns).filter(kept)
    return table.sort_by([(name, "ascending") for name in key])


def _nothing(key: Sequence[str]) -> pa.Table:
    """The result where no table differs."""
    names = pa.array([], pa.list_(pa.string()))
    rows = pa.nulls(0, pa.struct([]))
    keys = dict.fromkeys(key, pa.nulls(0))
    return pa.table(
        {"change": pa.array([], pa.string()), **keys, "columns": names, "before": rows, "after": rows}
    )


def _schema(tables: Sequence[pa.Table]) -> pa.Schema:
    try:
        schema = pa.unify_schemas([_plain(table.schema) for table in tables], promote_options="permissive")
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise BadInputError(f"the changed tables do not fit together: {reason}; name one PATH") from error
    if len(set(schema.names)) < len(schema.names):
        raise BadInputError("the changed tables have two columns of one name")
    return schema


def _plain(schema: pa.Schema) -> pa.Schema:
    """With the values' types in place of dictionaries'."""
    return pa.schema(
        [(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in schema]
    )


def _side(tables: Sequence[pa.Table], schema: pa.Schema, key: Sequence[str], name: str) -> pa.Table:
    """All rows of a side, in the common schema, with a sound key."""
    parts = [table.cast(_plain(table.schema)) for table in tables]
    try:
        table = pa.concat_tables([schema.empty_table(), *parts], promote_options="permissive")
        table = table.select(schema.names).cast(schema)
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise BadInputError(f"the changed tables do not fit together: {reason}; name one PATH") from error
    for column in key:
        values = table[column]
        if values.null_count:
            raise BadInputError(
                f"{column!r} is no key: {values.null_count} of the changed rows of {name} have none"
            )
        if pa.types.is_floating(values.type) and pc.any(pc.is_nan(values)).as_py():
            raise BadInputError(f"{column!r} is no key: in changed rows of {name} it is NaN")
    try:
        counts = table.select(list(key)).group_by(list(key)).aggregate([([], "count_all")])
    except (pa.ArrowException, NotImplementedError) as error:
        raise BadInputError(f"columns of these types cannot be a key: {', '.join(key)}") from error
    twice = counts.filter(pc.greater(counts["count_all"], 1))
    if len(twice):
        first = ", ".join(f"{column}={twice[column][0].as_py()!r:.100}" for column in key)
        times = twice["count_all"][0].as_py()
        raise BadInputError(
            f"{', '.join(key)} is no key: {first} stands {times} times in {name}; "
            f"{len(twice)} values stand more than once. Name more columns"
        )
    return table


def _paired(sides: Sequence[pa.Table], key: Sequence[str]) -> pa.Table:
    """One row a key: where it stands on each side, as `i` and `j`, null where it does not."""
    keys = [f"k{number}" for number in range(len(key))]
    found = []
    for side, number in zip(sides, ("i", "j"), strict=True):
        rows = pa.array(np.arange(len(side), dtype=np.int64))
        found.append(side.select(list(key)).rename_columns(keys).append_column(number, rows))
    return found[0].join(found[1], keys=keys, join_type="full outer", coalesce_keys=True)


def _different(a: pa.ChunkedArray, b: pa.ChunkedArray) -> pa.Array:
    """Whether each pair differs; nulls are equal to nulls alone, NaN to NaN."""
    a, b = a.combine_chunks(), b.combine_chunks()
    try:
        unequal = pc.not_equal(a, b)
    except (pa.ArrowException, NotImplementedError):
        return pa.array([x != y for x, y in zip(a.to_pylist(), b.to_pylist(), strict=True)], pa.bool_())
    if pa.types.is_floating(a.type):
        unequal = pc.and_kleene(unequal, pc.invert(pc.and_kleene(pc.is_nan(a), pc.is_nan(b))))
    return pc.if_else(pc.and_(a.is_valid(), b.is_valid()), unequal, pc.xor(a.is_valid(), b.is_valid()))


def _names(fields: list[pa.Field], differ: list[pa.Array], rows: int) -> pa.Array:
    """The names of the columns that differ in each row."""
    found: list[list[str]] = [[] for _ in range(rows)]
    for field, column in zip(fields, differ, strict=True):
        for row in pc.indices_nonzero(column).to_pylist():
            found[row].append(field.name)
    return pa.array(found, pa.list_(pa.string()))


def _rows(fields: list[pa.Field], columns: list[pa.ChunkedArray], places: pa.Array) -> pa.Array:
    """Columns as one of structs, null where there is no place."""
    if not fields:
        return pa.nulls(len(places), pa.struct([]))
    return pa.StructArray.from_arrays(
        [column.combine_chunks() for column in columns], fields=fields, mask=places.is_null()
    )
