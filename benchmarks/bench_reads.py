"""How fast a version is read, beside the same files read and hashed where they lie.

    python -m benchmarks.bench_reads                       all questions: 4 GB of disk
    python -m benchmarks.bench_reads noise text            two of them
    python -m benchmarks.bench_reads --distinct 100000     no two files alike: 45 GB of disk, 24 GiB of memory
    python -m benchmarks.bench_reads noise --profile FILE  where the time goes, for pstats

- `noise`, `text`: 100,000 files of 100 KiB in 100 folders, read at random in one thread: `version.read`,
  as `dataver://` file objects, and by two threads. The reference opens, reads and hashes (BLAKE3) the raw
  files, as every read of a version compares a digest; for file objects also fsspec's own local ones,
  which verify nothing. Of the files `--distinct` have contents of their own and the others are hard
  links to these, so that all of it stays in the page cache; the manifest has all of them, and what a
  read does is the same. Each round reads others.
- `order`: files of 1 to 16 KiB (a fifth of `small` of workloads.py), all read in the order of the listing.
- `parts`: 64 KiB at random places of one file of 256 MiB, through one file object.
- `parquet`: a file of a million rows (`parquet` of workloads.py) through pyarrow, from `dataver://` and raw.

All is read into the page cache before, and each way is run once before it is measured. The ways take turns,
and the best of the rounds counts: by processor time of the whole process, as other programs use the machine
too.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import random
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import fsspec
import numpy as np
import pyarrow.dataset
import pyarrow.parquet
from blake3 import blake3

import dataver
from benchmarks import workloads
from benchmarks.drive import warn_if_busy
from benchmarks.run import FOLDER
from dataver.fs import DataverFileSystem
from dataver.version import Version

FILES, FOLDERS, DISTINCT = 100_000, 100, 10_000
FILE_BYTES = 100 << 10
PART_BYTES = 64 << 10


class Way(NamedTuple):
    """One way to do the work: `run` does so many `things`. Ratios are to the first way of its group."""

    name: str
    things: int
    run: Callable[[], object]


class Best(NamedTuple):
    """The least seconds of any round."""

    processor_s: float
    wall_s: float


def measure(ways: Sequence[Way], rounds: int, renew: Callable[[], object]) -> list[Best]:
    """The best of the rounds, in which the ways take turns. `renew` is called before each round."""
    best = [Best(float("inf"), float("inf"))] * len(ways)
    for number in range(rounds + 1):
        renew()
        for at, way in enumerate(ways):
            wall, processor = time.perf_counter(), time.process_time()
            way.run()
            processor, wall = time.process_time() - processor, time.perf_counter() - wall
            if number:
                best[at] = Best(min(best[at].processor_s, processor), min(best[at].wall_s, wall))
    return best


def table(title: str, ways: Sequence[Way], rounds: int, renew: Callable[[], object] = lambda: None) -> None:
    best = measure(ways, rounds, renew)
    print(f"\n### {title}\n\n| | a second | µs of processor | of the reference | wall, of it |")
    print("|---|---:|---:|---:|---:|")
    for way, (processor_s, wall_s) in zip(ways, best, strict=True):
        ratio, wall_ratio = processor_s / best[0].processor_s, wall_s / best[0].wall_s
        each = f"{way.things / processor_s:,.0f} | {processor_s / way.things * 1e6:,.0f}"
        print(f"| {way.name} | {each} | {ratio:.2f} | {wall_ratio:.2f} |", flush=True)


def make_many(folder: Path, kind: str, files: int, distinct: int) -> Path:
    """`files` files of 100 KiB, of which `distinct` have contents of their own."""
    source = folder / f"{kind}-{files}-{distinct}"
    if (source / "whole").exists():
        return source / "v1"
    shutil.rmtree(source, ignore_errors=True)
    rng = np.random.Generator(np.random.SFC64(workloads.SEED))
    text = workloads.Text(rng)
    names = many_names(files)
    for name in names[:FOLDERS]:
        (source / "v1" / name).parent.mkdir(parents=True)
    # Folders take turns, so that the contents stand in as many places as the names.
    for number, name in enumerate(names):
        if number < distinct:
            data = text.take(FILE_BYTES) if kind == "text" else rng.bytes(FILE_BYTES)
            (source / "v1" / name).write_bytes(data)
        else:
            os.link(source / "v1" / names[number % distinct], source / "v1" / name)
    (source / "whole").touch()
    return source / "v1"


def many_names(files: int) -> list[str]:
    return [f"part-{number % FOLDERS:03d}/item-{number // FOLDERS:05d}.bin" for number in range(files)]


def version_of(folder: Path, source: Path, name: str) -> Version:
    """What is in `source` as a version, committed if it is not yet."""
    place = os.fspath(folder / "repository" / name)
    if not os.path.exists(place):
        dataver.init(place)
    repository = dataver.open(place)
    if not any(dataset.name == "bench" for dataset in repository.datasets()):
        repository.commit("bench", source)
    return repository.version("bench")


def warm(*folders: Path) -> None:
    """Read all files below, each once: what has several names by one of them."""
    seen: set[tuple[int, int]] = set()
    for folder in folders:
        for path in folder.rglob("*"):
            found = path.stat()
            if path.is_file() and (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                path.read_bytes()


def read_raw(source: Path, names: Sequence[str]) -> None:
    top = os.fspath(source)
    for name in names:
        with open(f"{top}/{name}", "rb") as file:
            blake3(file.read()).digest()


def read_version(version: Version, names: Sequence[str]) -> None:
    for name in names:
        version.read(name)


def read_files(system: fsspec.AbstractFileSystem, top: str, names: Sequence[str]) -> None:
    for name in names:
        with system.open(f"{top}/{name}", "rb") as file:
            file.read()


def by_two(work: Callable[[Sequence[str]], object], names: Sequence[str]) -> None:
    middle = len(names) // 2
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, (names[:middle], names[middle:])))


def many(kind: str, options: argparse.Namespace) -> None:
    distinct = min(options.distinct, options.files)
    source = make_many(options.folder / "data", kind, options.files, distinct)
    version = version_of(options.folder, source, f"{kind}-{options.files}-{distinct}")
    every, chance, count = many_names(options.files), random.Random(workloads.SEED), options.reads
    names: list[str] = []

    def renew() -> None:
        names[:] = chance.choices(every, k=count)

    renew()
    warm(source, Path(version.repository.url))
    local, system = fsspec.filesystem("file"), DataverFileSystem.of(version)
    top, place = f"bench@{version.id}", os.fspath(source)
    check(version, source, names[:50])
    if options.profile:
        profile(lambda: read_version(version, names), options.profile)
    ways = [
        Way("raw, read and hashed", count, lambda: read_raw(source, names)),
        Way("`version.read`", count, lambda: read_version(version, names)),
        Way("fsspec's local files, nothing verified", count, lambda: read_files(local, place, names)),
        Way("`dataver://` files", count, lambda: read_files(system, top, names)),
        Way("raw, two threads", count, lambda: by_two(lambda part: read_raw(source, part), names)),
        Way(
            "`version.read`, two threads",
            count,
            lambda: by_two(lambda part: read_version(version, part), names),
        ),
    ]
    title = f"{kind}: {options.files:,} files of 100 KiB, {distinct:,} contents, {count:,} read at random"
    table(title, ways, options.rounds, renew)


def order(options: argparse.Namespace) -> None:
    workload = workloads.make("small", options.folder / "data", 0.2)
    source = workload.folder / "v1"
    version = version_of(options.folder, source, "small")
    names = [entry.path for entry in version.files()]
    if options.profile:
        profile(lambda: read_version(version, names), options.profile)
    ways = [
        Way("raw, read and hashed", len(names), lambda: read_raw(source, names)),
        Way("`version.read`", len(names), lambda: read_version(version, names)),
    ]
    table(f"order: {len(names):,} files of 1 to 16 KiB, one after the other", ways, options.rounds)


def parts(options: argparse.Namespace) -> None:
    workload = workloads.make("blob", options.folder / "data", 0.25)
    source = workload.folder / "v1"
    version = version_of(options.folder, source, "blob")
    size, count = version.entry("blob.bin").size, options.reads
    starts = random.Random(workloads.SEED).choices(range(size - PART_BYTES), k=count)

    def raw() -> None:
        with open(source / "blob.bin", "rb") as file:
            for start in starts:
                file.seek(start)
                blake3(file.read(PART_BYTES)).digest()

    def versioned() -> None:
        with version.open("blob.bin") as file:
            for start in starts:
                file.seek(start)
                file.read(PART_BYTES)

    if options.profile:
        profile(versioned, options.profile)
    ways = [
        Way("raw, read and hashed", count, raw),
        Way("`version.open`, seek and read", count, versioned),
    ]
    table(f"parts: 64 KiB at random of one file of {size >> 20} MiB", ways, options.rounds)


def parquet(options: argparse.Namespace) -> None:
    workload = workloads.make("parquet", options.folder / "data", options.parquet_scale)
    source = workload.folder / "v1"
    version = version_of(options.folder, source, f"parquet-{options.parquet_scale:g}")
    raw, path = os.fspath(source / "part-0.parquet"), f"bench@{version.id}/part-0.parquet"
    system = DataverFileSystem.of(version)
    columns = ["id", "score"]

    def raw_dataset(**kwargs: object) -> object:
        return pyarrow.dataset.dataset(raw).to_table(**kwargs)

    def our_dataset(**kwargs: object) -> object:
        return pyarrow.dataset.dataset(path, filesystem=system).to_table(**kwargs)

    if options.profile:
        profile(lambda: pyarrow.parquet.read_table(path, filesystem=system), options.profile)
    read = pyarrow.parquet.read_table
    groups = {
        "`pyarrow.parquet.read_table`": (lambda: read(raw), lambda: read(path, filesystem=system)),
        "`pyarrow.dataset`": (raw_dataset, our_dataset),
        "two columns of `pyarrow.dataset`": (
            lambda: raw_dataset(columns=columns),
            lambda: our_dataset(columns=columns),
        ),
    }
    for name, (of_raw, of_version) in groups.items():
        ways = [Way("the raw file", 1, of_raw), Way("through `dataver://`", 1, of_version)]
        table(f"parquet, {name}: {os.path.getsize(raw) / 2**20:.0f} MiB", ways, options.rounds * 2)


def check(version: Version, source: Path, names: Sequence[str]) -> None:
    """A fast read of other bytes would be worth nothing."""
    for name in names:
        if version.read(name) != (source / name).read_bytes():
            raise RuntimeError(f"{name} of {version.name} is not the file that was committed")


def profile(work: Callable[[], object], target: Path) -> None:
    work()
    profiler = cProfile.Profile()
    profiler.runcall(work)
    profiler.dump_stats(target)


QUESTIONS: dict[str, Callable[[argparse.Namespace], None]] = {
    "noise": lambda options: many("noise", options),
    "text": lambda options: many("text", options),
    "order": order,
    "parts": parts,
    "parquet": parquet,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("questions", nargs="*", help=f"any of {', '.join(QUESTIONS)} (default: all)")
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--distinct", type=int, default=DISTINCT, help="files with contents of their own")
    parser.add_argument("--reads", type=int, default=2_000, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parquet-scale", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, default=FOLDER / "reads")
    parser.add_argument("--profile", type=Path, help="write a profile of the last question's reads")
    options = parser.parse_args()
    unknown = set(options.questions) - set(QUESTIONS)
    if unknown:
        parser.error(f"unknown question: {', '.join(sorted(unknown))}")
    warn_if_busy()
    options.folder.mkdir(parents=True, exist_ok=True)
    for question in options.questions or QUESTIONS:
        QUESTIONS[question](options)


if __name__ == "__main__":
    main()
