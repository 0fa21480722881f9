"""Splits of any rows: disjoint, complete, as large as asked for, and the same when rows are appended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.splits.definition import (
    ColumnSplit,
    HashSplit,
    ListSplit,
    Split,
    TimeSplit,
    canonical_json,
    from_document,
    load,
)
from dataver.splits.keys import key_rows
from dataver.splits.keyset import KeySet
from dataver.splits.rules import make_rule

CELLS = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.booleans(),
    st.floats(),
    st.datetimes(timezones=st.just(UTC)),
)
NAMES = st.from_regex(r"\A[a-z][a-z0-9]{0,5}\Z")
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))  # noqa: DTZ001 - columns without a zone


def no_table(path: str, types: Mapping[str, pa.DataType]) -> pa.Table:
    raise AssertionError(f"{path} was read for {types}")


def batch_of(**columns: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def masks(definition: Split, batch: pa.RecordBatch, parts: list[str]) -> np.ndarray[Any, Any]:
    rule = make_rule(definition, batch.schema, no_table)
    found = np.array([rule.mask(batch, part) for part in parts])
    counts = rule.counts(batch)
    assert [counts.get(part, 0) for part in parts] == found.sum(axis=1).tolist()
    return found


@st.composite
def hash_splits(draw: st.DrawFn) -> HashSplit:
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    cuts = sorted(draw(st.sets(st.integers(1, 999), min_size=len(names) - 1, max_size=len(names) - 1)))
    edges = [0, *cuts, 1000]
    sizes = [(b - a) / 1000 for a, b in pairwise(edges)]
    salt = draw(st.text(st.characters(codec="utf-8"), max_size=5))
    return HashSplit("id", salt=salt, parts=dict(zip(names, sizes, strict=True)))


@given(hash_splits(), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=200))
def test_every_row_is_in_one_part_of_a_hash_split(definition: HashSplit, ids: list[int]) -> None:
    batch = batch_of(id=pa.array(ids, pa.int64()))
    assert (masks(definition, batch, list(definition.parts)).sum(axis=0) == 1).all()


@given(
    hash_splits(), st.lists(CELLS.filter(lambda cell: isinstance(cell, str | None)), max_size=60), st.data()
)
def test_appended_and_shuffled_rows_change_no_other(
    definition: HashSplit, ids: list[str | None], data: st.DataObject
) -> None:
    ids = [id if id is None else id.encode("utf-8", "replace").decode() for id in ids]
    order = data.draw(st.permutations(range(len(ids))))
    more = batch_of(id=pa.array([ids[n] for n in order] + ["another"] * 3, pa.string()))
    before = masks(definition, batch_of(id=pa.array(ids, pa.string())), list(definition.parts))
    after = masks(definition, more, list(definition.parts))
    assert (after[:, : len(ids)] == before[:, order]).all()


@pytest.mark.parametrize("salt", ["", "one", "two"])
@pytest.mark.parametrize("texts", [False, True])
def test_parts_are_as_large_as_their_fractions(salt: str, texts: bool) -> None:
    count = 100_000
    ids = pa.array([f"user-{n}" for n in range(count)]) if texts else pa.array(range(count))
    definition = HashSplit("id", salt=salt, train=0.8, valid="0.15", test=0.05)
    found = masks(definition, batch_of(id=ids), list(definition.parts)).sum(axis=1)
    for rows, fraction in zip(found, map(float, definition.parts.values()), strict=True):
        assert abs(rows - count * fraction) < 5 * math.sqrt(count * fraction * (1 - fraction))


def test_salts_make_independent_splits() -> None:
    batch = batch_of(id=pa.array(range(20_000)))
    one, two = (masks(HashSplit("id", salt=s, a=0.5, b=0.5), batch, ["a"])[0] for s in ("x", "y"))
    assert abs(int((one & two).sum()) - 5_000) < 5 * math.sqrt(20_000 * 0.25 * 0.75)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=2, max_size=30), st.data())
def test_different_keys_have_different_bytes(rows: list[tuple[Any, Any]], data: st.DataObject) -> None:
    """Each cell is a column of its own type, as no column of Arrow's holds all of them."""
    spelled: dict[bytes, str] = {}
    for row in rows:
        try:
            keys = key_rows([pa.array([cell]) for cell in row])
        except UnicodeEncodeError:
            continue
        spelling = keys.bytes_of(0)
        value = repr([normal(cell) for cell in row])
        assert spelled.setdefault(spelling, value) == value
    assert len(set(spelled.values())) == len(spelled)


