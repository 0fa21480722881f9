"""An entry that is only right directly after the state it was made for."""

from __future__ import annotations

from dataver.format.operations import Operation
from dataver.log.log import Identity
from dataver.log.state import State
from dataver.session import Session

Operations = tuple[Operation, ...]


class _MovedOnError(Exception):
    """Somebody else made the next entry; goes no further than `put_next`."""


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
