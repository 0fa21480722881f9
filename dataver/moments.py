"""Moments that users name: times, and entries of the log."""

from __future__ import annotations

from datetime import UTC, datetime

from dataver.errors import BadInputError, NotFoundError
from dataver.format.limits import TIME_US_MAX, TIME_US_MIN
from dataver.history import to_microseconds
from dataver.log.log import Log

Time = datetime | str


def microseconds(time: Time) -> int:
    """A time as whole microseconds since 1970; a text is RFC 3339, and without a zone it is UTC."""
    if isinstance(time, str):
        try:
            time = datetime.fromisoformat(time)
        except ValueError as error:
            raise BadInputError(
                f"{time!r} is not a time: RFC 3339 is expected, as 2026-01-31T09:30:00Z"
            ) from error
    time_us = to_microseconds(time if time.tzinfo is not None else time.replace(tzinfo=UTC))
    if not TIME_US_MIN <= time_us <= TIME_US_MAX:
        raise BadInputError(f"{time.isoformat()} is not in the years 1 to 9999, UTC")
    return time_us


def entry_number(log: Log, at: str) -> int:
    """The entry that `--at` means: its number, or the last one made by a time."""
    if at.isascii() and at.isdigit():
        newest = log.tail().entry.number
        # Python refuses to read numbers of thousands of digits.
        if len(at) > 20 or int(at) > newest:
            raise NotFoundError(f"there is no log entry {at[:40]}; the newest is {newest}")
        return int(at)
    return log.number_at(microseconds(at))
