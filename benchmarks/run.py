"""The comparison: commit, status and restore of each workload, dataver beside its peers.

    python -m benchmarks.run                              all of it, at full scale: an hour, 50 GB of disk
    python -m benchmarks.run blob --tools dataver borg    one workload, two tools
    python -m benchmarks.run --scale 0.02 --rounds 1      a quick try

At full scale the figures go into benchmarks/results.json and the tables of benchmarks/README.md; at any other
they are only printed, and kept in `results.json` of the folder that is worked in.
"""

from __future__ import annotations

import argparse
import atexit
import shutil
import sys
from pathlib import Path

from benchmarks import report, workloads
from benchmarks.drive import measure, room_needed, warn_if_busy
from benchmarks.peer import PHASES
from benchmarks.peers import PEERS, TOOLS

FOLDER = Path("/var/tmp/dataver-bench")  # on most machines on a disk, as /tmp need not be


def options_of(description: str) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full size, e.g. 0.02")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"where to work (default: {FOLDER})")
    parser.add_argument(
        "--cold", action="store_true", help="empty the page cache before each phase (as root)"
    )
    parser.add_argument(
        "--slow", action="store_true", help="also the phases that take a tool minutes (Peer.slow)"
    )
    parser.add_argument(
        "--publish",
        action=argparse.BooleanOptionalAction,
        help="into README.md; the default is: at full scale",
    )
    return parser


def compare(name: str, key: str, phases: list[str], tools: list[str], options: argparse.Namespace) -> None:
    """Measures one workload with these tools; prints, keeps and perhaps publishes it under `key`."""
    warn_if_busy()
    kinds = report.installed(tools)
    workload = workloads.make(name, options.folder / "data", options.scale)
    needed, free = room_needed(workload, len(kinds), options.rounds), shutil.disk_usage(options.folder).free
    if free < needed:
        have, want = (f"{size / 2**30:.1f} GiB" for size in (free, needed))
        sys.exit(f"{options.folder} has {have} free, {want} are needed: name another with --folder")
    place = options.folder / f"run-{key}"
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    found = measure(
        workload,
        kinds,
        phases,
        rounds=options.rounds,
        folder=place,
        cold=options.cold,
        slow=options.slow,
    )
    value = report.entry(workload, found, cold=options.cold, folder=options.folder)
    report.save(options.folder / "results.json", key, value)
    print(f"\n{report.section(key, value)}", flush=True)
    publish = options.scale == 1.0 if options.publish is None else options.publish
    if publish:
        report.publish(key, value)


def main() -> None:
    parser = options_of("Compare dataver with its peers.")
    parser.add_argument("workloads", nargs="*", help=f"any of {', '.join(workloads.NAMES)} (default: all)")
    parser.add_argument("--tools", nargs="+", choices=list(PEERS), default=list(TOOLS))
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=list(PHASES))
    options = parser.parse_args()
    unknown = set(options.workloads) - set(workloads.NAMES)
    if unknown:
        parser.error(f"unknown workload: {', '.join(sorted(unknown))}")
    for name in options.workloads or workloads.NAMES:
        compare(name, name, options.phases, options.tools, options)


if __name__ == "__main__":
    main()
