"""How fast PyTorch gets samples from a version, beside plain data sets over the raw files; in what memory.

    python -m benchmarks.bench_torch                       all questions, at a quarter of the size
    python -m benchmarks.bench_torch rows files            two of them
    python -m benchmarks.bench_torch memory --gib 10       memory while 10 GiB pass

- `rows`: the tables of the workload `parquet`, three numeric columns in batches of 1,024 through a
  `DataLoader` without workers. The reference reads each row group with pyarrow, makes a tensor a column and
  cuts or, shuffled, indexes it.
- `single`: the same, a row at a time, which the `DataLoader` puts together.
- `files`: files of 100 KiB (`noise` of bench_reads) as samples of path and bytes, in order and shuffled. The
  reference opens, reads and hashes (BLAKE3) the raw files.
- `memory`: the peak of a process of its own that takes all batches of a large table, shuffled; beside
  it the same over an eighth of the table. The table is one file of a quarter GiB under many names, stored
  once.

Ways take turns, the best of the rounds counts, as in bench_reads.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from blake3 import blake3
from torch.utils.data import DataLoader, Dataset, IterableDataset

from benchmarks import workloads
from benchmarks.bench_reads import Way, make_many, table, version_of, warm
from benchmarks.drive import warn_if_busy
from benchmarks.run import FOLDER
from dataver.loading.sources import FileSource
from dataver.version import Version

COLUMNS = ["id", "score", "weight"]
BATCH = 1_024
MEMORY_FILE_ROWS, MEMORY_COLUMNS = 1 << 20, 32
CHILD = """
import resource, sys
import dataver
place, path = sys.argv[1:]
stream = dataver.open(place).version("bench").to_torch(path, iterable=True, shuffle=True, batch_size=4096)
rows = sum(len(batch["c0"]) for batch in stream)
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


class RawTables(IterableDataset[Any]):
    """Batches of Parquet files, as one writes it by hand."""

    def __init__(self, paths: list[Path], shuffle: bool, batched: bool = True) -> None:
        self._paths = paths
        self._shuffle = shuffle
        self._batched = batched

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        rng = np.random.default_rng(1)
        files = [pq.ParquetFile(path) for path in self._paths]
        groups = [(file, number) for file in files for number in range(file.num_row_groups)]
        for at in rng.permutation(len(groups)) if self._shuffle else range(len(groups)):
            file, number = groups[at]
            rows = file.read_row_group(number, columns=COLUMNS)
            whole = {name: torch.from_numpy(rows[name].to_numpy().copy()) for name in COLUMNS}
            count = rows.num_rows
            order = torch.from_numpy(rng.permutation(count)) if self._shuffle else None
            for start in range(0, count, BATCH):
                part = slice(start, start + BATCH)
                chosen = part if order is None else order[part]
                batch = {name: column[chosen] for name, column in whole.items()}
                if self._batched:
                    yield batch
                else:
                    yield from (
                        dict(zip(batch, row, strict=True))
                        for row in zip(*(column.unbind() for column in batch.values()), strict=True)
                    )


