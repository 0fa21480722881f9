"""What goes wrong on purpose, counted: `python -m tests.fault [--json] [--quick]`.

Each verb that writes, with each fault at each call of its store; with each state that a power cut may leave;
killed; on full disks. It stops at the first promise that does not hold. `--quick` takes a part of the states
and few kills, as `make test` does; all takes a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from dataver.testing.stores import Fault
from tests.fault.crashed import check_crash_states
from tests.fault.disks import mounting, ways
from tests.fault.faults import check_every_call
from tests.fault.kills import PREY, check_kills
from tests.fault.scenes import VERBS, Verb

QUICK_STATES = 40
QUICK_KILLS, KILLS = 4, 40

Counts = dict[str, int]
_T = TypeVar("_T")


def in_a_folder(work: Callable[[Path], _T]) -> _T:
    """Do it in a folder and with a cache of its own."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["DATAVER_CACHE_DIR"] = str(Path(place) / "cache")
        (Path(place) / "work").mkdir()
        return work(Path(place) / "work")


def faults_of(verb: Verb) -> Counts:
    """Every fault at every call."""
    tallies = [in_a_folder(partial(check_every_call, verb, fault)) for fault in Fault]
    return {
        "calls": max(tally.calls for tally in tallies),
        "faults": sum(tally.faults for tally in tallies),
        "failures": sum(tally.failures for tally in tallies),
    }


def states_of(verb: Verb, *, quick: bool) -> Counts:
    """Every state after a power cut, or some."""
    draw = random.Random(verb.name)
    crashes = in_a_folder(
        lambda place: check_crash_states(verb, place, QUICK_STATES if quick else None, draw)
    )
    return {"system_calls": crashes.calls, "states": crashes.states, "states_tried": crashes.tried}


def kills_of(*, quick: bool) -> dict[str, Counts]:
    """The verbs that are killed beside a process that commits."""
    counted = {}
    for prey in PREY:
        done = in_a_folder(partial(check_kills, prey, kills=QUICK_KILLS if quick else KILLS, seed=1))
        counted[prey.name] = {"runs": done.runs, "kills": done.kills, "commits": done.commits}
    return counted


def disks_of(way: str) -> dict[str, Counts]:
    """The verbs on full disks of one kind, by a program of its own."""

    def work(place: Path) -> dict[str, Counts]:
        start = (mounting() or []) if way == "tmpfs" else []
        line = [*start, sys.executable, "-m", "tests.fault.disks", way, str(place)]
        counted: dict[str, Counts] = json.loads(subprocess.run(line, check=True, capture_output=True).stdout)
        return counted

    return in_a_folder(work)


def main() -> None:
    """Run it, and print a table or one document."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    told: dict[str, dict[str, Counts]] = {"verbs": {}}
    for verb in VERBS:
        told["verbs"][verb.name] = faults_of(verb) | states_of(verb, quick=asked.quick)
        if not asked.json:
            print(f"{verb.name:12}", told["verbs"][verb.name], flush=True)
    told["killed"] = kills_of(quick=asked.quick)
    told |= {f"disk: {way}": disks_of(way) for way in ways()}
    if asked.json:
        print(json.dumps(told))
        return
    for kind in [kind for kind in told if kind != "verbs"]:
        for name, counts in told[kind].items():
            print(f"{kind}: {name:12}", counts)


if __name__ == "__main__":
    main()
