"""Rows of JSON as tables that all have the same columns, so that those of all windows are one table.

The columns are those of what the dataset has already, else those that the first rows have: numbers,
booleans and texts. Each table has `served_time`, and `other`: what does not fit a column of the table, or
has none, is kept there as JSON text, and nothing is lost.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dataver.serving.bodies import Row

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["OTHER", "TIME", "Schema", "Timed", "schema_of", "table_of", "types_of"]

TIME, OTHER = "served_time", "other"
NUMBER, TRUTH, TEXT = "double", "bool", "string"
Schema = dict[str, str]
"""The type of each column: `double`, `bool` or `string`."""
Timed = tuple[int, Row]
COLUMNS_MAX = 2000
"""One odd request must not give all later versions as many columns as it has names."""
EXACT_MAX = 1 << 53
"""Whole numbers beyond this are no doubles: they are texts."""


def types_of(schema: pa.Schema) -> Schema:
    """The types that columns of another table have here: those of the data that a model was trained on."""
    import pyarrow.types as types

    found = {}
    for field in schema:
        if types.is_boolean(field.type):
            found[field.name] = TRUTH
        elif types.is_integer(field.type) or types.is_floating(field.type) or types.is_decimal(field.type):
            found[field.name] = NUMBER
        else:
            found[field.name] = TEXT
    return found


def schema_of(rows: Iterable[Timed], trained: Mapping[str, str]) -> Schema:
    """The columns of the first rows, each of the type that most of its values have, `COLUMNS_MAX` at most.

    One of which all are null has the type that it had when the model was trained, or is of texts.
    """
    kinds: dict[str, Counter[str]] = {}
    for _, row in rows:
        for name, value in row.items():
            counted = kinds.setdefault(name, Counter())
            if value is not None:
                counted[_kind(value)] += 1
    found = {
        name: counted.most_common(1)[0][0] if counted else trained.get(name, TEXT)
        for name, counted in kinds.items()
        if name not in (TIME, OTHER)
    }
    if len(found) > COLUMNS_MAX:
        often = sorted(found, key=lambda name: (name not in trained, -kinds[name].total()))
        kept = set(often[:COLUMNS_MAX])
        found = {name: kind for name, kind in found.items() if name in kept}
    return found


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return TRUTH
    if isinstance(value, float) or (isinstance(value, int) and -EXACT_MAX <= value <= EXACT_MAX):
        return NUMBER
    return TEXT


def table_of(rows: Iterable[Timed], schema: Schema) -> pa.Table:
    """Rows with the times at which they came, in microseconds, as a table of these columns."""
    import pyarrow as pa

    columns: dict[str, list[Any]] = {name: [] for name in schema}
    times: list[int] = []
    others: list[str | None] = []
    for time_us, row in rows:
        times.append(time_us)
        other = {name: value for name, value in row.items() if value is not None and name not in schema}
        for name, kind in schema.items():
            value = row.get(name)
            fits = value is None or _kind(value) == kind
            if not fits:
                other[name] = value
            columns[name].append(_plain(value, kind) if fits else None)
        others.append(json.dumps(other, ensure_ascii=False, sort_keys=True) if other else None)
    types = {NUMBER: pa.float64(), TRUTH: pa.bool_(), TEXT: pa.string()}
    return pa.table(
        {
            TIME: pa.array(times, pa.timestamp("us", "UTC")),
            **{name: pa.array(columns[name], types[kind]) for name, kind in schema.items()},
            OTHER: pa.array(others, pa.string()),
        }
    )


def _plain(value: Any, kind: str) -> Any:
    if value is None or kind == TRUTH:
        return value
    if kind == NUMBER:
        return float(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def timed(lines: Iterable[Mapping[str, Any]]) -> Iterator[Timed]:
    """The rows of a file of the spool, with the times at which they came."""
    for line in lines:
        for row in line.get("rows", ()):
            yield int(line["t"]), row