def normal(cell: Any) -> Any:
    if isinstance(cell, float):
        return "NaN" if math.isnan(cell) else cell + 0.0
    return cell


@given(st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), max_size=50, unique=True))
def test_columns_of_a_key_do_not_run_together(rows: list[tuple[str, str]]) -> None:
    rows = [row for row in rows if "".join(row).isprintable()]
    keys = key_rows([pa.array([row[n] for row in rows], pa.string()) for n in (0, 1)])
    assert len({keys.bytes_of(n) for n in range(len(rows))}) == len(rows)


@given(st.lists(st.integers(0, 50)), st.lists(st.integers(0, 50)))
def test_sets_of_keys_are_sets(a: list[int], b: list[int]) -> None:
    left, right = (KeySet(key_rows([pa.array(values, pa.int32())])) for values in (a, b))
    assert len(left) == len(set(a))
    assert len(left.common(right)) == len(set(a) & set(b))
    asked = key_rows([pa.array(b, pa.int64())])
    assert left.contains(asked).tolist() == [value in a for value in b]


@given(
    st.lists(st.one_of(st.none(), TIMES), max_size=50), TIMES, TIMES, st.sampled_from(["s", "ms", "us", "ns"])
)
def test_a_time_split_is_a_comparison(
    times: list[datetime | None], first: datetime, second: datetime, unit: str
) -> None:
    first, second = sorted((first, second))
    if first == second:
        return
    definition = TimeSplit(
        "t", old=f"..{first.isoformat()}", new=f"{first.isoformat()}..{second.isoformat()}"
    )
    column = pa.array(times, pa.timestamp("us")).cast(pa.timestamp(unit), safe=False)
    seen = column.cast(pa.timestamp("us")).to_pylist()
    new, old = masks(definition, batch_of(t=column), ["new", "old"]).tolist()
    assert old == [time is not None and time < first for time in seen]
    assert new == [time is not None and first <= time < second for time in seen]


@given(st.lists(st.integers(0, 30), max_size=60), st.sets(st.integers(0, 30), max_size=8), st.booleans())
def test_a_list_split_is_membership(ids: list[int], gold: set[int], with_rest: bool) -> None:
    definition = ListSplit("id", gold=gold, rest="train" if with_rest else None)
    batch = batch_of(id=pa.array(ids, pa.int16()))
    assert masks(definition, batch, ["gold"])[0].tolist() == [id in gold for id in ids]
    if with_rest:
        assert (masks(definition, batch, ["gold", "train"]).sum(axis=0) == 1).all()


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=40), st.booleans())
def test_a_column_split_is_equality(values: list[str | None], coded: bool) -> None:
    column = pa.array(values, pa.string())
    batch = batch_of(s=column.dictionary_encode() if coded else column)
    assert masks(ColumnSplit("s"), batch, ["a", "zz"])[0].tolist() == [value == "a" for value in values]
    found = masks(ColumnSplit("s", x=["a", "b"], y="c"), batch, ["x", "y"])
    assert found[0].tolist() == [value in ("a", "b") for value in values]
    assert found[1].tolist() == [value == "c" for value in values]


TEXTS = st.text(st.characters(codec="utf-8"))
DEFINITIONS = st.one_of(
    hash_splits(),
    st.builds(
        lambda keys, rest: ListSplit(["id", "k"], parts={"a": keys}, rest=rest),
        st.lists(st.tuples(st.integers(), TEXTS)),
        st.one_of(st.none(), st.just("r")),
    ),
    st.builds(lambda time: TimeSplit("t", x=f"{time.isoformat()}.."), st.datetimes()),
    st.builds(lambda values: ColumnSplit("s", x=values), st.lists(TEXTS)),
)


@given(DEFINITIONS)
def test_documents_come_back_as_they_were(definition: Split) -> None:
    again = from_document(definition.to_document())
    assert again == definition
    assert again.digest == definition.digest
    assert load(definition.canonical, "x.json") == {"": definition}
    assert canonical_json(definition.to_document()) == definition.canonical
