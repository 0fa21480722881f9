"""Whether cost grows as the data does: from 1,000 files to a million, and from 100 MiB to 20 GiB.

    python -m benchmarks.bench_growth [--files-max 1000000] [--mib-max 20480] [--rounds 2]
    .venv-bench/bin/python -m benchmarks.plot_growth       draws docs/explanation/growth.svg from that

Whole commands, the best of some rounds: first commit, status, commit of one change, restore; for each
size the seconds and the largest memory. At one size each also with one thread and with two. What was
found is kept in benchmarks/growth.json; at full scale it takes half an hour and 45 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.drive import clear, settle, warn_if_busy
from benchmarks.peer import Timing
from benchmarks.peers import Dataver
from benchmarks.run import FOLDER
from benchmarks.trees import change_one, make_tree
from benchmarks.workloads import SEED

KEPT = Path(__file__).with_name("growth.json")
FILES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
MIB = (100, 300, 1_024, 3_072, 10_240, 20_480)
THREADS_FILES = 100_000
THREADS_MIB = 1_024
BLOCK_BYTES = 16 << 20
SETTLED_S = 2.5
CHANGE_BYTES = 4 << 10

Point = dict[str, dict[str, float]]
"""What was found at one size: by command wall and processor seconds, and bytes of memory."""


def make_blob(folder: Path, mib: int) -> Path:
    """A folder with one file of random bytes below `folder`."""
    place = folder / f"blob-{mib}"
    file = place / "blob.bin"
    if not file.exists() or file.stat().st_size != mib << 20:
        place.mkdir(parents=True, exist_ok=True)
        dice = np.random.Generator(np.random.SFC64(SEED))
        with open(file, "wb", buffering=0) as opened:
            opened.writelines(
                dice.bytes(min(BLOCK_BYTES, (mib << 20) - start))
                for start in range(0, mib << 20, BLOCK_BYTES)
            )
    return place


def change_blob(place: Path, number: int) -> None:
    """Overwrites 4 KiB in the middle."""
    file = place / "blob.bin"
    with open(file, "r+b") as opened:
        opened.seek(file.stat().st_size // 2 + number * (1 << 20))
        opened.write(os.urandom(CHANGE_BYTES))


class Limited(Dataver):
    """dataver with so many threads; 0 is as many as there are cores."""

    jobs = 0

    def run(self, *arguments: str, cwd: Path | None = None) -> Timing:
        if self.jobs and arguments[0] in ("commit", "checkout"):
            arguments = (*arguments, "--jobs", str(self.jobs))
        return super().run(*arguments, cwd=cwd)


def measure(source: Path, place: Path, rounds: int, *, jobs: int = 0) -> Point:
    """All commands on one source, each as often as there are rounds."""
    found: dict[str, list[Timing]] = {}
    for number in range(rounds):
        home = place / f"{source.name}-{jobs}-{number}"
        peer = Limited(home, source)
        peer.jobs = jobs
        peer.init()
        settle(source, cold=False, room_bytes=1 << 30)
        found.setdefault("first commit", []).append(peer.first_commit())
        time.sleep(SETTLED_S)
        peer.status()
        found.setdefault("status", []).append(peer.status())
        if (source / "blob.bin").exists():
            change_blob(source, number)
        else:
            change_one(source, number)
        time.sleep(SETTLED_S)
        found.setdefault("commit of one change", []).append(peer.commit_changed())
        is_blob, is_last = (source / "blob.bin").exists(), number + 1 == rounds
        if is_blob and is_last:
            shutil.rmtree(source)  # What is restored takes its room.
        target = home / "restored"
        peer.prepare_restore(target)
        settle(home / "repository", cold=False, room_bytes=1 << 30)
        found.setdefault("restore", []).append(peer.restore(target))
        if is_blob:
            shutil.rmtree(home)  # Many files stay until all is measured: see `FILES_MANY`.
    return {name: best(timings) for name, timings in found.items()}


def best(timings: list[Timing]) -> dict[str, float]:
    """The least of each figure."""
    return {name: min(asdict(one)[name] for one in timings) for name in asdict(timings[0])}


def save(kind: str, size: int, point: Point) -> None:
    """Keep what was found at one size, in place of what was."""
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    kept.setdefault(kind, {})[str(size)] = point
    kept[kind] = dict(sorted(kept[kind].items(), key=lambda item: int(item[0])))
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    seconds = ", ".join(f"{name} {one['wall_s']:.2f} s" for name, one in point.items())
    memory = max(one["resident_bytes_max"] for one in point.values()) / 2**20
    print(f"{kind} {size:,}: {seconds}; {memory:.0f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="How cost grows with files and with bytes.")
    parser.add_argument("--files-max", type=int, default=FILES[-1])
    parser.add_argument("--mib-max", type=int, default=MIB[-1])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    warn_if_busy()
    place = options.folder / "run-growth"
    clear(place, print)
    try:
        for mib in MIB:
            if mib <= options.mib_max:
                source = make_blob(options.folder, mib)
                save("mib", mib, measure(source, place, options.rounds))
        for count in FILES:
            if count <= options.files_max:
                save("files", count, measure(make_tree(options.folder, count), place, options.rounds))
        tree = make_tree(options.folder, min(THREADS_FILES, options.files_max))
        for jobs in (1, 2):
            blob = make_blob(options.folder, min(THREADS_MIB, options.mib_max))
            save("files by threads", jobs, measure(tree, place, options.rounds, jobs=jobs))
            save("mib by threads", jobs, measure(blob, place, options.rounds, jobs=jobs))
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
