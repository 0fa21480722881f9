"""What is only right for the newest state: a look at it, and the entry right after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dataver.errors import DamagedError
from dataver.format.operations import Operation
from dataver.log.log import Identity
from dataver.log.state import State
from dataver.session import Session

ATTEMPTS_MAX = 20

Operations = tuple[Operation, ...]
Found = TypeVar("Found")


class _MovedOnError(Exception):
    """Somebody else made the next entry; goes no further than `put_next`."""


def of_newest(session: Session, look: Callable[[State], Found]) -> Found:
    """What `look` finds in the newest state; it looks again where others deleted what it was about to read.

    `DamagedError` where something is missing though nobody wrote meanwhile, or at each of many attempts.
    """
    for attempt in range(1, ATTEMPTS_MAX + 1):
        state = session.newest()
        try:
            return look(state)
        except DamagedError:
            if attempt == ATTEMPTS_MAX or session.newest().number == state.number:
                raise
    raise AssertionError("the last attempt returns or raises")


def put_next(
    session: Session, state: State, operations: Operations, identity: Identity | None = None
) -> bool:
    """Append the operations as the very next entry after `state`, if nobody else makes that."""

    def plan(newest: State) -> Operations:
        if newest.number != state.number:
            raise _MovedOnError
        return operations

    try:
        session.log.append(plan, identity or session.who(None))
    except _MovedOnError:
        return False
    return True
