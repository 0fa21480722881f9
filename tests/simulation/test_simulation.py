"""Lives of a repository with many machines, wrong clocks and faults: nothing is lost, and seeds replay."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataver.errors import ObjectMissingError, StoreError
from dataver.format.operations import Operation
from dataver.gc.entries import Operations
from dataver.gc.run import _marking as mark
from dataver.keys import pack_key, segment_key
from dataver.log.log import Log
from dataver.log.state import State
from dataver.session import Session
from tests.simulation.__main__ import main
from tests.simulation.world import Outcome, live

DEEDS = 4
FEW = 10
ROOT = Path(__file__).parents[2]


def told(outcome: Outcome) -> str:
    """What was found, and how to see it again."""
    return "\n".join([*outcome.findings, f"python -m tests.simulation --seed {outcome.seed} --deeds {DEEDS}"])


@pytest.mark.parametrize("first", [0, FEW])
def test_nothing_is_lost(first: int) -> None:
    counts: Counter[str] = Counter()
    for seed in range(first, first + FEW):
        outcome = live(seed, deeds=DEEDS)
        assert not outcome.findings, told(outcome)
        counts += outcome.counts
    # What the lives are like: a simulation in which nothing goes wrong shows nothing.
    assert all(counts[name] for name in ("faults", "deaths", "swept", "versions")), counts


def test_a_seed_gives_the_same_life_in_every_process() -> None:
    digests = {live(7, deeds=6).digest}
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", "7", "--deeds", "6", "--json"],
            env=environment, cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        digests.add(json.loads(done.stdout)["digest"])
    assert len(digests) == 1


def test_the_summary_is_text_or_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    few = ["--seeds", "0..2", "--deeds", "1", "--actors", "3", "--trace", str(tmp_path / "trace")]
    assert main(few) == 0
    assert "2  seeds" in capsys.readouterr().out
    assert main([*few, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["seeds"] == 2
    assert summary["findings"] == []
    assert "writer0" in (tmp_path / "trace").read_text()


def test_a_finding_is_told_with_the_command_that_replays_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(*BROKEN["marks"])
    assert main(["--seeds", "0..40", "--deeds", "10", "--json"]) == 1
    told = capsys.readouterr()
    found = json.loads(told.out)["findings"][0]
    assert f"python -m tests.simulation --seed {found['seed']} --deeds 10" in told.err
    assert found["digest"] in told.err


# What breaks a rule is found


def found_by(lives: Callable[[int], Outcome], seeds: range) -> Outcome:
    """The first of these lives in which something is found."""
    for seed in seeds:
        outcome = lives(seed)
        if outcome.findings:
            return outcome
    raise AssertionError(f"none of the seeds {seeds} finds it")


def with_more_deeds(seed: int) -> Outcome:
    return live(seed, deeds=10)


def mark_whatever_happened(session: Session, state: State, operations: Operations, *_: Any) -> bool:
    """A collector that does not look whether the log moved on since it traced."""
    session.log.append(lambda _: operations, session.who(None))
    return True


def spare_nothing(state: State, names: object) -> list[Operation]:
    """A writer that relies on what is marked and leaves the mark."""
    return []


def take_any_entry_for_ours(log: Log, entry: Any) -> bool | None:
    """A writer that takes whatever entry is there for its own."""
    try:
        log.entry(entry.number)
    except (ObjectMissingError, StoreError):
        return None
    return True


def overwrite(edits: Any, theirs: Any) -> tuple[Any, list[bytes]]:
    """A writer that puts its change over what others made of the same paths."""
    return edits, []


def delete_at_once(session: Session, plan: Any) -> Operations:
    """A collector that deletes what it is about to mark."""
    operations = mark(session, plan)
    for name in plan.dead:
        session.store.delete(pack_key(name) if name in plan.contents.packs else segment_key(name))
    return operations


BROKEN: dict[str, tuple[str, Any]] = {
    "marks": ("dataver.gc.run.put_next", mark_whatever_happened),
    "deletions": ("dataver.gc.run._marking", delete_at_once),
    "spares": ("dataver.publish.spare", spare_nothing),
    "entries": ("dataver.log.log.Log._ours", take_any_entry_for_ours),
    "updates": ("dataver.publish.on_top", overwrite),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_found(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, broken = BROKEN[rule]
    monkeypatch.setattr(where, broken)
    outcome = found_by(with_more_deeds, range(40))
    again = with_more_deeds(outcome.seed)
    assert (again.digest, again.findings) == (outcome.digest, outcome.findings)
