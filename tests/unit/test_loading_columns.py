"""Columns of Arrow as tensors: which type, what nulls are, what is refused, how batches fall into rows."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import default_collate

from dataver.errors import BadInputError
from dataver.loading.columns import Batch, check, joined, rows_of, to_column


def taken(array: pa.Array | pa.ChunkedArray, rows: list[int], **fill: Any) -> Any:
    """Rows of a column `x`, checked as a table's are."""
    data = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    check(pa.schema([("x", data.type)]), fill)
    return to_column("x", data, fill).take(np.array(rows, np.int64))


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (pa.int8(), torch.int8),
        (pa.int16(), torch.int16),
        (pa.int32(), torch.int32),
        (pa.int64(), torch.int64),
        (pa.uint8(), torch.uint8),
        (pa.uint16(), torch.int32),
        (pa.uint32(), torch.int64),
        (pa.uint64(), torch.int64),
        (pa.float16(), torch.float16),
        (pa.float32(), torch.float32),
        (pa.float64(), torch.float64),
    ],
)
def test_numbers(kind: pa.DataType, dtype: torch.dtype) -> None:
    array = pa.array([np.float16(n) for n in range(5)] if kind == pa.float16() else range(5), kind)
    found = taken(pa.chunked_array([array[1:3], array[3:]]), [3, 0, 0])
    assert (found.dtype, found.tolist()) == (dtype, [4, 1, 1])
    assert taken(pa.chunked_array([], kind), []).dtype == dtype


def test_the_widest_numbers() -> None:
    widest = pa.array([2**32 - 1, 0], pa.uint32())
    assert taken(widest, [0, 1]).tolist() == [2**32 - 1, 0]
    assert taken(pa.array([2**63 - 1], pa.uint64()), [0]).tolist() == [2**63 - 1]
    with pytest.raises(BadInputError, match="'x' has numbers above 9223372036854775807"):
        taken(pa.array([2**63], pa.uint64()), [0])


def test_booleans_and_decimals() -> None:
    found = taken(pa.array([True, False, True])[1:], [1, 0])
    assert (found.dtype, found.tolist()) == (torch.bool, [True, False])
    money = pa.array([Decimal("1.25"), None, Decimal("-3.50")], pa.decimal128(9, 2))
    found = taken(money, [2, 1, 0])
    assert found.dtype == torch.float64
    assert (found[[0, 2]].tolist(), bool(found[1].isnan())) == ([-3.5, 1.25], True)
    assert taken(money, [1], x=Decimal("0.5")).tolist() == [0.5]


@pytest.mark.parametrize(
    ("kind", "value", "number"),
    [
        (pa.date32(), date(1970, 1, 3), 2),
        (pa.date64(), date(1970, 1, 3), 2 * 86_400_000),
        (pa.time32("s"), time(0, 1), 60),
        (pa.time64("us"), time(0, 1), 60_000_000),
        (pa.timestamp("s"), datetime(1970, 1, 1, 0, 0, 5), 5),  # noqa: DTZ001
        (pa.timestamp("ns", "Europe/Berlin"), datetime(1970, 1, 1, 1), 3_600 * 10**9),  # noqa: DTZ001
        (pa.duration("ms"), timedelta(seconds=-2), -2000),
    ],
)
def test_times_are_numbers_in_their_own_unit(kind: pa.DataType, value: object, number: int) -> None:
    found = taken(pa.array([value, value], kind)[1:], [0])
    assert (found.dtype, found.tolist()) == (torch.int64, [number])


def test_texts_and_bytes() -> None:
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())):
        parts = [pa.array(["ä", "b"]).cast(kind), pa.array(["c", ""]).cast(kind)]
        assert taken(pa.chunked_array(parts), [3, 0, 2]) == ["", "ä", "c"]
    for kind in (pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)):
        assert taken(pa.array([b"\xff\x00", b"ab"], kind), [1, 0]) == [b"ab", b"\xff\x00"]


def test_lists_of_one_length_are_one_dimension_more() -> None:
    pairs = pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int16(), 2))
    found = taken(pa.chunked_array([pairs[1:], pairs[:1]]), [2, 0])
    assert (found.dtype, found.tolist()) == (torch.int16, [[1, 2], [3, 4]])
    deep = pa.array([[[1, 2], [3, 4], [5, 6]]] * 2, pa.list_(pa.list_(pa.float32(), 2), 3))
    assert taken(deep, [1]).shape == (1, 3, 2)
    images = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(12, dtype=np.float32).reshape(2, 2, 3))
    assert taken(images, [1, 0]).tolist() == [[[6, 7, 8], [9, 10, 11]], [[0, 1, 2], [3, 4, 5]]]
    turned = pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.int64(), [2, 3], permutation=[1, 0]),
        pa.array([list(range(6))], pa.list_(pa.int64(), 6)),
    )
    assert taken(turned, [0]).tolist() == [[[0, 3], [1, 4], [2, 5]]]


