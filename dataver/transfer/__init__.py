"""Copying between repositories: what the other one lacks, raw and verified, names last."""

from __future__ import annotations

from collections.abc import Sequence

from dataver.progress import Progress, Silent
from dataver.results import TransferResult
from dataver.session import Session
from dataver.transfer.run import Transfer

__all__ = ["pull", "push"]


def push(
    here: Session,
    there: Session,
    wanted: Sequence[str] = (),
    *,
    depth: int | None = None,
    progress: Progress | None = None,
) -> TransferResult:
    """Copy `wanted` (datasets and refs of `here`; all datasets where none is given) to `there`.

    A branch that diverged is a `ConflictError`, and then nothing was copied.
    """
    return Transfer(here, there, wanted, depth, pulling=False, progress=progress or Silent()).run()


def pull(
    here: Session,
    there: Session,
    wanted: Sequence[str] = (),
    *,
    rebase: bool = False,
    depth: int | None = None,
    progress: Progress | None = None,
) -> TransferResult:
    """Copy `wanted` (datasets and refs of `there`) to `here`.

    What can move moves. A branch that diverged stays where it is, and is a `ConflictError` in the
    end: the versions of `there` are here then, known by their ids. With `rebase` its own versions
    are put on top of the head of `there`; where both sides changed the same paths, nothing moves.
    """
    transfer = Transfer(
        there, here, wanted, depth, pulling=True, rebase=rebase, progress=progress or Silent()
    )
    return transfer.run()
