"""What `to_torch` can be told. Names only: neither torch nor numpy is needed to read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict

Transform = Callable[[Any], Any]
"""From a sample as it was read to what the model takes. For spawned workers it must pickle."""

WINDOW_ROWS = 16_384
LANES_PER_RANK = 4
CACHE_BYTES_MAX = 256 << 20


class RowOptions(TypedDict, total=False):
    """What both kinds take.

    - `columns`: those that are read; all of them otherwise.
    - `fill`: by column, what stands in place of nulls.
    - `transform`: called with each sample, or with each batch of a stream with `batch_size`.
    - `cache_bytes_max`: about so much memory of row groups is kept for random access, in each process;
      256 MiB otherwise.
    """

    columns: Sequence[str] | str | None
    fill: Mapping[str, Any] | None
    transform: Transform | None
    cache_bytes_max: int


class StreamOptions(RowOptions, total=False):
    """What a stream takes beside.

    - `shuffle`, `seed`: rows in a random order, another one in each epoch, always the same for a seed.
    - `batch_size`: give whole batches of so many rows, for a `DataLoader` with `batch_size=None`.
    - `drop_last`: leave out the last batch if it is smaller.
    - `even`: `"drop"` leaves out the last samples, or batches, where not all ranks would get one, `"pad"`
      gives some of the first again, so that all ranks get equally many. Without it none is left out and
      none comes twice.
    - `rank`, `world_size`: which part of the samples is for this process. Otherwise `torch.distributed`
      says it if it was begun, else `RANK` and `WORLD_SIZE` of the environment.
    - `window_rows`: row groups are put together until they have so many rows, and these are shuffled among
      each other; 16,384 otherwise, and never more than the row group that makes them 64 MiB.
    - `lanes`: from so many places at a time samples are taken in turn; 4 for each rank otherwise, or 1
      unshuffled. A row group is read by one process only where ranks times workers divides it.
    """

    shuffle: bool
    seed: int
    batch_size: int | None
    drop_last: bool
    even: Literal["drop", "pad"] | None
    rank: int | None
    world_size: int | None
    window_rows: int
    lanes: int | None
