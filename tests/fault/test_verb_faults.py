"""Whichever call of the store fails: what is promised is whole, a repeat completes, and nothing leaks."""

from __future__ import annotations

import json
import subprocess
import sys
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
    if fault in (Fault.CORRUPT, Fault.SHORT):
        # A read may be spoiled, and not a write; where nothing is, `init` reads nothing.
        assert tally.faults or verb.name == "init"
    else:
        assert tally.faults == tally.calls


def test_the_summary_counts_what_was_done() -> None:
    line = [sys.executable, "-m", "tests.fault", "--quick", "--json", "--only", "hold"]
    done = subprocess.run(line, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)["verbs"]["hold"]
    # Each fault but the two that spoil reads strikes once at each call.
    assert 4 * counts["calls"] < counts["faults"] < 6 * counts["calls"]
    assert 0 < counts["states_tried"] <= counts["states"]
    assert counts["system_calls"] > 5
