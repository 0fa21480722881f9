"""Columns of Arrow as tensors.

| Arrow | here |
|---|---|
| booleans, signed integers, `uint8`, floats | the same type |
| `uint16`, `uint32`, `uint64` | `int32`, `int64`, `int64`; what `int64` cannot hold is an error |
| decimals | `float64`, the nearest |
| dates, times, timestamps, durations | `int64` in the column's own unit; dates in days, or ms for `date64` |
| strings, binary | Python's `str` and `bytes` |
| fixed-size lists, fixed-shape tensors | one dimension more, or several |
| lists | a tensor a row |

Dictionaries are taken as their values, extension types as what they are stored as. A null is NaN in a
column of floats or decimals, and an error elsewhere, unless a value to fill in is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from dataver.errors import BadInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dataver.loading.order import Numbers

Value = torch.Tensor | list[Any]
"""Of several rows: a tensor whose first dimension they are, or a list with one thing for each."""
Batch = dict[str, Value]

_WIDER = {pa.uint16(): pa.int32(), pa.uint32(): pa.int64(), pa.uint64(): pa.int64()}
_INT64_MAX = (1 << 63) - 1


class Column(Protocol):
    """The values of some rows."""

    nbytes: int

    def take(self, rows: Numbers) -> Value:
        """Those of `rows`, in this order; a copy."""


class _Dense:
    """Values in one tensor."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor
        self.nbytes = tensor.nbytes

    def take(self, rows: Numbers) -> torch.Tensor:
        return self._tensor[torch.from_numpy(rows)]


class _Objects:
    """Texts or bytes."""

    def __init__(self, array: pa.Array) -> None:
        self._array = array
        self.nbytes = int(array.nbytes)

    def take(self, rows: Numbers) -> list[Any]:
        found: list[Any] = self._array.take(pa.array(rows)).to_pylist()
        return found


class _Ragged:
    """Lists of any length: `ends` is where each one's values end."""

    def __init__(self, values: torch.Tensor, ends: Numbers) -> None:
        self._values = values
        self._ends = ends
        self.nbytes = values.nbytes + ends.nbytes

    def take(self, rows: Numbers) -> list[torch.Tensor]:
        starts = np.where(rows > 0, self._ends[rows - 1], 0)
        return [
            self._values[start:stop].clone()
            for start, stop in zip(starts.tolist(), self._ends[rows].tolist(), strict=True)
        ]


def check(schema: pa.Schema, fill: Mapping[str, Any]) -> None:
    """`BadInputError` for a column that no tensor can hold, and for a value that does not fit its column."""
    for field in schema:
        leaf = _leaf(field.type)
        if not _is_number(leaf) and not (_is_object(leaf) and not _is_list(_plain(field.type))):
            raise BadInputError(
                f"the column {field.name!r} is {field.type}, which no tensor can hold; "
                "leave it out with columns=[…]"
            )
        if field.name in fill:
            _fill_value(field.name, leaf, fill)
    for name in fill:
        if name not in schema.names:
            raise BadInputError(f"there is a value to fill in for {name!r}, which is no column that is read")


def to_column(name: str, data: pa.ChunkedArray, fill: Mapping[str, Any]) -> Column:
    """The values of a column, ready for use; a copy."""
    array = _combined(data)
    if isinstance(array.type, pa.FixedShapeTensorType):
        return _Dense(_shaped(name, array, fill))
    array = _stored(array)
    kind = array.type
    if _is_object(kind):
        return _Objects(_without_nulls(name, array, fill))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        _no_null_lists(name, array)
        offsets = array.offsets.to_numpy().astype(np.int64)
        values = _tensor(name, array.values[offsets[0] : offsets[-1]], fill)
        return _Ragged(values, offsets[1:] - offsets[0])
    return _Dense(_tensor(name, array, fill))


def rows_of(batch: Batch) -> list[dict[str, Any]]:
    """Each row by itself: tensors of one dimension less."""
    parts = [value.unbind(0) if isinstance(value, torch.Tensor) else value for value in batch.values()]
    return [dict(zip(batch, row, strict=True)) for row in zip(*parts, strict=True)]


def joined(batches: Sequence[Batch]) -> Batch:
    """Several batches of the same columns as one."""
    if len(batches) == 1:
        return batches[0]
    found: Batch = {}
    for name, first in batches[0].items():
        values: list[Any] = [batch[name] for batch in batches]
        if isinstance(first, torch.Tensor):
            found[name] = torch.cat(values)
        else:
            found[name] = [item for value in values for item in value]
    return found


# Types


