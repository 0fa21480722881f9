"""A hundred thousand runs: who used a version or a file, where a model came from, and its audit.

    python -m benchmarks.bench_lineage [--runs 10000] [--rounds 5]

Runs are recorded by the log's own operations, many in one entry right before a checkpoint, so that they are
in the state as those of many years would be. They read some hundred versions of 200 files, each of
which changed one file; every tenth listed which files it read. Each made a model of one file. A question is
asked through the API of a repository that is opened anew, the page cache being warm; so a figure is what it
costs beyond the start of the program. The repository stays for the next run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

import dataver
from benchmarks.run import FOLDER
from benchmarks.workloads import SEED
from dataver.digest import Digest
from dataver.format.entry import CHECKPOINT_EVERY
from dataver.format.operations import (
    READ,
    IndexAdd,
    ModelCreate,
    ModelFiles,
    Operation,
    RunEnd,
    RunLink,
    RunStart,
)
from dataver.format.run_record import ModelFile, RunInput, RunModel, RunRecord, part_digest
from dataver.hashing import blake3_digest
from dataver.lineage.audit import audit
from dataver.lineage.bundle import bundle
from dataver.lineage.graph import lineage
from dataver.lineage.who_used import who_used
from dataver.log.state import State
from dataver.packs import RecordWriter
from dataver.repository import Repository
from dataver.segments import write_segment

VERSIONS, FILES, MODEL_NAMES = 300, 200, 1000
TIME_US = 1_700_000_000_000_000


def versions_of(repository: Repository, folder: Path) -> list[tuple[str, str, str]]:
    """Commit them; the id and the tree of each, and the digest of the file that it changed."""
    folder.mkdir()
    for number in range(FILES):
        (folder / f"part-{number:03d}.csv").write_text(f"{number}\n")
    found = []
    for number in range(VERSIONS):
        changed = f"{number},changed\n".encode()
        (folder / f"part-{number % FILES:03d}.csv").write_bytes(changed)
        done = repository.commit("bench", folder, message=f"version {number}")
        found.append((done.id, done.tree, str(blake3_digest(changed))))
    return found


def records(repository: Repository, versions: list[tuple[str, str, str]], count: int) -> Iterator[RunRecord]:
    """Made-up runs, over all versions in turn."""
    dice = np.random.Generator(np.random.SFC64(SEED))
    for number in range(count):
        id, tree, digest = versions[number % VERSIONS]
        listed: tuple[str, ...] = ()
        if number % 10 == 0:
            listed = (str(part_digest(list_of(digest))),)
        read = RunInput(
            "training", f"bench@v{number % VERSIONS + 1}", "bench", id, tree, repository.id, repository.url,
            number % VERSIONS + 1, reads=listed,
        )  # fmt: skip
        weights = dice.bytes(32).hex()
        model = RunModel(f"model-{number % MODEL_NAMES}", weights, (ModelFile("weights.bin", 1, weights),))
        yield RunRecord(
            dice.bytes(16).hex(), "train", "bench", TIME_US + number, "done", TIME_US + number + 1, 0,
            params={"lr": number}, inputs=(read,), models=(model,),
        )  # fmt: skip


def list_of(digest: str) -> bytes:
    """The part of a record that lists one file."""
    return json.dumps(["part.csv", digest, 10, None]).encode() + b"\n"


def make(place: Path, count: int) -> None:
    """A repository with so many runs."""
    repository = dataver.init(str(place / "repository"))
    session = repository.session
    versions = versions_of(repository, place / "data")
    writer = RecordWriter(session.store)
    operations: list[Operation] = []
    numbers = dict.fromkeys((f"model-{number}" for number in range(MODEL_NAMES)), 0)
    for _, _, digest in versions:
        writer.add(part_digest(list_of(digest)), list_of(digest))
    for record in records(repository, versions, count):
        run, [model], [read] = bytes.fromhex(record.run), record.models, record.inputs
        writer.add(record.digest(), record.encode())
        numbers[model.name] += 1
        operations += [
            RunStart(run, record.digest()),
            RunEnd(run, record.digest(), 0),
            RunLink(run, READ, (Digest.parse(read.version),)),
            ModelCreate(model.name, numbers[model.name], run, record.digest()),
            ModelFiles(model.name, numbers[model.name], (Digest.parse(model.tree),)),
        ]
    segment = write_segment(session.store, writer.close())
    operations.append(IndexAdd(segment.name, segment.keys, segment.size_bytes))
    # The next entry but one is a checkpoint: nothing repeats all this.
    while (session.log.tail().entry.number + 2) % CHECKPOINT_EVERY:
        repository.alias("bench", "filler")
        repository.delete_ref("alias", "bench", "filler")
        if (session.log.tail().entry.number + 1) % CHECKPOINT_EVERY == 0:
            repository.alias("bench", "filler")

    def plan(_state: State) -> tuple[Operation, ...]:
        return tuple(operations)

    session.log.append(plan, session.who("bench"))
    repository.alias("bench", "last")


def main() -> None:
    parser = argparse.ArgumentParser(description="Questions of lineage among very many runs.")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    place = options.folder / f"lineage-{options.runs}"
    os.environ["DATAVER_CACHE_DIR"] = str(place / "cache")
    if not (place / "made").exists():
        with suppress(FileNotFoundError):
            shutil.rmtree(place)
        place.mkdir(parents=True)
        start = time.perf_counter()
        make(place, options.runs)
        print(f"made in {time.perf_counter() - start:.0f} s")
        (place / "made").touch()
    ask(place, options.rounds)


def ask(place: Path, rounds: int) -> None:
    """Each question some times, the fastest counts; what was found says how much there was to find."""
    url = str(place / "repository")
    once, often = (str(blake3_digest(f"{VERSIONS - n},changed\n".encode())) for n in (1, 10))

    def used(what: str) -> int:
        return len(who_used(dataver.open(url).session, what).uses)

    def walked(node: str, *, up: bool) -> int:
        return len(lineage(dataver.open(url).session, node, up=up, down=not up).nodes)

    weights = model_file(url)
    questions: dict[str, Callable[[], int]] = {
        "`who-used` of a version": lambda: used("bench@v251"),
        "`who-used` of a file of one version, by its digest": lambda: used(once),
        "`who-used` of a file of ten versions": lambda: used(often),
        "`who-used` of a model's file": lambda: used(weights),
        "`lineage --up` of a model": lambda: walked("model:model-7@v3", up=True),
        "`lineage --down` of a version, --depth 2": lambda: len(
            lineage(dataver.open(url).session, "bench@v251", up=False, depth=2).nodes
        ),
        "`audit` of a model": lambda: len(audit(dataver.open(url), "model-7@v3").inputs),
        "`audit --verify --bundle`": lambda: (
            len(bundle(audit(dataver.open(url), "model-7@v3", verify=True))) >> 10
        ),
    }
    print("\n| question | found | s |\n|---|---:|---:|")
    for name, question in questions.items():
        times, found = [], 0
        for _ in range(rounds):
            start = time.perf_counter()
            found = question()
            times.append(time.perf_counter() - start)
        print(f"| {name} | {found:,} | {min(times):.3f} |", flush=True)


def model_file(url: str) -> str:
    """The digest of a file of a model."""
    report = audit(dataver.open(url), "model-7@v3")
    assert report.recorded is not None
    return report.recorded.files[0].digest


if __name__ == "__main__":
    main()
