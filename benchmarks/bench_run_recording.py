"""What recording costs those who read: small files, and ranges of a large one, within a run and without.

    python -m benchmarks.bench_run_recording [--files 2000] [--rounds 15]

Both take turns; what counts is the processor time of the quickest round of each, as others only add to it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dataver
from dataver import recording
from dataver.recording import Recorder
from dataver.version import Version


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def compare(
    version: Version, name: str, work: Callable[[], object], count: int, rounds: int, *, first: bool
) -> None:
    """Print what a read takes. `first`: each round is a run of its own, so that every file is noted anew."""
    plain: list[float] = []
    recorded: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(os.urandom(16).hex(), folder)
        work()
        for number in range(rounds):
            if first or not number:
                recorder = Recorder(os.urandom(16).hex(), folder)
            for times, active in ((plain, None), (recorded, recorder)):
                # Both find the caches of the processor as they are after a file was begun.
                begin(version, Recorder(os.urandom(16).hex(), folder))
                if active is not None:
                    begin(version, active)
                recording.activate(active)
                try:
                    if not first and not number:
                        work()
                    times.append(seconds(work))
                finally:
                    recording.activate(None)
    without, within = min(plain) / count * 1e6, min(recorded) / count * 1e6
    print(f"{name:<24} {without:8.1f} us   in a run {within:8.1f} us   {within / without - 1:+6.1%}")


def begin(version: Version, recorder: Recorder) -> None:
    """What each process does once for each version: it begins a file of notes."""
    recording.activate(recorder)
    reads = version.reads
    assert reads is not None
    reads.number()
    recording.activate(None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        for number in range(arguments.files):
            (folder / "data" / f"{number:06}.bin").write_bytes(os.urandom(4096))
        (folder / "large").mkdir()
        (folder / "large" / "one.bin").write_bytes(os.urandom(64 << 20))
        repository = dataver.init(str(folder / "repository"))
        repository.commit("small", folder / "data")
        repository.commit("large", folder / "large")
        small, large = repository.version("small"), repository.version("large")
        paths = [entry.path for entry in small.files()]

        def read_all() -> None:
            for path in paths:
                small.read(path)

        def open_all() -> None:
            for path in paths:
                with small.open(path) as file:
                    file.read()

        def ranges() -> None:
            for start in range(0, 64 << 20, 1 << 20):
                large.read_ranges("one.bin", [(start, 4096)])

        count, rounds = arguments.files, arguments.rounds
        compare(small, "read, the first time", read_all, count, rounds, first=True)
        compare(small, "read, again", read_all, count, rounds, first=False)
        compare(small, "open and read, first", open_all, count, rounds, first=True)
        compare(small, "open and read, again", open_all, count, rounds, first=False)
        compare(large, "ranges, first", ranges, 64, rounds, first=True)
        compare(large, "ranges, again", ranges, 64, rounds, first=False)


if __name__ == "__main__":
    main()
