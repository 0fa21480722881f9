"""The columns of tables in the words of MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlflow.types.schema import AnyType, Array, ColSpec, DataType, Schema

if TYPE_CHECKING:
    import pyarrow

_PLAIN = {
    "bool": DataType.boolean,
    "int8": DataType.integer,
    "int16": DataType.integer,
    "int32": DataType.integer,
    "uint8": DataType.integer,
    "uint16": DataType.integer,
    "uint32": DataType.long,
    "int64": DataType.long,
    "uint64": DataType.long,
    "halffloat": DataType.float,
    "float": DataType.float,
    "double": DataType.double,
    "string": DataType.string,
    "large_string": DataType.string,
    "binary": DataType.binary,
    "large_binary": DataType.binary,
}


def schema_of(schema: pyarrow.Schema) -> Schema:
    """The columns; a type that MLflow has no word for is `any`. `required`: the column takes no nulls."""
    return Schema([ColSpec(_type(field.type), field.name, not field.nullable) for field in schema])


def _type(kind: pyarrow.DataType) -> Any:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        return _type(kind.value_type)
    if types.is_temporal(kind) and not types.is_duration(kind) and not types.is_time(kind):
        return DataType.datetime
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return Array(_type(kind.value_type))
    return _PLAIN.get(str(kind), AnyType())
