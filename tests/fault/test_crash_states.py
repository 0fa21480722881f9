"""A power cut at any moment of any verb: whatever reached the disk, all that is promised is there."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fault.crashed import check_crash_states
from tests.fault.crashes import Event, Tree, crash_states
from tests.fault.scenes import VERBS, Verb

TRIED_MAX = 40


@pytest.mark.parametrize("verb", VERBS, ids=str)
def test_some_crash_states(tmp_path: Path, verb: Verb) -> None:
    """The same ones each time; which they are is drawn, as there are too many."""
    tally = check_crash_states(verb, tmp_path, TRIED_MAX, random.Random(verb.name))
    assert tally.tried == min(TRIED_MAX, tally.states)


@pytest.mark.soak
@pytest.mark.parametrize("verb", VERBS, ids=str)
def test_all_crash_states(tmp_path: Path, verb: Verb) -> None:
    assert check_crash_states(verb, tmp_path).states > 5


def test_the_model_loses_what_was_not_synced_and_nothing_else() -> None:
    events = [
        Event("folder", "d"),
        Event("name", "d/.tmp", 1),
        Event("write", file=1, data=b"abcd"),
        Event("sync", file=1),
        Event("name", "d/final", 1),
        Event("unname", "d/.tmp"),
        Event("sync names", "d"),
        Event("sync names", ""),
        Event("unname", "old"),
    ]
    by_calls: dict[int, list[Tree]] = {after: [] for after in range(len(events) + 1)}
    for state in crash_states({"old": b"o"}, events):
        by_calls[state.after].append(state.tree)
    trees = [tree for found in by_calls.values() for tree in found]
    assert by_calls[0] == [{"old": b"o"}]
    unsynced = [tree["d/.tmp"] for tree in by_calls[3] if "d/.tmp" in tree]
    assert sorted(filter(None, unsynced)) == [b"\0\0\0\0", b"ab", b"abcd"]
    assert {"old": b"o", "d": None, "d/final": b"abcd"} in trees, "a name was removed before one was made"
    assert {"old": b"o", "d": None, "d/final": b"abcd", "d/.tmp": b"abcd"} in trees
    assert all(tree["d/final"] == b"abcd" for tree in trees if "d/final" in tree), "it was synced before"
    assert by_calls[9] == [{"d": None, "d/final": b"abcd"}]
    assert all("old" in tree for after in range(9) for tree in by_calls[after])
