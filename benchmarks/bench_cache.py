"""What the cache of remote repositories gains, and what it costs beside a repository on this disk.

    python -m benchmarks.bench_cache [--latency-ms 10] [--folder DIR]

One dataset of 64 MiB in files of 100 KiB, one file of 64 MiB, and 20,000 labels of 200 bytes. Each is read
at random and in order: from a repository in a folder; from the same folder with a latency before each
request, with an empty cache and with a full one. Times are the best of the rounds; the ratio is to the
local disk, whose pages are in memory, as the cache's are.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dataver.log.log import Log
from dataver.repository import Repository
from dataver.session import Session
from dataver.store.base import Store, Wrapper
from dataver.store.cached import with_cache
from dataver.store.local import LocalStore
from dataver.testing.stores import LatencyStore, Pace
from dataver.version import Version

IMAGES, IMAGE_BYTES = 640, 100 << 10
LARGE_BYTES = 64 << 20
LABELS = 20_000
READS = 400


class Far(Wrapper):
    """A store without memory maps: each read of it counts as a request."""


def repository_over(store: Store) -> Repository:
    repository = Repository("memory://never-asked")
    repository.session = Session(store, Log(store))
    return repository


def make(folder: Path) -> LocalStore:
    source = folder / "source"
    (source / "images").mkdir(parents=True)
    (source / "labels").mkdir()
    noise = np.random.Generator(np.random.SFC64(7))
    for number in range(IMAGES):
        (source / "images" / f"{number:04d}").write_bytes(noise.bytes(IMAGE_BYTES))
    for number in range(LABELS):
        (source / "labels" / f"{number:05d}").write_text(f"{number} {noise.random(12)}")
    (source / "large").write_bytes(noise.bytes(LARGE_BYTES))
    store = LocalStore(folder / "repository")
    repository = repository_over(store)
    repository.session.create()
    repository.commit("bench", source)
    return store


def images_at_random(version: Version) -> None:
    order = random.Random(1)
    for _ in range(READS):
        version.read(f"images/{order.randrange(IMAGES):04d}")


def labels_at_random(version: Version) -> None:
    order = random.Random(2)
    for _ in range(READS):
        version.read(f"labels/{order.randrange(LABELS):05d}")


def ranges_at_random(version: Version) -> None:
    order = random.Random(3)
    with version.open("large") as file:
        for _ in range(READS):
            file.seek(order.randrange(LARGE_BYTES - IMAGE_BYTES))
            file.read(IMAGE_BYTES)


def images_in_order(version: Version) -> None:
    for number in range(IMAGES):
        version.read(f"images/{number:04d}")


def large_in_order(version: Version) -> None:
    with version.open("large") as file:
        while file.read(1 << 20):
            pass


def measured(work: Callable[[Version], None], store: Store, rounds: int) -> float:
    """Seconds of the best round; each opens the repository anew."""
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        work(repository_over(store).version("bench"))
        best = min(best, time.perf_counter() - started)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--latency-ms", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/dataver-bench/cache"))
    options = parser.parse_args()
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    os.environ["DATAVER_CACHE_DIR"] = str(options.folder / "user")
    local = make(options.folder)
    slow = LatencyStore(Far(local), Pace(options.latency_ms / 1000))
    print(f"{'':18}{'local':>10}{'empty cache':>16}{'full cache':>16}{'full, no wait':>16}")
    for work in (images_at_random, images_in_order, labels_at_random, ranges_at_random, large_in_order):
        at_home = measured(work, local, options.rounds)
        shutil.rmtree(options.folder / "user" / "objects", ignore_errors=True)
        cold = measured(work, with_cache(slow), 1)
        warm = measured(work, with_cache(slow), options.rounds)
        quick = measured(work, with_cache(Far(local)), options.rounds)
        name = work.__name__.replace("_", " ")
        figures = "".join(f"{s * 1000:7.0f} ms {s / at_home:4.2f}x" for s in (cold, warm, quick))
        print(f"{name:18}{at_home * 1000:7.0f} ms{figures}")
    shutil.rmtree(options.folder)


if __name__ == "__main__":
    main()