def test_lists_of_any_length_are_a_tensor_each() -> None:
    for kind in (pa.list_(pa.int32()), pa.large_list(pa.int32())):
        lists = pa.chunked_array([pa.array([[9], [1, 2], []], kind)[1:], pa.array([[3, 4, 5]], kind)])
        found = taken(lists, [2, 1, 0])
        assert [(part.dtype, part.tolist()) for part in found] == [
            (torch.int32, [3, 4, 5]),
            (torch.int32, []),
            (torch.int32, [1, 2]),
        ]


def test_nulls() -> None:
    assert taken(pa.array([None, 1.5], pa.float32()), [1, 0])[1].isnan()
    assert taken(pa.array([[None, 1.0]], pa.list_(pa.float64(), 2)), [0]).isnan().tolist() == [[True, False]]
    assert taken(pa.array([None, 1.5]), [0, 1], x=-1).tolist() == [-1, 1.5]
    assert taken(pa.array([None, 3], pa.int8()), [0, 1], x=7).tolist() == [7, 3]
    assert taken(pa.array([None, True]), [0], x=False).tolist() == [False]
    assert taken(pa.array([None, "a"]), [0, 1], x="?") == ["?", "a"]
    assert taken(pa.array([[None, 2]], pa.list_(pa.int32(), 2)), [0], x=0).tolist() == [[0, 2]]
    assert taken(pa.array([None], pa.date32()), [0], x=date(1970, 1, 2)).tolist() == [1]
    for array in (
        pa.array([None, 1], pa.int64()),
        pa.array([None, True]),
        pa.array([None, "a"]),
        pa.array([None], pa.timestamp("s")),
        pa.array([[None, 2]], pa.list_(pa.int32(), 2)),
        pa.array([[None, 2]], pa.list_(pa.int32())),
    ):
        with pytest.raises(BadInputError, match=r"'x' has nulls.*fill=\{'x': VALUE\}"):
            taken(array, [0])
    for array in (pa.array([None, [1]]), pa.array([None, [1, 2]], pa.list_(pa.int8(), 2))):
        with pytest.raises(BadInputError, match="'x' has nulls in place of lists"):
            taken(array, [0])


@pytest.mark.parametrize(
    "kind",
    [
        pa.struct([("a", pa.int8())]),
        pa.map_(pa.string(), pa.int8()),
        pa.null(),
        pa.list_(pa.string()),
        pa.list_(pa.list_(pa.int8())),
        pa.list_(pa.list_(pa.int8(), 2)),
        pa.list_(pa.list_(pa.int8()), 2),
        pa.list_(pa.string(), 2),
    ],
    ids=str,
)
def test_what_no_tensor_holds_is_named(kind: pa.DataType) -> None:
    with pytest.raises(BadInputError, match=r"'x' is .*, which no tensor can hold.*columns="):
        check(pa.schema([("y", pa.int8()), ("x", kind)]), {})


def test_values_to_fill_in_fit_their_column() -> None:
    schema = pa.schema([("x", pa.int8())])
    with pytest.raises(BadInputError, match=r"'many' cannot be filled in for 'x', which is int8"):
        check(schema, {"x": "many"})
    with pytest.raises(BadInputError, match="300 cannot be filled in"):
        check(schema, {"x": 300})
    with pytest.raises(BadInputError, match="'y', which is no column"):
        check(schema, {"y": 1})


def test_what_is_taken_is_a_copy() -> None:
    column = to_column("x", pa.chunked_array([pa.array([1, 2, 3])]), {})
    column_of_lists = to_column("x", pa.chunked_array([pa.array([[1], [2]])]), {})
    rows = np.array([0, 1], np.int64)
    for found in (column.take(rows), column_of_lists.take(rows)[0]):
        assert isinstance(found, torch.Tensor)
        found += 10
    assert [int(value) for value in column.take(rows)] == [1, 2]
    assert [int(value) for value in column_of_lists.take(rows)] == [1, 2]


def test_rows_of_batches_and_batches_of_rows() -> None:
    batch: Batch = {"n": torch.arange(3), "pair": torch.arange(6).reshape(3, 2), "text": ["a", "b", "c"]}
    rows = rows_of(batch)
    assert [(int(row["n"]), row["pair"].tolist(), row["text"]) for row in rows] == [
        (0, [0, 1], "a"),
        (1, [2, 3], "b"),
        (2, [4, 5], "c"),
    ]
    again = default_collate(rows)
    assert (again["n"].dtype, again["pair"].shape, again["text"]) == (torch.int64, (3, 2), ["a", "b", "c"])
    twice = joined([batch, batch])
    assert isinstance(twice["n"], torch.Tensor)
    assert (twice["n"].tolist(), twice["text"]) == ([0, 1, 2, 0, 1, 2], [*"abcabc"])
