"""What is read of the newest state is looked for again where others delete it meanwhile, but not for ever."""

from __future__ import annotations

import pytest

from dataver.errors import DamagedError
from dataver.format.operations import ConfigSet
from dataver.gc.entries import ATTEMPTS_MAX, of_newest, put_next
from dataver.log.state import State
from dataver.session import Session
from tests.repositories import memory_repository


@pytest.fixture
def session() -> Session:
    return memory_repository().session


def write(session: Session) -> None:
    """The next entry, by somebody."""
    session.log.append(lambda state: (ConfigSet("key", str(state.number)),), session.who("Ana"))


class Look:
    """What finds nothing while somebody writes, up to an entry; the states it was asked of."""

    def __init__(self, session: Session, heals_at: int, writes: int = 1 << 30) -> None:
        self.session = session
        self.heals_at = heals_at
        self.writes = writes
        self.numbers: list[int] = []

    def __call__(self, state: State) -> str:
        self.numbers.append(state.number)
        if state.number == self.heals_at:
            return "found"
        if len(self.numbers) <= self.writes:
            write(self.session)
        raise DamagedError("it is missing")


def test_what_others_deleted_meanwhile_is_looked_for_again(session: Session) -> None:
    look = Look(session, 3)
    assert of_newest(session, look) == "found"
    assert look.numbers == [0, 1, 2, 3]


def test_what_is_missing_though_nobody_wrote_is_damage(session: Session) -> None:
    look = Look(session, 100, writes=2)
    with pytest.raises(DamagedError, match="it is missing"):
        of_newest(session, look)
    assert look.numbers == [0, 1, 2]


def test_what_is_missing_each_time_is_damage(session: Session) -> None:
    look = Look(session, 100)
    with pytest.raises(DamagedError, match="it is missing"):
        of_newest(session, look)
    assert look.numbers == list(range(ATTEMPTS_MAX))


def test_the_last_attempt_counts(session: Session) -> None:
    assert of_newest(session, Look(session, ATTEMPTS_MAX - 1)) == "found"


def test_only_the_very_next_entry_is_put(session: Session) -> None:
    state = session.newest()
    write(session)
    assert not put_next(session, state, (ConfigSet("key", "late"),))
    assert session.newest().setting("key") == "0"
    assert put_next(session, session.newest(), (ConfigSet("key", "next"),))
    assert session.newest().setting("key") == "next"
