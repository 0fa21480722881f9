from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from dataver.exits import HELD_QUIET_S, QUIET_S, WAIT_S_MAX, wait_until_quiet


def script(*activities: tuple[int, int]) -> Callable[[], tuple[int, int]]:
    """Gives one after the other, and the last one for ever."""

    def each() -> Iterator[tuple[int, int]]:
        yield from activities
        while True:
            yield activities[-1]

    found = each()
    return lambda: next(found)


@pytest.mark.parametrize(
    ("activities", "expected"),
    [
        ([(0, 1)], [QUIET_S]),
        ([(1, 1)], [HELD_QUIET_S]),
        ([(2, 1), (1, 1), (1, 1), (0, 1)], [HELD_QUIET_S, HELD_QUIET_S, QUIET_S]),
        ([(0, 1), (0, 2)], [QUIET_S, QUIET_S]),
    ],
)
def test_the_end_waits_until_nothing_moves(activities: list[tuple[int, int]], expected: list[float]) -> None:
    pauses: list[float] = []
    wait_until_quiet(script(*activities), pauses.append)
    assert pauses == expected


def test_the_end_does_not_wait_for_ever() -> None:
    pauses: list[float] = []
    wait_until_quiet(script(*((1, number) for number in range(1000))), pauses.append)
    assert WAIT_S_MAX <= sum(pauses) < WAIT_S_MAX + 2 * HELD_QUIET_S
