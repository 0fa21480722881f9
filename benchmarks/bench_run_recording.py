"""What recording costs those who read: small files, and ranges of a large one, within a run and without.

    python -m benchmarks.bench_run_recording [--files 2000] [--rounds 15]

Both take turns, and the quickest round of each counts: whatever else the machine does only adds.
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


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(
    name: str, work: Callable[[], object], count: int, rounds: int, folder: Path, *, first: bool
) -> None:
    """Print what a read takes. `first`: each round is a run of its own, so that every file is noted."""
    plain: list[float] = []
    recorded: list[float] = []
    recorder = Recorder(os.urandom(16).hex(), str(folder))
    work()
    for _ in range(rounds):
        plain.append(seconds(work))
        if first:
            recorder = Recorder(os.urandom(16).hex(), str(folder))
        recording.activate(recorder)
        try:
            recorded.append(seconds(work))
        finally:
            recording.activate(None)
        if first:
            recorder.close()
    without, within = min(plain) / count * 1e6, min(recorded) / count * 1e6
    print(f"{name:<28} {without:8.1f} us  in a run {within:8.1f} us  {within / without - 1:+7.1%}")


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
        notes = folder / "notes"
        notes.mkdir()

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
        compare("read, the first time", read_all, count, rounds, notes, first=True)
        compare("read, again", read_all, count, rounds, notes, first=False)
        compare("open and read, first", open_all, count, rounds, notes, first=True)
        compare("open and read, again", open_all, count, rounds, notes, first=False)
        compare("ranges, first", ranges, 64, rounds, notes, first=True)
        compare("ranges, again", ranges, 64, rounds, notes, first=False)


if __name__ == "__main__":
    main()
