"""Whichever call of the store fails: what is promised is whole, a repeat completes, and nothing leaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataver.testing.stores import Fault
from tests.fault.faults import check_every_call
from tests.fault.scenes import BY_NAME, Verb

TRIED = ["init", "gc: mark", "gc: sweep", "gc: repack", "gc: restore", "prune", "hold", "release"]
"""The others have files of their own, which look closer."""


@pytest.mark.parametrize("verb", [BY_NAME[name] for name in TRIED], ids=str)
@pytest.mark.parametrize("fault", Fault)
def test_whichever_call_fails(tmp_path: Path, verb: Verb, fault: Fault) -> None:
    tally = check_every_call(verb, fault, tmp_path)
    assert tally.calls > 1
    # A read may be spoiled, and not a write.
    assert tally.faults == tally.calls or fault in (Fault.CORRUPT, Fault.SHORT)
    assert tally.faults
