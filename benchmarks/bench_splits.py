"""How fast rows are told apart: canonical keys, their hashes, and the parts of a hash split.

    python -m benchmarks.bench_splits

Millions of rows a second in one thread, the best of some rounds, on record batches as pyarrow reads them;
beside it a loop that calls xxhash for each row of the same bytes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pyarrow as pa
from xxhash import xxh3_64_intdigest

from benchmarks.workloads import SEED
from dataver.splits.definition import HashSplit
from dataver.splits.keys import key_columns, key_rows
from dataver.splits.keyset import KeySet
from dataver.splits.rules import make_rule

BATCH_ROWS = 1 << 17


def main() -> None:
    parser = argparse.ArgumentParser(description="Rows a second of splits.")
    parser.add_argument("--rows", type=int, default=1 << 20)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    dice = np.random.Generator(np.random.SFC64(SEED))
    numbers = dice.integers(0, 1 << 62, options.rows)
    columns = {
        "int64": [pa.array(numbers)],
        "int64, a tenth null": [pa.array(numbers, mask=dice.random(options.rows) < 0.1)],
        "timestamp": [pa.array(numbers >> 12, pa.timestamp("us", "UTC"))],
        "text of 36": [pa.array([f"{number:036x}" for number in numbers.tolist()])],
        "text of 1 to 19": [pa.array([str(n >> (n % 60)) for n in numbers.tolist()])],
        "int64 and text": [
            pa.array(numbers),
            pa.array([f"u{number % 10**9}" for number in numbers.tolist()]),
        ],
    }
    print("| key | keys | hashes | split | set | loop |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, arrays in columns.items():
        cells = [f"{options.rows / seconds / 1e6:.1f}" for seconds in measure(arrays, options.rounds)]
        print(f"| {name} | {' | '.join(cells)} |")


def measure(arrays: list[pa.Array], rounds: int) -> list[float]:
    """The seconds that it takes to make keys, to hash them, to split, to make sets, and to hash in a loop."""
    names = [f"k{number}" for number in range(len(arrays))]
    table = pa.table(arrays, names)
    batches = table.to_batches(BATCH_ROWS)
    keys = [key_rows(key_columns(batch, names)) for batch in batches]
    rule = make_rule(HashSplit(names, train=0.8, test=0.2), table.schema, lambda *_: table)
    spelled = [(part.data.tobytes(), part.starts.tolist()) for part in keys]
    works: list[Callable[[], object]] = [
        lambda: [key_rows(key_columns(batch, names)) for batch in batches],
        lambda: [part.hashes() for part in keys],
        lambda: [rule.mask(batch, "train") for batch in batches],
        lambda: [KeySet(part) for part in keys],
        lambda: [[xxh3_64_intdigest(data[a:b]) for a, b in pairwise(starts)] for data, starts in spelled],
    ]
    return [best(work, rounds) for work in works]


def best(work: Callable[[], object], rounds: int) -> float:
    """The seconds of the fastest round."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
