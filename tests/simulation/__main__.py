"""`python -m tests.simulation`: many machines on one repository, clocks wrong by up to 30 days.

Each seed is a life of a repository: which machine makes its next call to the store, which call fails,
who dies, all is drawn from it. `--seed N` lives the life of one seed again, exactly, and `--trace` writes
down all that happened. Exit code 1: something was found.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world import Outcome

SHOWN_LINES = 60
COUNTED = {
    "turns": "turns of machines",
    "calls": "calls of the store",
    "faults": "faults injected",
    "deaths": "machines that died in the middle",
    "power failures": "power failures",
    "entries": "log entries",
    "versions": "versions committed",
    "merges": "merges of index segments",
    "marks": "marks",
    "spared": "commits that spared what was marked",
    "sweeps": "sweeps",
    "swept": "packs and segments swept",
    "bytes written": "bytes written",
}


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """What the command was given."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seed", type=int, metavar="N", help="live the life of one seed")
    which.add_argument("--seeds", metavar="FROM..TO", default="0..100", help="those of many, TO is not lived")
    parser.add_argument("--seconds", type=float, metavar="S", help="begin none after so many seconds")
    parser.add_argument("--actors", type=int, metavar="N", help="how many machines, else as the seed says")
    parser.add_argument("--deeds", type=int, metavar="N", help="how much each does, else as the seed says")
    parser.add_argument("--trace", metavar="FILE", help="write all that happened in the last life to FILE")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first finding")
    parser.add_argument("--json", action="store_true", help="the summary as one JSON document")
    return parser.parse_args(arguments)


def seeds_of(options: argparse.Namespace) -> Iterator[int]:
    """The seeds that are asked for."""
    if options.seed is not None:
        yield options.seed
        return
    first, _, last = options.seeds.partition("..")
    yield from range(int(first), int(last))


def run(options: argparse.Namespace) -> dict[str, object]:
    """Live them, tell what is found, and sum up."""
    from tests.simulation.world import live

    totals: Counter[str] = Counter()
    found: list[dict[str, object]] = []
    began, lived = time.perf_counter(), 0
    outcome: Outcome | None = None
    for seed in seeds_of(options):
        if options.seconds is not None and time.perf_counter() - began > options.seconds:
            break
        try:
            outcome = live(seed, options.actors, options.deeds)
        except KeyboardInterrupt:
            break
        lived += 1
        totals += outcome.counts
        if outcome.findings:
            tell(outcome, options)
            found.append({"seed": seed, "findings": outcome.findings, "digest": outcome.digest})
            if not options.keep_going:
                break
    if options.trace and outcome is not None:
        with open(options.trace, "w", encoding="utf-8") as file:
            file.write("\n".join([*outcome.trace, *outcome.findings, ""]))
    counts = {name: totals[name] for name in COUNTED}
    summary: dict[str, object] = {"seeds": lived, **counts, "seconds": round(time.perf_counter() - began, 1)}
    if options.seed is not None and outcome is not None:
        summary["digest"] = outcome.digest
    return {**summary, "findings": found}


def tell(outcome: Outcome, options: argparse.Namespace) -> None:
    """What a seed came upon, the end of its trace, and how to live it again."""
    again = f"python -m tests.simulation --seed {outcome.seed}"
    again += f" --actors {options.actors}" if options.actors else ""
    again += f" --deeds {options.deeds}" if options.deeds else ""
    lines = [
        *outcome.trace[-SHOWN_LINES:],
        f"FOUND by seed {outcome.seed}, trace {outcome.digest}",
        *outcome.findings,
        f"repeat: {again} --trace FILE",
    ]
    sys.stderr.write("\n".join(lines) + "\n")


def shown(summary: dict[str, object]) -> str:
    """The summary as text."""
    lines = [f"{summary['seeds']:>16,}  seeds"]
    lines += [f"{summary[name]:>16,}  {words}" for name, words in COUNTED.items()]
    lines.append(f"{summary['seconds']:>16,}  seconds")
    findings = summary["findings"]
    assert isinstance(findings, list)
    lines.append(f"{len(findings):>16,}  findings")
    if "digest" in summary:
        lines.append(f"trace {summary['digest']}")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 1 where anything was found."""
    options = parsed(arguments)
    summary = run(options)
    sys.stdout.write(json.dumps(summary, indent=2) + "\n" if options.json else shown(summary))
    return 1 if summary["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
