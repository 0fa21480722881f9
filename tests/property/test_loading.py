"""The order of samples: whoever shares it and wherever it is resumed, each row comes once, in its turn."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from dataver.errors import BadInputError
from dataver.loading import stream as stream_module
from dataver.loading.order import Order, Recipe, permutation
from dataver.loading.processes import Part
from dataver.loading.stream import How, TorchStream

if TYPE_CHECKING:
    from dataver.loading.columns import Batch
    from dataver.loading.order import Numbers
    from dataver.loading.sources import Block

COUNTS = st.lists(st.integers(0, 9), max_size=12)


class Numbered:
    """Rows that are numbers, in groups; it notes which groups were loaded."""

    def __init__(self, counts: list[int]) -> None:
        self.counts: Numbers = np.array(counts, np.int64)
        self.sizes: Numbers = np.zeros(len(counts), np.int64)
        self.identity = repr(counts)
        self.loaded: list[int] = []

    def load(self, groups: Numbers) -> Block:
        self.loaded += groups.tolist()
        ends = np.cumsum(self.counts)
        return _Rows(np.concatenate([np.arange(ends[at] - self.counts[at], ends[at]) for at in groups]))


class _Rows:
    nbytes = 0

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def take(self, rows: Numbers) -> Batch:
        return {"id": torch.from_numpy(self._numbers[rows])}


@st.composite
def hows(draw: st.DrawFn, /, **fixed: Any) -> How:
    values = {
        "shuffle": draw(st.booleans()),
        "seed": draw(st.integers(-(2**70), 2**70)),
        "batch_size": draw(st.none() | st.integers(1, 7)),
        "drop_last": False,
        "even": None,
        "window_rows": draw(st.integers(1, 20)),
        "lanes": draw(st.integers(0, 9)),
    }
    return How(**{**values, **fixed})


ALONE = Part(0, 1)


def make(source: Numbered, how: How, rank: Part = ALONE, epoch: int = 0) -> TorchStream:
    stream = TorchStream(source, how, None, rank)
    stream.set_epoch(epoch)
    return stream


def numbers(sample: dict[str, torch.Tensor]) -> list[int]:
    found: list[int] = sample["id"].reshape(-1).tolist()
    return found


def as_worker(stream: TorchStream, worker: Part | None) -> Iterator[list[int]]:
    """What the stream gives in a worker process of a loader."""
    with patch.object(stream_module, "current_worker", lambda: worker):
        samples = iter(stream)
    return map(numbers, samples)


def in_turn(streams: list[Iterator[list[int]]]) -> Iterator[list[int]]:
    """As a loader takes from its workers, and steps from ranks."""
    left = list(streams)
    while left:
        for stream in list(left):
            found = next(stream, None)
            if found is None:
                left.remove(stream)
            else:
                yield found


def of_rank(stream: TorchStream, workers: int) -> Iterator[list[int]]:
    if not workers:
        return as_worker(stream, None)
    # A worker has a copy of its own, which shares what a process shares with those it started.
    return in_turn([as_worker(copy(stream), Part(number, workers)) for number in range(workers)])


@given(COUNTS, hows(), st.integers(1, 4), st.integers(0, 4), st.integers(0, 3))
def test_every_row_comes_once_over_all_ranks_and_workers(
    counts: list[int], how: How, ranks: int, workers: int, epoch: int
) -> None:
    streams = [make(Numbered(counts), how, Part(rank, ranks), epoch) for rank in range(ranks)]
    samples = [list(of_rank(stream, workers)) for stream in streams]
    rows = [row for part in samples for sample in part for row in sample]
    assert sorted(rows) == list(range(sum(counts)))
    assert [len(stream) for stream in streams] == [len(part) for part in samples]
    assert max(map(len, samples)) - min(map(len, samples)) <= 1


@given(COUNTS, hows(), st.integers(1, 4), st.integers(0, 4), st.integers(0, 3))
def test_the_order_is_the_same_for_any_number_of_workers_and_ranks(
    counts: list[int], how: How, ranks: int, workers: int, epoch: int
) -> None:
    assume(how.lanes)  # Without, the number of ranks decides it.
    alone = list(of_rank(make(Numbered(counts), how, epoch=epoch), 0))
    shared = [
        of_rank(make(Numbered(counts), how, Part(rank, ranks), epoch), workers) for rank in range(ranks)
    ]
    assert list(in_turn(shared)) == alone
    assert all(len(sample) == (how.batch_size or 1) for sample in alone[:-1])
    if not how.shuffle and how.lanes == 1:
        assert [row for sample in alone for row in sample] == list(range(sum(counts)))


@given(COUNTS, hows(), st.data())
def test_a_resumed_iteration_is_the_one_that_was_not_interrupted(
    counts: list[int], how: How, data: st.DataObject
) -> None:
    assume(how.lanes)
    whole = list(of_rank(make(Numbered(counts), how), 0))
    rest, state, done = whole, None, 0
    for _ in range(3):
        ranks, workers = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 3))
        streams = [make(Numbered(counts), how, Part(rank, ranks)) for rank in range(ranks)]
        for stream in streams:
            if state is not None:
                stream.load_state_dict(state)
        assert list(in_turn([of_rank(stream, workers) for stream in streams])) == rest
        for stream in streams:
            if state is not None:
                stream.load_state_dict(state)
        steps = data.draw(st.integers(0, len(rest) // ranks))
        if workers:
            state = streams[0].state_dict(passed=steps)
        else:
            samples = as_worker(streams[0], None)
            for _ in range(steps):
                next(samples)
            state = streams[0].state_dict()
            assert state == streams[0].state_dict(passed=steps)
        done += steps * ranks
        rest = whole[done:]


@given(COUNTS, hows(), st.integers(1, 3), st.integers(1, 3), st.data())
def test_a_worker_resumes_from_its_own_state(
    counts: list[int], how: How, ranks: int, workers: int, data: st.DataObject
) -> None:
    rank = Part(data.draw(st.integers(0, ranks - 1)), ranks)
    worker = Part(data.draw(st.integers(0, workers - 1)), workers)
    whole = list(as_worker(make(Numbered(counts), how, rank, 5), worker))
    stream = make(Numbered(counts), how, rank, 5)
    samples = as_worker(stream, worker)
    passed = data.draw(st.integers(0, len(whole)))
    assert [next(samples) for _ in range(passed)] == whole[:passed]
    state = stream.state_dict()
    again = make(Numbered(counts), how, rank)
    with patch.object(stream_module, "current_worker", lambda: worker):
        again.load_state_dict(state)
    assert list(as_worker(again, worker)) == whole[passed:]
    with pytest.raises(BadInputError, match="of worker"):
        again.load_state_dict(state)


@given(COUNTS, hows(even="drop"), st.integers(1, 4))
def test_ranks_drop_what_not_all_would_get(counts: list[int], how: How, ranks: int) -> None:
    samples = [list(of_rank(make(Numbered(counts), how, Part(rank, ranks)), 0)) for rank in range(ranks)]
    items = -(-sum(counts) // (how.batch_size or 1))
    assert {len(part) for part in samples} == {items // ranks}
    rows = [row for part in samples for sample in part for row in sample]
    assert len(set(rows)) == len(rows) >= sum(counts) - (ranks - 1) * (how.batch_size or 1)


@given(COUNTS, hows(even="pad"), st.integers(1, 4), st.integers(0, 3))
def test_ranks_repeat_some_to_be_even(counts: list[int], how: How, ranks: int, workers: int) -> None:
    streams = [make(Numbered(counts), how, Part(rank, ranks)) for rank in range(ranks)]
    samples = [list(of_rank(stream, workers)) for stream in streams]
    items = -(-sum(counts) // (how.batch_size or 1))
    assert {len(part) for part in samples} == {-(-items // ranks)}
    assert {row for part in samples for sample in part for row in sample} == set(range(sum(counts)))


@given(COUNTS, hows(drop_last=True, batch_size=4))
def test_a_smaller_last_batch_is_left_out(counts: list[int], how: How) -> None:
    samples = list(of_rank(make(Numbered(counts), how), 0))
    assert [len(sample) for sample in samples] == [4] * (sum(counts) // 4)


@given(st.integers(1, 4), st.integers(1, 4), st.booleans(), st.integers(0, 30))
def test_a_group_is_read_once_by_one_process(
    lanes_each: int, processes: int, shuffle: bool, passed: int
) -> None:
    """Where ranks times workers divides the lanes, but for the windows that two lanes meet in."""
    lanes = lanes_each * processes
    how = How(shuffle, 1, 2, False, None, 1, lanes)
    loaded: list[int] = []
    for number in range(processes):
        source = Numbered([5] * 40)
        stream = make(source, how)
        assert len(list(as_worker(stream, Part(number, processes)))) > 0
        loaded += source.loaded
    assert set(loaded) == set(range(40))
    assert len(loaded) <= 40 + lanes - 1
    source = Numbered([5] * 40)
    stream = make(source, how)
    stream.load_state_dict(stream.state_dict(passed=passed))
    rest = list(of_rank(stream, 0))
    # Nothing of what was passed is read, but for the rows around where each lane goes on.
    assert len(source.loaded) <= -(-sum(map(len, rest)) // 5) + 2 * lanes


@given(COUNTS, hows(shuffle=True))
def test_seeds_and_epochs_have_orders_of_their_own(counts: list[int], how: How) -> None:
    first, again = (list(of_rank(make(Numbered(counts), how, epoch=7), 0)) for _ in range(2))
    assert first == again
    if len(first) > 30:
        assert first != list(of_rank(make(Numbered(counts), how, epoch=8), 0))


def test_orders_are_these_for_ever() -> None:
    """A release that changes them breaks every checkpoint and every experiment that was noted by its seed."""
    recipe = Recipe(True, 42, 3, 6, 2, 2, False)
    assert permutation(10, recipe, "groups").tolist() == [8, 3, 6, 1, 0, 9, 2, 7, 4, 5]
    order = Order(np.array([3, 0, 4, 2, 5], np.int64), np.zeros(5, np.int64), recipe)
    assert [order.positions(item).tolist() for item in range(order.items)] == [
        [6, 7],
        [0, 1],
        [8, 9],
        [2, 3],
        [10, 11],
        [4, 5],
        [12, 13],
    ]
    assert [order.window(0).groups.tolist(), order.window(0).rows.tolist()] == [
        [4, 2],
        [0, 8, 4, 6, 1, 5, 2, 3, 7],
    ]


@given(st.integers(0, 300), st.integers())
def test_permutations_have_each_number_once(count: int, seed: int) -> None:
    recipe = Recipe(True, seed, 0, 1, 1, 1, False)
    assert sorted(permutation(count, recipe, "any").tolist()) == list(range(count))


def test_permutations_are_spread_evenly() -> None:
    """Where each of 50 numbers lands in 2,000 permutations: chi-square has 2,401 degrees of freedom."""
    landed = np.zeros((50, 50))
    for seed in range(2_000):
        landed[np.arange(50), permutation(50, Recipe(True, seed, 0, 1, 1, 1, False), "any")] += 1
    assert 2_050 < ((landed - 40) ** 2 / 40).sum() < 2_770


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 70)), min_size=1, max_size=20), st.integers(1, 8))
def test_windows_end_by_rows_or_by_bytes(groups: list[tuple[int, int]], rows: int) -> None:
    counts, sizes = (np.array(column, np.int64) for column in zip(*groups, strict=True))
    order = Order(counts, sizes << 20, Recipe(True, 1, 0, rows, 1, 1, False))
    at = 0
    while at < order.rows:
        number, start, end = order.window_of(at)
        window = order.window(number)
        assert (start, end - start) == (at, counts[window.groups].sum())
        assert sorted(window.rows.tolist()) == list(range(end - start))
        full = [
            counts[window.groups[:n]].sum() >= rows or sizes[window.groups[:n]].sum() >= 64
            for n in range(1, len(window.groups) + 1)
        ]
        assert not any(full[:-1])
        assert full[-1] or end == order.rows
        at = end
