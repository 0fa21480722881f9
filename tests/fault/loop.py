"""One loop for all: let each call of a store fail in turn, until an attempt meets no fault."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import count

from dataver.errors import DataverError
from dataver.store.base import Store
from dataver.testing.stores import Call, Fault, FaultyStore
from dataver.values import dataclass


@dataclass(frozen=True, slots=True)
class Trial:
    """One attempt. `store` is without faults; `faulty.land()` does late what `Fault.LATE` held back."""

    number: int
    store: Store
    faulty: FaultyStore
    faults: Mapping[int, Fault]
    failure: DataverError | None

    def __str__(self) -> str:
        return f"{self.faults} gave {self.failure!r}"


@dataclass(frozen=True, slots=True)
class Tally:
    """What a loop did. `calls` are those of an attempt that met no fault; `faults` changed what was done or
    told, and `failures` of the attempts ended with an error.
    """

    calls: int
    faults: int
    failures: int


def every_call(
    fresh: Callable[[], Store],
    act: Callable[[Store], object],
    check: Callable[[Trial], None],
    faults: Fault | Callable[[int], Mapping[int, Fault]],
    *,
    counts: Callable[[Call], bool] = lambda _: True,
    numbers: Iterable[int] | None = None,
) -> Tally:
    """Do `act` over a fresh store whose first call fails, then one whose second does, and so on.

    `check` sees each attempt, the last one too, which met no fault. `faults` may say more of them for a
    number; `numbers` are all from 1.
    """
    injected = failures = 0
    for number in numbers or count(1):
        store = fresh()
        planned = {number: faults} if isinstance(faults, Fault) else faults(number)
        faulty = FaultyStore(store, planned, counts)
        failure: DataverError | None = None
        try:
            act(faulty)
        except DataverError as error:
            failure = error
            failures += 1
        injected += faulty.struck
        check(Trial(number, store, faulty, planned, failure))
        if faulty.made < number:
            return Tally(faulty.made, injected, failures)
    raise AssertionError("the numbers ended before the calls did")


def each(until: int, then: int) -> Iterable[int]:
    """Every number up to one, and from there each so many."""
    yield from range(1, until)
    yield from count(until, then)
