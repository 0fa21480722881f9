"""Which rows come when: a closed form, so that any place of the order is found without the ones before.

Rows lie in groups, which are read whole. The rows of all groups, in the order of an epoch, are one
sequence: unshuffled, the groups as they are; shuffled, the groups in a random order, some neighbours of
which make a window, and within each window the rows in a random order. A window ends as soon as it has
the rows of the recipe or `WINDOW_BYTES`.

The sequence is cut into slots of `batch_rows`, and these into as many lanes of equal length as the
recipe says, give or take a slot. Item `k` is the next slot of lane `k % lanes`: lanes take turns. Who
takes every n-th item, where n divides the number of lanes, so needs some lanes only, and nobody else
needs them: that is how ranks and workers share the reading, while the order of the items is the same
for any number of them.

Random orders come from the raw stream of Philox, keyed by the BLAKE3 of what they are for: random numbers
with the number of the row as their last bits, sorted. So no two are equal, and the order is the same on
every machine and in every release of numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dataver.hashing import blake3_digest
from dataver.values import NamedTuple, dataclass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides the order, beside the groups. `window_rows`, `lanes` and `batch_rows` are at least 1."""

    shuffle: bool
    seed: int
    epoch: int
    window_rows: int
    lanes: int
    batch_rows: int
    drop_last: bool


WINDOW_BYTES = 64 << 20


class Window(NamedTuple):
    """Groups whose rows stand together: the rows `rows` of them, where they lie one after the other."""

    groups: Numbers
    rows: Numbers


class Order:
    """The order of one epoch. `items` is how many there are."""

    def __init__(self, counts: Numbers, sizes: Numbers, recipe: Recipe) -> None:
        """`counts` are the rows of each group, `sizes` its bytes as its file says, which may be 0."""
        self.recipe = recipe
        self.rows = int(counts.sum())
        whole, rest = divmod(self.rows, recipe.batch_rows)
        self.items = whole + (1 if rest and not recipe.drop_last else 0)
        self._counts = counts
        groups = np.flatnonzero(counts)
        if recipe.shuffle:
            groups = groups[permutation(len(groups), recipe, "groups")]
        self._groups = groups
        ends = np.cumsum(counts[groups])
        self._stops = _windows(ends, np.cumsum(sizes[groups]), recipe.window_rows if recipe.shuffle else 1)
        """Where each window ends among the groups, exclusive."""
        self._ends: Numbers = ends[self._stops - 1]
        """Where each window ends in the sequence, exclusive."""

    def positions(self, item: int, step: int = 1, count: int = 1) -> Numbers:
        """Where in the sequence the rows of an item stand, and those of every `step`-th of its lane after it.

        `count` items in all, or fewer at the end of the lane.
        """
        recipe = self.recipe
        turn, lane = divmod(item, recipe.lanes)
        slots, longer = divmod(self.items, recipe.lanes)
        in_lane = slots + (lane < longer)
        # The longer lanes stand behind the others, so that the last item is the last slot, the smaller one.
        before = lane - longer if lane >= longer else lane + recipe.lanes - longer
        first = before * slots + (lane if lane < longer else 0)
        chosen = first + np.arange(turn, min(turn + step * count, in_lane), step, dtype=np.int64)
        rows = chosen[:, None] * recipe.batch_rows + np.arange(recipe.batch_rows, dtype=np.int64)
        found = rows.ravel()
        return found[found < self.rows]

    def window_of(self, position: int) -> tuple[int, int, int]:
        """The number of the window at a place in the sequence, and where it begins and ends there."""
        number = int(np.searchsorted(self._ends, position, side="right"))
        return number, int(self._ends[number - 1]) if number else 0, int(self._ends[number])

    def window(self, number: int) -> Window:
        """What a window is made of."""
        start = int(self._stops[number - 1]) if number else 0
        groups = self._groups[start : int(self._stops[number])]
        count = int(self._counts[groups].sum())
        if self.recipe.shuffle:
            return Window(groups, permutation(count, self.recipe, f"window {number}"))
        return Window(groups, np.arange(count, dtype=np.int64))


def permutation(count: int, recipe: Recipe, what: str) -> Numbers:
    """The numbers below `count` in the random order that is for this seed, epoch and purpose."""
    key = blake3_digest(f"dataver order 1\n{recipe.seed}\n{recipe.epoch}\n{what}".encode())
    raw = np.random.Philox(key=int.from_bytes(key[:16], "little")).random_raw(count)
    low = np.uint64((1 << max(count - 1, 0).bit_length()) - 1)
    mixed = np.sort((raw & ~low) | np.arange(count, dtype=np.uint64))
    found: Numbers = (mixed & low).astype(np.int64)
    return found


def _windows(ends: Numbers, byte_ends: Numbers, rows: int) -> Numbers:
    """After which groups a window ends. The arguments are where each group ends, in rows and in bytes."""
    stops: list[int] = []
    done = done_bytes = stop = 0
    while stop < len(ends):
        by_rows = int(np.searchsorted(ends, done + rows))
        by_bytes = int(np.searchsorted(byte_ends, done_bytes + WINDOW_BYTES))
        stop = min(by_rows + 1, by_bytes + 1, len(ends))
        stops.append(stop)
        done, done_bytes = int(ends[stop - 1]), int(byte_ends[stop - 1])
    return np.array(stops, np.int64)
