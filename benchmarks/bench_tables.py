"""What is stored anew when a Parquet file is written again with other rows or other columns. No timing.

    python -m benchmarks.bench_tables                      8 files of a million rows
    python -m benchmarks.bench_tables --scale 0.1 --tools dataver borg

First the edit of the workload `parquet`, once as it is and once with all files written with content-defined
pages (pyarrow 21 or newer). Then one file of pyarrow's defaults with a column less, each in turn, and with
its columns in another order: the plain bytes of new chunks, and what the repository grew by.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks import report
from benchmarks.peers import PEERS, Dataver
from benchmarks.run import options_of
from benchmarks.workloads import PARQUET_FILES, parquet_tables

TOOLS = ["dataver", "xet", "casync", "borg", "restic"]
MIB = 1 << 20


def main() -> None:
    parser = options_of("Growth by edits of Parquet files.")
    parser.add_argument("--tools", nargs="+", choices=list(PEERS), default=TOOLS)
    options = parser.parse_args()
    folder: Path = options.folder / "tables"
    kinds = report.installed(options.tools)
    print("| written with | MiB | " + " | ".join(f"{kind.name}, MiB" for kind in kinds) + " |")
    print("|---|---:|" + "---:|" * len(kinds))
    for title, writing in {
        "pyarrow's defaults": {},
        "content-defined pages": {"use_content_defined_chunking": True},
    }.items():
        size_bytes, growth = grown_by_edit(folder, kinds, options.scale, writing)
        cells = [f"{one / MIB:.1f}" for one in (size_bytes, *growth)]
        print(f"| {title} | {' | '.join(cells)} |", flush=True)
    print("\n| one file with | MiB | new chunks, KiB | of the file, % | growth, KiB |")
    print("|---|---:|---:|---:|---:|")
    for title, size_bytes, new_bytes, growth_bytes in other_columns(folder, options.scale):
        part = 100 * new_bytes / size_bytes
        print(
            f"| {title} | {size_bytes / MIB:.1f} | {new_bytes / 2**10:,.1f} | {part:.2f} "
            f"| {growth_bytes / 2**10:,.1f} |",
            flush=True,
        )


def grown_by_edit(
    folder: Path, kinds: list[type[Any]], scale: float, writing: dict[str, Any]
) -> tuple[int, list[int]]:
    """The bytes of the first version, and what each tool's repository grew by with the second one."""
    source = fresh(folder)
    edited = []
    for number in range(PARQUET_FILES):
        first, second = parquet_tables(number, scale)
        path = source / f"part-{number}.parquet"
        pq.write_table(first, path, **writing)
        if second is not None:
            pq.write_table(second, folder / path.name, **writing)
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


def other_columns(folder: Path, scale: float) -> list[tuple[str, int, int, int]]:
    """Of each change of one file's columns: a title, the new length, bytes of new chunks, growth in all."""
    table, _ = parquet_tables(0, scale)
    names = table.column_names
    changes = {f"`{name}` dropped": [one for one in names if one != name] for name in names}
    changes["columns reversed"] = names[::-1]
    found = []
    for title, columns in changes.items():
        source = fresh(folder)
        path = source / "part-0.parquet"
        pq.write_table(table, path)
        peer = Dataver(folder / Dataver.name, source)
        peer.init()
        peer.first_commit()
        had_bytes = peer.stored_bytes()
        pq.write_table(table.select(columns), path)
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
