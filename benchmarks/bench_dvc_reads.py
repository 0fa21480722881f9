"""How fast a version is read through fsspec, beside the raw files and beside DVC's `DVCFileSystem`.

    python -m benchmarks.bench_dvc_reads                        all questions: 3 GB of disk
    python -m benchmarks.bench_dvc_reads parquet columns        two of them
    python -m benchmarks.bench_dvc_reads --stream-gib 10        memory while so much is streamed, too

- `files`: 2,000 files of 100 KiB, each read as a whole, at random (`cat_file`).
- `order`: one file of 256 MiB from its beginning to its end, a MiB at a time.
- `parts`: 64 KiB at 1,000 random places of it.
- `parquet`, `columns`: 8 tables of a million rows through pyarrow, and two of seven columns of them.

Each system reads in processes of its own, with the same Python release, and they take turns; the data are
in the page cache. dataver compares the digest of all that it gives. DVC keeps each file whole, gives it from
its cache and compares nothing. The raw files are read through fsspec's own local file system.

`--stream-gib`: a file of so many GiB of noise, committed and then deleted, is read through `version.open`
and by `checkout`; at each tenth the largest resident memory so far. The data is made, and removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

import dataver
from benchmarks import workloads
from benchmarks.drive import warn_if_busy
from benchmarks.peers import BENCH_ENV, Dvc
from benchmarks.run import FOLDER

PROJECT = Path(__file__).parents[1]
FILES, FILE_BYTES, BLOB_BYTES = 2_000, 100 << 10, 256 << 20
QUESTIONS = ("files", "order", "parts", "parquet", "columns")
BLOCK_BYTES = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("questions", nargs="*", help=f"any of {', '.join(QUESTIONS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="of each process")
    parser.add_argument("--turns", type=int, default=3, help="processes of each system")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--stream-gib", type=float, default=0)
    parser.add_argument("--folder", type=Path, default=FOLDER / "dvc-reads")
    options = parser.parse_args()
    if unknown := set(options.questions) - set(QUESTIONS):
        parser.error(f"unknown question: {', '.join(sorted(unknown))}")
    warn_if_busy()
    if options.stream_gib:
        stream(options.folder / "stream", int(options.stream_gib * 2**30))
    if options.questions or not options.stream_gib:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    folder: Path = options.folder / "files"
    names = make(folder / "work" / "data", options.scale)
    places = systems(folder)
    print("| | MiB | raw, s | dataver, s | DVC, s | of raw | of DVC | processor, of raw | of DVC |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for question in options.questions or QUESTIONS:
        best: dict[str, dict[str, float]] = {}
        for _ in range(options.turns):
            for system, place in places.items():
                found = measured(system, place, question, options.rounds, names[question])
                kept = best.setdefault(system, found)
                if kept["bytes"] != found["bytes"] or best["file"]["bytes"] != found["bytes"]:
                    raise RuntimeError(f"{question} through {system} gave other bytes")
                best[system] = {key: min(kept[key], found[key]) for key in kept}
        raw, ours, dvc = (best.get(system) for system in ("file", "dataver", "dvc"))
        assert raw is not None
        assert ours is not None
        cells = [f"{raw['bytes'] / 2**20:,.0f}", f"{raw['wall_s']:.3f}", f"{ours['wall_s']:.3f}"]
        cells += ["-" if dvc is None else f"{dvc['wall_s']:.3f}"]
        for key in ("wall_s", "processor_s"):
            cells.append(f"{ours[key] / raw[key]:.2f}")
            cells.append("-" if dvc is None else f"{ours[key] / dvc[key]:.2f}")
        print(f"| {question} | {' | '.join(cells)} |", flush=True)


def make(data: Path, scale: float) -> dict[str, list[str]]:
    """The files, and the names that each question reads."""
    tables = [f"tables/part-{number}.parquet" for number in range(workloads.PARQUET_FILES)]
    many = [f"many/{number:05d}.bin" for number in range(max(10, round(FILES * scale)))]
    if not (data.parent / "whole").exists():
        import pyarrow.parquet as pq

        shutil.rmtree(data.parent.parent, ignore_errors=True)
        for name in ("many", "tables"):
            (data / name).mkdir(parents=True)
        rng = np.random.Generator(np.random.SFC64(workloads.SEED))
        for name in many:
            (data / name).write_bytes(rng.bytes(FILE_BYTES))
        (data / "blob.bin").write_bytes(rng.bytes(round(BLOB_BYTES * scale)))
        for number, name in enumerate(tables):
            pq.write_table(workloads.parquet_tables(number, scale)[0], data / name)
        (data.parent / "whole").touch()
    random.Random(workloads.SEED).shuffle(many)
    blob = ["blob.bin"]
    return {"files": many, "order": blob, "parts": blob, "parquet": tables, "columns": tables}


def systems(folder: Path) -> dict[str, str]:
    """Each system with where it finds the files. DVC's project has its pointers and cache, not the files."""
    data, repository = folder / "work" / "data", folder / "repository"
    if not repository.exists():
        dataver.init(os.fspath(repository)).commit("bench", data)
    version = dataver.open(os.fspath(repository)).version("bench")
    found = {"file": os.fspath(data), "dataver": f"{repository}#bench@{version.id}"}
    if Dvc.program() is None:
        print("DVC is not installed and left out: benchmarks/setup-peers", file=sys.stderr)
        return found
    project = folder / "project"
    if not project.exists():
        shutil.rmtree(folder / "dvc", ignore_errors=True)
        shutil.rmtree(data.parent / ".dvc", ignore_errors=True)
        peer = Dvc(folder / "dvc", data)
        peer.init()
        peer.first_commit()
        peer.prepare_restore(project)
    return {**found, "dvc": os.fspath(project)}