def _plain(kind: pa.DataType) -> pa.DataType:
    """What a type is stored as: the values of dictionaries, the storage of extensions."""
    while isinstance(kind, pa.BaseExtensionType) or pa.types.is_dictionary(kind):
        kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind.value_type
    return kind


def _leaf(kind: pa.DataType) -> pa.DataType:
    """What is in a list, in the lists of a fixed-size list, or the type itself."""
    kind = _plain(kind)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = _plain(kind.value_type)
        if pa.types.is_fixed_size_list(kind):
            return kind  # Rows of several dimensions and of any length: of no use as they are.
    while pa.types.is_fixed_size_list(kind):
        kind = _plain(kind.value_type)
    return kind


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_date(kind)
        or pa.types.is_time(kind)
        or pa.types.is_timestamp(kind)
        or pa.types.is_duration(kind)
    )


def _is_object(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


# Values


def _combined(data: pa.ChunkedArray) -> pa.Array:
    kind = data.type
    if pa.types.is_dictionary(kind):
        data = data.cast(kind.value_type)
        kind = data.type
    # 32-bit offsets end at 2 GiB, which the rows of a window may exceed, and of views nothing is taken.
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        data = data.cast(pa.large_string())
    elif pa.types.is_binary(kind) or pa.types.is_binary_view(kind):
        data = data.cast(pa.large_binary())
    if data.num_chunks == 1:
        return data.chunk(0)
    return pa.concat_arrays(data.chunks) if data.num_chunks else pa.array([], data.type)


def _stored(array: pa.Array) -> pa.Array:
    while isinstance(array, pa.ExtensionArray) or pa.types.is_dictionary(array.type):
        array = array.storage if isinstance(array, pa.ExtensionArray) else array.dictionary_decode()
    return array


def _fill_value(name: str, kind: pa.DataType, fill: Mapping[str, Any]) -> pa.Scalar:
    try:
        return pa.scalar(fill[name], kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise BadInputError(
            f"{fill[name]!r:.100} cannot be filled in for {name!r}, which is {kind}"
        ) from error


def _without_nulls(name: str, array: pa.Array, fill: Mapping[str, Any]) -> pa.Array:
    if not array.null_count:
        return array
    if name in fill:
        return pc.fill_null(array, _fill_value(name, array.type, fill))
    if pa.types.is_floating(array.type):
        return pc.fill_null(array, pa.scalar(float("nan"), array.type))
    raise BadInputError(
        f"the column {name!r} has nulls, which {array.type} cannot hold for torch; fill={{{name!r}: VALUE}} "
        "says what to put there"
    )


def _no_null_lists(name: str, array: pa.Array) -> None:
    if array.null_count:
        raise BadInputError(
            f"the column {name!r} has nulls in place of lists, which no tensor can hold; "
            "leave it out with columns=[…]"
        )


def _shaped(name: str, array: pa.Array, fill: Mapping[str, Any]) -> torch.Tensor:
    kind = array.type
    flat = _tensor(name, array.storage, fill)
    shaped = flat.reshape(len(array), *kind.shape)
    if kind.permutation:
        shaped = shaped.permute(0, *(axis + 1 for axis in kind.permutation))
    return shaped


def _tensor(name: str, array: pa.Array, fill: Mapping[str, Any]) -> torch.Tensor:
    array = _stored(array)
    kind = array.type
    if pa.types.is_fixed_size_list(kind):
        _no_null_lists(name, array)
        values = _tensor(name, array.flatten(), fill)
        return values.reshape(len(array), kind.list_size, *values.shape[1:])
    if pa.types.is_decimal(kind) and name not in fill:
        array = array.cast(pa.float64())
    return torch.from_numpy(_numbers(name, _without_nulls(name, array, fill)))


def _numbers(name: str, array: pa.Array) -> NDArray[Any]:
    """The values of an array without nulls, in memory of their own, of a type that torch has."""
    kind = array.type
    if pa.types.is_boolean(kind):
        return np.array(array.to_numpy(zero_copy_only=False))
    if pa.types.is_decimal(kind):
        array = array.cast(pa.float64())
    elif pa.types.is_date32(kind) or pa.types.is_time32(kind):
        array = array.view(pa.int32()).cast(pa.int64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        array = array.view(pa.int64())
    elif kind in _WIDER:
        if kind == pa.uint64() and len(array) and pc.max(array).as_py() > _INT64_MAX:
            raise BadInputError(
                f"the column {name!r} has numbers above {_INT64_MAX}, which torch's int64 cannot hold; "
                "leave it out with columns=[…]"
            )
        array = array.cast(_WIDER[kind])
    return np.array(array.to_numpy(zero_copy_only=False))
