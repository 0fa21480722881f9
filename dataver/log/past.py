"""Entries that must be there, as later ones follow them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataver.errors import DamagedError, ObjectMissingError
from dataver.keys import entry_key

if TYPE_CHECKING:
    from dataver.log.log import Log, Tail


def past(log: Log, number: int) -> Tail:
    """Entry `number`, which is not after the newest. `DamagedError` where it is missing."""
    try:
        return log.entry(number)
    except ObjectMissingError as error:
        raise DamagedError(f"{entry_key(number)} is missing; run `dataver verify`") from error
