"""What is stored anew when a Parquet file is written again with other rows or other columns. No timing.

    python -m benchmarks.bench_tables                      8 files of a million rows
    python -m benchmarks.bench_tables --scale 0.1 --tools dataver borg

First the edit of the workload `parquet`, once as it is, once with all files written with content-defined
pages (pyarrow 21 or newer) by pyarrow, and by our writer as it is and with floats stored byte by byte.

Then, without another tool, what 1,000 rows deleted from one file make new, at many places in turn, as one
says little; and how fast such a file is written and read.

Then one file with a column less, each in turn, and with its columns in another order: the plain bytes of
new chunks, and what the repository grew by; of pyarrow's defaults and of our writer.
"""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

import dataver
from benchmarks import report
from benchmarks.peers import PEERS, Dataver
from benchmarks.run import options_of
from benchmarks.workloads import PARQUET_FILES, SEED, parquet_tables
from dataver.chunking import ChunkerParameters
from dataver.chunking.parquet import forced_cuts
from dataver.chunking.stream import Cutter

TOOLS = ["dataver", "xet", "casync", "borg", "restic"]
MIB = 1 << 20
DELETIONS = 24
DELETED_ROWS = 1_000
READS = 20

Writer = Callable[[pa.Table, Any], object]
WRITERS: dict[str, Writer] = {
    "pyarrow's defaults": pq.write_table,
    "pyarrow, content-defined pages": partial(pq.write_table, use_content_defined_chunking=True),
    "`dataver.write_parquet`": dataver.write_parquet,
    "`dataver.write_parquet`, `byte_stream_split`": partial(dataver.write_parquet, byte_stream_split=True),
}


def main() -> None:
    parser = options_of("Growth by edits of Parquet files.")
    parser.add_argument("--tools", nargs="+", choices=list(PEERS), default=TOOLS)
    options = parser.parse_args()
    folder: Path = options.folder / "tables"
    kinds = report.installed(options.tools)
    print("| written with | MiB | " + " | ".join(f"{kind.name}, MiB" for kind in kinds) + " |")
    print("|---|---:|" + "---:|" * len(kinds))
    for title, write in WRITERS.items():
        size_bytes, growth = grown_by_edit(folder, kinds, options.scale, write)
        cells = [f"{one / MIB:.1f}" for one in (size_bytes, *growth)]
        print(f"| {title} | {' | '.join(cells)} |", flush=True)
    print("\n| one file written by | MiB | new by deleted rows, MiB | write, s | read, ms | by threads, ms |")
    print("|---|---:|---:|---:|---:|---:|")
    for title, one in one_file(options.scale).items():
        print(f"| {title} | {' | '.join(one)} |", flush=True)
    for title in ("pyarrow's defaults", "`dataver.write_parquet`"):
        print(f"\n| one file, {title}, with | MiB | new chunks, KiB | of the file, % | growth, KiB |")
        print("|---|---:|---:|---:|---:|")
        for change, size_bytes, new_bytes, growth_bytes in other_columns(
            folder, options.scale, WRITERS[title]
        ):
            part = 100 * new_bytes / size_bytes
            print(
                f"| {change} | {size_bytes / MIB:.1f} | {new_bytes / 2**10:,.1f} | {part:.2f} "
                f"| {growth_bytes / 2**10:,.1f} |",
                flush=True,
            )


def grown_by_edit(folder: Path, kinds: list[type[Any]], scale: float, write: Writer) -> tuple[int, list[int]]:
    """The bytes of the first version, and what each tool's repository grew by with the second one."""
    source = fresh(folder)
    edited = []
    for number in range(PARQUET_FILES):
        first, second = parquet_tables(number, scale)
        path = source / f"part-{number}.parquet"
        write(first, path)
        if second is not None:
            write(second, folder / path.name)
            edited.append(path)
    size_bytes = sum(path.stat().st_size for path in source.iterdir())
    peers = [kind(folder / kind.name, source) for kind in kinds]
    for peer in peers:
        peer.init()
        peer.first_commit()
    had = [peer.stored_bytes() for peer in peers]
    for path in edited:
        (folder / path.name).replace(path)
    for peer in peers:
        peer.commit_changed()
    growth = [peer.stored_bytes() - before for peer, before in zip(peers, had, strict=True)]
    shutil.rmtree(folder)
    return size_bytes, growth


def one_file(scale: float) -> dict[str, list[str]]:
    """Of each writer: the file's MiB, mean and most MiB of new chunks by deletions, and the best seconds."""
    table, _ = parquet_tables(0, scale)
    cut_rows = max(1, round(DELETED_ROWS * scale))
    starts = np.random.default_rng(SEED).integers(0, table.num_rows - cut_rows, DELETIONS)
    files = {title: written(write, table) for title, write in WRITERS.items()}
    read_s = {title: [float("inf")] * 2 for title in files}
    for _ in range(READS):  # The ways take turns, and the best of each counts.
        for title, (data, _) in files.items():
            for way, threads in enumerate((False, True)):
                clock = time.perf_counter if threads else time.process_time
                start = clock()
                pq.read_table(pa.BufferReader(data), use_threads=threads)
                read_s[title][way] = min(read_s[title][way], clock() - start)
    found = {}
    for title, (data, written_s) in files.items():
        known, new_bytes = chunks(data), []
        for start in starts.tolist():
            parts = [table.slice(0, start), table.slice(start + cut_rows)]
            later = chunks(written(WRITERS[title], pa.concat_tables(parts).combine_chunks())[0])
            new_bytes.append(sum(size for digest, size in later.items() if digest not in known))
        found[title] = [
            f"{len(data) / MIB:.1f}",
            f"{mean(new_bytes) / MIB:.1f}, {max(new_bytes) / MIB:.1f} at most",
            f"{written_s:.2f}",
            *(f"{1000 * one:.0f}" for one in read_s[title]),
        ]
    return found


def written(write: Writer, table: pa.Table) -> tuple[bytes, float]:
    """The file, and the processor seconds it took."""
    file, start = io.BytesIO(), time.process_time()
    write(table, file)
    return file.getvalue(), time.process_time() - start


def chunks(data: bytes) -> dict[bytes, int]:
    """The chunks of a file as a repository of the default sizes has them: digest and length."""
    parameters = ChunkerParameters()
    cutter = Cutter(parameters, forced_cuts(io.BytesIO(data), len(data), parameters))
    found, start = {}, 0
    for end in cutter.cut(data, final=True):
        found[blake3(data[start:end]).digest()] = end - start
        start = end
    return found


def other_columns(folder: Path, scale: float, write: Writer) -> list[tuple[str, int, int, int]]:
    """Of each change of one file's columns: a title, the new length, bytes of new chunks, growth in all."""
    table, _ = parquet_tables(0, scale)
    names = table.column_names
    changes = {f"`{name}` dropped": [one for one in names if one != name] for name in names}
    changes["columns reversed"] = names[::-1]
    found = []
    for title, columns in changes.items():
        source = fresh(folder)
        path = source / "part-0.parquet"
        write(table, path)
        peer = Dataver(folder / Dataver.name, source)
        peer.init()
        peer.first_commit()
        had_bytes = peer.stored_bytes()
        write(table.select(columns), path)
        new_bytes: int = peer.commit_document()["new_bytes"]
        found.append((title, path.stat().st_size, new_bytes, peer.stored_bytes() - had_bytes))
        shutil.rmtree(folder)
    return found


def fresh(folder: Path) -> Path:
    """An empty folder for data in `folder`, which is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    source = folder / "work" / "data"
    source.mkdir(parents=True)
    return source


if __name__ == "__main__":
    main()
