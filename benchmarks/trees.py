"""Trees of many small files, for questions that depend on their number and not on their bytes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from benchmarks.workloads import SEED

PER_FOLDER = 1_000


def make_tree(folder: Path, files: int, size_bytes: int = 512) -> Path:
    """A tree of so many files of random bytes below `folder`, 1,000 in each folder; made once."""
    place = folder / f"tree-{files}-{size_bytes}"
    done = place.with_suffix(".made")
    if done.exists():
        return place
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    dice = np.random.Generator(np.random.SFC64(SEED))
    for start in range(0, files, PER_FOLDER):
        parent = place / f"part-{start // PER_FOLDER:04d}"
        parent.mkdir()
        count = min(PER_FOLDER, files - start)
        data = memoryview(dice.bytes(count * size_bytes))
        descriptor = os.open(parent, os.O_RDONLY)
        try:
            for number in range(count):
                name = f"item-{number:04d}.bin"
                fd = os.open(name, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=descriptor)
                os.write(fd, data[number * size_bytes : (number + 1) * size_bytes])
                os.close(fd)
        finally:
            os.close(descriptor)
    done.touch()
    return place


def change_one(tree: Path, number: int = 0) -> None:
    """Gives one file other bytes of the same length."""
    folders = sorted(path for path in tree.iterdir() if path.is_dir())
    file = folders[number % len(folders)] / "item-0000.bin"
    file.write_bytes(os.urandom(file.stat().st_size))
