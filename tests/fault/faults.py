"""A verb over a store of which each call fails in turn, and what must be true after each fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataver.errors import DamagedError, StoreError
from dataver.store.base import Store
from dataver.testing.stores import Fault
from tests.fault.loop import Tally, Trial, every_call
from tests.fault.scenes import FOURTH, Verb, check_nothing_leaks, check_promises, stored_bytes, write
from tests.repositories import over

SLACK_BYTES = 4_096
"""What entries, records and the footers of another pack may take where it took two attempts."""


def stored_undisturbed(verb: Verb, data: Path) -> int:
    """The bytes that are left where nothing goes wrong, after a collection."""
    store = verb.scene().in_memory()
    verb.act(over(store), data)
    verb.finished(over(store))
    check_nothing_leaks(over(store), 1 << 40, "undisturbed")
    return stored_bytes(store)


def check_every_call(verb: Verb, fault: Fault, place: Path) -> Tally:
    """Let each call fail in this way. A fresh client then finds what is promised, and a repeat completes."""
    data = write(place / "data", FOURTH)
    scene, bytes_max = verb.scene(), stored_undisturbed(verb, data) + SLACK_BYTES

    def act(store: Store) -> None:
        verb.act(over(store), data)

    def check(trial: Trial) -> None:
        # A read that was spoiled is told as damage; all else as a store that failed.
        expected = (DamagedError, StoreError) if fault in (Fault.CORRUPT, Fault.SHORT) else StoreError
        assert trial.failure is None or isinstance(trial.failure, expected), trial
        check_promises(over(trial.store), scene.promised, trial)
        verb.between(over(trial.store))
        verb.act(over(trial.store), data)
        verb.finished(over(trial.store))
        # What came late comes when the repeat is through already; of a pack, nobody needs it any more.
        trial.faulty.land()
        check_nothing_leaks(over(trial.store), bytes_max, trial)
        check_promises(over(trial.store), scene.promised, trial)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dataver.log.log.time.sleep", lambda _: None)
        return every_call(scene.in_memory, act, check, fault)
