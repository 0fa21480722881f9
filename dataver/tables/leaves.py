"""The leaf columns of a table: what is left of nested columns when they are laid open.

A member of a struct is `column.member`; the elements of lists and maps, all in a row, are
`column[]`, with `column[].key` and `column[].value` for maps. Nulls further up count as nulls of a
member, and as no elements of a list.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

DEPTH_MAX = 32


def leaf_types(name: str, kind: pa.DataType, depth: int = 0) -> Iterator[tuple[str, pa.DataType]]:
    """Name and type of each leaf of a column, in the order of `leaf_arrays`."""
    import pyarrow as pa

    kind = _plain(kind)
    if depth < DEPTH_MAX and pa.types.is_struct(kind) and kind.num_fields:
        for number in range(kind.num_fields):
            field = kind.field(number)
            yield from leaf_types(f"{name}.{field.name}", field.type, depth + 1)
    elif depth < DEPTH_MAX and pa.types.is_map(kind):
        for part, below in (("key", kind.key_type), ("value", kind.item_type)):
            yield from leaf_types(f"{name}[].{part}", below, depth + 1)
    elif depth < DEPTH_MAX and is_list(kind):
        yield from leaf_types(f"{name}[]", kind.value_type, depth + 1)
    else:
        yield name, kind.value_type if pa.types.is_dictionary(kind) else kind


def leaf_arrays(array: pa.Array, depth: int = 0) -> Iterator[pa.Array]:
    """The values of each leaf."""
    import pyarrow as pa

    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    kind = array.type
    if depth < DEPTH_MAX and pa.types.is_struct(kind) and kind.num_fields:
        for member in array.flatten():
            yield from leaf_arrays(member, depth + 1)
    elif depth < DEPTH_MAX and pa.types.is_map(kind):
        pairs = pa.struct([pa.field("key", kind.key_type, nullable=False), ("value", kind.item_type)])
        for member in array.cast(pa.list_(pairs)).flatten().flatten():
            yield from leaf_arrays(member, depth + 1)
    elif depth < DEPTH_MAX and is_list(kind):
        yield from leaf_arrays(array.flatten(), depth + 1)
    else:
        yield array


def is_list(kind: pa.DataType) -> bool:
    """Whether values of this type are lists of any sort, maps aside."""
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _plain(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
