"""How the columns of a table are best encoded in Parquet, by a look at its first rows."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from dataver.tables.leaves import leaf_arrays

if TYPE_CHECKING:
    import pyarrow as pa

DISTINCT_PART_MAX = 0.5
"""Where more of the values are different, a dictionary has nearly all of them once more."""
VALUES_MIN = 1000
"""Of fewer values nothing is concluded."""

_SPLIT = {"FLOAT", "DOUBLE"}
_DELTA = {"INT32", "INT64"}


def encodings_for(sample: pa.Table, *, byte_stream_split: bool, **layout: Any) -> dict[str, Any]:
    """Options of `pyarrow.parquet.ParquetWriter` for a table that begins with `sample`.

    A dictionary is one page, new as a whole when any value of it is. pyarrow begins one for every
    column and gives up at a MiB; so columns of many different values are better off without. Of these
    integers and times are stored as differences, which every reader knows; and floats byte by byte if
    so wished, which not every reader does. `layout` are options that decide how types are stored.
    """
    leaves, columns = _leaves(sample.schema, layout), _values(sample)
    if not sample.num_rows or len(leaves) != len(columns):  # a kind of nesting that is not laid open here
        return {}
    coded: list[str] = []
    encodings: dict[str, str] = {}
    for (path, kind), values in zip(leaves, columns, strict=True):
        if not _is_diverse(values):
            coded.append(path)
        elif kind in _DELTA:
            encodings[path] = "DELTA_BINARY_PACKED"
        elif kind in _SPLIT and byte_stream_split:
            encodings[path] = "BYTE_STREAM_SPLIT"
    # False, as pyarrow takes an empty list for all columns.
    return {"use_dictionary": coded or False, "column_encoding": encodings or None}


def _leaves(schema: pa.Schema, layout: dict[str, Any]) -> list[tuple[str, str]]:
    """Path and physical type of each leaf column, as a file has them."""
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(schema.empty_table(), file, **layout)
    found = pq.ParquetFile(file).schema
    columns = [found.column(number) for number in range(len(found))]
    return [(column.path, column.physical_type) for column in columns]


def _values(sample: pa.Table) -> list[list[pa.Array]]:
    """The values of each leaf column, in the order of `_leaves`."""
    found: list[list[pa.Array]] = []
    for column in sample.columns:
        parts = [list(leaf_arrays(chunk)) for chunk in column.chunks]
        found += [list(leaf) for leaf in zip(*parts, strict=True)]
    return found


def _is_diverse(values: list[pa.Array]) -> bool:
    """Whether most of the values are different from each other."""
    import pyarrow as pa

    column = pa.chunked_array(values)
    present = len(column) - column.null_count
    if pa.types.is_dictionary(column.type) or present < VALUES_MIN:
        return False
    try:
        distinct = len(column.unique()) - bool(column.null_count)
    except pa.ArrowNotImplementedError:
        return False
    return bool(distinct > DISTINCT_PART_MAX * present)
