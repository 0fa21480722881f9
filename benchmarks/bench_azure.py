"""A repository in Azure Blob Storage beside plain adlfs: one incompressible file of 1 GiB, against Azurite.

    python -m benchmarks.bench_azure                  five interleaved rounds, 1 GiB
    python -m benchmarks.bench_azure --scale 0.1 --rounds 2

Whole processes are measured, start and imports included. adlfs pipes, and then gives back, the same bytes as
objects of 64 MiB, and neither cuts, hashes, checks nor writes them to files. Azurite runs on the same cores.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.azurite import Azurite

FOLDER = Path("/var/tmp")
GIB = 1 << 30
MIB = 1 << 20

PIPE = """
import sys
from adlfs import AzureBlobFileSystem

container, path = sys.argv[1:3]
fs = AzureBlobFileSystem(connection_string=sys.argv[3], max_concurrency=8, use_listings_cache=False)
fs.mkdir(container)
data = open(path, "rb").read()
size = 64 << 20
fs.pipe({f"{container}/{n:04}": data[n:n + size] for n in range(0, len(data), size)}, batch_size=16)
"""

CAT = """
import sys
from adlfs import AzureBlobFileSystem

fs = AzureBlobFileSystem(connection_string=sys.argv[3], max_concurrency=8, use_listings_cache=False)
found = fs.cat(fs.find(sys.argv[1]))
assert sum(map(len, found.values())) == int(sys.argv[2])
"""

MEASURED = """
import resource, subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One process: wall seconds, and its largest resident memory in MiB."""

    wall_s: float
    memory_mib: float


def measured(*arguments: str) -> Run:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    wall_s, memory_kib = done.stdout.split()
    return Run(float(wall_s), int(memory_kib) / 1024)


def one_round(folder: Path, number: int, data: Path, azurite: Azurite) -> dict[str, Run]:
    """Each way once, in another order each time."""
    size = data.stat().st_size
    repository, container = f"az://r{number:03}-dataver", f"r{number:03}-adlfs"
    program = [sys.executable, "-m", "dataver.cli", "--repo", repository]
    subprocess.run([*program, "init", repository], check=True, stdout=subprocess.DEVNULL)
    where = azurite.connection_string
    writes = {
        "commit": lambda: measured(*program, "commit", "blob", str(data)),
        "adlfs pipe": lambda: measured(sys.executable, "-c", PIPE, container, str(data), where),
    }
    reads = {
        "checkout": lambda: measured(*program, "checkout", "blob", str(folder / f"out{number}")),
        "adlfs cat": lambda: measured(sys.executable, "-c", CAT, container, str(size), where),
    }
    found = {}
    for ways in (writes, reads):
        for name in sorted(ways, reverse=bool(number % 2)):
            os.sync()
            os.environ["DATAVER_CACHE_DIR"] = str(folder / f"cache-{number}-{name.replace(' ', '-')}")
            found[name] = ways[name]()
    shutil.rmtree(folder / f"out{number}")
    for path in folder.glob(f"cache-{number}-*"):
        shutil.rmtree(path)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="dataver beside plain adlfs, against Azurite")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=FOLDER) as place:
        folder = Path(place)
        data = folder / "blob" / "blob.bin"
        data.parent.mkdir()
        with open(data, "wb") as file:
            file.writelines(os.urandom(MIB) for _ in range(max(1, int(GIB * options.scale) // MIB)))
        rounds = []
        for number in range(options.rounds):
            # A new service each time: it keeps what was deleted for a while.
            with Azurite.started(folder / f"azurite{number}") as azurite:
                os.environ["AZURE_STORAGE_CONNECTION_STRING"] = azurite.connection_string
                rounds.append(one_round(folder, number, data, azurite))
            shutil.rmtree(folder / f"azurite{number}")
            print({name: round(run.wall_s, 2) for name, run in rounds[-1].items()}, flush=True)
        report(rounds, data.stat().st_size)


def report(rounds: list[dict[str, Run]], size: int) -> None:
    print("\n| | best s | MiB/s | of adlfs | peak MiB |\n|---|---:|---:|---:|---:|")
    for name, peer in (("commit", "adlfs pipe"), ("checkout", "adlfs cat")):
        best = {way: min(found[way].wall_s for found in rounds) for way in (name, peer)}
        for way in (name, peer):
            memory = max(found[way].memory_mib for found in rounds)
            speed = size / MIB / best[way]
            print(f"| {way} | {best[way]:.2f} | {speed:.0f} | {best[peer] / best[way]:.2f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
