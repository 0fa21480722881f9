"""The data that the benchmarks commit, and the edits that make its second version.

    python -m benchmarks.workloads FOLDER small labels parquet blob [--scale 0.01]

Everything comes from fixed seeds: the same names, sizes and bytes on every machine (Parquet files also depend
on the pyarrow that writes them). At scale 1:

- `small`: 50,000 files of 1 to 16 KiB in 100 folders, about half of them text and half random bytes, mixed
  within a folder. The edit changes 1 % of the files, adds 1 %, deletes 1 % and renames one folder.
- `labels`: 100,000 files of 40 to 200 bytes, 13.6 MiB, in 100 folders, as a detector of objects in pictures
  learns from: a line for each object, its class and four fractions. Edited like `small`.
- `parquet`: 8 files of about 40 MB, written with pyarrow's defaults: a million rows of int64, timestamp,
  int8, float64, float32 and two string columns. The edit appends 2 % of rows to one file, changes 500 values
  of a second, deletes 1,000 neighbouring rows of a third, two fifths into it, and adds a column of float32
  to a fourth.
- `blob`: one incompressible file of 1 GiB. The edit inserts 1 KiB at 10 places and overwrites 4 KiB at 10
  others.

A smaller scale makes fewer files (`small`, `labels`), fewer rows (`parquet`) or fewer bytes (`blob`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 20261123
RECIPE = 2  # raised when the data of a workload changes, so that what an older recipe made is made anew

FOLDERS = 100
SMALL_FILES = 50_000
SMALL_BYTES_MIN, SMALL_BYTES_MAX = 1 << 10, 16 << 10
LABEL_FILES = 100_000
LABEL_LINE_BYTES = 40
LABEL_LINES = (0.06, 0.14, 0.24, 0.29, 0.27)
"""How many of the files have one line, two, and so on."""
PARQUET_FILES = 8
PARQUET_ROWS = 1_000_000
BLOB_BYTES = 1 << 30
BLOCK_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Edit:
    """How version 2 comes from version 1: renames (old, new), then deletions, then files of `edit/`."""

    renames: tuple[tuple[str, str], ...] = ()
    deletes: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Workload:
    """A finished workload: in `folder`, `v1/` is the first version, `edit/` what the second one writes."""

    name: str
    scale: float
    folder: Path
    files: int
    size_bytes: int
    edit: Edit

    def copy_to(self, source: Path) -> None:
        """Copies version 1 to `source`, which must not exist."""
        subprocess.run(["cp", "-r", "--reflink=never", str(self.folder / "v1"), str(source)], check=True)

    def apply_edit(self, source: Path) -> None:
        """Turns a copy of version 1 into version 2. Every written file is a new one, moved into place."""
        for old, new in self.edit.renames:
            (source / old).rename(source / new)
        for path in self.edit.deletes:
            (source / path).unlink()
        for path in self.edit.writes:
            target = source / path
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh = target.with_name(target.name + ".new")
            shutil.copyfile(self.folder / "edit" / path, fresh)
            os.replace(fresh, target)


class Text:
    """Lines of made-up words, as unevenly frequent as words are (the n-th about 1/n).

    zstd brings it to 0.34 of its length, 8 KiB alone to 0.43.
    """

    WORDS = 4_000
    WIDTH = 12

    def __init__(self, rng: np.random.Generator) -> None:
        letters = np.frombuffer(b"etaoinshrdlucmfwypvbgkjqxz", dtype=np.uint8)
        chance = 1.0 / np.arange(2, len(letters) + 2)
        lengths = rng.integers(2, self.WIDTH - 1, self.WORDS)
        self._words = rng.choice(letters, (self.WORDS, self.WIDTH), p=chance / chance.sum())
        column = np.arange(self.WIDTH)
        self._kept = column <= lengths[:, None]
        ends = np.where(rng.random(self.WORDS) < 0.08, ord("\n"), ord(" "))
        self._words[np.arange(self.WORDS), lengths] = ends
        # A word is drawn by one 16-bit number: the table holds each word as often as it is frequent.
        share = np.cumsum(1.0 / (np.arange(self.WORDS) + 2.7))
        self._draw = np.searchsorted(share / share[-1], (np.arange(1 << 16) + 0.5) / (1 << 16))
        self._rng = rng

    def take(self, size_bytes: int) -> bytes:
        """The next `size_bytes` bytes of text."""
        parts: list[bytes] = []
        have = 0
        while have < size_bytes:
            count = (size_bytes - have) // 5 + 64
            drawn = self._draw[self._rng.integers(0, 1 << 16, count)]
            parts.append(self._words[drawn][self._kept[drawn]].tobytes())
            have += len(parts[-1])
        return b"".join(parts)[:size_bytes]


def _write(path: Path, data: bytes | memoryview) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(data)


def _small_files(folder: Path, names: list[str], rng: np.random.Generator, text: Text) -> None:
    """Writes the files `names` (relative to `folder`): `.txt` is text, the others are random bytes."""
    sizes = rng.integers(SMALL_BYTES_MIN, SMALL_BYTES_MAX + 1, len(names))
    is_text = np.array([name.endswith(".txt") for name in names])
    supply = {
        True: memoryview(text.take(int(sizes[is_text].sum()))),
        False: memoryview(rng.bytes(int(sizes[~is_text].sum()))),
    }
    taken = {True: 0, False: 0}
    for name, size, kind in zip(names, sizes.tolist(), is_text.tolist(), strict=True):
        start = taken[kind]
        taken[kind] = start + size
        _write(folder / name, supply[kind][start : start + size])


def _make_small(folder: Path, scale: float) -> Edit:
    rng = np.random.Generator(np.random.SFC64(SEED))
    text = Text(rng)

    def endings(count: int) -> list[str]:
        found: list[str] = np.where(rng.random(count) < 0.5, "txt", "bin").tolist()
        return found

    def write(place: Path, names: list[str]) -> None:
        _small_files(place, names, rng, text)

    return _make_folders(folder, rng, round(SMALL_FILES * scale), endings, write)


def _label_files(folder: Path, names: list[str], rng: np.random.Generator) -> None:
    """Writes the files `names`: one to five lines of a class and the middle, width and height of a box."""
    counts = rng.choice(len(LABEL_LINES), len(names), p=LABEL_LINES) + 1
    lines = np.empty((int(counts.sum()), LABEL_LINE_BYTES), np.uint8)
    lines[:] = np.frombuffer(b"ccc 0.xxxxxx 0.xxxxxx 0.xxxxxx 0.xxxxxx\n", np.uint8)
    classes = rng.integers(100, 700, len(lines))  # three digits, so that a line is as long as the next
    lines[:, :3] = ord("0") + classes[:, None] // (100, 10, 1) % 10
    for start in range(6, LABEL_LINE_BYTES, 9):
        lines[:, start : start + 6] = rng.integers(ord("0"), ord("9") + 1, (len(lines), 6), np.uint8)
    supply, start = memoryview(lines.tobytes()), 0
    for name, count in zip(names, counts.tolist(), strict=True):
        stop = start + count * LABEL_LINE_BYTES
        _write(folder / name, supply[start:stop])
        start = stop


def _make_labels(folder: Path, scale: float) -> Edit:
    rng = np.random.Generator(np.random.SFC64(SEED))

    def write(place: Path, names: list[str]) -> None:
        _label_files(place, names, rng)

    return _make_folders(folder, rng, round(LABEL_FILES * scale), lambda count: ["txt"] * count, write)


def _make_folders(
    folder: Path,
    rng: np.random.Generator,
    files: int,
    endings: Callable[[int], list[str]],
    write: Callable[[Path, list[str]], None],
) -> Edit:
    """About `files` files in `FOLDERS` folders, and an edit: 1 % changed, added, deleted; one folder renamed.

    `endings` gives so many file name endings, `write` writes the files of these names below a folder.
    """
    per_folder = max(1, round(files / FOLDERS))
    every: list[str] = []
    for number in range(FOLDERS):
        parent = f"part-{number:03d}"
        (folder / "v1" / parent).mkdir()
        names = [f"{parent}/item-{index:05d}.{end}" for index, end in enumerate(endings(per_folder))]
        write(folder / "v1", names)
        every += names

    one_percent = max(1, len(every) // 100)
    renamed = f"part-{FOLDERS // 2:03d}"
    stay = [name for name in every if not name.startswith(renamed)]
    picked = [stay[index] for index in rng.choice(len(stay), 2 * one_percent, replace=False).tolist()]
    changed, deleted = picked[:one_percent], picked[one_percent:]
    added = [f"{stem}-new.{ending}" for stem, _, ending in (name.rpartition(".") for name in deleted)]
    writes = sorted(changed + added)
    for name in writes:
        (folder / "edit" / name).parent.mkdir(parents=True, exist_ok=True)
    write(folder / "edit", writes)
    return Edit(((renamed, renamed + "-renamed"),), tuple(sorted(deleted)), tuple(writes))


def _strings(rng: np.random.Generator, count: int, length: int) -> Any:
    """A pyarrow array of `count` random lower-case strings of `length` letters."""
    import pyarrow as pa

    letters = rng.integers(ord("a"), ord("z") + 1, count * length, dtype=np.uint8)
    offsets = np.arange(0, (count + 1) * length, length, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(letters))


def _table(rng: np.random.Generator, rows: int) -> Any:
    import pyarrow as pa

    start_us = 1_700_000_000_000_000
    times = start_us + np.cumsum(rng.integers(1, 2_000_000, rows, dtype=np.int64))
    places = _strings(np.random.Generator(np.random.SFC64(SEED)), 1_000, 9)
    return pa.table(
        {
            "id": pa.array(rng.integers(0, 1 << 48, rows, dtype=np.int64)),
            "time": pa.array(times, pa.timestamp("us")),
            "label": pa.array(rng.integers(0, 10, rows, dtype=np.int8)),
            "score": pa.array(rng.standard_normal(rows)),
            "weight": pa.array(rng.standard_normal(rows, dtype=np.float32)),
            "place": pa.DictionaryArray.from_arrays(
                rng.integers(0, 1_000, rows, dtype=np.int32), places
            ).cast(pa.string()),
            "note": _strings(rng, rows, 11),
        }
    )


def parquet_tables(number: int, scale: float) -> tuple[Any, Any | None]:
    """The table of the Parquet file `number` in the first version, and in the second if that has another."""
    import pyarrow as pa

    rows = max(1_000, round(PARQUET_ROWS * scale))
    changes = max(1, round(500 * scale))
    cut_rows = max(1, round(1_000 * scale))

    def append(table: Any, rng: np.random.Generator) -> Any:
        return pa.concat_tables([table, _table(rng, rows // 50)]).combine_chunks()

    def change(table: Any, rng: np.random.Generator) -> Any:
        scores: NDArray[np.float64] = table["score"].to_numpy().copy()
        scores[rng.choice(rows, changes, replace=False)] = rng.standard_normal(changes)
        return table.set_column(table.schema.get_field_index("score"), "score", pa.array(scores))

    def delete(table: Any, _rng: np.random.Generator) -> Any:
        start = rows * 2 // 5
        return pa.concat_tables([table.slice(0, start), table.slice(start + cut_rows)]).combine_chunks()

    def add_column(table: Any, rng: np.random.Generator) -> Any:
        return table.append_column("extra", pa.array(rng.standard_normal(rows, dtype=np.float32)))

    edits: dict[int, Callable[[Any, np.random.Generator], Any]] = {
        0: append,
        2: change,
        4: delete,
        6: add_column,
    }
    rng = np.random.Generator(np.random.SFC64([SEED, number]))
    table = _table(rng, rows)
    return table, edits[number](table, rng) if number in edits else None


def _make_parquet(folder: Path, scale: float) -> Edit:
    import pyarrow.parquet as pq

    writes: list[str] = []
    for number in range(PARQUET_FILES):
        name = f"part-{number}.parquet"
        first, second = parquet_tables(number, scale)
        pq.write_table(first, folder / "v1" / name)
        if second is not None:
            pq.write_table(second, folder / "edit" / name)
            writes.append(name)
    return Edit(writes=tuple(writes))


def _make_blob(folder: Path, scale: float) -> Edit:
    rng = np.random.Generator(np.random.SFC64(SEED))
    size = max(1 << 20, round(BLOB_BYTES * scale))
    with open(folder / "v1" / "blob.bin", "wb", buffering=0) as file:
        file.writelines(rng.bytes(min(BLOCK_BYTES, size - start)) for start in range(0, size, BLOCK_BYTES))
    # No edit reaches into the next: each has 8 KiB of its own.
    places = rng.choice(size // 8_192, 20, replace=False) * 8_192 + rng.integers(0, 4_096, 20)
    inserts = set(rng.choice(20, 10, replace=False).tolist())
    with open(folder / "v1" / "blob.bin", "rb") as old, open(folder / "edit" / "blob.bin", "wb") as new:
        for number, place in enumerate(sorted(places.tolist())):
            _copy_bytes(old, new, place - old.tell())
            if number in inserts:
                new.write(rng.bytes(1 << 10))
            else:
                new.write(rng.bytes(4 << 10))
                old.seek(4 << 10, os.SEEK_CUR)
        _copy_bytes(old, new, size - old.tell())
    return Edit(writes=("blob.bin",))


def _copy_bytes(source: BinaryIO, target: BinaryIO, count: int) -> None:
    """Copies the next `count` bytes, or what is left."""
    while count > 0 and (block := source.read(min(count, BLOCK_BYTES))):
        target.write(block)
        count -= len(block)


MAKERS: dict[str, Callable[[Path, float], Edit]] = {
    "small": _make_small,
    "labels": _make_labels,
    "parquet": _make_parquet,
    "blob": _make_blob,
}
NAMES = tuple(MAKERS)


def make(name: str, under: Path, scale: float = 1.0) -> Workload:
    """The workload `name`, in a folder of its own below `under`.

    What an earlier call finished is used again; anything half made is made anew.
    """
    folder = under / f"{name}-{scale:g}"
    plan = folder / "plan.json"
    if not plan.exists() or json.loads(plan.read_text())["recipe"] != RECIPE:
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "v1").mkdir(parents=True)
        (folder / "edit").mkdir()
        edit = MAKERS[name](folder, scale)
        files = [path for path in (folder / "v1").rglob("*") if path.is_file()]
        # The plan is written last: it says that the rest is whole.
        plan.write_text(
            json.dumps(
                {
                    "recipe": RECIPE,
                    "files": len(files),
                    "size_bytes": sum(path.stat().st_size for path in files),
                    "renames": edit.renames,
                    "deletes": edit.deletes,
                    "writes": edit.writes,
                }
            )
        )
    found = json.loads(plan.read_text())
    edit = Edit(
        tuple((old, new) for old, new in found["renames"]), tuple(found["deletes"]), tuple(found["writes"])
    )
    return Workload(name, scale, folder, found["files"], found["size_bytes"], edit)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the benchmarks' data.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+", choices=NAMES)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full size, e.g. 0.01")
    options = parser.parse_args()
    for name in options.names:
        made = make(name, options.folder, options.scale)
        print(f"{made.folder}: {made.files:,} files, {made.size_bytes / 2**20:,.1f} MiB")


if __name__ == "__main__":
    main()
