"""What a command takes before it does anything: Python, click, dataver on a repository of five small files.

    python -m benchmarks.bench_start [--rounds 40]

Whole processes, one after the other in each round, and the best of all rounds: wall time, and processor time
with that of children, which says more on a busy machine. Modules are compiled beforehand, as those of an
installed package are; `PYTHONDONTWRITEBYTECODE` would have each process compile this checkout anew.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).parents[1]
BASE = "import click"
FILES = 5


def main() -> None:
    parser = argparse.ArgumentParser(description="Processes that do next to nothing.")
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dataver-start-") as folder:
        environment = prepare(Path(folder))
        commands = commands_of(Path(folder))
        for command in commands.values():
            measure(command, environment)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, command in commands.items():
                times[name].append(measure(command, environment))
    best = {name: tuple(map(min, zip(*found, strict=True))) for name, found in times.items()}
    print("| | s | processor s | more than click, s | times click |")
    print("|---|---:|---:|---:|---:|")
    for name, (wall_s, processor_s) in best.items():
        more_s, ratio = processor_s - best[BASE][1], processor_s / best[BASE][1]
        print(f"| `{name}` | {wall_s:.3f} | {processor_s:.3f} | {more_s:+.3f} | {ratio:.2f} |")


def prepare(folder: Path) -> dict[str, str]:
    """Make the repository; the environment of all that is measured."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "PYTHONPATH": str(PROJECT),
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        "DATAVER_CACHE_DIR": str(folder / "cache"),
        "DATAVER_REPO": str(folder / "repository"),
    }
    data = folder / "data"
    data.mkdir()
    for number in range(FILES):
        (data / f"{number}.csv").write_text(f"{number}\n")
    time.sleep(0.2)  # younger files may change unseen, and are read again
    for arguments in (["init", environment["DATAVER_REPO"]], ["commit", "d", str(data), "-m", "first"]):
        measure([*program(), *arguments], environment)
    return environment


def commands_of(folder: Path) -> dict[str, list[str]]:
    data, out = str(folder / "data"), str(folder / "out")
    python = [sys.executable, "-c"]
    return {
        "python -c pass": [*python, "pass"],
        BASE: [*python, BASE],
        "import dataver": [*python, "import dataver"],
        "dataver --version": [*program(), "--version"],
        "log": [*program(), "log", "d"],
        "show": [*program(), "show", "d"],
        "ls": [*program(), "ls", "d"],
        "status": [*program(), "status", "d", data],
        "commit, nothing changed": [*program(), "commit", "d", data, "-m", "again"],
        "checkout, nothing changed": [*program(), "checkout", "d", out],
    }


def program() -> list[str]:
    """The program as pip installs it, else the module, which Python takes 3 ms more to find."""
    beside = shutil.which("dataver", path=os.path.dirname(sys.executable))
    return [sys.executable, *([beside] if beside else ["-m", "dataver.cli"])]


def measure(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall time and processor time of one process, its output thrown away."""
    nowhere = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    started = time.perf_counter()
    pid = os.posix_spawn(command[0], command, environment, file_actions=nowhere)
    _, status, used = os.wait4(pid, 0)
    wall_s = time.perf_counter() - started
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return wall_s, used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
