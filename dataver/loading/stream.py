"""Samples one after the other: an iterable data set of torch that ranks and workers share, and resumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from math import ceil, gcd
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch.utils.data import IterableDataset

from dataver.errors import BadInputError
from dataver.loading.columns import Batch, joined, rows_of
from dataver.loading.options import LANES_PER_RANK, Transform
from dataver.loading.order import Order, Recipe
from dataver.loading.processes import Part, current_rank, current_worker, rank_of_environment
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.loading.order import Numbers
    from dataver.loading.sources import Block, Source

FORMAT = 1
CHUNK_ROWS = 512
"""So many samples are made at a time where each is one row."""

State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class How:
    """How a stream was asked for. `lanes` is 0 where the number of ranks decides."""

    shuffle: bool
    seed: int
    batch_size: int | None
    drop_last: bool
    even: Literal["drop", "pad"] | None
    window_rows: int
    lanes: int


class _Progress:
    """One iteration: from item `start` of the epoch on, of which this process has passed `passed`."""

    __slots__ = ("epoch", "lanes", "passed", "rank", "start", "worker")

    def __init__(self, epoch: int, lanes: int, start: int, rank: Part, worker: Part | None) -> None:
        self.epoch = epoch
        self.lanes = lanes
        self.start = start
        self.passed = 0
        self.rank = rank
        self.worker = worker


class _Shared:
    """Some numbers that worker processes see too, also those that outlive an epoch."""

    def __init__(self, lanes: int) -> None:
        self.__setstate__({"_numbers": torch.tensor([0, 0, lanes, 0], dtype=torch.int64)})

    def __setstate__(self, state: dict[str, torch.Tensor]) -> None:
        self._numbers = state["_numbers"]
        # Where there is no shared memory, only workers that are started later see a change.
        with suppress(RuntimeError):
            self._numbers.share_memory_()  # type: ignore[no-untyped-call]

    def _get(self, at: int) -> int:
        return int(self._numbers[at])

    def _set(self, at: int, value: int) -> None:
        self._numbers[at] = value

    epoch = property(lambda self: self._get(0), lambda self, value: self._set(0, value))
    start = property(lambda self: self._get(1), lambda self, value: self._set(1, value))
    lanes = property(lambda self: self._get(2), lambda self, value: self._set(2, value))
    read_by_workers = property(lambda self: self._get(3), lambda self, value: self._set(3, value))


class TorchStream(IterableDataset[Any]):
    """A `torch.utils.data.IterableDataset` over all samples, which ranks and `DataLoader` workers share.

    A sample is a dictionary: the columns of a row, or the `path` and `bytes` of a file; with `batch_size`
    that of a whole batch. Or what `transform` makes of it.

    Who gets what: the samples of an epoch have one order, which the version, the options and the epoch
    decide: the same on any machine. Ranks take turns in it, and the workers of a rank take turns in what
    the rank gets, so that each sample comes once. With `batch_size` and a `DataLoader` with
    `batch_size=None` the batches are the same, in the same order, for any number of workers.

    Memory holds `lanes` windows of row groups at most, and the order; nothing else grows with the data.
    Pickles carry the version's id. For one thread in each process.
    """

    def __init__(self, source: Source, how: How, transform: Transform | None, rank: Part | None) -> None:
        """`rank` is the one that was given, if it was."""
        self._source = source
        self._how = how
        self._transform = transform
        self._rank = rank
        self._parents_rank: Part | None = None
        self._shared = _Shared(how.lanes)
        self._progress: _Progress | None = None
        self._resumed: _Progress | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A spawned worker does not know the process group of its parent.
        rank = current_rank() or self._parents_rank
        return {**vars(self), "_parents_rank": rank, "_progress": None, "_resumed": None}

    def __len__(self) -> int:
        """How many samples, or batches, this rank gets in an epoch."""
        rank = self._which_rank()
        order = self._order(0, self._lanes(rank))
        return len(range(rank.number, self._stop(order.items, 0, rank.total), rank.total))

    def __iter__(self) -> Iterator[Any]:
        worker = current_worker()
        progress = self._resumed
        if progress is None:
            shared, rank = self._shared, self._which_rank()
            progress = _Progress(shared.epoch, self._lanes(rank), shared.start, rank, worker)
            if worker is None:
                shared.start = 0
        if worker is not None:
            self._shared.read_by_workers = 1
        self._resumed = None
        self._progress = progress
        return self._samples(progress)

    # Epochs and states

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration is of; 0 at first."""
        return int(self._shared.epoch)

    def set_epoch(self, epoch: int) -> None:
        """Have the next iteration be of this epoch, in this process and in its workers.

        Call it before each epoch, as with torch's `DistributedSampler`. A position that was loaded is kept
        if it is of this epoch; any other epoch begins at its start.
        """
        if epoch < 0:
            raise BadInputError(f"an epoch is 0 or more, not {epoch}")
        if epoch != self._shared.epoch:
            self._shared.epoch = epoch
            self._shared.start = 0
        self._shared.read_by_workers = 0
        self._progress = None

    def state_dict(self, passed: int | None = None) -> State:
        """Where the iteration is: numbers and texts, for any checkpoint.

        Without workers, and with torchdata's `StatefulDataLoader`, that needs no argument. A plain
        `DataLoader` with workers reads ahead, and only who reads from it knows how far it came: `passed`
        is how many samples (batches, with `batch_size`) were taken from it, since the iteration began.
        `BadInputError` where it is needed and missing.
        """
        progress = self._progress or self._resumed
        if progress is None:
            if passed is None and self._shared.read_by_workers:
                raise BadInputError(
                    "worker processes read this stream, and they are ahead of what was taken from the "
                    "DataLoader: state_dict(passed=N) is needed, N being how many batches were taken from it"
                )
            rank = self._which_rank()
            progress = _Progress(self._shared.epoch, self._lanes(rank), self._shared.start, rank, None)
        worker = progress.worker or Part(0, 0)
        return {
            "format": FORMAT,
            **self._described(),
            "epoch": progress.epoch,
            "lanes": progress.lanes,
            "start": progress.start,
            "passed": progress.passed if passed is None else passed,
            "ranks": progress.rank.total,
            "worker": worker.number,
            "workers": worker.total,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on, in the next iteration, with exactly the sample after the last one that was passed.

        What was passed is not read. The number of workers may be another one, and so may that of ranks, if
        all ranks passed equally many; a state that a worker took, as `StatefulDataLoader` has them, is for
        the same worker. `BadInputError` for a state of other data, or of a stream with other options.
        """
        for name, mine in {"format": FORMAT, **self._described()}.items():
            if state.get(name) != mine:
                raise BadInputError(
                    f"the state is of a stream with {name}={state.get(name)!r}, and this one has {mine!r}"
                )
        numbers = ("epoch", "lanes", "start", "passed", "ranks", "worker", "workers")
        found = {name: state.get(name) for name in numbers}
        wrong = [name for name, value in found.items() if not isinstance(value, int) or value < 0]
        if wrong or not state["lanes"] or not state["ranks"]:
            raise BadInputError(
                f"the state is malformed: {(wrong or ['lanes, or ranks,'])[0]} is missing or wrong"
            )
        worker = current_worker()
        if state["workers"]:
            taken = Part(state["worker"], state["workers"])
            rank = self._which_rank()
            if worker != taken or rank.total != state["ranks"]:
                raise BadInputError(
                    f"the state is of worker {taken.number} of {taken.total}, of {state['ranks']} ranks, "
                    "and fits no other"
                )
            progress = _Progress(state["epoch"], state["lanes"], state["start"], rank, worker)
            progress.passed = state["passed"]
            self._resumed = progress
            return
        self._shared.epoch = state["epoch"]
        self._shared.lanes = state["lanes"]
        self._shared.start = state["start"] + state["passed"] * state["ranks"]
        self._shared.read_by_workers = 0
        self._progress = self._resumed = None

    def _described(self) -> State:
        """What a state must agree in."""
        how = self._how
        names = ("shuffle", "seed", "batch_size", "drop_last", "window_rows")
        return {"source": self._source.identity, **{name: getattr(how, name) for name in names}}

    # Which samples

    def _which_rank(self) -> Part:
        """What was given, else this process's own, else that of the process that this is a worker of."""
        return self._rank or current_rank() or self._parents_rank or rank_of_environment()

    def _lanes(self, rank: Part) -> int:
        return self._shared.lanes or (LANES_PER_RANK if self._how.shuffle else 1) * rank.total

    def _order(self, epoch: int, lanes: int) -> Order:
        how = self._how
        rows = how.batch_size or 1
        recipe = Recipe(how.shuffle, how.seed, epoch, how.window_rows, lanes, rows, how.drop_last)
        return Order(self._source.counts, self._source.sizes, recipe)

    def _stop(self, items: int, start: int, ranks: int) -> int:
        """Where the epoch ends for all ranks, exclusive; beyond `items` it goes on at the beginning."""
        left = max(items - start, 0)
        if self._how.even == "drop":
            return start + left // ranks * ranks
        if self._how.even == "pad":
            return start + ceil(left / ranks) * ranks
        return start + left

    def _samples(self, progress: _Progress) -> Iterator[Any]:
        order = self._order(progress.epoch, progress.lanes)
        windows: WeakValueDictionary[int, _OpenWindow] = WeakValueDictionary()
        lanes: dict[int, _Lane] = {}
        rank, worker = progress.rank, progress.worker or Part(0, 1)
        step = rank.total * worker.total
        first = progress.start + worker.number * rank.total + rank.number
        stop = self._stop(order.items, progress.start, rank.total)
        for item in range(first + progress.passed * step, stop, step):
            if item < order.items:
                lane = lanes.get(item % progress.lanes)
                if lane is None:
                    lane = lanes[item % progress.lanes] = _Lane(self, order, windows, step)
                sample = lane.next(item)
            else:
                sample = _Lane(self, order, windows, 1).next(item % order.items)
            progress.passed += 1
            yield sample if self._transform is None else self._transform(sample)


class _OpenWindow:
    """A window whose rows are in memory."""

    def __init__(self, block: Block, rows: Numbers) -> None:
        self._block = block
        self._rows = rows

    def take(self, places: Numbers) -> Batch:
        return self._block.take(self._rows[places])


class _Lane:
    """What one process reads of one lane: items at equal distances, and the window that they are in now."""

    def __init__(
        self, stream: TorchStream, order: Order, windows: WeakValueDictionary[int, _OpenWindow], step: int
    ) -> None:
        """`windows` are those that the lanes of this process have open. `step` is from item to item."""
        self._source = stream._source
        self._batched = stream._how.batch_size is not None
        self._order = order
        self._windows = windows
        self._step = step // gcd(step, order.recipe.lanes)
        self._window: _OpenWindow | None = None
        self._ready: Iterator[dict[str, Any]] = iter(())

    def next(self, item: int) -> dict[str, Any]:
        """The sample of an item; each call is for the next one."""
        if self._batched:
            return self._take(self._order.positions(item))
        found = next(self._ready, None)
        if found is None:
            self._ready = iter(rows_of(self._take(self._order.positions(item, self._step, CHUNK_ROWS))))
            found = next(self._ready)
        return found

    def _take(self, positions: Numbers) -> Batch:
        """The rows at places of the sequence, which ascend."""
        parts = []
        while len(positions):
            number, start, end = self._order.window_of(int(positions[0]))
            count = int(np.searchsorted(positions, end))
            parts.append(self._open(number).take(positions[:count] - start))
            positions = positions[count:]
        return joined(parts)

    def _open(self, number: int) -> _OpenWindow:
        window = self._windows.get(number)
        if window is None:
            # The one before goes first: two of them would be twice the memory.
            self._window = None
            groups, rows = self._order.window(number)
            window = self._windows[number] = _OpenWindow(self._source.load(groups), rows)
        self._window = window
        return window
