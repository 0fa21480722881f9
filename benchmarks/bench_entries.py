"""Ten million entries in one version: what one change, a comparison and one folder cost.

    python -m benchmarks.bench_entries [--entries 1000000] [--rounds 5]

There are no files: the manifest is built from columns that are made up, 1,000 entries a folder, and
recorded as any version is. Then whole commands: `commit --add` of one file, `diff` of two neighbours, `ls`
of one folder; and the same through the API, without the start of a process. The repository is made in some
ten seconds a million entries, and stays for the next run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

import dataver
from benchmarks.peer import Timing, timed, tree_bytes
from benchmarks.peers import Dataver
from benchmarks.run import FOLDER
from benchmarks.workloads import SEED
from dataver.digest import Digest
from dataver.format.node import Row
from dataver.format.operations import BranchSet, DatasetCreate, IndexAdd, Operation, VersionAdd
from dataver.format.version import VersionRecord
from dataver.log.state import State
from dataver.packs import RecordWriter
from dataver.segments import write_segment
from dataver.tree.build import build
from dataver.tree.schema import MANIFEST, Link
from dataver.tree.schema import Node as TreeNode

PER_FOLDER = 1_000
BLOCK_ENTRIES = 1 << 18


class StreamedNodes:
    """A node store that puts nodes into packs as they are made and keeps none."""

    schema = MANIFEST

    def __init__(self, writer: RecordWriter) -> None:
        self._writer = writer

    def load(self, link: Link) -> TreeNode:
        raise KeyError(Digest(link.digest))

    def save(self, level: int, rows: Sequence[Row]) -> Link:
        data, link = MANIFEST.encode(level, rows)
        self._writer.add(link.digest, data)
        return link


def rows(count: int) -> Iterator[Row]:
    """Made-up files: a digest that does not compress, some kilobytes each."""
    dice = np.random.Generator(np.random.SFC64(SEED))
    for start in range(0, count, BLOCK_ENTRIES):
        block = min(BLOCK_ENTRIES, count - start)
        digests = dice.bytes(32 * block)
        sizes = dice.integers(1, 1 << 20, block, dtype="<u8").tobytes()
        for at in range(block):
            folder, name = divmod(start + at, PER_FOLDER)
            fixed = digests[32 * at : 32 * at + 32] + b"\0" + sizes[8 * at : 8 * at + 8]
            yield Row(b"part-%06d/item-%04d.bin" % (folder, name), fixed)


def make(url: str, count: int) -> None:
    """A repository with one version of `count` entries."""
    repository = dataver.init(url)
    session = repository.session
    writer = RecordWriter(session.store)
    root = build(StreamedNodes(writer), rows(count))
    identity = session.who("bench")
    record = VersionRecord(Digest(root.identity), (), identity.now_us(), "bench", "made up", ())
    writer.add(record.id(), record.encode())
    segment = write_segment(session.store, writer.close())
    dataset = session.nonce()

    def plan(_state: State) -> tuple[Operation, ...]:
        id = record.id()
        return (
            DatasetCreate(dataset, "bench"),
            VersionAdd(dataset, id, Digest(root.digest), root.rows, root.size_bytes, 0, 0),
            BranchSet(dataset, "main", None, id, 1, (id,)),
            IndexAdd(segment.name, segment.keys, segment.size_bytes),
        )

    session.log.append(plan, identity)


def best(works: Callable[[], Timing], rounds: int) -> Timing:
    """The fastest of some runs."""
    return min((works() for _ in range(rounds)), key=lambda timing: timing.wall_s)


def commands(place: Path, entries: int, rounds: int) -> None:
    """Whole commands, and their part of the limits."""
    program = Dataver.program()
    assert program is not None
    env = {
        **os.environ,
        "DATAVER_REPO": str(place / "repository"),
        "DATAVER_CACHE_DIR": str(place / "cache"),
        "DATAVER_AUTHOR": "bench",
    }
    change = place / "change"
    change.mkdir(exist_ok=True)
    middle = f"part-{entries // PER_FOLDER // 2:06d}"

    def commit() -> Timing:
        (change / "item-0500.bin").write_bytes(os.urandom(100))
        return timed(
            [program, "commit", "bench", str(change), "--add", "--into", middle, "-m", "one"],
            cwd=place, env=env,
        )  # fmt: skip

    before = tree_bytes(place / "repository")
    found = {"commit --add of one file": best(commit, rounds)}
    grown = (tree_bytes(place / "repository") - before) / rounds
    for name, arguments in {
        "diff of neighbours": ["diff", "bench@latest~1", "bench"],
        "ls of one folder": ["ls", "bench", middle],
        "log": ["log", "bench@v1"],
    }.items():
        command = [program, *arguments]
        found[name] = best(lambda command=command: timed(command, cwd=place, env=env), rounds)  # type: ignore[misc]
    print(f"\n| {entries:,} entries | wall s | processor s | memory, MiB |\n|---|---:|---:|---:|")
    for name, timing in found.items():
        memory = timing.resident_bytes_max / 2**20
        print(f"| `{name}` | {timing.wall_s:.2f} | {timing.cpu_s:.2f} | {memory:.0f} |")
    print(f"\nEach change added {grown / 1e3:.0f} kB to the repository.")


def through_the_api(place: Path, rounds: int) -> None:
    """The same without the start of a process, each time with a repository opened anew."""
    os.environ["DATAVER_CACHE_DIR"] = str(place / "cache")
    url = str(place / "repository")
    last = dataver.open(url).version("bench").name.partition("@v")[2]

    def commit() -> object:
        (place / "change" / "item-0500.bin").write_bytes(os.urandom(100))
        return dataver.open(url).commit(
            "bench", place / "change", add=True, into="part-000001", message="one"
        )

    works: dict[str, Callable[[], object]] = {
        "commit of one change": commit,
        "diff of neighbours": lambda: dataver.open(url).diff(f"bench@v{int(last) - 1}", f"bench@v{last}"),
        "one folder": lambda: dataver.open(url).version("bench").listing("part-000002"),
    }
    print("\n| API | s |\n|---|---:|")
    for name, work in works.items():
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        print(f"| {name} | {min(times):.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description="One change among very many entries.")
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    place = options.folder / f"entries-{options.entries}"
    if not (place / "made").exists():
        with suppress(FileNotFoundError):
            shutil.rmtree(place)
        place.mkdir(parents=True)
        os.environ["DATAVER_CACHE_DIR"] = str(place / "cache")
        start = time.perf_counter()
        make(str(place / "repository"), options.entries)
        print(f"made in {time.perf_counter() - start:.0f} s")
        (place / "made").touch()
    commands(place, options.entries, options.rounds)
    through_the_api(place, options.rounds)


if __name__ == "__main__":
    main()
