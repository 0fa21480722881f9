"""Rows at random: a map-style data set of torch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset

from dataver.loading.columns import rows_of

if TYPE_CHECKING:
    from dataver.loading.options import Transform
    from dataver.loading.sources import Block, Source


class TorchRows(Dataset[Any]):
    """A map-style `torch.utils.data.Dataset`: `len(data)`, `data[7]`, in the order of the tables or files.

    A sample is a dictionary: the columns of a row, or the `path` and `bytes` of a file; or what
    `transform` makes of it. What a `DataLoader` asks for a batch is read together: each row group once,
    files that lie near each other by one request. The row groups that were read last are kept, as tensors,
    up to `cache_bytes_max`, one at least. Pickles carry the version's id, and nothing of what was read.
    For one thread in each process.
    """

    def __init__(self, source: Source, transform: Transform | None, cache_bytes_max: int) -> None:
        self._source = source
        self._transform = transform
        self._cache_bytes_max = cache_bytes_max
        self._ends = np.cumsum(source.counts)
        self._blocks: OrderedDict[int, Block] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_blocks": OrderedDict()}

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """The samples at many places, in this order; `IndexError` where there is none."""
        size = len(self)
        wanted = np.array(indices, np.int64).ravel()
        if ((wanted < -size) | (wanted >= size)).any():
            raise IndexError(f"there are {size} samples, and {indices!r:.100} is not one of them")
        wanted = np.where(wanted < 0, wanted + size, wanted)
        groups = np.searchsorted(self._ends, wanted, side="right")
        samples: list[Any] = [None] * len(wanted)
        for group in np.unique(groups).tolist():
            places = np.flatnonzero(groups == group)
            first = int(self._ends[group] - self._source.counts[group])
            found = rows_of(self._block(group).take(wanted[places] - first))
            for place, sample in zip(places.tolist(), found, strict=True):
                samples[place] = sample if self._transform is None else self._transform(sample)
        return samples

    def _block(self, group: int) -> Block:
        block = self._blocks.pop(group, None)
        if block is None:
            block = self._source.load(np.array([group], np.int64))
        self._blocks[group] = block
        size = sum(kept.nbytes for kept in self._blocks.values())
        while size > self._cache_bytes_max and len(self._blocks) > 1:
            size -= self._blocks.popitem(last=False)[1].nbytes
        return block