def measured(system: str, place: str, question: str, rounds: int, names: list[str]) -> dict[str, float]:
    python = BENCH_ENV / "bin" / "python" if system == "dvc" else Path(sys.executable)
    command = [os.fspath(python), "-m", "benchmarks.reading_driver", system, place, question, str(rounds)]
    env = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(
        command, cwd=PROJECT, env=env, input="\n".join(names), text=True, check=True, stdout=subprocess.PIPE
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def stream(folder: Path, size_bytes: int) -> None:
    """Commits a file of noise, and reads it back by two ways, with the memory of each along the way."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        rng = np.random.Generator(np.random.SFC64(workloads.SEED))
        with open(folder / "large.bin", "wb") as file:
            file.writelines(rng.bytes(BLOCK_BYTES) for _ in range(size_bytes // BLOCK_BYTES))
        print(f"\n| {size_bytes / 2**30:g} GiB | MiB of memory at each tenth |\n|---|---:|")
        for way in ("commit", "open", "checkout"):
            command = [sys.executable, "-m", "benchmarks.bench_dvc_reads", "--one", way, os.fspath(folder)]
            done = subprocess.run(command, cwd=PROJECT, check=True, text=True, stdout=subprocess.PIPE)
            print(f"| {way} | {done.stdout.strip()} |", flush=True)
            if way == "commit":
                (folder / "large.bin").unlink()
    finally:
        shutil.rmtree(folder)


class Tenths:
    """The largest resident memory so far, at each tenth of so many bytes. A progress to those who watch."""

    def __init__(self) -> None:
        self._size = self._done = 0
        self.found: list[str] = []

    def begin(self, _what: str, _files: int | None = None, size_bytes: int | None = None) -> None:
        self._size, self._done, self.found = size_bytes or 0, 0, []

    def advance(self, _files: int = 0, size_bytes: int = 0) -> None:
        self._done += size_bytes
        while self._size and len(self.found) < 10 * self._done // self._size:
            self.found.append(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10:,}")

    def end(self) -> None:
        """Nothing to do."""


def one(way: str, folder: Path) -> None:
    """One way of `stream`, in a process of its own."""
    place, tenths = os.fspath(folder / "repository"), Tenths()
    if way == "commit":
        dataver.init(place).commit("large", folder / "large.bin", progress=tenths)
    elif way == "checkout":
        dataver.open(place).version("large").checkout(folder / "out", progress=tenths)
    else:
        version = dataver.open(place).version("large")
        with version.open("large.bin") as file:
            tenths.begin("reading", 1, file.size)
            while block := file.read(BLOCK_BYTES):
                tenths.advance(0, len(block))
    print(", ".join(tenths.found))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
