"""200,000 files: `status`, and a commit of one change, beside `find -printf` of the same tree.

    python -m benchmarks.bench_scale [--files 200000] [--rounds 5]

Whole commands, interleaved; the best of all rounds counts, by wall time and by processor time. `find` looks
at each file once and prints what a status needs to know: the least that any such command can cost.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

from benchmarks.drive import clear, settle, warn_if_busy
from benchmarks.peer import Timing, tree_bytes
from benchmarks.peers import Dataver, Floor
from benchmarks.run import FOLDER
from benchmarks.trees import change_one, make_tree

SETTLED_S = 2.5
"""So long after a change nothing hides in the grain of a clock any more."""


def measure(tree: Path, place: Path, rounds: int) -> tuple[dict[str, list[Timing]], list[int]]:
    """Every timing of each command, and the bytes that each commit of one change added."""
    dataver, floor = Dataver(place / "dataver", tree), Floor(place / "floor", tree)
    dataver.init()
    found: dict[str, list[Timing]] = {"first commit": [dataver.first_commit()]}
    time.sleep(SETTLED_S)
    dataver.status()
    grown = []
    for number in range(rounds):
        settle(tree, dataver.home, cold=False, room_bytes=1 << 30)
        found.setdefault("find", []).append(floor.status())
        found.setdefault("status", []).append(dataver.status())
        found.setdefault("commit, nothing changed", []).append(dataver.nothing_changed())
        change_one(tree, number)
        time.sleep(SETTLED_S)
        before = tree_bytes(dataver.store)
        found.setdefault("commit of one change", []).append(dataver.commit_changed())
        grown.append(tree_bytes(dataver.store) - before)
        found.setdefault("status after it", []).append(dataver.status())
    return found, grown


def table(files: int, found: dict[str, list[Timing]], grown: list[int]) -> str:
    """The best of each, and as a part of `find`."""
    floor_s = min(one.wall_s for one in found["find"])
    floor_cpu_s = min(one.cpu_s for one in found["find"])
    lines = [
        f"| {files:,} files | wall s | of find | processor s | of find | memory, MiB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, timings in found.items():
        wall_s, cpu_s = min(one.wall_s for one in timings), min(one.cpu_s for one in timings)
        memory = max(one.resident_bytes_max for one in timings) / 2**20
        lines.append(
            f"| {name} | {wall_s:.2f} | {wall_s / floor_s:.2f} | {cpu_s:.2f} | {cpu_s / floor_cpu_s:.2f} "
            f"| {memory:.0f} |"
        )
    return "\n".join([*lines, "", f"A commit of one change added {max(grown) / 2**10:.0f} KiB at most."])


def main() -> None:
    parser = argparse.ArgumentParser(description="Status and one change among many files.")
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    warn_if_busy()
    tree = make_tree(options.folder, options.files)
    place = options.folder / "run-scale"
    clear(place, print)
    try:
        print(f"\n{table(options.files, *measure(tree, place, options.rounds))}")
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
