"""Which part of the work is this process's: its rank among several, its number among a loader's workers."""

from __future__ import annotations

import os

import torch.distributed
import torch.utils.data

from dataver.errors import BadInputError
from dataver.values import NamedTuple


class Part(NamedTuple):
    """Number `number` of `total`, from 0."""

    number: int
    total: int


def check_part(number: int | None, count: int | None) -> Part | None:
    """What was given as `rank` and `world_size`. `BadInputError` for one alone, or out of range."""
    if number is None and count is None:
        return None
    if number is None or count is None or not 0 <= number < count:
        raise BadInputError(
            f"rank={number} and world_size={count}: both are needed, and a rank is from 0 to below world_size"
        )
    return Part(number, count)


def current_rank() -> Part | None:
    """That of `torch.distributed` in this process; None where it was not begun."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return Part(torch.distributed.get_rank(), torch.distributed.get_world_size())
    return None


def rank_of_environment() -> Part:
    """What `RANK` and `WORLD_SIZE` say, as `torchrun` sets them; without both there is one rank."""
    rank, size = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if rank is None or size is None:
        return Part(0, 1)
    try:
        found = check_part(int(rank), int(size))
    except ValueError as error:
        raise BadInputError(
            f"RANK={rank!r:.50} and WORLD_SIZE={size!r:.50} of the environment are no rank among several"
        ) from error
    assert found is not None
    return found


def current_worker() -> Part | None:
    """Which worker of a loader this process is; None where it is none."""
    info = torch.utils.data.get_worker_info()
    return None if info is None else Part(info.id, info.num_workers)
