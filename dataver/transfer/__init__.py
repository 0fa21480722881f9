"""Copying between repositories: what the other one lacks, raw and verified, names last."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dataver.errors import DamagedError, ErasedError
from dataver.progress import Progress, Silent
from dataver.results import TransferResult
from dataver.session import Session
from dataver.transfer.run import ATTEMPTS_MAX, Transfer

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
    return _run(
        lambda: Transfer(here, there, wanted, depth, pulling=False, progress=progress or Silent()),
        here,
        there,
    )


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
    return _run(
        lambda: Transfer(
            there, here, wanted, depth, pulling=True, rebase=rebase, progress=progress or Silent()
        ),
        here, there,
    )  # fmt: skip


def _run(make: Callable[[], Transfer], *sides: Session) -> TransferResult:
    """Run a transfer; a new one where somebody deleted meanwhile what it was about to copy.

    What was copied is used again. Where nobody wrote, what is missing is lost.
    """
    for attempt in range(1, ATTEMPTS_MAX + 1):
        began = [side.newest().number for side in sides]
        try:
            return make().run()
        except (DamagedError, ErasedError):
            if attempt == ATTEMPTS_MAX or began == [side.newest().number for side in sides]:
                raise
    raise AssertionError("the last attempt returns or raises")