class RawFiles(Dataset[Any]):
    """Files on the disk, read and hashed."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self._paths[index]
        data = path.read_bytes()
        blake3(data).digest()
        return {"path": os.fspath(path), "bytes": data}


def drained(data: Any, batch_size: int | None = None, shuffle: bool | None = None) -> Callable[[], object]:
    """Take all that a loader without workers gives; files stay as they are."""

    def run() -> None:
        collate = None if batch_size and not isinstance(data, RawFiles) and not is_files(data) else _as_it_is
        for _ in DataLoader(data, batch_size, shuffle=shuffle, collate_fn=collate):
            pass

    return run


def is_files(data: Any) -> bool:
    return isinstance(getattr(data, "_source", None), FileSource)


def _as_it_is(batch: Any) -> Any:
    return batch


def rows(options: argparse.Namespace) -> None:
    paths, version = tables_of(options)
    count = version.num_rows()

    def ours(**more: Any) -> Callable[[], object]:
        return drained(version.to_torch(iterable=True, columns=COLUMNS, batch_size=BATCH, **more))

    title = f"rows: {count:,} rows in batches of {BATCH:,}"
    for kind, shuffle in (("in order", False), ("shuffled", True)):
        ways = [
            Way("pyarrow and tensors by hand", count, drained(RawTables(paths, shuffle))),
            Way("`to_torch`", count, ours(shuffle=shuffle)),
        ]
        table(f"{title}, {kind}", ways, options.rounds)


def single(options: argparse.Namespace) -> None:
    paths, version = tables_of(options)
    path = "part-0.parquet"
    count = version.num_rows(path)
    for kind, shuffle in (("in order", False), ("shuffled", True)):
        stream = version.to_torch(path, iterable=True, columns=COLUMNS, shuffle=shuffle)
        data = version.to_torch(path, columns=COLUMNS)
        ways = [
            Way("pyarrow and tensors by hand", count, drained(RawTables(paths[:1], shuffle, False), BATCH)),
            Way("`to_torch`, iterable", count, drained(stream, BATCH)),
            Way("`to_torch`, by number", count, drained(data, BATCH, shuffle)),
        ]
        table(f"single: {count:,} rows one by one, {kind}", ways, options.rounds)


def files(options: argparse.Namespace) -> None:
    source = make_many(options.folder / "data", "noise", options.files, options.files)
    version = version_of(options.folder, source, f"noise-{options.files}")
    warm(source, Path(version.repository.url))
    raw = RawFiles(sorted(path for path in source.rglob("*.bin")))
    count = len(raw)
    for kind, shuffle in (("in order", False), ("shuffled", True)):
        stream = version.to_torch(iterable=True, format="files", shuffle=shuffle)
        ways = [
            Way("raw, read and hashed", count, drained(raw, 32, shuffle)),
            Way("`to_torch`, by number", count, drained(version.to_torch(format="files"), 32, shuffle)),
            Way("`to_torch`, iterable", count, drained(stream, 32)),
        ]
        table(f"files: {count:,} files of 100 KiB, {kind}", ways, options.rounds)


def memory(options: argparse.Namespace) -> None:
    source = make_large(options.folder / "data", options.gib)
    version = version_of(options.folder, source, f"large-{options.gib:g}")
    print("\n### memory: all batches of a stream, shuffled\n")
    print("| table, GiB | rows | peak, MiB |\n|---:|---:|---:|")
    for path in ("part", ""):
        place = [version.repository.url, path]
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *place], check=True, capture_output=True, text=True
        )
        found, peak_kib = map(int, done.stdout.split())
        size = sum(entry.size for entry in version.files(f"{path}/" if path else ""))
        if found != version.num_rows(path):
            raise RuntimeError(f"{found:,} rows came of {version.num_rows(path):,}")
        print(f"| {size / 2**30:.2f} | {found:,} | {peak_kib / 1024:,.0f} |", flush=True)


def tables_of(options: argparse.Namespace) -> tuple[list[Path], Version]:
    workload = workloads.make("parquet", options.folder / "data", options.parquet_scale)
    source = workload.folder / "v1"
    version = version_of(options.folder, source, f"parquet-{options.parquet_scale:g}")
    return sorted(source.glob("*.parquet")), version


def make_large(folder: Path, gib: float) -> Path:
    """A table of about so many GiB, an eighth of it in a folder `part`."""
    source = folder / f"large-{gib:g}"
    if (source / "whole").exists():
        return source / "v1"
    (source / "v1" / "part").mkdir(parents=True)
    rng = np.random.Generator(np.random.SFC64(workloads.SEED))
    columns = {f"c{n}": rng.standard_normal(MEMORY_FILE_ROWS) for n in range(MEMORY_COLUMNS)}
    first = source / "first.parquet"
    pq.write_table(pa.table(columns), first, row_group_size=1 << 17, use_dictionary=False, compression="none")
    count = max(8, round(gib * 2**30 / first.stat().st_size))
    for number in range(count):
        name = f"{'part/' if number < count // 8 else ''}{number:04}.parquet"
        os.link(first, source / "v1" / name)
    (source / "whole").touch()
    return source / "v1"


QUESTIONS: dict[str, Callable[[argparse.Namespace], None]] = {
    "rows": rows,
    "single": single,
    "files": files,
    "memory": memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("questions", nargs="*", help=f"any of {', '.join(QUESTIONS)} (default: all)")
    parser.add_argument("--files", type=int, default=5_000)
    parser.add_argument("--gib", type=float, default=2.0, help="of the table of `memory`")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parquet-scale", type=float, default=0.25)
    parser.add_argument("--folder", type=Path, default=FOLDER / "torch")
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
