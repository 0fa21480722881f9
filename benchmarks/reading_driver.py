"""Reads the same files through one file system of fsspec, in a process of its own; the best seconds as JSON.

    python -m benchmarks.reading_driver SYSTEM PLACE QUESTION ROUNDS [NAME…]     names on standard input

SYSTEM is `file` (PLACE: a folder), `dataver` (PLACE: REPOSITORY#DATASET@ID) or `dvc` (PLACE: a project).
Imports no more of dataver than that asks for, as the Python of `.venv-bench` has DVC and nothing of ours.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

PART_BYTES = 64 << 10
BLOCK_BYTES = 1 << 20
PARTS = 1_000
SEED = 20_261_123


def opened(system: str, place: str) -> tuple[Any, str]:
    """The file system, and the folder of the data in it."""
    if system == "file":
        import fsspec

        return fsspec.filesystem("file"), place
    if system == "dvc":
        from dvc.api import DVCFileSystem

        return DVCFileSystem(place), "/data"
    from dataver.fs import DataverFileSystem

    repository, _, name = place.partition("#")
    return DataverFileSystem(repo=repository), name


def read_files(fs: Any, top: str, names: list[str]) -> int:
    """Each file as a whole, in the order of the names."""
    return sum(len(fs.cat_file(f"{top}/{name}")) for name in names)


def read_in_order(fs: Any, top: str, names: list[str]) -> int:
    """Each file from its beginning to its end, a MiB at a time."""
    total = 0
    for name in names:
        with fs.open(f"{top}/{name}", "rb") as file:
            while block := file.read(BLOCK_BYTES):
                total += len(block)
    return total


def read_parts(fs: Any, top: str, names: list[str]) -> int:
    """64 KiB at random places of one file that is open."""
    chance, total = random.Random(SEED), 0
    with fs.open(f"{top}/{names[0]}", "rb") as file:
        size = file.seek(0, os.SEEK_END)
        for start in chance.choices(range(size - PART_BYTES), k=PARTS):
            file.seek(start)
            total += len(file.read(PART_BYTES))
    return total


def read_tables(fs: Any, top: str, names: list[str]) -> int:
    """Parquet files as pyarrow reads them."""
    import pyarrow.parquet as pq

    return sum(pq.read_table(f"{top}/{name}", filesystem=fs).nbytes for name in names)


def read_columns(fs: Any, top: str, names: list[str]) -> int:
    """Two columns of Parquet files."""
    import pyarrow.parquet as pq

    columns = ["id", "score"]
    return sum(pq.read_table(f"{top}/{name}", columns=columns, filesystem=fs).nbytes for name in names)


QUESTIONS: dict[str, Callable[[Any, str, list[str]], int]] = {
    "files": read_files,
    "order": read_in_order,
    "parts": read_parts,
    "parquet": read_tables,
    "columns": read_columns,
}


def main() -> None:
    system, place, question, rounds = sys.argv[1:5]
    names = sys.stdin.read().split("\n")
    fs, top = opened(system, place)
    read = QUESTIONS[question]
    found_bytes = read(fs, top, names)  # once, unmeasured: what is imported and looked up at first
    wall_s = processor_s = float("inf")
    for _ in range(int(rounds)):
        wall, processor = time.perf_counter(), time.process_time()
        if read(fs, top, names) != found_bytes:
            raise RuntimeError(f"{question} through {system} gave other bytes the second time")
        wall_s = min(wall_s, time.perf_counter() - wall)
        processor_s = min(processor_s, time.process_time() - processor)
    print(json.dumps({"bytes": found_bytes, "wall_s": wall_s, "processor_s": processor_s}), flush=True)
    # pyarrow's threads may still let go of files of Python's, which ends the interpreter's end with SIGABRT.
    os._exit(0)


if __name__ == "__main__":
    main()
