"""Canonical bytes of keys, type by type, and the hashes over them."""

from __future__ import annotations

import datetime as dt
import math
import random
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from xxhash import xxh3_64_intdigest

from dataver.errors import BadInputError
from dataver.splits import keyset, xxh3
from dataver.splits.keys import KeyRows, key_rows, key_type
from dataver.splits.keyset import KeySet

DAY = dt.datetime(2026, 1, 31, 9, 30, 0, 5, dt.UTC)
DAY_BYTES = "0898cb7d690000000088130000"
LAST_SECOND = dt.datetime(1969, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
UNITS = ("s", "ms", "us", "ns")
SIGNED = [pa.int8(), pa.int16(), pa.int32(), pa.int64()]
UNSIGNED = [pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
ONE_AND_A_HALF = "050000000060334f0eb726ca87fcf2d87000000000000000000000000000000000"


def spelled(values: list[Any], kind: pa.DataType) -> list[str]:
    keys = key_rows([pa.array(values, kind)])
    return [keys.bytes_of(row).hex() for row in range(len(keys))]


@pytest.mark.parametrize(
    ("values", "kinds", "expected"),
    [
        ([7, None], [*SIGNED, *UNSIGNED], ["020700000000000000", "00"]),
        ([-2], SIGNED, ["02feffffffffffffff"]),
        ([2**63, 2**63 - 1], [pa.uint64()], ["030000000000000080", "02ffffffffffffff7f"]),
        ([1.5, None], [pa.float16(), pa.float32(), pa.float64()], ["04000000000000f83f", "00"]),
        ([-0.0, 0.0], [pa.float32(), pa.float64()], ["04" + "00" * 8] * 2),
        ([math.nan, -math.nan], [pa.float32(), pa.float64()], ["04000000000000f87f"] * 2),
        ([True, False, None], [pa.bool_()], ["0101", "0100", "00"]),
        (
            ["é", "", None, "a"],
            [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())],
            ["0602000000c3a9", "0600000000", "00", "060100000061"],
        ),
        (
            [b"\x00\xff", None],
            [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)],
            ["070200000000ff", "00"],
        ),
        (
            [DAY, None],
            [pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC")],
            [DAY_BYTES, "00"],
        ),
        ([LAST_SECOND], [pa.timestamp(unit) for unit in UNITS], ["08" + "ff" * 8 + "00" * 4]),
        ([dt.date(1969, 12, 31), None], [pa.date32(), pa.date64()], ["09" + "ff" * 8, "00"]),
        (
            [dt.time(0, 0, 1)],
            [pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")],
            ["0a00ca9a3b00000000"],
        ),
        ([dt.timedelta(seconds=-1)], [pa.duration(unit) for unit in UNITS], ["0b" + "ff" * 8 + "00" * 4]),
        (
            [Decimal("1.50"), None],
            [pa.decimal32(5, 2), pa.decimal128(3, 2), pa.decimal128(38, 30), pa.decimal256(60, 2)],
            [ONE_AND_A_HALF, "00"],
        ),
        ([None, None], [pa.null(), pa.int64(), pa.string(), pa.decimal128(9, 2)], ["00", "00"]),
    ],
)
def test_vectors(values: list[Any], kinds: list[pa.DataType], expected: list[str]) -> None:
    for kind in kinds:
        assert spelled(values, kind) == expected, kind
        tags = {{"03": 2}.get(key[:2], int(key[:2], 16)) for key in expected if key != "00"}
        assert not tags or tags == {key_type(kind)}


def test_a_zone_changes_nothing_about_a_moment() -> None:
    utc = pa.array([DAY], pa.timestamp("us", "UTC"))
    berlin = utc.cast(pa.timestamp("us", "Europe/Berlin"))
    assert key_rows([berlin]).bytes_of(0) == key_rows([utc]).bytes_of(0)


def test_hashes_are_frozen() -> None:
    keys = key_rows([pa.array([1, 2, None]), pa.array(["a", None, "c" * 200])])
    assert (
        keys.data.tobytes().hex().startswith("020100000000000000060100000061" + "020200000000000000" + "00")
    )
    expected = [xxh3_64_intdigest(keys.bytes_of(row), seed=9) for row in range(3)]
    assert keys.hashes(9).tolist() == expected
    assert key_rows([pa.array([1])]).hashes().tolist() == [0x77B9EE4E4F0D5D17]


@pytest.mark.parametrize("seed", [0, 1, 0x0123456789ABCDEF, 2**64 - 1])
def test_hashes_are_those_of_the_library_for_every_length(seed: int) -> None:
    dice = random.Random(seed)
    keys = [dice.randbytes(length) for length in range(300)]
    dice.shuffle(keys)
    data = np.frombuffer(b"".join(keys), np.uint8)
    starts = np.cumsum([0, *map(len, keys)])
    assert xxh3.hashes(data, starts, seed).tolist() == [xxh3_64_intdigest(key, seed) for key in keys]


def test_slices_chunks_and_wrappings_are_their_values() -> None:
    whole = pa.array(["x", "a", None, "b"])
    expected = key_rows([pa.array(["a", None, "b"])])
    chunked = pa.chunked_array([["a"], [None, "b"]])
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([1, 2, 3], pa.int32()), pa.array(["a", None, "b"]))
    for column in (whole.slice(1), chunked, runs, whole.slice(1).dictionary_encode()):
        found = key_rows([column])
        assert [found.bytes_of(n) for n in range(3)] == [expected.bytes_of(n) for n in range(3)]
    for kind in (pa.int64(), pa.bool_(), pa.float64(), pa.decimal128(9, 2), pa.binary(3)):
        empty = key_rows([pa.array([], kind)])
        assert (len(empty), len(empty.hashes())) == (0, 0)
    sliced = pa.array([True, False, None, True])[1:]
    assert key_rows([sliced]).data.tobytes().hex() == "0100" + "00" + "0101"


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.int8()), pa.struct([("a", pa.int8())]), pa.map_(pa.string(), pa.int8())]
)
def test_what_cannot_be_a_key(kind: pa.DataType) -> None:
    with pytest.raises(BadInputError, match="cannot be in a key"):
        key_rows([pa.nulls(1, kind)])


def test_a_decimal_of_too_many_digits_is_refused() -> None:
    with pytest.raises(BadInputError, match="digits"):
        key_rows([pa.array([Decimal(10) ** 60], pa.decimal256(76, 2))])


def test_sets_decide_by_bytes_where_hashes_collide(monkeypatch: pytest.MonkeyPatch) -> None:
    def weak(self: KeyRows, seed: int = 0) -> Any:
        return xxh3.hashes(self.data, self.starts, seed) & np.uint64(3)

    monkeypatch.setattr(KeyRows, "hashes", weak)
    mine = key_rows([pa.array([*range(40), 5, 7, None])])
    found = KeySet(mine)
    assert len(found) == 41
    assert found.collided
    asked = key_rows([pa.array([0, 41, 39, None, 100])])
    assert found.contains(asked).tolist() == [True, False, True, True, False]
    other = KeySet(key_rows([pa.array([3, 4, 50, 5])]))
    assert len(found.common(other)) == len(other.common(found)) == 3
    assert not KeySet(key_rows([pa.array([], pa.int64())])).contains(asked).any()
    assert keyset.equal_rows(asked, np.array([0]), asked, np.array([3])).tolist() == [False]
